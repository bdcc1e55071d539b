"""What follows when an item of the plan queue ends, and when the next one is due."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from remanager.model.states import ExitStatus

QUEUE_STOPPED = "Queue is stopped."
QUEUE_EMPTY = "Queue is empty."
PAUSE_PENDING = "Queue is stopped due to unresolved outstanding RE pause request."


@dataclass(frozen=True, slots=True)
class PlanDisposition:
    """What becomes of an item that ended, and of the queue.

    Attributes
    ----------
    requeue : "front", "back" or None
        Where the item returns to the queue, under a new UID.
    continue_queue : bool
        Nothing about this item stops the queue. Either way :func:`next_step` decides what follows.
    autostart_disable : bool
        Autostart is switched off.
    """

    requeue: Literal["front", "back"] | None
    continue_queue: bool
    autostart_disable: bool


def after_plan(
    exit_status: ExitStatus,
    *,
    immediate: bool,
    loop: bool,
    ignore_failures: bool,
    stop_queue: bool,
) -> PlanDisposition:
    """Decide what follows when a plan ended.

    ========================================  ==========  ================  ==========  =========
    exit status                               history     returns to        queue       autostart
    ========================================  ==========  ================  ==========  =========
    completed, unknown                        yes         back, with loop   goes on     as it was
    failed, with ``ignore_failures``          yes         back, with loop   goes on     as it was
    stopped                                   yes         back, with loop   stops       off
    failed, aborted, halted                   yes         front             stops       off
    ========================================  ==========  ================  ==========  =========

    An unknown end (the report was lost) counts as success. ``ignore_failures`` is for failures only, not for
    plans that somebody aborted or halted.

    Parameters
    ----------
    exit_status : ExitStatus
        How the plan ended.
    immediate : bool
        The plan was submitted for execution at once: it never returns, and the queue does not go on after it.
    loop, ignore_failures : bool
        The queue's mode.
    stop_queue : bool
        The worker asks to stop the queue after a plan that succeeded.
    """
    failed = exit_status is ExitStatus.FAILED and not ignore_failures
    interrupted = exit_status in (ExitStatus.STOPPED, ExitStatus.ABORTED, ExitStatus.HALTED)
    returns: Literal["front", "back"] | None = None
    if not immediate:
        if failed or (interrupted and exit_status is not ExitStatus.STOPPED):
            returns = "front"
        elif loop:
            returns = "back"
    stops = failed or interrupted
    return PlanDisposition(
        requeue=returns,
        continue_queue=not (stops or stop_queue or immediate),
        autostart_disable=stops,
    )


@dataclass(frozen=True, slots=True)
class NextStep:
    """Whether the next item starts.

    Attributes
    ----------
    start : bool
        Take the item at the front. If False, the manager becomes idle.
    reason : str
        Why not; empty if ``start``.
    autostart_disable : bool
        Autostart is switched off.
    """

    start: bool
    reason: str = ""
    autostart_disable: bool = False


def next_step(
    *, queue_stop_pending: bool, stop_queue: bool, queue_size: int, pause_pending: bool
) -> NextStep:
    """Decide whether the next item of the queue starts.

    Parameters
    ----------
    queue_stop_pending : bool
        A client asked to stop the queue; this also switches autostart off.
    stop_queue : bool
        What ran before stops the queue.
    queue_size : int
        Number of items in the queue.
    pause_pending : bool
        A deferred pause was asked for, and the plan ended before it was taken.
    """
    if queue_stop_pending or stop_queue:
        return NextStep(False, QUEUE_STOPPED, autostart_disable=queue_stop_pending)
    if not queue_size:
        return NextStep(False, QUEUE_EMPTY)
    if pause_pending:
        return NextStep(False, PAUSE_PENDING)
    return NextStep(True)
