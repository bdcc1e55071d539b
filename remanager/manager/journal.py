"""The journal of events: pages of it, waiting for what comes, and news for who listens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from remanager.manager.ledger import Ledger
from remanager.store.reads import Reads
from remanager.store.records import EventRow, JournalEvent
from remanager.store.store import Store

MAX_WAITERS = 5000
"""Requests that may wait at the same time; further ones are answered at once."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are asked for.

    Attributes
    ----------
    types : frozenset of str or None
        Only events of these types; None: of all types.
    task_uid : str or None
        Only events of this task; None: all.
    """

    types: frozenset[str] | None = None
    task_uid: str | None = None

    def matches(self, event: JournalEvent) -> bool:
        """Tell whether an event is asked for."""
        return (self.types is None or event.type in self.types) and (
            self.task_uid is None or event.task_uid == self.task_uid
        )


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events and where to go on.

    Attributes
    ----------
    events : list of EventRow
        In order.
    next_seq : int
        Where the next page starts.
    oldest_seq : int
        The oldest event that is still kept; ``next_seq`` if there is none.
    gap : bool
        What was asked for is not (or no longer) in the journal.
    """

    events: list[EventRow]
    next_seq: int
    oldest_seq: int
    gap: bool


def read_page(reads: Reads, since: int, wanted: EventFilter, limit: int) -> EventPage:
    """Read up to ``limit`` events with numbers from ``since`` on; 0 asks for the oldest that are kept."""
    oldest, newest = reads.event_bounds()  # first: what is committed meanwhile is at most found too early
    gap = 0 < since < oldest or since > newest + 1
    start = min(since, newest + 1)
    rows = reads.events_matching(start, wanted.types, wanted.task_uid, limit)
    last = rows[-1].seq if rows else 0
    next_seq = last + 1 if len(rows) == limit else max(newest, last) + 1
    return EventPage(rows, next_seq, oldest or next_seq, gap)


class Journal:
    """Answers questions about the journal.

    Parameters
    ----------
    store : Store
        Where it is.
    ledger : Ledger
        Reports what was committed.
    publish : callable
        Receives each event that concerns a task, as ``{"task_event": {...}}``.
    wanted : callable
        Tells whether anybody listens to what is published.

    Attributes
    ----------
    listeners : list of callable
        Called with the events of each transaction.
    """

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        publish: Callable[[Mapping[str, object]], None],
        wanted: Callable[[], bool],
    ) -> None:
        self._store = store
        self._publish = publish
        self._wanted = wanted
        self._waiters: dict[asyncio.Future[None], EventFilter] = {}
        self.listeners: list[Callable[[Sequence[JournalEvent]], None]] = []
        ledger.on_committed = self._on_committed

    async def page(self, since: int, wanted: EventFilter, limit: int, timeout_s: float) -> EventPage:
        """Return events; wait for the first one if there is none.

        Parameters
        ----------
        since : int
            ``next_seq`` of the page before, or 0.
        wanted : EventFilter
            Which ones.
        limit : int
            At most so many.
        timeout_s : float
            How long to wait, s.
        """
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if timeout_s > 0 and len(self._waiters) < MAX_WAITERS:
            self._waiters[news] = wanted  # before the journal is read: nothing is missed in between
        try:
            page = await self._store.read_heavy(lambda reads: read_page(reads, since, wanted, limit))
            if page.events or page.gap or news not in self._waiters:
                return page
            await asyncio.wait([news], timeout=timeout_s)
        finally:
            self._waiters.pop(news, None)
        # Everything before next_seq was looked through: little is left to be read.
        return read_page(self._store.reads, page.next_seq, wanted, limit)

    def _on_committed(self, last_seq: int, events: Sequence[JournalEvent]) -> None:
        """Wake who waits for one of the events, and publish them."""
        for listen in self.listeners:
            listen(events)
        for news in [n for n, w in self._waiters.items() if any(map(w.matches, events))]:
            if not news.done():
                news.set_result(None)
        if any(e.task_uid is not None for e in events) and self._wanted():
            first_seq = last_seq - len(events) + 1
            for seq, event in enumerate(events, first_seq):
                if event.task_uid is not None:
                    self._publish({"task_event": _task_event(seq, event)})


def _task_event(seq: int, event: JournalEvent) -> dict[str, object]:
    return {
        **event.data,
        "seq": seq,
        "time": event.time,
        "type": event.type,
        "task_uid": event.task_uid,
    }
