"""Distribution of durations in fixed buckets on a logarithmic scale; no samples are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

_SMALLEST_S = 1e-6
_PER_OCTAVE = 4
_OCTAVES = 44  # up to about half a year
_BUCKETS = _OCTAVES * _PER_OCTAVE

MAX_RATIO = 2 ** (1 / (2 * _PER_OCTAVE))
"""A percentile is at most this factor (1.09) from the true one, for durations from 1 µs to 200 days."""


class Histogram:
    """Counts of durations.

    Attributes
    ----------
    count : int
        Number of durations.
    total : float
        Their sum, s.
    minimum, maximum : float or None
        The shortest and the longest, s; None without any.
    """

    __slots__ = ("_buckets", "count", "maximum", "minimum", "total")

    def __init__(self) -> None:
        self._buckets = [0] * _BUCKETS
        self.count = 0
        self.total = 0.0
        self.minimum: float | None = None
        self.maximum: float | None = None

    def add(self, seconds: float) -> None:
        """Count a duration, s. A negative one, which a step of the wall clock can cause, counts as zero.

        Raises
        ------
        ValueError
            The duration is not finite.
        """
        if not math.isfinite(seconds):
            raise ValueError(f"A duration must be finite: {seconds}")
        seconds = max(seconds, 0.0)
        self._buckets[_bucket(seconds)] += 1
        self.count += 1
        self.total += seconds
        if self.minimum is None or seconds < self.minimum:
            self.minimum = seconds
        if self.maximum is None or seconds > self.maximum:
            self.maximum = seconds

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        buckets = {str(index): n for index, n in enumerate(self._buckets) if n}
        return {"buckets": buckets, "total": self.total, "minimum": self.minimum, "maximum": self.maximum}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Histogram:
        """Read what :meth:`to_dict` has made."""
        made = cls()
        for index, n in data["buckets"].items():
            made._buckets[int(index)] = n
        made.count = sum(made._buckets)
        made.total, made.minimum, made.maximum = data["total"], data["minimum"], data["maximum"]
        return made

    @property
    def average(self) -> float | None:
        """Mean duration, s; None without any."""
        return self.total / self.count if self.count else None

    def percentiles(self, percents: Sequence[float]) -> list[float | None]:
        """Return percentiles (nearest rank), s.

        Parameters
        ----------
        percents : sequence of float
            Each from 0 to 100, in any order.

        Returns
        -------
        list of float or None
            In the order of ``percents``; None without any duration.
        """
        return [self._percentile(percent) for percent in percents]

    def _percentile(self, percent: float) -> float | None:
        if not 0 <= percent <= 100:
            raise ValueError(f"A percentile is between 0 and 100, not {percent}")
        if self.minimum is None or self.maximum is None:
            return None
        rank = max(1, math.ceil(self.count * percent / 100))
        seen = 0
        for index, n in enumerate(self._buckets):
            seen += n
            if seen >= rank:
                middle = _SMALLEST_S * 2 ** ((index + 0.5) / _PER_OCTAVE)
                return min(max(middle, self.minimum), self.maximum)
        return self.maximum


def _bucket(seconds: float) -> int:
    if seconds <= _SMALLEST_S:
        return 0
    return min(int(math.log2(seconds / _SMALLEST_S) * _PER_OCTAVE), _BUCKETS - 1)
