"""The plan queue and its history: memory, store and replies in step."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from remanager.engine.item_forms import returned_item, running_item
from remanager.engine.plan_queue import PlanQueue
from remanager.engine.queue_item import PreparedItem, QueueDelta, QueueEntry, Submission, prepare_item
from remanager.engine.queue_mode import QueueMode, updated_mode
from remanager.manager.items import submission
from remanager.manager.ledger import Batch, Ledger
from remanager.manager.plan_record import wait_reason
from remanager.manager.ports import Clock
from remanager.manager.rows import column, queue_entry, queue_row
from remanager.manager.state import RunningItem, State, change_uid, new_uid
from remanager.manager.statistics import Statistics
from remanager.model.selector import Selector
from remanager.model.states import TaskState
from remanager.store.records import Lazy
from remanager.store.store import Store
from remanager.store.writes import (
    history_clear,
    history_trim_size,
    history_trim_uid,
    queue_clear,
    queue_insert,
    queue_rank,
    queue_remove,
    queue_replace,
)
from remanager.wire.codec import CachedReply, Fragment

MODE = "plan_queue_mode"


class _Waiting(NamedTuple):
    """What the figures need of an item that waits: the name of its plan, when it was submitted."""

    name: str
    time_created: float


class QueueService:
    """Owns the plan queue.

    Every operation changes memory at once and returns when the change is on disk.

    Parameters
    ----------
    state, ledger, statistics, clock
        As elsewhere in this room.
    store : Store
        Where the history is read.
    mode : QueueMode
        The stored mode.
    """

    def __init__(
        self,
        state: State,
        ledger: Ledger,
        store: Store,
        statistics: Statistics,
        clock: Clock,
        mode: QueueMode,
    ) -> None:
        self._state = state
        self._ledger = ledger
        self._store = store
        self._statistics = statistics
        self._clock = clock
        rows = store.reads.queue()
        self._queue = PlanQueue(map(queue_entry, rows))
        self._waiting = {row.task_uid: _Waiting(row.name, row.time_created) for row in rows}
        self._reply: CachedReply | None = None
        self._history_reply: CachedReply | None = None
        self._trimming = asyncio.Lock()
        self.mode = mode
        self.history_size = store.reads.history_count()

    # -------------------------------------------------------------------------------- asking

    def __contains__(self, uid: str) -> bool:
        return uid in self._queue

    @property
    def size(self) -> int:
        """Number of items in the queue, without the running one."""
        return len(self._queue)

    def items(self) -> Sequence[dict[str, Any]]:
        """The items in order; they must not be changed."""
        return self._queue.items()

    def get(self, *, pos: object, uid: object) -> dict[str, Any]:
        """Return one item; see :meth:`remanager.engine.plan_queue.PlanQueue.get`."""
        return self._queue.get(pos=pos, uid=uid).item

    def reply(self) -> CachedReply:
        """Return the reply to ``queue_get``, encoded once per change."""
        if self._reply is None:
            self._reply = CachedReply(
                {
                    "success": True,
                    "msg": "",
                    "items": Fragment.of_json_texts(self._queue.texts()),
                    "running_item": self._running_item(),
                    "plan_queue_uid": self._state.plan_queue_uid,
                }
            )
        return self._reply

    def wait_reason(self, uid: str) -> str:
        """Return why an item does not run, in a word of the protocol; empty if it runs or is not here."""
        running = self._state.running
        if running is not None and running.uid == uid:
            return "paused" if self._state.plan_paused else ""
        return wait_reason(self._state) if uid in self._queue else ""

    def page(self, limit: int, cursor: int | None) -> dict[str, object]:
        """Return a page of the queue and the cursor of the next one; see ``PlanQueue.page``."""
        entries, next_cursor = self._queue.page(limit, cursor)
        return {
            "items": Fragment.of_json_texts(e.text for e in entries),
            "running_item": self._running_item(),
            "plan_queue_uid": self._state.plan_queue_uid,
            "next_cursor": next_cursor,
            "total": self.size,
        }

    async def history_reply(self) -> CachedReply:
        """Return the reply to ``history_get`` without paging, encoded once per change."""
        if self._history_reply is not None:
            return self._history_reply
        uid = self._state.plan_history_uid
        await self._ledger.flush()
        rows = await self._store.read_heavy(lambda reads: reads.history_page())
        reply = CachedReply(
            {"success": True, "msg": "", "items": self._history_fragment(rows), "plan_history_uid": uid}
        )
        if uid == self._state.plan_history_uid:
            self._history_reply = reply
        return reply

    async def history_page(
        self, limit: int, cursor: int | None, selector: Selector | None = None
    ) -> dict[str, object]:
        """Return a page of the history, oldest entry first, and the cursor of the next older page."""
        await self._ledger.flush()
        if selector is None:
            rows, total = self._store.reads.history_page(limit, cursor), self.history_size
        else:
            now = self._clock()
            rows, total = await self._store.read_heavy(
                lambda reads: reads.pages.history(selector, now=now, limit=limit, before_seq=cursor)
            )
        return {
            "items": self._history_fragment(rows),
            "plan_history_uid": self._state.plan_history_uid,
            "next_cursor": rows[0][0] if len(rows) == limit else None,
            "total": total,
        }

    def _running_item(self) -> dict[str, Any]:
        running = self._state.running
        if running is None:
            return {}
        return running_item(running.item, time_start=running.time_start, immediate=running.immediate)

    @staticmethod
    def _history_fragment(rows: Iterable[tuple[int, str, str | None]]) -> Fragment:
        return Fragment.of_json_texts(
            f'{body[:-1]}, "result": {result or "null"}}}' for _, body, result in rows
        )

    # -------------------------------------------------------------------------------- requests

    async def add(
        self, item: dict[str, Any], *, pos: object, before_uid: object, after_uid: object
    ) -> dict[str, Any]:
        """Add a checked item."""
        prepared = prepare_item(item, submission())
        delta = self._queue.add(prepared, pos=pos, before_uid=before_uid, after_uid=after_uid)
        await self._commit(delta, "queue_item_added")
        return delta.entry.item

    async def add_batch(
        self, items: Sequence[PreparedItem], *, pos: object, before_uid: object, after_uid: object
    ) -> Fragment:
        """Add checked items, all or none; return them in the form of the reply."""
        delta = self._queue.add_batch(items, pos=pos, before_uid=before_uid, after_uid=after_uid)
        await self._commit(delta, "queue_items_added")
        return Fragment.of_json_texts(e.text for e in delta.entries)

    async def update(self, item: dict[str, Any], *, item_uid: object) -> dict[str, Any]:
        """Replace an item by a checked one."""
        delta = self._queue.replace(prepare_item(item, submission()), item_uid=item_uid)
        await self._commit(delta, "queue_item_updated")
        return delta.entry.item

    async def remove(self, *, pos: object, uid: object) -> dict[str, Any]:
        """Remove an item."""
        delta = self._queue.remove(pos=pos, uid=uid)
        await self._commit(delta, "queue_item_removed")
        return delta.entry.item

    async def remove_batch(self, uids: object, *, ignore_missing: bool) -> list[dict[str, Any]]:
        """Remove items by uid."""
        delta = self._queue.remove_batch(uids, ignore_missing=ignore_missing)
        await self._commit(delta, "queue_items_removed")
        return [e.item for e in delta.entries]

    async def move(self, **places: object) -> dict[str, Any]:
        """Move an item; places as in :meth:`remanager.engine.plan_queue.PlanQueue.move`."""
        delta = self._queue.move(**places)
        await self._commit(delta, "queue_item_moved")
        return delta.entry.item

    async def move_batch(self, uids: object, **places: Any) -> list[dict[str, Any]]:
        """Move items; places as in :meth:`remanager.engine.plan_queue.PlanQueue.move_batch`."""
        delta = self._queue.move_batch(uids, **places)
        await self._commit(delta, "queue_items_moved")
        return [e.item for e in delta.entries]

    async def clear(self) -> None:
        """Remove every item; the running one goes on."""
        await self._commit(self._queue.clear(), "queue_cleared")

    async def set_mode(self, update: object) -> None:
        """Change the mode: a dictionary with what changes, or ``default``."""
        mode = updated_mode(self.mode, update)
        if mode != self.mode:
            self.mode = mode
            batch = self._ledger.batch()
            batch.setting(MODE, mode.as_dict())
            batch.event("queue_mode_set", mode=mode.as_dict())
            self._ledger.touch()
            await self._ledger.commit(batch)

    async def history_clear(self, *, size: int | None, item_uid: str | None) -> None:
        """Remove all entries of the history, or all but the newest ``size``, or those up to ``item_uid``."""
        async with self._trimming:
            batch = self._ledger.batch()
            if size is not None:
                left = min(self.history_size, max(size, 0))
                batch.write(history_trim_size(size))
            elif item_uid is not None:
                item_uid = column(item_uid)
                await self._ledger.flush()  # what a client knows of is on disk now
                left = self.history_size - self._store.reads.history_place(item_uid)
                batch.write(history_trim_uid(item_uid))
            else:
                left = 0
                batch.write(history_clear())
            batch.event("history_cleared", size=size, item_uid=item_uid)
            if left != self.history_size:
                self._history_changed(left)
            await self._ledger.commit(batch)

    # -------------------------------------------------------------------------------- for the execution

    def take_front(self) -> tuple[QueueEntry, float]:
        """Take the item at the front out of the queue; the caller writes what becomes of it.

        Returns
        -------
        entry : QueueEntry
            The item.
        time_created : float
            When it was submitted, epoch seconds.
        """
        entry = self._queue.pop_front().entry
        self.changed()
        return entry, self._waiting.pop(entry.uid).time_created

    def put_back(self, batch: Batch, running: RunningItem, *, where: str) -> None:
        """Put an item that ended into the queue again, under a new uid, at the ``front`` or ``back``."""
        origin = running.submission
        if where == "front":  # it is to be tried again; at the back it starts a new round of the loop
            origin = replace(origin, attempt=origin.attempt + 1)
        self._put(batch, running.item, origin, running.uid, where)

    def put_copy_back(self, batch: Batch, entry: QueueEntry) -> None:
        """Put a copy of an instruction at the back (loop mode)."""
        self._put(batch, entry.item, entry.submission, entry.uid, "back")

    def _put(
        self, batch: Batch, item: dict[str, Any], origin: Submission, origin_uid: str, where: str
    ) -> None:
        prepared = prepare_item(returned_item(item, new_uid()), origin, filter_parameters=False)
        delta = self._queue.add(prepared, pos=where)
        now = self._clock()
        rows = [queue_row(e, origin_uid) for e in delta.inserted]
        _write_moves(batch, delta)
        batch.write(queue_insert(rows, now))
        self._count(delta, now)
        batch.event("queue_item_added", prepared.uid, origin_uid=origin_uid)
        self.changed()

    def set_running(self, uid: str | None) -> None:
        """Tell the queue which uid is running."""
        self._queue.running_uid = uid
        self.changed()

    def changed(self) -> None:
        """Give the queue a new uid."""
        self._state.plan_queue_uid = change_uid()
        self._reply = None
        self._ledger.touch()

    def history_grew(self) -> None:
        """Say that an entry is being added to the history."""
        self._history_changed(self.history_size + 1)

    def _history_changed(self, size: int) -> None:
        self.history_size = size
        self._state.plan_history_uid = change_uid()
        self._history_reply = None
        self._ledger.touch()

    # -------------------------------------------------------------------------------- inside

    async def _commit(self, delta: QueueDelta, event: str) -> None:
        if not delta.changed:
            return
        now = self._clock()
        batch = self._ledger.batch()
        if delta.cleared:
            batch.write(queue_clear(now))
        if delta.removed:
            batch.write(queue_remove(delta.removed, TaskState.CANCELLED, now))
        _write_moves(batch, delta)
        for old_uid, entry in delta.replaced:
            batch.write(queue_replace(old_uid, queue_row(entry), now))
        if delta.inserted:
            batch.write(queue_insert(Lazy(delta.inserted, queue_row), now))
        if len(delta.entries) == 1:
            batch.event(event, delta.entry.uid)
        else:
            batch.event(event, count=len(delta.entries))
        self._count(delta, now)
        self.changed()
        await self._ledger.commit(batch)

    def _count(self, delta: QueueDelta, now: float) -> None:
        """Note what waits from now on, and count what waited and will not run."""
        for uid in list(self._waiting) if delta.cleared else delta.removed:
            self._end(uid, TaskState.CANCELLED, now)
        for old_uid, entry in delta.replaced:
            created = now
            if old_uid == entry.uid:
                created = self._waiting[old_uid].time_created
            else:
                self._end(old_uid, TaskState.SUPERSEDED, now)
                self._statistics.figures.count("submitted", "", now)
            self._waiting[entry.uid] = _Waiting(column(entry.item.get("name")), created)
        for entry in delta.inserted:
            self._waiting[entry.uid] = _Waiting(column(entry.item.get("name")), now)

    def _end(self, uid: str, state: TaskState, now: float) -> None:
        name, created = self._waiting.pop(uid)
        self._statistics.left_queue(name, state, created, now)


def _write_moves(batch: Batch, delta: QueueDelta) -> None:
    if delta.moved:
        batch.write(queue_rank(list(delta.moved)))
