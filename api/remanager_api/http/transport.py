"""Requests over HTTP to bluesky-httpserver, and the streams of its web sockets."""

# ruff: noqa: ASYNC109 - each request has a time-out of its own

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, Literal

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException

from remanager_api.errors import HTTPError, RequestFailedError, RequestTimeoutError
from remanager_api.http.authorization import Authorization, make_authorization
from remanager_api.http.endpoints import CONSOLE_UPDATE, WEBSOCKETS, Endpoint, Method, endpoint_of
from remanager_api.http.errors import HTTPClientError, HTTPRequestError, status_error
from remanager_api.transport import TOPIC_CONSOLE, AuthorizationMethods, InfoMessage

log = logging.getLogger(__name__)

_EXPIRED: Final = "Access token has expired"
_WEBSOCKET_KEY_LIFE_S: Final = 60
_WEBSOCKET_CLOSE_S: Final = 1.0
_KEEP_ALIVE_S: Final = 2.0
"""Time (s) for which an idle connection is used again. Servers end it after 5 s or more; a request at that
moment would fail."""


class HTTPTransport:
    """Sends requests to a bluesky-httpserver and receives its replies.

    Parameters
    ----------
    server_uri : str
        Where the server is, such as ``http://localhost:60610``.
    timeout : float
        Time (s) within which the server must say something; 0: no limit.
    poll_periods : Mapping
        Time (s) by topic before a lost web socket is connected again, and between two questions for console
        output where there are none.
    backend : httpx.AsyncBaseTransport, optional
        What carries the requests; default: the network.

    Attributes
    ----------
    authorization : Authorization
        Sent with each request, from now on.
    """

    protocol: Literal["HTTP"] = "HTTP"
    sends_user = False
    address: str | None = None

    def __init__(
        self,
        *,
        server_uri: str,
        timeout: float,
        poll_periods: Mapping[str, float],
        backend: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.timeout = timeout
        self.authorization = Authorization()
        self._uri = httpx.URL(server_uri)
        self._poll_periods = poll_periods
        self._backend = backend
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._closed = False

    def _connect(self) -> httpx.AsyncClient:
        """Return what belongs to this process and loop; that of others can be neither used nor closed."""
        if self._closed:
            raise RuntimeError("the client is closed")
        home = os.getpid(), asyncio.get_running_loop()
        if self._home != home:
            self._home = home
            # Reading the certificates takes longer than all the rest: only where they are needed.
            self._tls = httpx.create_ssl_context() if self._uri.scheme == "https" else None
            self._client = httpx.AsyncClient(
                base_url=self._uri,
                transport=self._backend,
                verify=self._tls or False,
                limits=httpx.Limits(keepalive_expiry=_KEEP_ALIVE_S),
            )
            self._refreshing = asyncio.Lock()
        return self._client

    async def request(
        self,
        method: Method,
        params: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        *,
        url_params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, Any] | None = None,
        auto_refresh_session: bool = True,
    ) -> Any:
        """Send a request and wait for its reply.

        Parameters
        ----------
        method : str or iterable of str
            Name of a method, or verb and path of an endpoint.
        params : Mapping, optional
            Its parameters.
        timeout : float, optional
            Time (s) within which the server must say something; 0: no limit; default: that of the transport.
        url_params : Mapping, optional
            Parameters that belong into the URL.
        headers : Mapping, optional
            Headers in place of those of the authorization.
        data : Mapping, optional
            A form, in place of the parameters.
        auto_refresh_session : bool
            Whether to ask for a new access token, if possible, when it turns out that it has expired.

        Returns
        -------
        object
            The reply.

        Raises
        ------
        RequestParameterError
            The server does not offer the method.
        RequestTimeoutError
            The server said nothing in time.
        HTTPRequestError, HTTPClientError, HTTPServerError
            The server is away, refused the request, or failed.
        RequestFailedError
            The reply cannot be decoded.
        """
        endpoint, request = endpoint_of(method), {"method": method, "params": params}
        limit = self.timeout if timeout is None else timeout
        content = {"data": data} if data else {"json": dict(params or {})}
        send = partial(self._send, endpoint, request, limit, params=url_params, **content)
        if headers:
            return await send(headers=headers)
        return await self._authorized(send, auto_refresh_session)

    async def _authorized(self, send: Callable[..., Awaitable[Any]], auto_refresh_session: bool) -> Any:
        """Send a request with the headers of the authorization, once more when the access token is new."""
        used = self.authorization
        try:
            return await send(headers=used.headers)
        except HTTPClientError as exc:
            if not (auto_refresh_session and used.refresh_token and _EXPIRED in str(exc)):
                raise
            await self._refresh(used)
            if self.authorization == used:
                raise
        return await send(headers=self.authorization.headers)

    async def _send(self, endpoint: Endpoint, request: dict[str, Any], limit: float, **sent: Any) -> Any:
        try:
            response = await self._connect().request(*endpoint, timeout=limit if limit > 0 else None, **sent)
            response.raise_for_status()
        except httpx.TimeoutException as exc:
            raise RequestTimeoutError(f"no answer from {self._uri} in {limit:g} s", request) from exc
        except httpx.HTTPStatusError as exc:
            raise status_error(exc) from exc
        except httpx.RequestError as exc:
            raise HTTPRequestError(f"HTTP request error: {exc} ({self._uri})") from exc
        try:
            return response.json()
        except ValueError as exc:
            raise RequestFailedError(request, f"the reply cannot be decoded: {exc}") from exc

    async def _refresh(self, used: Authorization) -> None:
        """Get new tokens, unless another request has done so meanwhile."""
        async with self._refreshing:
            if self.authorization != used:
                return
            try:
                await self.refresh_session(used.refresh_token)
            except HTTPError as exc:
                log.warning("The session at %s cannot be refreshed: %s", self._uri, exc)

    async def refresh_session(self, refresh_token: str | None) -> Any:
        """Get new tokens by a refresh token, and use them from now on.

        Returns
        -------
        dict
            The reply, with ``access_token`` and ``refresh_token``.
        """
        reply = await self.request(
            "session_refresh", {"refresh_token": refresh_token}, auto_refresh_session=False
        )
        self.use_tokens(reply)
        return reply

    def use_tokens(self, reply: Mapping[str, Any]) -> None:
        """Use the tokens that the server has given."""
        self.authorization = make_authorization(
            token=reply.get("access_token"), refresh_token=reply.get("refresh_token")
        )

    # ------------------------------------------------------------------------------------- streams

    async def info(self, topics: Iterable[str]) -> AsyncGenerator[InfoMessage]:
        """Yield what the manager publishes on topics, from now on, also after the server was away.

        Parameters
        ----------
        topics : iterable of str
            ``QS_Console``, ``QS_Info``.

        Yields
        ------
        InfoMessage
        """
        messages: asyncio.Queue[InfoMessage] = asyncio.Queue()
        tasks = [asyncio.create_task(self._forward(topic, messages)) for topic in topics]
        try:
            while True:
                yield await messages.get()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _forward(self, topic: str, messages: asyncio.Queue[InfoMessage]) -> None:
        """Put the messages of a topic into a queue, for ever."""
        reported = ""
        while True:
            try:
                async for message in self._listen(topic):
                    reported = ""
                    messages.put_nowait(InfoMessage(topic, message["time"], message["msg"]))
            except (OSError, WebSocketException, HTTPError, RequestTimeoutError, RequestFailedError) as exc:
                if str(exc) != reported:
                    reported = str(exc)
                    log.warning("Nothing is heard of %s at %s: %s", topic, self._uri, exc)
            await asyncio.sleep(self._poll_periods[topic])

    async def _listen(self, topic: str) -> AsyncIterator[dict[str, Any]]:
        """Yield messages of one connection."""
        try:
            async with self._websocket(WEBSOCKETS[topic]) as websocket:
                async for message in websocket:
                    yield json.loads(message)
        except (InvalidStatus, HTTPClientError):
            # No web sockets here, or none for this client: console output can be asked for, too.
            if topic != TOPIC_CONSOLE:
                raise
            async for message in self._poll_console():
                yield message

    async def _poll_console(self) -> AsyncIterator[dict[str, Any]]:
        """Ask for console output again and again; the first answer only says where it begins."""
        last = ""
        while True:
            reply = await self.request(CONSOLE_UPDATE, {"last_msg_uid": last})
            for message in reply["console_output_msgs"]:
                yield message
            last = reply["last_msg_uid"]
            await asyncio.sleep(self._poll_periods[TOPIC_CONSOLE])

    @asynccontextmanager
    async def _websocket(self, path: str) -> AsyncIterator[Any]:
        """Connect a web socket. The server knows API keys there only: tokens are exchanged for one."""
        key, of_tokens = self.authorization.api_key, None
        if self.authorization.method is AuthorizationMethods.TOKEN:
            made = await self.request("apikey_new", {"expires_in": _WEBSOCKET_KEY_LIFE_S})
            key, of_tokens = made["secret"], made["first_eight"]
        self._connect()
        uri = self._uri.copy_with(scheme="wss" if self._tls else "ws")
        try:
            websocket = await connect(
                str(uri).rstrip("/") + path,
                additional_headers=Authorization(api_key=key).headers,
                ssl=self._tls,
                close_timeout=_WEBSOCKET_CLOSE_S,
                max_size=None,
                open_timeout=self.timeout if self.timeout > 0 else None,
            )
        finally:
            if of_tokens:
                # If this fails, it expires soon.
                with suppress(HTTPError, RequestTimeoutError):
                    await self.request("apikey_delete", url_params={"first_eight": of_tokens})
        try:
            yield websocket
        finally:
            await websocket.close()

    async def close(self) -> None:
        """Close the connections; requests in flight end with an error."""
        self._closed = True
        if self._home == (os.getpid(), asyncio.get_running_loop()):
            await self._client.aclose()
