"""Tasks of the task queue that the environment worker runs, in threads beside its plans."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from remanager.engine.task_queue.card import Card, TaskError
from remanager.engine.task_queue.changes import Interrupt, InterruptKind, Outcome, OutcomeKind
from remanager.manager.ledger import Batch
from remanager.manager.ports import Clock
from remanager.manager.state import State
from remanager.manager.task_queue.service import TaskQueue
from remanager.manager.worker_link import WorkerLink
from remanager.model.link import RunTask, StopTask, TaskFinished
from remanager.model.states import EnvironmentState, ManagerState
from remanager.model.task_spec import Where

PLACES = 4
"""Tasks that the environment worker runs at a time."""

_CLOSING = (ManagerState.CLOSING_ENVIRONMENT, ManagerState.DESTROYING_ENVIRONMENT)


@dataclass(slots=True)
class Held:
    """A task for the environment worker; it is sent when its start is on disk."""

    card: Card
    epoch: int
    sent: bool = False

    @property
    def name(self) -> str:
        """UID under which the worker knows it: another one for each hand-over."""
        return f"{self.card.uid}:{self.epoch}"


class EnvironmentTasks:
    """Hands tasks to the environment worker and takes their ends.

    Parameters
    ----------
    queue : TaskQueue
        Where the tasks come from.
    state, link, clock
        As elsewhere in this room.

    Attributes
    ----------
    held : dict
        By the UID under which the worker knows them.
    """

    def __init__(self, queue: TaskQueue, state: State, link: WorkerLink, clock: Clock) -> None:
        self._queue = queue
        self._state = state
        self._link = link
        self._clock = clock
        self.held: dict[str, Held] = {}

    def free(self) -> dict[str, int]:
        """Return the number of free places by the UID of the worker."""
        state = self._state
        worker = state.worker
        if worker is None or not state.environment_exists or self._is_leaving():
            return {}
        return {worker.uid: PLACES - len(self.held)} if len(self.held) < PLACES else {}

    def _is_leaving(self) -> bool:
        state = self._state
        of_itself = (
            state.worker_state is not None
            and state.worker_state.environment_state == EnvironmentState.CLOSING
        )
        return state.manager_state in _CLOSING or of_itself

    def take(self, card: Card) -> bool:
        """Take a task that is being started, if it is for the environment; it is not sent yet."""
        if card.spec.options.where is not Where.ENVIRONMENT:
            return False
        held = Held(card, card.lease_epoch)
        self.held[held.name] = held
        return True

    def send(self, worker_uid: str, starts: Iterable[tuple[str, int, Card]]) -> bool:
        """Send tasks whose start is on disk; False if they are for another worker."""
        worker = self._state.worker
        if worker is None or worker.uid != worker_uid:
            return False
        for _, epoch, card in starts:
            held = self.held.get(f"{card.uid}:{epoch}")
            if held is not None:
                held.sent = True
                self._post(held)
        return True

    def _post(self, held: Held) -> None:
        card = held.card
        body, limit = self._queue.bodies_of([card])[card.uid], card.spec.options.timeout_s
        self._link.post(
            lambda number: RunTask(number, held.name, "function", body, True, card.attempt, limit),
            on_refused=lambda msg: self._refused(held, msg),
            on_accepted=lambda: self._begun(held, self._clock()),
        )

    def _begun(self, held: Held, time: float) -> None:
        """Take note that the worker has begun a task: it does so when it accepts it."""
        if self._queue.scheduler.started(held.card.uid, held.epoch, time):
            self._queue.arm()

    def interrupt(self, order: Interrupt) -> bool:
        """Tell a task to stop; False if it is not one of these.

        Nothing more can be done: the worker is not killed for a task. Whether it has begun needs no look: the
        worker says so.
        """
        held = self.held.get(f"{order.task_uid}:{order.lease_epoch}")
        if held is None:
            return False
        if order.kind is InterruptKind.CANCEL:
            self._link.tell(StopTask(held.name, order.reason))
        return True

    def _refused(self, held: Held, msg: str) -> None:
        """Take a task back from a worker that is leaving; one that stays would refuse it again."""
        if self.held.pop(held.name, None) is not None:
            now = self._clock()
            if self._is_leaving():
                outcome = Outcome(OutcomeKind.RETURNED, now, now, msg)
            else:
                outcome = Outcome(OutcomeKind.PERMANENT, now, now, msg, TaskError("Refused", msg))
            self._queue.scheduler.finish(held.card.uid, held.epoch, outcome, now)
            self._queue.commit()

    def on_finished(self, batch: Batch, event: TaskFinished) -> bool:
        """Record the end of a task; False if it is not one of these."""
        held = self.held.pop(event.task_uid, None)
        if held is None:
            return False
        now = self._clock()
        if event.success:
            outcome = Outcome(
                OutcomeKind.COMPLETED,
                event.time_start,
                event.time_stop,
                codec=event.codec,
                payload=event.payload,
            )
        elif event.cancelled:
            outcome = Outcome(OutcomeKind.CANCELLED, event.time_start, event.time_stop)
        else:
            error = TaskError(event.error_type or "Exception", event.msg, event.traceback)
            outcome = Outcome(OutcomeKind.ERROR, event.time_start, event.time_stop, error=error)
        self._queue.scheduler.finish(held.card.uid, held.epoch, outcome, now)
        self._queue.advance(batch)
        return True

    def adopt(self) -> None:
        """Take up what runs in an environment worker that outlived its manager."""
        worker = self._state.worker
        for card in self._queue.scheduler.running.values():
            if worker is not None and card.worker_uid == worker.uid:
                held = Held(card, card.lease_epoch, sent=True)
                self.held[held.name] = held

    def reconcile(self, accepted: Collection[str]) -> None:
        """Send again what may not have reached the worker."""
        for held in list(self.held.values()):
            card = held.card
            if held.sent and held.name not in accepted:
                self._post(held)
            elif held.sent and not card.begun:
                self._begun(held, card.time_start or self._clock())
            if held.sent and card.cancel_state is not None:
                self._link.tell(StopTask(held.name, card.cancel_reason))

    def on_worker_lost(self, batch: Batch, msg: str, crash: str) -> None:
        """Close, or repeat, what a worker ran that has ended."""
        now = self._clock()
        for held in list(self.held.values()):
            kind = OutcomeKind.LOST if held.sent else OutcomeKind.RETURNED
            start = held.card.time_start or now
            outcome = Outcome(kind, start, now, msg, TaskError("WorkerLost", msg, crash))
            self._queue.scheduler.finish(held.card.uid, held.epoch, outcome, now)
        self.held.clear()
        self._queue.advance(batch)

    def wait_reason(self, reason: str) -> str:
        """Return why a task for the environment waits; ``reason`` if there is an environment."""
        if reason == "slot" and not self._state.environment_exists:
            return "environment_closed"
        return reason
