"""The supervisor's end of the connection to its manager: lines of JSON over a socket pair."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable

Message = dict[str, object]

_MAX_LINE_BYTES = 8 << 20


class Channel:
    """Lines of JSON to and from the manager; reading and writing never block.

    Parameters
    ----------
    connection : socket.socket
        The supervisor's end.
    log : callable
        Told of lines that are no message.
    """

    def __init__(self, connection: socket.socket, log: Callable[[str], None]) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.waits_to_send = False
        self._log = log
        self._received = b""
        self._to_send = b""

    def send(self, message: Message) -> None:
        """Queue a message and send what is possible."""
        self._to_send += json.dumps(message).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Send what is queued as far as the manager takes it."""
        try:
            while self._to_send:
                self._to_send = self._to_send[self.connection.send(self._to_send) :]
        except BlockingIOError:
            pass
        except OSError:
            self._to_send = b""  # the manager is gone; its successor learns everything from its hello
        self.waits_to_send = bool(self._to_send)

    def receive(self) -> list[Message] | None:
        """Return the messages that have arrived; None when there will be no more."""
        try:
            data = self.connection.recv(1 << 16)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data or len(self._received) > _MAX_LINE_BYTES:
            return None
        *lines, self._received = (self._received + data).split(b"\n")
        messages: list[Message] = []
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                message = None
            if isinstance(message, dict):
                messages.append(message)
            else:
                self._log(f"not a message: {line[:100]!r}")
        return messages
