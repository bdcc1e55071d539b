"""A group of tasks seen as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from remanager.model.states import STATE_CLASS, StateClass, TaskState, is_terminal

_AT_WORK = frozenset((TaskState.RUNNING, TaskState.WAITING_CHILDREN))


@dataclass(frozen=True, slots=True)
class JobFigures:
    """State and totals of a job.

    Attributes
    ----------
    state : TaskState or None
        ``pending``, ``running``, ``failed``, ``cancelled``, ``expired``, ``completed``; None if empty.
    total, done, remaining : int
        Members; those that have ended; the others.
    succeeded, failed, cancelled, dropped : int
        Ended members by the class of their state.
    percent : int
        0 to 100, by size if sizes are known, else by number; 100 only when all members have ended.
    """

    state: TaskState | None
    total: int
    done: int
    remaining: int
    succeeded: int
    failed: int
    cancelled: int
    dropped: int
    percent: int


def job_figures(counts: Mapping[TaskState, int], *, done_size: int = 0, total_size: int = 0) -> JobFigures:
    """Sum up a job.

    Parameters
    ----------
    counts : Mapping of TaskState to int
        Number of members by state.
    done_size, total_size : int
        Bytes over all members; a total of 0 means that sizes are not known.
    """
    by_class = dict.fromkeys(StateClass, 0)
    for state, count in counts.items():
        by_class[STATE_CLASS[state]] += count
    total = sum(by_class.values())
    remaining = by_class[StateClass.ACTIVE]
    done = total - remaining
    share = done_size / total_size if total_size else done / total if total else 0.0
    percent = min(max(int(100 * share), 0), 99) if remaining or not total else 100
    return JobFigures(
        job_state(counts),
        total,
        done,
        remaining,
        by_class[StateClass.SUCCESS],
        by_class[StateClass.FAILURE],
        by_class[StateClass.CANCELLED],
        by_class[StateClass.DROPPED],
        percent,
    )


def job_state(counts: Mapping[TaskState, int]) -> TaskState | None:
    """Return the state of a job from the number of its members by state.

    While a member is active a job has not failed: it is ``running`` as soon as a member runs or has ended.
    """
    present = {state for state, count in counts.items() if count}
    classes = {STATE_CLASS[state] for state in present}
    if not present:
        return None
    if StateClass.ACTIVE in classes:
        begun = any(state in _AT_WORK or is_terminal(state) for state in present)
        return TaskState.RUNNING if begun else TaskState.PENDING
    if StateClass.FAILURE in classes:
        return TaskState.FAILED
    if StateClass.CANCELLED in classes:
        return TaskState.CANCELLED
    return TaskState.EXPIRED if StateClass.DROPPED in classes else TaskState.COMPLETED
