"""The asynchronous client over HTTP."""

from __future__ import annotations

import asyncio
import os

from remanager_api.client import AsyncClient
from remanager_api.core import check_loop
from remanager_api.http.authorization import provider_path
from remanager_api.http.session import SessionMethods
from remanager_api.http.transport import HTTPTransport
from remanager_api.monitors import ConsoleMonitor, SystemInfoMonitor
from remanager_api.transport import TOPIC_CONSOLE, TOPIC_INFO

DEFAULT_SERVER_URI = "http://localhost:60610"
DEFAULT_TIMEOUT_S = 5.0
DEFAULT_LOGIN_TIMEOUT_S = 60.0


class REManagerAPI(SessionMethods, AsyncClient):
    """Talks to a run manager through bluesky-httpserver.

    Each method sends the request of the same name (``item_...`` sends ``queue_item_...``) and returns the
    reply, a dictionary. The server has no endpoints for the methods that bluesky-queueserver does not have:
    they raise ``RequestParameterError``. The client belongs to the event loop in which it is used first.

    Parameters
    ----------
    http_server_uri : str, optional
        Where the server is; default: the variable ``QSERVER_HTTP_SERVER_URI``, else ``http://localhost:60610``.
    http_auth_provider : str, optional
        Who knows the passwords for :meth:`login`, such as ``/toy/token``.
    timeout : float, optional
        Time (s) within which the server must say something; 0: no limit; default: 5.
    timeout_login : float, optional
        The same for :meth:`login`; default: 60.
    console_monitor_poll_period : float
        Time (s) between two questions for console output, where there are no web sockets.
    system_info_monitor_poll_period : float
        Time (s) before a lost web socket is connected again.
    console_monitor_max_msgs, system_info_monitor_max_msgs : int
        Messages that a monitor keeps until they are read. 0: none.
    console_monitor_max_lines : int
        Lines of text that the console monitor keeps. 0: none.
    request_fail_exceptions : bool
        Raise ``RequestFailedError`` when the manager refuses a request, instead of returning the reply.
    status_expiration_period : float
        Time (s) for which the status is kept, unless this client has changed something meanwhile.
    status_polling_period : float
        Longest time (s) between two looks at the manager while waiting.
    loop : asyncio.AbstractEventLoop, optional
        Running loop in which the client is going to be used, when it is made outside of one.

    Raises
    ------
    RequestParameterError
        The authentication provider is no string, or an empty one.
    """

    _transport: HTTPTransport

    def __init__(
        self,
        *,
        http_server_uri: str | None = None,
        http_auth_provider: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT_S,
        timeout_login: float | None = DEFAULT_LOGIN_TIMEOUT_S,
        console_monitor_poll_period: float = 0.5,
        console_monitor_max_msgs: int = 10000,
        console_monitor_max_lines: int = 1000,
        system_info_monitor_poll_period: float = 0.5,
        system_info_monitor_max_msgs: int = 10000,
        request_fail_exceptions: bool = True,
        status_expiration_period: float = 0.5,
        status_polling_period: float = 1.0,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        check_loop(loop)
        self._provider = provider_path(http_auth_provider)
        self._timeout_login = DEFAULT_LOGIN_TIMEOUT_S if timeout_login is None else timeout_login
        transport = HTTPTransport(
            server_uri=http_server_uri or os.environ.get("QSERVER_HTTP_SERVER_URI") or DEFAULT_SERVER_URI,
            timeout=DEFAULT_TIMEOUT_S if timeout is None else timeout,
            poll_periods={
                TOPIC_CONSOLE: console_monitor_poll_period,
                TOPIC_INFO: system_info_monitor_poll_period,
            },
        )
        super().__init__(
            transport,
            console_monitor=ConsoleMonitor(
                transport.info,
                poll_timeout=console_monitor_poll_period,
                max_msgs=console_monitor_max_msgs,
                max_lines=console_monitor_max_lines,
            ),
            system_info_monitor=SystemInfoMonitor(
                transport.info,
                poll_timeout=system_info_monitor_poll_period,
                max_msgs=system_info_monitor_max_msgs,
            ),
            request_fail_exceptions=request_fail_exceptions,
            status_expiration_period=status_expiration_period,
            status_polling_period=status_polling_period,
        )


__all__ = ["REManagerAPI"]
