"""When schedules are due: intervals, cron expressions, changes of the clock."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager.engine.task_queue.recurrence import MISSED_COUNTED, Recurrence
from remanager.model.errors import InvalidParams

BERLIN = ZoneInfo("Europe/Berlin")
T0 = 1_700_000_000.0


def berlin(*date: int, fold: int = 0) -> float:
    year, month, day, hour, minute = date
    return datetime(year, month, day, hour, minute, tzinfo=BERLIN, fold=fold).timestamp()


def times(cron: str, start: float, n: int) -> list[str]:
    """Return the next times as the clock on the wall and its offset show them."""
    recurrence, found, time = Recurrence(cron=cron, timezone="Europe/Berlin"), [], start
    for _ in range(n):
        after = recurrence.cron_after(time)
        assert after is not None
        assert after > time
        time = after
        found.append(datetime.fromtimestamp(time, BERLIN).strftime("%d %H:%M %z"))
    return found


def test_cron_in_the_time_zone() -> None:
    assert times("30 8 * * 1-5", berlin(2026, 7, 3, 9, 0), 2) == ["06 08:30 +0200", "07 08:30 +0200"]
    assert Recurrence(cron="0 12 * * *").cron_after(T0) == datetime(2023, 11, 15, 12, tzinfo=UTC).timestamp()


def test_a_time_in_the_gap_of_spring_is_due_after_it() -> None:
    start = berlin(2026, 3, 28, 3, 0)
    assert times("30 2 * * *", start, 3) == ["29 03:00 +0200", "30 02:30 +0200", "31 02:30 +0200"]


def test_every_half_hour_goes_through_the_gap() -> None:
    start = berlin(2026, 3, 29, 1, 15)
    assert times("*/30 * * * *", start, 3) == ["29 01:30 +0100", "29 03:00 +0200", "29 03:30 +0200"]


def test_a_time_that_comes_twice_in_autumn_is_due_once() -> None:
    start = berlin(2026, 10, 24, 12, 0)
    assert times("30 2 * * *", start, 2) == ["25 02:30 +0200", "26 02:30 +0100"]
    between = berlin(2026, 10, 25, 2, 10, fold=1)
    assert times("30 2 * * *", between, 1) == ["26 02:30 +0100"]


def test_every_half_hour_goes_on_in_the_hour_that_comes_twice() -> None:
    start = berlin(2026, 10, 25, 1, 45)
    expected = ["25 02:00 +0200", "25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100", "25 03:00 +0100"]
    assert times("*/30 * * * *", start, 5) == expected


@given(
    st.sampled_from(["30 2 * * *", "*/20 * * * *", "15,45 1-3 * * *", "0 3 * * 0", "*/7 2 * * *"]),
    st.integers(0, 370 * 1440),
)
def test_cron_moves_on_and_misses_nothing(cron: str, minutes: int) -> None:
    recurrence = Recurrence(cron=cron, timezone="Europe/Berlin")
    start = berlin(2026, 1, 1, 0, 0) + minutes * 60
    due = recurrence.cron_after(start)
    assert due is not None
    assert due > start
    assert recurrence.cron_after((start + due) / 2) == due
    assert due - start <= 8 * 86400


def test_times_that_never_come() -> None:
    assert Recurrence(cron="0 0 29 2 *").cron_after(T0) is not None
    with pytest.raises(InvalidParams, match="not a cron expression"):
        Recurrence(cron="0 0 30 2 *")


@given(st.text(alphabet="0123456789*/,-#LW MONJAN", max_size=30))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        recurrence = Recurrence(cron=text)
    except InvalidParams:
        return
    due = recurrence.cron_after(T0)
    assert due is None or due > T0


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "either 'interval_s' or 'cron'"),
        ({"interval_s": 1.0, "cron": "* * * * *"}, "either 'interval_s' or 'cron'"),
        ({"interval_s": 0.0}, "'interval_s'"),
        ({"interval_s": float("nan")}, "'interval_s'"),
        ({"interval_s": 1.0, "initial_delay_s": -1.0}, "'initial_delay_s'"),
        ({"interval_s": 1.0, "max_executions": 0}, "'max_executions'"),
        ({"cron": "* * * * * *"}, "five fields"),
        ({"cron": "61 * * * *"}, "Bad minute"),
        ({"cron": "* * * * *", "timezone": "Mars/Olympus"}, "no time zone"),
        ({"cron": "* * * * *", "timezone": "../etc/passwd"}, "no time zone"),
        ({"cron": "* * * * *", "timezone": ""}, "no time zone"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidParams, match=text):
        Recurrence(**fields)  # type: ignore[arg-type]


@given(st.floats(0.1, 1e6), st.floats(0, 1e4), st.floats(0, 1e9))
def test_a_fixed_rate_keeps_its_raster(interval: float, delay: float, later: float) -> None:
    recurrence = Recurrence(interval_s=interval, initial_delay_s=delay)
    due = recurrence.after(T0, T0 + later)
    assert due is not None
    assert due > T0 + later
    steps = (due - T0 - delay) / interval
    assert steps == pytest.approx(round(steps), abs=1e-4 + 1e-6 / interval * 10 + steps * 1e-9)
    assert due <= max(T0 + delay, T0 + later + interval) + 1e-3


def test_missed_times_are_counted() -> None:
    assert Recurrence(interval_s=10).missed(T0, T0 + 35) == 4
    assert Recurrence(interval_s=10).missed(T0, T0 - 1) == 0
    hourly = Recurrence(cron="0 * * * *")
    first = hourly.cron_after(T0)
    assert first is not None
    assert hourly.missed(first, first) == 1
    assert hourly.missed(first, first + 3 * 3600 + 1) == 4
    assert hourly.missed(first, first + 1e8) == MISSED_COUNTED
