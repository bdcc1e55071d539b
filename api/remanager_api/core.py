"""The core of the client: sending requests, the cached status, waiting, the info stream."""

# ruff: noqa: ASYNC109 - the names of the parameters are those of REManagerAPI

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from typing import Any, ClassVar, Self

from remanager_api import errors
from remanager_api import transport as transports
from remanager_api.caching import Reply, ReplyCache, StatusCache
from remanager_api.errors import RequestFailedError, RequestTimeoutError
from remanager_api.items import BItem
from remanager_api.lock_keys import LockKeys
from remanager_api.monitors import ConsoleMonitor, SystemInfoMonitor
from remanager_api.notebook.reply import ShownReply
from remanager_api.transport import TOPIC_CONSOLE, TOPIC_INFO, InfoMessage, Transport

__all__ = ["DEFAULT_WAIT_TIMEOUT", "AsyncCore", "Item", "Reply", "check_loop", "plain_item", "plain_items"]

Item = BItem | Mapping[str, Any]

DEFAULT_WAIT_TIMEOUT = 600.0

TASK_S = 0.002
"""Time that the manager may take for each task or item of a request (s): ten times what it mostly takes."""

SELECTION_S = 60.0
"""Time that it may take for the tasks of a selection, however many these are (s)."""


def plain_item(item: Item) -> dict[str, Any]:
    """Return an item in the form in which it is sent."""
    if isinstance(item, BItem):
        return item.to_dict()
    if isinstance(item, Mapping):
        return dict(item)
    raise TypeError(f"Incorrect item type {type(item)!r}. Expected type: 'BItem' or 'dict'")


def plain_items(items: Iterable[Item]) -> list[dict[str, Any]]:
    """Return items in the form in which they are sent."""
    if not isinstance(items, Iterable):
        raise TypeError(f"Parameter ``items`` must be iterable: type(items)={type(items)!r}")
    items = list(items)
    for number, item in enumerate(items):
        if not isinstance(item, BItem | Mapping):
            raise TypeError(
                f"Incorrect type {type(item)!r} if item #{number} ({item!r}). "
                "Expected type: 'BItem' or 'dict'"
            )
    return [plain_item(item) for item in items]


def _checked_name(name: str, what: str) -> str:
    if not isinstance(name, str):
        raise ValueError(f"{what} {name!r} is not a string: type {type(name)!r}")
    if not name:
        raise ValueError(f"{what} is an empty string.")
    return name


def check_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    """Raise ``RuntimeError`` if a client is given an event loop that does not run."""
    if loop is not None and not loop.is_running():
        raise RuntimeError("Failed to instantiate REManagerAPI class. The provided 'loop' is not running.")


class AsyncCore(LockKeys):
    """Sends requests over a transport.

    Parameters
    ----------
    transport : Transport
        The way to the manager.
    console_monitor : ConsoleMonitor, optional
        Default: one with the default settings.
    system_info_monitor : SystemInfoMonitor, optional
        The same.
    request_fail_exceptions : bool
        Raise :class:`RequestFailedError` when the manager refuses a request, instead of returning the reply.
    status_expiration_period : float
        Time (s) for which a status is good, unless something was changed meanwhile.
    status_polling_period : float
        Longest time (s) between two looks at the manager while waiting.
    """

    RequestParameterError = errors.RequestParameterError
    RequestTimeoutError = errors.RequestTimeoutError
    RequestFailedError = errors.RequestFailedError
    WaitTimeoutError = errors.WaitTimeoutError
    WaitCancelError = errors.WaitCancelError
    HTTPRequestError: ClassVar[type[errors.HTTPRequestError]] = errors.HTTPRequestError
    HTTPClientError: ClassVar[type[errors.HTTPClientError]] = errors.HTTPClientError
    HTTPServerError: ClassVar[type[errors.HTTPServerError]] = errors.HTTPServerError
    Protocols = transports.Protocols
    AuthorizationMethods = transports.AuthorizationMethods

    def __init__(
        self,
        transport: Transport,
        *,
        console_monitor: ConsoleMonitor | None = None,
        system_info_monitor: SystemInfoMonitor | None = None,
        request_fail_exceptions: bool = True,
        status_expiration_period: float = 0.5,
        status_polling_period: float = 1.0,
    ) -> None:
        super().__init__()
        self._transport = transport
        self._console_monitor = console_monitor or ConsoleMonitor(transport.info)
        self._system_info_monitor = system_info_monitor or SystemInfoMonitor(transport.info)
        self._polling_period = status_polling_period
        self._status = StatusCache(self._load_status, status_expiration_period)
        self._replies = ReplyCache()
        self._request_fail_exceptions = bool(request_fail_exceptions)
        self._user = "Queue Server API User"
        self._user_group = "primary"
        self._answered_at: float | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the client."""
        await self._console_monitor.disable_wait()
        await self._system_info_monitor.disable_wait()
        await self._transport.close()

    # ------------------------------------------------------------------------------------- settings

    @property
    def protocol(self) -> transports.Protocols:
        """``Protocols.ZMQ`` or ``Protocols.HTTP``."""
        return transports.Protocols(self._transport.protocol)

    @property
    def request_fail_exceptions_enabled(self) -> bool:
        """Whether a refused request raises :class:`RequestFailedError`, or returns the reply."""
        return self._request_fail_exceptions

    @request_fail_exceptions_enabled.setter
    def request_fail_exceptions_enabled(self, value: bool) -> None:
        self._request_fail_exceptions = bool(value)

    @property
    def user(self) -> str:
        """User name sent with items unless a method is given another one. ``ValueError``: no text."""
        return self._user

    @user.setter
    def user(self, value: str) -> None:
        self._user = _checked_name(value, "User name")

    @property
    def user_group(self) -> str:
        """User group sent with items unless a method is given another one. ``ValueError``: no text."""
        return self._user_group

    @user_group.setter
    def user_group(self, value: str) -> None:
        self._user_group = _checked_name(value, "User group name")

    def set_user_name_to_login_name(self) -> None:
        """Send the login name of the current user with items."""
        import getpass

        self.user = getpass.getuser()

    @property
    def console_monitor(self) -> ConsoleMonitor:
        """Monitor of the console output."""
        return self._console_monitor

    @property
    def system_info_monitor(self) -> SystemInfoMonitor:
        """Monitor of the status that the manager publishes."""
        return self._system_info_monitor

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
            Time (s) within which the reply must come; default: as the client was made.

        Raises
        ------
        RequestTimeoutError
            No reply came in time.
        RequestFailedError
            The manager refused the request, or its reply makes no sense.
        """
        sent = dict(params or {})
        reply = await self._answer(self._transport.request(method, sent, timeout or self._transport.timeout))
        if not isinstance(reply, dict):
            raise RequestFailedError({"method": method, "params": sent}, reply)
        return await self._judge(method, sent, reply)

    # What explains an error is imported when there is one.

    async def _answer(self, asking: Awaitable[Any]) -> Any:
        """Wait for the answer to a request; explain why there is none."""
        try:
            reply = await asking
        except RequestTimeoutError as exc:
            from remanager_api.advice import explain_silence

            await explain_silence(exc, self._transport.address, self._answered_at)
            raise
        self._answered_at = time.time()
        return reply

    async def _judge(self, method: str, params: Mapping[str, Any], reply: Reply) -> Reply:
        """Return a reply, unless the request was refused and this is to be an exception."""
        if self._request_fail_exceptions and not reply.get("success", True):
            from remanager_api.advice import explain_refusal

            exc = RequestFailedError({"method": method, "params": params}, reply)
            await explain_refusal(exc, self._transport.request)
            raise exc
        return ShownReply(reply, method)

    def _patience(self, timeout: float | None, tasks: int | None) -> float:
        """Return how long to wait for the reply to a request that is work: about so many tasks or items.

        Parameters
        ----------
        timeout : float or None
            What the caller wants, s.
        tasks : int or None
            How many; None: as many as are selected.
        """
        usual = self._transport.timeout
        if timeout is not None or usual <= 0:  # 0: there is no limit
            return usual if timeout is None else timeout
        return usual + (SELECTION_S if tasks is None else tasks * TASK_S)

    async def _call(self, method: str, /, *, reply_timeout: float | None = None, **params: Any) -> Reply:
        """Send a request without the parameters that are None.

        One that takes a lock key changes something: it is sent with the key that is due, and what is known of
        the status is forgotten, before and after, since a status may be asked for meanwhile.
        """
        changes = "lock_key" in params
        if changes:
            params["lock_key"] = self._key_to_send(params["lock_key"])
            self._status.invalidate()
        try:
            sent = {k: v for k, v in params.items() if v is not None}
            return await self.send_request(method=method, params=sent, timeout=reply_timeout)
        finally:
            if changes:
                self._status.invalidate()

    async def _call_as_user(
        self, method: str, /, *, user: str | None, user_group: str | None, **params: Any
    ) -> Reply:
        if self._transport.sends_user:
            params |= {"user": user or self._user, "user_group": user_group or self._user_group}
        return await self._call(method, **params)

    async def _call_cached(
        self, method: str, /, uid_name: str, *, reload: bool, params: Mapping[str, Any] | None = None
    ) -> Reply:
        """Return a reply that is the same as long as the status has the same UID."""
        uid = (await self._status.get(reload=reload)).get(uid_name)
        name = (method, *(params or {}).items())
        reply = self._replies.get(name, uid)
        if reply is None:
            reply = await self.send_request(method=method, params=params)
            if reply.get("success") is True and uid_name in reply:
                self._replies.put(name, reply[uid_name], reply)
        return reply

    async def _call_for_group(self, method: str, reload: bool, user_group: str | None) -> Reply:
        params = {"user_group": user_group or self.user_group} if self._transport.sends_user else {}
        return await self._call_cached(method, f"{method}_uid", reload=reload, params=params)

    # ------------------------------------------------------------------------------------- status

    async def _load_status(self) -> Reply:
        return await self.send_request(method="status")

    def _clear_status_timestamp(self) -> None:
        """Ask the manager for its status next time."""
        self._status.invalidate()

    async def status(self, *, reload: bool = False) -> Reply:
        """Return the status of the manager.

        Parameters
        ----------
        reload : bool
            Ask the manager in any case. Otherwise a status is good for ``status_expiration_period``, unless
            this client has changed something meanwhile.
        """
        return await self._status.get(reload=reload)

    async def ping(self, *, reload: bool = False) -> Reply:
        """Return the status, for which the manager is asked in any case: to see that it answers."""
        return await self._call("ping")

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
