"""Large selections are worked on a portion at a time: other requests are answered in between."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

PORTION = 50
"""Tasks that one turn deals with."""

AHEAD = 8
"""Portions that are on their way to the disk while the next one is worked on: they share commits."""

MAX_SELECTED = 1_000_000
"""Tasks that one request can speak of."""


def portions(tasks: Sequence[T]) -> Iterator[Sequence[T]]:
    """Return tasks in portions."""
    for begin in range(0, len(tasks), PORTION):
        yield tasks[begin : begin + PORTION]


class Flight:
    """The transactions of the portions that are not on disk yet."""

    def __init__(self) -> None:
        self._open: deque[asyncio.Future[int]] = deque()

    async def add(self, transaction: asyncio.Future[int]) -> None:
        """Take a transaction, and let others have their turn; with many, wait for the first of them."""
        self._open.append(transaction)
        if len(self._open) > AHEAD:
            await self._open.popleft()
        await asyncio.sleep(0)

    async def landed(self) -> None:
        """Wait until all are on disk."""
        while self._open:
            await self._open.popleft()
