"""What ``snapshot`` answers: everything that a dashboard shows, in one reply."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from remanager.engine.task_queue.limits import LimitSpec
from remanager.engine.task_queue.scopes import Scope
from remanager.model.selector import Location, Selector
from remanager.model.states import TaskState
from remanager.store.page_plan import Order
from remanager.store.task_figures import Depth

if TYPE_CHECKING:
    from remanager.manager.manager import Manager

MAX_RUNNING = 1000
MAX_GROUPS = 1000


class Part(StrEnum):
    """What the answer consists of."""

    RUNNING = "running"
    COUNTS = "counts"
    PROGRESS = "progress"
    PRESSURE = "pressure"
    PAUSED_SCOPES = "paused_scopes"
    SCHEDULES = "schedules"
    LIMITS = "limits"
    GROUPS = "groups"
    AGING = "aging"
    WORKERS = "workers"


class SnapshotView:
    """Makes the answer from the scheduler and the store; nothing is counted here.

    Parameters
    ----------
    manager : Manager
        Whose state it is.
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    async def snapshot(self, selector: Selector, parts: Collection[Part] | None) -> dict[str, object]:
        """Return the parts that are asked for, by default all.

        Parameters
        ----------
        selector : Selector
            What ``running``, ``counts``, ``progress`` and the numbers of ``groups`` are about.
        """
        manager, wanted = self._manager, set(Part if parts is None else parts)
        options = manager.task_queue.options
        switches = manager.task_queue.scheduler.dispatcher.switches
        found: dict[str, object] = {
            "time": manager.clock(),
            "max_concurrency": options.workers,
            "dispatch_paused": switches.is_off(Scope.ALL),
        }
        if wanted & {Part.RUNNING, Part.PROGRESS}:
            found |= await self._running(selector, wanted)
        if Part.PAUSED_SCOPES in wanted:
            found["paused_scopes"] = [asdict(switch) for switch in switches.list()]
        slots = manager.controls.limits.allocated() if wanted & {Part.GROUPS, Part.LIMITS} else {}
        if wanted & {Part.COUNTS, Part.GROUPS}:
            found |= await self._depths(selector, wanted, slots)
        if Part.PRESSURE in wanted:
            sources = self._pressure()
            found |= {"pressure": max(sources.values()), "pressure_sources": sources}
        if Part.LIMITS in wanted:
            found["limits"] = manager.controls.limits.list(slots=slots)
        if Part.SCHEDULES in wanted:
            found["schedules"] = manager.controls.schedules.matching({})
        if Part.AGING in wanted:
            aging = manager.task_queue.scheduler.dispatcher.aging
            found["aging"] = None if aging is None else asdict(aging)
        if Part.WORKERS in wanted:
            found["workers"] = manager.statistics_view.workers(manager.clock())
        return found

    async def _running(self, selector: Selector, wanted: Collection[Part]) -> dict[str, object]:
        tasks, _page = await self._manager.questions.page(
            selector.within(TaskState.RUNNING, TaskState.WAITING_CHILDREN),
            order=Order.PRIORITY,
            limit=MAX_RUNNING,
            cursor=None,
            offset=0,
            fields=None,
        )
        found: dict[str, object] = {"running": tasks} if Part.RUNNING in wanted else {}
        if Part.PROGRESS in wanted:
            keys = ("task_uid", "domain", "task_type", "label", "attempt")
            found["progress"] = [{**{k: t[k] for k in keys}, **(t["progress"] or {})} for t in tasks]
        return found

    async def _depths(
        self, selector: Selector, wanted: Collection[Part], slots: Mapping[str, int]
    ) -> dict[str, object]:
        manager = self._manager
        await manager.ledger.flush()
        now = manager.clock()
        selected = replace(selector, location=Location.ACTIVE)
        rows = await manager.store.read_heavy(
            lambda reads: reads.figures.depths(selected, ("task_group",), now=now)
        )
        found: dict[str, object] = {}
        if Part.COUNTS in wanted:
            counts = Counter[str]()
            for row in rows:
                counts[row.state.value] += row.number
            found["counts"] = counts
        if Part.GROUPS in wanted:
            found["groups"] = self._groups(rows, slots)
        return found

    def _groups(self, rows: Collection[Depth], slots: Mapping[str, int]) -> list[dict[str, object]]:
        limits = self._manager.task_queue.scheduler.dispatcher.limits
        queued, running = Counter[str](), Counter[str]()
        for row in rows:
            (queued if row.is_queued else running)[row.lane[0]] += row.number
        names = sorted({*queued, *running, *slots} - {""}, key=lambda n: (-queued[n], n))[:MAX_GROUPS]
        specs = {
            name: limits.get(Scope.GROUP, name) or LimitSpec(scope=Scope.GROUP, name=name) for name in names
        }
        return [
            {
                "group": name,
                "weight": specs[name].weight,
                "min_slots": specs[name].min_slots,
                "cap": specs[name].max_running,
                "allocated_slots": slots.get(name, 0),
                "running": running[name],
                "queued": queued[name],
            }
            for name in names
        ]

    def _pressure(self) -> dict[str, float]:
        """Return how far each thing that is bounded is used up, 0 to 1."""
        queue = self._manager.task_queue
        busy = sum(bool(worker.held) for worker in queue.pool.workers.values())
        return {
            "workers": min(busy / max(queue.options.workers, 1), 1.0),
            "active_tasks": min(len(queue.scheduler.cards) / max(queue.options.max_active, 1), 1.0),
        }
