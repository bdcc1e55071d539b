"""Waiting for the manager, for tasks, for any condition."""

# ruff: noqa: ASYNC109 - the names of the parameters are those of REManagerAPI

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from functools import cached_property
from typing import Any, TypeVar

from remanager_api import patience
from remanager_api.core import DEFAULT_WAIT_TIMEOUT, Reply
from remanager_api.errors import (
    HTTPError,
    RequestParameterError,
    RequestTimeoutError,
    WaitCancelError,
)
from remanager_api.patience import Asker, ChangeWatch
from remanager_api.steering_methods import SteeringMethods
from remanager_api.task_methods import plain_uids
from remanager_api.waiting import WaitMonitor

T = TypeVar("T")


async def _unless(woken: asyncio.Event, work: Coroutine[Any, Any, T], limit: float) -> T | None:
    """Return what a coroutine returns, or None, early, when the event is set or a time (s) has passed."""
    task, alarm = asyncio.ensure_future(work), asyncio.ensure_future(woken.wait())
    try:
        await asyncio.wait((task, alarm), timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for one in (task, alarm):
            one.cancel()
        await asyncio.wait((task, alarm))


class WaitMethods(SteeringMethods):
    """The part of the client that waits."""

    @cached_property
    def _asker(self) -> Asker:
        return Asker(self.send_request, self._transport)

    async def status_wait(self, status_uid: str | None = None, *, timeout: float = 10.0) -> Reply:
        """Return the status as soon as it has another ``status_uid``, at the latest after ``timeout`` (s)."""
        return await self._call_waiting("status_wait", timeout, status_uid=status_uid, timeout=timeout)

    async def _wait(
        self, look: Callable[[], Coroutine[Any, Any, T | None]], timeout: float, monitor: WaitMonitor | None
    ) -> T:
        """Look, whenever the manager may have changed, until there is something to see."""
        monitor = monitor or WaitMonitor()
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        watch = ChangeWatch(self._asker, self._polling_period)
        silence: Exception | None = None
        answered_at = self._answered_at
        with monitor._waiting(timeout, lambda: loop.call_soon_threadsafe(woken.set)):
            left = timeout
            while True:
                woken.clear()
                try:
                    found = await _unless(woken, look(), max(left, patience.GRACE_S))
                except (RequestTimeoutError, HTTPError) as exc:
                    found, silence, answered_at = None, exc, self._answered_at
                left = monitor.timeout - monitor.time_elapsed
                if found is None and left < 0:
                    is_silent = answered_at == self._answered_at
                    raise patience.late("Timeout while waiting for condition", silence if is_silent else None)
                if monitor.is_cancelled:
                    raise WaitCancelError("Wait for condition was cancelled")
                if found is not None:
                    return found
                await _unless(woken, watch.changed(left), left)

    async def wait_for_condition(
        self,
        condition: Callable[[Reply], bool],
        *,
        timeout: float = DEFAULT_WAIT_TIMEOUT,
        monitor: WaitMonitor | None = None,
    ) -> None:
        """Wait until the status fulfils a condition. A manager that is away meanwhile is waited for.

        Parameters
        ----------
        condition : callable
            Takes the status, returns a bool. It must not call the client.
        timeout : float
            Longest time (s) to wait.
        monitor : WaitMonitor, optional
            Tells of the waiting and cancels it.

        Raises
        ------
        WaitTimeoutError
            The condition was not fulfilled in time.
        WaitCancelError
            The waiting was cancelled.
        """

        async def look() -> bool | None:
            return bool(condition(await self.status(reload=True))) or None

        await self._wait(look, timeout, monitor)

    async def _wait_for_state(self, states: set[str], timeout: float, monitor: WaitMonitor | None) -> None:
        await self.wait_for_condition(
            lambda status: status["manager_state"] in states, timeout=timeout, monitor=monitor
        )

    async def wait_for_idle(
        self, *, timeout: float = DEFAULT_WAIT_TIMEOUT, monitor: WaitMonitor | None = None
    ) -> None:
        """Wait until the manager is idle; parameters and errors as of :meth:`wait_for_condition`."""
        await self._wait_for_state({"idle"}, timeout, monitor)

    async def wait_for_idle_or_paused(
        self, *, timeout: float = DEFAULT_WAIT_TIMEOUT, monitor: WaitMonitor | None = None
    ) -> None:
        """Wait until the manager is idle or a plan is paused; see :meth:`wait_for_condition`."""
        await self._wait_for_state({"idle", "paused"}, timeout, monitor)

    async def wait_for_idle_or_running(
        self, *, timeout: float = DEFAULT_WAIT_TIMEOUT, monitor: WaitMonitor | None = None
    ) -> None:
        """Wait until the manager is idle or runs the queue; see :meth:`wait_for_condition`."""
        await self._wait_for_state({"idle", "executing_queue"}, timeout, monitor)

    async def wait_for_completed_task(
        self,
        task_uid: str | Iterable[str],
        *,
        timeout: float = DEFAULT_WAIT_TIMEOUT,
        monitor: WaitMonitor | None = None,
        treat_not_found_as_completed: bool = True,
    ) -> dict[str, str]:
        """Wait until at least one of the tasks has ended.

        Parameters
        ----------
        task_uid : str or iterable of str
            The tasks.
        timeout : float
            Longest time (s) to wait.
        monitor : WaitMonitor, optional
            Tells of the waiting and cancels it.
        treat_not_found_as_completed : bool
            Count tasks that the manager does not know (any more) as ended.

        Returns
        -------
        dict
            ``completed`` or ``not_found`` by UID, for the tasks that have ended.

        Raises
        ------
        RequestTimeoutError
            The manager does not answer to begin with.
        WaitTimeoutError
            None ended in time.
        WaitCancelError
            The waiting was cancelled.
        """
        uids = plain_uids(task_uid)
        if not uids:
            kind = "string" if isinstance(uids, str) else "list"
            raise RequestParameterError(
                f"Invalid value of parameter 'task_uid': task UID must be a non-empty {kind}"
            )
        ended = {"completed", "not_found"} if treat_not_found_as_completed else {"completed"}

        async def look() -> dict[str, str] | None:
            status = (await self.task_status(uids)).get("status")
            by_uid = {uids: status} if isinstance(uids, str) else status or {}
            return {uid: word for uid, word in by_uid.items() if word in ended} or None

        try:
            # A manager that is silent to begin with is an error; one that is away later is waited for.
            found = await look()
            return found if found else await self._wait(look, timeout, monitor)
        finally:
            self._clear_status_timestamp()
