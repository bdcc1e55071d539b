"""An ordered container of queue entries that says what the store must write when it changes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

from remanager.engine.queue_item import PreparedItem, QueueDelta, QueueEntry
from remanager.engine.ranks import GAP, place

_rank = attrgetter("rank")


class RankedItems:
    """Entries in the order of their ranks; each operation returns its :class:`QueueDelta`.

    Indices given must be valid: what a client may ask for is decided in
    :class:`~remanager.engine.plan_queue.PlanQueue`.

    Parameters
    ----------
    entries : iterable of QueueEntry
        In any order.

    Raises
    ------
    ValueError
        Two entries share a UID or a rank.
    """

    def __init__(self, entries: Iterable[QueueEntry] = ()) -> None:
        self._order = sorted(entries, key=_rank)
        self._by_uid = {entry.uid: entry for entry in self._order}
        if len(self._by_uid) != len(self._order):
            raise ValueError("The stored plan queue holds a UID twice")
        if len({entry.rank for entry in self._order}) != len(self._order):
            raise ValueError("The stored plan queue holds a rank twice")
        self._texts: tuple[str, ...] | None = None
        self._items: tuple[dict[str, Any], ...] | None = None

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> QueueEntry:
        return self._order[index]

    def lookup(self, uid: object) -> QueueEntry | None:
        """Return the entry with a UID, if there is one."""
        return self._by_uid.get(uid) if isinstance(uid, str) else None

    def index(self, entry: QueueEntry) -> int:
        """Return the index of an entry of this container."""
        return bisect_left(self._order, entry.rank, key=_rank)

    def entries(self) -> tuple[QueueEntry, ...]:
        """Return the entries in order."""
        return tuple(self._order)

    def texts(self) -> tuple[str, ...]:
        """Return the texts in order; the same object until something changes."""
        if self._texts is None:
            self._texts = tuple([entry.text for entry in self._order])
        return self._texts

    def items(self) -> tuple[dict[str, Any], ...]:
        """Return the items in order; the same object until something changes."""
        if self._items is None:
            self._items = tuple([entry.item for entry in self._order])
        return self._items

    def after(self, rank: int | None, limit: int) -> list[QueueEntry]:
        """Return up to ``limit`` entries with ranks above ``rank`` (None: from the front), in order."""
        start = 0 if rank is None else bisect_right(self._order, rank, key=_rank)
        return self._order[start : start + limit]

    def insert(self, index: int, items: Sequence[PreparedItem]) -> QueueDelta:
        """Insert items before an index."""
        new, shifted = self._place(index, items)
        return QueueDelta(entries=new, inserted=new, moved=tuple(shifted))

    def remove(self, entries: Sequence[QueueEntry]) -> QueueDelta:
        """Remove entries."""
        self._drop(entries)
        return QueueDelta(entries=tuple(entries), removed=tuple(entry.uid for entry in entries))

    def replace(self, old: QueueEntry, item: PreparedItem) -> QueueDelta:
        """Put an item in the place of an entry."""
        new = _entry(item, old.rank)
        self._order[self.index(old)] = new
        del self._by_uid[old.uid]
        self._by_uid[new.uid] = new
        self._changed()
        return QueueDelta(entries=(new,), replaced=((old.uid, new),))

    def move(self, batch: Sequence[QueueEntry], target: int) -> QueueDelta:
        """Make entries follow, in the given order, the first ``target`` of the others."""
        if [self.index(entry) for entry in batch] == list(range(target, target + len(batch))):
            return QueueDelta(entries=tuple(batch))
        self._drop(batch)
        new, shifted = self._place(target, batch)
        moved = [
            (entry.uid, entry.rank) for old, entry in zip(batch, new, strict=True) if entry.rank != old.rank
        ]
        return QueueDelta(entries=new, moved=(*shifted, *moved))

    def clear(self) -> QueueDelta:
        """Remove everything."""
        cleared = bool(self._order)
        self._order.clear()
        self._by_uid.clear()
        self._changed()
        return QueueDelta(cleared=cleared)

    def _changed(self) -> None:
        self._texts = self._items = None

    def _drop(self, entries: Sequence[QueueEntry]) -> None:
        if not entries:
            return
        if len(entries) == 1:
            del self._order[self.index(entries[0])]
            del self._by_uid[entries[0].uid]
        else:
            for entry in entries:
                del self._by_uid[entry.uid]
            self._order = [entry for entry in self._order if entry.uid in self._by_uid]
        self._changed()

    def _place(
        self, index: int, items: Sequence[PreparedItem | QueueEntry]
    ) -> tuple[tuple[QueueEntry, ...], list[tuple[str, int]]]:
        """Insert items before an index; return them, and the neighbours that got new ranks."""
        if index == len(self._order) and len(items) == 1:  # by far the most frequent case
            entry = _entry(items[0], self._order[-1].rank + GAP if self._order else 0)
            self._order.append(entry)
            self._by_uid[entry.uid] = entry
            self._changed()
            return (entry,), []
        placement = place(lambda i: self._order[i].rank, len(self._order), index, len(items))
        left, split = placement.left, placement.left + len(items)
        first, last = index - left, index + placement.right
        neighbours = self._order[first:last]
        ranks = placement.ranks[:left] + placement.ranks[split:]
        new = tuple(map(_entry, items, placement.ranks[left:split]))
        shifted = list(map(_entry, neighbours, ranks))
        self._order[first:last] = [*shifted[:left], *new, *shifted[left:]]
        self._by_uid.update((entry.uid, entry) for entry in (*shifted, *new))
        self._changed()
        return new, [(old.uid, rank) for old, rank in zip(neighbours, ranks, strict=True) if rank != old.rank]


def _entry(item: PreparedItem | QueueEntry, rank: int) -> QueueEntry:
    return QueueEntry(item.uid, rank, item.item, item.text, item.submission)
