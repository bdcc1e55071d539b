"""Ends of tasks and plans, found by looking again and again: for managers that cannot be waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from remanager_api.outcomes import Outcome
from remanager_api.patience import Asker
from remanager_api.states import NOT_FOUND


async def ended(asker: Asker, uids: list[str], period_s: float) -> list[Outcome]:
    """Return the outcomes of those that have ended or are not known; if there are none, after a time (s)."""
    found = [outcome for outcome in await outcomes_of(asker, uids) if outcome.ended]
    if not found:
        await asyncio.sleep(period_s)
    return found


async def outcomes_of(asker: Asker, uids: list[str]) -> list[Outcome]:
    """Return what has become of tasks and plans so far, in order."""
    words = (await asker.ask("task_status", task_uid=uids))["status"]
    found: dict[str, Outcome] = {}
    if NOT_FOUND in words.values():
        # First the queue, then the history: what ends in between is found in the latter.
        queue = await asker.ask("queue_get")
        found = {item["item_uid"]: _active(item, "pending") for item in queue["items"]}
        if running := queue["running_item"]:
            found[running["item_uid"]] = _active(running, "running")
        history = await asker.ask("history_get")
        found |= {item["item_uid"]: _plan(item) for item in history["items"]}
    for uid, word in words.items():
        if word == "completed":
            found[uid] = await _task(asker, uid)
        elif word == "running":
            found[uid] = Outcome(uid, "running")
    return [found.get(uid) or Outcome(uid, NOT_FOUND) for uid in uids]


async def _task(asker: Asker, uid: str) -> Outcome:
    result = (await asker.ask("task_result", task_uid=uid))["result"]
    return Outcome.of(uid, "completed" if result.get("success") else "failed", result)


def _active(item: Mapping[str, Any], state: str) -> Outcome:
    return Outcome(item["item_uid"], state, item["name"])


def _plan(item: Mapping[str, Any]) -> Outcome:
    result = item["result"]
    status = result["exit_status"]
    return Outcome.of(item["item_uid"], "lost" if status == "unknown" else status, result, item["name"])
