"""A Unix socket whose connections carry frames, served in the running loop.

The transports of asyncio are not used: when a peer has gone, the next write drops what it had sent before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Final

from remanager.daemon.sockets import AddressError, answers
from remanager.model.frames import MAX_FRAME_BYTES, RECEIVE_BYTES, FrameReader, FrameTooLarge, frame

logger = logging.getLogger(__name__)

_BACKLOG: Final = 1024
_MAX_FRAMES: Final = 100
_MAX_TURN_S: Final = 0.005
_ACCEPT_RETRY_S: Final = 1.0
_CREDENTIALS: Final = struct.Struct("3i")  # process, user, group
_REMEDY = "Is another manager using this state directory?"

MAX_WAITING_BYTES = 64 << 20
STALLED_S = 5.0
"""When more than this waits for a peer that has read nothing for so long, its connection is closed."""


class Disconnected(ConnectionError):
    """The peer is gone, or it does not read."""


class FrameConnection:
    """A connection of a peer: what it sends goes to the server's callback, frame by frame.

    Attributes
    ----------
    name : str
        For the owner of the server.
    """

    __slots__ = (
        "_backlog",
        "_closed",
        "_fd",
        "_loop",
        "_reader",
        "_server",
        "_socket",
        "_taken",
        "_waiting",
        "name",
    )

    def __init__(self, server: FrameServer, connection: socket.socket, max_bytes: int) -> None:
        self.name = ""
        self._server = server
        self._socket = connection
        self._fd = connection.fileno()
        self._reader = FrameReader(max_bytes)
        self._waiting = bytearray()
        self._taken = 0.0  # when the peer's buffer took something last, while something waits
        self._backlog: asyncio.Handle | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._receive)

    def allow(self, max_bytes: int) -> None:
        """Set how large the frames may be that follow, bytes."""
        self._reader.max_bytes = max_bytes

    def send(self, content: bytes) -> None:
        """Send a frame: at once, as far as the peer's buffer takes it.

        Raises
        ------
        Disconnected
            The peer is gone or does not read.
        """
        if self._waiting:
            if len(self._waiting) > MAX_WAITING_BYTES and self._loop.time() - self._taken > STALLED_S:
                logger.warning("A worker does not read what it is sent; its connection is closed")
                self.close()
                raise Disconnected
            self._waiting += frame(content)
            return
        data = frame(content)
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            # It stays open for reading: what the peer has sent before it went is still to come.
            raise Disconnected from exc
        if sent < len(data):
            self._waiting += memoryview(data)[sent:]
            self._taken = self._loop.time()
            self._loop.add_writer(self._fd, self._send_waiting)

    def _send_waiting(self) -> None:
        try:
            with memoryview(self._waiting) as view:
                sent = self._socket.send(view)
        except BlockingIOError:
            return
        except OSError:
            sent = len(self._waiting)
        self._taken = self._loop.time()
        del self._waiting[:sent]
        if not self._waiting:
            self._loop.remove_writer(self._fd)
            self._server.written.set()

    @property
    def is_written(self) -> bool:
        """Whether the system has taken all that was sent."""
        return not self._waiting

    def _receive(self) -> None:
        if self._backlog is not None:
            return  # what has been read comes first
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # it went without reading all
        if data:
            self._reader.feed(data)
            self._handle()
        else:
            self.close()

    def _handle(self) -> None:
        """Hand frames over: not so many that others would have to wait."""
        self._backlog = None
        server, reader = self._server, self._reader
        end = time.monotonic() + server.turn_s
        for _ in range(_MAX_FRAMES):
            try:
                content = reader.next()
            except FrameTooLarge as exc:
                server.on_refused(self, exc)
                self.close()
                return
            if content is None:
                return
            try:
                server.on_frame(self, content)
            except Exception:
                logger.exception("A message could not be handled")
            if self._closed:
                return
            if time.monotonic() > end:
                break
        self._backlog = self._loop.call_soon(self._handle)

    def stop_reading(self) -> None:
        """Hand no more frames over."""
        self._loop.remove_reader(self._fd)
        if self._backlog is not None:
            self._backlog.cancel()

    def close(self) -> None:
        """Close the connection; what was not handled or written is dropped."""
        if self._closed:
            return
        self._closed = True
        self.stop_reading()
        self._loop.remove_writer(self._fd)
        self._socket.close()
        self._waiting.clear()
        self._server.forget(self)


class FrameServer:
    """Listens on a Unix socket.

    Parameters
    ----------
    path : str
        Of the socket. A file that is left there from a process that is gone is replaced.
    on_frame : callable
        Called with the connection and the content of each frame. What it raises is logged.
    on_refused : callable
        Called with a connection and the error when it sent a frame that is too large; it is closed then.
    on_close : callable
        Called with each connection that was closed.
    max_bytes : int
        Largest first frame of a connection, bytes, and of those behind it unless it allows others.
    """

    def __init__(
        self,
        path: str,
        on_frame: Callable[[FrameConnection, bytearray], None],
        on_refused: Callable[[FrameConnection, FrameTooLarge], None],
        on_close: Callable[[FrameConnection], None] = lambda _connection: None,
        max_bytes: int = MAX_FRAME_BYTES,
    ) -> None:
        self.on_frame = on_frame
        self.on_refused = on_refused
        self.written = asyncio.Event()
        self.turn_s = _MAX_TURN_S
        self._on_close = on_close
        self._path = path
        self._max_bytes = max_bytes
        self._connections: set[FrameConnection] = set()
        self._socket: socket.socket | None = None
        self._retry: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Listen, and serve in the running loop.

        Raises
        ------
        AddressError
            The path can not be used, or a process listens there.
        """
        if answers(self._path):
            raise AddressError(f"The worker address {self._path} is in use by another process. {_REMEDY}")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.setblocking(False)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
            listener.bind(self._path)
            listener.listen(_BACKLOG)
        except OSError as exc:
            listener.close()
            raise AddressError(
                f"The worker address {self._path} can not be used: {exc.strerror or exc}. {_REMEDY}"
            ) from exc
        self._socket = listener
        self._listen()

    def _listen(self) -> None:
        assert self._socket is not None
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._accept, self._socket)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as exc:
            logger.error("A worker's connection can not be taken: %s", exc)
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener.fileno())  # it would be called again at once
            self._retry = loop.call_later(_ACCEPT_RETRY_S, self._listen)
            return
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(credentials)
        if uid != os.geteuid():
            logger.warning("A connection of another user (process %d, user %d) was refused", pid, uid)
            connection.close()
            return
        connection.setblocking(False)
        self._connections.add(FrameConnection(self, connection, self._max_bytes))
        self._share_turns()

    def _share_turns(self) -> None:
        self.turn_s = _MAX_TURN_S / max(1, len(self._connections))

    def forget(self, connection: FrameConnection) -> None:
        """Take note that a connection was closed."""
        self._connections.discard(connection)
        self._share_turns()
        self.written.set()
        self._on_close(connection)

    def stop(self) -> None:
        """Take no more connections and hand no more frames over."""
        if self._socket is None:
            return
        if self._retry is not None:
            self._retry.cancel()
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        for connection in self._connections:
            connection.stop_reading()

    async def close(self, linger_s: float) -> None:
        """Stop, and close all connections; what was sent may take ``linger_s`` (s) to leave."""
        self.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(linger_s):
                while not all(connection.is_written for connection in self._connections):
                    self.written.clear()
                    await self.written.wait()
        for connection in list(self._connections):
            connection.close()
