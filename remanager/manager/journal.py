"""The journal of events: pages of it, waiting for what comes, and news for who listens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from remanager.manager.ledger import Ledger
from remanager.model.selector import TagCondition
from remanager.store.reads import Reads
from remanager.store.records import EventRow, JournalEvent
from remanager.store.store import Store

MAX_WAITERS = 5000
"""Requests that may wait at the same time; further ones are answered at once."""

PORTION = 1000
MAX_PORTIONS = 20
"""Portions of events that one request looks through in search of those of some tasks."""

_LEFT_OUT = ("domain", "group", "key")
"""What the data of an event leave out where the task has none."""

_NEWS = ("alert", "schedule", "limit")


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are asked for.

    Attributes
    ----------
    types : frozenset of str or None
        Only events of these types; None: of all types.
    task_uid : str or None
        Only events of this task; None: all.
    task_uids : frozenset of str or None
        Only events of these tasks; None: all.
    said : mapping
        Values that the event must have, one of each set, by their names in its data.
    tags : tuple of TagCondition
        Tags that it must have.
    """

    types: frozenset[str] | None = None
    task_uid: str | None = None
    task_uids: frozenset[str] | None = None
    said: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tags: tuple[TagCondition, ...] = ()

    @property
    def selects(self) -> bool:
        """Whether more is asked than the store looks at by itself."""
        return bool(self.task_uids is not None or self.said or self.tags)

    def matches(self, event: JournalEvent) -> bool:
        """Tell whether an event is asked for."""
        return (
            (self.types is None or event.type in self.types)
            and (self.task_uid is None or event.task_uid == self.task_uid)
            and self.fits(event.task_uid, event.data)
        )

    def fits(self, task_uid: str | None, data: Mapping[str, Any]) -> bool:
        """Tell whether the task and the data of an event are as asked."""
        if self.selects and task_uid is None:
            return False
        if self.task_uids is not None and task_uid not in self.task_uids:
            return False
        for name, values in self.said.items():
            if data.get(name, "" if name in _LEFT_OUT else None) not in values:
                return False
        tags = data.get("tags") or {}
        return all(t.key in tags and (t.values is None or tags[t.key] in t.values) for t in self.tags)


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
    is_last : bool
        There was nothing more to look through.
    """

    events: list[EventRow]
    next_seq: int
    oldest_seq: int
    gap: bool
    is_last: bool


def read_page(reads: Reads, since: int, wanted: EventFilter, limit: int) -> EventPage:
    """Read up to ``limit`` events with numbers from ``since`` on; 0 asks for the oldest that are kept."""
    oldest, newest = reads.event_bounds()  # first: what is committed meanwhile is at most found too early
    gap = 0 < since < oldest or since > newest + 1
    start = min(since, newest + 1)
    found, next_seq, is_last = _look_through(reads, start, wanted, limit)
    if is_last:
        next_seq = max(newest + 1, next_seq)
    return EventPage(found, next_seq, oldest or next_seq, gap, is_last)


def _look_through(
    reads: Reads, start: int, wanted: EventFilter, limit: int
) -> tuple[list[EventRow], int, bool]:
    """Return events from a number on, where to go on, and whether that is the end."""
    if not wanted.selects:
        rows = reads.events_matching(start, wanted.types, wanted.task_uid, limit)
        return rows, rows[-1].seq + 1 if rows else start, len(rows) < limit
    found: list[EventRow] = []
    for _ in range(MAX_PORTIONS):
        rows = reads.events_matching(start, wanted.types, wanted.task_uid, PORTION)
        for row in rows:
            start = row.seq + 1
            if wanted.fits(row.task_uid, json.loads(row.data)):
                found.append(row)
                if len(found) == limit:
                    return found, start, False
        if len(rows) < PORTION:
            return found, start, True
    return found, start, False


class Journal:
    """Answers questions about the journal.

    Parameters
    ----------
    store : Store
        Where it is.
    ledger : Ledger
        Reports what was committed.
    publish : callable
        Receives each event that concerns a task, as ``{"task_event": {...}}``; likewise ``alert_event``,
        ``schedule_event`` and ``limit_event``.
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
            if page.events or page.gap or not page.is_last or news not in self._waiters:
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
        if self._wanted():
            for seq, event in enumerate(events, last_seq - len(events) + 1):
                if key := _news_key(event):
                    self._publish({key: _news(seq, event)})


def _news_key(event: JournalEvent) -> str:
    """Return under which name an event is published; empty if it is not."""
    if event.task_uid is not None:
        return "task_event"
    kind = event.type.partition("_")[0]
    return f"{kind}_event" if kind in _NEWS else ""


def _news(seq: int, event: JournalEvent) -> dict[str, object]:
    of_task = {} if event.task_uid is None else {"task_uid": event.task_uid}
    return {**event.data, "seq": seq, "time": event.time, "type": event.type, **of_task}
