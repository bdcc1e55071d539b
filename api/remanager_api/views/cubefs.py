"""CubeFS: figures of background tasks, details of a task, progress of a disk.

The answers have the very shapes of the blob store's scheduler: its numbers by minute and its times are
printed texts. Which task types stand for which section is data (:data:`SECTIONS`) and can be given.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from remanager_api.views.native import Answer, Record, inverted

STATE: Mapping[str, int] = {
    "pending": 1,
    "blocked": 1,
    "paused": 1,
    "running/preparing": 1,
    "running/executing": 2,
    "running/cancelling": 2,
    "waiting_children": 2,
    "running/finishing": 3,
    "completed": 4,
    "stopped": 4,
    "skipped": 5,
}
"""Number of CubeFS by native state, with the stage of a running task.

1: accepted, 2: prepared, 3: work completed, 4: finished, 5: finished in advance. A pending task that could
start now is 2 as well, see :func:`state_number`.
"""

WITHOUT_NUMBER = (
    *("failed", "dead_letter", "dependency_failed", "timed_out", "lost"),
    *("cancelled", "aborted", "halted", "expired", "superseded"),
)
"""Native states that CubeFS has no number for: it tries again for ever and cancels nothing."""

STATES: Mapping[int, tuple[str, ...]] = inverted(STATE)
"""Native states, with stages, by number of CubeFS."""


class Kind(StrEnum):
    """Shapes of the sections of ``stats``."""

    MIGRATION = "migration"
    INSPECTION = "inspection"
    RUNNER = "runner"


@dataclass(frozen=True, slots=True)
class Section:
    """A section of ``stats``.

    Attributes
    ----------
    types : tuple of str
        Task types that it sums up.
    kind : Kind
        Its shape.
    disks : str
        Key of the list of disks that are worked on; empty: the section has no such list and no totals.
    done : str
        Key of the number of tasks that have succeeded: those that failed have moved nothing.
    has_enable : bool
        Whether it has the key ``enable``.
    parents : tuple of str
        Task types whose children are counted here: they are not, but ``enable`` heeds their switches.
    """

    types: tuple[str, ...] = ()
    kind: Kind = Kind.MIGRATION
    disks: str = ""
    done: str = ""
    has_enable: bool = True
    parents: tuple[str, ...] = ()


SECTIONS: Mapping[str, Section] = {
    "disk_repair": Section(("repair_run",), disks="repairing_disks", done="repaired_tasks_cnt"),
    "disk_drop": Section(
        ("drain_run",),
        disks="dropping_disks",
        done="dropped_tasks_cnt",
        parents=("drain_directory",),
    ),
    "balance": Section(("balance_run",), parents=("balance_directories",)),
    "manual_migrate": Section(("copy_run", "move_run"), has_enable=False),
    "volume_inspect": Section(("inspect_run",), Kind.INSPECTION),
    "shard_repair": Section(kind=Kind.RUNNER),
    "blob_delete": Section(("delete_runs",), Kind.RUNNER),
}
"""The sections of the seed, with the task types of ``remanager.data_movement``.

Each task counts in one section, children in that of their parent. Nothing of ours runs as ``shard_repair``:
``repair_run`` counts as ``disk_repair``.
"""

_OF_DISKS = ("drain_directory", "balance_directories", "delete_runs")
"""Task types whose arguments are disks; those of the others are in one."""

SLOTS = 20
_NOTHING: Mapping[str, Any] = {"enable": True, "resources": [], "per_min": {}, "err_stats": []}
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
_LOCK_PREFIX = "disk:"


# ------------------------------------------------------------------------------------------------- stats


def stats(answer: Answer, sections: Mapping[str, Section] = SECTIONS) -> dict[str, dict[str, Any]]:
    """Return what ``GET /stats`` answers, from what ``stats`` does.

    Parameters
    ----------
    answer : mapping
        With the section ``types``.
    sections : mapping
        Sections by name.
    """
    make = {Kind.MIGRATION: _migration, Kind.INSPECTION: _inspection, Kind.RUNNER: _runner}
    types = answer["types"]
    return {
        name: _switched(section, types)
        | make[section.kind](section, [types.get(t, _NOTHING) for t in section.types])
        for name, section in sections.items()
    }


def _switched(section: Section, types: Answer) -> dict[str, Any]:
    if not section.has_enable:
        return {}
    return {"enable": all(types.get(t, _NOTHING)["enable"] for t in (*section.types, *section.parents))}


def _migration(section: Section, rows: Sequence[Answer]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if section.disks:
        locks = sorted({lock for row in rows for lock in row["resources"]})
        found[section.disks] = [lock.removeprefix(_LOCK_PREFIX) for lock in locks]
        found["total_tasks_cnt"] = _sum(rows, "total_tasks_cnt")
        found[section.done] = _sum(rows, "succeeded_tasks_cnt")
    ready = _sum(rows, "ready_cnt")
    return {
        **found,
        "preparing_cnt": max(_sum(rows, "preparing_cnt") - ready, 0),
        "worker_doing_cnt": _sum(rows, "worker_doing_cnt") + ready,
        "finishing_cnt": _sum(rows, "finishing_cnt"),
        "stats_per_min": {
            "finished_cnt": printed(_per_min(rows, "finished")),
            "shard_cnt": printed(_per_min(rows, "items")),
            "data_amount_byte": printed(_per_min(rows, "bytes"), printed_bytes),
        },
    }


def _inspection(_section: Section, rows: Sequence[Answer]) -> dict[str, Any]:
    return {
        "finished_per_min": printed(_per_min(rows, "finished")),
        "time_out_per_min": printed(_per_min(rows, "timed_out")),
    }


def _runner(_section: Section, rows: Sequence[Answer]) -> dict[str, Any]:
    errors = [kind for row in rows for kind in row["err_stats"]]
    total = sum(kind["count"] for kind in errors)
    errors.sort(key=lambda kind: -kind["count"])
    texts = [f"{k['error']}: {100 * k['count'] / total:.2f}%[{k['count']}]" for k in errors]
    return {
        "success_per_min": printed(_per_min(rows, "succeeded")),
        "failed_per_min": printed(_per_min(rows, "failed")),
        "total_err_cnt": _sum(rows, "total_err_cnt"),
        "err_stats": texts or None,
    }


def _sum(rows: Iterable[Answer], name: str) -> int:
    return sum(row.get(name) or 0 for row in rows)


def _per_min(rows: Sequence[Answer], name: str) -> list[int]:
    windows = [row["per_min"].get(name, [0] * SLOTS) for row in rows]
    return [sum(slot) for slot in zip([0] * SLOTS, *windows, strict=True)]


def printed(values: Iterable[int], form: Callable[[int], str] = str) -> str:
    """Return numbers as CubeFS prints them: ``[0 0 1]``."""
    return f"[{' '.join(map(form, values))}]"


def printed_bytes(size: int) -> str:
    """Return a size as CubeFS prints it: ``1.500KB``."""
    value, unit = float(size), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.3f}{_UNITS[unit]}"


# ------------------------------------------------------------------------------------------------- one task


def state_number(task: Record) -> int | None:
    """Return the number of CubeFS for the state of a task; None if it has none."""
    state, stage = task["state"], task.get("stage")
    if state == "pending" and task.get("wait_reason") in {"", "slot", "no_worker"}:
        return 2
    return STATE.get(f"{state}/{stage or 'executing'}" if state == "running" else state)


def printed_time(seconds: float | None) -> str:
    """Return a time as CubeFS prints it, in UTC; empty if there is none."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.%f +0000 UTC")


def task_detail(info: Answer, sections: Mapping[str, Section] = SECTIONS) -> dict[str, Any] | None:
    """Return what ``GET /task/detail/:type/:id`` answers, from what ``task_info`` does; None for 404.

    ``task_type`` is the section to which the task belongs, which ``:type`` is; its own type if there is none.
    """
    task = info["task"]
    if task is None:
        return None
    progress = task["progress"] or {}
    destination, sources = _places(task)
    source = sources[0] if sources else {"disk_id": task["tags"].get("disk", ""), "vuid": ""}
    skipped = task["state"] == "skipped"
    return {
        "stat": {
            "done_count": int(progress.get("done_count") or 0),
            "done_size": int(progress.get("done_size") or 0),
            "progress": int(progress.get("percent") or 0),
            "total_count": int(progress.get("total_count") or 0),
            "total_size": int(progress.get("total_size") or 0),
        },
        "task": {
            "code_mode": 0,  # copies are whole: there is no erasure code
            "ctime": printed_time(task["time_created"]),
            "destination": destination,
            "finish_advance_reason": task["state_reason"] if skipped else "",
            "forbidden_direct_download": not task["kwargs"].get("direct_download", True),
            "mtime": printed_time(task["time_updated"]),
            "source_disk_id": source["disk_id"],
            "source_idc": task["group"] or "",
            "source_vuid": source["vuid"],
            "sources": sources,
            "state": state_number(task),
            "task_id": task["task_uid"],
            "task_type": _section_of(task["task_type"], sections),
            "worker_redo_cnt": max(task["attempt"] - 1, 0),
        },
    }


def _section_of(task_type: str, sections: Mapping[str, Section]) -> str:
    found = (name for name, s in sections.items() if task_type in (*s.types, *s.parents))
    return next(found, task_type)


def _places(task: Record) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return where the task writes and what it reads: its first two arguments, or those of these names."""
    args, kwargs = list(task["args"]), task["kwargs"]
    first = next((kwargs[n] for n in ("source", "run", "directory", "directories") if n in kwargs), args[:1])
    target = next((kwargs[n] for n in ("target", "archive") if n in kwargs), args[1:2])
    disk = task["tags"].get("disk")
    sources = [_place(task, place, disk) for place in _texts(first)]
    targets = [_place(task, place) for place in _texts(target)]
    return targets[0] if targets else {}, sources


def _texts(value: Any) -> list[str]:
    """Return a value, or all of those in nested lists, as texts."""
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else [str(value)]


def _place(task: Record, path: str, disk: str | None = None) -> dict[str, str]:
    of_disk = path if task["task_type"] in _OF_DISKS else posixpath.dirname(path) or path
    return {"disk_id": disk or of_disk, "host": task["worker_uid"] or "", "vuid": path}


def migrating_selector(
    task_type: str, disk_id: str, sections: Mapping[str, Section] = SECTIONS
) -> dict[str, Any]:
    """Return the selector of ``job_status`` for the tasks of a section that concern a disk."""
    return {"task_type": list(sections[task_type].types), "tags": {"disk": disk_id}}


def disk_migrating(job: Answer) -> dict[str, int]:
    """Return what ``GET /stats/disk/migrating`` answers, from what ``job_status`` does.

    Only tasks that succeeded have migrated anything: while others are in the total, the disk is needed.
    """
    return {"total_tasks_cnt": job["total_tasks_cnt"], "migrated_tasks_cnt": job["succeeded"]}
