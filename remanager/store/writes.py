"""Typed factories of writes: what the manager tells the store.

Times are epoch seconds. A write that refers to a row in a certain state expects to find it so: if not, the
whole submission fails with :class:`~remanager.store.errors.StaleWrite` and changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from remanager.model.states import STATE_CLASS, StateClass, TaskState, is_terminal
from remanager.model.task_spec import DEFAULT_PRIORITY
from remanager.store.records import Kind, Lazy, NewTask, QueueEntryRow, Retention, WorkerRow, Write


def _kind(state: TaskState, item_type: str, name: str, user: str) -> Kind:
    """Return the kind of a task that is not of the task queue."""
    return state.value, item_type, name, "", "", user, DEFAULT_PRIORITY


# ------------------------------------------------------------------------------------------ plan queue


def _queue_params(row: QueueEntryRow) -> dict[str, object]:
    return {
        "task_uid": row.task_uid,
        "queue_rank": row.queue_rank,
        "item_type": row.item_type,
        "name": row.name,
        "user": row.user,
        "user_group": row.user_group,
        "body": row.body,
        "origin_uid": row.origin_uid,
        "properties": row.properties,
        "attempt": row.attempt,
    }


def _queued(row: QueueEntryRow) -> Kind:
    return _kind(TaskState.PENDING, row.item_type, row.name, row.user)


def queue_insert(entries: Sequence[QueueEntryRow], time: float) -> Write:
    """Insert new tasks in the state ``pending`` into the plan queue."""
    params = Lazy(entries, lambda row: {**_queue_params(row), "time": time})
    return Write("queue_insert", params, new=Lazy(entries, _queued))


def queue_rank(pairs: Sequence[tuple[str, int]]) -> Write:
    """Give entries of the plan queue new ranks; they may take over each other's ranks."""
    params = [{"task_uid": uid, "queue_rank": rank} for uid, rank in pairs]
    if len(params) == 1:
        return Write("queue_rank_set", params[0], expect=1)
    return Write("queue_rank_permute", params, expect=len(params))


def queue_replace(old_uid: str, row: QueueEntryRow, time: float) -> Write:
    """Replace an entry of the plan queue.

    With the same uid the task changes in place. With a new one the old task ends as ``superseded`` and a new
    one takes its place.
    """
    params = _queue_params(row)
    if row.task_uid == old_uid:
        return Write("queue_replace_same", params, expect=1)
    params |= {"old_uid": old_uid, "time": time}
    return Write("queue_replace_new", params, expect=1, new=[_queued(row)])


def queue_remove(uids: Iterable[str], state: TaskState, time: float) -> Write:
    """Take entries out of the plan queue; the tasks end in a terminal state, such as ``cancelled``."""
    _check_terminal(state)
    params = [{"task_uid": uid, "state": state.value, "time": time} for uid in uids]
    return Write("queue_remove", params, expect=len(params))


def queue_clear(time: float) -> Write:
    """Take everything out of the plan queue; the tasks end as ``cancelled``."""
    return Write("queue_clear", {"time": time})


# ------------------------------------------------------------------------------------------ tasks


def task_insert(task: NewTask) -> Write:
    """Insert a task that does not go through the plan queue."""
    return Write(
        "task_insert",
        {
            "task_uid": task.task_uid,
            "item_type": task.item_type,
            "name": task.name,
            "state": task.state.value,
            "user": task.user,
            "user_group": task.user_group,
            "background": int(task.background),
            "worker_uid": task.worker_uid,
            "origin_uid": task.origin_uid,
            "time_created": task.time_created,
            "time_start": task.time_start,
            "properties": task.properties,
            "body": task.body,
        },
        new=[_kind(task.state, task.item_type, task.name, task.user)],
    )


def task_start(uid: str, *, time: float, worker_uid: str | None) -> Write:
    """Set a pending task running; an entry of the plan queue leaves the queue."""
    return Write("task_start", {"task_uid": uid, "time": time, "worker_uid": worker_uid}, expect=1)


def task_pause(uid: str, *, time: float, reasons: Sequence[str], log: str) -> Write:
    """Set a running plan paused; ``log`` is appended to its log."""
    params = {"task_uid": uid, "time": time, "pause_reasons": json.dumps(list(reasons)), "log": log}
    return Write("task_pause", params, expect=1)


def task_resume(uid: str, *, time: float, log: str) -> Write:
    """Set a paused plan running; ``log`` is appended to its log."""
    return Write("task_resume", {"task_uid": uid, "time": time, "log": log}, expect=1)


def task_finish(
    uid: str,
    *,
    state: TaskState,
    time_stop: float,
    time_start: float | None = None,
    success: bool | None = None,
    error_type: str = "",
    msg: str = "",
    traceback: str = "",
    result: str | None = None,
    return_codec: str | None = None,
    return_value: bytes | None = None,
    result_expires: float | None = None,
    in_history: bool = False,
    attempt: int | None = None,
) -> Write:
    """Write the terminal record of an active task.

    A task that has ended already, or is in another attempt, does not change: the submission fails with
    :class:`~remanager.store.errors.StaleWrite`.

    Parameters
    ----------
    time_start : float or None
        None leaves what :func:`task_start` recorded.
    error_type : str
        Class of the error, where the task failed and it is known.
    result : str or None
        Plans: ``result`` of the history entry as JSON text.
    return_codec, return_value : str, bytes or None
        Functions: the return value and its encoding.
    result_expires : float or None
        When the return value may be dropped; None: with the record.
    in_history : bool
        Append the task to the plan history.
    attempt : int or None
        The attempt that ended; None: whichever it is.
    """
    _check_terminal(state)
    params: dict[str, object] = {
        "task_uid": uid,
        "state": state.value,
        "time_start": time_start,
        "time_stop": time_stop,
        "success": None if success is None else int(success),
        "error_type": (error_type or "Exception") if STATE_CLASS[state] is StateClass.FAILURE else None,
        "msg": msg,
        "traceback": traceback,
        "result": result,
        "return_codec": return_codec,
        "return_value": return_value,
        "result_expires": result_expires,
        "in_history": int(in_history),
        "attempt": attempt,
    }
    return Write("task_finish", params, expect=1)


def _check_terminal(state: TaskState) -> None:
    if not is_terminal(state):
        raise ValueError(f"{state.value!r} is not a terminal state")


# ------------------------------------------------------------------------------------------ history


def history_clear() -> Write:
    """Empty the plan history; the tasks themselves stay until retention removes them."""
    return Write("history_clear")


def history_trim_size(size: int) -> Write:
    """Keep the newest ``size`` entries of the history; none if ``size`` is negative."""
    return Write("history_trim_size", {"size": max(size, 0)})


def history_trim_uid(uid: str) -> Write:
    """Drop an entry of the history and all older ones; nothing if the uid is not in the history."""
    return Write("history_trim_uid", {"task_uid": uid})


# ------------------------------------------------------------------------------------------ the rest


def setting_set(key: str, value: object) -> Write:
    """Store a setting; the value must be representable in JSON."""
    return setting_set_text(key, json.dumps(value))


def setting_set_text(key: str, text: str) -> Write:
    """Store a setting whose value is given as JSON text."""
    return Write("setting_set", {"key": key, "value": text})


def worker_put(worker: WorkerRow) -> Write:
    """Record a worker process, or replace what is recorded of it."""
    return Write(
        "worker_put",
        {
            "worker_uid": worker.worker_uid,
            "kind": worker.kind,
            "pid": worker.pid,
            "start_ticks": worker.start_ticks,
            "time_started": worker.time_started,
            "acked_seq": worker.acked_seq,
            "config": worker.config,
        },
    )


def worker_acked(uid: str, seq: int) -> Write:
    """Record that a worker's events up to ``seq`` are recorded; a lower value than before changes nothing."""
    return Write("worker_acked", {"worker_uid": uid, "acked_seq": seq})


def worker_delete(uid: str) -> Write:
    """Forget a worker process."""
    return Write("worker_delete", {"worker_uid": uid})


def purge(now: float, retention: Retention, chunk: int) -> list[Write]:
    """Drop what is older than its retention: at most ``chunk`` return values, events and samples each."""
    params = {**retention.limits(now), "chunk": chunk}
    names = ("purge_return_values", "purge_events", "sample_prune", "purge_tally")
    return [Write(name, params) for name in names]
