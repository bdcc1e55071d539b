"""A connection to a socket of the manager, which is made again when it is lost."""

from __future__ import annotations

import math
import socket
import time

from remanager.model.frames import RECEIVE_BYTES, FrameReader, FrameTooLarge, frame

RECONNECT_S = 0.02
RECONNECT_MAX_S = 0.2


class Lost(Exception):
    """The connection is lost."""


class ManagerStream:
    """Sends and receives frames; nothing blocks.

    The owner serialises the calls, except that one thread may receive while another one sends.

    Parameters
    ----------
    address : str
        Path of the manager's socket.
    greeting : bytes, optional
        First frame of each connection.
    """

    def __init__(self, address: str, greeting: bytes | None = None) -> None:
        self._address = address
        self._greeting = b"" if greeting is None else frame(greeting)
        self._socket: socket.socket | None = None
        self._reader = FrameReader()
        self._unsent = memoryview(b"")
        self._retry_s = RECONNECT_S
        self._due = 0.0

    @property
    def fd(self) -> int:
        """The descriptor to wait for; -1 without a connection."""
        return -1 if self._socket is None else self._socket.fileno()

    @property
    def connect_in_s(self) -> float:
        """After how long (s) to connect; infinite while there is a connection."""
        return math.inf if self._socket is not None else max(0.0, self._due - time.monotonic())

    @property
    def is_blocked(self) -> bool:
        """Whether something waits until the manager reads."""
        return bool(self._unsent)

    def connect(self) -> bool:
        """Try to connect if it is time to; return True if there is a new connection."""
        if self.connect_in_s > 0:
            return False
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            connection.connect(self._address)
        except OSError:
            connection.close()
            self._due = time.monotonic() + self._retry_s
            self._retry_s = min(2 * self._retry_s, RECONNECT_MAX_S)
            return False
        self._socket = connection
        self._unsent = memoryview(self._greeting)
        self._retry_s = RECONNECT_S
        return True

    def close(self) -> None:
        """Close the connection; what was not sent is dropped."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._reader = FrameReader()
        self._unsent = memoryview(b"")
        self._due = time.monotonic() + self._retry_s

    def send(self, *contents: bytes) -> bool:
        """Send frames; return False if some of it has to wait. Call this only if nothing waits already.

        Raises
        ------
        Lost
            The manager is gone.
        """
        self._unsent = memoryview(b"".join(map(frame, contents)))
        return self.send_rest()

    def send_rest(self) -> bool:
        """Send what waits; return False if some of it still has to.

        Raises
        ------
        Lost
            The manager is gone.
        """
        if self._unsent:
            assert self._socket is not None
            try:
                # User code may have SIGPIPE end the process.
                sent = self._socket.send(self._unsent, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return False
            except OSError as exc:
                raise Lost from exc
            self._unsent = self._unsent[sent:]
        return not self._unsent

    def receive(self) -> list[bytearray]:
        """Return the frames that have arrived, if any.

        Raises
        ------
        Lost
            The manager is gone and there will be no more, or it sent what is no frame.
        """
        assert self._socket is not None
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return []
        except OSError as exc:
            raise Lost from exc
        if not data:
            raise Lost
        self._reader.feed(data)
        frames = []
        try:
            while (content := self._reader.next()) is not None:
                frames.append(content)
        except FrameTooLarge as exc:
            raise Lost from exc
        return frames
