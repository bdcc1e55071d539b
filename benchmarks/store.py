"""Commits per second of the store. Prints JSON.

Usage: ``python benchmarks/store.py [--seconds S] [--history N] [--dir DIRECTORY]``. The directory should be
on the disk that will hold the state directory: the figures are mostly those of its ``fdatasync``.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from remanager.model.states import TaskState
from remanager.store import JournalEvent, QueueEntryRow, Store, writes

BODY = json.dumps(
    {
        "item_type": "plan",
        "name": "count",
        "args": [["det1", "det2"]],
        "kwargs": {"num": 5, "delay": 0.1},
        "user": "user",
        "user_group": "primary",
        "item_uid": str(uuid.uuid4()),
    }
)


def rows(ranks: Iterator[int], number: int) -> list[QueueEntryRow]:
    """Return new entries of the plan queue."""
    return [
        QueueEntryRow(str(uuid.uuid4()), next(ranks) << 20, "plan", "count", "user", "primary", BODY)
        for _ in range(number)
    ]


async def commits_per_s(store: Store, ranks: Iterator[int], clients: int, seconds: float) -> float:
    """Let clients insert one entry after the other, each waiting for its commit."""
    start = time.perf_counter()
    done = 0

    async def client() -> None:
        nonlocal done
        while time.perf_counter() - start < seconds:
            made = [
                writes.queue_insert(rows(ranks, 1), time.time()),
                writes.setting_set("plan_queue_uid", str(uuid.uuid4())),
            ]
            await store.commit(made, [JournalEvent("item_added", time.time())])
            done += 1

    await asyncio.gather(*(client() for _ in range(clients)))
    return done / (time.perf_counter() - start)


async def fill_history(store: Store, number: int) -> None:
    """Put ended plans into the history."""
    ranks = itertools.count()
    while number > 0:
        batch = rows(ranks, min(number, 500))
        ends = [
            writes.task_finish(
                row.task_uid, state=TaskState.COMPLETED, time_stop=time.time(), result="{}", in_history=True
            )
            for row in batch
        ]
        await store.commit([writes.queue_insert(batch, time.time()), *ends])
        number -= len(batch)


def milliseconds(function: Callable[[], object]) -> float:
    """Return how long a call takes (ms)."""
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1e3


async def measure(store: Store, seconds: float, history: int) -> dict[str, float]:
    """Return all figures."""
    await fill_history(store, history)
    ranks = itertools.count()
    figures: dict[str, float] = {"history": history}
    for clients in (1, 8, 32):
        figures[f"commits_per_s_{clients}"] = await commits_per_s(store, ranks, clients, seconds)
    batch = writes.queue_insert(rows(ranks, 1000), time.time())
    start = time.perf_counter()
    await store.commit([batch], [JournalEvent("items_added", time.time())])
    figures["insert_1000_ms"] = (time.perf_counter() - start) * 1e3
    queue = store.reads.queue()
    figures["queued"] = len(queue)
    figures["queue_read_ms"] = milliseconds(store.reads.queue)
    figures["task_row_ms"] = (
        milliseconds(lambda: [store.reads.task_row(r.task_uid) for r in queue[:1000]]) / 1000
    )
    figures["running_ms"] = milliseconds(store.reads.running)
    figures["history_page_100_ms"] = milliseconds(lambda: store.reads.history_page(100))
    figures["history_page_all_ms"] = milliseconds(store.reads.history_page)
    return {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="duration of each rate measurement (s)")
    parser.add_argument("--history", type=int, default=10_000, help="number of ended plans beforehand")
    parser.add_argument("--dir", type=Path, default=None, help="where to make the temporary state directory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        store = Store.open(Path(directory) / "state")
        try:
            print(json.dumps(asyncio.run(measure(store, options.seconds, options.history)), indent=2))
        finally:
            store.close()


if __name__ == "__main__":
    main()
