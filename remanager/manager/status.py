"""The status dictionary: built when something changed, encoded once, published at every change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from remanager.manager.state import change_uid
from remanager.wire.codec import CachedReply

Snapshot = Callable[[], dict[str, Any]]

MAX_WAITERS = 5000
"""Requests that may wait for a new status at the same time; further ones are answered at once."""


class StatusBoard:
    """Keeps the current status.

    Whoever changes what the status shows calls :meth:`touch`. Changes within one turn of the loop become one
    new status; it is published before any request can see it.

    Parameters
    ----------
    snapshot : callable
        Returns the present values, without ``time`` and ``status_uid``.
    publish : callable
        Receives each new status.
    wanted : callable
        Tells whether anybody listens; without a listener the status is made when somebody asks for it.
    """

    def __init__(
        self, snapshot: Snapshot, publish: Callable[[CachedReply], None], wanted: Callable[[], bool]
    ) -> None:
        self._snapshot = snapshot
        self._publish = publish
        self._wanted = wanted
        self._reply: CachedReply | None = None
        self._status: dict[str, Any] = {}
        self._scheduled = False
        self._seq = 0
        self._waiters: set[asyncio.Future[None]] = set()

    def touch(self) -> None:
        """Say that something in the status may have changed."""
        self._reply = None
        if not self._scheduled and (self._waiters or self._wanted()):
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._refresh)

    def reply(self) -> CachedReply:
        """Return the present status, encoded at most once."""
        if self._reply is None:
            self._rebuild()
        assert self._reply is not None
        return self._reply

    async def changed(self, status_uid: str | None, timeout_s: float) -> CachedReply:
        """Return the status as soon as it is another one than ``status_uid``, at the latest after a time.

        Parameters
        ----------
        status_uid : str or None
            UID of the status that is known; None: any is new.
        timeout_s : float
            How long to wait, s.
        """
        reply = self.reply()
        if self._status["status_uid"] != status_uid or timeout_s <= 0 or len(self._waiters) >= MAX_WAITERS:
            return reply
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(news)
        try:
            await asyncio.wait([news], timeout=timeout_s)
        finally:
            self._waiters.discard(news)
        return self.reply()

    @property
    def status(self) -> Mapping[str, Any]:
        """The present status."""
        self.reply()
        return self._status

    def _refresh(self) -> None:
        self._scheduled = False
        if self._reply is None:
            self._rebuild()

    def _rebuild(self) -> None:
        values = self._snapshot()
        self._seq += 1
        self._status = {
            "msg": values.pop("msg"),
            "time": datetime.now().isoformat(),
            **values,
            "status_uid": change_uid(),
            "seq": self._seq,
        }
        self._reply = CachedReply(self._status)
        self._publish(self._reply)
        for news in self._waiters:
            if not news.done():
                news.set_result(None)
