"""What questions about a million ended and a hundred thousand queued tasks cost. Prints JSON.

Usage: ``python benchmarks/store_selection.py [--ended N] [--queued N] [--repeat N] [--keep DIRECTORY]``. With
``--keep`` the database stays in that directory and is used again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from common import percentile_ms
from store_tasks import DOMAINS, NAMES, USERS, end, new_task

from remanager.model.selector import ALL, Location, Selector, TagCondition, TimeRange
from remanager.model.states import StateClass, TaskState
from remanager.store import Reads, Store
from remanager.store import task_writes as make
from remanager.store.store import DATABASE_NAME
from remanager.store.task_pages import Order

T = TypeVar("T")
ENDS = ["completed"] * 90 + ["failed"] * 4 + ["cancelled"] * 3 + ["dead_letter", "expired", "timed_out"]
PART = 2000
PATTERNS = 10_000
PERIOD_S = 7 * 86400.0


def fill(directory: Path, ended: int, queued: int) -> None:
    """Make a database: some tasks through the store, the ended ones then multiplied in place."""
    rng, now = random.Random(1), time.time()
    patterns = min(PATTERNS, ended)
    store = Store.open(directory)
    try:
        rows = [new_task(n + 1, rng, now=now - PERIOD_S) for n in range(patterns)]
        ends = [end(row, row["time_created"] + rng.expovariate(0.1), rng.choice(ENDS), 0) for row in rows]
        store.submit([*make.tasks_insert(rows), make.tasks_end(ends)]).result()
    finally:
        store.close()
    with closing(sqlite3.connect(directory / DATABASE_NAME)) as connection:
        multiply(connection, patterns, ended // patterns)
    store = Store.open(directory)
    try:
        for first in range(0, queued, PART):
            numbers = range(first, min(first + PART, queued))
            rows = [new_task(ended + n + 1, rng, now=now) for n in numbers]
            rows[0]["run_after"] = now + 3600.0
            store.submit(make.tasks_insert(rows)).result()
    finally:
        store.close()


def multiply(connection: sqlite3.Connection, patterns: int, times: int) -> None:
    """Repeat the tasks of an otherwise empty database with UIDs, keys, jobs, tags and times of their own."""
    made = connection.execute(
        "SELECT type, name, sql FROM sqlite_schema"
        " WHERE type IN ('index', 'trigger') AND tbl_name IN ('task', 'tag') AND sql IS NOT NULL"
    ).fetchall()
    for kind, name, _ in made:
        connection.execute(f"DROP {kind} {name}")
    columns = [row[1] for row in connection.execute("PRAGMA table_info(task)")]
    moved = dict.fromkeys(("time_created", "time_ready", "time_updated", "time_stop"), PERIOD_S / times)
    other = {name: f"{name} + round.n * {step}" for name, step in moved.items()}
    other |= {"id": f"id + round.n * {patterns}", "task_number": f"task_number + round.n * {patterns}"}
    other |= {"task_uid": "lower(hex(randomblob(16)))", "key": f"'k' || (task_number + round.n * {patterns})"}
    other["job_uid"] = f"'job' || ((task_number + round.n * {patterns}) / 100)"
    values = ", ".join(other.get(name, name) for name in columns)
    steps = f"SELECT 1 UNION ALL SELECT n + 1 FROM round WHERE n < {times - 1}"
    connection.execute(
        f"WITH RECURSIVE round(n) AS ({steps}) INSERT INTO task ({', '.join(columns)})"
        f" SELECT {values} FROM round CROSS JOIN task WHERE id <= {patterns}"
    )
    connection.execute("DELETE FROM tag")
    connection.execute("INSERT INTO tag SELECT id, 'batch', id / 1000 FROM task")
    connection.execute("INSERT INTO tag SELECT id, 'run', id FROM task")
    for *_, sql in made:
        connection.execute(sql)
    kind = "state, item_type, name, domain, task_group, user, priority"
    connection.execute("DELETE FROM tally_change")
    connection.execute("DELETE FROM tally_sum")
    connection.execute(f"INSERT INTO tally_sum SELECT {kind}, COUNT(*) FROM task GROUP BY {kind}")
    connection.commit()


def questions(store: Store, now: float) -> dict[str, Callable[[Reads, random.Random], object]]:
    """Return what is asked, by a name; each with another value each time."""
    uids = [row[0] for row in store.reads.connection.execute("SELECT task_uid FROM task WHERE id % 997 = 0")]

    def page(
        order: Order, pick: Callable[[random.Random], Selector]
    ) -> Callable[[Reads, random.Random], object]:
        def ask(reads: Reads, rng: random.Random) -> object:
            found = reads.pages.page(pick(rng), now=now, order=order)
            return reads.tasks.records(found.ids), reads.tasks.tags(found.ids)

        return ask

    def groups_of(
        by: str, pick: Callable[[random.Random], Selector]
    ) -> Callable[[Reads, random.Random], object]:
        return lambda reads, rng: reads.pages.group(pick(rng), by, now=now)

    history, active = Location.HISTORY, Location.ACTIVE
    return {
        "states of 100 uids": lambda reads, rng: reads.task_states(rng.sample(uids, 100)),
        "record": lambda reads, rng: reads.tasks.record(rng.choice(uids)),
        "page: all, created": page(Order.CREATED, lambda rng: ALL),
        "page: ended, finished": page(Order.FINISHED, lambda rng: Selector(location=history)),
        "page: queued, dispatch": page(Order.DISPATCH, lambda rng: Selector(location=active)),
        "page: state dead_letter, finished": page(
            Order.FINISHED, lambda rng: Selector(state=(TaskState.DEAD_LETTER,))
        ),
        "page: class failure, created": page(
            Order.CREATED, lambda rng: Selector(state_class=(StateClass.FAILURE,))
        ),
        "page: name, created": page(Order.CREATED, lambda rng: Selector(name=(rng.choice(NAMES),))),
        "page: name, finished": page(Order.FINISHED, lambda rng: Selector(name=(rng.choice(NAMES),))),
        "page: name and user, queued, dispatch": page(
            Order.DISPATCH,
            lambda rng: Selector(name=(rng.choice(NAMES),), user=(rng.choice(USERS),), location=active),
        ),
        "page: user and domain, failed, finished": page(
            Order.FINISHED,
            lambda rng: Selector(
                user=(rng.choice(USERS),), domain=(rng.choice(DOMAINS),), state=(TaskState.FAILED,)
            ),
        ),
        "page: job": page(Order.CREATED, lambda rng: Selector(job_uid=(f"job{rng.randrange(10_000)}",))),
        "page: key": page(Order.CREATED, lambda rng: Selector(key=(f"k{rng.randrange(1_000_000)}",))),
        "page: tag of 1000 tasks": page(
            Order.CREATED, lambda rng: Selector(tags=(TagCondition("batch", (str(rng.randrange(1000)),)),))
        ),
        "page: finished in the last 10 min": page(
            Order.FINISHED, lambda rng: Selector(finished=TimeRange(after=now - 600))
        ),
        "count: ready": lambda reads, rng: reads.pages.count(Selector(ready=True), now=now),
        "count: by state": groups_of("state", lambda rng: ALL),
        "count: by class, of a user": groups_of("class", lambda rng: Selector(user=(rng.choice(USERS),))),
        "count: by type, failures": groups_of(
            "task_type", lambda rng: Selector(state_class=(StateClass.FAILURE,))
        ),
        "count: by priority, queued": groups_of("priority", lambda rng: Selector(location=active)),
        "count: by state, of a job": groups_of(
            "state", lambda rng: Selector(job_uid=(f"job{rng.randrange(10_000)}",))
        ),
        "count: created in 10 min by user": groups_of(
            "user", lambda rng: Selector(created=TimeRange(now - PERIOD_S / 2, now - PERIOD_S / 2 + 600))
        ),
        "type sample of 1000": lambda reads, rng: reads.tasks.type_sample(rng.choice(NAMES), 1000),
        "not indexed: count by tag of all": groups_of("tag:batch", lambda rng: ALL),
        "not indexed: count by job of all": groups_of("job_uid", lambda rng: ALL),
        "not indexed: count of a user group by user": groups_of(
            "user", lambda rng: Selector(user_group=("primary",))
        ),
    }


def timed(function: Callable[[], T]) -> tuple[float, float, T]:
    """Return how long a call takes (s), the same in processor time, and its result."""
    start, cpu = time.perf_counter(), time.thread_time()
    result = function()
    return time.perf_counter() - start, time.thread_time() - cpu, result


async def ask(store: Store, repeat: int) -> dict[str, dict[str, float]]:
    """Return the median and the 99th percentile of each question (ms)."""
    rng, figures = random.Random(7), {}
    for name, question in questions(store, time.time()).items():
        number = 3 if name.startswith("not indexed") else repeat
        took = [
            await store.read_heavy(lambda reads, question=question: timed(lambda: question(reads, rng))[:2])
            for _ in range(number)
        ]
        wall, cpu = zip(*took, strict=True)
        figures[name] = {
            f"{kind}p{percent}_ms": round(percentile_ms(sorted(times), percent), 2)
            for kind, times in (("", wall), ("cpu_", cpu))
            for percent in (50, 99)
        }
    return figures


def restart(store: Store) -> dict[str, float]:
    """Return how long the active tasks take to load, and what they take of memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    took, cpu, rows = timed(lambda: list(store.reads.tasks.active()))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = {"s": round(took, 2), "cpu_s": round(cpu, 2)}
    return {"tasks": len(rows), **seconds, "memory_mb": round((after - before) / 1024)}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ended", type=int, default=1_000_000)
    parser.add_argument("--queued", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=200, help="how often each question is asked")
    parser.add_argument("--keep", type=Path, default=None, help="where the database stays")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        state_dir = (options.keep or Path(directory)) / "state"
        if not (state_dir / DATABASE_NAME).exists():
            fill(state_dir, options.ended, options.queued)
        store = Store.open(state_dir)
        try:
            figures: dict[str, object] = {"restart": restart(store)}
            figures["questions"] = asyncio.run(ask(store, options.repeat))
        finally:
            store.close()
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
