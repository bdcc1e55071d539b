"""Replies as people read them."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from remanager.cli.show import render
from remanager.cli.shown import moment

TIME = 1795320916.25


@pytest.mark.parametrize("method", ["stats", "queue_status"])
def test_times_of_day_are_dates_and_durations_are_numbers(method: str) -> None:
    out = StringIO()
    reply = {"success": True, "time": TIME, "workers": {"time_started": TIME, "run_time_s": 47.125}}

    Console(file=out, width=100).print(render(method, reply))

    rows = dict(line.strip().split(maxsplit=1) for line in out.getvalue().splitlines())
    assert rows["time"].strip() == rows["workers.time_started"].strip() == moment(TIME)
    assert rows["workers.run_time_s"].strip() == "47.12"


def test_times_of_schedules_and_tasks_are_dates() -> None:
    out = StringIO()
    names = ("next_run", "last_run", "run_after", "expires_at")
    reply = {"success": True, **dict.fromkeys(names, TIME), "schedule": {"next_run": TIME, "last_run": None}}
    Console(file=out, width=100).print(render("schedule_add", reply))
    rows = dict(line.strip().split(maxsplit=1) for line in out.getvalue().splitlines())
    assert {rows[name].strip() for name in (*names, "schedule.next_run")} == {moment(TIME)}
    assert rows["schedule.last_run"].strip() == "-"


@pytest.mark.parametrize(("principal", "shown"), [(None, "Ann"), ("local", "Ann"), ("gui", "Ann (gui)")])
def test_history_says_who(principal: str | None, shown: str) -> None:
    out = StringIO()
    result = {"exit_status": "completed", "time_start": TIME, "time_stop": TIME + 1, "principal": principal}
    item = {"name": "count", "user": "Ann", "item_uid": "u", "result": result}
    Console(file=out, width=120).print(render("history_get", {"items": [item]}))
    assert f" {shown}  " in out.getvalue()


def test_a_check_shows_warnings() -> None:
    out = StringIO()
    estimate = {"points": 5, "duration_s": 2.5, "devices": ["det"]}
    reply = {"success": True, "item": {"name": "count"}, "estimate": estimate, "warnings": ["'dett' is odd"]}
    Console(file=out, width=100).print(render("item_check", reply))
    for part in ("would be accepted", "count()", "about 2.5 s", "det", "'dett' is odd"):
        assert part in out.getvalue()
