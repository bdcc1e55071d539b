"""Rows of the task queue for tests."""

from __future__ import annotations

from typing import Any, cast

from remanager.store import Store, Write
from remanager.store.task_rows import TaskEnd, TaskInsert, TaskUpdate, log_line


def do(store: Store, *made: Write) -> int:
    """Store writes and wait for the commit."""
    return store.submit(made).result(20)


def new(uid: str, number: int = 1, **changes: Any) -> TaskInsert:
    """Return a new pending task."""
    row: dict[str, Any] = {
        "task_uid": uid,
        "task_number": number,
        "item_type": "function",
        "name": "copy",
        "state": "pending",
        "stage": None,
        "user": "ann",
        "user_group": "primary",
        "domain": "",
        "task_group": "",
        "label": "",
        "key": "",
        "priority": 128,
        "attempt": 0,
        "lease_epoch": 0,
        "worker_uid": None,
        "origin_uid": None,
        "job_uid": None,
        "parent_uid": None,
        "schedule_uid": None,
        "time_created": 1.0,
        "time_ready": 1.0,
        "time_first_start": None,
        "time_start": None,
        "time_updated": 1.0,
        "properties": None,
        "run_after": None,
        "expires_at": None,
        "paused_since": None,
        "pause_reasons": None,
        "failed_child": None,
        "state_reason": "",
        "tags": (),
        "depends_on": (),
        "options": None,
        "log": log_line(1.0, None, "pending", 0),
        "body": f'{{"item_uid": "{uid}"}}',
    }
    return cast(TaskInsert, _changed(row, changes))


def update(uid: str, state: str = "running", **changes: Any) -> TaskUpdate:
    """Return the update of a task that starts."""
    row: dict[str, Any] = {
        "task_uid": uid,
        "state": state,
        "stage": "executing" if state == "running" else None,
        "priority": 128,
        "attempt": 1,
        "lease_epoch": 1,
        "worker_uid": "w1",
        "run_after": None,
        "expires_at": None,
        "time_ready": 1.0,
        "time_first_start": 2.0,
        "time_start": 2.0,
        "time_updated": 2.0,
        "paused_since": None,
        "paused_s": 0.0,
        "pause_reasons": None,
        "cancel_reason": "",
        "cancel_state": None,
        "rerun": 0,
        "failed_child": None,
        "state_reason": "",
        "error_type": None,
        "msg": None,
        "traceback": None,
        "log": log_line(2.0, "pending", state, 1, worker_uid="w1"),
    }
    return cast(TaskUpdate, _changed(row, changes))


def end(uid: str, state: str = "completed", **changes: Any) -> TaskEnd:
    """Return the terminal record of a task."""
    row: dict[str, Any] = {
        "task_uid": uid,
        "lease_epoch": 1,
        "state": state,
        "attempt": 1,
        "time_start": 2.0,
        "time_stop": 3.0,
        "paused_s": 0.0,
        "cancel_reason": "",
        "success": int(state == "completed"),
        "state_reason": "",
        "error_type": None,
        "msg": None,
        "traceback": None,
        "return_codec": None,
        "return_value": None,
        "result_expires": None,
        "progress": None,
        "actual_io": None,
        "log": log_line(3.0, "running", state, 1),
    }
    return cast(TaskEnd, _changed(row, changes))


def _changed(row: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    assert set(changes) <= set(row), set(changes) - set(row)
    return row | changes
