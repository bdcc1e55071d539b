"""Questions about tasks: which there are, how many, what became of them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from remanager.engine.task_queue.board import QUEUED
from remanager.engine.task_queue.jobs import job_figures
from remanager.manager.ledger import Ledger
from remanager.manager.ports import Clock
from remanager.manager.task_queue.portions import portions
from remanager.manager.task_queue.record import describe, only, read_records
from remanager.manager.task_queue.service import TaskQueue
from remanager.model.errors import InvalidParams, NotFound
from remanager.model.selector import Location, Selector
from remanager.model.states import STATE_CLASS, StateClass, TaskState, is_terminal
from remanager.store.page_plan import Order
from remanager.store.reads import Reads
from remanager.store.store import Store
from remanager.store.task_pages import GroupCounts, Page
from remanager.store.task_rows import JobFigures
from remanager.store.transitions import transitions_of

MAX_RELATIVES = 1000
"""Children and dependents that are listed."""

MAX_WAITED = 20_000
"""Tasks whose states one request waits for and is told."""

MAX_PAGE_CHARS = 16_000_000
"""A page of tasks ends early when their items have more together: others wait while a reply is made."""


@dataclass(frozen=True, slots=True)
class Waited:
    """What became of tasks that were waited for.

    Attributes
    ----------
    done : dict of str to TaskState
        Those that have ended.
    active, not_found : list of str
        Those that have not, and those that are not known.
    """

    done: dict[str, TaskState]
    active: list[str]
    not_found: list[str]


class TaskQuestions:
    """Answers from the store and the scheduler.

    Parameters
    ----------
    queue : TaskQueue
        Knows what is live.
    states : callable
        Returns the states of tasks of all kinds, as clients are told.
    store, ledger, clock
        As elsewhere in this room.
    """

    def __init__(
        self,
        queue: TaskQueue,
        states: Callable[[Sequence[str]], dict[str, TaskState | None]],
        store: Store,
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._states = states
        self._store = store
        self._ledger = ledger
        self._clock = clock

    async def info(self, uid: str, include: Collection[str]) -> dict[str, Any]:
        """Return what ``task_info`` answers for a task.

        Raises
        ------
        NotFound
            The task is not known.
        """
        await self._ledger.flush()
        found = await self._store.read_heavy(lambda reads: _read_info(reads, uid, include))
        if found is None:
            raise NotFound(f"The task '{uid}' is not known")
        (record, tags), parts = found
        task = describe(record, tags, self._queue, self._clock())
        task["dependents"] = parts.pop("dependent_uids")
        location = "active" if STATE_CLASS[record.state] is StateClass.ACTIVE else "history"
        return {"location": location, "task": task, "progress": task["progress"], **parts}

    async def uid_of_key(self, name: str, key: str) -> str | None:
        """Return the newest task of a type with a key."""
        card = self._queue.scheduler.holder(name, key)
        if card is not None:
            return card.uid
        await self._ledger.flush()
        record = self._store.reads.tasks.record_of_key(name, key)
        return None if record is None else record.task_uid

    async def page(
        self,
        selector: Selector,
        *,
        order: Order,
        limit: int,
        cursor: str | None,
        offset: int,
        fields: Sequence[str] | None,
    ) -> tuple[list[Any], Page]:
        """Return records of the selected tasks, and the page that they are."""
        await self._ledger.flush()
        now = self._clock()

        def read(reads: Reads) -> tuple[list[Any], Page]:
            def page_of(limit: int) -> Page:
                return reads.pages.page(
                    selector, now=now, order=order, limit=limit, cursor=cursor, offset=offset
                )

            page = page_of(limit)
            fitting = _fitting(reads.tasks.body_sizes(page.ids))
            if fitting < len(page.ids):
                page = page_of(fitting)
            return read_records(reads, page.ids), page

        rows, page = await self._store.read_heavy(read)
        told: list[Any] = []
        for portion in portions(rows):
            if told:
                await asyncio.sleep(0)
            told += [only(describe(r, t, self._queue, now), fields) for r, t in portion]
        return told, page

    async def count(self, selector: Selector, group_by: str | None) -> GroupCounts:
        """Return the number of selected tasks, by a value if ``group_by`` names one."""
        await self._ledger.flush()
        now = self._clock()

        def read(reads: Reads) -> GroupCounts:
            if group_by is None:
                return GroupCounts(reads.pages.count(selector, now=now), [])
            return reads.pages.group(selector, group_by, now=now)

        return await self._store.read_heavy(read)

    async def uids(self, selector: Selector, limit: int) -> list[tuple[str, TaskState]]:
        """Return UID and state of selected tasks, oldest first."""
        await self._ledger.flush()
        now = self._clock()
        return await self._store.read_heavy(lambda reads: reads.pages.uids(selector, now=now, limit=limit))

    async def job(self, job_uid: str) -> dict[str, Any]:
        """Return what ``job_status`` answers for a job.

        Raises
        ------
        NotFound
            No task belongs to it.
        """
        found = await self.selected_job(Selector(job_uid=(job_uid,)))
        if not found["total_tasks_cnt"]:
            raise NotFound(f"The job '{job_uid}' is not known")
        return {"job_uid": job_uid, **found}

    async def selected_job(self, selector: Selector) -> dict[str, Any]:
        """Return what ``job_status`` answers for selected tasks that are seen as one job."""
        await self._ledger.flush()
        now = self._clock()
        return _job(*await self._store.read_heavy(lambda reads: reads.pages.job(selector, now=now)))

    async def tag_keys(self, prefix: str, selector: Selector) -> list[tuple[str, int]]:
        """Return the keys of tags that begin with a prefix, with the number of tasks that have them."""
        await self._ledger.flush()
        now = self._clock()
        return await self._store.read_heavy(lambda reads: reads.pages.tag_keys(prefix, selector, now=now))

    async def wait(self, uids: Iterable[str], until: str, timeout_s: float) -> Waited:
        """Wait until one task, or all, have ended.

        Parameters
        ----------
        until : str
            ``any`` or ``all``.
        timeout_s : float
            How long at most, s.
        """
        time = asyncio.get_running_loop().time
        deadline = time() + timeout_s
        wanted = list(dict.fromkeys(uids))
        while True:
            waited = self._look(wanted)
            over = not waited.active or (until == "any" and waited.done)
            left = deadline - time()
            waiters, every = self._queue.waiters, until == "all"
            if over or left <= 0 or not await waiters.wait(waited.active, left, every=every):
                return self._look(wanted) if not over else waited

    def unknown(self, uids: Sequence[str]) -> list[str]:
        """Return those UIDs that no task of any kind has."""
        return self._look(uids).not_found

    def _look(self, uids: Sequence[str]) -> Waited:
        done: dict[str, TaskState] = {}
        active, unknown = [], []
        for uid, state in self._states(uids).items():
            if state is None:
                unknown.append(uid)
            elif is_terminal(state):
                done[uid] = state
            else:
                active.append(uid)
        return Waited(done, active, unknown)

    async def to_wait_for(self, selector: Selector) -> list[str]:
        """Return the UIDs of the selected tasks.

        Raises
        ------
        InvalidParams
            There are more of them than one request waits for.
        """
        found = await self.uids(selector, MAX_WAITED + 1)
        if len(found) > MAX_WAITED:
            raise InvalidParams(
                f"More than {MAX_WAITED} tasks are selected: wait for them with 'idle', or select fewer"
            )
        return [uid for uid, _ in found]

    async def wait_idle(self, selector: Selector, timeout_s: float) -> list[str]:
        """Wait until no selected task is active; return those that still are (at most ``MAX_WAITED``)."""
        if selector.location is Location.HISTORY:
            return []
        selector = replace(selector, location=Location.ACTIVE)
        time = asyncio.get_running_loop().time
        deadline = time() + timeout_s
        while True:
            active = [uid for uid, _ in await self.uids(selector, MAX_WAITED)]
            left = deadline - time()
            if not active or left <= 0:
                return active
            still = self._look(active).active  # of some the end may have come since they were read
            if still and not await self._queue.waiters.wait(still, left, every=True):
                return still


def _read_info(reads: Reads, uid: str, include: Collection[str]) -> tuple[Any, dict[str, Any]] | None:
    record = reads.tasks.record(uid)
    if record is None:
        return None
    tags = reads.tasks.tags([record.id]).get(record.id, {})
    dependents = reads.tasks.dependents(uid, MAX_RELATIVES)
    parts: dict[str, Any] = {"dependent_uids": [u for u, _ in dependents]}
    log = reads.tasks.log(uid) if {"transitions", "attempts"} & set(include) else []
    if "transitions" in include:
        lines = transitions_of(record, log)
        parts["transitions"] = [{"seq": n, **_UNSAID, **line} for n, line in enumerate(lines, 1)]
    if "attempts" in include:
        # The pauses of a plan, all that its log has, are within its execution.
        parts["attempts"] = attempts_of(transitions_of(record, log if record.task_number is not None else ()))
    if "dependents" in include:
        parts["dependents"] = [{"task_uid": u, "state": s} for u, s in dependents]
        needs = json.loads(record.depends) if record.depends else []
        states = reads.task_states(needs)
        parts["prerequisites"] = [{"task_uid": u, "state": states.get(u)} for u in needs]
    if "children" in include:
        children = reads.tasks.children(uid, MAX_RELATIVES)
        parts["children"] = [{"task_uid": u, "state": s} for u, s in children]
    return (record, tags), parts


def _fitting(sizes: Iterable[int]) -> int:
    """Return how many items fit into a page, at least one."""
    sums = accumulate(sizes)
    return max(sum(1 for size in sums if size <= MAX_PAGE_CHARS), 1)


def _job(rows: Sequence[JobFigures], errors: Iterable[tuple[str, str, int]]) -> dict[str, Any]:
    counts: Counter[TaskState] = Counter()
    sizes: Counter[str] = Counter()
    for row in rows:
        counts[row.state] += row.number
        sizes.update(done=int(row.done_size or 0), total=int(row.total_size or 0))
    figures = job_figures(counts, done_size=sizes["done"], total_size=sizes["total"])
    starts = [r.time_first_start for r in rows if r.time_first_start is not None]
    stops = [r.time_last_stop for r in rows if r.time_last_stop is not None]
    return {
        "state": figures.state,
        "total_tasks_cnt": figures.total,
        "done_tasks_cnt": figures.done,
        "succeeded": figures.succeeded,
        "failed": figures.failed,
        "cancelled": figures.cancelled,
        "expired": figures.dropped,
        "remaining": figures.remaining,
        "done_size": sizes["done"],
        "total_size": sizes["total"],
        "percent": figures.percent,
        "errors": [{"type": kind, "msg": msg, "count": n} for kind, msg, n in errors],
        "time_first_start": min(starts, default=None),
        "time_last_stop": max(stops, default=None),
    }


_UNSAID = {"stage": None, "outcome": "", "reason": "", "worker_uid": None, "error": None}
"""What the line of a transition leaves out."""

_BEGUN = frozenset((TaskState.RUNNING, TaskState.WAITING_CHILDREN))


def attempts_of(log: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the executions of a task, made of its transitions.

    Each has ``run``, ``attempt``, ``worker_uid``, ``time_start``, ``time_stop`` (None while it runs),
    ``outcome`` (how it ended; empty while it runs), ``state`` (what came next), ``reason`` and ``error``.
    """
    found: list[dict[str, Any]] = []
    run = 1
    for line in log:
        if line["to"] == "running" and line["from"] != "running":
            found.append(
                {
                    "run": run,
                    "attempt": line["attempt"],
                    "worker_uid": line.get("worker_uid"),
                    "time_start": line["time"],
                    "time_stop": None,
                    "outcome": "",
                    "state": "running",
                    "reason": "",
                    "error": None,
                }
            )
        elif line["from"] == "running" and line["to"] != "running" and found:
            found[-1] |= {
                "time_stop": line["time"],
                "outcome": _outcome(line),
                "state": line["to"],
                "reason": line.get("reason", ""),
                "error": line.get("error"),
            }
        if line["from"] in _BEGUN and line["to"] in QUEUED and not line["attempt"]:
            run += 1  # a duplicate asked for it
    return found


def _outcome(line: Mapping[str, Any]) -> str:
    """Return how an execution ended, from the transition at its end."""
    if "outcome" in line:
        return str(line["outcome"])
    if is_terminal(TaskState(line["to"])):
        return str(line["to"])
    if line["to"] == TaskState.WAITING_CHILDREN:
        return TaskState.COMPLETED.value
    return "failed" if "error" in line else ""  # older lines do not say more


ACTIVE_ONLY = Selector(location=Location.ACTIVE)
"""Every task that has not ended."""
