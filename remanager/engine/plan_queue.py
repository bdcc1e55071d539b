"""The plan queue in memory: the RE Manager protocol's rules for reading and changing it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from remanager.engine.queue_checks import (
    check_batch_place,
    check_move,
    check_place,
    check_single,
    is_position,
    uid_list,
)
from remanager.engine.queue_item import BatchRejected, PreparedItem, QueueDelta, QueueEntry, filter_item
from remanager.engine.ranked_items import RankedItems
from remanager.model.errors import Conflict, InvalidParams, NotFound, RemanagerError


class PlanQueue:
    """Items in the order of their ranks.

    Every operation either raises and changes nothing, or is done in memory and returns the
    :class:`~remanager.engine.queue_item.QueueDelta` that the store must write. Positions are ``"front"``,
    ``"back"`` or an index (negative ones count from the back). UIDs are unique over the queue and the running
    item. An operation on one item costs a binary search and a shift inside a list.

    Parameters
    ----------
    entries : iterable of QueueEntry
        What the store holds, in any order.

    Attributes
    ----------
    running_uid : str or None
        UID of the running item, which is not in the queue; set by the owner.

    Raises
    ------
    ValueError
        Two entries share a UID or a rank.
    """

    def __init__(self, entries: Iterable[QueueEntry] = ()) -> None:
        self._ranked = RankedItems(entries)
        self.running_uid: str | None = None

    # ------------------------------------------------------------------------------------- questions

    def __len__(self) -> int:
        return len(self._ranked)

    def __contains__(self, uid: object) -> bool:
        """Tell whether an item with this UID is in the queue."""
        return self._ranked.lookup(uid) is not None

    def entries(self) -> tuple[QueueEntry, ...]:
        """Return the entries in order."""
        return self._ranked.entries()

    def texts(self) -> tuple[str, ...]:
        """Return the JSON texts of the items in order; the same object until the queue changes."""
        return self._ranked.texts()

    def items(self) -> tuple[dict[str, Any], ...]:
        """Return the items in order; the same object until the queue changes. They must not be changed."""
        return self._ranked.items()

    def page(self, limit: int, cursor: int | None = None) -> tuple[list[QueueEntry], int | None]:
        """Return up to ``limit`` entries and the cursor of the next page.

        Parameters
        ----------
        limit : int
            At least 1.
        cursor : int or None
            Where the page before ended; None: the front. It stays valid whatever happens to the queue:
            the page holds what is behind that place now.

        Returns
        -------
        entries : list of QueueEntry
            In order.
        next_cursor : int or None
            None where nothing follows.
        """
        entries = self._ranked.after(cursor, limit + 1)
        return entries[:limit], entries[limit - 1].rank if len(entries) > limit else None

    def get(self, *, pos: object = None, uid: object = None) -> QueueEntry:
        """Return an item by position or by UID; by default the one at the back.

        Raises
        ------
        InvalidParams
            Both are given, or the position is no position.
        NotFound
            There is no such item, or the position is out of range.
        Conflict
            The item is running.
        """
        check_single(pos, uid)
        if uid is None:
            return self._at(pos)
        entry = self._ranked.lookup(uid)
        if entry is not None:
            return entry
        if uid == self.running_uid:
            raise Conflict(f"The item with UID '{uid}' is currently running.")
        raise NotFound(f"Item with UID '{uid}' is not in the queue.")

    # ------------------------------------------------------------------------------------- adding

    def add(
        self, item: PreparedItem, *, pos: object = None, before_uid: object = None, after_uid: object = None
    ) -> QueueDelta:
        """Add an item; by default to the back.

        Parameters
        ----------
        item : PreparedItem
            The item, with a new UID.
        pos : str or int, optional
            Position that the item will have; -1 is the back. An index out of range means the nearer end.
        before_uid, after_uid : str, optional
            Put it next to this item; after the running item means to the front.

        Raises
        ------
        InvalidParams
            The place is ambiguous or no position.
        NotFound
            The item to put it next to is not in the queue.
        Conflict
            The UID is taken, or the place is before the running item.
        """
        check_place(pos, before_uid, after_uid)
        if self._is_taken(item.uid):
            raise Conflict(_taken_text(item.uid))
        return self._ranked.insert(self._insertion_index(pos, before_uid, after_uid), (item,))

    def add_batch(
        self,
        items: Sequence[PreparedItem],
        *,
        pos: object = None,
        before_uid: object = None,
        after_uid: object = None,
    ) -> QueueDelta:
        """Add items next to each other; all of them or none. The place is given as for :meth:`add`.

        An empty batch changes nothing and succeeds, whatever the place.

        Raises
        ------
        BatchRejected
            At least one item is refused, with the errors of each; a wrong place is an error of each item.
        """
        if not items:
            return QueueDelta()
        try:
            check_place(pos, before_uid, after_uid)
        except InvalidParams as error:
            raise BatchRejected([f"Failed to add item to queue: {error}"] * len(items)) from error
        index, place_error = 0, ""
        try:
            index = self._insertion_index(pos, before_uid, after_uid)
        except RemanagerError as error:
            place_error = f"Failed to add item to queue: {error}"
        seen: set[str] = set()
        errors = []
        for item in items:
            taken = item.uid in seen or self._is_taken(item.uid)
            errors.append(f"Failed to add item to queue: {_taken_text(item.uid)}" if taken else place_error)
            seen.add(item.uid)
        if any(errors):
            raise BatchRejected(errors)
        return self._ranked.insert(index, items)

    # ------------------------------------------------------------------------------------- removing

    def remove(self, *, pos: object = None, uid: object = None) -> QueueDelta:
        """Remove an item by position or by UID; by default the one at the back.

        Raises
        ------
        InvalidParams
            Both are given, or the position is no position.
        NotFound
            There is no such item, or the position is out of range.
        Conflict
            The item is running.
        """
        check_single(pos, uid)
        if uid is not None:
            entry = self._ranked.lookup(uid)
            if entry is None:
                if uid == self.running_uid:
                    raise Conflict("Can not remove an item which is currently running.")
                raise NotFound(f"Plan with UID '{uid}' is not in the queue.")
        elif pos is not None and not is_position(pos):
            raise InvalidParams(f"Parameter 'pos' has incorrect value: pos={pos} (type={type(pos)})")
        elif not self._ranked:
            raise NotFound("Queue is empty")
        else:
            entry = self._at(pos)
        return self._ranked.remove((entry,))

    def pop_front(self) -> QueueDelta:
        """Remove the item at the front: the next one to run.

        Raises
        ------
        NotFound
            The queue is empty.
        """
        return self.remove(pos="front")

    def remove_batch(self, uids: object, *, ignore_missing: bool = True) -> QueueDelta:
        """Remove items by UID.

        Parameters
        ----------
        uids : list of str
            The items; the list may be empty.
        ignore_missing : bool
            Skip UIDs that are repeated, unknown or of the running item. If False, they are refused and
            nothing is removed.

        Raises
        ------
        InvalidParams
            No list of strings, or UIDs are repeated.
        NotFound
            Some are not in the queue.
        Conflict
            One is the running item's.
        """
        wanted = uid_list(uids)
        if not ignore_missing:
            self._check_batch(wanted)
            if self.running_uid in wanted:
                raise Conflict("Can not remove an item which is currently running.")
        # A dictionary keeps the order and drops what is repeated.
        found = [self._ranked.lookup(uid) for uid in dict.fromkeys(wanted)]
        return self._ranked.remove([entry for entry in found if entry is not None])

    def clear(self) -> QueueDelta:
        """Remove every item; the running one is not touched."""
        return self._ranked.clear()

    # ------------------------------------------------------------------------------------- replacing, moving

    def replace(self, item: PreparedItem, *, item_uid: object) -> QueueDelta:
        """Put an item in the place of another one.

        Nothing changes if the new item says the same as the old one; keys that a client cannot set
        (``result``) do not count.

        Parameters
        ----------
        item : PreparedItem
            The new item; its UID is new or that of the old item.
        item_uid : str
            UID of the old item.

        Raises
        ------
        NotFound
            The old item is not in the queue.
        Conflict
            The old item is running, or the new UID is that of a third item.
        """
        old = self._ranked.lookup(item_uid)
        if old is None:
            if item_uid is not None and item_uid == self.running_uid:
                raise Conflict(f"Failed to replace item: Item with UID '{item_uid}' is currently running")
            raise NotFound(f"Failed to replace item: Item with UID '{item_uid}' is not in the queue")
        if filter_item(item.item) == filter_item(old.item):
            return QueueDelta(entries=(old,))
        if item.uid != old.uid and self._is_taken(item.uid):
            raise Conflict(_taken_text(item.uid))
        return self._ranked.replace(old, item)

    def move(
        self,
        *,
        pos: object = None,
        uid: object = None,
        pos_dest: object = None,
        before_uid: object = None,
        after_uid: object = None,
    ) -> QueueDelta:
        """Move an item.

        Parameters
        ----------
        pos, uid : optional
            The item, by position or UID; exactly one is needed.
        pos_dest, before_uid, after_uid : optional
            The position that it will have, or its new neighbour; exactly one is needed. A position out of
            range is refused.

        Raises
        ------
        InvalidParams
            Source or destination are missing, ambiguous or no positions.
        NotFound
            Source or destination do not exist.
        Conflict
            Source or destination are running.
        """
        check_move(pos, uid, pos_dest, before_uid, after_uid)
        source = self._find("Source", pos, uid)
        start = self._ranked.index(source)
        boundary = self._boundary(start, pos_dest, before_uid, after_uid)
        return self._ranked.move((source,), boundary - 1 if boundary > start else boundary)

    def move_batch(
        self,
        uids: object,
        *,
        pos_dest: object = None,
        before_uid: object = None,
        after_uid: object = None,
        reorder: bool = False,
    ) -> QueueDelta:
        """Move items next to each other.

        Parameters
        ----------
        uids : list of str
            The items; the list may be empty.
        pos_dest, before_uid, after_uid : optional
            Where the first of them goes, as for :meth:`move`; the others follow it. Exactly one is needed.
        reorder : bool
            Keep the order that the items have in the queue, not that of ``uids``.

        Raises
        ------
        InvalidParams
            No list of strings, UIDs are repeated, or the destination is missing, ambiguous or in the batch.
        NotFound
            Items or the destination are not in the queue.
        Conflict
            An item or the destination is running.
        """
        wanted = uid_list(uids)
        check_batch_place(pos_dest, before_uid, after_uid)
        self._check_batch(wanted)
        for name, value in (("before_uid", before_uid), ("after_uid", after_uid)):
            if value is not None and value in wanted:
                raise InvalidParams(f"Parameter '{name}': item with UID '{value}' is in the batch")
        if not wanted:
            return QueueDelta()
        batch = [self._find("Source", None, uid) for uid in wanted]
        if reorder:
            batch.sort(key=self._ranked.index)
        indices = [self._ranked.index(entry) for entry in batch]
        boundary = self._boundary(indices[0], pos_dest, before_uid, after_uid)
        return self._ranked.move(batch, boundary - sum(1 for index in indices if index < boundary))

    # ------------------------------------------------------------------------------------- inside

    def _is_taken(self, uid: str) -> bool:
        return uid == self.running_uid or uid in self

    def _at(self, pos: object) -> QueueEntry:
        """Return the item at a position that must exist."""
        if not (pos is None or is_position(pos)):
            raise InvalidParams(f"Parameter 'pos' has incorrect type: pos={pos} (type={type(pos)})")
        index = pos if isinstance(pos, int) else 0 if pos == "front" else -1
        if not -len(self) <= index < len(self):
            name = "back" if pos is None else pos
            raise NotFound(f"Index '{index}' is out of range (parameter pos = '{name}')")
        return self._ranked[index]

    def _find(self, role: str, pos: object, uid: object) -> QueueEntry:
        """Return the source or destination of a move; the error says which one it is."""
        try:
            return self.get(pos=pos, uid=uid)
        except RemanagerError as error:
            where = f"UID '{uid}'" if uid is not None else f"position {pos}"
            reason = str(error).removesuffix(".")
            raise type(error)(f"{role} plan ({where}) was not found: {reason}.") from error

    def _insertion_index(self, pos: object, before_uid: object, after_uid: object) -> int:
        uid = before_uid if before_uid is not None else after_uid
        size = len(self)
        if uid is not None:
            entry = self._ranked.lookup(uid)
            if entry is not None:
                return self._ranked.index(entry) + (before_uid is None)
            if uid != self.running_uid:
                raise NotFound(f"Plan with UID '{uid}' is not in the queue.")
            if before_uid is not None:
                raise Conflict("Can not insert a plan in the queue before a currently running plan.")
            return 0
        if pos is None or pos == "back":
            return size
        if not is_position(pos):
            raise InvalidParams(f"Parameter 'pos' has incorrect value: pos='{pos}' (type={type(pos)})")
        if isinstance(pos, int):
            return min(max(pos if pos >= 0 else size + pos + 1, 0), size)
        return 0

    def _boundary(self, start: int, pos_dest: object, before_uid: object, after_uid: object) -> int:
        """Return the index before which an item goes that is at index ``start`` now."""
        uid = before_uid if before_uid is not None else after_uid
        dest = self._ranked.index(self._find("Destination", pos_dest, uid))
        if uid is not None:
            before = before_uid is not None
        elif isinstance(pos_dest, str):
            before = pos_dest == "front"
        else:
            before = start > dest
        return dest if before else dest + 1

    def _check_batch(self, uids: list[str]) -> None:
        repeated = len(uids) - len(set(uids))
        if repeated:
            raise InvalidParams(f"The list of contains repeated UIDs ({repeated} UIDs)")
        missing = [uid for uid in uids if not self._is_taken(uid)]
        if missing:
            raise NotFound(f"The queue does not contain items with the following UIDs: {missing}")


def _taken_text(uid: str) -> str:
    return f"Item with UID {uid} is already in the queue"
