"""The wall clock, and what to do when somebody sets it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

STEP_S = 1.0
"""A difference that slewing (NTP, PTP) does not make between two looks at the clock."""


class WallClock:
    """Seconds since the epoch; notices when the clock is set, or the machine was suspended.

    Parameters
    ----------
    wall, steady : callable
        The clock that can be set, and one that cannot be and stands still while the machine is suspended; s.

    Attributes
    ----------
    on_step : callable
        Called with the difference, s, before the first new time is returned: who compares times from before
        and after would take the difference for time that has passed. Only the thread that made the clock
        looks for it.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._ahead = wall() - steady()
        self._thread = threading.get_ident()
        self.on_step: Callable[[float], None] = lambda _step_s: None

    def __call__(self) -> float:
        """Return the time now."""
        now = self._wall()
        if threading.get_ident() != self._thread:
            return now
        before, self._ahead = self._ahead, now - self._steady()
        step = self._ahead - before
        if abs(step) > STEP_S:
            self.on_step(step)
        return now
