"""What a queue adds to the time of a plan: trivial plans one after the other."""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import time
from typing import Any

from common import USER, Client, Figures
from daemons import Daemon, Target

NUMBER = 50
PLANS: dict[str, dict[str, Any]] = {
    "null": {"item_type": "plan", "name": "bench_null"},
    "count": {"item_type": "plan", "name": "count", "args": [["det1"]], "kwargs": {"num": 1}},
}
_BARE = """
import json, sys, time
import bluesky.plan_stubs as bps
from bluesky import RunEngine
from bluesky.plans import count
from ophyd.sim import det1

RE = RunEngine({})
number, times = int(sys.argv[1]), {}
for name, plan in (("null", bps.null), ("count", lambda: count([det1], num=1))):
    RE(plan())
    start = time.perf_counter()
    for _ in range(number):
        RE(plan())
    times[name] = 1e3 * (time.perf_counter() - start) / number
print(json.dumps(times))
"""


def measure(target: Target, figures: Figures) -> None:
    """Run one repeat."""
    _bare(figures)
    with Daemon(target) as daemon, daemon.opened() as connection:
        for name, item in PLANS.items():
            _queue(connection, figures, name, item)


def _bare(figures: Figures) -> None:
    """Run the plans with nothing around the RunEngine."""
    command = [sys.executable, "-c", _BARE, str(NUMBER)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name, milliseconds in json.loads(output.splitlines()[-1]).items():
        figures.note(f"{name}, bare RunEngine: time per plan (ms)", milliseconds)


def _queue(connection: Client, figures: Figures, name: str, item: dict[str, Any]) -> None:
    """Let the daemon run a queue of one plan."""
    connection.ok("history_clear")
    connection.ok("queue_item_add_batch", items=[item] * NUMBER, **USER)
    start = time.perf_counter()
    connection.ok("queue_start")
    connection.until(
        lambda s: s["items_in_history"] == NUMBER and s["manager_state"] == "idle", period_s=0.005
    )
    elapsed = time.perf_counter() - start
    results = [entry["result"] for entry in connection.ok("history_get")["items"]]
    if any(result["exit_status"] != "completed" for result in results):
        raise RuntimeError(f"a plan failed: {results}")
    gaps = [after["time_start"] - before["time_stop"] for before, after in itertools.pairwise(results)]
    figures.note(f"{name}, in a queue: time per plan (ms)", 1e3 * elapsed / NUMBER)
    figures.note(f"{name}, in a queue: gap between plans, p50 (ms)", 1e3 * statistics.median(gaps))
