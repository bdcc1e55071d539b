"""Reading back what was stored: what cannot be read is left out, so that the manager starts all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from remanager.model.errors import RemanagerError

S = TypeVar("S")
T = TypeVar("T")


def read_each(stored: Iterable[S], read: Callable[[S], T]) -> tuple[list[T], list[str]]:
    """Return the values that can be read, and of each of the others what is wrong."""
    found: list[T] = []
    faults: list[str] = []
    for value in stored:
        try:
            found.append(read(value))
        except (AttributeError, LookupError, TypeError, ValueError, RemanagerError) as exc:
            faults.append(f"{type(exc).__name__}: {exc}: {value!r:.2000}")
    return found, faults
