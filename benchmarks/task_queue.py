"""The task queue: tasks, submits and status queries per second, and the time from submit to result.

usage: python benchmarks/task_queue.py [--peers] [--libraries huey,rq] [--repeats N] [--json FILE]

With one worker process and tasks that do nothing. huey on SQLite is measured in the same run, by turns; with
``--peers`` also RQ, Celery, taskiq and dramatiq on Redis. They are installed in an environment of their own.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from common import Client, Figures, awake, client, closed_loop, encode, percentile_ms
from compare import print_table
from daemons import OURS, Daemon, end_on_sigterm
from task_peers import LIBRARIES, PeerBench

MODULES = Path(__file__).parent / "task_modules"
OPTIONS = ("--task-modules=bench_tasks", f"--task-paths={MODULES}", "--task-workers=1")
USER = {"user": "bench", "user_group": "root"}
ITEM = {"item_type": "function", "name": "noop"}
LATER = {"delay_s": 3600.0}
"""Options of a task that is not to run while submits are measured."""

SECONDS = 1.0
PAUSE_S = 0.02
LATENCIES = 100

RATE = "tasks/s, 1 worker process"
ENQUEUE = "submits/s, 1 client"
LATENCY = "submit to result, idle: p50 (ms)"
STATUS = "status queries/s, 1 client"
"""Names of the figures that other libraries have, too."""


def measure(figures: Figures, tasks: int) -> None:
    """Run one repeat with this daemon."""
    with Daemon(OURS, options=OPTIONS) as daemon, client(daemon.address) as connection:
        connection.ok("task_function_list")  # comes when the worker is there
        _run(connection, 500)
        _throughput(daemon, connection, figures, tasks)
        _latency(connection, figures)
        _status(daemon, connection, figures)
        _submits(daemon, connection, figures)


def _submit_batch(connection: Client, count: int, **options: Any) -> dict[str, Any]:
    items = [{"item": ITEM}] * count
    return connection.ok("task_submit_batch", items=items, defaults=options, **USER)


def _run(connection: Client, tasks: int) -> tuple[float, float]:
    """Run tasks; return when they had been submitted, and when they had ended (s)."""
    start = time.perf_counter()
    job = _submit_batch(connection, tasks)["job_uid"]
    submitted = time.perf_counter() - start
    while connection.ok("task_wait", job_uid=job, timeout=60.0)["active"]:
        pass
    ended = time.perf_counter() - start
    states = connection.ok("task_count", selector={"job_uid": job}, group_by="state")
    if states["counts"] != [{"value": "completed", "count": tasks}]:
        raise RuntimeError(f"not all tasks were completed: {states}")
    return submitted, ended


def _throughput(daemon: Daemon, connection: Client, figures: Figures, tasks: int) -> None:
    before = _cpu(daemon)
    submitted, ended = _run(connection, tasks)
    after = _cpu(daemon)
    figures.note(RATE, tasks / (ended - submitted))
    figures.note(f"{RATE}, submission included", tasks / ended)
    for role, used in after.items():
        figures.note(f"processor time of the {role} per task (ms)", 1e3 * (used - before[role]) / tasks)


def _latency(connection: Client, figures: Figures) -> None:
    times = []
    for _ in range(LATENCIES):
        time.sleep(PAUSE_S)
        start = time.perf_counter()
        uid = connection.ok("task_submit", item=ITEM, **USER)["task_uid"]
        if connection.ok("task_wait", task_uid=uid)["done"] != {uid: "completed"}:
            raise RuntimeError("a task was not completed")
        times.append(time.perf_counter() - start)
    times.sort()
    figures.note(LATENCY, percentile_ms(times, 50))
    figures.note(LATENCY.replace("p50", "p99"), percentile_ms(times, 99))


def _status(daemon: Daemon, connection: Client, figures: Figures) -> None:
    tasks = connection.ok("task_list", limit=1)["tasks"]
    request = encode("task_status", task_uid=tasks[0]["task_uid"])
    for clients in (1, 8):
        with awake():
            load = closed_loop(daemon.address, clients, request, SECONDS)
        figures.note(_clients(STATUS, clients), load.rate)


def _submits(daemon: Daemon, connection: Client, figures: Figures) -> None:
    for clients in (1, 8):
        load = closed_loop(daemon.address, clients, encode("task_submit", item=ITEM, **USER), SECONDS)
        figures.note(f"{_clients(ENQUEUE, clients)}, run meanwhile", load.rate)
        connection.ok("task_wait", selector={"all": True}, until="idle", timeout=60.0)
    for clients in (1, 8):
        request = encode("task_submit", item=ITEM, options=LATER, **USER)
        load = closed_loop(daemon.address, clients, request, SECONDS)
        figures.note(_clients(ENQUEUE, clients), load.rate)
    start = time.perf_counter()
    _submit_batch(connection, 5000, **LATER)
    figures.note("batch of 5000: tasks/s", 5000 / (time.perf_counter() - start))


def _clients(name: str, clients: int) -> str:
    return name if clients == 1 else name.replace("1 client", f"{clients} clients")


def _cpu(daemon: Daemon) -> dict[str, float]:
    """Return the processor time of manager and worker so far (s)."""
    used = {}
    for role, process in daemon.roles().items():
        if role in ("manager", "worker"):
            times = psutil.Process(process.pid).cpu_times()
            used[role] = times.user + times.system
    return used


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", action="store_true", help="measure the libraries on Redis, too")
    parser.add_argument("--libraries", default=None, help=f"some of {','.join(LIBRARIES)}, or 'none'")
    parser.add_argument("--tasks", type=int, default=5000, help="tasks of a repeat; default: 5000")
    parser.add_argument("--repeats", type=int, default=3, help="default: 3")
    parser.add_argument("--json", type=Path, help="file for all values")
    options = parser.parse_args()
    names = list(LIBRARIES) if options.peers else ["huey"]
    if options.libraries is not None:
        names = [n for n in options.libraries.split(",") if n != "none"]
    end_on_sigterm()
    bench = PeerBench(names)
    columns = {"remanager": Figures(), **{LIBRARIES[n].title: Figures() for n in names}}
    for repeat in range(1, options.repeats + 1):
        print(f"{repeat}/{options.repeats}: remanager", file=sys.stderr, flush=True)
        measure(columns["remanager"], options.tasks)
        for name in names:
            print(f"{repeat}/{options.repeats}: {name}", file=sys.stderr, flush=True)
            bench.measure(name, columns[LIBRARIES[name].title], options.tasks)
    print_table(columns)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(columns, indent=1) + "\n")


if __name__ == "__main__":
    main()
