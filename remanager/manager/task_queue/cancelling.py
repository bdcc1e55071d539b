"""Cancelling tasks of all kinds on request: single ones, lists, and whatever a selector speaks of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from remanager.engine.task_queue.card import Card
from remanager.engine.task_queue.scheduler import TaskScheduler
from remanager.engine.task_queue.stopping import CancelResult
from remanager.manager.ledger import Ledger
from remanager.manager.ports import Clock
from remanager.manager.queue import QueueService
from remanager.manager.state import State
from remanager.manager.task_queue.portions import MAX_SELECTED, Flight, portions
from remanager.manager.task_queue.questions import TaskQuestions
from remanager.manager.task_queue.rows import edit
from remanager.manager.task_queue.service import TaskQueue
from remanager.manager.tasks import TaskService
from remanager.model.errors import Conflict
from remanager.model.selector import Location, Selector
from remanager.model.states import TaskState, is_terminal
from remanager.store.task_writes import tasks_edit

PLAN_RUNS = "The plan is being executed: pause it with 're_pause', then end it with 're_stop' or 're_abort'"
FUNCTION_RUNS = (
    "It is being executed in the environment, which cannot cancel it: 'kernel_interrupt' interrupts it in "
    "IPython mode, 'environment_destroy' ends the environment"
)


@dataclass(slots=True)
class Cancelled:
    """What became of tasks that were to be cancelled.

    Attributes
    ----------
    cancelled, cancelling : list of str
        Those that have ended, and those that a worker has yet to stop.
    already_terminal, not_found : list of str
        Those that had ended before, and those that are not known.
    cascaded : list of str
        Their descendants, which were stopped along with them.
    refused : dict of str to str
        Why others can't be cancelled.
    """

    cancelled: list[str] = field(default_factory=list)
    cancelling: list[str] = field(default_factory=list)
    already_terminal: list[str] = field(default_factory=list)
    not_found: list[str] = field(default_factory=list)
    cascaded: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


class Canceller:
    """Cancels tasks.

    Parameters
    ----------
    queue : TaskQueue
        Background tasks.
    plans : QueueService
        The plan queue.
    tasks : TaskService
        Knows the states of tasks of all kinds.
    questions : TaskQuestions
        Finds what a selector speaks of.
    state, ledger, clock
        As elsewhere in this room.
    """

    def __init__(
        self,
        queue: TaskQueue,
        plans: QueueService,
        tasks: TaskService,
        questions: TaskQuestions,
        *,
        state: State,
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._plans = plans
        self._tasks = tasks
        self._questions = questions
        self._state = state
        self._ledger = ledger
        self._clock = clock

    async def select(self, selector: Selector) -> list[str]:
        """Return the UIDs of the selected active tasks, in an order in which they can be cancelled.

        A task with children comes before these, one that others need after them: each ends as cancelled and
        not because of another one. Of the rest, what would start last comes first.
        """
        active = replace(selector, location=Location.ACTIVE)
        if selector.location is Location.HISTORY:
            return []
        uids = [uid for uid, _ in await self._questions.uids(active, MAX_SELECTED)]
        cards, children = self._queue.scheduler.cards, self._queue.scheduler.children
        parents: list[str] = []
        waiting: list[str] = []
        others: list[str] = []
        running: list[str] = []
        for portion in portions(uids):  # in the order of submission
            for uid in portion:
                card = cards.get(uid)
                if card is None:
                    others.append(uid)
                elif children(uid):
                    parents.append(uid)
                else:
                    (running if card.state is TaskState.RUNNING else waiting).append(uid)
            await asyncio.sleep(0)
        return [*parents, *reversed(waiting), *others, *reversed(running)]

    async def cancel(
        self,
        uids: Sequence[str],
        reason: str,
        *,
        cascade: bool = True,
        kill_after_s: float | None = None,
        dry_run: bool = False,
    ) -> Cancelled:
        """Cancel tasks, a portion at a time.

        Parameters
        ----------
        reason : str
            Words for the record.
        cascade : bool
            Cancel their descendants, too.
        kill_after_s : float or None
            A worker that has not stopped a task then (s) is killed; None: as the task says.
        dry_run : bool
            Only tell what would happen.
        """
        told, flight = Cancelled(), Flight()
        await self._ledger.flush()  # what has just ended has ended for those who ask, too
        for portion in portions(list(dict.fromkeys(uids))):
            tasks, plans = self._sort(portion, told)
            if dry_run:
                self._foresee(tasks, told, cascade=cascade)
                told.cancelled += plans
                continue
            # Both at once, with nothing in between: a queued plan could be started meanwhile.
            ends = (
                self._cancel(tasks, reason, told, cascade=cascade, kill_after_s=kill_after_s)
                if tasks
                else None
            )
            if plans:
                removed = await self._plans.remove_batch(plans, ignore_missing=True)
                told.cancelled += [item["item_uid"] for item in removed]
            if ends is not None:
                await flight.add(ends)
        await flight.landed()
        asked = set(uids)
        told.cascaded = [uid for uid in dict.fromkeys(told.cascaded) if uid not in asked]
        return told

    def _sort(self, uids: Sequence[str], told: Cancelled) -> tuple[list[str], list[str]]:
        """Return background tasks and queued plans among some; note why others are not cancelled."""
        cards = self._queue.scheduler.cards
        found, plans = [], []
        for uid, state in self._tasks.states(uids).items():
            if uid in cards:
                found.append(uid)
            elif state is None:
                told.not_found.append(uid)
            elif is_terminal(state) or uid in self._queue.ending:
                stopped = uid in told.cascaded
                (told.cancelled if stopped else told.already_terminal).append(uid)
            elif uid in self._plans:
                plans.append(uid)
            else:
                running = self._state.running
                is_plan = running is not None and running.uid == uid
                told.refused[uid] = PLAN_RUNS if is_plan else FUNCTION_RUNS
        return found, plans

    def _cancel(
        self,
        uids: Sequence[str],
        reason: str,
        told: Cancelled,
        *,
        cascade: bool,
        kill_after_s: float | None,
    ) -> asyncio.Future[int]:
        scheduler, batch = self._queue.scheduler, self._ledger.batch()
        now = self._clock()
        result = scheduler.cancel(uids, reason, now, cascade=cascade, kill_after_s=kill_after_s)
        if kill_after_s is not None and result.cancelling:
            batch.write(tasks_edit([edit(scheduler.cards[uid]) for uid in result.cancelling]))
        self._queue.advance(batch)
        _add(told, result)
        return self._ledger.commit(batch)

    def _foresee(self, uids: Sequence[str], told: Cancelled, *, cascade: bool) -> None:
        scheduler = self._queue.scheduler
        for uid in uids:
            running = scheduler.cards[uid].state is TaskState.RUNNING
            (told.cancelling if running else told.cancelled).append(uid)
            if cascade:
                told.cascaded += [card.uid for card in _descendants(scheduler, uid)]


def refuse_single(told: Cancelled) -> None:
    """Raise what is to be said where a single task could not be cancelled.

    Raises
    ------
    Conflict
        It can't be.
    """
    for why in told.refused.values():
        raise Conflict(why)


def _add(told: Cancelled, result: CancelResult) -> None:
    told.cancelled += result.cancelled
    told.cancelling += result.cancelling
    told.already_terminal += result.not_active
    told.cascaded += result.cascaded


def _descendants(scheduler: TaskScheduler, uid: str) -> Iterator[Card]:
    waiting = list(scheduler.children(uid))
    while waiting:
        child = waiting.pop()
        yield scheduler.cards[child]
        waiting += scheduler.children(child)
