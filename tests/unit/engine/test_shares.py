"""Aging, and the division of slots among groups."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager.engine.task_queue.card import Card
from remanager.engine.task_queue.shares import Aging, Demand, allocate
from remanager.model.errors import InvalidParams
from remanager.model.states import TaskState
from remanager.model.task_spec import TaskSpec

T0 = 1_700_000_000.0


def waiting(priority: int, **state: float) -> Card:
    spec = TaskSpec(task_uid="t", name="w", user="u", user_group="", body="", time_created=T0)
    card = Card(spec, 1, TaskState.PENDING, priority)
    for name, value in state.items():
        setattr(card, name, value)
    return card


@pytest.mark.parametrize(
    ("priority", "age_s", "expected"),
    [
        (200, 0, 200),
        (200, 359, 200),
        (200, 360, 199),
        (200, 420, 198),
        (200, 1e6, 64),
        (64, 1e6, 64),
        (0, 1e6, 0),
    ],
)
def test_a_step_per_interval_down_to_the_ceiling(priority: int, age_s: float, expected: int) -> None:
    assert Aging().effective(waiting(priority), T0 + age_s) == expected


def test_time_on_hold_does_not_count() -> None:
    aging = Aging(grace_s=0, interval_s=10)
    assert aging.effective(waiting(200, paused_s=50.0), T0 + 100) == 195
    held = waiting(200, paused_since=T0 + 30)
    assert aging.effective(held, T0 + 100) == 197
    assert aging.next_step(held, T0 + 100) is None


def test_waiting_begins_when_the_task_is_ready() -> None:
    assert Aging(grace_s=0, interval_s=10).effective(waiting(200, time_ready=T0 + 50), T0 + 100) == 195


@given(st.integers(0, 255), st.floats(0, 1e5), st.floats(0, 1e4), st.floats(0.01, 1e4), st.integers(0, 255))
def test_the_next_step_is_when_it_is_said(
    priority: int, age_s: float, grace_s: float, interval_s: float, ceiling: int
) -> None:
    aging, card, now = (
        Aging(grace_s=grace_s, interval_s=interval_s, ceiling=ceiling),
        waiting(priority),
        T0 + age_s,
    )
    effective = aging.effective(card, now)
    due = aging.next_step(card, now)
    if due is None:
        assert aging.effective(card, now + 1e9) == effective
        return
    assert due > now
    assert aging.effective(card, due + 1e-3 * interval_s) < effective
    if due - now > 1e-3:
        assert aging.effective(card, due - 1e-3) == effective


@pytest.mark.parametrize("fields", [{"interval_s": 0.0}, {"grace_s": -1.0}, {"interval_s": math.nan}])
def test_aging_that_makes_no_sense(fields: dict[str, float]) -> None:
    with pytest.raises(InvalidParams):
        Aging(**fields)  # type: ignore[arg-type]


def test_slots_by_weight_minimum_and_cap() -> None:
    demands = {
        "heavy": Demand(tasks=100, weight=3),
        "light": Demand(tasks=100),
        "small": Demand(tasks=5, weight=0.01, min_slots=2),
        "capped": Demand(tasks=100, weight=100, max_running=1),
        "idle": Demand(tasks=0, min_slots=9),
    }
    assert allocate(11, demands) == {"heavy": 6, "light": 2, "small": 2, "capped": 1, "idle": 0}


demand_maps = st.dictionaries(
    st.sampled_from("abcdef"),
    st.builds(
        Demand,
        tasks=st.integers(0, 20),
        weight=st.sampled_from([0.5, 1.0, 3.0]),
        min_slots=st.integers(0, 5),
        max_running=st.one_of(st.none(), st.integers(0, 10)),
    ),
)


@given(st.integers(0, 60), demand_maps)
def test_every_slot_is_given_and_none_twice(slots: int, demands: dict[str, Demand]) -> None:
    given_ = allocate(slots, demands)
    most = {n: min(d.tasks, d.tasks if d.max_running is None else d.max_running) for n, d in demands.items()}
    assert sum(given_.values()) == min(slots, sum(most.values()))
    for name, demand in demands.items():
        assert 0 <= given_[name] <= most[name]
        if slots >= sum(d.min_slots for d in demands.values()):
            assert given_[name] >= min(demand.min_slots, most[name])
