"""The state machine of tasks."""

from __future__ import annotations

from remanager.model.errors import Conflict
from remanager.model.states import TaskState, is_terminal

_S = TaskState
_ACTIVE = [state for state in TaskState if not is_terminal(state)]

_OUT_OF: dict[TaskState | None, tuple[TaskState, ...]] = {
    # Work that starts with its submission (an item executed at once, a foreground function) never waits.
    None: (_S.PENDING, _S.BLOCKED, _S.PAUSED, _S.RUNNING),
    # Prerequisites are met, or one failed; a switch may be off by then.
    _S.BLOCKED: (_S.PENDING, _S.PAUSED, _S.DEPENDENCY_FAILED),
    _S.PENDING: (_S.RUNNING, _S.PAUSED),
    # A paused plan holds its worker: it is resumed, ended by a person, or its worker is lost.
    _S.PAUSED: (_S.PENDING, _S.RUNNING, _S.STOPPED, _S.ABORTED, _S.HALTED, _S.FAILED, _S.LOST),
    _S.RUNNING: (
        _S.COMPLETED,
        _S.SKIPPED,
        _S.WAITING_CHILDREN,
        # Another attempt: after an error that may be retried, a time-out, or the loss of the worker.
        _S.PENDING,
        _S.PAUSED,
        _S.FAILED,
        _S.DEAD_LETTER,
        _S.TIMED_OUT,
        _S.LOST,
        _S.STOPPED,
        _S.ABORTED,
        _S.HALTED,
    ),
    # It is finished, fails with a child, or begins anew because a duplicate asked for it.
    _S.WAITING_CHILDREN: (_S.RUNNING, _S.FAILED, _S.PENDING, _S.PAUSED),
}
# Cancellation, expiry (which reaches the children of an expired task in every state) and a newer task with
# the same key end whatever is active.
_FROM_ANY = (_S.CANCELLED, _S.EXPIRED, _S.SUPERSEDED)

TRANSITIONS: frozenset[tuple[TaskState | None, TaskState]] = frozenset(
    [(old, new) for old, news in _OUT_OF.items() for new in news]
    + [(old, new) for old in _ACTIVE for new in _FROM_ANY]
)
"""Allowed changes of state (old, new); None is a task that does not exist yet.

Nothing leaves a terminal state.
"""


def is_allowed(old: TaskState | None, new: TaskState) -> bool:
    """Tell whether a task may change from one state to another."""
    return (old, new) in TRANSITIONS


def check(old: TaskState | None, new: TaskState) -> None:
    """Refuse a change of state that is not in :data:`TRANSITIONS`.

    Raises
    ------
    Conflict
        The task has ended, or the change makes no sense.
    """
    if is_allowed(old, new):
        return
    if old is None:
        raise Conflict(f"A task cannot begin in the state '{new}'")
    if is_terminal(old):
        raise Conflict(f"The task has ended ('{old}'): it cannot become '{new}'")
    raise Conflict(f"A task cannot change from '{old}' to '{new}'")
