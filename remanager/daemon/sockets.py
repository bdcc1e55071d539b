"""ZeroMQ sockets in an asyncio loop, without a future per message; addresses; keys."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket as stdlib_socket
import time
from collections.abc import Callable
from typing import Any, Final

import zmq

from remanager.model.errors import RemanagerError

logger = logging.getLogger(__name__)

ZmqSocket = zmq.Socket[bytes]
ZmqContext = zmq.Context[ZmqSocket]

# As plain numbers: each use or combination of pyzmq's enums costs about a microsecond.
NOBLOCK: Final = int(zmq.NOBLOCK)
NOBLOCK_SNDMORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)
_EVENTS: Final = int(zmq.EVENTS)
_POLLIN: Final = int(zmq.POLLIN)
_RCVMORE: Final = int(zmq.RCVMORE)

_CURVE_KEY_CHARS = 40
_MAX_PORT = 65535


class AddressError(RemanagerError):
    """A socket can not be bound to its address."""


def check_curve_key(key: str) -> bytes:
    """Return a CURVE key in the form that sockets take.

    Raises
    ------
    RemanagerError
        The key is not 32 bytes written as 40 characters of Z85.
    """
    try:
        encoded = key.encode("ascii")
        if len(encoded) != _CURVE_KEY_CHARS:
            raise RemanagerError(_BAD_KEY)
        zmq.curve_public(encoded)
    except (ValueError, zmq.ZMQError) as exc:
        raise RemanagerError(_BAD_KEY) from exc
    return encoded


_BAD_KEY = (
    "The private key of the control socket is invalid: it must be a z85-encoded string of 40 characters. "
    "Make one with zmq.curve_keypair()."
)


def bind(socket: ZmqSocket, address: str, *, what: str, remedy: str) -> str:
    """Bind a socket, or say in clear words why that is not possible.

    Parameters
    ----------
    socket : zmq.Socket
        The socket.
    address : str
        ``tcp://...`` or ``ipc://...``; port ``*`` takes a free one.
    what : str
        Name of the socket in the error's text, for example ``control``.
    remedy : str
        What the reader of the error's text can do about a taken address.

    Returns
    -------
    str
        The address in effect, with its port number.

    Raises
    ------
    AddressError
        The address is malformed, not of this machine, or in use.
    """
    if "[" in address:
        socket.setsockopt(zmq.IPV6, 1)
    if address.startswith("tcp://") and not _has_valid_port(address):
        raise AddressError(
            f"The {what} address {address} can not be used: its port must be 1 to 65535. {remedy}"
        )
    # libzmq silently takes an ipc:// address away from its present owner.
    if address.startswith("ipc://") and answers(address.removeprefix("ipc://")):
        raise AddressError(f"The {what} address {address} is in use by another process. {remedy}")
    try:
        socket.bind(address)
    except zmq.ZMQError as exc:
        if exc.errno == errno.EADDRINUSE:
            text = f"The {what} address {address} is in use by another process. {remedy}"
        else:
            text = f"The {what} address {address} can not be used: {exc.strerror}. {remedy}"
        raise AddressError(text) from exc
    endpoint = socket.getsockopt(zmq.LAST_ENDPOINT)
    return endpoint.rstrip(b"\0").decode() if isinstance(endpoint, bytes) else address


def _has_valid_port(address: str) -> bool:
    # libzmq takes larger numbers modulo 65536.
    port = address.rpartition(":")[2]
    return port == "*" or (port.isascii() and port.isdigit() and int(port) <= _MAX_PORT)


def answers(path: str) -> bool:
    """Tell whether a process listens on a Unix socket."""
    with stdlib_socket.socket(stdlib_socket.AF_UNIX, stdlib_socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:
            return True  # its backlog is full
        except OSError:
            return False
        return True


def harden(socket: ZmqSocket) -> None:
    """Set what lets a TCP listener live with clients that vanish or never finish their handshake."""
    socket.setsockopt(zmq.BACKLOG, 1024)
    socket.setsockopt(zmq.HANDSHAKE_IVL, 10_000)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 60)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 10)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 6)


def raise_descriptor_limit() -> int:
    """Allow this process as many descriptors, one per client, as its hard limit permits; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class SocketReader:
    """Hands each message that arrives on a socket to a callback, in the running loop.

    libzmq signals its file descriptor once and not again until it was asked for events, so each wake-up reads
    until nothing is left, and whoever sends on the socket calls :meth:`kick` afterwards. A wake-up does a
    bounded amount of work and then lets the other tasks of the loop run.

    Parameters
    ----------
    socket : zmq.Socket
        A readable socket.
    on_message : callable
        Called with the list of frames. What it raises is logged and does not stop the reading.
    max_messages : int
        Messages handled in one go.
    max_time_s : float
        Time (s) after which no further message is handled in the same go.
    """

    def __init__(
        self,
        socket: ZmqSocket,
        on_message: Callable[[list[bytes]], None],
        *,
        max_messages: int = 100,
        max_time_s: float = 0.005,
    ) -> None:
        self._socket = socket
        self._on_message = on_message
        self._max_messages = max_messages
        self._max_time_s = max_time_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fd = -1
        self._scheduled: asyncio.Handle | None = None
        self._draining = False

    def start(self) -> None:
        """Begin reading in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._fd = self._socket.getsockopt(zmq.FD)  # type: ignore[assignment]
        self._loop.add_reader(self._fd, self._drain)
        self._schedule()

    def stop(self) -> None:
        """Stop reading; call this before the socket is closed."""
        if self._loop is None:
            return
        self._loop.remove_reader(self._fd)
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        self._loop = None

    def kick(self) -> None:
        """Look for messages whose signal a send may have swallowed."""
        if self._draining or self._scheduled is not None or self._loop is None:
            return
        get: Any = self._socket.getsockopt
        if get(_EVENTS) & _POLLIN:
            self._schedule()

    def _schedule(self) -> None:
        if self._loop is not None and self._scheduled is None:
            self._scheduled = self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        self._draining = True
        try:
            emptied = self._drain_some()
        finally:
            self._draining = False
        if not emptied:
            self._schedule()

    def _receive_first(self) -> bytes:
        return self._socket.recv(NOBLOCK)

    def _drain_some(self) -> bool:
        """Handle messages; False if there may be more."""
        receive = self._socket.recv
        receive_first = self._receive_first
        get: Any = self._socket.getsockopt
        deadline = time.monotonic() + self._max_time_s
        for handled in range(self._max_messages):
            # A wake-up mostly brings a message; asking for another one costs less than the exception.
            if handled and not get(_EVENTS) & _POLLIN:
                return True
            try:
                frames = [receive_first()]
            except zmq.Again:
                return True
            while get(_RCVMORE):
                frames.append(receive())
            try:
                self._on_message(frames)
            except Exception:
                logger.exception("A message could not be handled")
            if self._loop is None:
                return True  # stopped by the callback
            if time.monotonic() > deadline:
                break
        return False
