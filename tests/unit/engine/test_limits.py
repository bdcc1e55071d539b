"""Limits and token buckets, by themselves."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager.engine.task_queue.limits import LimitFigures, Limits, LimitSpec, Rate, TokenBucket
from remanager.engine.task_queue.scopes import Scope
from remanager.model.errors import InvalidParams

T0 = 1_700_000_000.0
CLOCK_STEP_S = 2**-22  # between T0 and the next number

rates = st.builds(Rate, st.floats(0.01, 1000), st.floats(0.1, 3600), st.one_of(st.none(), st.floats(1, 100)))


def test_a_bucket_begins_full_and_fills_up_again() -> None:
    bucket = TokenBucket(Rate(permits=2, interval_s=10, burst=3), T0)
    for _ in range(3):
        assert bucket.has_token(T0)
        bucket.take(T0)
    assert not bucket.has_token(T0)
    assert bucket.next_token(T0) == pytest.approx(T0 + 5)
    assert bucket.available(T0 + 7.5) == pytest.approx(1.5)
    assert bucket.available(T0 + 1e6) == 3


def test_burst_is_one_interval_by_default() -> None:
    assert Rate(5, 60).capacity == 5
    assert Rate(0.5, 60).capacity == 1


@pytest.mark.parametrize(
    "values", [(0, 1, None), (1, 0, None), (math.inf, 1, None), (1, math.nan, None), (1, 1, 0.5)]
)
def test_rates_that_make_no_sense(values: tuple[float, float, float | None]) -> None:
    with pytest.raises(InvalidParams):
        Rate(*values)


def test_a_change_keeps_tokens_as_far_as_there_is_room() -> None:
    bucket = TokenBucket(Rate(10, 1, 10), T0)
    bucket.take(T0)
    bucket.change(Rate(1, 100, 4), T0)
    assert bucket.available(T0) == 4
    bucket.change(Rate(1, 100, 50), T0)
    assert bucket.available(T0) == 4
    for _ in range(4):
        bucket.take(T0)
    # A long wait for a token ends with the slow rate.
    bucket.change(Rate(10, 1, 50), T0)
    assert bucket.next_token(T0) == pytest.approx(T0 + 0.1)


def test_a_clock_set_back_does_not_stop_the_tokens() -> None:
    bucket = TokenBucket(Rate(1, 1, 1), T0)
    bucket.take(T0)
    assert not bucket.has_token(T0 - 3600)
    assert bucket.has_token(T0 - 3598)


@given(rates, st.lists(st.one_of(st.floats(0, 100), rates), max_size=50))
def test_no_more_starts_than_the_rate_allows(rate: Rate, moves: list[float | Rate]) -> None:
    bucket, now, starts, allowed, error = TokenBucket(rate, T0), T0, 0, rate.capacity, 0.0
    for move in moves:
        if isinstance(move, Rate):
            bucket.change(move, now)
            rate = move
        else:
            now += move
            allowed += move * rate.per_second
        while bucket.has_token(now):
            bucket.take(now)
            starts += 1
        assert 0 <= bucket.available(now) < 1
        due = bucket.next_token(now)
        assert due > now
        step = CLOCK_STEP_S * rate.per_second
        assert bucket.available(due) == pytest.approx(1, abs=1e-6 + step)
        error += 1e-6 + step
    assert starts <= allowed + error


def test_what_is_asked_is_what_is_listed() -> None:
    limits = Limits()
    spec = LimitSpec(scope=Scope.GROUP, name="g", max_running=2, weight=3, min_slots=1, rate=Rate(1, 2))
    limits.set(spec, T0)
    limits.set(LimitSpec(scope=Scope.ALL, max_running=9), T0)
    limits.count_start([(Scope.GROUP, "g"), (Scope.ALL, "")])
    assert limits.list(T0) == (
        LimitFigures(LimitSpec(scope=Scope.ALL, max_running=9), 1, None, 0),
        LimitFigures(spec, 1, 1.0, 0),
    )
    assert limits.get(Scope.GROUP, "g") == spec
    assert limits.weight((Scope.GROUP, "g")) == 3
    assert limits.starving() == set()
    limits.count_end([(Scope.GROUP, "g"), (Scope.ALL, "")])
    assert limits.starving() == {"g"}
    again = Limits()
    again.load(limits.to_json(), T0)
    assert again.list(T0) == limits.list(T0)
    again.set(LimitSpec(scope=Scope.GROUP, name="g", max_running=1, min_slots=3), T0)
    again.count_start([(Scope.GROUP, "g")])
    assert again.starving() == set()
    assert json.loads(limits.to_json())[0]["scope"] == "all"
    assert limits.remove(Scope.GROUP, "g")
    assert not limits.remove(Scope.GROUP, "g")
    assert limits.get(Scope.GROUP, "g") is None


@pytest.mark.parametrize(
    "fields",
    [
        {"scope": Scope.SCHEDULE, "name": "s"},
        {"scope": Scope.ALL, "name": "x"},
        {"scope": Scope.GROUP},
        {"scope": Scope.GROUP, "name": "g", "max_running": -1},
        {"scope": Scope.GROUP, "name": "g", "weight": 0.0},
        {"scope": Scope.GROUP, "name": "g", "min_slots": -1},
        {"scope": Scope.DOMAIN, "name": "d", "weight": 2.0},
        {"scope": Scope.USER, "name": "u", "min_slots": 1},
    ],
)
def test_limits_that_make_no_sense(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidParams):
        LimitSpec(**fields)  # type: ignore[arg-type]
