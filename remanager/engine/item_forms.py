"""The forms of an item: while it runs, and when it returns to the queue."""

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


def returned_item(item: Mapping[str, Any], new_uid: str) -> dict[str, Any]:
    """Return the item that goes back into the queue.

    Parameters
    ----------
    item : mapping
        The item that ended; not changed. Its keys are kept, except for internal properties and a result: it
        starts afresh.
    new_uid : str
        Its new UID: the old one belongs to the run that ended.
    """
    clean = _without_internal_properties(item)
    clean.pop("result", None)
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
