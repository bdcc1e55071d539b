"""The tasks that the worker holds: handed over by the link's thread, run by the main thread."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from remanager.engine.task_queue.changes import OutcomeKind

ANNOUNCE_AFTER_S = 0.01
"""A task that takes longer is announced when it runs; of others only the end is told."""

GATHER_S = 0.005
"""While short tasks wait, ends gather for so long before they are told."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an execution ended; the fields are those of :class:`remanager.model.pool_messages.TasksEnded`."""

    kind: OutcomeKind
    reason: str = ""
    error: tuple[str, str, str] | None = None
    retry_after_s: float | None = None
    codec: str | None = None
    payload: bytes | None = None


@dataclass(slots=True, eq=False)
class Assignment:
    """A task that was handed over.

    Attributes
    ----------
    timeout_s : float or None
        How long the execution may take.
    checkpoint : bytes or None
        The packed value that an earlier execution kept.
    finishing : bool
        It runs again as its children have ended.
    time_start : float or None
        When it began, epoch seconds.
    began : float
        The same on the monotonic clock.
    cancel_reason : str or None
        Why it was told to stop.
    on_cancel : callable or None
        Passes that on to the execution.
    """

    task_uid: str
    lease_epoch: int
    attempt: int
    body: str
    timeout_s: float | None = None
    checkpoint: bytes | None = None
    finishing: bool = False
    time_start: float | None = None
    began: float = 0.0
    announced: bool = False
    cancel_reason: str | None = None
    on_cancel: Callable[[str], None] | None = None


@dataclass(slots=True)
class Collected:
    """What the manager is to be told.

    Attributes
    ----------
    started : list
        Rows of :class:`remanager.model.pool_messages.TasksStarted`.
    ended : list
        Rows of :class:`remanager.model.pool_messages.TasksEnded`.
    wait_s : float or None
        After how long there may be more without a wake-up, s.
    """

    started: list[list[Any]] = field(default_factory=list)
    ended: list[list[Any]] = field(default_factory=list)
    wait_s: float | None = None


class Assignments:
    """Queue of the tasks that were handed over, and what became of them.

    A task is held until its end was collected. The methods may be called from any thread, except that
    :meth:`collect` and :meth:`held` are called with the lock of the link held: a greeting that no longer
    names a task must come after the message of its end.

    Parameters
    ----------
    give_back_after_s : float
        When a task takes longer than this (s), those behind it are given back.
    wake : callable
        Called without arguments when there is something to collect, without the lock; it must not block.
    note_begin : callable
        Called with UID, lease epoch and time (epoch seconds) of each task before it begins.
    """

    def __init__(
        self,
        give_back_after_s: float,
        wake: Callable[[], None],
        note_begin: Callable[[str, int, float], None],
    ) -> None:
        self._give_back_after_s = give_back_after_s
        self._wake = wake
        self._note_begin = note_begin
        self._lock = threading.RLock()  # guards everything
        self._condition = threading.Condition(self._lock)
        self._queue: deque[Assignment] = deque()
        self._held: dict[tuple[str, int], Assignment] = {}
        self._running: Assignment | None = None
        self._ended: list[list[Any]] = []
        self._stopped = False
        self._collected = 0.0

    @property
    def busy(self) -> bool:
        """Whether any task is held."""
        return bool(self._held)

    # ---------------------------------------------------------------------------------- commands

    def accept(self, rows: Iterable[Sequence[Any]]) -> bool:
        """Take tasks: rows of :class:`remanager.model.pool_messages.RunTasks`; False if the worker leaves."""
        with self._lock:
            for row in rows:
                assignment = Assignment(*row)
                key = (assignment.task_uid, assignment.lease_epoch)
                if key in self._held:
                    continue
                self._held[key] = assignment
                if self._stopped:
                    self._return(assignment, "the worker leaves")
                else:
                    self._queue.append(assignment)
            self._condition.notify_all()
            return not self._stopped

    def cancel(self, task_uid: str, lease_epoch: int, reason: str) -> None:
        """Give a task back that has not begun; tell a running one to stop. Others are passed over.

        An order that is repeated after a greeting changes nothing.
        """
        with self._lock:
            assignment = self._held.get((task_uid, lease_epoch))
            if assignment is None:
                return
            if assignment is self._running:
                if assignment.cancel_reason == reason:
                    return
                assignment.cancel_reason = reason
                if assignment.on_cancel is not None:
                    assignment.on_cancel(reason)
            elif assignment in self._queue:
                self._queue.remove(assignment)
                self._return(assignment, reason)

    def stop(self) -> None:
        """Give back what has not begun, and take no more."""
        with self._lock:
            self._stopped = True
            self._return_queue("the worker leaves")
            self._condition.notify_all()
        self._wake()

    # ---------------------------------------------------------------------------------- main thread

    def next(self) -> Assignment | None:
        """Wait for a task and begin it; return None when there will be none any more."""
        with self._lock:
            while not self._queue:
                if self._stopped:
                    return None
                self._condition.wait()
            self._running = assignment = self._queue.popleft()
            assignment.time_start = time.time()
            self._note_begin(assignment.task_uid, assignment.lease_epoch, assignment.time_start)
            assignment.began = time.monotonic()
            return assignment

    def attach(self, assignment: Assignment, on_cancel: Callable[[str], None]) -> None:
        """Let the execution of a task hear when it is told to stop."""
        with self._lock:
            assignment.on_cancel = on_cancel
            if assignment.cancel_reason is not None:
                on_cancel(assignment.cancel_reason)

    def end(self, assignment: Assignment, outcome: Outcome, report: Mapping[str, Any] | None = None) -> None:
        """Take the end of a task that has begun, and what it told last of its progress."""
        with self._lock:
            now = time.monotonic()
            self._running = None
            self._add_end(assignment, outcome, now - assignment.began, report)
            # The next end tells of this one, or the look for long tasks, which is due in ANNOUNCE_AFTER_S.
            told_soon = bool(self._queue) and not assignment.announced and now - self._collected < GATHER_S
        if not told_soon:
            self._wake()

    def wait_collected(self, timeout: float) -> bool:
        """Wait until every end was collected; return False if ``timeout`` (s) passes before."""
        with self._lock:
            return self._condition.wait_for(lambda: not self._held, timeout)

    # ---------------------------------------------------------------------------------- with the link's lock

    def collect(self) -> Collected:
        """Return what has begun and ended since the last call."""
        with self._lock:
            found = Collected()
            self._collected = time.monotonic()
            running = self._running
            if running is not None:
                self._look_at(running, found)
            elif self._queue:
                found.wait_s = ANNOUNCE_AFTER_S
            if self._ended:
                found.ended, self._ended = self._ended, []
                for uid, epoch, *_ in found.ended:
                    del self._held[uid, epoch]
                self._condition.notify_all()
            return found

    def held(self) -> list[list[Any]]:
        """Return UID, lease epoch and time of the begin (or None) of each task that is held."""
        with self._lock:
            return [[a.task_uid, a.lease_epoch, a.time_start] for a in self._held.values()]

    def _look_at(self, running: Assignment, found: Collected) -> None:
        age = time.monotonic() - running.began
        waits = []
        if not running.announced:
            if age >= ANNOUNCE_AFTER_S:
                running.announced = True
                found.started.append([running.task_uid, running.lease_epoch, running.time_start])
            else:
                waits.append(ANNOUNCE_AFTER_S - age)
        if self._queue:
            if age >= self._give_back_after_s:
                self._return_queue("the worker is busy with another task")
            else:
                waits.append(self._give_back_after_s - age)
        found.wait_s = min(waits, default=None)

    # ---------------------------------------------------------------------------------- with the lock held

    def _return_queue(self, reason: str) -> None:
        while self._queue:
            self._return(self._queue.popleft(), reason)

    def _return(self, assignment: Assignment, reason: str) -> None:
        self._add_end(assignment, Outcome(OutcomeKind.RETURNED, reason), 0.0)

    def _add_end(
        self,
        assignment: Assignment,
        outcome: Outcome,
        duration: float,
        report: Mapping[str, Any] | None = None,
    ) -> None:
        start = time.time() if assignment.time_start is None else assignment.time_start
        self._ended.append(
            [
                *(assignment.task_uid, assignment.lease_epoch, outcome.kind.value, start, start + duration),
                *(outcome.reason, outcome.error, outcome.retry_after_s, outcome.codec, outcome.payload),
                report,
            ]
        )
