"""Requests that wait until tasks have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

MAX_WAITERS = 5000
"""Requests that may wait at the same time; further ones are answered at once."""


class Waiters:
    """Wakes those who wait for a task as soon as its end is on disk."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._count = 0

    async def wait(self, uids: Iterable[str], timeout_s: float) -> bool:
        """Wait until one of the tasks has ended.

        Parameters
        ----------
        uids : iterable of str
            Tasks that have not ended.
        timeout_s : float
            How long at most, s.

        Returns
        -------
        bool
            False if the time was over, or if too many wait already.
        """
        if timeout_s <= 0 or self._count >= MAX_WAITERS:
            return False
        news, uids = asyncio.Event(), list(uids)
        self._count += 1
        for uid in uids:
            self._waiting.setdefault(uid, set()).add(news)
        try:
            async with asyncio.timeout(timeout_s):
                await news.wait()
        except TimeoutError:
            return False
        finally:
            self._count -= 1
            for uid in uids:
                waiting = self._waiting.get(uid)
                if waiting is not None:
                    waiting.discard(news)
                    if not waiting:
                        del self._waiting[uid]
        return True

    def look_again(self) -> None:
        """Wake everybody: something may have ended that nobody names."""
        for waiting in self._waiting.values():
            for news in waiting:
                news.set()

    def ended(self, uid: str) -> None:
        """Wake who waits for a task."""
        for news in self._waiting.get(uid, ()):
            news.set()
