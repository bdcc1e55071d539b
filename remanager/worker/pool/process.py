"""The process of a worker of the pool: its parts, its main thread, its end."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator

import psutil

from remanager.model.link import Message, Welcome
from remanager.model.pool_messages import (
    CancelTask,
    ChildAnswer,
    Drain,
    PoolHello,
    PoolLeaving,
    PoolReady,
    RunTasks,
    TasksEnded,
    TasksStarted,
)
from remanager.model.pool_worker_config import PoolWorkerConfig
from remanager.worker.capture import ConsoleCapture
from remanager.worker.lifecycle import Lifecycle
from remanager.worker.link import Link
from remanager.worker.pool.assignments import Assignments
from remanager.worker.pool.begun import BegunNote
from remanager.worker.pool.context import Children, WorkerContext
from remanager.worker.pool.discovery import Found, find_tasks
from remanager.worker.pool.execution import Executor

logger = logging.getLogger("remanager.worker.pool")

EXIT_LEFT = 0
EXIT_RECYCLED = 75
ORPHAN_ACK_TIMEOUT_S = 1.0
COLLECT_TIMEOUT_S = 5.0
MEMORY_PERIOD_S = 0.5
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""Results of tasks are put into one message until they are larger than this, bytes."""


class PoolWorkerProcess:
    """A worker of the pool.

    The main thread imports the task modules and runs tasks, one at a time. The link's thread takes commands
    and tells what has begun and ended: whatever has gathered goes in one message.

    Parameters
    ----------
    config : PoolWorkerConfig
        Settings of the worker.
    """

    def __init__(self, config: PoolWorkerConfig) -> None:
        self._config = config
        self._ready: PoolReady | None = None
        self._manager_uid: str | None = None
        self._busy_until = time.monotonic()
        self._orphaned = False
        self._life = Lifecycle(
            ConsoleCapture(config.console_address, config.worker_uid), config.log_level, config.crash_path
        )
        self._link = Link(
            config.link_address,
            config.worker_uid,
            on_message=self._on_message,
            hello=self._hello,
            on_tick=self._leave_if_orphaned,
            on_fault=self._life.fail,
            on_round=self._tell,
        )
        self._assignments = Assignments(
            config.give_back_after_s, self._link.wake, BegunNote(config.begun_path).put
        )
        self._children = Children(self._link.send)
        self._memory = _Memory(config.max_rss_bytes)

    def run(self) -> None:
        """Run tasks until told to leave; the interpreter should exit after that.

        The process then ends with the exit code 0, or 75 if it leaves to be replaced.
        """
        _detach_process()
        self._life.begin()
        self._link.start()
        found = find_tasks(self._config.task_modules, self._config.module_paths)
        self._announce(found)
        self._life.exit_code = self._work(found)
        # A manager that is being started again takes a while to hear what has ended.
        self._link.close(ORPHAN_ACK_TIMEOUT_S if self._orphaned else self._config.orphan_timeout_s)
        self._life.end_soon()

    # ------------------------------------------------------------------------------------ main thread

    def _announce(self, found: Found) -> None:
        for name, text in found.failures.items():
            logger.error("Task module '%s': %s", name, text)
        logger.info("%d tasks in %d modules", len(found.functions), len(self._config.task_modules))
        self._ready = PoolReady(0, time.time(), found.describe(), found.failures)
        self._link.publish([self._ready])

    def _work(self, found: Found) -> int:
        """Run tasks until there will be none any more; return the exit code."""
        assignments, config = self._assignments, self._config
        executor = Executor(
            found.functions,
            lambda a: WorkerContext(a, self._link, self._children, config.max_checkpoint_bytes),
            assignments.attach,
            config.max_result_bytes,
        )
        done = 0
        exit_code = EXIT_LEFT
        while (assignment := assignments.next()) is not None:
            outcome, context = executor.run(assignment)
            assignments.end(assignment, outcome, None if context is None else context.last_report)
            done += 1
            reason = f"it has run {done} tasks" if done == config.max_tasks else self._memory.why_too_large()
            if reason and exit_code != EXIT_RECYCLED:
                logger.info("The worker leaves to be replaced: %s", reason)
                exit_code = EXIT_RECYCLED
                self._link.publish([PoolLeaving(0, time.time(), reason)])
                assignments.stop()
        executor.close()
        assignments.wait_collected(COLLECT_TIMEOUT_S)
        return exit_code

    # ------------------------------------------------------------------------------------ link's thread

    def _on_message(self, message: Message) -> None:
        match message:
            case RunTasks():
                if not self._assignments.accept(message.tasks):
                    # At once: a worker that leaves waits for what it has told, not for what it will tell.
                    self._link.wake()
            case CancelTask():
                self._assignments.cancel(message.task_uid, message.lease_epoch, message.reason)
            case ChildAnswer():
                self._children.take(message)
            case Drain():
                self._assignments.stop()
            case Welcome():
                self._greet(message)
            case _:
                logger.warning("An unexpected message of the manager was dropped: %s", type(message).__name__)

    def _greet(self, welcome: Welcome) -> None:
        self._children.repeat()
        if self._manager_uid not in (None, welcome.manager_uid) and self._ready is not None:
            # Another manager: it may not know what the former one was told.
            self._link.publish([self._ready])
        self._manager_uid = welcome.manager_uid

    def _tell(self) -> float | None:
        collected = self._assignments.collect()
        if collected.started:
            self._link.send(TasksStarted(collected.started))
        if collected.ended:
            now = time.time()
            self._link.publish([TasksEnded(0, now, rows) for rows in _portions(collected.ended)])
        return collected.wait_s

    def _hello(self, last_seq: int) -> PoolHello:
        return PoolHello(self._config.worker_uid, os.getpid(), last_seq, self._assignments.held())

    def _leave_if_orphaned(self, contact_age: float) -> None:
        now = time.monotonic()
        if self._assignments.busy or self._ready is None:
            self._busy_until = now
        elif min(contact_age, now - self._busy_until) > self._config.orphan_timeout_s and not self._orphaned:
            self._orphaned = True
            logger.warning("No manager for %g s: the worker leaves", self._config.orphan_timeout_s)
            self._assignments.stop()


class _Memory:
    """Watches the memory of this process.

    Parameters
    ----------
    max_rss_bytes : int
        Resident memory beyond which it is too large, bytes; 0: never.
    """

    def __init__(self, max_rss_bytes: int) -> None:
        self._max_rss_bytes = max_rss_bytes
        self._process = psutil.Process()
        self._due = 0.0

    def why_too_large(self) -> str:
        """Tell that the process uses too much memory; empty if it does not. It is not looked at each time."""
        if not self._max_rss_bytes or (now := time.monotonic()) < self._due:
            return ""
        self._due = now + MEMORY_PERIOD_S
        rss: int = self._process.memory_info().rss
        return f"it uses {rss} bytes of memory" if rss > self._max_rss_bytes else ""


def _portions(rows: list[list[object]]) -> Iterator[list[list[object]]]:
    """Divide outcomes so that no message is much larger than it must be."""
    portion: list[list[object]] = []
    size = 0
    for row in rows:
        *_, payload, _report = row
        added = len(payload) if isinstance(payload, bytes) else 0
        if portion and size + added > MAX_MESSAGE_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(row)
        size += added
    yield portion


def _detach_process() -> None:
    """Make the process independent of the terminal and of signals to the daemon."""
    with contextlib.suppress(PermissionError):  # it leads a session already
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
