"""The states of tasks, by class, as the manager names them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

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

Record = Mapping[str, Any]
"""A task as ``task_info`` and ``task_list`` describe it."""

Answer = Mapping[str, Any]
"""A reply of the manager."""

Word = TypeVar("Word")


def inverted(table: Mapping[str, Word]) -> dict[Word, tuple[str, ...]]:
    """Return the native states of each foreign word."""
    found: dict[Word, tuple[str, ...]] = {}
    for state, word in table.items():
        found[word] = (*found.get(word, ()), state)
    return found


def time_of(seconds: float | None) -> datetime | None:
    """Return a time of the manager as a datetime in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def counted(answer: Answer) -> dict[str, int]:
    """Return the numbers by state of what ``task_count(group_by="state")`` answers."""
    return {str(row["value"]): int(row["count"]) for row in answer["counts"]}
