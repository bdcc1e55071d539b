"""Rows of the task queue: what is written of a task, and what is read.

What is written comes as dictionaries with the names of the columns. What is read comes as named tuples.
Times are epoch seconds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple, NotRequired, TypedDict

from remanager.model.states import TaskState

_LONGEST_TEXT = 500
"""Characters of an error or a reason that a line of the log keeps."""


class TaskInsert(TypedDict):
    """A new task. ``state`` is an active one: a task that ended at once is inserted and then ended.

    What may be left out is as the table has it by default: the fewer columns, the faster.
    ``pause_reasons`` is a JSON list or None, ``options`` and ``properties`` are JSON texts or None, ``body``
    is the item as JSON text, ``log`` comes from :func:`log_line`.
    """

    task_uid: str
    task_number: int
    item_type: str
    name: str
    state: str
    user: str
    user_group: str
    priority: int
    attempt: int
    job_uid: str | None
    time_created: float
    time_ready: float | None
    time_updated: float
    run_after: float | None
    properties: str | None
    log: str
    body: str
    stage: NotRequired[str | None]
    domain: NotRequired[str]
    task_group: NotRequired[str]
    label: NotRequired[str]
    key: NotRequired[str]
    lease_epoch: NotRequired[int]
    worker_uid: NotRequired[str | None]
    origin_uid: NotRequired[str | None]
    parent_uid: NotRequired[str | None]
    schedule_uid: NotRequired[str | None]
    time_first_start: NotRequired[float | None]
    time_start: NotRequired[float | None]
    expires_at: NotRequired[float | None]
    paused_since: NotRequired[float | None]
    pause_reasons: NotRequired[str | None]
    failed_child: NotRequired[str | None]
    state_reason: NotRequired[str]
    tags: NotRequired[Sequence[tuple[str, str]]]
    depends_on: NotRequired[Sequence[str]]
    options: NotRequired[str | None]


class TaskUpdate(TypedDict):
    """The present state of an active task; ``log`` is appended."""

    task_uid: str
    state: str
    stage: str | None
    priority: int
    attempt: int
    lease_epoch: int
    worker_uid: str | None
    run_after: float | None
    expires_at: float | None
    time_ready: float | None
    time_first_start: float | None
    time_start: float | None
    time_updated: float
    paused_since: float | None
    paused_s: float
    pause_reasons: str | None
    cancel_reason: str
    cancel_state: str | None
    rerun: int
    failed_child: str | None
    state_reason: str
    error_type: str | None
    msg: str | None
    traceback: str | None
    log: str


class TaskEdit(TypedDict):
    """What a person may change of an active task, beside what :class:`TaskUpdate` says."""

    task_uid: str
    task_group: str
    label: str
    options: str | None
    time_updated: float


class TaskEnd(TypedDict):
    """The terminal record of a task; ``log`` is appended, the checkpoint is dropped.

    ``lease_epoch`` is that of the hand-over that ended: if the task was handed over again since, nothing
    changes and the submission fails. ``time_start``, ``progress`` and ``actual_io`` (JSON) leave what is
    stored if they are None.
    """

    task_uid: str
    lease_epoch: int
    state: str
    attempt: int
    time_start: float | None
    time_stop: float
    paused_s: float
    cancel_reason: str
    success: int | None
    state_reason: str
    error_type: str | None
    msg: str | None
    traceback: str | None
    return_codec: str | None
    return_value: bytes | None
    result_expires: float | None
    progress: str | None
    actual_io: str | None
    log: str


class ProgressPut(TypedDict):
    """How far a running task is (JSON); an older hand-over changes nothing."""

    task_uid: str
    lease_epoch: int
    progress: str | None
    actual_io: str | None


class SamplePut(TypedDict):
    """A figure of one minute since the epoch; ``task_type`` is empty for all types."""

    metric: str
    task_type: str
    minute: int
    value: float


class TaskRecord(NamedTuple):
    """Everything that is known of a task but its log, its checkpoint and its return value.

    Attributes
    ----------
    id : int
        Order of insertion over all tasks.
    task_number : int or None
        Order of submission to the task queue; None for what is not of it.
    pause_reasons, depends : str or None
        JSON lists.
    options, properties, progress, actual_io, result : str or None
        JSON texts.
    has_result : int
        1 if a return value is stored.
    body : str
        The item as JSON text; empty if the read left it out.
    """

    id: int
    task_uid: str
    state: TaskState
    task_number: int | None
    item_type: str
    name: str
    user: str
    user_group: str
    queue_rank: int | None
    history_seq: int | None
    background: int
    priority: int
    attempt: int
    lease_epoch: int
    time_created: float
    time_ready: float | None
    time_first_start: float | None
    time_start: float | None
    time_stop: float | None
    time_updated: float | None
    run_after: float | None
    expires_at: float | None
    result_expires: float | None
    success: int | None
    stage: str | None
    domain: str
    task_group: str
    label: str
    key: str
    worker_uid: str | None
    origin_uid: str | None
    job_uid: str | None
    parent_uid: str | None
    schedule_uid: str | None
    paused_since: float | None
    paused_s: float
    pause_reasons: str | None
    cancel_reason: str
    cancel_state: str | None
    rerun: int
    failed_child: str | None
    state_reason: str
    error_type: str | None
    depends: str | None
    options: str | None
    properties: str | None
    progress: str | None
    actual_io: str | None
    msg: str | None
    traceback: str | None
    result: str | None
    has_result: int
    body: str


class TaskResult(NamedTuple):
    """How a task ended, and its return value as the worker encoded it.

    Attributes
    ----------
    properties, result : str or None
        JSON texts: internal properties, a plan's ``result`` of the history.
    """

    task_uid: str
    state: TaskState
    success: int | None
    attempt: int
    time_start: float | None
    time_stop: float | None
    msg: str | None
    traceback: str | None
    return_codec: str | None
    return_value: bytes | None
    result_expires: float | None
    properties: str | None
    result: str | None


class JobFigures(NamedTuple):
    """The members of a job that are in one state."""

    state: TaskState
    number: int
    time_created: float
    time_first_start: float | None
    time_last_stop: float | None
    done_size: float | None
    total_size: float | None


class EndedSample(NamedTuple):
    """An ended task of a type, for its figures; ``actual_io`` is JSON text or None."""

    state: TaskState
    time_created: float
    time_ready: float | None
    time_first_start: float | None
    time_start: float | None
    time_stop: float
    attempt: int
    actual_io: str | None


class ScheduleRow(NamedTuple):
    """A schedule; ``body`` is JSON text."""

    schedule_uid: str
    time_created: float
    body: str


def log_line(
    time: float,
    old: str | None,
    new: str,
    attempt: int,
    reason: str = "",
    worker_uid: str | None = None,
    error: tuple[str, str] | None = None,
    *,
    stage: str | None = None,
    outcome: str = "",
) -> str:
    """Return a line of a task's log: a transition as JSON text, with the end of the line.

    Parameters
    ----------
    old, new : str or None, str
        Values of :class:`~remanager.model.states.TaskState`; ``old`` is None for a new task.
    error : tuple of str or None
        Type and message of the error that caused it.
    stage : str or None
        What a running task does from now on, where that is not to begin.
    outcome : str
        How an execution ended after which the task goes on.
    """
    # Words of the state machine need no encoding; what comes from outside does.
    source = f'"{old}"' if old else "null"
    line = f'{{"time": {time!r}, "from": {source}, "to": "{new}", "attempt": {attempt}'
    if stage:
        line += f', "stage": "{stage}"'
    if outcome:
        line += f', "outcome": "{outcome}"'
    if reason:
        line += f', "reason": {json.dumps(reason[:_LONGEST_TEXT])}'
    if worker_uid:
        line += f', "worker_uid": {json.dumps(worker_uid)}'
    if error:
        line += f', "error": {json.dumps({"type": error[0], "msg": error[1][:_LONGEST_TEXT]})}'
    return line + "}\n"
