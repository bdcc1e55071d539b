"""Requests about the queue and its history."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from remanager_api.core import AsyncCore, Item, Reply, plain_item, plain_items


class QueueMethods(AsyncCore):
    """The part of the client that deals with the queue and its history."""

    async def item_add(
        self,
        item: Item,
        *,
        pos: int | str | None = None,
        before_uid: str | None = None,
        after_uid: str | None = None,
        user: str | None = None,
        user_group: str | None = None,
        lock_key: str | None = None,
    ) -> Reply:
        """Add an item to the queue: at its end, or at ``pos`` (index, ``front``, ``back``)."""
        return await self._call_as_user(
            "queue_item_add",
            item=plain_item(item),
            pos=pos,
            before_uid=before_uid,
            after_uid=after_uid,
            user=user,
            user_group=user_group,
            lock_key=lock_key,
        )

    async def item_add_batch(
        self,
        items: Iterable[Item],
        *,
        pos: int | str | None = None,
        before_uid: str | None = None,
        after_uid: str | None = None,
        user: str | None = None,
        user_group: str | None = None,
        lock_key: str | None = None,
    ) -> Reply:
        """Add several items, all or none."""
        sent = plain_items(items)
        return await self._call_as_user(
            "queue_item_add_batch",
            items=sent,
            reply_timeout=self._patience(None, len(sent)),
            pos=pos,
            before_uid=before_uid,
            after_uid=after_uid,
            user=user,
            user_group=user_group,
            lock_key=lock_key,
        )

    async def item_update(
        self,
        item: Item,
        *,
        replace: bool | None = None,
        user: str | None = None,
        user_group: str | None = None,
        lock_key: str | None = None,
    ) -> Reply:
        """Exchange the item with the same UID; with ``replace`` it gets a new UID."""
        return await self._call_as_user(
            "queue_item_update",
            item=plain_item(item),
            replace=replace,
            user=user,
            user_group=user_group,
            lock_key=lock_key,
        )

    async def item_get(self, *, pos: int | str | None = None, uid: str | None = None) -> Reply:
        """Return an item of the queue; the last one unless said otherwise."""
        return await self._call("queue_item_get", pos=pos, uid=uid)

    async def item_remove(
        self, *, pos: int | str | None = None, uid: str | None = None, lock_key: str | None = None
    ) -> Reply:
        """Remove an item from the queue; the last one unless said otherwise."""
        return await self._call("queue_item_remove", pos=pos, uid=uid, lock_key=lock_key)

    async def item_remove_batch(
        self, *, uids: list[str], ignore_missing: bool | None = None, lock_key: str | None = None
    ) -> Reply:
        """Remove several items."""
        return await self._call(
            "queue_item_remove_batch", uids=uids, ignore_missing=ignore_missing, lock_key=lock_key
        )

    async def item_move(
        self,
        *,
        pos: int | str | None = None,
        uid: str | None = None,
        pos_dest: int | str | None = None,
        before_uid: str | None = None,
        after_uid: str | None = None,
        lock_key: str | None = None,
    ) -> Reply:
        """Move an item to another place."""
        return await self._call(
            "queue_item_move",
            pos=pos,
            uid=uid,
            pos_dest=pos_dest,
            before_uid=before_uid,
            after_uid=after_uid,
            lock_key=lock_key,
        )

    async def item_move_batch(
        self,
        *,
        uids: list[str] | None = None,
        pos_dest: str | None = None,
        before_uid: str | None = None,
        after_uid: str | None = None,
        reorder: bool | None = None,
        lock_key: str | None = None,
    ) -> Reply:
        """Move several items, in the order given or, with ``reorder``, in that of the queue."""
        return await self._call(
            "queue_item_move_batch",
            uids=uids,
            pos_dest=pos_dest,
            before_uid=before_uid,
            after_uid=after_uid,
            reorder=reorder,
            lock_key=lock_key,
        )

    async def item_execute(
        self,
        item: Item,
        *,
        user: str | None = None,
        user_group: str | None = None,
        lock_key: str | None = None,
    ) -> Reply:
        """Run an item at once, past the queue."""
        return await self._call_as_user(
            "queue_item_execute", item=plain_item(item), user=user, user_group=user_group, lock_key=lock_key
        )

    async def queue_get(self, *, reload: bool = False) -> Reply:
        """Return the items of the queue and the running item.

        Parameters
        ----------
        reload : bool
            Ask the manager for its status in any case. The items are sent only if they have changed.
        """
        return await self._call_cached("queue_get", "plan_queue_uid", reload=reload)

    async def queue_clear(self, *, lock_key: str | None = None) -> Reply:
        """Remove all items from the queue."""
        return await self._call("queue_clear", lock_key=lock_key)

    async def queue_start(self, *, lock_key: str | None = None) -> Reply:
        """Begin to run the queue."""
        return await self._call("queue_start", lock_key=lock_key)

    async def queue_stop(self, *, lock_key: str | None = None) -> Reply:
        """Let the queue stop after the running item."""
        return await self._call("queue_stop", lock_key=lock_key)

    async def queue_stop_cancel(self, *, lock_key: str | None = None) -> Reply:
        """Take back :meth:`queue_stop`."""
        return await self._call("queue_stop_cancel", lock_key=lock_key)

    async def queue_autostart(self, enable: bool, *, lock_key: str | None = None) -> Reply:
        """Run items as soon as there are any, or not."""
        return await self._call("queue_autostart", enable=bool(enable), lock_key=lock_key)

    async def queue_mode_set(self, /, *, lock_key: str | None = None, **mode: Any) -> Reply:
        """Set modes of the queue: ``loop=True``, ``ignore_failures=True``, or ``mode="default"``."""
        return await self._call("queue_mode_set", mode=mode.get("mode", mode), lock_key=lock_key)

    async def history_get(self, *, reload: bool = False) -> Reply:
        """Return the items that have ended; ``reload`` as of :meth:`queue_get`."""
        return await self._call_cached("history_get", "plan_history_uid", reload=reload)

    async def history_clear(
        self, *, size: int | None = None, item_uid: str | None = None, lock_key: str | None = None
    ) -> Reply:
        """Forget the history, all but the last ``size`` items, or all before ``item_uid``."""
        return await self._call("history_clear", size=size, item_uid=item_uid, lock_key=lock_key)
