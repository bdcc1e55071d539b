"""The file with the settings of a worker, by which a manager knows it again."""

from __future__ import annotations

import fcntl
import os


def hold_settings(path: str) -> str:
    """Read the settings of this process, and keep their file locked until it ends.

    A manager takes over the worker that holds the file in its own runtime directory. Whoever has a copy of
    the file, and of what is known of the worker, has no lock on it.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    str
        Its content.

    Raises
    ------
    OSError
        It cannot be read or locked.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)  # never closed: the lock goes with the process
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with open(descriptor, encoding="utf-8", closefd=False) as file:
        return file.read()
