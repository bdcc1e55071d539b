"""What the end of a worker process means, for the environment and the pool alike."""

from __future__ import annotations

import signal

DRAIN_S = 0.05
"""How long to wait, after a worker's exit was noticed, for what it sent just before."""


def describe_exit(returncode: int | None) -> str:
    """Say how a worker process ended.

    Parameters
    ----------
    returncode : int or None
        Exit code, negative for a signal, None if it is not known.
    """
    if returncode is None:
        return "The worker process has ended; how is not known"
    if returncode < 0:
        name = signal.Signals(-returncode).name if -returncode in set(signal.Signals) else "signal"
        hint = " (out of memory is a common reason)" if -returncode == signal.SIGKILL else ""
        return f"The worker process was killed by signal {-returncode} ({name}){hint}"
    return f"The worker process ended by itself with exit code {returncode}"
