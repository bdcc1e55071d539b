"""The transitions of a task, from its log or from its record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from remanager.model.states import STATE_CLASS, StateClass, TaskState
from remanager.store.task_rows import TaskRecord

_REASON_CHARS = 500


def transitions_of(record: TaskRecord, log: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the transitions of a task, oldest first.

    The log of a task of the task queue has them all. That of a plan has its pauses, that of a function or a
    script nothing: begin and end are what the record says.
    """
    if record.task_number is not None:
        return list(log)
    lines = [_line(record.time_created, None, TaskState.PENDING, record.attempt - 1)]
    if record.time_start is not None:
        begun = _line(record.time_start, TaskState.PENDING, TaskState.RUNNING, record.attempt)
        lines.append({**begun, "worker_uid": record.worker_uid} if record.worker_uid else begun)
    lines += log
    if record.time_stop is not None:
        ended = _line(record.time_stop, lines[-1]["to"], record.state, record.attempt)
        if record.msg and STATE_CLASS[record.state] is not StateClass.SUCCESS:
            ended["reason"] = record.msg[:_REASON_CHARS]
        if record.error_type is not None:
            ended["error"] = {"type": record.error_type, "msg": (record.msg or "")[:_REASON_CHARS]}
        lines.append(ended)
    return lines


def _line(time: float, old: str | None, new: TaskState, attempt: int) -> dict[str, Any]:
    return {"time": time, "from": old, "to": new.value, "attempt": attempt}
