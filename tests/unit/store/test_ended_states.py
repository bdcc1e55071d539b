"""States of ended tasks that are remembered."""

from __future__ import annotations

from remanager.model.states import TaskState
from remanager.store.ended import EndedStates


def test_only_ended_tasks_are_remembered() -> None:
    ended = EndedStates()
    ended.remember({"a": TaskState.COMPLETED, "b": TaskState.RUNNING, "c": TaskState.LOST})
    assert list(ended.look_up(["c", "x", "b", "a"]).items()) == [
        ("c", TaskState.LOST),
        ("x", None),
        ("b", None),
        ("a", TaskState.COMPLETED),
    ]
    ended.forget(["a", "x"])
    assert ended.look_up("ac") == {"a": None, "c": TaskState.LOST}


def test_the_number_is_bounded() -> None:
    ended = EndedStates(capacity=3)
    ended.remember(dict.fromkeys("abc", TaskState.FAILED))
    ended.remember(dict.fromkeys("d", TaskState.FAILED))
    assert ended.look_up("abcd") == {"a": None, "b": None, "c": None, "d": TaskState.FAILED}
    ended.remember(dict.fromkeys("efgh", TaskState.FAILED))
    assert set(ended.look_up("defgh").values()) == {None}
