"""What became of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from remanager_api.states import ACTIVE, SUCCESS, status_word
from remanager_api.task_errors import error_class
from remanager_api.values import untagged


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
        What a function returned, without tagged forms.
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
            ``result`` of ``task_result`` as it came, or of an item of the history.
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
            return_value=untagged(known.get("return_value")),
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
            raise error_class(self.state)(self)
        return self.plan or self.return_value
