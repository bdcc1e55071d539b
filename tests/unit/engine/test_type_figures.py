"""Figures by type: what counts as what, bounds, and that they survive a restart."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager.engine.task_queue.type_figures import (
    COUNTERS,
    MAX_ERRORS,
    MAX_TYPES,
    OTHER,
    PER_MINUTE,
    ErrorCounts,
    TypeFigures,
)
from remanager.model.states import STATE_CLASS, StateClass, TaskState

T0 = 28_000_000 * 60.0
ENDS = [state for state, kind in STATE_CLASS.items() if kind is not StateClass.ACTIVE]


def ended(figures: TypeFigures, state: TaskState, now: float = T0, name: str = "work") -> None:
    figures.ended(name, state, now, latency_s=2.0, duration_s=1.0)


def test_one_task() -> None:
    figures = TypeFigures()
    figures.count("submitted", "work", T0)
    figures.started("work", T0 + 1, 0.5)
    ended(figures, TaskState.COMPLETED, T0 + 2)
    figures.count("bytes", "work", T0 + 2, 4096)
    assert figures.since_start == {"submitted": 1, "dispatched": 1, "completed": 1}
    for task_type in (None, "work"):
        slots = {name: counts[-1] for name, counts in figures.per_minute(T0 + 3, task_type).items()}
        expected = dict.fromkeys(PER_MINUTE, 0) | {"started": 1, "finished": 1, "succeeded": 1, "bytes": 4096}
        assert slots == expected
        durations = figures.durations(task_type)
        assert (durations.queue_wait.average, durations.latency.average, durations.duration.average) == (
            0.5,
            2,
            1,
        )
    assert figures.expected_s("work") == pytest.approx(1, rel=0.1)
    assert figures.latency_s(60, T0 + 3) == pytest.approx(2)
    assert figures.task_types() == ["work"]


def test_nothing_yet() -> None:
    figures = TypeFigures()
    assert figures.error_rate(60, T0, "work") == 0
    assert figures.latency_s(60, T0) is None
    assert figures.expected_s("work") is None
    assert figures.errors("work").list() == ()
    assert figures.durations("work").latency.count == 0


def test_error_rate_knows_failures_and_successes_only() -> None:
    figures = TypeFigures()
    for state in ENDS:
        ended(figures, state)
    kinds = Counter(STATE_CLASS[state] for state in ENDS)
    failures, successes = kinds[StateClass.FAILURE], kinds[StateClass.SUCCESS]
    assert figures.error_rate(60, T0 + 30) == pytest.approx(failures / (failures + successes))
    assert figures.throughput_per_s(60, T0 + 59.9) == pytest.approx(successes / 60, rel=0.01)
    assert figures.per_minute(T0)["finished"][-1] == len(ENDS)
    counted = {"completed": successes, "cancelled": kinds[StateClass.CANCELLED]}
    others = ["failed", "dead_lettered", "dependency_failed", "timed_out", "lost", "expired", "superseded"]
    assert figures.since_start == counted | dict.fromkeys(others, 1)
    assert set(figures.since_start) <= set(COUNTERS)


def test_what_held_tasks_back() -> None:
    figures = TypeFigures()
    figures.denied("rate_limit", 3)
    assert figures.since_ever["gate_denied:rate_limit"] == 3


def test_kinds_of_errors_are_bounded_and_none_is_lost() -> None:
    errors = ErrorCounts()
    for number in range(3 * MAX_ERRORS):
        errors.add("ValueError", T0 + number)
        errors.add(f"E{number}", T0 + number)
    kinds = errors.list()
    assert len(kinds) == MAX_ERRORS + 1
    assert (kinds[0].error, kinds[0].count, kinds[0].last_time) == ("ValueError", 150, T0 + 149)
    assert (kinds[-1].error, kinds[-1].last_time) == (OTHER, None)
    assert sum(kind.count for kind in kinds) == errors.total == 6 * MAX_ERRORS
    assert sum(kind.share for kind in kinds) == pytest.approx(1)


def test_types_are_bounded() -> None:
    figures = TypeFigures()
    for number in range(MAX_TYPES + 20):
        figures.started(f"type{number}", T0, 1.0)
        figures.error(f"type{number}", "ValueError", T0)
        ended(figures, TaskState.FAILED, T0, f"type{number}")
    assert len(figures.task_types()) == MAX_TYPES + 1
    assert figures.per_minute(T0, OTHER)["started"][-1] == 20
    assert figures.errors(OTHER).total == 20
    assert figures.errors().total == MAX_TYPES + 20


@given(
    st.lists(
        st.tuples(
            st.floats(0, 200),
            st.sampled_from(["a", "b"]),
            st.sampled_from(ENDS),
            st.floats(0, 1e6),
            st.booleans(),
        ),
        max_size=40,
    ),
    st.floats(0, 3000),
)
def test_a_restart_changes_nothing_but_the_start(
    moves: list[tuple[float, str, TaskState, float, bool]], idle: float
) -> None:
    figures, now = TypeFigures(), T0
    for wait, name, state, latency, failed in moves:
        now += wait
        figures.started(name, now, latency / 2)
        figures.ended(name, state, now, latency_s=latency, duration_s=None)
        if failed:
            figures.error(name, "E", now)
    again = TypeFigures.from_json(figures.to_json())
    now += idle
    assert again.since_ever == figures.since_ever
    assert not again.since_start
    assert again.task_types() == figures.task_types()
    for task_type in (None, "a", "b"):
        assert again.per_minute(now, task_type) == figures.per_minute(now, task_type)
        assert again.error_rate(300, now, task_type) == figures.error_rate(300, now, task_type)
        assert again.errors(task_type).list() == figures.errors(task_type).list()
        for kind in ("latency", "queue_wait", "duration"):
            ours, theirs = (
                getattr(again.durations(task_type), kind),
                getattr(figures.durations(task_type), kind),
            )
            assert (ours.count, ours.average) == (theirs.count, theirs.average)
            assert ours.percentiles([0, 50, 99, 100]) == theirs.percentiles([0, 50, 99, 100])
    assert again.to_json() == figures.to_json()
