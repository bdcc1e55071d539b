"""Events that wait for the manager's acknowledgement."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from remanager.model.link import Event
    from remanager.model.pool_messages import PoolEvent

E = TypeVar("E", bound="Event | PoolEvent")


class Outbox:
    """Numbers events and keeps each one until it is acknowledged.

    The object does no I/O and has no lock: its owner serialises the calls.
    """

    def __init__(self) -> None:
        self._last_seq = 0
        self._acked_seq = 0
        self._pending: deque[Event | PoolEvent] = deque()

    @property
    def last_seq(self) -> int:
        """Number of the newest event; 0 before the first one."""
        return self._last_seq

    @property
    def acked_seq(self) -> int:
        """Number of the newest acknowledged event."""
        return self._acked_seq

    def add(self, event: E) -> E:
        """Give an event the next number, keep it and return it as numbered."""
        self._last_seq += 1
        numbered = cast("E", event._replace(seq=self._last_seq))
        self._pending.append(numbered)
        return numbered

    def ack(self, seq: int) -> None:
        """Forget the events up to and including ``seq``; an older or unknown number changes nothing."""
        self._acked_seq = max(self._acked_seq, min(seq, self._last_seq))
        while self._pending and self._pending[0].seq <= self._acked_seq:
            self._pending.popleft()

    def unacknowledged(self) -> list[Event | PoolEvent]:
        """Return the events that must be sent again after a reconnection, oldest first."""
        return list(self._pending)
