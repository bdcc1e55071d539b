"""Holding tasks on request: one by one, or by scope; and letting them go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from remanager.engine.task_queue.board import QUEUED
from remanager.engine.task_queue.card import Card
from remanager.engine.task_queue.queueing import OWN_REASONS
from remanager.engine.task_queue.scopes import Scope, ScopeKey, scope_keys
from remanager.manager.ledger import Ledger
from remanager.manager.ports import Clock
from remanager.manager.task_queue.service import TaskQueue
from remanager.manager.task_queue.switch_record import TIMED_HOLDS
from remanager.manager.tasks import TaskService
from remanager.model.errors import Conflict, InvalidParams, NotFound
from remanager.model.states import TaskState, is_terminal

LOOKED_AT = 10_000
"""Tasks that are looked at in one go; requests are answered in between."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a pause, or its end, concerns.

    Attributes
    ----------
    held_count : int
        Tasks that wait and are held by it.
    interrupted : list of str
        UIDs of the running tasks that are told to stop.
    resumed_count : int
        Tasks that nothing holds any more.
    """

    held_count: int = 0
    interrupted: list[str] = field(default_factory=list)
    resumed_count: int = 0


class Holds:
    """Pauses and resumes.

    Parameters
    ----------
    queue : TaskQueue
        Whose tasks are held.
    tasks : TaskService
        Knows the states of tasks of all kinds.
    ledger, clock
        As elsewhere in this room.
    """

    def __init__(self, queue: TaskQueue, tasks: TaskService, ledger: Ledger, clock: Clock) -> None:
        self._queue = queue
        self._tasks = tasks
        self._ledger = ledger
        self._clock = clock

    async def pause(
        self, scope: Scope | None, name: str, *, until: float | None, interrupt: bool, reason: str
    ) -> Held:
        """Hold the tasks of a scope, or (``scope`` None) the task with the UID ``name``.

        Parameters
        ----------
        until : float or None
            When they go on by themselves, epoch seconds.
        interrupt : bool
            Tell those that run to stop and wait; else they finish.

        Raises
        ------
        NotFound, Conflict, InvalidParams
            There is no such task, it can't be held, or the time is over.
        """
        now = self._clock()
        if until is not None and until <= now:
            raise InvalidParams(f"'until' is not in the future: {until}")
        if scope is None:
            self._require(name)
        told = self._queue.scheduler.pause(scope, name, now, until=until, interrupt=interrupt, reason=reason)
        if scope is None:
            await self._commit_task()
            return Held(int(self._waits(name)), told)
        await self._commit_scope()
        return Held(await self._count(_covered(scope, name)), told)

    async def resume(self, scope: Scope | None, name: str) -> Held:
        """Undo a pause; nothing happens if there is none.

        Raises
        ------
        NotFound, Conflict
            There is no such task, or it is not one of the task queue.
        """
        now, scheduler = self._clock(), self._queue.scheduler
        if scope is None:
            self._require(name)
            undone = scheduler.resume(None, name, now)
            await self._commit_task()
            return Held(resumed_count=int(undone and not self._waits(name)))
        if not scheduler.resume(scope, name, now):
            return Held()
        covered, covering = _covered(scope, name), scheduler.dispatcher.switches.covering
        freed = await self._count(
            lambda card: (
                card.state is TaskState.PAUSED
                and covered(card)
                and not card.pause_reasons & OWN_REASONS
                and not covering(card)
            )
        )
        await self._commit_scope()
        return Held(resumed_count=freed)

    def _require(self, uid: str) -> None:
        """Refuse what is no active task of the task queue."""
        if uid in self._queue.scheduler.cards:
            return
        state = self._tasks.states([uid])[uid]
        if state is None:
            raise NotFound(f"The task '{uid}' is not known")
        if is_terminal(state) or uid in self._queue.ending:
            raise Conflict(f"The task '{uid}' has ended")
        raise Conflict(
            f"'{uid}' is not of the task queue. Plans are held by 're_pause' and 'queue_stop'; what the "
            "environment executes cannot be"
        )

    def _waits(self, uid: str) -> bool:
        card = self._queue.scheduler.cards.get(uid)
        return card is not None and bool(card.pause_reasons) and card.state in QUEUED

    async def _commit_task(self) -> None:
        """Store what holds single tasks, and until when."""
        cards = self._queue.scheduler.cards.values()
        batch = self._ledger.batch()
        batch.setting(TIMED_HOLDS, {c.uid: c.paused_until for c in cards if c.paused_until is not None})
        self._queue.advance(batch)
        await self._ledger.commit(batch)

    async def _commit_scope(self) -> None:
        done = self._queue.commit()
        self._queue.settle()
        await done

    async def _count(self, matches: Callable[[Card], bool]) -> int:
        """Count active tasks, some at a time."""
        cards = list(self._queue.scheduler.cards.values())
        count = 0
        for begin in range(0, len(cards), LOOKED_AT):
            if begin:
                await asyncio.sleep(0)
            count += sum(map(matches, cards[begin : begin + LOOKED_AT]))
        return count


def _covered(scope: Scope, name: str) -> Callable[[Card], bool]:
    key: ScopeKey = (scope, name)
    return lambda card: card.state in QUEUED and key in scope_keys(card.spec)
