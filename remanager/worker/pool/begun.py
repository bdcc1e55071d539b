"""A note of what the process has begun, which is still there when the process is not."""

from __future__ import annotations

import mmap
import os

from remanager.model.begun import BOOT_BYTES, MARK_BYTES, SIZE, SLOTS, TIME, TIMES_AT, boot_id, mark_of


class BegunNote:
    """The marks of the last executions that were begun, in the file that :mod:`remanager.model.begun` reads.

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
        self._next = 0
        if not path:
            return
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, SIZE)
            self._memory = mmap.mmap(fd, SIZE)
        finally:
            os.close(fd)
        self._memory[:BOOT_BYTES] = boot_id()

    def put(self, task_uid: str, lease_epoch: int, time: float) -> None:
        """Note that an execution begins at ``time`` (epoch seconds)."""
        if self._memory is not None:
            TIME.pack_into(
                self._memory, TIMES_AT + self._next * TIME.size, time
            )  # first: the mark stands for it
            place = BOOT_BYTES + self._next * MARK_BYTES
            self._memory[place : place + MARK_BYTES] = mark_of(task_uid, lease_epoch)
            self._next = (self._next + 1) % SLOTS
