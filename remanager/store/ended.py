"""What is remembered of ended tasks: their states, which do not change any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from remanager.model.states import TaskState, is_terminal

CAPACITY = 20_000


class EndedStates:
    """States of ended tasks that were asked for lately.

    The store forgets those that it deletes: nothing else can make them wrong.

    Parameters
    ----------
    capacity : int
        With more tasks than this it begins anew.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._states: dict[str, TaskState] = {}

    def look_up(self, uids: Iterable[str]) -> dict[str, TaskState | None]:
        """Return the states of tasks, in order; None where it is not remembered."""
        known = self._states
        return {uid: known.get(uid) for uid in uids}

    def remember(self, states: Mapping[str, TaskState]) -> None:
        """Take notice of what is on disk; states of active tasks are left out."""
        ended = {uid: state for uid, state in states.items() if is_terminal(state)}
        if len(self._states) + len(ended) > self._capacity:
            self._states.clear()
        if len(ended) <= self._capacity:
            self._states |= ended

    def forget(self, uids: Iterable[str]) -> None:
        """Take notice that tasks were deleted."""
        for uid in uids:
            self._states.pop(uid, None)
