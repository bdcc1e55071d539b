"""The pool: worker processes that are started when they are needed, watched, and told what to do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from remanager.manager.background import Background
from remanager.manager.ledger import Batch, Ledger
from remanager.manager.ports import Clock, NotConnected, ProcessPort, ReadMemory, WorkerPort
from remanager.manager.state import new_uid
from remanager.manager.task_queue.options import TaskQueueOptions
from remanager.manager.task_queue.worker_process import PoolWorker
from remanager.manager.worker_exit import DRAIN_S, describe_exit
from remanager.manager.worker_files import crash_path, read_crash, remove_files, write_settings
from remanager.manager.worker_link import record_report
from remanager.model.begun import Begun
from remanager.model.link import Ack, Heartbeat, Message, Welcome
from remanager.model.pool_messages import (
    Drain,
    PoolHello,
    PoolLeaving,
    PoolReady,
    RunTasks,
    SubmitChild,
    TaskCheckpoint,
    TaskProgress,
    TasksEnded,
    TasksStarted,
)
from remanager.model.pool_worker_config import PoolWorkerConfig
from remanager.store.records import WorkerRow
from remanager.store.writes import worker_delete, worker_put

logger = logging.getLogger(__name__)

KIND = "pool"
"""Kind of these workers in the store."""

GREETING_S = 30.0
"""How long a worker may take from its start to its first message."""

RECYCLED_EXIT = 75
"""Exit code of a worker that leaves to be replaced."""


class PoolOwner(Protocol):
    """What the pool reports to."""

    def on_ready(self, worker: PoolWorker, batch: Batch, message: PoolReady) -> None:
        """Take the functions that a worker found."""
        ...

    def on_ended(self, worker: PoolWorker, batch: Batch, message: TasksEnded) -> None:
        """Take the ends of executions."""
        ...

    def on_started(self, worker: PoolWorker, message: TasksStarted) -> None:
        """Take note of executions that began."""
        ...

    def on_checkpoint(self, worker: PoolWorker, batch: Batch, message: TaskCheckpoint) -> None:
        """Keep a value for the next attempt."""
        ...

    def on_progress(self, worker: PoolWorker, message: TaskProgress) -> None:
        """Take a report of progress."""
        ...

    def on_child(self, worker: PoolWorker, message: SubmitChild) -> None:
        """Submit a child of a running task."""
        ...

    def on_never_reached(self, worker: PoolWorker, batch: Batch, uids: Iterable[str]) -> None:
        """Take back tasks that a worker was handed and never got."""
        ...

    def on_worker_lost(self, worker: PoolWorker, batch: Batch, why: str, crash: str) -> None:
        """Close or repeat what a worker held that is gone."""
        ...

    def on_greeted(self, worker: PoolWorker) -> None:
        """Tell a worker that is connected what it may not know, and that it can take tasks."""
        ...


class Pool:
    """Worker processes of the task queue.

    Parameters
    ----------
    options : TaskQueueOptions
        Settings.
    python : str
        Interpreter of the workers.
    runtime_dir : Path
        Private directory for the settings of workers.
    config : PoolWorkerConfig
        Settings of a worker; its uid is filled in when it starts.
    port : WorkerPort
        Sockets towards the workers.
    processes : ProcessPort
        Starts and watches processes.
    ledger, clock, background, read_memory
        As elsewhere in this room.

    Attributes
    ----------
    workers : dict
        By uid.
    owner : PoolOwner
        What the pool reports to; to be set before anything starts.
    restarts : int
        Workers that ended and had not been told to.
    """

    owner: PoolOwner

    def __init__(
        self,
        options: TaskQueueOptions,
        *,
        python: str,
        runtime_dir: Path,
        config: PoolWorkerConfig,
        port: WorkerPort,
        processes: ProcessPort,
        ledger: Ledger,
        clock: Clock,
        background: Background,
        read_memory: ReadMemory,
        manager_uid: str,
    ) -> None:
        self._options = options
        self._python = python
        self._runtime_dir = runtime_dir
        self._config = config
        self._port = port
        self._processes = processes
        self._ledger = ledger
        self._clock = clock
        self._background = background
        self._read_memory = read_memory
        self._manager_uid = manager_uid
        self._starting = 0
        self._closing = False
        self._ended = asyncio.Event()
        self.workers: dict[str, PoolWorker] = {}
        self.restarts = 0
        self.start_error = ""

    # -------------------------------------------------------------------------------- processes

    def want(self, count: int) -> None:
        """Start workers until there are ``count``, or as many as the settings allow."""
        if self._closing or not self._options.modules:
            return
        alive = sum(not w.draining for w in self.workers.values()) + self._starting
        for _ in range(min(count, self._options.workers) - alive):
            self._starting += 1
            self._background.spawn(self._start(), "pool worker start")

    async def _start(self) -> None:
        uid, now = new_uid(), self._clock()
        config = replace(
            self._config,
            worker_uid=uid,
            begun_path=str(self._begun_path(uid)),
            crash_path=str(crash_path(self._runtime_dir, uid)),
        )
        try:
            path = write_settings(self._runtime_dir, uid, config.to_json())
            argv = [self._python, "-P", "-m", "remanager.worker.pool", "--config", str(path)]
            pid = await self._processes.spawn(argv, None, None)
        except OSError as exc:
            self.start_error = f"A worker of the pool could not be started: {exc}"
            logger.error("%s", self.start_error)
            return
        finally:
            self._starting -= 1
        self.start_error = ""
        worker = PoolWorker(
            uid, pid, self._processes.start_ticks(pid), now, last_heartbeat=now, idle_since=now
        )
        self.workers[uid] = worker
        self._watch(worker)
        batch = self._ledger.batch()
        batch.write(worker_put(WorkerRow(uid, KIND, pid, worker.start_ticks, now, 0, "{}")))
        batch.event("pool_worker_started", worker_uid=uid, pid=pid)
        await self._ledger.commit(batch)

    def adopt(self, row: WorkerRow) -> PoolWorker:
        """Take over a worker that a former manager started."""
        now = self._clock()
        worker = PoolWorker(
            row.worker_uid,
            row.pid,
            row.start_ticks,
            row.time_started,
            last_heartbeat=now,
            idle_since=now,
            ready=row.acked_seq > 0,  # its first event was that it is
            acked_seq=row.acked_seq,
            handled_seq=row.acked_seq,
        )
        self.workers[worker.uid] = worker
        return worker

    def watch_adopted(self) -> None:
        """Watch the processes of all workers that were taken over."""
        for worker in list(self.workers.values()):
            self._watch(worker)

    def _watch(self, worker: PoolWorker) -> None:
        def ended(returncode: int | None) -> None:
            # What it sent just before its end comes first.
            asyncio.get_running_loop().call_later(DRAIN_S, self._on_exit, worker, returncode)

        self._processes.watch(worker.pid, ended)

    def _on_exit(self, worker: PoolWorker, returncode: int | None) -> None:
        if self.workers.get(worker.uid) is not worker:
            return
        del self.workers[worker.uid]
        why = worker.killed_because or describe_exit(returncode)
        expected = worker.draining or returncode == RECYCLED_EXIT
        if not expected:
            self.restarts += 1
            logger.error("A worker of the pool (pid %d) has ended: %s", worker.pid, why)
        batch = self._ledger.batch()
        batch.write(worker_delete(worker.uid))
        batch.event(
            "pool_worker_ended",
            worker_uid=worker.uid,
            pid=worker.pid,
            returncode=returncode,
            msg=why,
            rss_bytes=worker.rss_bytes,
            expected=expected,
        )
        crash = self.crash_of(worker.uid)
        if crash:
            logger.error("The stacks of the worker (pid %d) as it crashed:\n%s", worker.pid, crash)
        self.owner.on_worker_lost(worker, batch, why, crash)
        self._ledger.commit(batch)
        remove_files(self._runtime_dir, worker.uid)
        self._ended.set()

    def begun_by(self, worker_uid: str) -> Begun:
        """Return what a worker has begun, also one that is gone."""
        return Begun.read(self._begun_path(worker_uid))

    def crash_of(self, worker_uid: str) -> str:
        """Return the stacks that a worker left as it crashed; empty if it left none."""
        return read_crash(self._runtime_dir, worker_uid)

    def kill(self, worker: PoolWorker, why: str) -> None:
        """Kill a worker; what it held is closed when it is gone."""
        if not worker.killed_because:
            worker.killed_because = why
            self._processes.kill(worker.pid)

    def drain(self, worker: PoolWorker) -> None:
        """Let a worker finish what runs and leave."""
        worker.draining = True
        self.send(worker, Drain())

    def check(self) -> None:
        """Kill the silent, dismiss the idle; called about once a second."""
        now, options = self._clock(), self._options
        spare = len(self.workers) - 1
        for worker in list(self.workers.values()):
            silent = now - worker.last_heartbeat
            if silent > (options.lease_s if worker.ready else max(GREETING_S, options.lease_s)):
                self.kill(worker, f"The worker was silent for {silent:.0f} s and was killed")
            elif spare > 0 and worker.is_idle and now - worker.idle_since > options.idle_s:
                spare -= 1
                self.drain(worker)

    def clock_set(self, step_s: float) -> None:
        """Take signs of life for as old as they are, though the clock was set by ``step_s`` (s)."""
        for worker in self.workers.values():
            worker.last_heartbeat += step_s
            worker.idle_since += step_s

    async def close(self, timeout_s: float) -> None:
        """Let every worker finish for at most ``timeout_s`` (s), then kill it."""
        self._closing = True
        for worker in self.workers.values():
            self.drain(worker)
        try:
            async with asyncio.timeout(timeout_s):
                await self._wait_empty()
        except TimeoutError:
            for worker in list(self.workers.values()):
                self.kill(worker, "The manager was stopped")
            async with asyncio.timeout(5.0):
                await self._wait_empty()

    async def wait_gone(self, worker: PoolWorker) -> None:
        """Wait until a worker has ended."""
        while self.workers.get(worker.uid) is worker:
            self._ended.clear()
            await self._ended.wait()

    async def _wait_empty(self) -> None:
        while self.workers or self._starting:
            self._ended.clear()
            await self._ended.wait()

    # -------------------------------------------------------------------------------- messages

    def hand_over(self, worker: PoolWorker, tasks: list[list[Any]]) -> None:
        """Send tasks: rows of :class:`RunTasks`."""
        for task in tasks:
            worker.sent.add(task[0])
        self.send(worker, RunTasks(tasks))

    def send(self, worker: PoolWorker, message: Message) -> None:
        """Send a message; one that is not connected is told when it greets again."""
        try:
            self._port.send(worker.uid, message)
        except NotConnected:
            logger.info("A worker of the pool (pid %d) is not connected", worker.pid)

    def on_message(self, worker: PoolWorker, message: Message) -> None:
        """Handle a message of a worker of the pool."""
        worker.last_heartbeat = self._clock()
        match message:
            case Heartbeat():
                self.send(worker, Ack(worker.acked_seq))
                worker.rss_bytes = self._read_memory(worker.pid)
            case PoolHello():
                self._on_hello(worker, message)
            case PoolReady() | TasksEnded() | TaskCheckpoint() | PoolLeaving():
                self._on_event(worker, message)
            case TasksStarted():
                self.owner.on_started(worker, message)
            case TaskProgress():
                self.owner.on_progress(worker, message)
            case SubmitChild():
                self.owner.on_child(worker, message)
            case _:
                logger.warning("A worker of the pool sent %s", type(message).__name__)

    def _on_hello(self, worker: PoolWorker, hello: PoolHello) -> None:
        worker.connected = True
        named = {uid: epoch for uid, epoch, _began in hello.held}
        worker.unnamed = {uid: epoch for uid, epoch in worker.held.items() if named.get(uid) != epoch}
        worker.reconcile_seq = hello.last_seq
        self.send(worker, Welcome(self._manager_uid, worker.acked_seq, {}))
        if worker.draining:
            self.send(worker, Drain())
        self._reconcile(worker)
        self.owner.on_greeted(worker)

    def _reconcile(self, worker: PoolWorker) -> None:
        """Take back what was handed to a worker and never reached it, once it has told everything."""
        if worker.reconcile_seq is None or worker.handled_seq < worker.reconcile_seq:
            return
        worker.reconcile_seq = None
        missing = [uid for uid, epoch in worker.unnamed.items() if worker.held.get(uid) == epoch]
        worker.unnamed = {}
        if missing:
            batch = self._ledger.batch()
            self.owner.on_never_reached(worker, batch, missing)
            self._ledger.commit(batch)

    def _on_event(
        self, worker: PoolWorker, event: PoolReady | TasksEnded | TaskCheckpoint | PoolLeaving
    ) -> None:
        """Handle an event; it is acknowledged when what follows from it is on disk."""
        if event.seq <= worker.handled_seq:  # sent again after a loss of the connection
            self.send(worker, Ack(worker.acked_seq))
            return
        batch = self._ledger.batch()
        match event:
            case PoolReady():
                worker.ready = True
                self.owner.on_ready(worker, batch, event)
            case TasksEnded():
                self.owner.on_ended(worker, batch, event)
            case TaskCheckpoint():
                self.owner.on_checkpoint(worker, batch, event)
            case PoolLeaving():
                logger.info("A worker of the pool (pid %d) leaves: %s", worker.pid, event.reason)
                worker.draining = True
        record_report(batch, worker, event.seq, lambda ack: self._acknowledge(worker, ack))
        self._ledger.commit(batch)
        self._reconcile(worker)

    def _acknowledge(self, worker: PoolWorker, ack: Ack) -> None:
        if worker.uid in self.workers:
            self.send(worker, ack)

    def _begun_path(self, uid: str) -> Path:
        return self._runtime_dir / f"worker-{uid}.begun"

    def lease_expires_at(self, worker_uid: str | None) -> float | None:
        """Return when a silent worker loses its tasks, epoch seconds; None if it is none of the pool."""
        worker = self.workers.get(worker_uid or "")
        return None if worker is None else worker.last_heartbeat + self._options.lease_s

    def describe(self) -> list[dict[str, object]]:
        """Return what ``worker_list`` answers for each worker."""
        now = self._clock()
        return [
            {
                "worker_uid": w.uid,
                "kind": KIND,
                "pid": w.pid,
                "state": w.state.value,
                "slots": 1,
                "running": list(w.held),
                "heartbeat_age_s": now - w.last_heartbeat,
                "lease_expires_at": self.lease_expires_at(w.uid),
                "tasks_done": w.tasks_done,
                "tasks_failed": w.tasks_failed,
                "restarts": self.restarts,
                "rss_bytes": w.rss_bytes,
                "time_started": w.time_started,
            }
            for w in self.workers.values()
        ]
