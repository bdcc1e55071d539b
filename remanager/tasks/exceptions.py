"""What a task raises to say how it ends."""

from __future__ import annotations

from remanager.model.task_spec import YEAR_S


class TaskSignal(Exception):
    """Base of the exceptions by which a task says how it ends.

    Attributes
    ----------
    reason : str
        What people shall read.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = str(reason)


class Retry(TaskSignal):
    """The attempt did not succeed; another one may.

    Raise it ``from`` the exception that is the cause: that one is then recorded.

    Parameters
    ----------
    after_s : float, optional
        Delay before the next attempt, s, at most a year; without it the delay of the retry options.
    reason : str
        What people shall read.
    """

    def __init__(self, after_s: float | None = None, reason: str = "") -> None:
        super().__init__(reason)
        try:
            self.after_s = None if after_s is None else float(after_s)
        except (TypeError, ValueError):
            raise TypeError(f"after_s must be a time in seconds, not {after_s!r}") from None
        if self.after_s is not None and not 0 <= self.after_s <= YEAR_S:
            raise ValueError(f"after_s must be a time in seconds, at most a year, not {after_s}")


class Skip(TaskSignal):
    """There is nothing to do: the task ends as ``skipped``, which counts as a success."""


class Permanent(TaskSignal):
    """The task has failed and another attempt would fail, too."""


class Cancelled(TaskSignal):
    """The task was told to stop and does; :meth:`~remanager.tasks.Context.check_cancelled` raises it.

    A task that raises it unasked is cancelled, too.
    """
