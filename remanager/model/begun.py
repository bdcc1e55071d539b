"""Marks of the executions that a worker has begun: in a file that is still there when the worker is not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

MARK_BYTES = 8
BOOT_BYTES = 16
SLOTS = 1024
"""Marks that are kept, the newest. More than twice as many as a worker may hold tasks."""

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
    marks : frozenset of bytes or None
        Marks of its last executions; None if they are not known.
    """

    marks: frozenset[bytes] | None

    @classmethod
    def read(cls, path: Path) -> Begun:
        """Read the file of a worker: the boot ID of the machine, then the marks in any order.

        What was written shortly before the machine went down may be missing, so that nothing is known then.
        """
        try:
            content = path.read_bytes()
        except OSError:
            return cls(None)
        if content[:BOOT_BYTES] != boot_id():
            return cls(None)
        places = range(BOOT_BYTES, len(content), MARK_BYTES)
        return cls(frozenset(content[place : place + MARK_BYTES] for place in places))

    def may_have(self, task_uid: str, lease_epoch: int) -> bool:
        """Tell whether the worker may have begun an execution."""
        return self.marks is None or mark_of(task_uid, lease_epoch) in self.marks
