"""A file descriptor that wakes a thread out of its poll."""

from __future__ import annotations

import contextlib
import os


class WakeUp:
    """Any thread calls :meth:`set`; the polling thread sees ``fd`` readable and calls :meth:`clear`."""

    def __init__(self) -> None:
        self.fd, self._write_fd = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write_fd, False)

    def set(self) -> None:
        """Make the descriptor readable. Never blocks; safe in signal handlers and after :meth:`close`."""
        # A full pipe is readable already; a closed one has nobody to wake.
        with contextlib.suppress(OSError):
            os.write(self._write_fd, b"\0")

    def clear(self) -> None:
        """Make the descriptor unreadable until the next :meth:`set`."""
        with contextlib.suppress(BlockingIOError):
            while len(os.read(self.fd, 4096)) == 4096:
                pass

    def close(self) -> None:
        """Close both ends."""
        fds, self.fd, self._write_fd = (self.fd, self._write_fd), -1, -1
        for fd in fds:
            if fd >= 0:
                os.close(fd)
