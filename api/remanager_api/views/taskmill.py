"""taskmill: records, lookups, snapshots, figures of a type.

A task type of taskmill is ``domain::name``; here domain and name are two things, joined and split by
:func:`qualified` and :func:`split`. UIDs are the same in queue and history.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from math import fsum
from typing import Any, ClassVar

from remanager_api.views.native import (
    ACTIVE,
    FAILURE,
    SUCCESS,
    Answer,
    Record,
    counted,
    inverted,
    time_of,
)

STATUS: Mapping[str, str] = {
    "pending": "pending",
    "blocked": "blocked",
    "paused": "paused",
    "running": "running",
    "waiting_children": "waiting",
    "completed": "completed",
    "stopped": "completed",
    "skipped": "completed",
    "failed": "failed",
    "dead_letter": "dead_letter",
    "dependency_failed": "dependency_failed",
    "timed_out": "failed",
    "lost": "failed",  # taskmill has no word for it: it begins such a task anew
    "cancelled": "cancelled",
    "aborted": "cancelled",
    "halted": "cancelled",
    "expired": "expired",
    "superseded": "superseded",
}
"""Word of taskmill by native state."""

STATES: Mapping[str, tuple[str, ...]] = inverted(STATUS)
"""Native states by word of taskmill, for selectors."""


def qualified(domain: str, name: str) -> str:
    """Return a task type as taskmill writes it: ``domain::name``."""
    return f"{domain}::{name}" if domain else name


def split(task_type: str) -> tuple[str, str]:
    """Return domain (empty if there is none) and name of a qualified type."""
    domain, mark, name = task_type.partition("::")
    return (domain, name) if mark else ("", task_type)


def type_selector(task_type: str) -> dict[str, Any]:
    """Return the selector of a qualified type."""
    domain, name = split(task_type)
    return {"task_type": name, **({"domain": domain} if domain else {})}


def _type_of(row: Record) -> str:
    return qualified(row["domain"] or "", row["task_type"])


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """An active task.

    Attributes
    ----------
    id : str
        UID, also after the end.
    task_type : str
        ``domain::name``.
    status : str
        Word of taskmill.
    priority : int
        0 (first) to 255.
    last_error : str or None
        What was raised last; of a task that failed because of another one, which one that was.
    """

    id: str
    task_type: str
    key: str
    label: str
    status: str
    priority: int
    group: str
    tags: Mapping[str, str]
    pause_reasons: tuple[str, ...]
    retry_count: int
    last_error: str | None
    parent_id: str | None
    created_at: datetime | None
    started_at: datetime | None
    run_after: datetime | None
    expires_at: datetime | None
    expected_read_bytes: int
    expected_write_bytes: int


@dataclass(frozen=True, slots=True)
class TaskHistoryRecord(TaskRecord):
    """A task that has ended.

    Attributes
    ----------
    duration_ms : float or None
        Of the last execution; None if it never ran.
    """

    completed_at: datetime | None
    duration_ms: float | None
    actual_read_bytes: int
    actual_write_bytes: int


def _error_of(task: Record) -> str | None:
    """Return why a task failed; it may have raised nothing itself."""
    if task["last_error"]:
        return str(task["last_error"]["msg"])
    return task["state_reason"] or None if task["state"] in FAILURE else None


def _fields(task: Record) -> dict[str, Any]:
    expected = task["expected_io"]
    return {
        "id": task["task_uid"],
        "task_type": _type_of(task),
        "key": task["key"] or "",
        "label": task["label"],
        "status": STATUS[task["state"]],
        "priority": task["priority"],
        "group": task["group"] or "",
        "tags": task["tags"],
        "pause_reasons": tuple(task["pause_reasons"]),
        "retry_count": max(task["attempt"] - 1, 0),
        "last_error": _error_of(task),
        "parent_id": task["parent_uid"],
        "created_at": time_of(task["time_created"]),
        "started_at": time_of(task["time_start"]),
        "run_after": time_of(task["run_after"]),
        "expires_at": time_of(task["expires_at"]),
        "expected_read_bytes": expected.get("disk_read", 0),
        "expected_write_bytes": expected.get("disk_write", 0),
    }


def record(task: Record) -> TaskRecord:
    """Return an active task as taskmill describes it."""
    return TaskRecord(**_fields(task))


def history_record(task: Record) -> TaskHistoryRecord:
    """Return a task that has ended as taskmill describes it."""
    duration, actual = task["duration"], task["actual_io"]
    return TaskHistoryRecord(
        **_fields(task),
        completed_at=time_of(task["time_stop"]),
        duration_ms=None if duration is None else 1e3 * duration,
        actual_read_bytes=actual.get("disk_read", 0),
        actual_write_bytes=actual.get("disk_write", 0),
    )


# ------------------------------------------------------------------------------------------------- lookup


@dataclass(frozen=True, slots=True)
class Active:
    """The task was found and has not ended."""

    record: TaskRecord


@dataclass(frozen=True, slots=True)
class History:
    """The task was found and has ended."""

    record: TaskHistoryRecord


@dataclass(frozen=True, slots=True)
class NotFound:
    """There is no such task."""


TaskLookup = Active | History | NotFound


def lookup(task: Record | None) -> TaskLookup:
    """Return where a task is, from its record; None if there is none."""
    if task is None:
        return NotFound()
    return Active(record(task)) if task["state"] in ACTIVE else History(history_record(task))


@dataclass(frozen=True, slots=True)
class TypedTask:
    """Base of dataclasses whose fields are the arguments of a task.

    Examples
    --------
    >>> @dataclass(frozen=True, slots=True)
    ... class Resize(TypedTask):
    ...     domain: ClassVar[str] = "media"
    ...     name: ClassVar[str] = "resize"
    ...     path: str
    ...     width: int
    >>> Resize("/photos/img.jpg", 300).task_type
    'media::resize'
    """

    domain: ClassVar[str] = ""
    name: ClassVar[str] = ""

    @property
    def task_type(self) -> str:
        """The qualified type."""
        return qualified(self.domain, self.name)

    @property
    def arguments(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)

    @property
    def key(self) -> str:
        """Identity of the work: the same for the same type and arguments, at submission and lookup."""
        text = json.dumps([self.task_type, self.arguments], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


# ------------------------------------------------------------------------------------------------- progress


@dataclass(frozen=True, slots=True)
class EstimatedProgress:
    """How far a running task is: parts of 1, None where nothing is known."""

    task_id: str
    task_type: str
    reported: float | None
    extrapolated: float | None
    percent: float | None


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """How many bytes a running task has done; times in s."""

    task_id: str
    task_type: str
    bytes_completed: int
    bytes_total: int | None
    throughput_bps: float | None
    elapsed: float
    eta: float | None


def estimated_progress(row: Answer) -> EstimatedProgress:
    """Return the progress of a task from an entry of ``task_progress``."""
    return EstimatedProgress(
        row["task_uid"], _type_of(row), row.get("reported"), row.get("estimated"), row.get("best")
    )


def byte_progress(row: Answer) -> TaskProgress | None:
    """Return the bytes of a task from an entry of ``task_progress``; None if it reports none."""
    if row.get("done_size") is None and row.get("total_size") is None:
        return None
    total = row.get("total_size")
    return TaskProgress(
        row["task_uid"],
        _type_of(row),
        int(row.get("done_size") or 0),
        None if total is None else int(total),
        row.get("rate_bps"),
        row.get("elapsed_s") or 0.0,
        row.get("eta_s"),
    )


# ------------------------------------------------------------------------------------------------- figures


@dataclass(frozen=True, slots=True)
class TypeStats:
    """Figures of a task type.

    Attributes
    ----------
    count : int
        Tasks that have completed.
    avg_duration_ms, avg_read_bytes, avg_write_bytes : float
        Of those that completed last; bytes of those that told any.
    failure_rate : float
        Failures in failures and successes, 0 to 1.
    """

    count: int
    avg_duration_ms: float
    avg_read_bytes: float
    avg_write_bytes: float
    failure_rate: float


def type_stats(count: Answer, successes: Sequence[Record]) -> TypeStats:
    """Return the figures of a type; zeros if it has none.

    Parameters
    ----------
    count : mapping
        What ``task_count(group_by="state")`` answers for its ended tasks.
    successes : sequence of mapping
        ``duration`` and ``actual_io`` of tasks that succeeded.
    """
    states = counted(count)
    succeeded, failed = (sum(states.get(s, 0) for s in kind) for kind in (SUCCESS, FAILURE))
    moved = [task["actual_io"] for task in successes if task["actual_io"]]
    return TypeStats(
        succeeded,
        1e3 * _mean(task["duration"] for task in successes if task["duration"] is not None),
        _mean(io.get("disk_read", 0) for io in moved),
        _mean(io.get("disk_write", 0) for io in moved),
        failed / (failed + succeeded) if failed + succeeded else 0.0,
    )


def throughput(successes: Sequence[Record]) -> tuple[float, float]:
    """Return the average of read and written bytes per second of tasks that told any."""
    moved = [(task["actual_io"], task["duration"]) for task in successes if task["actual_io"]]
    read, written = (
        _mean(io.get(kind, 0) / duration for io, duration in moved if duration)
        for kind in ("disk_read", "disk_write")
    )
    return read, written


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return fsum(known) / len(known) if known else 0.0


@dataclass(frozen=True, slots=True)
class RecurringScheduleInfo:
    """A recurring schedule; ``task_id`` is the UID of the schedule, which stays the same."""

    task_id: str
    task_type: str
    label: str
    interval_secs: float | None
    next_run: datetime | None
    execution_count: int
    max_executions: int | None
    paused: bool


def recurring_schedule(row: Answer) -> RecurringScheduleInfo:
    """Return a schedule from an entry of ``schedule_list``."""
    return RecurringScheduleInfo(
        row["schedule_uid"],
        _type_of(row),
        row["label"],
        row["interval_s"],
        time_of(row["next_run"]),
        row["execution_count"],
        row["max_executions"],
        row["paused"],
    )


# ------------------------------------------------------------------------------------------------- snapshots


@dataclass(frozen=True, slots=True)
class ModuleSnapshot:
    """A domain at a moment."""

    running: list[TaskRecord]
    pending_count: int
    paused_count: int
    waiting_count: int
    blocked_count: int
    progress: list[EstimatedProgress]
    byte_progress: list[TaskProgress]
    is_paused: bool


@dataclass(frozen=True, slots=True)
class SchedulerSnapshot(ModuleSnapshot):
    """Everything at a moment; rows of lists are as ``snapshot`` answers them."""

    pressure: float
    pressure_breakdown: Mapping[str, float]
    max_concurrency: int
    recurring_schedules: list[RecurringScheduleInfo] = field(default_factory=list)
    paused_groups: list[Mapping[str, Any]] = field(default_factory=list)
    rate_limits: list[Mapping[str, Any]] = field(default_factory=list)
    aging_config: Mapping[str, Any] | None = None
    group_allocations: list[Mapping[str, Any]] = field(default_factory=list)


def _common(answer: Answer) -> dict[str, Any]:
    counts, rows = answer["counts"], answer["progress"]
    return {
        "running": [record(task) for task in answer["running"] if task["state"] == "running"],
        **{f"{STATUS[s]}_count": counts.get(s, 0) for s in ACTIVE if s != "running"},
        "progress": [estimated_progress(row) for row in rows],
        "byte_progress": [found for row in rows if (found := byte_progress(row)) is not None],
    }


def module_snapshot(answer: Answer, domain: str) -> ModuleSnapshot:
    """Return a domain's snapshot from what ``snapshot`` answers for it."""
    scopes = answer["paused_scopes"]
    paused = any((s["scope"], s["name"]) == ("domain", domain) for s in scopes) or answer["dispatch_paused"]
    return ModuleSnapshot(**_common(answer), is_paused=paused)


def scheduler_snapshot(answer: Answer) -> SchedulerSnapshot:
    """Return the snapshot of everything from what ``snapshot`` answers."""
    return SchedulerSnapshot(
        **_common(answer),
        is_paused=answer["dispatch_paused"],
        pressure=answer["pressure"],
        pressure_breakdown=answer["pressure_sources"],
        max_concurrency=answer["max_concurrency"],
        recurring_schedules=[recurring_schedule(row) for row in answer["schedules"]],
        paused_groups=[row for row in answer["paused_scopes"] if row["scope"] == "group"],
        rate_limits=[row for row in answer["limits"] if row["rate"] is not None],
        aging_config=answer["aging"],
        group_allocations=answer["groups"],
    )
