"""The task queue at work: commands go to the scheduler, what it changes goes to the store and the pool."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from remanager.engine.task_queue.card import Card
from remanager.engine.task_queue.changes import Changes, Ended, Interrupt, InterruptKind
from remanager.engine.task_queue.scheduler import TaskScheduler
from remanager.engine.task_queue.submission import Submitted
from remanager.manager.background import Background
from remanager.manager.ledger import Batch, Ledger
from remanager.manager.ports import Clock
from remanager.manager.state import State, change_uid
from remanager.manager.task_queue import rows
from remanager.manager.task_queue.figures import QueueFigures
from remanager.manager.task_queue.functions import Functions
from remanager.manager.task_queue.options import TaskQueueOptions
from remanager.manager.task_queue.pace import Pace
from remanager.manager.task_queue.pool import Pool
from remanager.manager.task_queue.portions import PORTION, Flight
from remanager.manager.task_queue.progress_board import ProgressBoard
from remanager.manager.task_queue.submission import SpecMaker
from remanager.manager.task_queue.switch_record import SwitchRecord
from remanager.manager.task_queue.waiters import Waiters
from remanager.manager.task_queue.worker_process import PoolWorker
from remanager.model.errors import Busy
from remanager.model.pool_messages import CancelTask
from remanager.model.states import TaskState, is_terminal
from remanager.model.task_spec import TaskSpec, Where
from remanager.store.records import JournalEvent
from remanager.store.store import Store

if TYPE_CHECKING:
    from remanager.manager.task_queue.in_environment import EnvironmentTasks

logger = logging.getLogger(__name__)

FUNCTIONS_TIMEOUT_S = 20.0
"""How long a submission waits for the first worker to report its functions."""

BACKLOG_S = 0.5
"""Another worker is started when those that are there have more work than this, s."""

CHECK_PERIOD_S = 1.0
STOP_TIMEOUT_S = 5.0
"""How long running tasks may take to end when the daemon is stopped, s."""

KEPT_BODIES = 20_000
"""With more active tasks than this, their items are read from the store when they start."""

_ENDS = ("plan_finished", "task_finished")
_REMOVALS = ("queue_item_removed", "queue_items_removed", "queue_item_updated", "queue_cleared")

_Start = tuple[str, int, Card]
"""UID of the worker, lease epoch and task of a hand-over."""

OnChanges = Callable[[Changes, float], None]
Recorder = Callable[[Batch, Changes, float], None]


class TaskQueue:
    """Joins scheduler, store and pool.

    Parameters
    ----------
    scheduler : TaskScheduler
        Decides.
    pool : Pool
        Runs.
    figures : QueueFigures
        Count.
    state, ledger, store, clock, background
        As elsewhere in this room.
    options : TaskQueueOptions
        Settings.
    retention_s : float
        How long return values are kept, s.

    Attributes
    ----------
    functions : Functions
        What the task modules offer.
    specs : SpecMaker
        Makes tasks of items and options.
    waiters : Waiters
        Requests that wait for the end of tasks.
    progress : ProgressBoard
        How far the running tasks are.
    ending : dict
        Terminal records that are not on disk yet; until then the tasks are said to be active.
    environment : EnvironmentTasks or None
        What the environment worker runs; set when the manager is put together.
    other_wait_reason : callable
        Returns why a task of another kind does not run, by its uid.
    observers : list of callable
        Called as ``observer(changes, now)`` with everything that changes.
    recorders : list of callable
        Called as ``recorder(batch, changes, now)``: they add to the transaction what follows from it.
    """

    def __init__(
        self,
        *,
        scheduler: TaskScheduler,
        pool: Pool,
        figures: QueueFigures,
        state: State,
        ledger: Ledger,
        store: Store,
        clock: Clock,
        background: Background,
        options: TaskQueueOptions,
        retention_s: float,
    ) -> None:
        self.scheduler = scheduler
        self.pool = pool
        self.options = options
        self.functions = Functions()
        self.functions_known = asyncio.Event()
        self.specs = SpecMaker(self.functions)
        self.waiters = Waiters()
        self.figures = figures
        self.progress = ProgressBoard(figures.expected_s)
        self.pace = Pace()
        self.ending: dict[str, Ended] = {}
        self.observers: list[OnChanges] = [figures.observe]
        self.recorders: list[Recorder] = []
        self.switch_record = SwitchRecord(scheduler.dispatcher.switches)
        self._state = state
        self._ledger = ledger
        self._store = store
        self._retention_s = retention_s
        self._clock = clock
        self._background = background
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._settling = False
        self.environment: EnvironmentTasks | None = None
        self.other_wait_reason: Callable[[str], str] = lambda _uid: ""

    # -------------------------------------------------------------------------------- commands

    async def need_functions(self) -> None:
        """Wait until the functions of the task modules are known.

        Raises
        ------
        Busy
            No worker could tell them in time.
        """
        if self.functions_known.is_set() or not self.options.modules:
            return
        self.pool.want(1)
        try:
            async with asyncio.timeout(FUNCTIONS_TIMEOUT_S):
                await self.functions_known.wait()
        except TimeoutError:
            why = self.pool.start_error or "no worker of the pool has reported its functions yet"
            raise Busy(f"Tasks cannot be checked: {why}") from None

    async def submit(self, specs: Sequence[TaskSpec], *, atomic: bool = True) -> list[Submitted]:
        """Add tasks; they are on disk when this returns.

        Parameters
        ----------
        atomic : bool
            Add all or none.

        Returns
        -------
        list of Submitted
            What became of each, in order.
        """
        results = self.accept(specs, atomic=atomic)
        if len(specs) > PORTION:
            await asyncio.sleep(0)  # a large batch takes its time: who commits meanwhile stores all of it
        await self.commit()
        return results

    def accept(self, specs: Sequence[TaskSpec], *, atomic: bool = True) -> list[Submitted]:
        """Add tasks as :meth:`submit` does; the next transaction stores them."""
        known = self._known([uid for s in specs if s.depends_on or s.parent_uid for uid in _references(s)])
        return self.scheduler.submit(specs, self._clock(), known, atomic=atomic)

    def told_states(self, uids: Collection[str]) -> dict[str, TaskState]:
        """Return the states of those tasks that are active, as clients are told.

        A task is active until its end is on disk.
        """
        cards, ending = self.scheduler.cards, self.ending
        found = {uid: cards[uid].state for uid in uids if uid in cards}
        for uid in uids if ending else ():
            if (ended := ending.get(uid)) is not None:
                found[uid] = TaskState.RUNNING if ended.outcome is not None else TaskState.PENDING
        return found

    @property
    def size(self) -> int:
        """Number of tasks that wait: for their turn, a time, others, or a switch."""
        return len(self.scheduler.cards) - len(self.scheduler.running)

    def _known(self, uids: Iterable[str]) -> dict[str, TaskState]:
        """Return the states of tasks that are not active."""
        wanted = {uid for uid in uids if uid not in self.scheduler.cards}
        if not wanted:
            return {}
        stored = self._store.reads.task_states(list(wanted))
        return {**stored, **{uid: self.ending[uid].state for uid in wanted if uid in self.ending}}

    def listen(self, events: Sequence[JournalEvent]) -> None:
        """Take notice of what happened elsewhere: plans and other tasks that ended."""
        ended = removed = False
        for event in events:
            if event.type in _REMOVALS:
                removed = True
            elif event.type in _ENDS and event.task_uid and "state" in event.data:
                self.waiters.ended(event.task_uid)
                ended = True
        if removed:
            self.waiters.look_again()
        if ended or removed:
            self.follow_others()

    def follow_others(self) -> None:
        """Release, or close, what depends on plans and other tasks that have ended."""
        awaited = self.scheduler.awaited_elsewhere()
        if not awaited:
            return
        now = self._clock()
        for uid, state in self._store.reads.task_states(awaited).items():
            if is_terminal(state):
                self.scheduler.ended_elsewhere(uid, state, now)
        self.commit()

    def states(self, uids: Collection[str]) -> dict[str, TaskState | None]:
        """Return the states of tasks, also of those whose end is not on disk yet; None: not known."""
        found: dict[str, TaskState | None] = {**dict.fromkeys(uids), **self.told_states(uids)}
        unknown = [uid for uid, state in found.items() if state is None]
        if unknown:
            found.update(self._store.reads.task_states(unknown))
        return found

    def wait_reason(self, uid: str, now: float) -> str:
        """Return why a task does not run, in a word of the protocol."""
        reason = self.scheduler.wait_reason(uid, now)
        card = self.scheduler.cards.get(uid)
        if card is not None and card.spec.options.where is Where.ENVIRONMENT:
            return self.environment.wait_reason(reason) if self.environment is not None else reason
        if reason == "slot" and not any(w.takes_tasks for w in self.pool.workers.values()):
            return "no_worker"
        return reason

    def commit(self) -> asyncio.Future[int]:
        """Start what can start, and hand in everything that changed as one transaction."""
        batch = self._ledger.batch()
        self.advance(batch)
        return self._ledger.commit(batch)

    def settle(self) -> None:
        """Let the states of tasks follow the switches, a portion at a time."""
        if not self._settling:
            self._settling = True
            self._background.spawn(self._settle(), "settle switches")

    async def _settle(self) -> None:
        flight = Flight()
        try:
            while self.scheduler.settle(self._clock(), PORTION):
                await flight.add(self.commit())
        finally:
            self._settling = False
        await flight.add(self.commit())
        await flight.landed()

    def tick(self) -> None:
        """Do what is due."""
        self.scheduler.tick(self._clock())
        self.commit()
        self.settle()

    # -------------------------------------------------------------------------------- what changes

    def advance(self, batch: Batch) -> None:
        """Start what can start, and add everything that changed to a transaction."""
        now = self._clock()
        scheduler, environment = self.scheduler, self.environment
        if scheduler.is_due(now, Where.POOL):
            scheduler.dispatch(now, self._free())
        free = environment.free() if environment is not None else {}
        if free and scheduler.is_due(now, Where.ENVIRONMENT):
            scheduler.dispatch(now, free, Where.ENVIRONMENT)
        if self.switch_record.write(batch):
            batch.after(self._switched)
        self._collect(batch, now)
        self._want_workers(now)
        self.arm()

    def _collect(self, batch: Batch, now: float) -> None:
        changes = self.scheduler.take_changes()
        if not changes:
            return
        rows.write(batch, changes, self._retention_s, self.progress)
        for ended in changes.ended:
            self.ending[ended.card.uid] = ended
        starts: list[_Start] = []
        for card in changes.starts:
            assert card.worker_uid is not None
            if self.environment is None or not self.environment.take(card):
                self.pool.workers[card.worker_uid].held[card.uid] = card.lease_epoch
            starts.append((card.worker_uid, card.lease_epoch, card))
        self.progress.finish(changes)
        for record in self.recorders:
            record(batch, changes, now)
        for observe in self.observers:
            observe(changes, now)
        batch.after(lambda: self._act(changes, starts))

    def _switched(self) -> None:
        self._state.task_list_uid = change_uid()
        self._ledger.touch()

    def _act(self, changes: Changes, starts: list[_Start]) -> None:
        """Do what follows, now that the changes are on disk.

        The cards may have changed since: ``starts`` says what was decided.
        """
        for ended in changes.ended:
            uid = ended.card.uid
            self.ending.pop(uid, None)
            self.waiters.ended(uid)
        if changes.ended:
            self._state.task_results_uid = change_uid()
        self._state.task_list_uid = change_uid()
        self._ledger.touch()
        if len(self.scheduler.cards) > KEPT_BODIES:
            self.drop_bodies(changes.inserted)
        for worker_uid, group in itertools.groupby(starts, itemgetter(0)):
            started = list(group)
            if self.environment is None or not self.environment.send(worker_uid, started):
                self._hand_over(worker_uid, started)
        for interrupt in changes.interrupts:
            self._interrupt(interrupt)

    def _hand_over(self, worker_uid: str, starts: Iterable[_Start]) -> None:
        worker = self.pool.workers.get(worker_uid)
        if worker is None:  # it has ended meanwhile, and what it held was taken back
            return
        due = [(epoch, card) for _, epoch, card in starts if worker.held.get(card.uid) == epoch]
        cards = [card for _, card in due]
        bodies = self.bodies_of(cards)
        again = [card.uid for card in cards if card.lease_epoch > 1]
        checkpoints = self._store.reads.tasks.checkpoints(again) if again else {}
        tasks: list[list[Any]] = [
            [
                *(card.uid, epoch, card.attempt, bodies[card.uid], card.spec.options.timeout_s),
                *(checkpoints.get(card.uid), card.finishing),
            ]
            for epoch, card in due
        ]
        if tasks:
            self.pool.hand_over(worker, tasks)

    def bodies_of(self, cards: Collection[Card]) -> dict[str, str]:
        """Return the items of tasks as JSON texts, from the store if they are not in memory."""
        stored = [card.uid for card in cards if not card.spec.body]
        found = {card.uid: card.spec.body for card in cards}
        return found | self._store.reads.tasks.bodies(stored) if stored else found

    def _interrupt(self, interrupt: Interrupt) -> None:
        uid, epoch = interrupt.task_uid, interrupt.lease_epoch
        if self.environment is not None and self.environment.interrupt(interrupt):
            return
        worker = self.pool.workers.get(interrupt.worker_uid)
        if worker is None or worker.held.get(uid) != epoch:
            return
        match interrupt.kind:
            case InterruptKind.CANCEL:
                self.pool.send(worker, CancelTask(uid, epoch, interrupt.reason))
            case InterruptKind.KILL:
                self.pool.kill(worker, f"The task {uid} did not stop: {interrupt.reason}")
            case InterruptKind.LOOK:
                begun = self.pool.begun_by(worker.uid)
                if begun.may_have(uid, epoch):
                    self.note_begin(worker, uid, epoch, begun.time_of(uid, epoch) or self._clock())

    def note_begin(self, worker: PoolWorker, uid: str, epoch: int, time: float) -> None:
        """Take note that a worker of the pool has begun a task."""
        worker.began[uid] = time
        self.scheduler.started(uid, epoch, time)
        self.arm()

    def drop_bodies(self, cards: Iterable[Card]) -> None:
        """Forget the items of waiting tasks: there are many, and they are on disk."""
        for card in cards:
            if card.state is not TaskState.RUNNING:
                card.spec.body = ""  # nobody else has it

    # -------------------------------------------------------------------------------- places and time

    def _free(self) -> dict[str, int]:
        """Return how many tasks each worker can be handed; a few at a time are not worth a message."""
        places = self.pace.places
        return {
            w.uid: places - len(w.held)
            for w in self.pool.workers.values()
            if w.takes_tasks and not w.gave_back and len(w.held) <= places // 2
        }

    def _want_workers(self, now: float) -> None:
        """Start another worker if there is more to do than those that are there will soon have done.

        How soon that is may not be known: something has waited for too long already behind a long task.
        """
        dispatcher = self.scheduler.dispatcher
        following = dispatcher.peek(now)
        if following is None:
            return
        workers = len(self.pool.workers)
        backlog_s = len(dispatcher) * (self.pace.mean_s or BACKLOG_S) / max(workers, 1)
        if workers == 0 or max(backlog_s, now - (following.time_ready or now)) >= BACKLOG_S:
            self.pool.want(workers + 1)

    def arm(self) -> None:
        """Set the timer to what is due next."""
        now = self._clock()
        due = self.scheduler.next_wakeup(now)
        if self._timer is not None:
            if due is not None and self._timer_at <= due:
                return  # it will be set anew then
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer_at = due
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, due - now), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.tick()

    def start(self) -> None:
        """Begin to work: watch the workers, start what can start."""
        self.pool.watch_adopted()
        if self.options.modules:
            self.pool.want(1)
        self.commit()
        self.settle()
        self._background.spawn(self._check_pool(), "pool check")

    async def _check_pool(self) -> None:
        while True:
            await asyncio.sleep(CHECK_PERIOD_S)
            self.pool.check()
            self._want_workers(self._clock())
            progress = self.progress.unstored(self._clock())
            if progress is not None:
                batch = self._ledger.batch()
                batch.write(progress)
                self._ledger.commit(batch)

    async def stop(self) -> None:
        """Let the workers finish what they run, for a while."""
        await self.pool.close(STOP_TIMEOUT_S)
        self.disarm()

    def clock_set(self, step_s: float) -> None:
        """Let workers and executions have the time that they were given; look anew what is due."""
        self.pool.clock_set(step_s)
        self.scheduler.clock_set(step_s)
        self.disarm()
        asyncio.get_running_loop().call_soon(self.tick)

    def disarm(self) -> None:
        """Do nothing more by itself at a time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _references(spec: TaskSpec) -> tuple[str, ...]:
    return (*spec.depends_on, spec.parent_uid) if spec.parent_uid else spec.depends_on
