"""Questions that outlast a manager, and what tells that it has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, TypeVar

from remanager_api.errors import (
    HTTPError,
    HTTPRequestError,
    RequestFailedError,
    RequestParameterError,
    RequestTimeoutError,
    WaitTimeoutError,
)
from remanager_api.transport import Transport

Reply = dict[str, Any]
T = TypeVar("T")

SLICE_S = 1.0
"""Time after which the manager answers a question that it may wait with (s). What was asked of a manager that
has died is lost, and asked again only after that time."""

GRACE_S = 1.0
"""Time that such an answer may be late (s)."""

ABSENCE_S = 60.0
"""Time without any answer after which a question is given up (s): longer than a restart takes."""

PAUSE_S = 0.1
"""Shortest time between two questions to a manager that does not answer (s)."""

CANCELLED = "cancelled"
"""Code of a refusal: the manager drops what it was asked, because it is stopping. It may be restarted."""

CALM_S = 0.01
"""Shortest time between two looks at a manager that changes all the time (s)."""


def late(words: str, silence: Exception | None) -> WaitTimeoutError:
    """Return the error of a wait that was too long, with what is known of a manager that does not answer."""
    error = WaitTimeoutError(words)
    if silence is not None:
        for note in (f"The manager does not answer. {silence}", *getattr(silence, "__notes__", ())):
            error.add_note(note)
    return error


class Asker:
    """Asks a manager that may be away for a while.

    Parameters
    ----------
    send : callable
        ``send_request`` of the client.
    transport : Transport
        Says how long a reply may take.

    Attributes
    ----------
    silence : Exception or None
        Why the last question of :meth:`ask` was not answered; None if it was.
    """

    def __init__(self, send: Callable[..., Awaitable[Reply]], transport: Transport) -> None:
        self._send = send
        self._transport = transport
        self._is_native = True
        self.silence: Exception | None = None

    async def either(self, native: Callable[[], Awaitable[T]], foreign: Callable[[], Awaitable[T]]) -> T:
        """Ask with our methods; with those of every RE Manager once it is clear that it has no others."""
        if self._is_native:
            try:
                return await native()
            except (RequestFailedError, RequestParameterError) as exc:
                if isinstance(exc, RequestFailedError) and "Unknown method" not in str(exc):
                    raise
            self._is_native = False
        return await foreign()

    async def ask_once(self, method: str, /, *, wait_s: float = 0.0, **params: Any) -> Reply:
        """Send a question once.

        Parameters
        ----------
        method : str
            A method that changes nothing.
        wait_s : float
            How long the manager may wait before it answers (s), for methods with a ``timeout``.
        **params
            Further parameters.

        Raises
        ------
        RequestTimeoutError, HTTPError
            There was no answer, or the manager is stopping.
        RequestFailedError
            The manager refused to answer.
        """
        request = {"method": method, "params": params}
        limit = None
        if wait_s:
            params |= {"timeout": wait_s}
            limit = wait_s + min(self._transport.timeout, GRACE_S)
        try:
            reply = await self._send(method=method, params=params, timeout=limit)
            if not reply.get("success", True):
                raise RequestFailedError(request, reply)
        except RequestFailedError as exc:
            if exc.code == CANCELLED:
                raise RequestTimeoutError(str(exc), request) from exc
            raise
        return reply

    async def ask(self, method: str, /, *, wait_s: float = 0.0, **params: Any) -> Reply:
        """Send a question until it is answered; a restart of the manager is waited for.

        Parameters and errors are those of :meth:`ask_once`; ``RequestTimeoutError`` and ``HTTPRequestError``
        mean that there was no answer for :data:`ABSENCE_S`.
        """
        give_up: float | None = None
        while True:
            begin = monotonic()
            try:
                reply = await self.ask_once(method, wait_s=wait_s, **params)
                self.silence = None
                return reply
            except (RequestTimeoutError, HTTPRequestError) as exc:
                self.silence = exc
                give_up = begin + ABSENCE_S if give_up is None else give_up
                if monotonic() >= give_up:
                    raise
            # Where connections are refused at once, they must not be tried in a busy loop.
            await asyncio.sleep(max(begin + PAUSE_S - monotonic(), 0.0))


class ChangeWatch:
    """Tells somebody who looks at the manager when it is time for another look.

    Each one who waits has one of his own: what changes after his look is never missed.

    Parameters
    ----------
    asker : Asker
        Asks the manager.
    polling_period : float
        Longest time (s) between two looks at a manager that does not tell of changes.
    """

    def __init__(self, asker: Asker, polling_period: float) -> None:
        self._asker = asker
        self._polling_period = polling_period
        self._pause = 0.02
        self._status_uid: str | None = None
        self._told_at = 0.0

    async def changed(self, limit: float) -> None:
        """Return when the manager may have changed since the last call; at the latest after a time (s)."""

        if limit <= 0:
            return

        async def tell() -> None:
            reply = await self._asker.ask_once(
                "status_wait", status_uid=self._status_uid, wait_s=min(limit, SLICE_S)
            )
            self._status_uid = reply["status_uid"]

        async def sleep() -> None:
            await asyncio.sleep(min(self._pause, limit))
            self._pause = min(self._pause * 1.5, self._polling_period)

        try:
            await self._asker.either(tell, sleep)
        except (RequestTimeoutError, HTTPError):
            return  # the next look will tell
        await asyncio.sleep(max(self._told_at + CALM_S - monotonic(), 0.0))
        self._told_at = monotonic()
