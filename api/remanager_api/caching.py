"""What the client knows of the manager: its status, and replies that are valid while the status says so."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable, Hashable
from time import monotonic
from typing import Any

Reply = dict[str, Any]


def _copy(packed: bytes) -> Reply:
    reply: Reply = pickle.loads(packed)
    return reply


class StatusCache:
    """The status, asked for again when it is too old or was invalidated.

    Parameters
    ----------
    load : callable
        Asks the manager for its status.
    lifetime : float
        Time (s) for which a status is good.
    """

    def __init__(self, load: Callable[[], Awaitable[Reply]], lifetime: float) -> None:
        self._load = load
        self._lifetime = lifetime
        self._packed: bytes | None = None
        self._loaded_at = 0.0
        self._generation = 0

    def invalidate(self) -> None:
        """Ask the manager next time; also if a status that was asked for before is still to come."""
        self._generation += 1
        self._packed = None

    def put(self, status: Reply) -> None:
        """Keep a status that is known to be of now."""
        self._packed = pickle.dumps(status)
        self._loaded_at = monotonic()

    async def get(self, *, reload: bool = False) -> Reply:
        """Return a status that the caller may change."""
        if not reload and self._packed is not None and monotonic() - self._loaded_at <= self._lifetime:
            return _copy(self._packed)
        generation = self._generation
        status = await self._load()
        if generation == self._generation:
            self.put(status)
        return status


class ReplyCache:
    """Replies with the UID of their content."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[str, bytes]] = {}

    def get(self, name: Hashable, uid: str | None) -> Reply | None:
        """Return a copy of the reply if it is the one with this UID."""
        kept = self._kept.get(name)
        return _copy(kept[1]) if kept is not None and kept[0] == uid else None

    def put(self, name: Hashable, uid: str, reply: Reply) -> None:
        """Keep a reply."""
        self._kept[name] = (uid, pickle.dumps(reply))
