"""The state machine of tasks."""

from __future__ import annotations

import pytest

from remanager.engine.transitions import TRANSITIONS, check, is_allowed
from remanager.model.errors import Conflict
from remanager.model.states import TaskState, is_terminal

S = TaskState


def test_nothing_leaves_a_terminal_state() -> None:
    assert not [(old, new) for old, new in TRANSITIONS if old is not None and is_terminal(old)]


def test_every_state_can_be_reached_and_ends() -> None:
    reached: set[TaskState | None] = {None}
    while more := {new for old, new in TRANSITIONS if old in reached} - reached:
        reached |= more
    assert reached == {None, *TaskState}
    for state in TaskState:
        if not is_terminal(state):
            assert any(is_terminal(new) for old, new in TRANSITIONS if old is state)


def test_no_state_changes_to_itself() -> None:
    assert not [old for old, new in TRANSITIONS if old is new]


@pytest.mark.parametrize("state", [s for s in TaskState if not is_terminal(s)])
def test_whatever_is_active_can_be_cancelled_expire_and_be_superseded(state: TaskState) -> None:
    for new in (S.CANCELLED, S.EXPIRED, S.SUPERSEDED):
        check(state, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (None, S.PENDING),
        (None, S.RUNNING),
        (S.BLOCKED, S.PENDING),
        (S.BLOCKED, S.DEPENDENCY_FAILED),
        (S.PENDING, S.RUNNING),
        (S.PENDING, S.PAUSED),
        (S.PAUSED, S.PENDING),
        (S.PAUSED, S.RUNNING),
        (S.PAUSED, S.ABORTED),
        (S.RUNNING, S.PENDING),
        (S.RUNNING, S.WAITING_CHILDREN),
        (S.WAITING_CHILDREN, S.RUNNING),
        (S.RUNNING, S.LOST),
        (S.RUNNING, S.TIMED_OUT),
    ],
)
def test_allowed(old: TaskState | None, new: TaskState) -> None:
    assert is_allowed(old, new)
    check(old, new)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (None, S.COMPLETED, "A task cannot begin in the state 'completed'"),
        (S.COMPLETED, S.RUNNING, "The task has ended ('completed'): it cannot become 'running'"),
        (S.CANCELLED, S.CANCELLED, "The task has ended"),
        (S.PENDING, S.COMPLETED, "A task cannot change from 'pending' to 'completed'"),
        (S.BLOCKED, S.RUNNING, "A task cannot change"),
        (S.RUNNING, S.DEPENDENCY_FAILED, "A task cannot change"),
    ],
)
def test_refused(old: TaskState | None, new: TaskState, text: str) -> None:
    assert not is_allowed(old, new)
    with pytest.raises(Conflict) as caught:
        check(old, new)
    assert str(caught.value).startswith(text)
