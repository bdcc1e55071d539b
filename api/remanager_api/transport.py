"""Requests over ZeroMQ: one socket for each request in flight."""

# ruff: noqa: ASYNC109 - each request has a time-out of its own

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgpack
import zmq
import zmq.asyncio

from remanager_api.errors import RequestFailedError, RequestParameterError, RequestTimeoutError

TOPIC_CONSOLE = "QS_Console"
TOPIC_INFO = "QS_Info"
ENCODINGS = ("json", "msgpack")
STOCK_PRIVATE_KEY = "=@e7WwVuz{*eGcnv{AL@x2hmX!z^)wP3vKsQ{S7s"
"""Private key that all clients of bluesky-queueserver have in common: it proves nothing."""


@dataclass(frozen=True, slots=True)
class InfoMessage:
    """A message of the info socket.

    Attributes
    ----------
    topic : str
        ``QS_Console`` or ``QS_Info``.
    time : float
        When it was published (epoch seconds).
    msg : object
        Console output (str), or a dictionary such as ``{"status": {...}}``.
    """

    topic: str
    time: float
    msg: Any


def _encode(message: object, encoding: str) -> bytes:
    if encoding == "json":
        return json.dumps(message).encode()
    packed: bytes = msgpack.packb(message)
    return packed


def _decode(frame: bytes, encoding: str) -> Any:
    return json.loads(frame) if encoding == "json" else msgpack.unpackb(frame, strict_map_key=False)


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


class Transport:
    """Sends requests and receives replies; belongs to one event loop.

    A socket whose request failed in any way is thrown away, with what it may still hold, so that a late reply
    never answers another request, and a request that timed out is not delivered later.

    Parameters
    ----------
    control_addr, info_addr : str
        Addresses of the manager's sockets.
    encoding : str
        ``json`` or ``msgpack``.
    timeout_send : float
        Time (s) to hand a request to the socket.
    public_key : str, optional
        The manager's public key (40 characters, z85); turns on encryption of requests.
    private_key : str, optional
        The client's own private key, by which the manager knows who it is; without one it is a stock client.
    """

    def __init__(
        self,
        *,
        control_addr: str,
        info_addr: str,
        encoding: str,
        timeout_send: float,
        public_key: str | None,
        private_key: str | None = None,
    ) -> None:
        if encoding not in ENCODINGS:
            raise RequestParameterError(f"Unknown encoding {encoding!r}: expected one of {ENCODINGS}")
        self._control_addr = control_addr
        self._info_addr = info_addr
        self._encoding = encoding
        self._timeout_send = timeout_send
        self._server_key = _check_key(public_key, "public key of the manager") if public_key else None
        self._secret_key = _check_key(private_key or STOCK_PRIVATE_KEY, "private key of the client")
        self._context = zmq.asyncio.Context()
        self._idle: list[zmq.asyncio.Socket] = []
        self._closed = False

    def _open(self) -> zmq.asyncio.Socket:
        if self._closed:
            raise RuntimeError("the client is closed")
        socket = self._context.socket(zmq.REQ)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDTIMEO, int(self._timeout_send * 1000))
        if self._server_key:
            socket.setsockopt(zmq.CURVE_SERVERKEY, self._server_key)
            socket.setsockopt(zmq.CURVE_PUBLICKEY, zmq.curve_public(self._secret_key))
            socket.setsockopt(zmq.CURVE_SECRETKEY, self._secret_key)
        socket.connect(self._control_addr)
        return socket

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
        RequestTimeoutError
            No reply came in time.
        RequestFailedError
            The reply cannot be decoded.
        """
        request = {"method": method, "params": dict(params)}
        frame = _encode(request, self._encoding)
        socket = self._idle.pop() if self._idle else self._open()
        answered = False
        try:
            async with asyncio.timeout(timeout):
                await socket.send(frame)
                reply = await socket.recv()
            answered = True
        except (TimeoutError, zmq.Again):
            raise RequestTimeoutError(
                f"no answer from {self._control_addr} in {timeout:g} s", request
            ) from None
        finally:
            if answered and not self._closed:
                self._idle.append(socket)
            else:
                socket.close(linger=0)
        try:
            return _decode(reply, self._encoding)
        except (ValueError, msgpack.UnpackException) as exc:
            raise RequestFailedError(request, f"the reply cannot be decoded: {exc}") from exc

    async def info(self, topics: Iterable[str]) -> AsyncIterator[InfoMessage]:
        """Subscribe to topics of the info socket and yield their messages.

        Yields
        ------
        InfoMessage
        """
        socket = self._context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        try:
            for topic in topics:
                socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
            socket.connect(self._info_addr)
            while True:
                topic_frame, payload = await socket.recv_multipart()
                message = _decode(payload, self._encoding)
                yield InfoMessage(topic_frame.decode(), message["time"], message["msg"])
        finally:
            socket.close(linger=0)

    def close(self) -> None:
        """Close the sockets; requests in flight end with an error."""
        self._closed = True
        for socket in self._idle:
            socket.close(linger=0)
        self._idle.clear()
        self._context.destroy(linger=0)
