"""Questions that outlast a manager: asked again until there is an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from remanager_api.errors import (
    HTTPRequestError,
    RequestFailedError,
    RequestParameterError,
    RequestTimeoutError,
)
from remanager_api.transport import Transport

Reply = dict[str, Any]

SLICE_S = 2.0
"""Time after which the manager answers a question that it may wait with (s). What was asked of a manager that
has died is lost, and asked again only after that time."""

ABSENCE_S = 60.0
"""Time without any answer after which a question is given up (s): longer than a restart takes."""

_PAUSE_S = 0.1


class Asker:
    """Asks a manager that may be away for a while.

    Parameters
    ----------
    send : callable
        ``send_request`` of the client.
    transport : Transport
        Says how long a reply may take.
    """

    def __init__(self, send: Callable[..., Awaitable[Reply]], transport: Transport) -> None:
        self._send = send
        self._transport = transport

    async def ask(self, method: str, /, *, wait_s: float = 0.0, **params: Any) -> Reply:
        """Send a question until it is answered; a restart of the manager is waited for.

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
        RequestTimeoutError, HTTPRequestError
            There was no answer for :data:`ABSENCE_S`.
        RequestFailedError
            The manager refused to answer.
        """
        sent = {**params, "timeout": wait_s} if wait_s else params
        limit = wait_s + self._transport.timeout if wait_s else None
        give_up: float | None = None
        while True:
            begin = monotonic()
            try:
                reply = await self._send(method=method, params=sent, timeout=limit)
            except (RequestTimeoutError, HTTPRequestError):
                give_up = begin + ABSENCE_S if give_up is None else give_up
                if monotonic() >= give_up:
                    raise
                # Where connections are refused at once, they must not be tried in a busy loop.
                await asyncio.sleep(max(begin + _PAUSE_S - monotonic(), 0.0))
                continue
            if not reply.get("success", True):
                raise RequestFailedError({"method": method, "params": sent}, reply)
            return reply


def is_unknown_method(exc: Exception) -> bool:
    """Tell whether a request failed because the manager, or the server before it, has no such method."""
    if isinstance(exc, RequestParameterError):
        return True
    return isinstance(exc, RequestFailedError) and "Unknown method" in str(exc)
