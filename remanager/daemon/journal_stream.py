"""Whether a stream of this process goes to the journal of systemd, and lines for it."""

from __future__ import annotations

import os
import sys

WARNING = 4
NOTICE = 5
ERROR = 3


def is_journal(fd: int) -> bool:
    """Tell whether a file descriptor is the journal's stream, as ``JOURNAL_STREAM`` says."""
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def say(text: str, priority: int = ERROR) -> None:
    """Write a text to standard error; in the journal it has a priority."""
    try:
        if is_journal(2):
            text = "\n".join(f"<{priority}>{line}" for line in text.splitlines())
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return  # the terminal is gone; nobody can be told
