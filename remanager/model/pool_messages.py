"""Messages between the manager and the workers of the pool, beside those of :mod:`remanager.model.link`."""

from __future__ import annotations

from typing import Any, NamedTuple, get_args

from remanager.model.link import register

# ------------------------------------------------------------------------------------------ manager -> worker


class RunTasks(NamedTuple):
    """Run these tasks one after another.

    ``tasks`` holds for each ``[task_uid, lease_epoch, attempt, body, timeout_s, checkpoint, finishing]``:
    ``body`` is the item as JSON text, ``timeout_s`` a number or None, ``checkpoint`` bytes (msgpack) or None,
    ``finishing`` whether it runs again as its children have ended (it may be left out).
    """

    tasks: list[list[Any]]


class CancelTask(NamedTuple):
    """Stop a task that was handed over: one that has not begun is given back, a running one is told."""

    task_uid: str
    lease_epoch: int
    reason: str


class ChildAnswer(NamedTuple):
    """Answer to :class:`SubmitChild` with the same ``id``: the UID of the child, or why there is none."""

    id: int
    task_uid: str | None
    msg: str = ""


class Drain(NamedTuple):
    """Finish what runs, give back what has not begun, and leave."""


# ------------------------------------------------------------------------------------------ worker -> manager


class PoolHello(NamedTuple):
    """First message after each (re)connection.

    Attributes
    ----------
    held : list of [str, int, float or None]
        UID, lease epoch and time of the begin of each task that has not ended: what is neither here nor in an
        event that was not acknowledged never reached the worker.
    """

    worker_uid: str
    pid: int
    last_seq: int
    held: list[list[Any]]


class PoolReady(NamedTuple):
    """The task modules are imported.

    Attributes
    ----------
    functions : str
        JSON text: list of ``{"name", "module", "doc", "parameters": [{"name", "kind", "required"}],
        "options": {...}}``; ``options`` are the type's default options of a submission.
    failures : dict
        Traceback by name of each module that could not be imported.
    """

    seq: int
    time: float
    functions: str
    failures: dict[str, str]


class PoolLeaving(NamedTuple):
    """The worker leaves to be replaced: it takes no more tasks, and gives back what it has not begun.

    It stays until this is acknowledged, so that what was sent to it before is given back, too.
    """

    seq: int
    time: float
    reason: str


class TasksStarted(NamedTuple):
    """Tasks have begun: ``[task_uid, lease_epoch, time]`` each. Never needed for correctness.

    A task that ends within milliseconds is only told of by :class:`TasksEnded`.
    """

    tasks: list[list[Any]]


class TasksEnded(NamedTuple):
    """Executions have ended.

    ``outcomes`` holds for each ``[task_uid, lease_epoch, kind, time_start, time_stop, reason, error,
    retry_after_s, codec, payload, report]``: ``kind`` is a value of
    :class:`remanager.engine.task_queue.changes.OutcomeKind`, ``error`` None or ``[type, msg, traceback]``,
    ``codec`` ``json``, ``msgpack`` or None, ``report`` the last one of :class:`TaskProgress` or None (it may
    be left out).
    """

    seq: int
    time: float
    outcomes: list[list[Any]]


class TaskCheckpoint(NamedTuple):
    """A value (msgpack) that the next attempt of the task, or its finishing, gets."""

    seq: int
    time: float
    task_uid: str
    lease_epoch: int
    payload: bytes


class TaskProgress(NamedTuple):
    """How far a task is: a dict with some of ``done_count``, ``total_count``, ``done_size``, ``total_size``,
    ``fraction``, ``message``, and ``io`` (dict of bytes so far).
    """

    task_uid: str
    lease_epoch: int
    time: float
    report: dict[str, Any]


class SubmitChild(NamedTuple):
    """Submit a task as a child of a running one; ``item``, ``options``: JSON texts as of ``task_submit``.

    The item has an ``item_uid`` that the worker made: the message is repeated after a loss of the connection
    until it is answered, with the same one.
    """

    id: int
    task_uid: str
    lease_epoch: int
    item: str
    options: str


PoolToWorker = RunTasks | CancelTask | ChildAnswer | Drain
PoolEvent = PoolReady | PoolLeaving | TasksEnded | TaskCheckpoint
PoolToManager = PoolEvent | PoolHello | TasksStarted | TaskProgress | SubmitChild

register(*get_args(PoolToWorker), *get_args(PoolToManager))
