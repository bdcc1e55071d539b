"""How far a running task is: from what it reports, and from how long its type takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SMOOTHING = 0.3
"""Weight of the newest value in an average of rates."""

CAP = 0.99
"""No task is further than this before it has ended."""

REPORT_INTERVAL_S = 10.0
"""Assumed time between reports while there was only one, s."""

MIN_INTERVAL_S = 0.5
"""Reports are not expected faster than this, s."""

MAX_MESSAGE_CHARS = 500
MAX_NUMBER = 1 << 63

_MIN_STEP_S = 0.1  # reports that follow one another faster make no rate of their own
_NUMBERS = ("done_count", "total_count", "done_size", "total_size")


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known; see the protocol for the fields. None: unknown. Times in s."""

    done_count: float | None
    total_count: float | None
    done_size: float | None
    total_size: float | None
    reported: float | None
    estimated: float | None
    best: float | None
    percent: int | None
    message: str
    rate_bps: float | None
    eta_s: float | None
    elapsed_s: float
    time_updated: float | None
    stale: bool


class _Rate:
    """Exponentially weighted average of how fast something grows."""

    __slots__ = ("_time", "_value", "per_s")

    def __init__(self) -> None:
        self.per_s: float | None = None
        self._value = 0.0
        self._time: float | None = None

    def see(self, value: float, now: float) -> None:
        if self._time is None or now < self._time:
            self._value, self._time = value, now
            return
        step = now - self._time
        if step < _MIN_STEP_S:
            return
        rate = max(value - self._value, 0.0) / step
        self.per_s = rate if self.per_s is None else SMOOTHING * rate + (1 - SMOOTHING) * self.per_s
        self._value, self._time = value, now


class ProgressTracker:
    """Follows the reports of one execution of a task. Another attempt begins with a new one.

    Parameters
    ----------
    time_start : float
        Begin of the execution, epoch seconds.
    """

    __slots__ = (
        "_fraction",
        "_fraction_rate",
        "_interval",
        "_message",
        "_numbers",
        "_rate",
        "_time_start",
        "_time_updated",
    )

    def __init__(self, time_start: float) -> None:
        self._time_start = time_start
        self._numbers: dict[str, float] = {}
        self._fraction: float | None = None
        self._message = ""
        self._time_updated: float | None = None
        self._interval: float | None = None
        self._rate = _Rate()
        self._fraction_rate = _Rate()

    def report(self, report: Mapping[str, Any], now: float) -> None:
        """Take a report.

        Parameters
        ----------
        report : mapping
            Some of ``done_count``, ``total_count``, ``done_size``, ``total_size``, ``fraction``, ``message``.
            What is not of the right kind is passed over, as are steps backwards.
        now : float
            Epoch seconds.
        """
        if self._time_updated is not None and now > self._time_updated:
            gap = now - self._time_updated
            before = self._interval
            self._interval = gap if before is None else SMOOTHING * gap + (1 - SMOOTHING) * before
        self._time_updated = now
        for name in _NUMBERS:
            value = _number(report.get(name))
            if value is None:
                continue
            if name.startswith("done"):
                value = max(value, self._numbers.get(name, 0.0))
            self._numbers[name] = value
        message = report.get("message")
        if isinstance(message, str):
            self._message = message[:MAX_MESSAGE_CHARS]
        fraction = self._fraction_of(report)
        if fraction is not None:
            self._fraction = max(fraction, self._fraction or 0.0)
            self._fraction_rate.see(self._fraction, now)
        if "done_size" in self._numbers:
            self._rate.see(self._numbers["done_size"], now)

    def view(self, now: float, *, expected_s: float | None = None, succeeded: bool = False) -> Progress:
        """Return how far the task is.

        Parameters
        ----------
        expected_s : float or None
            How long tasks of its type take, from those that have ended.
        succeeded : bool
            It has ended well: everything is done.
        """
        elapsed = max(now - self._time_start, 0.0)
        stale = self._is_stale(now)
        reported = None if self._fraction is None else min(self._fraction, CAP)
        estimated = None
        if expected_s is not None and math.isfinite(expected_s) and expected_s > 0:
            estimated = min(elapsed / expected_s, CAP)
        best = reported
        if reported is None or (stale and estimated is not None):
            best = max((f for f in (reported, estimated) if f is not None), default=None)
        eta = self._eta(now, reported, stale)
        if eta is None and estimated is not None and expected_s is not None:
            eta = max(expected_s - elapsed, 0.0)
        if succeeded:
            reported = best = 1.0
            eta, stale = 0.0, False
        numbers = {name: self._numbers.get(name) for name in _NUMBERS}
        return Progress(
            **numbers,
            reported=reported,
            estimated=estimated,
            best=best,
            percent=None if best is None else int(best * 100 + 1e-9),
            message=self._message,
            rate_bps=self._rate.per_s,
            eta_s=eta,
            elapsed_s=elapsed,
            time_updated=self._time_updated,
            stale=stale,
        )

    def _fraction_of(self, report: Mapping[str, Any]) -> float | None:
        """Return the part that is done: by size if sizes are known, else by count, else as reported."""
        for kind in ("size", "count"):
            total = self._numbers.get(f"total_{kind}")
            if total:
                return min(self._numbers.get(f"done_{kind}", 0.0) / total, 1.0)
        fraction = _number(report.get("fraction"))
        if fraction is not None:
            return min(fraction, 1.0)
        # Nothing to be done says nothing about when it is over.
        return 0.0 if {"total_size", "total_count"} & self._numbers.keys() else None

    def _is_stale(self, now: float) -> bool:
        if self._time_updated is None:
            return False
        interval = REPORT_INTERVAL_S if self._interval is None else max(self._interval, MIN_INTERVAL_S)
        return now - self._time_updated > 3 * interval

    def _eta(self, now: float, reported: float | None, stale: bool) -> float | None:
        """Return the time that is left at the rate of the reports; None if that is not known."""
        per_s = self._fraction_rate.per_s
        if stale or reported is None or self._fraction is None or self._time_updated is None or not per_s:
            return None
        left = (1 - self._fraction) / per_s - (now - self._time_updated)
        return max(left, 0.0) if math.isfinite(left) else None


def _number(value: object) -> float | None:
    """Return a number that is not negative nor beyond reason, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= MAX_NUMBER else None
