"""Progress of a task: reports, estimates, rates; never over before the end, never nonsense."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager.engine.task_queue.progress import CAP, MAX_MESSAGE_CHARS, Progress, ProgressTracker

T0 = 1_700_000_000.0


def after(*reports: dict[str, Any], step_s: float = 1.0) -> ProgressTracker:
    tracker = ProgressTracker(T0)
    for number, report in enumerate(reports, 1):
        tracker.report(report, T0 + number * step_s)
    return tracker


def test_nothing_is_known() -> None:
    view = ProgressTracker(T0).view(T0 + 5)
    assert (view.best, view.percent, view.eta_s, view.elapsed_s, view.stale) == (None, None, None, 5, False)


def test_history_gives_an_estimate() -> None:
    view = ProgressTracker(T0).view(T0 + 5, expected_s=20)
    assert (view.reported, view.estimated, view.best, view.percent, view.eta_s) == (None, 0.25, 0.25, 25, 15)
    late = ProgressTracker(T0).view(T0 + 50, expected_s=20)
    assert (late.best, late.percent, late.eta_s) == (CAP, 99, 0)


def test_by_size_then_by_count_then_as_told() -> None:
    both = {"done_count": 1, "total_count": 10, "done_size": 50, "total_size": 100, "fraction": 0.9}
    assert after(both).view(T0 + 1).reported == 0.5
    assert after({**both, "total_size": 0}).view(T0 + 1).reported == 0.1
    assert after({"fraction": 0.9, "done_count": 3}).view(T0 + 1).reported == 0.9
    assert after({"done_count": 3}).view(T0 + 1).best is None


def test_nothing_to_do_is_done_at_the_end_only() -> None:
    tracker = after({"done_size": 0, "total_size": 0})
    assert tracker.view(T0 + 1).best == 0
    view = tracker.view(T0 + 2, succeeded=True)
    assert (view.best, view.percent, view.eta_s) == (1.0, 100, 0.0)


def test_everything_done_but_not_over() -> None:
    view = after({"done_count": 10, "total_count": 10}).view(T0 + 1)
    assert (view.reported, view.best, view.percent) == (CAP, CAP, 99)


def test_steps_backwards_do_not_show() -> None:
    tracker = after({"done_count": 5, "total_count": 10}, {"done_count": 3}, {"total_count": 100})
    view = tracker.view(T0 + 3)
    assert (view.done_count, view.total_count, view.reported) == (5, 100, 0.5)


def test_rate_and_time_left() -> None:
    tracker = after(*[{"done_size": 100 * n, "total_size": 1000} for n in range(1, 5)])
    view = tracker.view(T0 + 4)
    assert view.rate_bps == pytest.approx(100)
    assert view.eta_s == pytest.approx(6)
    assert tracker.view(T0 + 6).eta_s == pytest.approx(4)


def test_a_rate_follows_what_happens() -> None:
    slow = [{"done_size": 10 * n} for n in range(1, 10)]
    tracker = after(*slow, {"done_size": 1090})
    rate = tracker.view(T0 + 10).rate_bps
    assert rate is not None
    assert 10 < rate < 1000


def test_a_report_gets_stale_and_loses_to_a_better_estimate() -> None:
    tracker = after({"fraction": 0.1}, {"fraction": 0.2}, step_s=2)
    assert not tracker.view(T0 + 10).stale
    view = tracker.view(T0 + 10.1, expected_s=20.2)
    assert view.stale
    assert (view.reported, view.best) == (0.2, view.estimated)
    assert tracker.view(T0 + 10.1, expected_s=1000).best == 0.2
    fresh = tracker.view(T0 + 5, expected_s=6)
    assert fresh.best == 0.2


def test_a_long_message_is_cut() -> None:
    assert len(after({"message": "x" * 9999}).view(T0).message) == MAX_MESSAGE_CHARS


numbers = st.one_of(
    st.integers(-5, 20),
    st.floats(),
    st.sampled_from([0, -1, 10**400, 1e308, 5e-324, True, None, "7", math.inf]),
)
keys = ["done_count", "total_count", "done_size", "total_size", "fraction", "message"]
reports = st.lists(st.tuples(st.floats(-2, 30), st.dictionaries(st.sampled_from(keys), numbers)), max_size=20)


@given(reports, st.one_of(st.none(), st.floats()), st.floats(-5, 100))
def test_no_report_makes_nonsense(
    moves: list[tuple[float, dict[str, Any]]], expected: float | None, wait: float
) -> None:
    tracker, now, reported = ProgressTracker(T0), T0, 0.0
    for step, report in moves:
        now += step
        tracker.report(report, now)
        view = tracker.view(now, expected_s=expected)
        check(view)
        assert (view.reported or 0.0) >= reported
        reported = view.reported or 0.0
    check(tracker.view(now + wait, expected_s=expected))
    assert tracker.view(now, expected_s=expected, succeeded=True).percent == 100


def check(view: Progress) -> None:
    json.dumps(asdict(view), allow_nan=False)
    for part in (view.reported, view.estimated, view.best):
        assert part is None or 0 <= part <= CAP
    assert view.percent is None or 0 <= view.percent <= 99
    assert view.eta_s is None or view.eta_s >= 0
    assert view.elapsed_s >= 0
