"""What is told of a task: the stored row, and what is only known while it is active."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from remanager.engine.task_queue.card import Card, Stage
from remanager.manager.task_queue.service import TaskQueue
from remanager.model.states import STATE_CLASS, StateClass, TaskState
from remanager.model.task_spec import RetryPolicy, TaskOptions, Where
from remanager.store.reads import Reads
from remanager.store.task_reads import Tags
from remanager.store.task_rows import TaskRecord

# Of what is stored nothing but the value needs to be looked at: `json.loads` takes half as long again.
_parse = json.JSONDecoder().raw_decode

_HELD = (TaskState.PENDING, TaskState.BLOCKED, TaskState.PAUSED, TaskState.WAITING_CHILDREN)

FIELDS = (
    *("task_uid", "job_uid", "parent_uid", "schedule_uid", "origin_uid", "retried_as", "principal"),
    *("item_type", "name", "task_type", "domain", "group", "label", "key", "user", "user_group", "args"),
    *("kwargs", "meta", "tags", "priority", "max_retries", "timeout_s", "depends_on", "fail_fast"),
    *("retry", "kill_after_s", "where", "on_dependency_failure", "resource_lock", "expected_io", "state"),
    *("stage", "class", "ok"),
    *("state_reason", "pause_reasons", "attempt", "lease_epoch", "worker_uid", "last_error", "time_created"),
    *("time_ready", "time_start", "time_stop", "time_updated", "run_after", "expires_at", "duration"),
    *("queue_wait", "pause_duration", "actual_io", "result_expires", "effective_priority"),
    *("lease_expires_at", "wait_reason", "children_count", "progress"),
)
"""Keys of a record."""


def read_records(reads: Reads, ids: Sequence[int]) -> list[tuple[TaskRecord, Tags]]:
    """Read tasks with their tags by their ``id``."""
    tags = reads.tasks.tags(ids)
    return [(record, tags.get(record.id, {})) for record in reads.tasks.records(ids)]


def describe(record: TaskRecord, tags: Tags, queue: TaskQueue, now: float) -> dict[str, Any]:
    """Return the ``record`` of the protocol.

    Parameters
    ----------
    queue : TaskQueue
        Knows what is live.
    now : float
        Epoch seconds.
    """
    task = _asked(record, tags)
    task.update(_became(record, now))
    task.update(_live(record, queue, now))
    return task


def _asked(record: TaskRecord, tags: Tags) -> dict[str, Any]:
    """Return what was asked for, and by whom."""
    options, is_queued = TaskOptions.from_json(record.options), record.task_number is not None
    item = _parse(record.body)[0] if record.body else {}
    properties = _parse(record.properties)[0] if record.properties else {}
    return {
        "task_uid": record.task_uid,
        "job_uid": record.job_uid,
        "parent_uid": record.parent_uid,
        "schedule_uid": record.schedule_uid,
        "origin_uid": record.origin_uid,
        "retried_as": properties.get("retried_as"),
        "item_type": record.item_type,
        "name": record.name,
        "task_type": record.name,
        "domain": record.domain,
        "group": record.task_group,
        "label": record.label or item.get("label", ""),
        "key": record.key,
        "user": record.user,
        "user_group": record.user_group,
        "principal": properties.get("principal"),
        "args": item.get("args", []),
        "kwargs": item.get("kwargs", {}),
        "meta": item.get("meta", {}),
        "tags": tags or item.get("tags", {}),
        "priority": record.priority,
        "max_retries": options.retry.max_retries,
        "retry": _retry(options.retry) if is_queued else None,
        "timeout_s": options.timeout_s,
        "kill_after_s": options.kill_after_s if is_queued else None,
        "where": options.where if is_queued else Where.ENVIRONMENT,
        "depends_on": json.loads(record.depends) if record.depends else [],
        "fail_fast": options.fail_fast,
        "on_dependency_failure": options.on_dependency_failure,
        "resource_lock": options.resource_lock,
        "expected_io": options.expected_io,
    }


def _retry(policy: RetryPolicy) -> dict[str, Any]:
    """Return how the delay between attempts grows, as the option says it."""
    return {
        "strategy": policy.strategy,
        "initial_s": policy.initial_s,
        "max_s": policy.max_s,
        "factor": policy.factor,
    }


def _became(record: TaskRecord, now: float) -> dict[str, Any]:
    """Return what has become of it so far."""
    kind = STATE_CLASS[record.state]
    return {
        "state": record.state,
        "stage": record.stage,
        "class": kind,
        "ok": None if kind is StateClass.ACTIVE else kind is StateClass.SUCCESS,
        "state_reason": record.state_reason,
        "pause_reasons": json.loads(record.pause_reasons) if record.pause_reasons else [],
        "attempt": record.attempt,
        "lease_epoch": record.lease_epoch,
        "worker_uid": record.worker_uid,
        "last_error": _error(record),
        "time_created": record.time_created,
        "time_ready": record.time_ready,
        "time_start": record.time_start,
        "time_stop": record.time_stop,
        "time_updated": record.time_updated,
        "run_after": record.run_after,
        "expires_at": record.expires_at,
        "duration": _duration(record, now),
        "queue_wait": _queue_wait(record, now),
        "pause_duration": _paused(record, now),
        "actual_io": json.loads(record.actual_io) if record.actual_io else {},
        "result_expires": record.result_expires,
    }


def _live(record: TaskRecord, queue: TaskQueue, now: float) -> dict[str, Any]:
    """Return what the scheduler knows of an active task, and its progress."""
    stored = json.loads(record.progress) if record.progress else None
    card: Card | None = queue.scheduler.cards.get(record.task_uid)
    if card is None:
        return {
            "effective_priority": record.priority,
            "wait_reason": queue.other_wait_reason(record.task_uid) if record.state in _HELD else "",
            "children_count": 0,
            "lease_expires_at": None,
            "progress": queue.progress.final(record.state, stored),
        }
    held = card.state in _HELD
    begun: dict[str, Any] = {}  # a begin is stored with what comes next
    if card.stage is Stage.EXECUTING and card.lease_epoch == record.lease_epoch:
        began = card.time_start or now
        begun = {"stage": card.stage.value, "time_start": began, "duration": max(now - began, 0.0)}
    return {
        **begun,
        "effective_priority": queue.scheduler.dispatcher.effective_priority(card, now),
        "wait_reason": queue.wait_reason(card.uid, now) if held else "",
        "children_count": card.open_children,
        "lease_expires_at": queue.pool.lease_expires_at(card.worker_uid),
        "progress": queue.progress.of(card, stored, now),
    }


def _error(record: TaskRecord) -> dict[str, str] | None:
    if record.error_type is None:
        return None
    return {
        "type": record.error_type,
        "msg": record.msg or "",
        "traceback": record.traceback or "",
    }


def _duration(record: TaskRecord, now: float) -> float | None:
    """Return how long the last execution took, or takes so far, s."""
    if record.time_start is None:
        return None
    if record.time_stop is not None:
        return max(record.time_stop - record.time_start, 0.0)
    return max(now - record.time_start, 0.0) if record.state is TaskState.RUNNING else None


def _queue_wait(record: TaskRecord, now: float) -> float | None:
    """Return how long the task waited, or waits so far, from when it could first have started, s."""
    end = record.time_stop or now
    if record.time_ready is None or record.time_ready > end:
        return None
    end = record.time_first_start or end
    return max(end - record.time_ready, 0.0)


def _paused(record: TaskRecord, now: float) -> float:
    since = record.paused_since
    return record.paused_s + (max(now - since, 0.0) if since is not None else 0.0)


def only(task: Mapping[str, Any], fields: Sequence[str] | None) -> Mapping[str, Any]:
    """Return the named keys of a record, all of them without names."""
    return task if fields is None else {k: task[k] for k in fields if k in task}
