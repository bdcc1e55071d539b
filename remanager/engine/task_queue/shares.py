"""Aging of waiting tasks, and the fair division of slots among groups."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from remanager.engine.task_queue.card import Card
from remanager.model.errors import InvalidParams


@dataclass(frozen=True, slots=True, kw_only=True)
class Aging:
    """A waiting task gains one step of priority per interval. What is stored does not change.

    Attributes
    ----------
    grace_s : float
        How long a task waits before that begins, s.
    interval_s : float
        Time per step, s.
    ceiling : int
        No task gets better than this by waiting.
    """

    grace_s: float = 300.0
    interval_s: float = 60.0
    ceiling: int = 64

    def __post_init__(self) -> None:
        if not (math.isfinite(self.interval_s) and self.interval_s > 0):
            raise InvalidParams(f"The interval of aging must be positive: {self.interval_s}")
        if not (math.isfinite(self.grace_s) and self.grace_s >= 0):
            raise InvalidParams(f"The grace of aging must not be negative: {self.grace_s}")

    def effective(self, card: Card, now: float) -> int:
        """Return the priority of a task with what it has gained."""
        # A task that is better than the ceiling keeps its own priority.
        return min(card.priority, max(card.priority - self._steps(card, now), self.ceiling))

    def next_step(self, card: Card, now: float) -> float | None:
        """Return when the task gains its next step, later than ``now``; None if it gains no more."""
        if self.effective(card, now) <= self.ceiling or card.paused_since is not None:
            return None
        due = _waiting_since(card) + self.grace_s + (self._steps(card, now) + 1) * self.interval_s
        return max(due, math.nextafter(now, math.inf))

    def _steps(self, card: Card, now: float) -> int:
        end = now if card.paused_since is None else min(now, card.paused_since)
        return max(0, int((end - _waiting_since(card) - self.grace_s) // self.interval_s))


def _waiting_since(card: Card) -> float:
    """Return when the task would have begun to wait had it never been held, epoch seconds."""
    begin = card.spec.time_created if card.time_ready is None else card.time_ready
    return begin + card.paused_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a group asks for: running and ready tasks, and what it may have."""

    tasks: int
    weight: float = 1.0
    min_slots: int = 0
    max_running: int | None = None


def allocate(slots: int, demands: Mapping[str, Demand]) -> dict[str, int]:
    """Divide slots among groups.

    Each gets its minimum first (in the order of the names, as far as the slots go), the rest is divided by
    weight. No group gets more than it asks for or may have; what it can't use goes to the others.

    Returns
    -------
    dict of str to int
        Slots by group; their sum is the smaller of ``slots`` and of what all groups can use.
    """
    most = {
        name: d.tasks if d.max_running is None else min(d.tasks, d.max_running) for name, d in demands.items()
    }
    given = dict.fromkeys(demands, 0)
    for name in sorted(demands):
        given[name] = min(demands[name].min_slots, most[name], slots)
        slots -= given[name]
    # One slot after the other to whoever has the least of its share: exact, and there are few slots.
    while slots > 0:
        open_ = [name for name in demands if given[name] < most[name]]
        if not open_:
            break
        name = min(open_, key=lambda n: ((given[n] + 1) / demands[n].weight, n))
        given[name] += 1
        slots -= 1
    return given
