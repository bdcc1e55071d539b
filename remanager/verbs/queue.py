"""Reading and changing the plan queue."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from remanager.engine.queue_item import BatchRejected, PreparedItem, prepare_item
from remanager.manager.items import MISSING, check_form, prepare, submission, user_of
from remanager.manager.manager import Manager
from remanager.model.errors import InvalidParams, RemanagerError
from remanager.verbs.registry import LockParams, LockScope, Params, Refusal, fixed, verb
from remanager.wire.codec import Fragment, Reply

SLICE = 25
"""Items of a batch that are checked in one go; other requests are answered in between."""


class GetParams(Params):
    """Parameters of ``queue_get``."""

    limit: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="return only this many items, from the front"
    )
    cursor: Annotated[int, Field(ge=-(2**62), le=2**62)] | None = Field(
        None,
        description="``next_cursor`` of the page before: go on with the items behind it; "
        "a changed ``plan_queue_uid`` says that the queue changed meanwhile",
    )


class UserParams(LockParams):
    """Who asks."""

    user: Any = Field(MISSING, description="name of the user")
    user_group: Any = Field(MISSING, description="name of the user group")


class PlaceParams(UserParams):
    """Where an item goes."""

    pos: Any = Field(None, description="``front``, ``back`` or an index; default: back")
    before_uid: Any = Field(None, description="put it before this item")
    after_uid: Any = Field(None, description="put it after this item")


class AddParams(PlaceParams):
    """Parameters of ``queue_item_add``."""

    item: Any = Field(MISSING, description="plan or instruction")


class AddBatchParams(PlaceParams):
    """Parameters of ``queue_item_add_batch``."""

    items: Any = Field(MISSING, description="list of plans and instructions")


class UpdateParams(UserParams):
    """Parameters of ``queue_item_update``."""

    item: Any = Field(MISSING, description="the new item, with the ``item_uid`` of the one in the queue")
    replace: Any = Field(False, description="give it a new UID")


class SelectParams(Params):
    """Parameters of ``queue_item_get``."""

    pos: Any = Field(None, description="``front``, ``back`` or an index; default: back")
    uid: Any = Field(None, description="UID of the item")


class RemoveParams(LockParams):
    """Parameters of ``queue_item_remove``."""

    pos: Any = Field(None, description="``front``, ``back`` or an index; default: back")
    uid: Any = Field(None, description="UID of the item")


class RemoveBatchParams(LockParams):
    """Parameters of ``queue_item_remove_batch``."""

    uids: Any = Field(None, description="UIDs of the items")
    ignore_missing: Any = Field(True, description="skip UIDs that are not in the queue or repeated")


class MoveParams(LockParams):
    """Parameters of ``queue_item_move``."""

    pos: Any = Field(None, description="which item: ``front``, ``back`` or an index")
    uid: Any = Field(None, description="which item: its UID")
    pos_dest: Any = Field(None, description="where to: ``front``, ``back`` or an index")
    before_uid: Any = Field(None, description="where to: before this item")
    after_uid: Any = Field(None, description="where to: after this item")


class MoveBatchParams(LockParams):
    """Parameters of ``queue_item_move_batch``."""

    uids: Any = Field(None, description="UIDs of the items")
    pos_dest: Any = Field(None, description="``front`` or ``back``")
    before_uid: Any = Field(None, description="before this item")
    after_uid: Any = Field(None, description="after this item")
    reorder: Any = Field(False, description="keep the order of the queue, not that of ``uids``")


class ModeParams(LockParams):
    """Parameters of ``queue_mode_set``."""

    mode: Any = Field(
        MISSING, description="``default``, or a dictionary with ``loop`` and/or ``ignore_failures``"
    )


def submitted_item(request: Mapping[str, Any], _manager: Manager) -> Mapping[str, object]:
    """Keys of a refusal of a request with an item."""
    return {"qsize": None, "item": request.get("item")}


def _submitted_update(request: Mapping[str, Any], _manager: Manager) -> Mapping[str, object]:
    return {"qsize": 0, "item": request.get("item")}


_ADDING = "Failed to add an item: "
_ADDED = '{"success": true, "msg": ""}'
_NO_ITEM = fixed(qsize=None, item={})
_NO_ITEMS = fixed(qsize=None, items=[])


@verb("queue_get", GetParams, fillers=fixed(items=[], running_item={}, plan_queue_uid=""))
def queue_get(manager: Manager, params: GetParams) -> Reply:
    """Return the queue, all of it or a page, and the running item."""
    if params.limit is None and params.cursor is None:
        return manager.queue.reply()
    return manager.queue.page(params.limit or 100, params.cursor)


@verb("queue_item_add", AddParams, lock=LockScope.QUEUE, prefix=_ADDING, fillers=submitted_item)
async def queue_item_add(manager: Manager, params: AddParams) -> Reply:
    """Check an item and add it to the queue under a new UID."""
    item = check_form(params.item)
    user, group = user_of(manager.catalogue, params.user, params.user_group)
    item = prepare(manager.catalogue, item, user, group)
    try:
        item = await manager.queue.add(
            item, pos=params.pos, before_uid=params.before_uid, after_uid=params.after_uid
        )
    except RemanagerError as exc:
        raise Refusal(exc, item=item) from exc
    size = manager.queue.size
    manager.execution.autostart()
    return {"qsize": size, "item": item}


def _submitted_batch(request: Mapping[str, Any], manager: Manager) -> Mapping[str, object]:
    return {"qsize": manager.queue.size, "items": [], "results": []}


@verb("queue_item_add_batch", AddBatchParams, lock=LockScope.QUEUE, prefix=_ADDING, fillers=_submitted_batch)
async def queue_item_add_batch(manager: Manager, params: AddBatchParams) -> Reply:
    """Check items and add them next to each other: all of them, or none."""
    items = params.items
    if items is MISSING:
        raise InvalidParams("Invalid request format: the list of items is not found")
    if not isinstance(items, list):
        raise InvalidParams(f"Incorrect type of 'items': {type(items)}. List is expected")
    user, group = user_of(manager.catalogue, params.user, params.user_group)
    prepared, results = await _prepare_batch(manager, items, user, group)
    if len(prepared) == len(items):
        try:
            added = await manager.queue.add_batch(
                prepared, pos=params.pos, before_uid=params.before_uid, after_uid=params.after_uid
            )
        except BatchRejected as exc:
            items, results = [p.item for p in prepared], exc.results
        else:
            size = manager.queue.size
            manager.execution.autostart()
            done = Fragment.of_json_texts([_ADDED] * len(items))
            return {"qsize": size, "items": added, "results": done}
    failed = sum(not r["success"] for r in results)
    return {
        "success": False,
        "msg": f"Failed to add all items: validation of {failed} out of {len(items)} submitted items failed",
        "code": "invalid_item",
        "qsize": manager.queue.size,
        "items": items,
        "results": results,
    }


async def _prepare_batch(
    manager: Manager, items: list[Any], user: str, group: str
) -> tuple[list[PreparedItem], list[dict[str, Any]]]:
    prepared, results, origin = [], [], submission()
    for number, item in enumerate(items, 1):
        try:
            checked = prepare(manager.catalogue, check_form(item), user, group)
            prepared.append(prepare_item(checked, origin))
            results.append({"success": True, "msg": ""})
        except RemanagerError as exc:
            results.append({"success": False, "msg": f"Failed to add a plan: {exc}"})
        if number % SLICE == 0:
            await asyncio.sleep(0)
    return prepared, results


@verb("queue_item_update", UpdateParams, lock=LockScope.QUEUE, prefix=_ADDING, fillers=_submitted_update)
async def queue_item_update(manager: Manager, params: UpdateParams) -> Reply:
    """Replace an item of the queue by a changed one."""
    item = check_form(params.item)
    user, group = user_of(manager.catalogue, params.user, params.user_group)
    changed = prepare(manager.catalogue, item, user, group, keep_uid=not params.replace)
    try:
        changed = await manager.queue.update(changed, item_uid=item.get("item_uid"))
    except RemanagerError as exc:
        raise Refusal(exc, item=changed) from exc
    return {"qsize": manager.queue.size, "item": changed}


@verb("queue_item_get", SelectParams, prefix="Failed to get an item: ", fillers=fixed(item={}))
def queue_item_get(manager: Manager, params: SelectParams) -> Reply:
    """Return an item of the queue."""
    return {"item": manager.queue.get(pos=params.pos, uid=params.uid)}


@verb(
    "queue_item_remove",
    RemoveParams,
    lock=LockScope.QUEUE,
    prefix="Failed to remove an item: ",
    fillers=_NO_ITEM,
)
async def queue_item_remove(manager: Manager, params: RemoveParams) -> Reply:
    """Remove an item from the queue."""
    item = await manager.queue.remove(pos=params.pos, uid=params.uid)
    return {"item": item, "qsize": manager.queue.size}


@verb(
    "queue_item_remove_batch",
    RemoveBatchParams,
    lock=LockScope.QUEUE,
    prefix="Failed to remove a batch of items: ",
    fillers=_NO_ITEMS,
)
async def queue_item_remove_batch(manager: Manager, params: RemoveBatchParams) -> Reply:
    """Remove items by UID."""
    if params.uids is None:
        raise InvalidParams("Request does not contain the list of UIDs")
    items = await manager.queue.remove_batch(params.uids, ignore_missing=bool(params.ignore_missing))
    return {"items": items, "qsize": manager.queue.size}


@verb(
    "queue_item_move", MoveParams, lock=LockScope.QUEUE, prefix="Failed to move the item: ", fillers=_NO_ITEM
)
async def queue_item_move(manager: Manager, params: MoveParams) -> Reply:
    """Move an item to another place in the queue."""
    item = await manager.queue.move(
        pos=params.pos,
        uid=params.uid,
        pos_dest=params.pos_dest,
        before_uid=params.before_uid,
        after_uid=params.after_uid,
    )
    return {"item": item, "qsize": manager.queue.size}


@verb(
    "queue_item_move_batch",
    MoveBatchParams,
    lock=LockScope.QUEUE,
    prefix="Failed to move the batch of items: ",
    fillers=_NO_ITEMS,
)
async def queue_item_move_batch(manager: Manager, params: MoveBatchParams) -> Reply:
    """Move items next to each other to another place in the queue."""
    if params.uids is None:
        raise InvalidParams("Request does not contain the list of UIDs")
    items = await manager.queue.move_batch(
        params.uids,
        pos_dest=params.pos_dest,
        before_uid=params.before_uid,
        after_uid=params.after_uid,
        reorder=bool(params.reorder),
    )
    return {"items": items, "qsize": manager.queue.size}


@verb("queue_clear", LockParams, lock=LockScope.QUEUE)
async def queue_clear(manager: Manager, _params: LockParams) -> Reply:
    """Remove every item from the queue; a running plan goes on."""
    await manager.queue.clear()
    return {}


@verb("queue_mode_set", ModeParams, lock=LockScope.QUEUE, prefix="Failed to set queue mode: ")
async def queue_mode_set(manager: Manager, params: ModeParams) -> Reply:
    """Set the mode of the queue: ``loop``, ``ignore_failures``."""
    if params.mode is MISSING:
        raise InvalidParams("Parameter 'mode' is not found in request")
    await manager.queue.set_mode(params.mode)
    return {}
