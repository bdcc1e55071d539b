"""An active task of the task queue, as the scheduler holds it in memory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from remanager.model.states import TaskState
from remanager.model.task_spec import TaskSpec


class Stage(StrEnum):
    """What a running task is doing."""

    PREPARING = "preparing"
    EXECUTING = "executing"
    FINISHING = "finishing"
    CANCELLING = "cancelling"


class PauseReason(StrEnum):
    """Why a task is held; it goes on when none is left."""

    OPERATOR = "operator"
    ALL = "all"
    DOMAIN = "domain"
    TASK_TYPE = "task_type"
    GROUP = "group"
    SCHEDULE = "schedule"
    PREEMPTED = "preempted"


@dataclass(frozen=True, slots=True)
class TaskError:
    """How an attempt failed. Texts are bounded by whoever makes it."""

    type: str
    msg: str
    traceback: str = ""


# There may be very many tasks: what most of them do not have costs nothing.
NO_REASONS: frozenset[PauseReason] = frozenset()
NOTHING_UNMET: frozenset[str] = frozenset()


@dataclass(slots=True, eq=False)
class Card:
    """State of an active task. Only the scheduler changes it. Times are epoch seconds.

    Attributes
    ----------
    priority, run_after : int, float or None
        As the specification says until they are changed; ``run_after`` also carries a backoff.
    number : int
        Order of submission; grows by one with each task, over restarts too.
    attempt : int
        Executions that count; the first one is 1, 0 before it.
    lease_epoch : int
        Grows with each hand-over to a worker: what an older hand-over reports changes nothing.
    time_ready : float or None
        When it could first have started.
    time_first_start, time_start : float or None
        First hand-over, and the latest.
    paused_since, paused_s : float
        Since when it is held, and how long it was held before, s.
    expires_at : float or None
        Hard limit for the start.
    unmet : frozenset of str
        Prerequisites that have not succeeded yet, and earlier tasks with its key that are being stopped.
    open_children : int
        Children that have not ended.
    failed_child : str or None
        First child that did not succeed.
    children_from : int
        Children with a smaller number do not concern it any more.
    begun : bool
        Its execution is known to have begun: ``time_start`` is when.
    cancel_reason : str
        Why its execution was told to stop; empty if it was not.
    cancel_state : TaskState or None
        What it becomes when the stopped execution ends.
    rerun : bool
        A duplicate asked for another run while it ran.
    finishing : bool
        Its children have ended: it is handed over, or was, to finish.
    paused_until : float or None
        When the hold by an operator ends by itself.
    failed_on : str or None
        Worker of the attempt before, which did not succeed: another one is preferred for the next.
    """

    spec: TaskSpec
    number: int
    state: TaskState
    priority: int
    run_after: float | None = None
    stage: Stage | None = None
    attempt: int = 0
    lease_epoch: int = 0
    worker_uid: str | None = None
    time_ready: float | None = None
    time_first_start: float | None = None
    time_start: float | None = None
    begun: bool = False
    time_updated: float = 0.0
    paused_since: float | None = None
    paused_s: float = 0.0
    expires_at: float | None = None
    pause_reasons: frozenset[PauseReason] = NO_REASONS
    unmet: frozenset[str] = NOTHING_UNMET
    open_children: int = 0
    failed_child: str | None = None
    children_from: int = 0
    cancel_reason: str = ""
    cancel_state: TaskState | None = None
    rerun: bool = False
    finishing: bool = False
    paused_until: float | None = None
    last_error: TaskError | None = None
    failed_on: str | None = None

    @property
    def uid(self) -> str:
        """UID of the task."""
        return self.spec.task_uid
