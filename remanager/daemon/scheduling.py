"""How the system shares processors between the manager and everything else that runs."""

from __future__ import annotations

import logging
import os

logger = logging.getLogger(__name__)

PRIORITY = 1
"""The lowest real-time priority: before all programs of the usual kind, behind all others of this one."""


def take_priority() -> bool:
    """Let this thread, and all that it starts from now on, run as soon as there is something to do.

    With the usual scheduling a thread that wakes waits while others compute: for up to 4 ms each time, and a
    request takes several such steps. The policy is ``SCHED_RR``, see sched(7).

    Returns
    -------
    bool
        False where the system does not permit it, or there is one processor only, which belongs to the plan.
    """
    if len(os.sched_getaffinity(0)) < 2:
        return False
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    except OSError as exc:
        logger.debug("No real-time scheduling: %s", exc)
        return False
    return True


def has_priority(pid: int) -> bool | None:
    """Tell whether a process runs with real-time scheduling; None if that is not known."""
    try:
        policy = os.sched_getscheduler(pid)
    except OSError:
        return None
    return policy in (os.SCHED_FIFO, os.SCHED_RR)
