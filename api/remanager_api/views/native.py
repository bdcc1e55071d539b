"""What all views have in common: the states of tasks, and how answers are read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from remanager_api.states import (
    ACTIVE,
    CANCELLED,
    DROPPED,
    FAILURE,
    NOT_FOUND,
    QUEUED,
    STATES,
    SUCCESS,
    TERMINAL,
    UNDER_WAY,
)

__all__ = [
    "ACTIVE",
    "CANCELLED",
    "DROPPED",
    "FAILURE",
    "NOT_FOUND",
    "PAGE",
    "QUEUED",
    "STATES",
    "SUCCESS",
    "TERMINAL",
    "UNDER_WAY",
    "Answer",
    "Record",
    "counted",
    "inverted",
    "time_of",
]

PAGE = 1000
"""Tasks that are asked for at once, as many as the manager lists."""

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
