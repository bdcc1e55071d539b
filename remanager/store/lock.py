"""The lock that keeps a second manager away from a state directory."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from datetime import datetime
from pathlib import Path

from remanager.store.errors import StateDirUnusable, StoreInUse

LOCK_NAME = "remanager.lock"


class InstanceLock:
    """Exclusive lock on a state directory, held until :meth:`release` or the end of the process.

    The lock is the kernel's (``flock``): it goes with its process, however that ends. The text in the file
    only tells people who holds it. Child processes do not inherit it.

    Parameters
    ----------
    directory : Path
        The state directory; it must exist.

    Raises
    ------
    StoreInUse
        Another process holds the lock.
    StateDirUnusable
        The lock file cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / LOCK_NAME
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise StateDirUnusable(
                f"The state directory {str(directory)!r} is not writable: {exc.strerror or exc}. "
                f"Correct its permissions or choose another one with --state-dir."
            ) from exc
        try:
            self._acquire(directory)
        except BaseException:
            os.close(self._fd)
            raise

    def _acquire(self, directory: Path) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise StoreInUse(
                f"The state directory {str(directory)!r} is in use by {_holder(self._fd)}. Stop that manager "
                f"first or choose another directory with --state-dir."
            ) from exc
        except OSError as exc:
            raise StateDirUnusable(
                f"The state directory {str(directory)!r} cannot be locked: {exc.strerror or exc}. "
                f"Choose a directory on a local disk with --state-dir."
            ) from exc
        self._holder: dict[str, object] = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "time_started": time.time(),
        }
        self._write(json.dumps(self._holder).encode())

    def tell(self, **facts: str) -> None:
        """Add to what the file tells people of the holder."""
        self._holder |= facts
        self._write(json.dumps(self._holder).encode())

    def _write(self, text: bytes) -> None:
        # The text only informs: a full disk is for the database to report.
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, text, 0)

    def release(self) -> None:
        """Give the lock up. The file stays, empty: removing it would race with the next holder."""
        if self._fd >= 0:
            self._write(b"")
            os.close(self._fd)
            self._fd = -1


def _holder(fd: int) -> str:
    """Describe the holder of the lock in words."""
    try:
        holder = json.loads(os.pread(fd, 4096, 0))
        started = datetime.fromtimestamp(holder["time_started"]).astimezone().isoformat(timespec="seconds")
        return f"another manager (process {holder['pid']} on {holder['host']}, started {started})"
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return "another manager"
