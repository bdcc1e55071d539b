"""Marks of the executions that a worker has begun: in a file that is still there when the worker is not."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MARK_BYTES = 8
BOOT_BYTES = 16
SLOTS = 1024
"""Executions that are kept, the newest. More than twice as many as a worker may hold tasks."""

TIMES_AT = BOOT_BYTES + SLOTS * MARK_BYTES
"""Where the times are, after the marks and in their order."""

TIME = struct.Struct("=d")
SIZE = TIMES_AT + SLOTS * TIME.size

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def mark_of(task_uid: str, lease_epoch: int) -> bytes:
    """Return the mark of an execution."""
    return hashlib.blake2b(f"{task_uid}:{lease_epoch}".encode(), digest_size=MARK_BYTES).digest()


def boot_id() -> bytes:
    """Return what tells this start of the machine from others; zeros if it is not known."""
    try:
        return bytes.fromhex(_BOOT_ID.read_text().strip().replace("-", ""))
    except OSError:
        return bytes(BOOT_BYTES)


@dataclass(frozen=True, slots=True)
class Begun:
    """What a worker has begun.

    Attributes
    ----------
    times : mapping of bytes to float, or None
        When its last executions began (epoch seconds), by their marks; 0 where the time is not known. None if
        nothing is known.
    """

    times: Mapping[bytes, float] | None

    @classmethod
    def read(cls, path: Path) -> Begun:
        """Read the file of a worker: the boot ID of the machine, marks in any order, and their times.

        What was written shortly before the machine went down may be missing, so that nothing is known then.
        A worker of an earlier version writes no times.
        """
        try:
            content = path.read_bytes()
        except OSError:
            return cls(None)
        if content[:BOOT_BYTES] != boot_id():
            return cls(None)
        places = range(BOOT_BYTES, min(len(content), TIMES_AT), MARK_BYTES)
        marks = [content[place : place + MARK_BYTES] for place in places]
        times = [t for (t,) in TIME.iter_unpack(content[TIMES_AT:])] if len(content) == SIZE else []
        return cls({**dict.fromkeys(marks, 0.0), **dict(zip(marks, times, strict=False))})

    def may_have(self, task_uid: str, lease_epoch: int) -> bool:
        """Tell whether the worker may have begun an execution."""
        return self.times is None or mark_of(task_uid, lease_epoch) in self.times

    def time_of(self, task_uid: str, lease_epoch: int) -> float | None:
        """Return when an execution began, epoch seconds; None if that is not known."""
        return (self.times or {}).get(mark_of(task_uid, lease_epoch)) or None
