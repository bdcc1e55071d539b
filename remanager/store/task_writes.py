"""Typed factories of the writes of the task queue.

Writes of many rows run one statement for each row in one transaction. A write that refers to an active task
fails with :class:`~remanager.store.errors.StaleWrite` if the task has ended: nothing of its submission is
stored then.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import cast

from remanager.model.states import TaskState, is_terminal
from remanager.store.records import Write
from remanager.store.task_rows import ProgressPut, SamplePut, TaskEdit, TaskEnd, TaskInsert, TaskUpdate

_Params = Sequence[dict[str, object]]
_TERMINAL = frozenset(state.value for state in TaskState if is_terminal(state))


def tasks_insert(rows: Sequence[TaskInsert]) -> list[Write]:
    """Insert tasks, their tags and their dependencies."""
    if not rows:
        return []
    made = [
        {**row, "depends": json.dumps(list(row["depends_on"])) if row["depends_on"] else None} for row in rows
    ]
    last = max(row["task_number"] for row in rows)
    found = [
        Write("tasks_insert", cast(_Params, made)),
        Write("task_number_reached", {"task_number": last}, expect=1),
    ]
    tags = [_tag(row["task_uid"], key, value) for row in rows for key, value in row["tags"]]
    needs = [{"task_uid": row["task_uid"], "needs_uid": uid} for row in rows for uid in row["depends_on"]]
    if tags:
        found.append(Write("tags_insert", tags, expect=len(tags)))
    if needs:
        found.append(Write("dependencies_insert", needs))
    return found


def tasks_update(rows: Sequence[TaskUpdate]) -> Write:
    """Store the present state of active tasks; append to their logs."""
    return Write("tasks_update", cast(_Params, rows), expect=len(rows))


def tasks_edit(rows: Sequence[TaskEdit]) -> Write:
    """Store what a person changed of active tasks."""
    return Write("tasks_edit", cast(_Params, rows), expect=len(rows))


def tasks_end(rows: Sequence[TaskEnd]) -> Write:
    """Write terminal records.

    Raises
    ------
    ValueError
        A state is not a terminal one.
    """
    for row in rows:
        if row["state"] not in _TERMINAL:
            raise ValueError(f"{row['state']!r} is not a terminal state")
    return Write("tasks_end", cast(_Params, rows), expect=len(rows))


def tasks_delete(uids: Sequence[str]) -> Write:
    """Delete ended tasks; active ones and those of the plan history stay."""
    return Write("tasks_delete", [{"task_uid": uid} for uid in uids])


def progress_put(rows: Sequence[ProgressPut]) -> Write:
    """Store how far tasks are; for a task that has ended or was handed over again nothing changes."""
    return Write("tasks_progress", cast(_Params, rows))


def checkpoint_put(uid: str, lease_epoch: int, checkpoint: bytes | None) -> Write:
    """Store a value for the next attempt of a task, or drop it; an older hand-over changes nothing."""
    return Write("tasks_checkpoint", {"task_uid": uid, "lease_epoch": lease_epoch, "checkpoint": checkpoint})


def tags_set(uid: str, tags: Sequence[tuple[str, str]]) -> list[Write]:
    """Replace the tags of a task."""
    return [
        Write("tags_delete", {"task_uid": uid}),
        Write("tags_insert", [_tag(uid, key, value) for key, value in tags], expect=len(tags)),
    ]


def schedule_put(uid: str, time_created: float, body: object) -> Write:
    """Store a schedule (any JSON value), or replace it."""
    return Write(
        "schedule_put",
        {"schedule_uid": uid, "time_created": time_created, "body": json.dumps(body)},
        expect=1,
    )


def schedule_delete(uid: str) -> Write:
    """Forget a schedule; its tasks stay."""
    return Write("schedule_delete", {"schedule_uid": uid})


def samples_put(rows: Sequence[SamplePut]) -> Write:
    """Store figures of minutes, or replace them."""
    return Write("sample_put", cast(_Params, rows))


def _tag(uid: str, key: str, value: str) -> dict[str, object]:
    return {"task_uid": uid, "key": key, "value": value}
