"""A million ended and a hundred thousand queued tasks: what questions, memory, the start and a dispatch cost.

usage: python benchmarks/task_scale.py [--ended N] [--queued N] [--repeat N] [--keep DIRECTORY]

Prints one line for each figure. With ``--keep`` the database stays in that directory and is used again.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import Client, client, encode, percentile_ms
from daemons import Daemon, Target
from store_selection import fill
from store_tasks import DOMAINS, NAMES, USERS

from remanager.engine.task_queue.changes import Outcome, OutcomeKind
from remanager.engine.task_queue.dispatcher import Dispatcher
from remanager.engine.task_queue.scheduler import TaskScheduler
from remanager.model.task_spec import TaskSpec
from remanager.store.store import DATABASE_NAME

DISPATCHES = 2000


def questions(rng: random.Random, uids: list[str]) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
    """Return requests by a name, each with other values each time."""

    def ask(method: str, **params: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        while True:
            yield method, {k: v() if callable(v) else v for k, v in params.items()}

    def selector(**choices: list[str]) -> Any:
        return lambda: {k: rng.choice(v) for k, v in choices.items()}

    return {
        "task_status of a task": ask("task_status", task_uid=lambda: rng.choice(uids)),
        "task_status of 100": ask("task_status", task_uid=lambda: rng.sample(uids, 100)),
        "task_info": ask("task_info", task_uid=lambda: rng.choice(uids), include=["transitions"]),
        "task_list": ask("task_list"),
        "task_list, finished": ask("task_list", order="finished"),
        "task_list, dispatch": ask("task_list", order="dispatch", selector={"location": "active"}),
        "task_list of a type": ask("task_list", selector=selector(task_type=NAMES)),
        "task_list of a user in a domain": ask("task_list", selector=selector(user=USERS, domain=DOMAINS)),
        "task_list of failures": ask("task_list", selector={"class": "failure"}),
        "task_count": ask("task_count"),
        "task_count by state": ask("task_count", group_by="state"),
        "task_count by type, of a user": ask(
            "task_count", group_by="task_type", selector=selector(user=USERS)
        ),
        "task_count of what is ready": ask("task_count", selector={"ready": True}),
        "stats": ask("stats"),
        "queue_status": ask("queue_status"),
        "queue_status by user": ask("queue_status", group_by="user"),
        "type_stats": ask("type_stats", task_type=lambda: rng.choice(NAMES)),
        "status": ask("status"),
    }


def measure_questions(connection: Client, repeat: int) -> None:
    """Ask through the socket; print how long the answers took."""
    rng = random.Random(2)
    uids = [t["task_uid"] for order in ("created", "dispatch") for t in _records(connection, order)]
    for name, requests in questions(rng, uids).items():
        times = []
        for _ in range(repeat):
            method, params = next(requests)
            request = encode(method, **params)
            start = time.perf_counter()
            connection.send(request)
            connection.receive()
            times.append(time.perf_counter() - start)
        method, params = next(requests)
        connection.ok(method, **params)
        times.sort()
        p50, p99 = percentile_ms(times, 50), percentile_ms(times, 99)
        print(f"{name:34} p50 {p50:8.2f} ms   p99 {p99:8.2f} ms", flush=True)


def _records(connection: Client, order: str) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = connection.ok("task_list", order=order, limit=1000)["tasks"]
    return tasks


def measure_dispatch(queued: int) -> None:
    """Print what it costs to submit, start and end a task beside many that wait."""
    scheduler = TaskScheduler(Dispatcher(), max_active=10**6, rng=random.Random(1))
    rng = random.Random(3)
    for number in range(queued):
        scheduler.submit([_spec(number, rng)], 0.0, {})
    scheduler.take_changes()
    start = time.process_time()
    for number in range(queued, queued + DISPATCHES):
        scheduler.submit([_spec(number, rng)], 1.0, {})
        scheduler.dispatch(1.0, {"worker": 1})
        (card,) = scheduler.take_changes().starts
        scheduler.finish(card.uid, card.lease_epoch, Outcome(OutcomeKind.COMPLETED, 1.0, 1.0), 1.0)
        scheduler.take_changes()
    cost_us = 1e6 * (time.process_time() - start) / DISPATCHES
    print(f"submit, dispatch and end of a task with {queued} queued: {cost_us:.0f} us", flush=True)


def _spec(number: int, rng: random.Random) -> TaskSpec:
    return TaskSpec(
        task_uid=f"uid-{number}",
        name=rng.choice(NAMES),
        user=rng.choice(USERS),
        user_group="primary",
        body="{}",
        time_created=0.0,
        domain=rng.choice(DOMAINS),
        priority=rng.randrange(256),
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ended", type=int, default=1_000_000)
    parser.add_argument("--queued", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=200)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    for queued in (100, options.queued):
        measure_dispatch(queued)
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        directory = options.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / DATABASE_NAME).exists():
            fill(directory, options.ended, options.queued)
        command = (sys.executable, "-m", "remanager", "start", f"--state-dir={directory}")
        with Daemon(Target("remanager", command)) as daemon, client(daemon.address) as connection:
            print(f"start of the daemon to the first answer: {daemon.seconds_to_ping:.1f} s")
            measure_questions(connection, options.repeat)
            memory = daemon.roles()["manager"].memory_full_info()
            print(
                f"memory of the manager: {memory.uss / 1e6:.0f} MB of its own, {memory.pss / 1e6:.0f} MB PSS"
            )


if __name__ == "__main__":
    main()
