"""Times at which something is due: one per key, set anew or dropped at will."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_SLACK = 64


class Timers(Generic[K]):
    """Due times by key.

    A time that was replaced or dropped stays in the heap until it is due or until such ones are the
    majority; so the size stays within about twice the number of keys.
    """

    def __init__(self) -> None:
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0  # keys need not be ordered

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: K, time: float) -> None:
        """Let ``key`` be due at ``time`` (epoch seconds) and at no other time."""
        if self._due.get(key) == time:
            return
        self._due[key] = time
        self._count += 1
        heapq.heappush(self._heap, (time, self._count, key))
        if len(self._heap) > 2 * len(self._due) + _SLACK:
            self._compact()

    def drop(self, key: K) -> None:
        """Let ``key`` not be due any more; it need not be there."""
        if self._due.pop(key, None) is not None and len(self._heap) > 2 * len(self._due) + _SLACK:
            self._compact()

    def pop_due(self, now: float, limit: int) -> list[K]:
        """Take at most ``limit`` keys that are due, earliest first."""
        due: list[K] = []
        while len(due) < limit and self.next() is not None and self._heap[0][0] <= now:
            _, _, key = heapq.heappop(self._heap)
            del self._due[key]
            due.append(key)
        return due

    def shift(self, concerns: Callable[[K], bool], by: float) -> None:
        """Let the keys that it concerns be due later by so many seconds."""
        self._due = {key: time + by if concerns(key) else time for key, time in self._due.items()}
        self._compact()

    def next(self) -> float | None:
        """Return the earliest time, None if nothing is set."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _compact(self) -> None:
        self._count = 0
        self._heap = []
        for key, time in self._due.items():
            self._count += 1
            self._heap.append((time, self._count, key))
        heapq.heapify(self._heap)
