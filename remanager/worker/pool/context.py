"""The context of a task that runs in this process."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, Protocol

from remanager.model.pool_messages import (
    ChildAnswer,
    PoolEvent,
    PoolToManager,
    SubmitChild,
    TaskCheckpoint,
    TaskProgress,
)
from remanager.tasks import Context
from remanager.wire.values import ValueFault, pack_value, unpack_value, value_to_json
from remanager.worker.pool.assignments import Assignment


class Wire(Protocol):
    """What contexts need of the link to the manager."""

    def publish(self, events: list[PoolEvent]) -> None:
        """Send events; they are kept until they are acknowledged."""

    def send(self, message: PoolToManager) -> None:
        """Send a message."""

    def progress(self, progress: TaskProgress) -> None:
        """Send a report of progress, now or soon."""


class Children:
    """Submits children of running tasks and waits for the manager's answers.

    Nothing is sent with the lock held: those who wake the waiting ones may hold locks of the link.

    Parameters
    ----------
    send : callable
        Sends a message to the manager; without a connection it is lost.
    """

    def __init__(self, send: Callable[[SubmitChild], None]) -> None:
        self._send = send
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._condition = threading.Condition(self._lock)
        self._open: dict[int, SubmitChild] = {}
        self._answers: dict[int, ChildAnswer] = {}

    def submit(self, context: Context, lease_epoch: int, item: str, options: str) -> str:
        """Submit a child and wait for its UID; raises what :meth:`Context.submit_child` raises."""
        request = SubmitChild(next(self._numbers), context.task_uid, lease_epoch, item, options)
        with self._lock:
            self._open[request.id] = request
        self._send(request)
        with self._lock:
            self._condition.wait_for(lambda: request.id in self._answers or context.cancelled)
            del self._open[request.id]
            answer = self._answers.pop(request.id, None)
        if answer is None:
            context.check_cancelled()
        assert answer is not None
        if answer.task_uid is None:
            raise ValueError(f"The child was refused: {answer.msg}")
        return answer.task_uid

    def take(self, answer: ChildAnswer) -> None:
        """Take an answer of the manager."""
        with self._lock:
            if answer.id in self._open:
                self._answers[answer.id] = answer
                self._condition.notify_all()

    def repeat(self) -> None:
        """Send again what has not been answered: the connection was lost in between."""
        with self._lock:
            requests = list(self._open.values())
        for request in requests:
            self._send(request)

    def wake(self) -> None:
        """Let those who wait look whether they were told to stop."""
        with self._lock:
            self._condition.notify_all()


class WorkerContext(Context):
    """A context that passes on what its task tells.

    Parameters
    ----------
    assignment : Assignment
        The task; it has begun.
    wire : Wire
        The link to the manager.
    children : Children
        Where children are submitted.
    max_checkpoint_bytes : int
        Largest checkpoint, bytes.

    Raises
    ------
    ValueFault
        The checkpoint of an earlier execution cannot be read.
    """

    def __init__(
        self, assignment: Assignment, wire: Wire, children: Children, max_checkpoint_bytes: int
    ) -> None:
        timeout = assignment.timeout_s
        super().__init__(
            assignment.task_uid,
            attempt=assignment.attempt,
            deadline=None if timeout is None else time.time() + timeout,
            last_checkpoint=None if assignment.checkpoint is None else unpack_value(assignment.checkpoint),
            finishing=assignment.finishing,
        )
        self._lease_epoch = assignment.lease_epoch
        self._wire = wire
        self._children_desk = children
        self._max_checkpoint_bytes = max_checkpoint_bytes
        self._coroutine: asyncio.Task[Any] | None = None

    @property
    def last_report(self) -> dict[str, Any] | None:
        """What the task has told of its progress; None if nothing."""
        report = self.report | ({"io": dict(self.io)} if self.io else {})
        return report or None

    def cancel(self, reason: str = "") -> None:
        """Tell the task to stop; called from any thread."""
        super().cancel(reason)
        self._children_desk.wake()
        coroutine = self._coroutine
        if coroutine is not None:
            # The loop may be at its end just now.
            with contextlib.suppress(RuntimeError):
                coroutine.get_loop().call_soon_threadsafe(coroutine.cancel, reason)

    def run_by(self, coroutine: asyncio.Task[Any]) -> None:
        """Cancel this asyncio task, too, when the task is told to stop."""
        self._coroutine = coroutine
        if self.cancelled:
            coroutine.cancel()

    def _pass_report_on(self) -> None:
        report = self.last_report or {}
        self._wire.progress(TaskProgress(self.task_uid, self._lease_epoch, time.time(), report))

    def _keep_checkpoint(self, value: Any) -> None:
        try:
            payload = pack_value(value)
        except ValueFault as exc:
            raise ValueError(f"The checkpoint cannot be kept: {exc}") from exc
        if len(payload) > self._max_checkpoint_bytes:
            raise ValueError(
                f"The checkpoint has {len(payload)} bytes; at most {self._max_checkpoint_bytes} are kept"
            )
        event = TaskCheckpoint(0, time.time(), self.task_uid, self._lease_epoch, payload)
        self._wire.publish([event])

    def _submit(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]
    ) -> str:
        self.check_cancelled()
        item = {"item_type": "function", "item_uid": str(uuid.uuid4()), "name": name}
        try:
            item_text = value_to_json(item | {"args": args, "kwargs": kwargs})
            options_text = value_to_json(options)
        except ValueFault as exc:
            raise ValueError(f"An argument of the child '{name}' cannot be passed: {exc}") from exc
        return self._children_desk.submit(self, self._lease_epoch, item_text, options_text)
