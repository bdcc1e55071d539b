"""Limits on request: set, lifted, listed with what they do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from remanager.engine.task_queue.dispatcher import Dispatcher
from remanager.engine.task_queue.limits import LimitFigures, LimitSpec
from remanager.engine.task_queue.scopes import Scope
from remanager.engine.task_queue.shares import Demand, allocate
from remanager.manager.ledger import Ledger
from remanager.manager.ports import Clock
from remanager.manager.state import State, change_uid
from remanager.manager.task_queue.restoring import LIMITS
from remanager.manager.task_queue.service import TaskQueue
from remanager.model.errors import NotFound, TooLarge

MAX_LIMITS = 10_000


class LimitDesk:
    """Sets and lists limits.

    Parameters
    ----------
    queue : TaskQueue
        Whose dispatcher obeys them.
    state, ledger, clock
        As elsewhere in this room.
    """

    def __init__(self, queue: TaskQueue, state: State, ledger: Ledger, clock: Clock) -> None:
        self._queue = queue
        self._state = state
        self._ledger = ledger
        self._clock = clock

    @property
    def _dispatcher(self) -> Dispatcher:
        return self._queue.scheduler.dispatcher

    async def set(self, spec: LimitSpec) -> None:
        """Put a limit in force, in place of the one of the same scope and name.

        Raises
        ------
        TooLarge
            There are too many.
        """
        limits = self._dispatcher.limits
        if limits.get(*spec.key) is None and len(limits.list(self._clock())) >= MAX_LIMITS:
            raise TooLarge(f"There are {MAX_LIMITS} limits already")
        limits.set(spec, self._clock())
        await self._commit("limit_set", spec.to_dict())

    async def remove(self, scope: Scope, name: str) -> None:
        """Lift a limit.

        Raises
        ------
        NotFound
            There is none.
        """
        if not self._dispatcher.limits.remove(scope, name):
            raise NotFound(f"There is no limit of '{scope}'" + (f" with the name '{name}'" if name else ""))
        await self._commit("limit_removed", {"scope": scope, "name": name})

    def list(
        self,
        scope: Scope | None = None,
        name: str | None = None,
        *,
        slots: Mapping[str, int] | None = None,
    ) -> list[dict[str, Any]]:
        """Return limits with their figures, those of a scope or with a name only if it is given.

        ``slots`` is what :meth:`allocated` returns, where that is known already.
        """
        found = [
            figures
            for figures in self._dispatcher.limits.list(self._clock())
            if (scope is None or figures.spec.scope is scope) and (name is None or figures.spec.name == name)
        ]
        if slots is None:
            slots = self.allocated() if any(f.spec.scope is Scope.GROUP for f in found) else {}
        return [_told(figures, slots) for figures in found]

    def allocated(self) -> dict[str, int]:
        """Return the slots that fall to each group as it waits and runs now; users are not looked at."""
        limits = self._dispatcher.limits
        ready = self._dispatcher.ready_by_group()
        groups = {f.spec.name: f for f in limits.list(self._clock()) if f.spec.scope is Scope.GROUP}
        demands: dict[str, Demand] = {}
        for name in groups.keys() | ready.keys():
            tasks = limits.running((Scope.GROUP, name)) + ready.get(name, 0)
            demands[name] = Demand(tasks=tasks)
            if name in groups:
                spec = groups[name].spec
                demands[name] = Demand(
                    tasks=tasks,
                    weight=spec.weight,
                    min_slots=spec.min_slots,
                    max_running=spec.max_running,
                )
        return allocate(self._queue.options.workers, demands)

    async def _commit(self, event: str, data: Mapping[str, Any]) -> None:
        batch = self._ledger.batch()
        batch.setting(LIMITS, self._dispatcher.limits.to_json())
        batch.event(event, None, **data)
        self._state.limits_uid = change_uid()
        self._ledger.touch()
        self._queue.advance(batch)
        await self._ledger.commit(batch)


def _told(figures: LimitFigures, slots: Mapping[str, int]) -> dict[str, Any]:
    spec = figures.spec
    return {
        "scope": spec.scope.value,
        "name": spec.name,
        "max_running": spec.max_running,
        "running": figures.running,
        "weight": spec.weight,
        "min_slots": spec.min_slots,
        "allocated_slots": slots.get(spec.name, 0) if spec.scope is Scope.GROUP else None,
        "rate": asdict(spec.rate) if spec.rate else None,
        "available_tokens": figures.available_tokens,
        "denied_count": figures.denied_count,
    }
