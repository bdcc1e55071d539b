"""The core of the client: sending requests, waiting, the info stream."""

# ruff: noqa: ASYNC109 - the names of the parameters are those of REManagerAPI

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from time import monotonic
from typing import Any, Self, TypeVar

from remanager_api.errors import (
    RequestFailedError,
    RequestParameterError,
    RequestTimeoutError,
    WaitTimeoutError,
)
from remanager_api.items import BItem
from remanager_api.transport import TOPIC_CONSOLE, TOPIC_INFO, InfoMessage, Transport

Reply = dict[str, Any]
T = TypeVar("T")
Item = BItem | Mapping[str, Any]

DEFAULT_CONTROL_ADDR = "tcp://localhost:60615"
DEFAULT_INFO_ADDR = "tcp://localhost:60625"
DEFAULT_WAIT_TIMEOUT = 600.0
_FIRST_POLL = 0.02


def plain_item(item: Item) -> dict[str, Any]:
    """Return an item in the form in which it is sent."""
    if isinstance(item, BItem):
        return item.to_dict()
    if isinstance(item, Mapping):
        return dict(item)
    raise TypeError(f"Incorrect item type {type(item)!r}. Expected type: 'BItem' or 'dict'")


class AsyncCore:
    """Sends requests and waits; its parameters are those of :class:`remanager_api.client.AsyncClient`."""

    RequestParameterError = RequestParameterError
    RequestTimeoutError = RequestTimeoutError
    RequestFailedError = RequestFailedError
    WaitTimeoutError = WaitTimeoutError

    def __init__(
        self,
        *,
        zmq_control_addr: str | None = None,
        zmq_info_addr: str | None = None,
        zmq_encoding: str | None = None,
        timeout_recv: float = 2.0,
        timeout_send: float = 0.5,
        zmq_public_key: str | None = None,
        zmq_client_private_key: str | None = None,
        request_fail_exceptions: bool = True,
        status_polling_period: float = 0.5,
    ) -> None:
        environ = os.environ
        self._transport = Transport(
            control_addr=zmq_control_addr
            or environ.get("QSERVER_ZMQ_CONTROL_ADDRESS")
            or DEFAULT_CONTROL_ADDR,
            info_addr=zmq_info_addr or environ.get("QSERVER_ZMQ_INFO_ADDRESS") or DEFAULT_INFO_ADDR,
            encoding=zmq_encoding or "json",
            timeout_send=timeout_send,
            public_key=zmq_public_key or environ.get("QSERVER_ZMQ_PUBLIC_KEY"),
            private_key=zmq_client_private_key or environ.get("REMANAGER_CLIENT_PRIVATE_KEY"),
        )
        self._timeout_recv = timeout_recv
        self._polling_period = status_polling_period
        self.request_fail_exceptions_enabled = request_fail_exceptions
        self.user = "Queue Server API User"
        self.user_group = "primary"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the client."""
        self._transport.close()

    def set_user_name_to_login_name(self) -> None:
        """Send the login name of the current user with items."""
        self.user = getpass.getuser()

    # ------------------------------------------------------------------------------------- requests

    async def send_request(
        self, *, method: str, params: Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> Reply:
        """Send any request.

        Parameters
        ----------
        method : str
            Name of the method.
        params : Mapping, optional
            Its parameters.
        timeout : float, optional
            Time (s) within which the reply must come; default: ``timeout_recv``.

        Raises
        ------
        RequestTimeoutError
            No reply came in time.
        RequestFailedError
            The manager refused the request, or its reply makes no sense.
        """
        sent = dict(params or {})
        reply = await self._transport.request(method, sent, timeout or self._timeout_recv)
        if not isinstance(reply, dict):
            raise RequestFailedError({"method": method, "params": sent}, reply)
        if self.request_fail_exceptions_enabled and not reply.get("success", True):
            raise RequestFailedError({"method": method, "params": sent}, reply)
        return reply

    async def _call(self, method: str, /, **params: Any) -> Reply:
        """Send a request without the parameters that are None."""
        return await self.send_request(
            method=method, params={k: v for k, v in params.items() if v is not None}
        )

    async def _call_as_user(
        self, method: str, /, *, user: str | None, user_group: str | None, **params: Any
    ) -> Reply:
        return await self._call(
            method, user=user or self.user, user_group=user_group or self.user_group, **params
        )

    async def _poll(self, look: Callable[[], Awaitable[T | None]], timeout: float) -> T:
        """Look, at growing intervals, until there is something to see."""
        deadline = monotonic() + timeout
        pause = _FIRST_POLL
        while True:
            try:
                found = await look()
            except RequestTimeoutError:
                found = None
            if found is not None:
                return found
            left = deadline - monotonic()
            if left <= 0:
                raise WaitTimeoutError(f"not fulfilled within {timeout:g} s")
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, self._polling_period)

    # ------------------------------------------------------------------------------------- streams

    async def info_stream(
        self, topics: Iterable[str] = (TOPIC_CONSOLE, TOPIC_INFO)
    ) -> AsyncIterator[InfoMessage]:
        """Yield what the manager publishes: console output and status, from now on.

        Parameters
        ----------
        topics : iterable of str
            ``QS_Console``, ``QS_Info``.

        Yields
        ------
        InfoMessage
        """
        async for message in self._transport.info(topics):
            yield message
