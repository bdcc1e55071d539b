"""The handles of taskmill: a scheduler, its domains, its store.

Most methods are one request or two. Lists without a limit are whole: they take a request for each page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from remanager_api.blocking import BlockingClient
from remanager_api.items import BFunc
from remanager_api.views.listing import listed
from remanager_api.views.native import PAGE, Answer, Record, time_of
from remanager_api.views.taskmill import (
    STATES,
    EstimatedProgress,
    ModuleSnapshot,
    RecurringScheduleInfo,
    SchedulerSnapshot,
    TaskHistoryRecord,
    TaskLookup,
    TaskProgress,
    TaskRecord,
    TypedTask,
    TypeStats,
    byte_progress,
    estimated_progress,
    history_record,
    lookup,
    module_snapshot,
    record,
    recurring_schedule,
    scheduler_snapshot,
    throughput,
    type_selector,
    type_stats,
)

SAMPLE = 500
"""Successes of a type, the latest, of which averages are made."""

DAY_S = 86400.0

Counts = list[tuple[str, int]]


class CutShort(Exception):
    """Tasks were cancelled, more descendants of them than the manager names in one answer.

    Attributes
    ----------
    named : list of str
        UIDs of those that are known.
    unnamed : int
        How many there are beside them.
    """

    def __init__(self, named: list[str], unnamed: int) -> None:
        super().__init__(f"{len(named)} cancelled tasks are known; {unnamed} children of them are not named")
        self.named = named
        self.unnamed = unnamed


def _counts(answer: Answer) -> Counts:
    """Return values with numbers, without the tasks that have no value."""
    return [(row["value"], row["count"]) for row in answer["counts"] if row["value"] is not None]


class _Asker:
    """Lists of tasks in a selection that every question has in common."""

    def __init__(self, manager: BlockingClient, selector: Mapping[str, Any]) -> None:
        self._manager = manager
        self._selector = dict(selector)

    def _active(
        self, more: Mapping[str, Any], *, order: str = "dispatch", limit: int | None = None
    ) -> list[TaskRecord]:
        selector = {"location": "active", **self._selector, **more}
        return [record(task) for task in listed(self._manager, selector, order=order, limit=limit)]

    def _history(
        self, more: Mapping[str, Any], limit: int | None, offset: int = 0
    ) -> list[TaskHistoryRecord]:
        selector = {"location": "history", **self._selector, **more}
        found = listed(self._manager, selector, order="finished", limit=limit, offset=offset)
        return [history_record(task) for task in found]

    def _count(self, more: Mapping[str, Any]) -> int:
        found = self._manager.task_count({"location": "active", **self._selector, **more})
        return int(found["total"])


class DomainHandle(_Asker):
    """The tasks of one domain.

    Parameters
    ----------
    manager : BlockingClient
        The client to ask with.
    domain : str
        Its name.
    """

    def __init__(self, manager: BlockingClient, domain: str) -> None:
        super().__init__(manager, {"domain": domain})
        self.domain = domain

    def submit(self, task: TypedTask, options: Mapping[str, Any] | None = None) -> str:
        """Submit a typed task with its key; return its UID, or that of the active one with this key.

        Raises
        ------
        ValueError
            The task is of another domain, where a lookup would look for it.
        """
        if task.domain not in {"", self.domain}:
            raise ValueError(f"The task {task.task_type!r} is not of the domain {self.domain!r}")
        reply = self._manager.task_submit(
            BFunc(task.name, **task.arguments), {"domain": self.domain, "key": task.key, **(options or {})}
        )
        return str(reply.get("existing_task_uid") or reply["task_uid"])

    def snapshot(self) -> ModuleSnapshot:
        """Return what runs and how much waits."""
        return module_snapshot(self._manager.snapshot(self._selector), self.domain)

    def active_tasks(self) -> list[TaskRecord]:
        """Return the running tasks."""
        return self._active({"state": "running"})

    def estimated_progress(self) -> list[EstimatedProgress]:
        """Return how far the running tasks are."""
        return [estimated_progress(row) for row in self._progress()]

    def byte_progress(self) -> list[TaskProgress]:
        """Return how many bytes the running tasks have done, those that report any."""
        return [found for row in self._progress() if (found := byte_progress(row)) is not None]

    def _progress(self) -> list[Any]:
        rows: list[Any] = self._manager.task_progress({**self._selector, "state": "running"})["progress"]
        return rows

    def dead_letter_tasks(self, limit: int, offset: int) -> list[TaskHistoryRecord]:
        """Return tasks whose retries are used up, newest first."""
        return self._history({"state": "dead_letter"}, limit, offset)

    # ----------------------------------------------------------------------------------------- tags

    def _with_status(self, status: str | None) -> dict[str, Any]:
        return {**self._selector, "location": "active", **({"state": list(STATES[status])} if status else {})}

    def task_ids_by_tags(self, filters: Mapping[str, str], status: str | None = None) -> list[str]:
        """Return the UIDs of active tasks with all these tags; without any, of all tasks of the domain."""
        return self._ids({**self._with_status(status), **({"tags": dict(filters)} if filters else {})})

    def task_ids_by_tag_key_prefix(self, prefix: str, status: str | None = None) -> list[str]:
        """Return the UIDs of active tasks with a tag whose key begins so."""
        return self._ids({**self._with_status(status), "tag_key_prefix": prefix})

    def _ids(self, selector: Mapping[str, Any]) -> list[str]:
        return [task["task_uid"] for task in listed(self._manager, selector, fields=["task_uid"])]

    def count_by_tag(self, key: str, status: str | None = None) -> Counts:
        """Return the values of a tag of active tasks with their numbers, the most frequent first."""
        return _counts(self._manager.task_count(self._with_status(status), group_by=f"tag:{key}"))

    def tag_values(self, key: str) -> Counts:
        """Return the values of a tag of active tasks with their numbers."""
        found = self._manager.tag_list(key=key, selector=self._with_status(None))
        return [(row["value"], row["count"]) for row in found["values"]]

    def tag_keys_by_prefix(self, prefix: str) -> list[str]:
        """Return the keys of tags of active tasks that begin so."""
        found = self._manager.tag_list(prefix=prefix, selector=self._with_status(None))
        return [row["key"] for row in found["keys"]]

    def count_by_tag_key_prefix(self, prefix: str, status: str | None = None) -> int:
        """Return the number of active tasks with a tag whose key begins so."""
        return self._count({**self._with_status(status), "tag_key_prefix": prefix})

    # ----------------------------------------------------------------------------------------- cancelling

    def cancel(self, task_id: str) -> bool:
        """Cancel a task; tell whether there was anything to cancel."""
        reply = self._manager.task_cancel(task_id)
        return bool(reply["cancelled"] or reply["cancelling"])

    def cancel_all(self) -> list[str]:
        """Cancel all tasks of the domain with their children; return their UIDs.

        Raises
        ------
        CutShort
            All are cancelled, but the manager did not name them all.
        """
        return self._cancel(self._active({}, order="created"))

    def cancel_where(self, predicate: Callable[[TaskRecord], bool]) -> list[str]:
        """Cancel the active tasks for which a function returns true, as :meth:`cancel_all` does."""
        return self._cancel([task for task in self._active({}, order="created") if predicate(task)])

    def cancel_by_tag_key_prefix(self, prefix: str) -> list[str]:
        """Cancel the tasks with a tag whose key begins so, as :meth:`cancel_all` does."""
        return self._cancel(self._active({"tag_key_prefix": prefix}, order="created"))

    def _cancel(self, newest_first: Sequence[TaskRecord]) -> list[str]:
        """Cancel tasks a page at a time: an answer to a selector would not name more than 10 000."""
        uids, cancelled = _in_order(newest_first), list[str]()
        unnamed = 0
        for begin in range(0, len(uids), PAGE):
            reply = self._manager.task_cancel(uids[begin : begin + PAGE])
            cancelled += [*reply["cancelled"], *reply["cancelling"], *reply["cascaded"]]
            unnamed += reply["counts"]["cascaded"] - len(reply["cascaded"])
        cancelled = list(dict.fromkeys(cancelled))
        if unnamed:
            raise CutShort(cancelled, unnamed)
        return cancelled

    # ----------------------------------------------------------------------------------------- schedules

    def pause_recurring(self, schedule_id: str) -> None:
        """Make no new occurrences of a schedule."""
        self._manager.schedule_pause(schedule_id)

    def resume_recurring(self, schedule_id: str) -> None:
        """Make occurrences again."""
        self._manager.schedule_resume(schedule_id)

    def cancel_recurring(self, schedule_id: str) -> None:
        """End a schedule for good, and cancel its current occurrence."""
        self._manager.schedule_cancel(schedule_id, cancel_current=True)


def _in_order(newest_first: Sequence[TaskRecord]) -> list[str]:
    """Return UIDs in an order in which each task ends as cancelled, and not because of another one.

    Parents come before their children, dependent tasks before those that they need, and what runs last, so
    that nothing takes its place meanwhile.
    """
    parents = {task.parent_id for task in newest_first}
    first = [task.id for task in reversed(newest_first) if task.id in parents]
    others = [task for task in newest_first if task.id not in parents]
    return first + [task.id for task in sorted(others, key=lambda task: task.status == "running")]


class TaskStore(_Asker):
    """The tasks of all domains.

    Parameters
    ----------
    manager : BlockingClient
        The client to ask with.
    """

    def __init__(self, manager: BlockingClient) -> None:
        super().__init__(manager, {})

    def running_tasks(self) -> list[TaskRecord]:
        """Return the running tasks by priority."""
        return self._active({"state": "running"})

    def running_count(self) -> int:
        """Return the number of running tasks."""
        return self._count({"state": "running"})

    def pending_tasks(self, limit: int) -> list[TaskRecord]:
        """Return the first pending tasks, by priority, then age."""
        return self._active({"state": "pending"}, limit=limit)

    def pending_count(self) -> int:
        """Return the number of pending tasks, delayed ones included."""
        return self._count({"state": "pending"})

    def pending_by_type(self, task_type: str) -> list[TaskRecord]:
        """Return the pending tasks of a qualified type."""
        return self._active({"state": "pending", **type_selector(task_type)})

    def paused_tasks(self) -> list[TaskRecord]:
        """Return the paused tasks, whatever holds them."""
        return self._active({"state": "paused"})

    def paused_count(self) -> int:
        """Return the number of paused tasks."""
        return self._count({"state": "paused"})

    def blocked_tasks(self) -> list[TaskRecord]:
        """Return the tasks that wait for others."""
        return self._active({"state": "blocked"})

    def blocked_count(self) -> int:
        """Return the number of tasks that wait for others."""
        return self._count({"state": "blocked"})

    def task_by_id(self, task_id: str) -> TaskRecord | None:
        """Return an active task by its UID."""
        return next(iter(self._active({"task_uid": task_id})), None)

    def task_by_key(self, key: str) -> TaskRecord | None:
        """Return an active task by its key."""
        return next(iter(self._active({"key": key}, limit=1)), None)

    def running_io_totals(self) -> tuple[int, int]:
        """Return the bytes that the running tasks are expected to read from and write to disks."""
        expected = self._manager.stats(["io"])["io"]["expected"]
        return expected["disk_read"], expected["disk_write"]

    # ----------------------------------------------------------------------------------------- dependencies

    def task_dependencies(self, task_id: str) -> list[str]:
        """Return the UIDs of the tasks that must succeed before, also of those that have."""
        task = self._manager.task_info(task_id)["task"]
        return list(task["depends_on"]) if task else []

    def task_dependents(self, task_id: str) -> list[str]:
        """Return the UIDs of the tasks that need this one."""
        task = self._manager.task_info(task_id)["task"]
        return list(task["dependents"]) if task else []

    # ----------------------------------------------------------------------------------------- history

    def history(self, limit: int, offset: int) -> list[TaskHistoryRecord]:
        """Return tasks that have ended, newest first."""
        return self._history({}, limit, offset)

    def history_by_type(self, task_type: str, limit: int) -> list[TaskHistoryRecord]:
        """Return tasks of a qualified type that have ended."""
        return self._history(type_selector(task_type), limit)

    def history_by_key(self, key: str) -> list[TaskHistoryRecord]:
        """Return all ended tasks with a key."""
        return self._history({"key": key}, None)

    def failed_tasks(self, limit: int) -> list[TaskHistoryRecord]:
        """Return recent failures with their messages, dead letters included."""
        return self._history({"class": "failure"}, limit)

    def history_stats(self, task_type: str) -> TypeStats:
        """Return the figures of a qualified type; averages are those of its last successes."""
        selector = {"location": "history", **type_selector(task_type)}
        return type_stats(
            self._manager.task_count(selector, group_by="state"), self._successes(task_type, SAMPLE)
        )

    def avg_throughput(self, task_type: str, limit: int) -> tuple[float, float]:
        """Return read and written bytes per second of the last completed tasks of a type."""
        return throughput(self._successes(task_type, limit))

    def _successes(self, task_type: str, limit: int) -> list[Record]:
        """Return what tasks of a qualified type took and moved, the latest first."""
        selector = {"class": "success", "location": "history", **type_selector(task_type)}
        fields = ["duration", "actual_io"]
        return listed(self._manager, selector, order="finished", limit=limit, fields=fields)

    def prune_history_by_count(self, keep: int) -> int:
        """Delete ended tasks but the last ones; return how many were deleted."""
        return int(self._manager.task_prune(keep=keep)["deleted"])

    def prune_history_by_age(self, days: float) -> int:
        """Delete tasks that ended longer ago; return how many were deleted."""
        return int(self._manager.task_prune(max_age_s=days * DAY_S)["deleted"])

    # ----------------------------------------------------------------------------------------- schedules

    def next_run_after(self) -> datetime | None:
        """Return when the next schedule is due."""
        return time_of(self._manager.schedule_list()["next_run_after"])

    def recurring_schedules(self) -> list[RecurringScheduleInfo]:
        """Return all schedules."""
        return [recurring_schedule(row) for row in self._manager.schedule_list()["schedules"]]


class Scheduler(_Asker):
    """All domains.

    Parameters
    ----------
    manager : BlockingClient
        The client to ask with.
    """

    def __init__(self, manager: BlockingClient) -> None:
        super().__init__(manager, {})

    def domain(self, name: str) -> DomainHandle:
        """Return the handle of a domain that a task function declares.

        Raises
        ------
        KeyError
            No function declares it.
        """
        found = self.try_domain(name)
        if found is None:
            raise KeyError(name)
        return found

    def try_domain(self, name: str) -> DomainHandle | None:
        """Return the handle of a domain; None if no function declares it."""
        functions = self._manager.task_function_list()["functions"]
        known = any(name == (function.get("options") or {}).get("domain") for function in functions)
        return DomainHandle(self._manager, name) if known else None

    def store(self) -> TaskStore:
        """Return the handle of everything that is stored."""
        return TaskStore(self._manager)

    def active_tasks(self) -> list[TaskRecord]:
        """Return the running tasks of all domains."""
        return self._active({"state": "running"})

    def task(self, task_id: str) -> TaskRecord | None:
        """Return an active task by its UID."""
        return self.store().task_by_id(task_id)

    def snapshot(self) -> SchedulerSnapshot:
        """Return everything at this moment."""
        return scheduler_snapshot(self._manager.snapshot())

    def task_lookup(self, task_type: str, key: str) -> TaskLookup:
        """Return the newest task of a qualified type with a key, active or ended."""
        found = listed(self._manager, {**type_selector(task_type), "key": key}, limit=1)
        return lookup(found[0] if found else None)

    def lookup_typed(self, task: TypedTask) -> TaskLookup:
        """Return the newest task like this one, active or ended."""
        return self.task_lookup(task.task_type, task.key)
