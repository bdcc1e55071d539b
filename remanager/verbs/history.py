"""The history of executed plans."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from remanager.manager.manager import Manager
from remanager.model.errors import InvalidParams
from remanager.verbs.registry import LockParams, LockScope, Params, fixed, verb
from remanager.verbs.selectors import SelectorModel, selector_of
from remanager.wire.codec import Reply

_MOST = 2**31


class GetParams(Params):
    """Parameters of ``history_get``."""

    limit: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="return only this many entries, the newest ones; oldest first"
    )
    cursor: Annotated[int, Field(ge=0, le=2**62)] | None = Field(
        None, description="``next_cursor`` of the page before: go on with older entries"
    )
    selector: SelectorModel | None = Field(None, description="only entries of these tasks")


class ClearParams(LockParams):
    """Parameters of ``history_clear``."""

    size: Any = Field(None, description="keep so many entries, the newest ones")
    item_uid: Any = Field(None, description="remove the entry with this UID and all older ones")


@verb("history_get", GetParams, fillers=fixed(items=[], plan_history_uid=""))
async def history_get(manager: Manager, params: GetParams) -> Reply:
    """Return the history, oldest entry first: all of it, or a page.

    With any parameter it is a page, of 100 entries by default, with ``next_cursor`` and ``total``.
    """
    if params.limit is None and params.cursor is None and params.selector is None:
        return await manager.queue.history_reply()
    selector = None if params.selector is None else selector_of(params.selector)
    return await manager.queue.history_page(params.limit or 100, params.cursor, selector)


@verb("history_clear", ClearParams, lock=LockScope.QUEUE)
async def history_clear(manager: Manager, params: ClearParams) -> Reply:
    """Remove all or the older entries of the history."""
    size, item_uid = params.size, params.item_uid
    if size is not None and item_uid is not None:
        raise InvalidParams("Parameters 'size' and 'item_uid' are mutually exclusive.")
    if size is not None and not isinstance(size, int):
        raise InvalidParams(f"The 'size' parameter must be an integer: size={size!r}")
    if item_uid is not None and not isinstance(item_uid, str):
        raise InvalidParams(f"The 'item_uid' parameter must be a string: item_uid={item_uid!r}")
    await manager.queue.history_clear(size=None if size is None else min(size, _MOST), item_uid=item_uid)
    return {}
