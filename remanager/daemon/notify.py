"""Telling the service manager how the daemon is, by the protocol of ``sd_notify(3)``.

The protocol is a datagram of lines ``NAME=value`` to the socket that ``NOTIFY_SOCKET`` names. Only the
supervisor speaks it: it is the main process of the service.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

SEND_TIMEOUT_S = 1.0
_PINGS_PER_PERIOD = 4
_MAX_STATUS_CHARS = 300


class Notifier:
    """Sends notifications; does nothing where nobody wants them.

    Parameters
    ----------
    address : str
        Path of the socket, or ``@name`` in the abstract namespace; empty: there is none.
    watchdog_s : float
        The service manager ends a service from which it does not hear for so long (s); 0: it does not.
    """

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        # An abstract address is written with "@" in place of its leading zero byte.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._ping_s = watchdog_s / _PINGS_PER_PERIOD
        self._next_ping = 0.0
        self._status = ""
        self._socket: socket.socket | None = None
        if address.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.settimeout(SEND_TIMEOUT_S)

    @classmethod
    def taken_from(cls, environ: MutableMapping[str, str]) -> Notifier:
        """Return the notifier that the environment describes, and remove it there.

        Child processes must not speak for the service.
        """
        address = environ.pop("NOTIFY_SOCKET", "")
        period = environ.pop("WATCHDOG_USEC", "")
        pid = environ.pop("WATCHDOG_PID", "")
        watched = period.isdigit() and pid in ("", str(os.getpid()))
        return cls(address, int(period) / 1e6 if watched else 0.0)

    def ready(self) -> None:
        """Tell that requests are answered, after a start or a reload."""
        self._send("READY=1", f"MAINPID={os.getpid()}")

    def reloading(self) -> None:
        """Tell that a reload begins; :meth:`ready` ends it."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now_us}")

    def stopping(self) -> None:
        """Tell that the end has begun."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Show a line of text as the state of the service; the same again is not sent."""
        line = " ".join(text.split())[:_MAX_STATUS_CHARS]
        if line != self._status and self._send(f"STATUS={line}"):
            self._status = line

    def alive(self) -> None:
        """Feed the watchdog, if there is one and it is time."""
        now = time.monotonic()
        if self._ping_s and now >= self._next_ping:
            self._next_ping = now + self._ping_s
            self._send("WATCHDOG=1")

    def close(self) -> None:
        """Send nothing any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> bool:
        """Send a notification; False if nobody takes it, without which the daemon works, too."""
        if self._socket is None:
            return False
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            return False
        return True
