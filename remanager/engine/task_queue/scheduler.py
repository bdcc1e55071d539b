"""All active tasks of the task queue: commands in, changes out."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from remanager.engine.task_queue import (
    alarms,
    dispatching,
    ending,
    pausing,
    preemption,
    restoring,
    stopping,
    submission,
    updating,
)
from remanager.engine.task_queue.board import Alarm, Board
from remanager.engine.task_queue.card import Card, PauseReason
from remanager.engine.task_queue.changes import Changes, Outcome
from remanager.engine.task_queue.consequences import follow_up, prerequisite_ended
from remanager.engine.task_queue.dispatcher import Dispatcher
from remanager.engine.task_queue.scopes import Scope
from remanager.engine.task_queue.stopping import CancelResult
from remanager.engine.task_queue.submission import Submitted
from remanager.model.states import TaskState
from remanager.model.task_spec import TaskSpec, Where


class TaskScheduler:
    """Decides what becomes of the active tasks. Pure: the time comes with each command, epoch seconds.

    A command returns at once; what it changed is collected until :meth:`take_changes`.

    Parameters
    ----------
    dispatcher : Dispatcher
        Chooses what runs next; its limits and switches are part of it.
    max_active : int
        More tasks than this are refused.
    rng : random.Random
        For the jitter of delays.
    max_depth : int
        How deep children may be nested.
    preempt_at : int or None
        A waiting task of this effective priority or a more urgent one interrupts the least urgent running
        task below it; None: never.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        max_active: int,
        rng: random.Random,
        max_depth: int = 16,
        preempt_at: int | None = None,
    ) -> None:
        self._board = Board(dispatcher, max_active=max_active, max_depth=max_depth, rng=rng)
        self.preempt_at = preempt_at

    @property
    def dispatcher(self) -> Dispatcher:
        """What chooses the next task."""
        return self._board.dispatcher

    @property
    def cards(self) -> Mapping[str, Card]:
        """Active tasks by UID."""
        return self._board.cards

    @property
    def running(self) -> Mapping[str, Card]:
        """Tasks in the state running, by UID."""
        return self._board.running

    @property
    def changes(self) -> Changes:
        """What has changed since :meth:`take_changes`."""
        return self._board.changes

    def take_changes(self) -> Changes:
        """Return what has changed, and begin a new collection."""
        return self._board.take_changes()

    def children(self, uid: str) -> tuple[str, ...]:
        """Return the UIDs of the active children of a task."""
        return tuple(self._board.children.get(uid, ()))

    def holder(self, name: str, key: str) -> Card | None:
        """Return the active task that stands for a key."""
        return self._board.holders.get((name, key))

    def recent_state(self, uid: str) -> TaskState | None:
        """Return the state of a task that ended a short while ago (perhaps not on disk yet)."""
        return self._board.recent_state(uid)

    # ---------------------------------------------------------------------------------------------- commands

    def restore(
        self,
        cards: Iterable[Card],
        prerequisites: Mapping[str, TaskState | None],
        now: float,
        *,
        next_number: int = 1,
    ) -> None:
        """Take up the active tasks after a restart, with the states of prerequisites that are not among them.

        ``next_number`` is one more than the highest number of any task, ended ones included. The states of
        tasks follow the switches with :meth:`settle`.
        """
        self._board.next_number = max(self._board.next_number, next_number)
        restoring.restore(self._board, cards, prerequisites, now)

    def submit(
        self, specs: Sequence[TaskSpec], now: float, known: Mapping[str, TaskState], *, atomic: bool = True
    ) -> list[Submitted]:
        """Accept tasks; ``known`` has the states of their prerequisites and parents that are not active."""
        return submission.submit(self._board, specs, now, known, atomic=atomic)

    def is_due(self, now: float, where: Where) -> bool:
        """Tell whether :meth:`dispatch` may have something to do; most often nothing waits for a worker."""
        board = self._board
        return board.dispatcher.is_due(now, where) or bool(board.preempted) or bool(board.ended)

    def dispatch(self, now: float, free: Mapping[str, int], where: Where = Where.POOL) -> None:
        """Hand tasks to workers: ``free`` has the number of free places by worker UID."""
        board, threshold = self._board, self.preempt_at
        left = dispatching.dispatch(board, now, free, where)
        if preemption.resume_preempted(board, threshold, now, where):
            dispatching.dispatch(board, now, left, where)
        if threshold is not None:
            preemption.preempt(board, threshold, now, where)
        follow_up(board, now)

    def started(self, uid: str, epoch: int, time: float) -> bool:
        """Note that a worker has begun an execution; False for a report of an older hand-over."""
        return dispatching.begun(self._board, uid, epoch, time)

    def finish(self, uid: str, epoch: int, outcome: Outcome, now: float) -> bool:
        """End an execution; False for a report of an older hand-over, which changes nothing."""
        known = ending.finish(self._board, uid, epoch, outcome, now)
        follow_up(self._board, now)
        return known

    def cancel(
        self,
        uids: Iterable[str],
        reason: str,
        now: float,
        *,
        cascade: bool = True,
        kill_after_s: float | None = None,
    ) -> CancelResult:
        """Cancel tasks, with all their descendants unless ``cascade`` is False."""
        result = stopping.cancel(self._board, uids, reason, now, cascade=cascade, kill_after_s=kill_after_s)
        follow_up(self._board, now)
        return result

    def ended_elsewhere(self, uid: str, state: TaskState, now: float) -> None:
        """Tell of the end of a task that is not in this queue (a plan), for those that depend on it."""
        prerequisite_ended(self._board, uid, state, now)
        follow_up(self._board, now)

    def awaited_elsewhere(self) -> list[str]:
        """Return the UIDs of tasks that active ones depend on and that are not in this queue."""
        cards = self._board.cards
        return [uid for uid in self._board.dependents if uid not in cards]

    def pause(
        self,
        scope: Scope | None,
        name: str,
        now: float,
        *,
        until: float | None = None,
        interrupt: bool = False,
        reason: str = "",
    ) -> list[str]:
        """Hold the tasks of a scope, or (``scope`` None) the task with the UID ``name``.

        Returns
        -------
        list of str
            UIDs of the running tasks that are interrupted; without ``interrupt`` these finish.

        Raises
        ------
        NotFound
            The task is not active.
        InvalidParams
            The scope can't be paused, or ``until`` is not in the future.
        """
        if scope is None:
            card = self._board.get(name)
            return pausing.pause_task(
                self._board, card, now, until=until, interrupt_it=interrupt, reason=reason
            )
        return pausing.pause_scope(
            self._board, scope, name, now, until=until, interrupt_them=interrupt, reason=reason
        )

    def resume(self, scope: Scope | None, name: str, now: float) -> bool:
        """Undo :meth:`pause`; return whether anything was held by it.

        Raises
        ------
        NotFound
            The task is not active.
        """
        if scope is None:
            card = self._board.get(name)
            return pausing.resume_task(self._board, card, now, PauseReason.OPERATOR, "resumed")
        return pausing.resume_scope(self._board, scope, name)

    def settle(self, now: float, limit: int) -> bool:
        """Let the state of at most ``limit`` tasks follow the switches; True if there is more to do."""
        return pausing.settle(self._board, now, limit)

    def update(self, uid: str, now: float, **changes: Any) -> Card:
        """Change an active task: priority, group, tags, label, run_after, ttl_s, timeout_s, max_retries.

        Raises
        ------
        NotFound
            The task is not active.
        InvalidParams
            Something else is to be changed, or a running task is to be delayed.
        """
        card = self._board.get(uid)
        updating.update(self._board, card, now, changes)
        return card

    def tick(self, now: float) -> None:
        """Do what is due; call it at :meth:`next_wakeup` at the latest, and :meth:`settle` after it."""
        alarms.tick(self._board, now)

    # ---------------------------------------------------------------------------------------------- questions

    def clock_set(self, step_s: float) -> None:
        """Let time-outs and rates be as long as before, though the clock was set by ``step_s`` (s)."""
        self._board.dispatcher.clock_set(step_s)
        self._board.timers.shift(lambda key: key[1] in (Alarm.TIMEOUT, Alarm.KILL), step_s)

    def next_wakeup(self, now: float) -> float | None:
        """Return when :meth:`tick` and :meth:`dispatch` are to be called next, epoch seconds."""
        alarm, start = self._board.timers.next(), self._board.dispatcher.next_wakeup(now)
        if alarm is None or start is None:
            return start if alarm is None else alarm
        return min(alarm, start)

    def wait_reason(self, uid: str, now: float) -> str:
        """Return why a task does not run, in a word of the protocol; empty if it runs or is not active."""
        card = self._board.cards.get(uid)
        if card is None:
            return ""
        match card.state:
            case TaskState.BLOCKED:
                return "dependencies"
            case TaskState.PAUSED:
                return "paused"
            case TaskState.WAITING_CHILDREN if card.open_children:
                return "children"
            case TaskState.PENDING | TaskState.WAITING_CHILDREN:
                return self._board.dispatcher.wait_reason(card, now)
        return ""
