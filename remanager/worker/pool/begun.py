"""A note of what the process has begun, which is still there when the process is not."""

from __future__ import annotations

import mmap
import os
import struct

_SERIAL = struct.Struct("<Q")


class BegunNote:
    """The serial number of the last task that was begun, in a file of 8 bytes (little-endian).

    The file is mapped into memory: a note costs nothing, and survives any death of the process (of the
    process alone: when the machine goes down, all its workers are gone).

    Parameters
    ----------
    path : str
        The file; it is made. Empty: nothing is noted.

    Raises
    ------
    OSError
        The file cannot be made.
    """

    def __init__(self, path: str) -> None:
        self._memory: mmap.mmap | None = None
        if not path:
            return
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, _SERIAL.size)
            self._memory = mmap.mmap(fd, _SERIAL.size)
        finally:
            os.close(fd)

    def put(self, serial: int) -> None:
        """Note that the task with this number begins."""
        if self._memory is not None:
            _SERIAL.pack_into(self._memory, 0, serial)
