"""Handles of what was submitted: wait for it, look at it, cancel it."""

# ruff: noqa: ASYNC109 - a time-out is a parameter of waiting

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from remanager_api.errors import WaitTimeoutError
from remanager_api.notebook.reply import TASK_RECORD, ShownReply
from remanager_api.patience import late
from remanager_api.states import ACTIVE, status_word

if TYPE_CHECKING:
    from remanager_api.desk import Desk
    from remanager_api.outcomes import Outcome
    from remanager_api.progress import Progress


class TaskHandle:
    """A plan, task, function or script that was submitted.

    It only holds the UID: it outlives the manager, and ``RM.task(uid)`` makes another one like it.
    ``await handle`` is the same as ``await handle.result()``.

    Parameters
    ----------
    desk : Desk
        Asks the manager.
    task_uid : str
        Its UID.
    name : str
        Name of the plan or function, where it is known.

    """

    def __init__(self, desk: Desk, task_uid: str, name: str = "") -> None:
        self._desk = desk
        self._uid = task_uid
        self._name = name
        self._state = "pending"

    def __repr__(self) -> str:
        name = f"{self.name!r}, " if self.name else ""
        return f"<{type(self).__name__} {name}{self.task_uid}, last known as {self._state}>"

    def _repr_html_(self) -> str:
        from remanager_api.notebook.handle_views import handle_html

        return handle_html(self.task_uid, self.name, self._state)

    def __eq__(self, other: object) -> bool:
        return self.task_uid == other.task_uid if isinstance(other, TaskHandle) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.task_uid)

    def __await__(self) -> Generator[Any, None, Any]:
        return self.result().__await__()

    def _heard(self, outcome: Outcome) -> Outcome:
        self._state = outcome.state
        self._name = self._name or outcome.name
        return outcome.with_name(self.name)

    # ------------------------------------------------------------------------------------- looking

    @property
    def task_uid(self) -> str:
        """UID of the task, or of the item of the queue."""
        return self._uid

    @property
    def name(self) -> str:
        """Name of the plan or function; empty as long as it is not known."""
        return self._name

    @property
    def status(self) -> str:
        """``running`` (not over), ``completed`` (over) or ``not_found``, as this handle has last heard it."""
        return status_word(self._state)

    async def state(self) -> str:
        """Ask for the state: ``pending``, ``running``, ``completed``, ``failed``, ... or ``not_found``."""
        return (await self.outcome()).state

    async def outcome(self) -> Outcome:
        """Return what has become of it so far."""
        (outcome,) = await self._desk.outcomes([self.task_uid])
        return self._heard(outcome)

    async def info(self, include: Iterable[str] = ()) -> dict[str, Any]:
        """Return everything that the manager knows of it.

        Parameters
        ----------
        include : iterable of str
            Further parts: ``transitions``, ``attempts``, ``dependents``, ``children``, ``result``.

        Raises
        ------
        TaskNotFoundError
            The manager does not know it (any more).
        """
        record = await self._desk.record(self.task_uid, list(include))
        self._state, self._name = record["state"], record["name"]
        return ShownReply(record, TASK_RECORD)

    # ------------------------------------------------------------------------------------- waiting

    async def wait(self, timeout: float | None = None) -> Outcome:
        """Wait for the end, and return what has become of it; a failure is no exception here.

        Parameters
        ----------
        timeout : float, optional
            Longest time (s) to wait; default: as long as it takes.

        Raises
        ------
        WaitTimeoutError
            It was not over in time.
        RequestTimeoutError, HTTPRequestError
            The manager did not answer for a minute. What it was given may go on nevertheless: wait again.
        """
        try:
            async with asyncio.timeout(timeout) as limit:
                outcome = await self._desk.ends.end(self.task_uid)
        except TimeoutError:
            if not limit.expired():
                raise
            raise late(f"{self!r} is not over after {timeout:g} s", self._desk.asker.silence) from None
        return self._heard(outcome)

    async def result(self, timeout: float | None = None) -> Any:
        """Wait for the end, and return the result: what the function returned, or a :class:`PlanResult`.

        Parameters
        ----------
        timeout : float, optional
            Longest time (s) to wait; default: as long as it takes.

        Raises
        ------
        TaskFailedError, TaskLostError, TaskCancelledError, TaskNotFoundError
            It was no success; ``outcome`` of the exception has all that is known.
        WaitTimeoutError, RequestTimeoutError, HTTPRequestError
            As :meth:`wait`.
        """
        return (await self.wait(timeout)).result()

    async def progress(self, period: float = 0.5) -> AsyncGenerator[Progress]:
        """Yield how far it is, whenever that has changed, and a last time when it is over.

        Parameters
        ----------
        period : float
            Time (s) between two looks. The end is noticed at once.

        Yields
        ------
        Progress
        """
        last: Progress | None = None
        while True:
            now = await self._desk.progress(self.task_uid)
            self._state = now.state
            if now.fraction is None and last is not None and now.state in ACTIVE:
                now = replace(now, fraction=last.fraction)  # not told for a moment, as when a run has ended
            if last is None or now.told() != last.told():
                last = now
                yield now
            if now.state not in ACTIVE:
                return
            with suppress(WaitTimeoutError):
                await self.wait(period)

    # ------------------------------------------------------------------------------------- steering

    async def cancel(self, *, reason: str | None = None, kill_after_s: float | None = None) -> bool:
        """Cancel it: what waits ends at once, what runs is told to stop.

        Parameters
        ----------
        reason : str, optional
            Words for the record.
        kill_after_s : float, optional
            Kill its worker if it has not stopped then (s).

        Returns
        -------
        bool
            False if it was over already, or is not known.

        Raises
        ------
        RequestFailedError
            It cannot be cancelled, such as a plan that runs: pause that, and stop or abort it.
        """
        return await self._desk.cancel(self.task_uid, reason=reason, kill_after_s=kill_after_s)

    async def retry(self, *, reset_attempts: bool | None = None, again: bool | None = None) -> TaskHandle:
        """Submit it anew, after it has ended without success; return the handle of the new one.

        Parameters
        ----------
        reset_attempts : bool, optional
            Whether it may be retried as often as at first (default), or as often as was left.
        again : bool, optional
            Whether to submit it although that was done before; by default it is refused.

        Raises
        ------
        RequestFailedError
            It cannot be submitted anew.
        """
        uid = await self._desk.retry(self.task_uid, reset_attempts=reset_attempts, again=again)
        return self._desk.handle(uid, self.name)
