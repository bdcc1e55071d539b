"""Requests that wait until tasks have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

MAX_WAITERS = 5000
"""Requests that may wait at the same time; further ones are answered at once."""


@dataclass(slots=True, eq=False)
class _Waiter:
    """A request that waits: for one end, or until no task is left."""

    left: set[str]
    every: bool
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Waiters:
    """Wakes those who wait for tasks as soon as their ends are on disk."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[_Waiter]] = {}
        self._count = 0

    async def wait(self, uids: Iterable[str], timeout_s: float, *, every: bool = False) -> bool:
        """Wait until one of the tasks has ended, or each of them.

        Parameters
        ----------
        uids : iterable of str
            Tasks that have not ended.
        timeout_s : float
            How long at most, s.
        every : bool
            Wait for all of them.

        Returns
        -------
        bool
            False if the time was over, or if too many wait already.
        """
        if timeout_s <= 0 or self._count >= MAX_WAITERS:
            return False
        waiter = _Waiter(set(uids), every)
        self._count += 1
        for uid in waiter.left:
            self._waiting.setdefault(uid, set()).add(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter.news.wait()
        except TimeoutError:
            return False
        finally:
            self._count -= 1
            for uid in waiter.left:
                waiting = self._waiting[uid]
                waiting.discard(waiter)
                if not waiting:
                    del self._waiting[uid]
        return True

    def look_again(self) -> None:
        """Wake everybody: something may have ended that nobody names."""
        for waiting in self._waiting.values():
            for waiter in waiting:
                waiter.news.set()

    def ended(self, uid: str) -> None:
        """Take note of the end of a task."""
        for waiter in self._waiting.pop(uid, ()):
            waiter.left.discard(uid)
            if not (waiter.every and waiter.left):
                waiter.news.set()
