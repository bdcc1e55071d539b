"""A file descriptor that wakes a thread out of its poll."""

from __future__ import annotations

import contextlib
import os


class WakeUp:
    """Any thread calls :meth:`set`; the polling thread sees ``fd`` readable and calls :meth:`clear`."""

    def __init__(self) -> None:
        self._is_set = False
        self.fd, self._write_fd = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write_fd, False)

    def set(self) -> None:
        """Make the descriptor readable. Never blocks; does nothing after :meth:`close`."""
        if self._is_set:
            return
        self._is_set = True
        with contextlib.suppress(OSError):
            os.write(self._write_fd, b"\0")

    def clear(self) -> None:
        """Make the descriptor unreadable; look for work after this, not before."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)
        # In this order: what was there before the flag falls needs no wake-up, the caller looks for it now.
        self._is_set = False

    def close(self) -> None:
        """Close both ends."""
        fds, self.fd, self._write_fd = (self.fd, self._write_fd), -1, -1
        for fd in fds:
            if fd >= 0:
                os.close(fd)
