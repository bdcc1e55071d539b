"""What ``queue_status`` answers: how much waits, could start, and runs, of plans and of the task queue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from remanager.engine.estimates import point_count
from remanager.model.selector import ALL, Selector
from remanager.model.states import ItemType, ManagerState, TaskState
from remanager.store.reads import Reads
from remanager.store.task_figures import Depth

if TYPE_CHECKING:
    from remanager.manager.manager import Manager

MAX_LANES = 1000
"""Lanes that are listed, those with most tasks."""

MAX_ESTIMATED = 1000
"""With more items no time is estimated for the plan queue."""

LANES = {"user": "user", "domain": "domain", "task_type": "name", "group": "task_group"}
"""What tasks can be grouped by, and its column."""

FULL_LANE = ("user", "domain", "task_type")

_PLANS = (ItemType.PLAN, ItemType.INSTRUCTION)
_TASKS = tuple(str(kind) for kind in ItemType if kind not in _PLANS)


@dataclass(frozen=True, slots=True)
class Depths:
    """Numbers of active tasks, all of one moment.

    Attributes
    ----------
    queued : int
        Accepted and not handed to a worker.
    ready, delayed : int
        Of these, those that could start now, and those that wait for a time.
    unacked : int
        Handed to a worker; their end is not on disk.
    oldest : float or None
        When the oldest queued one was submitted, epoch seconds.
    """

    queued: int
    ready: int
    delayed: int
    unacked: int
    oldest: float | None

    def as_dict(self, now: float) -> dict[str, object]:
        """Return the numbers and the age of the oldest (s) under the names of the protocol."""
        return {
            "queued": self.queued,
            "ready": self.ready,
            "delayed": self.delayed,
            "unacked": self.unacked,
            "total": self.queued + self.unacked,
            "oldest_age_s": None if self.oldest is None else max(now - self.oldest, 0.0),
        }


class QueueView:
    """Makes the answers from one snapshot of the store.

    Parameters
    ----------
    manager : Manager
        Whose queues they are.
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._eta: tuple[str, float | None] = ("", None)

    async def status(self, selector: Selector, group_by: str | None) -> dict[str, object]:
        """Return what ``queue_status`` answers for selected tasks.

        Parameters
        ----------
        group_by : str or None
            A key of :data:`LANES`; None: a lane for each user, domain and type.
        """
        manager = self._manager
        await manager.ledger.flush()
        now = manager.clock()
        names = FULL_LANE if group_by is None else (group_by,)

        def read(reads: Reads) -> tuple[list[Depth], Depths, int]:
            rows = reads.figures.depths(selector, [LANES[n] for n in names], now=now)
            by_user = rows if names[0] == "user" else reads.figures.depths(selector, ["user"], now=now)
            return rows, self.depths(reads, rows, selector, now), len({d.lane[0] for d in by_user})

        rows, depths, users = await manager.store.read_heavy(read)
        return {
            "plan_queue": self.plan_queue(),
            **depths.as_dict(now),
            "users_count": users,
            "lanes": _lanes(rows, names),
        }

    def depths(self, reads: Reads, rows: Iterable[Depth], selector: Selector, now: float) -> Depths:
        """Return the numbers of selected tasks, of which ``rows`` has those by state."""
        rows = list(rows)
        queued = sum(d.number for d in rows if d.is_queued)
        pending = sum(d.number for d in rows if d.state is TaskState.PENDING and d.item_type not in _PLANS)
        plans = sum(d.number for d in rows if d.state is TaskState.PENDING and d.item_type in _PLANS)
        delayed = self._delayed(reads, selector, pending, now)
        return Depths(
            queued=queued,
            ready=pending - delayed + (plans if self.plans_run() else 0),
            delayed=delayed,
            unacked=sum(d.number for d in rows) - queued,
            oldest=_oldest(reads, selector, now) if queued else None,
        )

    def _delayed(self, reads: Reads, selector: Selector, pending: int, now: float) -> int:
        if selector == ALL:
            return min(self._manager.task_queue.scheduler.dispatcher.delayed.total(), pending)
        if not pending or selector.ready is not None:
            ready = pending if selector.ready else 0
            return pending - ready
        kinds = tuple(k for k in _TASKS if selector.item_type is None or k in selector.item_type)
        return pending - reads.pages.count(replace(selector, item_type=kinds, ready=True), now=now)

    def plans_run(self) -> bool:
        """Tell whether the plan queue is being executed."""
        state = self._manager.state.manager_state
        return state in (ManagerState.EXECUTING_QUEUE, ManagerState.STARTING_QUEUE)

    def plan_queue(self) -> dict[str, object]:
        """Return how the plan queue is."""
        manager, state = self._manager, self._manager.state
        return {
            "items_in_queue": manager.queue.size,
            "running_item_uid": state.running.uid if state.running else None,
            "queue_mode": manager.queue.mode.as_dict(),
            "queue_stop_pending": state.queue_stop_pending,
            "autostart": state.autostart,
            "manager_state": state.manager_state.value,
            "plan_queue_uid": state.plan_queue_uid,
            "eta_s": self._eta_s(),
        }

    def _eta_s(self) -> float | None:
        """Return how long all plans will still take; None unless that is known of each."""
        manager = self._manager
        running = manager.progress.report()
        left = 0.0 if running is None else running["eta_s"]
        waiting = self._waiting_s()
        return None if left is None or waiting is None else left + waiting

    def _waiting_s(self) -> float | None:
        uid, items = self._manager.state.plan_queue_uid, self._manager.queue.items()
        if self._eta[0] != uid:
            seconds: list[float | None] = [None]
            if len(items) <= MAX_ESTIMATED:
                estimate = self._manager.statistics.estimator.estimate
                plans = (i for i in items if i.get("item_type") == ItemType.PLAN)
                seconds = [estimate(item, point_count(item)) for item in plans]
            known = [s for s in seconds if s is not None]
            self._eta = uid, sum(known) if len(known) == len(seconds) else None
        return self._eta[1]


def _oldest(reads: Reads, selector: Selector, now: float) -> float | None:
    if selector == ALL:
        return reads.figures.oldest()
    return reads.figures.oldest_queued(selector, now=now)


def _lanes(rows: Iterable[Depth], names: Sequence[str]) -> list[dict[str, object]]:
    """Return the lanes with their numbers of tasks, the longest first."""
    found: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        numbers = found.setdefault(row.lane, [0, 0])
        numbers[not row.is_queued] += row.number
    longest = sorted(found.items(), key=lambda item: (-item[1][0], -item[1][1], item[0]))[:MAX_LANES]
    return [
        {"lane": "/".join(lane), **dict(zip(names, lane, strict=True)), "queued": queued, "unacked": unacked}
        for lane, (queued, unacked) in longest
    ]
