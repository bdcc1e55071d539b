"""What workers of the pool report, and what follows from it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from remanager.engine.task_queue.card import TaskError
from remanager.engine.task_queue.changes import Outcome, OutcomeKind
from remanager.manager.background import Background
from remanager.manager.ledger import Batch
from remanager.manager.ports import Clock
from remanager.manager.task_queue.children import ChildDesk
from remanager.manager.task_queue.functions import SETTING as FUNCTIONS
from remanager.manager.task_queue.service import TaskQueue
from remanager.manager.task_queue.worker_process import PoolWorker
from remanager.model.pool_messages import (
    CancelTask,
    PoolReady,
    SubmitChild,
    TaskCheckpoint,
    TaskProgress,
    TasksEnded,
    TasksStarted,
)
from remanager.store.task_writes import checkpoint_put

logger = logging.getLogger(__name__)

MAX_TEXT_CHARS = 20_000
"""Of a message or traceback of a task, the last so many characters are kept."""

_FAILED = (OutcomeKind.ERROR, OutcomeKind.PERMANENT, OutcomeKind.RETRY)


class PoolReports:
    """Implements :class:`remanager.manager.task_queue.pool.PoolOwner` for a task queue.

    Parameters
    ----------
    queue : TaskQueue
        Whose workers they are.
    children : ChildDesk
        Takes the tasks that tasks submit.
    clock, background
        As elsewhere in this room.
    """

    def __init__(
        self,
        queue: TaskQueue,
        children: ChildDesk,
        clock: Clock,
        background: Background,
    ) -> None:
        self._queue = queue
        self._children = children
        self._clock = clock
        self._background = background

    def on_ready(self, worker: PoolWorker, batch: Batch, message: PoolReady) -> None:
        """Take the functions that a worker found."""
        queue = self._queue
        if queue.functions.take(message.functions, message.failures):
            batch.setting(FUNCTIONS, {"functions": message.functions, "failures": message.failures})
            batch.event("task_functions_changed", worker_uid=worker.uid, failed_modules=[*message.failures])
            for name, text in message.failures.items():
                logger.error("The task module %s could not be imported:\n%s", name, text)
        queue.functions_known.set()
        queue.advance(batch)

    def on_ended(self, worker: PoolWorker, batch: Batch, message: TasksEnded) -> None:
        """Take the ends of executions."""
        queue, now = self._queue, self._clock()
        for uid, epoch, *rest in message.outcomes:
            outcome, report = _outcome(*rest)
            if report:
                self._take_report(worker, uid, epoch, outcome.time_stop, report)
            if worker.held.get(uid) == epoch:
                _forget(worker, uid)
            if outcome.kind is OutcomeKind.RETURNED:
                worker.gave_back = True
            else:
                queue.pace.observe(outcome.time_stop - outcome.time_start)
                worker.tasks_done += 1
                worker.tasks_failed += outcome.kind in _FAILED
            if not queue.scheduler.finish(uid, epoch, outcome, now):
                batch.event("task_late_report", uid, lease_epoch=epoch, outcome=outcome.kind.value)
        if not worker.held:
            worker.gave_back = False
            worker.idle_since = now
        queue.advance(batch)

    def on_started(self, worker: PoolWorker, message: TasksStarted) -> None:
        """Take note of executions that began."""
        for uid, epoch, time in message.tasks:
            if worker.held.get(uid) == epoch:
                self._queue.note_begin(worker, uid, epoch, time)

    def on_checkpoint(self, worker: PoolWorker, batch: Batch, message: TaskCheckpoint) -> None:
        """Keep a value for the next attempt."""
        if worker.held.get(message.task_uid) == message.lease_epoch:
            batch.write(checkpoint_put(message.task_uid, message.lease_epoch, message.payload))

    def on_progress(self, worker: PoolWorker, message: TaskProgress) -> None:
        """Take a report of progress."""
        self._take_report(worker, message.task_uid, message.lease_epoch, message.time, message.report)

    def _take_report(
        self, worker: PoolWorker, uid: str, epoch: int, time: float, report: Mapping[str, Any]
    ) -> None:
        card = self._queue.scheduler.cards.get(uid)
        if card is not None and worker.held.get(uid) == epoch:
            self._queue.progress.report(card, epoch, time, report)
            self._queue.figures.report(card, report, self._clock())

    def on_child(self, worker: PoolWorker, message: SubmitChild) -> None:
        """Submit a child of a running task."""
        self._background.spawn(self._children.submit(worker, message), "child task")

    def on_never_reached(self, worker: PoolWorker, batch: Batch, uids: Iterable[str]) -> None:
        """Take back tasks that a worker was handed and never got."""
        queue, now = self._queue, self._clock()
        for uid in uids:
            epoch = worker.held[uid]
            _forget(worker, uid)
            reason = "it never reached its worker"
            queue.scheduler.finish(uid, epoch, Outcome(OutcomeKind.RETURNED, now, now, reason), now)
        queue.advance(batch)

    def on_worker_lost(self, worker: PoolWorker, batch: Batch, why: str, crash: str) -> None:
        """Close or repeat what a worker held that is gone."""
        queue, now = self._queue, self._clock()
        begun_ones = queue.pool.begun_by(worker.uid)
        for uid, epoch in list(worker.held.items()):
            begun = uid in worker.sent and begun_ones.may_have(uid, epoch)
            start = worker.began.get(uid) or begun_ones.time_of(uid, epoch) or now
            _forget(worker, uid)
            if begun:
                outcome = Outcome(OutcomeKind.LOST, start, now, why, TaskError("WorkerLost", why, crash))
            else:
                outcome = Outcome(OutcomeKind.RETURNED, now, now, why)
            queue.scheduler.finish(uid, epoch, outcome, now)
        queue.advance(batch)

    def on_greeted(self, worker: PoolWorker) -> None:
        """Tell a worker that is connected which tasks are to stop, and hand it others."""
        queue = self._queue
        for uid, epoch in worker.held.items():
            card = queue.scheduler.running.get(uid)
            if card is not None and card.lease_epoch == epoch and card.cancel_state is not None:
                queue.pool.send(worker, CancelTask(uid, epoch, card.cancel_reason))
        queue.commit()


def _forget(worker: PoolWorker, uid: str) -> None:
    worker.held.pop(uid, None)
    worker.began.pop(uid, None)
    worker.sent.discard(uid)


def _outcome(
    kind: str,
    time_start: float,
    time_stop: float,
    reason: str,
    error: list[str] | None,
    retry_after_s: float | None,
    codec: str | None,
    payload: bytes | None,
    report: Mapping[str, Any] | None = None,
) -> tuple[Outcome, Mapping[str, Any] | None]:
    failure = None
    if error is not None:
        name, msg, traceback = error
        failure = TaskError(name[:200], msg[-MAX_TEXT_CHARS:], traceback[-MAX_TEXT_CHARS:])
    outcome = Outcome(
        OutcomeKind(kind), time_start, time_stop, reason[:1000], failure, retry_after_s, codec, payload
    )
    return outcome, report
