"""Rows per second of each write of the task queue, and what a row costs. Prints JSON.

Usage: ``python benchmarks/store_tasks.py [--tasks N] [--group N] [--ended N] [--dir DIRECTORY]``. A group is
what shares a transaction. The directory should be on the disk that will hold the state directory.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from remanager.store import QueueEntryRow, Store, Write, writes
from remanager.store import task_writes as make
from remanager.store.task_rows import TaskEnd, TaskInsert, TaskUpdate, log_line

NAMES = [f"analysis.step_{n}" for n in range(8)]
USERS = [f"user{n}" for n in range(10)]
GROUPS = ["", "", "fast", "slow"]
DOMAINS = ["", "ingest", "archive"]


def new_task(number: int, rng: random.Random, *, now: float, plain: bool = False) -> TaskInsert:
    """Return a pending task; ``plain`` ones have no tags, group, domain, job or key."""
    uid = str(uuid.UUID(int=rng.getrandbits(128), version=4))
    name, user = rng.choice(NAMES), rng.choice(USERS)
    kwargs = {"path": f"/data/run{number}", "level": 3}
    item = {"item_type": "function", "name": name, "args": [number], "kwargs": kwargs, "item_uid": uid}
    return {
        "task_uid": uid,
        "task_number": number,
        "item_type": "function",
        "name": name,
        "state": "pending",
        "stage": None,
        "user": user,
        "user_group": "primary",
        "domain": "" if plain else rng.choice(DOMAINS),
        "task_group": "" if plain else rng.choice(GROUPS),
        "label": "",
        "key": "" if plain else f"k{number}",
        "priority": 128 if plain else rng.choice([0, 64, 128, 128, 128, 192]),
        "attempt": 0,
        "lease_epoch": 0,
        "worker_uid": None,
        "origin_uid": None,
        "job_uid": None if plain else f"job{number // 100}",
        "parent_uid": None,
        "schedule_uid": None,
        "time_created": now,
        "time_ready": now,
        "time_first_start": None,
        "time_start": None,
        "time_updated": now,
        "run_after": None,
        "expires_at": None,
        "paused_since": None,
        "pause_reasons": None,
        "failed_child": None,
        "state_reason": "",
        "tags": () if plain else (("batch", str(number // 1000)), ("run", str(number))),
        "depends_on": (),
        "options": None,
        "properties": None,
        "log": log_line(now, None, "pending", 0),
        "body": json.dumps(item | {"user": user, "user_group": "primary"}),
    }


def start(row: TaskInsert, now: float) -> TaskUpdate:
    """Return the update of a task that starts."""
    return {
        "task_uid": row["task_uid"],
        "state": "running",
        "stage": "executing",
        "priority": row["priority"],
        "attempt": 1,
        "lease_epoch": 1,
        "worker_uid": "worker-1",
        "run_after": None,
        "expires_at": None,
        "time_ready": row["time_ready"],
        "time_first_start": now,
        "time_start": now,
        "time_updated": now,
        "paused_since": None,
        "paused_s": 0.0,
        "pause_reasons": None,
        "failed_child": None,
        "cancel_reason": "",
        "cancel_state": None,
        "rerun": 0,
        "state_reason": "",
        "error_type": None,
        "msg": None,
        "traceback": None,
        "log": log_line(now, "pending", "running", 1, worker_uid="worker-1"),
    }


def end(row: TaskInsert, now: float, state: str = "completed", epoch: int = 1) -> TaskEnd:
    """Return the terminal record of a task."""
    good = state == "completed"
    return {
        "task_uid": row["task_uid"],
        "lease_epoch": epoch,
        "state": state,
        "attempt": 1,
        "time_start": now - 0.01,
        "time_stop": now,
        "paused_s": 0.0,
        "cancel_reason": "",
        "success": int(good),
        "state_reason": "",
        "error_type": None if good else "OSError",
        "msg": None if good else "No space left on device",
        "traceback": None,
        "return_codec": "json" if good else None,
        "return_value": b"null" if good else None,
        "result_expires": now + 86400.0 if good else None,
        "progress": None,
        "actual_io": None,
        "log": log_line(now, "running", state, 1),
    }


def groups(rows: Sequence[TaskInsert], size: int) -> Iterator[Sequence[TaskInsert]]:
    """Cut rows into groups."""
    return (rows[first : first + size] for first in range(0, len(rows), size))


def microseconds(store: Store, made: list[list[Write]], rows: int) -> tuple[float, float]:
    """Commit transactions one after the other; return time and CPU time for a row (µs)."""
    wall, cpu = time.perf_counter(), time.process_time()
    for group in made:
        store.submit(group).result()
    return (time.perf_counter() - wall) * 1e6 / rows, (time.process_time() - cpu) * 1e6 / rows


def measure(store: Store, tasks: int, group: int, *, plain: bool) -> dict[str, dict[str, float]]:
    """Return the figures of insert, start and end."""
    rng, now = random.Random(), time.time()
    first = store.reads.tasks.last_number() + 1
    rows = [new_task(first + n, rng, now=now, plain=plain) for n in range(tasks)]
    steps: dict[str, Callable[[Sequence[TaskInsert]], list[Write]]] = {
        "insert": make.tasks_insert,
        "start": lambda part: [make.tasks_update([start(row, now + 1) for row in part])],
        "end": lambda part: [make.tasks_end([end(row, now + 2) for row in part])],
    }
    figures = {}
    for name, step in steps.items():
        wall, cpu = microseconds(store, [step(part) for part in groups(rows, group)], tasks)
        figures[name] = {"us": round(wall, 1), "cpu_us": round(cpu, 1), "rows_per_s": round(1e6 / wall)}
    total = sum(figure["us"] for figure in figures.values())
    cpu = sum(figure["cpu_us"] for figure in figures.values())
    figures["all three"] = {"us": round(total, 1), "cpu_us": round(cpu, 1), "rows_per_s": round(1e6 / total)}
    return figures


def plan_insert(store: Store, entries: int) -> dict[str, float]:
    """Return what an entry of the plan queue costs, each in a transaction of its own."""
    ranks = itertools.count()
    made = [
        [
            writes.queue_insert(
                [QueueEntryRow(str(uuid.uuid4()), next(ranks), "plan", "count", "u", "g", "{}")], 1.0
            )
        ]
        for _ in range(entries)
    ]
    wall, cpu = microseconds(store, made, entries)
    return {"us": round(wall, 1), "cpu_us": round(cpu, 1), "rows_per_s": round(1e6 / wall)}


def fill(store: Store, number: int) -> None:
    """Put ended tasks into the store."""
    rng, now = random.Random(1), time.time()
    rows = [new_task(n, rng, now=now - 1e5 + n * 0.1) for n in range(1, number + 1)]
    for part in groups(rows, 2000):
        store.submit(
            [*make.tasks_insert(part), make.tasks_end([end(row, now, epoch=0) for row in part])]
        ).result()


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=20_000, help="rows of each measurement")
    parser.add_argument("--group", type=int, default=100, help="tasks in a transaction")
    parser.add_argument("--ended", type=int, default=0, help="ended tasks beforehand")
    parser.add_argument("--dir", type=Path, default=None, help="where to make the temporary state directory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        store = Store.open(Path(directory) / "state")
        try:
            fill(store, options.ended)
            figures: dict[str, object] = {
                "plain tasks": measure(store, options.tasks, options.group, plain=True),
                "tasks with tags, job, key, group": measure(store, options.tasks, options.group, plain=False),
                "plan queue entry": plan_insert(store, 2000),
            }
        finally:
            store.close()
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
