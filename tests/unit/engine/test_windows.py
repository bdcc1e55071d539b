"""Counts per minute, against a list of everything that was counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager.engine.windows import SLOTS, MinuteWindow, Windows

T0 = 28_000_000 * 60.0  # a full minute

steps = st.lists(st.tuples(st.floats(0, 400), st.integers(0, 9)), max_size=60)
idle = st.one_of(st.floats(0, 400), st.floats(0, 3000))


@given(steps, idle)
def test_slots_are_what_happened_in_each_minute(moves: list[tuple[float, int]], idle: float) -> None:
    window, events, now = MinuteWindow(), [], T0
    for wait, n in moves:
        now += wait
        window.add(n, now)
        events.append((now, n))
    now += idle
    last = now // 60
    assert window.slots(now) == [
        sum(n for at, n in events if at // 60 == minute) for minute in (last - 19 + i for i in range(SLOTS))
    ]
    assert window.total == sum(n for _, n in events)


@given(steps, idle, st.sampled_from([60.0, 300.0, 1200.0]))
def test_rate_lies_between_what_surely_and_what_possibly_happened(
    moves: list[tuple[float, int]], idle: float, seconds: float
) -> None:
    window, events, now = MinuteWindow(), [], T0
    for wait, n in moves:
        now += wait
        window.add(n, now)
        events.append((now, n))
    now += idle
    begin = now - seconds
    # The minute in which the time begins counts in proportion: what happened in it is in doubt.
    least = sum(n for at, n in events if at // 60 > begin // 60)
    most = sum(n for at, n in events if at // 60 >= begin // 60)
    assert least - 1e-6 <= window.rate(seconds, now) * seconds <= most + 1e-6


def test_rate_of_a_steady_flow() -> None:
    window = MinuteWindow()
    for second in range(3000):
        window.add(2, T0 + second)
    for seconds in (60, 90, 300, 1200):
        for offset in (0, 7.25, 59.5):
            assert window.rate(seconds, T0 + 2940 + offset) >= 2 - 2 * (60 - offset) / seconds
        assert window.rate(seconds, T0 + 3000) == pytest.approx(2)
    assert window.rate(10, T0 + 2999.999) == pytest.approx(2, rel=1e-3)


def test_minute_rolls_over_and_an_old_slot_is_used_again() -> None:
    window = MinuteWindow()
    window.add(1, T0 + 59.999)
    window.add(2, T0 + 60)
    assert window.slots(T0 + 60)[-2:] == [1, 2]
    assert window.slots(T0 + 19 * 60)[:2] == [1, 2]
    assert window.slots(T0 + 20 * 60)[:2] == [2, 0]
    window.add(4, T0 + 21 * 60)
    assert window.slots(T0 + 21 * 60) == [0] * 19 + [4]
    assert window.total == 7


def test_idle_for_longer_than_the_window() -> None:
    window = MinuteWindow()
    window.add(5, T0)
    assert window.slots(T0 + 86_400) == [0] * SLOTS
    assert window.rate(1200, T0 + 86_400) == 0


def test_clock_set_back() -> None:
    window = MinuteWindow()
    window.add(3, T0 + 300)
    window.add(4, T0)
    assert window.slots(T0)[-1] == 4
    assert sum(window.slots(T0)) == 4
    assert window.slots(T0 + 300)[-6:] == [4, 0, 0, 0, 0, 3]
    window.add(1, T0 - 86_400)
    assert window.slots(T0 - 86_400) == [0] * 19 + [1]


@pytest.mark.parametrize("seconds", [0, -1, 1201, float("nan")])
def test_rate_refuses_other_spans(seconds: float) -> None:
    with pytest.raises(ValueError, match="at most 1200 s"):
        MinuteWindow().rate(seconds, T0)


def test_windows_by_type_and_in_all() -> None:
    windows = Windows()
    windows.add("finished", 2, T0, task_type="plan")
    windows.add("finished", 1, T0 + 60, task_type="function")
    windows.add("retried", 5, T0)
    now = T0 + 60
    assert windows.slots("finished", now)[-2:] == [2, 1]
    assert windows.slots("finished", now, task_type="plan")[-2:] == [2, 0]
    assert windows.slots("finished", now, task_type="script") == [0] * SLOTS
    assert windows.slots("retried", now)[-2:] == [5, 0]
    assert windows.total("finished") == 3
    assert windows.total("finished", task_type="function") == 1
    assert windows.total("unknown") == 0
    assert windows.rate("finished", 300, now) == pytest.approx(3 / 300)
    assert windows.rate("unknown", 300, now) == 0
    assert windows.task_types() == ["function", "plan"]
