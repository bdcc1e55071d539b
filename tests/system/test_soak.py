"""A mixed load for a while: memory, file handles, threads, sockets, journal and write-ahead log stay bounded.

``make soak`` runs it for half an hour (``SOAK_S``).
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from system_harness import ROOT, Daemon, Listener, RawClient, function

SOAK_S = float(os.environ.get("SOAK_S", "60"))
SAMPLES = 30
RETENTION_S = 75.0
"""What is over the limits for longer than this has been deleted."""

KEPT_EVENTS, KEPT_TASKS = 100_000, 2000
MIB = 1 << 20
MOST_WAL_BYTES = 64 * MIB
ALL = {"all": True}
INSTRUCTION = {"item_type": "instruction", "name": "queue_stop"}

OPTIONS = (
    *("--task-modules", "soak_tasks", "--task-paths", str(Path(__file__).parent / "tasks")),
    *("--task-workers", "2", "--task-worker-max-tasks", "400"),
    *("--task-retention", f"success=10/{KEPT_TASKS},failure=10/{KEPT_TASKS},cancelled=10/{KEPT_TASKS}"),
)

GROWTH = {"memory": 24 * MIB, "handles": 8, "event_handles": 4, "threads": 3}
"""How much more than in the first third may be used later."""


@dataclass
class Sample:
    """What is in use."""

    time: float
    submitted: int
    events: int
    last_event: int
    tasks: int
    wal_bytes: int
    manager: dict[str, int]
    workers: list[dict[str, int]] = field(default_factory=list)


class Load(threading.Thread):
    """A client that submits, asks and steers until it is stopped."""

    def __init__(self, daemon: Daemon, seed: int) -> None:
        super().__init__(name="load", daemon=True)
        self._client = RawClient(daemon.control)
        self._rng = random.Random(seed)
        self._stopped = threading.Event()
        self.submitted = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._turn()
        except BaseException as exc:  # noqa: BLE001 - the test's thread raises it
            self.error = exc
        finally:
            self._client.close()

    def end(self) -> None:
        """Stop, and fail if it has failed."""
        self._stopped.set()
        self.join(30.0)
        assert not self.is_alive()
        self.check()

    def check(self) -> None:
        """Fail if it has failed."""
        if self.error is not None:
            raise self.error

    def _task(self) -> dict[str, Any]:
        rng = self._rng
        return rng.choice(
            [
                function("give", "x" * rng.choice([1, 100, 10_000])),
                function("give", rng.random()),
                function("rest", 0.01),
                function("rest_gently", 0.01),
                function("stumble", rng.randrange(5)),
                function("step", 5),
                function("parent", 3),
            ]
        )

    def _turn(self) -> None:
        ask, rng = self._client.ok, self._rng
        items = [{"item": self._task(), "options": self._options()} for _ in range(rng.randrange(1, 40))]
        uids = [r["task_uid"] for r in ask("task_submit_batch", items=items, **ROOT)["results"]]
        self.submitted += len(uids)
        for _ in range(5):
            uids.append(ask("task_submit", item=self._task(), options=self._options(), **ROOT)["task_uid"])
            self.submitted += 1
            ask("task_status", task_uid=uids)
        if rng.random() < 0.2:
            ask("task_cancel", task_uid=rng.sample(uids, 3))
        ask("task_list", limit=20, selector={"state": rng.choice(["running", "completed", "pending"])})
        ask("task_count", group_by=rng.choice(["state", "task_type", "user", "tag:sample"]))
        ask("task_info", task_uid=rng.choice(uids), include=["transitions", "attempts"])
        ask("stats")
        ask("queue_status")
        # For the first large reply pyzmq starts a thread with sockets, which then stay.
        ask("event_list", limit=rng.choice([50, 2000]))
        ask("console_get", limit=50)
        uid = ask("queue_item_add", item=INSTRUCTION, user="tester", user_group="primary")
        ask("queue_item_remove", uid=uid["item"]["item_uid"])
        self._client.refused("task_submit", item=function("nothing_of_this_name"), **ROOT)
        self._client.long("task_wait", task_uid=uids, until="all")

    def _options(self) -> dict[str, Any]:
        rng = self._rng
        return {
            "priority": rng.randrange(100, 150),
            "group": rng.choice(["", "a", "b"]),
            "tags": {"sample": str(rng.randrange(50))},
        }


def used_by(process: psutil.Process) -> dict[str, int]:
    """Return what a process uses. Each socket of ZeroMQ has an event handle."""
    handles = _handles(process.pid)
    return {
        "memory": process.memory_full_info().uss,
        "handles": len(handles),
        "event_handles": sum("eventfd" in h for h in handles),
        "threads": process.num_threads(),
    }


def _handles(pid: int) -> list[str]:
    """Return what the open file handles of a process lead to."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.append(os.readlink(path))
    return found


def take_sample(daemon: Daemon, load: Load) -> Sample:
    """Look at everything."""
    counted = daemon.client.ok("task_count")
    database = daemon.state_dir / "remanager.sqlite"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        first, last = connection.execute("SELECT MIN(seq), MAX(seq) FROM event").fetchone()
    wal = database.with_name(f"{database.name}-wal")
    workers = []
    for process in daemon.processes():
        try:
            if "remanager.worker.pool" in process.cmdline():
                workers.append(used_by(process))
        except (psutil.NoSuchProcess, FileNotFoundError):
            continue  # it has been replaced
    return Sample(
        time=time.monotonic(),
        submitted=load.submitted,
        events=last - first + 1,
        last_event=last,
        tasks=counted["total"],
        wal_bytes=wal.stat().st_size if wal.exists() else 0,
        manager=used_by(daemon.manager()),
        workers=workers,
    )


def check(samples: list[Sample]) -> None:
    """Nothing grows any more after the first third."""
    third = len(samples) // 3
    warm, later = samples[:third], samples[third:]
    for name, growth in GROWTH.items():
        most = max(s.manager[name] for s in warm) + growth
        assert max(s.manager[name] for s in later) <= most, [s.manager[name] for s in samples]
        most = max(w[name] for s in warm for w in s.workers) + growth
        assert max(w[name] for s in later for w in s.workers) <= most, [s.workers for s in samples]
    for sample in samples:
        assert sample.wal_bytes <= MOST_WAL_BYTES, [s.wal_bytes for s in samples]
        before = next(s for s in samples if s.time >= sample.time - RETENTION_S)
        assert sample.events <= KEPT_EVENTS + sample.last_event - before.last_event
        # Children and what is active come on top.
        new = 2 * (sample.submitted - before.submitted)
        assert sample.tasks <= 3 * KEPT_TASKS + new, (sample.tasks, new)


@pytest.mark.timeout(SOAK_S + 300)
def test_soak(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon(*OPTIONS)
    daemon.start()
    load = Load(daemon, seed=1)
    samples: list[Sample] = []
    with daemon.listen() as listener:
        load.start()
        begin = time.monotonic()
        for number in range(1, SAMPLES + 1):
            hear(listener, begin + number * SOAK_S / SAMPLES)
            samples.append(take_sample(daemon, load))
            load.check()
        load.end()
    while daemon.client.long("task_wait", selector=ALL, until="idle")["active"]:
        pass
    last = samples[-1]
    print(f"{load.submitted} tasks submitted, {last.last_event} events; at the end {last}")  # noqa: T201
    check(samples)
    total = daemon.client.ok("task_count", group_by="state")
    assert sum(c["count"] for c in total["counts"]) == total["total"]
    assert daemon.client.ok("queue_get")["items"] == []


def hear(listener: Listener, until: float) -> None:
    """Read what is published for a while."""
    while (left := until - time.monotonic()) > 0:
        try:
            listener.wait_messages(1, left)
        except TimeoutError:
            return
        listener.text = ""
