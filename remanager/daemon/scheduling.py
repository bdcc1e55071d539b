"""How the system shares processors between the manager and everything else that runs."""

from __future__ import annotations

import logging
import os

logger = logging.getLogger(__name__)

PRIORITY = 1
"""The lowest real-time priority: before all programs of the usual kind, behind all others of this one."""


def take_priority() -> bool:
    """Let the threads of this process but the main one run as soon as they have something to do.

    It is meant for the store's writer, which waits for the disk. With the usual scheduling a thread that
    wakes waits while others compute, for up to 4 ms each time. The main thread, which computes, shares the
    processors with all others. The policy is ``SCHED_RR``, see sched(7).

    Returns
    -------
    bool
        False where the system does not permit it.
    """
    main = os.getpid()
    try:
        for thread in _threads(main):
            if thread != main:
                os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(PRIORITY))
    except OSError as exc:
        logger.debug("No real-time scheduling: %s", exc)
        return False
    return True


def has_priority(pid: int) -> bool | None:
    """Tell whether a process has threads with real-time scheduling; None if that is not known."""
    try:
        policies = {os.sched_getscheduler(thread) for thread in _threads(pid)}
    except OSError:
        return None
    return not policies.isdisjoint((os.SCHED_FIFO, os.SCHED_RR))


def _threads(pid: int) -> list[int]:
    return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
