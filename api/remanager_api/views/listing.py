"""Lists of tasks that may be longer than one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from remanager_api.blocking import BlockingClient
from remanager_api.views.native import PAGE, Record


def listed(
    manager: BlockingClient,
    selector: Mapping[str, Any],
    *,
    order: str = "created",
    limit: int | None = None,
    offset: int = 0,
    fields: Sequence[str] | None = None,
) -> list[Record]:
    """Return the records of selected tasks, page by page.

    Parameters
    ----------
    order : str
        As ``task_list`` takes it.
    limit : int, optional
        At most so many; default: all.
    offset : int
        Skip so many.
    fields : sequence of str, optional
        Only these keys of each record.
    """
    found: list[Record] = []
    cursor: str | None = None
    while limit is None or len(found) < limit:
        size = PAGE if limit is None else min(PAGE, limit - len(found))
        skipped = None if cursor else offset
        page = manager.task_list(
            selector, order=order, limit=size, cursor=cursor, offset=skipped, fields=fields
        )
        found += page["tasks"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    return found
