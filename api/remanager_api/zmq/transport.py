"""Requests over ZeroMQ: one socket for each request in flight."""

# ruff: noqa: ASYNC109 - each request has a time-out of its own

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any, Literal

import zmq

from remanager_api.errors import RequestFailedError, RequestParameterError, RequestTimeoutError
from remanager_api.transport import InfoMessage
from remanager_api.values import unsendable

STOCK_PRIVATE_KEY = "=@e7WwVuz{*eGcnv{AL@x2hmX!z^)wP3vKsQ{S7s"
"""Private key that all clients of bluesky-queueserver have in common: it proves nothing."""

MAX_REQUESTS = 200
"""Requests of a client that are under way at the same time; further ones wait for their turn. Each has a
socket, and neither ZeroMQ nor the system has more than about a thousand for a process."""

HEARTBEAT_MS = 5000
"""How often a subscription asks whether the manager is still there, and how long it waits for the answer."""

logger = logging.getLogger(__name__)

_contexts: dict[int, zmq.Context[Any]] = {}
"""Context of each process: a forked child must not touch, nor collect, what belongs to its parent."""

_abandoned: list[object] = []
"""Sockets of the parent process, which a child must keep."""


def _context() -> zmq.Context[Any]:
    pid = os.getpid()
    if pid not in _contexts or _contexts[pid].closed:
        _contexts[pid] = zmq.Context()
    return _contexts[pid]


class _JSON:
    @staticmethod
    def encode(message: object) -> bytes:
        return json.dumps(message).encode()

    @staticmethod
    def decode(frame: bytes) -> Any:
        return json.loads(frame)


class _Msgpack:
    """Imports the library when it is used first: few clients need it."""

    @staticmethod
    def encode(message: object) -> bytes:
        import msgpack

        packed: bytes = msgpack.packb(message)
        return packed

    @staticmethod
    def decode(frame: bytes) -> Any:
        import msgpack

        try:
            return msgpack.unpackb(frame, strict_map_key=False)
        except msgpack.UnpackException as exc:
            raise ValueError(str(exc) or type(exc).__name__) from exc


def _check_key(key: str, what: str) -> bytes:
    """Return a key in the form that sockets take."""
    try:
        encoded = key.encode("ascii")
        zmq.curve_public(encoded)
    except (ValueError, zmq.ZMQError):
        encoded = b""
    if len(encoded) != 40:
        raise RequestParameterError(f"The {what} must be a z85-encoded string of 40 characters")
    return encoded


ENCODINGS: dict[str, type[_JSON | _Msgpack]] = {"json": _JSON, "msgpack": _Msgpack}


class _Channel:
    """A socket that the running event loop watches.

    The descriptor of a ZeroMQ socket tells only of changes, and each use of the socket may swallow one. So
    the socket itself is asked what it has each time, after sending and when the descriptor stirs.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.loop = asyncio.get_running_loop()
        self._socket = socket
        self._descriptor: int = socket.FD
        self._waiting: asyncio.Future[None] | None = None
        self.loop.add_reader(self._descriptor, self._look)

    def _has_message(self) -> bool:
        return bool(int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)

    def _look(self) -> None:
        if self._has_message() and self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def send(self, frame: bytes) -> None:
        """Hand a message to the socket, which has room for one."""
        self._socket.send(frame, zmq.NOBLOCK)

    async def receive(self, timeout: float | None = None) -> list[bytes]:
        """Return the frames of the next message; raises ``TimeoutError``."""
        if not self._has_message():
            self._waiting = waiting = self.loop.create_future()
            timer = None if timeout is None else self.loop.call_later(timeout, _expire, waiting)
            try:
                await waiting
            finally:
                if timer is not None:
                    timer.cancel()
        return self._socket.recv_multipart(zmq.NOBLOCK)

    def close(self) -> None:
        """Close the socket, in any thread; who waits for a message gets an error."""
        try:
            self.loop.call_soon_threadsafe(self._close)
        except RuntimeError:  # the loop is closed
            self._socket.close(linger=0)

    def _close(self) -> None:
        if not self._socket.closed:
            self.loop.remove_reader(self._descriptor)
            self._socket.close(linger=0)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(RuntimeError("the client is closed"))


def _expire(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_exception(TimeoutError())


class ZMQTransport:
    """Sends requests and receives replies over ZeroMQ.

    A socket whose request failed in any way is thrown away, with what it may still hold, so that a late reply
    never answers another request, and a request that timed out is not delivered later.

    Parameters
    ----------
    control_addr, info_addr : str
        Addresses of the manager's sockets.
    encoding : str
        ``json`` or ``msgpack``.
    timeout : float
        Time (s) within which a reply must come unless a request says otherwise.
    public_key : str, optional
        The manager's public key (40 characters, z85); turns on encryption of requests.
    private_key : str, optional
        The client's own private key, by which the manager knows who it is; without one it is a stock client.
    """

    protocol: Literal["ZMQ"] = "ZMQ"
    sends_user = True

    def __init__(
        self,
        *,
        control_addr: str,
        info_addr: str,
        encoding: str,
        timeout: float,
        public_key: str | None,
        private_key: str | None = None,
    ) -> None:
        self._channels: set[_Channel] = set()
        self._idle: list[_Channel] = []
        self._pid = os.getpid()
        encoding = encoding.lower()
        if encoding not in ENCODINGS:
            raise RequestParameterError(f"Unknown encoding {encoding!r}: expected one of {tuple(ENCODINGS)}")
        self.timeout = timeout
        self.address: str | None = control_addr
        self._control_addr = control_addr
        self._info_addr = info_addr
        self._encoding = ENCODINGS[encoding]
        self._server_key = _check_key(public_key, "public key of the manager") if public_key else None
        self._secret_key = _check_key(private_key or STOCK_PRIVATE_KEY, "private key of the client")
        self._turns: asyncio.Semaphore | None = None
        self._turns_loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def __del__(self) -> None:
        """Close the sockets of a client that nobody has closed: the loop would keep them."""
        if not sys.is_finalizing():
            self._leave_channels()

    def _leave_channels(self) -> None:
        if self._pid == os.getpid():
            for channel in tuple(self._channels):
                self._discard(channel)
        else:
            _abandoned.extend(self._channels)

    def _settle(self) -> asyncio.AbstractEventLoop:
        """Return the running loop; leave behind what belongs to another one, or to the parent process."""
        loop = asyncio.get_running_loop()
        if self._pid != os.getpid():
            _abandoned.extend(self._channels)
            self._channels, self._idle, self._pid = set(), [], os.getpid()
        for channel in [c for c in self._idle if c.loop is not loop]:
            self._discard(channel)
        if self._closed:
            raise RuntimeError("the client is closed")
        return loop

    def _discard(self, channel: _Channel) -> None:
        self._channels.discard(channel)
        if channel in self._idle:
            self._idle.remove(channel)
        channel.close()

    def _open(self, kind: int) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = _context().socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        return socket

    def _turn(self) -> asyncio.Semaphore:
        """Return what a request holds while it is under way."""
        loop = asyncio.get_running_loop()
        if self._turns is None or self._turns_loop is not loop:
            self._turns, self._turns_loop = asyncio.Semaphore(MAX_REQUESTS), loop
        return self._turns

    def _connected(self) -> _Channel:
        """Return a channel for one request."""
        self._settle()
        if self._idle:
            return self._idle.pop()
        socket = self._open(zmq.REQ)
        if self._server_key:
            socket.setsockopt(zmq.CURVE_SERVERKEY, self._server_key)
            socket.setsockopt(zmq.CURVE_PUBLICKEY, zmq.curve_public(self._secret_key))
            socket.setsockopt(zmq.CURVE_SECRETKEY, self._secret_key)
        return self._watch(socket, self._control_addr)

    def _watch(self, socket: zmq.Socket[bytes], address: str) -> _Channel:
        try:
            socket.connect(address)
        except zmq.ZMQError as exc:
            socket.close(linger=0)
            raise RequestParameterError(f"The address {address!r} cannot be used: {exc.strerror}") from exc
        channel = _Channel(socket)
        self._channels.add(channel)
        return channel

    async def request(self, method: str, params: Mapping[str, Any], timeout: float) -> Any:
        """Send a request and wait for its reply.

        Parameters
        ----------
        method : str
            Name of the method.
        params : Mapping
            Its parameters.
        timeout : float
            Time (s) within which the reply must come.

        Returns
        -------
        object
            The reply.

        Raises
        ------
        RequestParameterError
            A parameter cannot be encoded.
        RequestTimeoutError
            No reply came in time.
        RequestFailedError
            The reply cannot be decoded.
        """
        request = {"method": method, "params": dict(params)}
        try:
            frame = self._encoding.encode(request)
        except (TypeError, ValueError, OverflowError, RecursionError) as exc:
            raise unsendable(method, params, self._encoding.encode, exc) from exc
        async with self._turn():
            reply = await self._exchange(frame, request, timeout)
        try:
            return self._encoding.decode(reply)
        except ValueError as exc:
            raise RequestFailedError(request, f"the reply cannot be decoded: {exc}") from exc

    async def _exchange(self, frame: bytes, request: dict[str, Any], timeout: float) -> bytes:
        channel = self._connected()
        answered = False
        try:
            channel.send(frame)
            (reply,) = await channel.receive(timeout)
            answered = True
        except (TimeoutError, zmq.Again):
            for idle in tuple(self._idle):  # what has cut off one connection may have cut off all
                self._discard(idle)
            raise RequestTimeoutError(
                f"timeout occurred: no answer from {self._control_addr} in {timeout:g} s", request
            ) from None
        finally:
            if answered:
                self._idle.append(channel)
            else:
                self._discard(channel)
        return reply

    async def info(self, topics: Iterable[str]) -> AsyncGenerator[InfoMessage]:
        """Subscribe to topics of the info socket and yield their messages.

        Yields
        ------
        InfoMessage
        """
        self._settle()
        socket = self._open(zmq.SUB)
        # A connection that a firewall has dropped looks like a manager that has nothing to say.
        socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_MS)
        for topic in topics:
            socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        channel = self._watch(socket, self._info_addr)
        warned = False
        try:
            while True:
                frames = await channel.receive()
                try:
                    topic_frame, payload = frames
                    content = self._encoding.decode(payload)
                    message = InfoMessage(topic_frame.decode(), content["time"], content["msg"])
                except (ValueError, KeyError, TypeError) as exc:
                    if not warned:
                        logger.warning("A message of %s makes no sense: %r", self._info_addr, exc)
                    warned = True
                    continue
                yield message
        finally:
            self._discard(channel)

    async def close(self) -> None:
        """Close the sockets; requests in flight end with an error."""
        self._closed = True
        self._leave_channels()
