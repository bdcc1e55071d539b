"""What became of tasks, and the exceptions that say so.

TaskError                   a task has not succeeded
├── TaskFailedError         it failed, timed out, or what it depended on failed
│   └── TaskLostError       its worker died, or nobody knows how it ended
├── TaskCancelledError      it was cancelled, aborted, or dropped before it began
└── TaskNotFoundError       the manager does not know it (any more); also a ``LookupError``
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from remanager_api.states import ACTIVE, CANCELLED, DROPPED, NOT_FOUND, SUCCESS, status_word


@dataclass(frozen=True, slots=True)
class PlanResult:
    """What an executed plan has left behind.

    Attributes
    ----------
    exit_status : str
        ``completed``, ``stopped``, ...
    run_uids : list of str
        UIDs of its runs.
    scan_ids : list of int
        Their numbers.
    time_start, time_stop : float or None
        Epoch seconds.
    """

    exit_status: str
    run_uids: list[str]
    scan_ids: list[int]
    time_start: float | None = None
    time_stop: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of something that was submitted: a plan, a task, a function or a script.

    Attributes
    ----------
    task_uid : str
        Its UID; that of the item, where it is one of the queue.
    state : str
        ``pending``, ``running``, ``completed``, ``failed``, ...; ``not_found`` if nobody knows it.
    name : str
        Name of the plan or function; empty if it is not known.
    msg : str
        What went wrong; empty if nothing did.
    traceback : str
        Where it went wrong.
    return_value : object
        What a function returned.
    plan : PlanResult or None
        What an executed plan has left behind.
    time_start, time_stop : float or None
        Epoch seconds.
    attempt : int
        Number of the last attempt.
    """

    task_uid: str
    state: str
    name: str = ""
    msg: str = ""
    traceback: str = field(default="", repr=False)
    return_value: Any = None
    plan: PlanResult | None = None
    time_start: float | None = None
    time_stop: float | None = None
    attempt: int = 1

    @classmethod
    def of(cls, task_uid: str, state: str, result: Mapping[str, Any] | None, name: str = "") -> Self:
        """Make it from what the manager tells of a task.

        Parameters
        ----------
        task_uid, state, name : str
            As above.
        result : Mapping or None
            ``result`` of ``task_result``, or of an item of the history.
        """
        known = result or {}
        times = {"time_start": known.get("time_start"), "time_stop": known.get("time_stop")}
        exit_status = known.get("exit_status")
        return cls(
            task_uid,
            state,
            name,
            msg=known.get("msg") or "",
            traceback=known.get("traceback") or "",
            return_value=known.get("return_value"),
            plan=PlanResult(
                exit_status, list(known.get("run_uids") or ()), list(known.get("scan_ids") or ()), **times
            )
            if exit_status
            else None,
            attempt=known.get("attempt") or 1,
            **times,
        )

    def _repr_html_(self) -> str:
        from remanager_api.notebook.handle_views import outcome_html

        return outcome_html(self)

    def with_name(self, name: str) -> Self:
        """Return the same with a name, unless it has one."""
        return self if self.name else replace(self, name=name)

    @property
    def status(self) -> str:
        """The same in the words of ``task_status``: ``running``, ``completed`` (ended) or ``not_found``."""
        return status_word(self.state)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state not in ACTIVE

    @property
    def ok(self) -> bool | None:
        """Whether it succeeded; None while it is not over."""
        return self.state in SUCCESS if self.ended else None

    def result(self) -> Any:
        """Return the result of a success: what the function returned, or a :class:`PlanResult`.

        Raises
        ------
        TaskError
            It was no success.
        """
        if not self.ok:
            raise _error_class(self.state)(self)
        return self.plan or self.return_value


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


def _error_class(state: str) -> type[TaskError]:
    if state == NOT_FOUND:
        return TaskNotFoundError
    if state in ACTIVE:
        return TaskError
    if state == "lost":
        return TaskLostError
    return TaskCancelledError if state in {*CANCELLED, *DROPPED} else TaskFailedError
