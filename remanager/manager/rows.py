"""Items as rows of the store, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from remanager.engine.queue_item import QueueEntry, Submission
from remanager.model.states import TaskState
from remanager.store.records import NewTask, QueueEntryRow

_IMMEDIATE = "immediate_execution"
_PRINCIPAL = "principal"


def column(value: object) -> str:
    """Return a client's value as text that the store can take (no lone surrogates)."""
    return "" if value is None else str(value).encode("utf-8", "replace").decode()


@lru_cache(maxsize=1000)
def properties_text(principal: str | None, immediate: bool = False) -> str | None:
    """Return the ``properties`` of a task as JSON text."""
    properties: dict[str, object] = {_IMMEDIATE: True} if immediate else {}
    if principal is not None:
        properties[_PRINCIPAL] = principal
    return json.dumps(properties) if properties else None


def is_immediate(properties: str | None) -> bool:
    """Tell whether a task was executed beside the queue."""
    return bool(properties) and _IMMEDIATE in json.loads(properties or "{}")


@lru_cache(maxsize=1000)
def submission_of(properties: str | None, attempt: int) -> Submission:
    """Return where the item of a row comes from."""
    principal = json.loads(properties).get(_PRINCIPAL) if properties else None
    return Submission(principal, attempt)


def queue_row(entry: QueueEntry, origin_uid: str | None = None) -> QueueEntryRow:
    """Return an entry of the queue as a row."""
    item = entry.item
    return QueueEntryRow(
        task_uid=entry.uid,
        queue_rank=entry.rank,
        item_type=str(item.get("item_type", "")),
        name=column(item.get("name")),
        user=column(item.get("user")),
        user_group=column(item.get("user_group")),
        body=entry.text,
        origin_uid=origin_uid,
        properties=properties_text(entry.submission.principal),
        attempt=entry.submission.attempt,
    )


def queue_entry(row: QueueEntryRow) -> QueueEntry:
    """Return an entry of the queue from its row."""
    submission = submission_of(row.properties, row.attempt)
    return QueueEntry(row.task_uid, row.queue_rank, json.loads(row.body), row.body, submission)


def new_task(
    item: Mapping[str, Any],
    body: str,
    now: float,
    *,
    submission: Submission,
    immediate: bool = False,
    background: bool = False,
    worker_uid: str | None = None,
) -> NewTask:
    """Return the row of a task that does not come from the queue.

    Parameters
    ----------
    item : mapping
        What it does; its ``item_uid`` is the task's uid.
    body : str
        The same, in the form in which the worker gets it.
    now : float
        Wall clock, epoch seconds.
    submission : Submission
        Where it comes from.
    immediate : bool
        It is an item of the queue that is executed beside it, and starts in a step of its own.
    background : bool
        It runs beside plans and other tasks.
    worker_uid : str, optional
        The worker that runs it.
    """
    return NewTask(
        task_uid=str(item["item_uid"]),
        item_type=str(item["item_type"]),
        name=column(item.get("name")),
        user=column(item.get("user")),
        user_group=column(item.get("user_group")),
        body=body,
        time_created=now,
        time_start=None if immediate else now,
        state=TaskState.PENDING if immediate else TaskState.RUNNING,
        background=background,
        worker_uid=worker_uid,
        properties=properties_text(submission.principal, immediate),
    )
