"""The events of the manager, one after the other, none left out."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from remanager_api import patience
from remanager_api.patience import Asker

GAP = "gap"
"""Type of the event that stands for those that are no longer kept."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes
    ----------
    seq : int
        Its number; the next one is greater, also over restarts of the manager.
    time : float
        Epoch seconds.
    type : str
        ``plan_started``, ``plan_finished``, ``task_finished``, ...; ``gap`` where events
        are missing.
    task_uid : str or None
        The task, plan or function that it concerns.
    data : Mapping
        Particulars, such as ``to`` or ``state`` (the new state of the task) and ``reason``.
    """

    seq: int
    time: float
    type: str
    task_uid: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


async def follow(
    asker: Asker,
    since: int | None,
    *,
    kinds: Iterable[str] | None = None,
    task_uid: str | None = None,
    selector: Mapping[str, Any] | None = None,
) -> AsyncGenerator[Event]:
    """Yield events for ever; see ``events`` of the client."""
    wanted: dict[str, Any] = {
        "types": None if kinds is None else [kinds] if isinstance(kinds, str) else list(kinds),
        "task_uid": task_uid,
        "selector": None if selector is None else dict(selector),
    }
    wanted = {name: value for name, value in wanted.items() if value is not None}
    if since is None:
        # No event is of this type: all that there are are passed over, and only the number comes back.
        since = (await asker.ask("event_list", since=2**62, limit=1))["next_seq"]
    while True:
        page = await asker.ask("event_list", wait_s=patience.SLICE_S, since=since, **wanted)
        if page["gap"]:
            missing = {"since": since, "oldest_seq": page["oldest_seq"]}
            yield Event(max(page["oldest_seq"] - 1, 0), time.time(), GAP, data=missing)
        for event in page["events"]:
            yield Event(event["seq"], event["time"], event["type"], event["task_uid"], event["data"])
        since = page["next_seq"]
