"""How many tasks a worker is handed at once: so many that it has work until the next hand-over."""

from __future__ import annotations

TARGET_S = 0.05
"""Work that a worker shall have in hand, s."""

MOST = 256
_WEIGHT = 0.1


class Pace:
    """Follows how long tasks take."""

    def __init__(self) -> None:
        self.mean_s: float | None = None

    def observe(self, duration_s: float) -> None:
        """Take note of an execution."""
        if self.mean_s is None or duration_s > TARGET_S:
            self.mean_s = duration_s  # long ones count at once: nothing shall wait behind them
        else:
            self.mean_s += _WEIGHT * (duration_s - self.mean_s)

    @property
    def places(self) -> int:
        """Tasks that a worker may hold."""
        if self.mean_s is None:
            return 1
        return max(1, min(MOST, int(TARGET_S / max(self.mean_s, 1e-6))))
