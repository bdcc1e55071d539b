"""Replies as people read them."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from remanager.cli.show import moment, render

TIME = 1795320916.25


@pytest.mark.parametrize("method", ["stats", "queue_status"])
def test_times_of_day_are_dates_and_durations_are_numbers(method: str) -> None:
    out = StringIO()
    reply = {"success": True, "time": TIME, "workers": {"time_started": TIME, "run_time_s": 47.125}}

    Console(file=out, width=100).print(render(method, reply))

    rows = dict(line.strip().split(maxsplit=1) for line in out.getvalue().splitlines())
    assert rows["time"].strip() == rows["workers.time_started"].strip() == moment(TIME)
    assert rows["workers.run_time_s"].strip() == "47.12"
