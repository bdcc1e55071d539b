"""Alerts: raised, escalated, eased, cleared, acknowledged."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager.engine.task_queue.alerts import KEPT, AlertChange, AlertLevel, AlertRule, Alerts, figure_at
from remanager.model.errors import InvalidParams, NotFound


def watching(**rule: object) -> Alerts:
    alerts = Alerts()
    fields = {"name": "r", "metric": "queue.depth", "warn": 10.0, "critical": 20.0, **rule}
    alerts.set_rule(AlertRule(**fields), 0.0)  # type: ignore[arg-type]
    return alerts


def changes(alerts: Alerts, *values: float | None) -> list[str | None]:
    """Look once per second."""
    found = [alerts.evaluate("r", value, float(second)) for second, value in enumerate(values)]
    return [change[0].value if change else None for change in found]


def test_raise_escalate_ease_clear() -> None:
    seen = changes(watching(), 5, 11, 21, 22, 15, 5, 5)
    assert seen == [None, "raised", "escalated", None, "eased", "cleared", None]


def test_it_can_begin_and_end_at_critical() -> None:
    alerts = watching()
    assert changes(alerts, 30, 1) == ["raised", "cleared"]
    [alert] = alerts.cleared
    assert (alert.level, alert.value, alert.threshold) == (AlertLevel.CRITICAL, 30, 20)
    assert (alert.time_raised, alert.time_cleared) == (0, 1)


def test_it_takes_its_time() -> None:
    alerts = watching(for_s=2, clear_for_s=3)
    assert changes(alerts, 11, 11, 5, 11, 11, 11) == [None, None, None, None, None, "raised"]
    alerts = watching(for_s=2, clear_for_s=3)
    seen = changes(alerts, 11, 11, 21, 5, 11, 5, 5, 5, 5)
    assert seen == [None, None, "raised", None, None, None, None, None, "cleared"]


def test_critical_eases_before_it_clears() -> None:
    alerts = watching(clear_for_s=2)
    assert changes(alerts, 25, 15, 15, 15, 5, 5, 5) == ["raised", None, None, "eased", None, None, "cleared"]


def test_no_figure_breaches_nothing() -> None:
    assert changes(watching(), 11, None, math.nan) == ["raised", "cleared", None]


@pytest.mark.parametrize(("op", "good", "bad"), [("<", 20, 19), ("<=", 21, 20), (">", 10, 11), (">=", 9, 10)])
def test_operators(op: str, good: float, bad: float) -> None:
    thresholds = {"warn": 20.0, "critical": 5.0} if op[0] == "<" else {"warn": 10.0, "critical": 40.0}
    assert changes(watching(op=op, **thresholds), good, bad) == [None, "raised"]


def test_one_threshold_is_enough() -> None:
    assert changes(watching(warn=None), 15, 25, 15) == [None, "raised", "cleared"]
    assert changes(watching(critical=None), 15, 99, 5) == ["raised", None, "cleared"]


def test_acknowledged_until_it_gets_worse() -> None:
    alerts = watching()
    with pytest.raises(NotFound):
        alerts.acknowledge("r", "ann", 0.0)
    alerts.evaluate("r", 11, 0.0, ["t1"])
    alert = alerts.acknowledge("r", "ann", 1.0)
    assert (alert.acked_by, alert.time_acked, alert.task_uids) == ("ann", 1.0, ["t1"])
    alerts.evaluate("r", 12, 2.0, ["t2"])
    assert (alert.acked_by, alert.value, alert.task_uids) == ("ann", 12, ["t2"])
    alerts.evaluate("r", 25, 3.0)
    assert alert.acked_by is None


def test_a_rule_that_goes_takes_its_alert_along() -> None:
    alerts = watching()
    changes(alerts, 11)
    cleared = alerts.remove_rule("r", 5.0)
    assert cleared is not None
    assert cleared.time_cleared == 5.0
    assert not alerts.active
    with pytest.raises(NotFound):
        alerts.remove_rule("r", 5.0)
    alerts = watching()
    changes(alerts, 11)
    assert alerts.set_rule(AlertRule(name="r", metric="m", warn=1, enabled=False), 6.0) is not None
    assert changes(alerts, 99) == [None]


def test_what_is_kept_is_bounded_and_survives() -> None:
    alerts = watching()
    for _ in range(KEPT + 5):
        changes(alerts, 11, 5)
    changes(alerts, 25)
    again = Alerts()
    again.load(alerts.to_json())
    assert len(again.cleared) == KEPT
    assert again.rules == alerts.rules
    assert again.active["r"].level is AlertLevel.CRITICAL
    assert again.to_json() == alerts.to_json()
    assert changes(again, 25, 5) == [None, "cleared"]


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"metric": ""},
        {"op": "=="},
        {"warn": None, "critical": None},
        {"warn": math.nan},
        {"warn": 30.0},
        {"op": "<"},
        {"for_s": -1.0},
        {"clear_for_s": math.inf},
    ],
)
def test_rules_that_make_no_sense(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidParams):
        watching(**fields)


@given(
    st.lists(st.tuples(st.floats(0, 5), st.sampled_from([0.0, 15.0, 25.0, None])), max_size=60),
    st.floats(0, 6),
    st.floats(0, 6),
)
def test_levels_follow_the_times(
    looks: list[tuple[float, float | None]], for_s: float, clear_for_s: float
) -> None:
    alerts = watching(for_s=for_s, clear_for_s=clear_for_s)
    now, seen, level = 0.0, [], None
    for wait, value in looks:
        now += wait
        seen.append((now, value or 0.0))
        change = alerts.evaluate("r", value, now)
        if change is None:
            continue
        before, level = level, None if change[0] is AlertChange.CLEARED else change[1].level
        assert level != before
        worse = change[0] in (AlertChange.RAISED, AlertChange.ESCALATED)
        if worse:
            least, span = (20 if level is AlertLevel.CRITICAL else 10), for_s
        else:
            least, span = (20 if before is AlertLevel.CRITICAL and level else 10), clear_for_s
        # Looks without a break up to now, the newest first.
        streak = []
        for at, v in reversed(seen):
            if (v > least) is not worse:
                break
            streak.append(at)
        assert now - streak[-1] >= span


def test_figures_by_path() -> None:
    figures = {"queue": {"depth": 3, "name": "x", "on": True, "bad": math.nan}, "types": {"a.b": {"n": 2.5}}}
    assert figure_at(figures, "queue.depth") == 3.0
    assert figure_at(figures, "types.a.b.n") == 2.5
    for path in (
        "queue",
        "queue.name",
        "queue.on",
        "queue.bad",
        "queue.none",
        "none",
        "",
        "queue.depth.more",
    ):
        assert figure_at(figures, path) is None
