"""The asynchronous client over ZeroMQ."""

from __future__ import annotations

import asyncio
import os

from remanager_api.client import AsyncClient
from remanager_api.core import check_loop
from remanager_api.monitors import ConsoleMonitor, SystemInfoMonitor
from remanager_api.zmq.transport import ZMQTransport

DEFAULT_CONTROL_ADDR = "tcp://localhost:60615"
DEFAULT_INFO_ADDR = "tcp://localhost:60625"


class REManagerAPI(AsyncClient):
    """Talks to a run manager over ZeroMQ.

    Each method sends the request of the same name (``item_...`` sends ``queue_item_...``) and returns the
    reply, a dictionary. The client belongs to the event loop in which it is used first.

    Parameters
    ----------
    zmq_control_addr, zmq_info_addr : str, optional
        Addresses of the manager; default: the variables ``QSERVER_ZMQ_CONTROL_ADDRESS`` and
        ``QSERVER_ZMQ_INFO_ADDRESS``, else ``tcp://localhost:60615`` and ``tcp://localhost:60625``.
    zmq_encoding : str, optional
        ``json`` (default) or ``msgpack``.
    timeout_recv : float
        Time (s) within which a reply must come.
    timeout_send : float
        Accepted for older programs: a request is handed over without waiting.
    console_monitor_poll_timeout, system_info_monitor_poll_timeout : float
        Time (s) for which a disabled monitor goes on, in case that it is enabled again.
    console_monitor_max_msgs, system_info_monitor_max_msgs : int
        Messages that a monitor keeps until they are read. 0: none.
    console_monitor_max_lines : int
        Lines of text that the console monitor keeps. 0: none.
    zmq_public_key : str, optional
        The manager's public key; default: the variable ``QSERVER_ZMQ_PUBLIC_KEY``, else no encryption.
    zmq_client_private_key : str, optional
        The client's own key (``remanager keys add``), by which the manager knows who it is; default: the
        variable ``REMANAGER_CLIENT_PRIVATE_KEY``, else the key that all stock clients share.
    request_fail_exceptions : bool
        Raise ``RequestFailedError`` when the manager refuses a request, instead of returning the reply.
    status_expiration_period : float
        Time (s) for which the status is kept, unless this client has changed something meanwhile.
    status_polling_period : float
        Longest time (s) between two looks at the manager while waiting.
    loop : asyncio.AbstractEventLoop, optional
        Running loop in which the client is going to be used, when it is made outside of one.
    """

    def __init__(
        self,
        *,
        zmq_control_addr: str | None = None,
        zmq_info_addr: str | None = None,
        zmq_encoding: str | None = None,
        timeout_recv: float = 2.0,
        timeout_send: float = 0.5,
        console_monitor_poll_timeout: float = 1.0,
        console_monitor_max_msgs: int = 10000,
        console_monitor_max_lines: int = 1000,
        system_info_monitor_poll_timeout: float = 1.0,
        system_info_monitor_max_msgs: int = 10000,
        zmq_public_key: str | None = None,
        zmq_client_private_key: str | None = None,
        request_fail_exceptions: bool = True,
        status_expiration_period: float = 0.5,
        status_polling_period: float = 1.0,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        check_loop(loop)
        environ = os.environ
        transport = ZMQTransport(
            control_addr=zmq_control_addr
            or environ.get("QSERVER_ZMQ_CONTROL_ADDRESS")
            or DEFAULT_CONTROL_ADDR,
            info_addr=zmq_info_addr or environ.get("QSERVER_ZMQ_INFO_ADDRESS") or DEFAULT_INFO_ADDR,
            encoding=zmq_encoding or "json",
            timeout=timeout_recv,
            public_key=zmq_public_key or environ.get("QSERVER_ZMQ_PUBLIC_KEY"),
            private_key=zmq_client_private_key or environ.get("REMANAGER_CLIENT_PRIVATE_KEY"),
        )
        super().__init__(
            transport,
            console_monitor=ConsoleMonitor(
                transport.info,
                poll_timeout=console_monitor_poll_timeout,
                max_msgs=console_monitor_max_msgs,
                max_lines=console_monitor_max_lines,
            ),
            system_info_monitor=SystemInfoMonitor(
                transport.info,
                poll_timeout=system_info_monitor_poll_timeout,
                max_msgs=system_info_monitor_max_msgs,
            ),
            request_fail_exceptions=request_fail_exceptions,
            status_expiration_period=status_expiration_period,
            status_polling_period=status_polling_period,
        )


__all__ = ["REManagerAPI"]
