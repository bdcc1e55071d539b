"""Counts per minute: windows of 20 one-minute slots aligned to the wall clock, and rates from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

SLOT_S = 60
"""Length of a slot, s."""

SLOTS = 20
"""Number of slots of a window; the last one is the minute that has just begun."""

# One more than is shown, so that a window of 20 minutes that ends inside a minute is covered.
_RING = SLOTS + 1


class MinuteWindow:
    """Counts of one thing.

    A slot belongs to a minute of the wall clock. If the clock is set back, what follows counts for the minute
    that the clock says; slots of later minutes are not shown until the clock gets there again.
    """

    __slots__ = ("_counts", "_minutes", "total")

    def __init__(self) -> None:
        self._counts = [0] * _RING
        self._minutes = [-1] * _RING
        self.total = 0
        """Everything that was counted."""

    def add(self, n: int, now: float) -> None:
        """Count ``n`` more at the time ``now`` (epoch seconds)."""
        minute = _minute(now)
        slot = minute % _RING
        if self._minutes[slot] != minute:
            self._minutes[slot] = minute
            self._counts[slot] = 0
        self._counts[slot] += n
        self.total += n

    def slots(self, now: float) -> list[int]:
        """Return the counts of the last 20 minutes, oldest first; the last one is not over yet."""
        last = _minute(now)
        return [self._at(minute) for minute in range(last - SLOTS + 1, last + 1)]

    def rate(self, seconds: float, now: float) -> float:
        """Return how many per second there were in the last ``seconds``, at most 20 minutes.

        The slot in which that time begins counts in proportion.

        Raises
        ------
        ValueError
            ``seconds`` is not positive or longer than the window.
        """
        if not 0 < seconds <= SLOTS * SLOT_S:
            raise ValueError(f"A rate covers more than 0 and at most {SLOTS * SLOT_S} s, not {seconds} s")
        start = now - seconds
        first, last = _minute(start), _minute(now)
        if first == last:
            # Shorter than what has passed of this minute.
            return self._at(last) / max(now - last * SLOT_S, seconds)
        covered = (first + 1) * SLOT_S - start
        count = self._at(first) * covered / SLOT_S
        count += sum(self._at(minute) for minute in range(first + 1, last + 1))
        return count / seconds

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {"minutes": self._minutes, "counts": self._counts, "total": self.total}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MinuteWindow:
        """Read what :meth:`to_dict` has made."""
        made = cls()
        made._minutes, made._counts = list(data["minutes"]), list(data["counts"])
        made.total = data["total"]
        return made

    def _at(self, minute: int) -> int:
        slot = minute % _RING
        return self._counts[slot] if self._minutes[slot] == minute else 0


class Windows:
    """Counts by name, in all and by type of task.

    There is one window for each pair of name and type that was ever counted: names and types must come from
    fixed sets.
    """

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str | None], MinuteWindow] = {}

    def add(self, name: str, n: int, now: float, *, task_type: str | None = None) -> None:
        """Count ``n`` more of ``name`` at ``now`` (epoch seconds), in all and for the type."""
        self._window(name, None).add(n, now)
        if task_type is not None:
            self._window(name, task_type).add(n, now)

    def _window(self, name: str, task_type: str | None) -> MinuteWindow:
        window = self._windows.get((name, task_type))
        if window is None:
            window = self._windows[name, task_type] = MinuteWindow()
        return window

    def slots(self, name: str, now: float, *, task_type: str | None = None) -> list[int]:
        """Return the counts of the last 20 minutes, oldest first; of one type or, by default, of all."""
        window = self._windows.get((name, task_type))
        return window.slots(now) if window else [0] * SLOTS

    def rate(self, name: str, seconds: float, now: float, *, task_type: str | None = None) -> float:
        """Return how many per second there were in the last ``seconds``; see :meth:`MinuteWindow.rate`."""
        window = self._windows.get((name, task_type))
        return window.rate(seconds, now) if window else 0.0

    def total(self, name: str, *, task_type: str | None = None) -> int:
        """Return how many were counted since the start."""
        window = self._windows.get((name, task_type))
        return window.total if window else 0

    def to_list(self) -> list[list[Any]]:
        """Return everything as JSON values."""
        return [[*key, window.to_dict()] for key, window in self._windows.items()]

    @classmethod
    def from_list(cls, rows: Iterable[Sequence[Any]]) -> Windows:
        """Read what :meth:`to_list` has made."""
        made = cls()
        made._windows = {(name, kind): MinuteWindow.from_dict(window) for name, kind, window in rows}
        return made

    def task_types(self) -> list[str]:
        """Return the types of task that were counted, sorted."""
        return sorted({task_type for _, task_type in self._windows if task_type is not None})


def _minute(now: float) -> int:
    return int(now // SLOT_S)
