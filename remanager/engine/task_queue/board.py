"""The active tasks, the indexes over them, and the one way to change a task's state."""

from __future__ import annotations

import random
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING

from remanager.engine.task_queue.card import Card, Stage, TaskError
from remanager.engine.task_queue.changes import Changes, Ended, Outcome, Transition
from remanager.engine.task_queue.timers import Timers
from remanager.engine.transitions import check
from remanager.model.errors import NotFound
from remanager.model.states import TaskState

if TYPE_CHECKING:
    from remanager.engine.task_queue.dispatcher import Dispatcher

# A task that has just ended may not be on disk yet when somebody asks for its state.
_RECENT = 5_000

FINAL_STOPS = frozenset((TaskState.CANCELLED, TaskState.EXPIRED, TaskState.SUPERSEDED))
"""What a running task was told to become, and becomes whatever its execution returns."""

QUEUED = frozenset((TaskState.PENDING, TaskState.BLOCKED, TaskState.PAUSED))


class Alarm(StrEnum):
    """What is due for a task."""

    EXPIRY = "expiry"
    TIMEOUT = "timeout"
    KILL = "kill"
    RESUME = "resume"

    # Part of the keys of timers: the hash of the text is as good as that of the name, and faster.
    __hash__ = str.__hash__


_ALARMS = tuple(Alarm)


class Board:
    """Cards and indexes that the modules of the scheduler share.

    Attributes
    ----------
    cards : dict
        Active tasks by UID.
    running, preempted : dict
        Those in the state running, and those held because a more urgent one took their place.
    holders : dict
        The task that stands for (name, key).
    leaving : dict
        UIDs of running tasks by (name, key) that no longer stand for it: the present holder waits for
        their end.
    dependents, children : dict
        By UID of the prerequisite or parent, the active tasks that wait for it or that it waits for.
    ended : deque of Ended
        Tasks whose end has not been followed up yet.
    unsettled : deque of Card
        Tasks that a change of the switches may concern.
    """

    def __init__(
        self, dispatcher: Dispatcher, *, max_active: int, max_depth: int, rng: random.Random
    ) -> None:
        self.dispatcher = dispatcher
        self.max_active = max_active
        self.max_depth = max_depth
        self.rng = rng
        self.next_number = 1
        self.cards: dict[str, Card] = {}
        self.running: dict[str, Card] = {}
        self.preempted: dict[str, Card] = {}
        self.holders: dict[tuple[str, str], Card] = {}
        self.leaving: dict[tuple[str, str], set[str]] = {}
        # Inner dicts serve as ordered sets: what follows from an end has a fixed order.
        self.dependents: dict[str, dict[str, None]] = {}
        self.children: dict[str, dict[str, None]] = {}
        self.ended: deque[Ended] = deque()
        self.unsettled: deque[Card] = deque()
        self.timers: Timers[tuple[str, Alarm]] = Timers()
        self.changes = Changes()
        self._new: set[str] = set()
        self._recent: dict[str, TaskState] = {}
        self._less_recent: dict[str, TaskState] = {}

    # ----------------------------------------------------------------------------------------------- look up

    def get(self, uid: str) -> Card:
        """Return an active task.

        Raises
        ------
        NotFound
            No task with this UID is active.
        """
        card = self.cards.get(uid)
        if card is None:
            raise NotFound(f"No active task has the UID '{uid}'")
        return card

    def recent_state(self, uid: str) -> TaskState | None:
        """Return the state of a task that ended a short while ago."""
        return self._recent.get(uid) or self._less_recent.get(uid)

    # ----------------------------------------------------------------------------------------------- changes

    def take_changes(self) -> Changes:
        """Return what has changed, and begin a new collection."""
        changes, self.changes = self.changes, Changes()
        # A hand-over that ended before it left (its worker died) is none; an execution that has ended in
        # the meantime must not be stopped: its worker would be killed for nothing.
        if changes.starts:
            still = {c.uid: c for c in changes.starts if c.state is TaskState.RUNNING}
            changes.starts = list(still.values())
        if changes.interrupts:
            changes.interrupts = [i for i in changes.interrupts if self._runs(i.task_uid, i.lease_epoch)]
        self._new.clear()
        return changes

    def touch(self, card: Card, now: float) -> None:
        """Note that the stored state of a task differs now."""
        card.time_updated = now
        if card.uid not in self._new and card.uid in self.cards:
            self.changes.updated[card.uid] = card

    def _runs(self, uid: str, epoch: int) -> bool:
        card = self.running.get(uid)
        return card is not None and card.lease_epoch == epoch

    def index(self, card: Card) -> None:
        """Put an active task into the indexes that do not depend on its state."""
        spec = card.spec
        uid = spec.task_uid
        self.cards[uid] = card
        if card.unmet:
            self.index_needs(card)
        parent = self.cards.get(spec.parent_uid) if spec.parent_uid else None
        if parent is not None and card.number >= parent.children_from:
            self.children.setdefault(parent.uid, {})[uid] = None
            parent.open_children += 1
        if spec.key:
            key = (spec.name, spec.key)
            if card.cancel_state in FINAL_STOPS:
                self.leaving.setdefault(key, set()).add(uid)
            else:
                self.holders[key] = card

    def index_needs(self, card: Card) -> None:
        """Note what a task waits for."""
        for needed in card.unmet:
            self.dependents.setdefault(needed, {})[card.uid] = None

    def begin(self, card: Card, state: TaskState, now: float, reason: str) -> None:
        """Insert a new task that is in the indexes already."""
        check(None, state)
        card.state = state
        card.time_updated = now
        self._new.add(card.spec.task_uid)
        self.changes.inserted.append(card)
        self._record(card, None, now, reason, None)
        self.enter(card, now)

    def move(
        self,
        card: Card,
        new: TaskState,
        now: float,
        reason: str = "",
        *,
        error: TaskError | None = None,
        outcome: str = "",
    ) -> None:
        """Change the state of a task.

        Raises
        ------
        Conflict
            The state machine does not know such a change.
        """
        old = card.state
        check(old, new)
        self._leave(card, new, now)
        card.state = new
        if new is not TaskState.RUNNING:
            card.stage = Stage.FINISHING if card.finishing else None
        self._record(card, old, now, reason, error, outcome)
        self.enter(card, now)
        self.touch(card, now)

    def change_stage(self, card: Card, stage: Stage, now: float, reason: str) -> None:
        """Let a running task be in another stage, and tell so."""
        card.stage = stage
        self._record(card, card.state, now, reason, None)
        self.touch(card, now)

    def end(
        self,
        card: Card,
        state: TaskState,
        now: float,
        reason: str,
        *,
        outcome: Outcome | None = None,
        error: TaskError | None = None,
    ) -> None:
        """Write the terminal record of a task and forget it; what follows is left to be followed up."""
        self.move(card, state, now, reason, error=error)
        card.stage = None
        uid = card.uid
        del self.cards[uid]
        self.changes.updated.pop(uid, None)
        self.preempted.pop(uid, None)
        self._drop_alarms(uid, _ALARMS)
        for needed in card.unmet:
            waiting = self.dependents.get(needed)
            if waiting is not None:
                waiting.pop(uid, None)
                if not waiting:
                    del self.dependents[needed]
        self.give_up_key(card)
        if len(self._recent) >= _RECENT:
            self._less_recent, self._recent = self._recent, {}
        self._recent[uid] = state
        record = Ended(card, state, reason, outcome.time_stop if outcome else now, outcome)
        self.changes.ended.append(record)
        self.ended.append(record)

    def fail_for_prerequisite(self, card: Card, uid: str, ended_as: TaskState, now: float) -> None:
        """End a task one of whose prerequisites did not succeed."""
        reason = f"prerequisite {uid} ended as {ended_as}"
        card.last_error = TaskError("DependencyFailed", reason)
        self.end(card, TaskState.DEPENDENCY_FAILED, now, reason)

    def give_up_key(self, card: Card) -> None:
        """Let a task no longer stand for its key."""
        key = (card.spec.name, card.spec.key)
        if self.holders.get(key) is card:
            del self.holders[key]

    def enter(self, card: Card, now: float) -> None:
        """Do what a state brings with it (also after a restart)."""
        state = card.state
        if state is TaskState.PENDING:
            if card.time_ready is None:
                card.time_ready = max(now, card.run_after or now)
            self.dispatcher.add(card, now)
        elif state is TaskState.PAUSED:
            if card.paused_since is None:
                card.paused_since = now
        elif state is TaskState.RUNNING:
            self.running[card.uid] = card
        if card.expires_at is not None and card.state in QUEUED:
            self.timers.set((card.uid, Alarm.EXPIRY), card.expires_at)

    def _leave(self, card: Card, new: TaskState, now: float) -> None:
        match card.state:
            case TaskState.PENDING | TaskState.WAITING_CHILDREN:
                self.dispatcher.discard(card)
            case TaskState.PAUSED:
                if card.paused_since is not None:
                    card.paused_s += max(now - card.paused_since, 0.0)
                    card.paused_since = None
            case TaskState.RUNNING:
                del self.running[card.uid]
                self._drop_alarms(card.uid, (Alarm.TIMEOUT, Alarm.KILL))
        if new is TaskState.RUNNING:
            self._drop_alarms(card.uid, (Alarm.EXPIRY,))

    def _drop_alarms(self, uid: str, alarms: tuple[Alarm, ...]) -> None:
        if self.timers:  # most tasks have none
            for alarm in alarms:
                self.timers.drop((uid, alarm))

    def _record(
        self,
        card: Card,
        old: TaskState | None,
        now: float,
        reason: str,
        error: TaskError | None,
        outcome: str = "",
    ) -> None:
        new = card.state
        runs = new is TaskState.RUNNING
        worker = card.worker_uid if runs or old is TaskState.RUNNING else None
        stage = card.stage if runs else None
        self.changes.transitions.append(
            Transition(card.spec.task_uid, now, old, new, card.attempt, reason, worker, error, stage, outcome)
        )
