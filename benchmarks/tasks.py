"""Functions: from the request to ``completed``, and background tasks per second."""

from __future__ import annotations

import time

from common import USER, Client, Figures, encode, percentile_ms
from daemons import Daemon, Target

ITEM = {"item_type": "function", "name": "bench_noop"}
SINGLE = 20
MANY = 500
IN_FLIGHT = 32
PERIOD_S = 0.001


def measure(target: Target, figures: Figures) -> None:
    """Run one repeat."""
    with Daemon(target) as daemon, daemon.opened() as connection:
        for background in (False, True):
            times = sorted(_one(connection, background) for _ in range(SINGLE))
            kind = "background" if background else "foreground"
            figures.note(f"{kind} function, request to completed: p50 (ms)", percentile_ms(times, 50))
        for window in (1, IN_FLIGHT):
            start = time.perf_counter()
            uids = _submit(connection, MANY, window)
            while set(connection.ok("task_status", task_uid=uids)["status"].values()) != {"completed"}:
                time.sleep(PERIOD_S)
            rate = MANY / (time.perf_counter() - start)
            figures.note(f"{MANY} background functions, {window} requests in flight: completed/s", rate)


def _one(connection: Client, background: bool) -> float:
    """Run a function; return the time from the request to a status of ``completed`` (s)."""
    # A daemon may refuse a foreground task for a moment after the one before.
    connection.until(lambda s: s["manager_state"] == "idle")
    start = time.perf_counter()
    uid = connection.ok("function_execute", item=ITEM, run_in_background=background, **USER)["task_uid"]
    while connection.ok("task_status", task_uid=uid)["status"] != "completed":
        time.sleep(PERIOD_S)
    return time.perf_counter() - start


def _submit(connection: Client, count: int, window: int) -> list[str]:
    """Submit background functions with a number of requests in flight; return the task UIDs."""
    request = encode("function_execute", item=ITEM, run_in_background=True, **USER)
    uids: list[str] = []
    for _ in range(window):
        connection.send(request)
    sent = window
    while len(uids) < count:
        uids.append(connection.reply()["task_uid"])
        if sent < count:
            connection.send(request)
            sent += 1
    return uids
