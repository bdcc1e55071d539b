"""The forms of an item: while it runs, in the history, and when it returns to the queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_INTERNAL_PROPERTIES = frozenset(("immediate_execution", "time_start"))


def running_item(item: Mapping[str, Any], *, time_start: float, immediate: bool) -> dict[str, Any]:
    """Return an item as clients see it while it runs.

    Parameters
    ----------
    item : mapping
        The item; not changed.
    time_start : float
        When it was started, epoch seconds; goes into ``properties``.
    immediate : bool
        Whether it runs beside the queue; only then ``properties`` say so.
    """
    clean = _without_internal_properties(item)
    properties = {**clean.get("properties", {}), "time_start": time_start}
    if immediate:
        properties["immediate_execution"] = True
    return {**clean, "properties": properties}


def history_entry(item: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of the history: the item without internal properties, and the result of this run.

    Parameters
    ----------
    item : mapping
        The item that ran; not changed. The result of an earlier run that it may carry is dropped.
    result : mapping
        ``exit_status, run_uids, scan_ids, time_start, time_stop, msg, traceback``.
    """
    return {**_without_internal_properties(item), "result": dict(result)}


def returned_item(
    item: Mapping[str, Any], new_uid: str, *, result: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the item that goes back into the queue.

    Parameters
    ----------
    item : mapping
        The item that ended; not changed. All its keys are kept, except for internal properties.
    new_uid : str
        Its new UID: the old one belongs to the run that ended.
    result : mapping, optional
        Result of the run, which an item returning to the front carries. Without it, no result: an item that
        returns in loop mode starts afresh.
    """
    clean = _without_internal_properties(item)
    clean.pop("result", None)
    if result is not None:
        clean["result"] = dict(result)
    clean["item_uid"] = new_uid
    return clean


def _without_internal_properties(item: Mapping[str, Any]) -> dict[str, Any]:
    clean = dict(item)
    properties = clean.pop("properties", None)
    if isinstance(properties, Mapping):
        kept = {key: value for key, value in properties.items() if key not in _INTERNAL_PROPERTIES}
        if kept:
            clean["properties"] = kept
    return clean
