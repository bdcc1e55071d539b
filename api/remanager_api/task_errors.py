"""The exceptions that say what became of tasks that have not succeeded.

TaskError                   a task has not succeeded
├── TaskFailedError         it failed, timed out, or what it depended on failed
│   └── TaskLostError       its worker died, or nobody knows how it ended
├── TaskCancelledError      it was cancelled, aborted, or dropped before it began
└── TaskNotFoundError       the manager does not know it (any more); also a ``LookupError``
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from remanager_api.states import ACTIVE, CANCELLED, DROPPED, NOT_FOUND

if TYPE_CHECKING:
    from remanager_api.outcomes import Outcome


class TaskError(Exception):
    """A task has not succeeded. The traceback of the worker is a note of the exception.

    Parameters
    ----------
    outcome : Outcome
        What became of it.

    Attributes
    ----------
    outcome : Outcome
        Everything that is known.
    task_uid, state, reason : str
        Which task, how it ended, and why.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.task_uid = outcome.task_uid
        self.state = outcome.state
        self.reason = outcome.msg
        if outcome.traceback:
            self.add_note(f"In the worker:\n{outcome.traceback.rstrip()}")

    def __str__(self) -> str:
        outcome = self.outcome
        name = f"{outcome.name!r} " if outcome.name else ""
        words = _WORDS.get(outcome.state, outcome.state)
        return f"{name}({outcome.task_uid}) {words}" + (f": {outcome.msg}" if outcome.msg else "")


class TaskFailedError(TaskError):
    """A task failed, timed out, or was not run because another one had failed."""


class TaskLostError(TaskFailedError):
    """The worker of a task died, or everything did: how it ended is not known."""


class TaskCancelledError(TaskError):
    """A task was cancelled or aborted, it expired, or another one took its place."""


class TaskNotFoundError(TaskError, LookupError):
    """The manager does not know the task: it never existed, or it was forgotten."""


_WORDS = {
    "dead_letter": "failed at the last attempt",
    "dependency_failed": "was not run, because a task that it needs has not succeeded",
    "timed_out": "took too long",
    "lost": "was lost with its worker",
    "cancelled": "was cancelled",
    "aborted": "was aborted",
    "halted": "was halted",
    "expired": "was not run in time",
    "superseded": "gave way to another task with the same key",
    NOT_FOUND: "is not known to the manager",
    **dict.fromkeys(ACTIVE, "has not ended"),
}


def error_class(state: str) -> type[TaskError]:
    """Return the exception that goes with a state in which there is no result."""
    if state == NOT_FOUND:
        return TaskNotFoundError
    if state in ACTIVE:
        return TaskError
    if state == "lost":
        return TaskLostError
    return TaskCancelledError if state in {*CANCELLED, *DROPPED} else TaskFailedError
