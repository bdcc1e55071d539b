"""Help with requests that went wrong: what is known of the reason, and what can be done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from remanager_api.errors import (
    HTTPError,
    RequestFailedError,
    RequestParameterError,
    RequestTimeoutError,
    refused_items,
)

PROBE_S = 0.25
"""How long to try whether anything listens at an address (s)."""

ASK_S = 1.0
"""How long the manager may take to say what it is busy with (s)."""

Request = Callable[[str, Mapping[str, Any], float], Awaitable[Any]]
"""``request`` of the transport."""

_TO_DO = {
    "environment_closed": "Open the environment first: environment_open().",
    "locked": "lock_info() tells who has locked it and why; unlock(key) opens it.",
    "not_permitted": (
        "permissions_get() tells what the user group may do. The file of permissions says it "
        "(allowed_functions, allowed_plans, ...), by default user_group_permissions.yaml beside the start-up "
        "code; permissions_reload() reads it again."
    ),
    "unknown_method": "The manager is of another version, or of another kind.",
    "too_large": "Send less at once.",
}
"""What to do about a refusal, by its code."""


async def explain_silence(exc: RequestTimeoutError, address: str | None, answered_at: float | None) -> None:
    """Add to an exception what is known of a manager that does not answer.

    Parameters
    ----------
    exc : RequestTimeoutError
        The exception.
    address : str or None
        Where the manager should be; None: it is not asked directly.
    answered_at : float or None
        When it answered last (epoch seconds); None: never.
    """
    exc.answered_at = answered_at
    if exc.request_id is not None:
        exc.add_note(
            f"With request_id={exc.request_id!r} it can be repeated within five minutes, and is not carried "
            "out twice. A manager that was restarted does not know the request: look first."
        )
    if address is None:
        return
    listening = await is_listening(address)
    since = "It has not answered this client yet"
    if answered_at is not None:
        ago = max(time.time() - answered_at, 0.0)
        since = (
            f"It answered last at {time.strftime('%H:%M:%S', time.localtime(answered_at))}, {ago:.3g} s ago"
        )
    if listening is False:
        found = (
            f"No connection to {address}: the daemon is not running there, the address is wrong, or a "
            "firewall is in between."
        )
    elif listening:
        found = (
            f"Something listens at {address}: the manager is busy or just starting, or it uses encryption "
            "and this client has no key, or a wrong one."
        )
    else:
        found = f"Nothing is known of {address}."
    exc.address, exc.listening = address, listening
    exc.add_note(f"{found} {since}. On its computer, 'remanager doctor' finds out more.")


async def is_listening(address: str) -> bool | None:
    """Tell whether anything accepts connections at an address; None if that cannot be told."""
    kind, _, place = address.partition("://")
    host, _, port = place.rpartition(":")
    try:
        async with asyncio.timeout(PROBE_S):
            if kind == "ipc":
                _, writer = await asyncio.open_unix_connection(place)
            elif kind == "tcp" and port.isdecimal():
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            else:
                return None
    except (OSError, OverflowError, UnicodeError):  # a time-out; ports and names that cannot be
        return False
    writer.transport.abort()
    return True


async def explain_refusal(exc: RequestFailedError, request: Request) -> None:
    """Add to an exception what the manager does at the moment, or what can be done.

    Managers that give no ``code`` are not asked.

    Parameters
    ----------
    exc : RequestFailedError
        The exception.
    request : callable
        Sends a request.
    """
    if exc.code in {"busy", "conflict"}:
        try:
            words = await _occupation(request)
        except (RequestTimeoutError, RequestFailedError, RequestParameterError, HTTPError):
            return  # the refusal is what counts
        if words:
            exc.add_note(words)
        return
    response = exc.response if isinstance(exc.response, Mapping) else {}
    codes = {exc.code, *(result.get("code") for result in refused_items(response).values())}
    for code, words in _TO_DO.items():
        if code in codes:
            exc.add_note(words)


async def _occupation(request: Request) -> str:
    """Return in words what the manager does, and since when; nothing if it does not say."""
    status = await request("status", {}, ASK_S)
    if not isinstance(status, dict) or "manager_state" not in status:
        return ""
    words = f"The manager is {status['manager_state'].replace('_', ' ')}"
    uid = status.get("running_item_uid")
    if not uid:
        opened = "open" if status.get("worker_environment_exists") else "closed"
        return f"{words}, the environment is {opened}, {status.get('items_in_queue')} items are in the queue."
    task = (await request("task_info", {"task_uid": uid}, ASK_S)).get("task") or {}
    words += f": {task.get('item_type', 'item')} {task.get('name', '')!r} ({uid})"
    if task.get("time_start"):
        words += f" since {time.strftime('%H:%M:%S', time.localtime(task['time_start']))}"
    progress = status.get("progress") or {}
    if progress.get("total_count"):
        words += f", {progress['done_count']} of {progress['total_count']} points"
    return f"{words}."
