"""The states of tasks, by class, as the manager names them."""

from __future__ import annotations

QUEUED = ("pending", "blocked", "paused")
"""Accepted and not handed to a worker."""

UNDER_WAY = ("running", "waiting_children")
"""Handed to a worker, or waiting for children."""

SUCCESS = ("completed", "stopped", "skipped")
FAILURE = ("failed", "dead_letter", "dependency_failed", "timed_out", "lost")
CANCELLED = ("cancelled", "aborted", "halted")
DROPPED = ("expired", "superseded")

ACTIVE = (*QUEUED, *UNDER_WAY)
TERMINAL = (*SUCCESS, *FAILURE, *CANCELLED, *DROPPED)
STATES = (*ACTIVE, *TERMINAL)

NOT_FOUND = "not_found"
"""Pseudo state of a task that is not known."""


def status_word(state: str) -> str:
    """Return the word of ``task_status`` for a state: ``running``, ``completed`` or ``not_found``."""
    if state == NOT_FOUND:
        return NOT_FOUND
    return "completed" if state in TERMINAL else "running"
