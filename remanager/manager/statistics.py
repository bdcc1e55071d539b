"""Counters, per-minute windows and duration histograms of what ran, by type."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

from remanager.engine.estimates import DurationEstimator
from remanager.engine.histogram import Histogram
from remanager.engine.windows import Windows
from remanager.model.states import STATE_CLASS, ExitStatus, StateClass, TaskState

_WORDS = {
    StateClass.SUCCESS: "succeeded",
    StateClass.FAILURE: "failed",
    StateClass.CANCELLED: "cancelled",
    StateClass.DROPPED: "dropped",
}


class Statistics:
    """What ran since the manager started.

    Parameters
    ----------
    now : float
        Start time, epoch seconds.

    Attributes
    ----------
    estimator : DurationEstimator
        Knows how long plans took, also in former lives.
    """

    def __init__(self, now: float) -> None:
        self.time_started = now
        self.counters: Counter[str] = Counter()
        self.windows = Windows()
        self.durations: dict[str, Histogram] = {}
        self.estimator = DurationEstimator()

    def started(self, kind: str, now: float) -> None:
        """Count a start."""
        self.counters["dispatched"] += 1
        self.windows.add("started", 1, now, task_type=kind)

    def finished(self, kind: str, state: TaskState, duration: float, now: float) -> None:
        """Count an end and its duration (s)."""
        self.counters[state.value] += 1
        self.windows.add("finished", 1, now, task_type=kind)
        self.windows.add(_WORDS[STATE_CLASS[state]], 1, now, task_type=kind)
        histogram = self.durations.get(kind)
        if histogram is None:
            histogram = self.durations[kind] = Histogram()
        histogram.add(max(duration, 0.0))

    def learn(self, history: Iterable[tuple[int, str, str | None]]) -> None:
        """Learn from entries of the history how long plans take.

        Parameters
        ----------
        history : iterable of tuple
            As :meth:`remanager.store.reads.Reads.history_page` returns it.
        """
        for _, body, text in history:
            result = json.loads(text) if text else {}
            if result.get("exit_status") == ExitStatus.COMPLETED:
                self.estimator.add(json.loads(body), result["time_stop"] - result["time_start"])
