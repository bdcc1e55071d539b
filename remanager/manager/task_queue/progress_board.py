"""How far the running tasks are: their reports, kept in memory and now and then on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from remanager.engine.task_queue.card import Card
from remanager.engine.task_queue.changes import Changes
from remanager.engine.task_queue.progress import ProgressTracker
from remanager.model.states import STATE_CLASS, StateClass, TaskState
from remanager.store.records import Write
from remanager.store.task_rows import ProgressPut
from remanager.store.task_writes import progress_put

ExpectedDuration = Callable[[str], float | None]


class ProgressBoard:
    """Follows the reports of running tasks.

    Parameters
    ----------
    expected : callable
        Returns how long tasks of a type take, s; None if it is not known.
    """

    def __init__(self, expected: ExpectedDuration) -> None:
        self._expected = expected
        self._trackers: dict[str, ProgressTracker] = {}
        self._attempts: dict[str, int] = {}
        self._io: dict[str, dict[str, int]] = {}
        self._unstored: dict[str, int] = {}

    def report(self, card: Card, epoch: int, time: float, report: Mapping[str, Any]) -> None:
        """Take the report of a running task."""
        tracker = self._tracker(card)
        io = report.get("io")
        if isinstance(io, dict):
            self._io[card.uid] = {str(k)[:64]: v for k, v in io.items() if isinstance(v, int)}
        tracker.report(report, time)
        self._unstored[card.uid] = epoch

    def of(self, card: Card, stored: Mapping[str, Any] | None, now: float) -> Mapping[str, Any] | None:
        """Return how far an active task is; None if nothing is known."""
        if card.state is not TaskState.RUNNING:
            return stored
        return asdict(self._tracker(card).view(now, expected_s=self._expected(card.spec.name)))

    def io_of(self, uid: str) -> Mapping[str, int]:
        """Return the bytes that a running task says to have moved."""
        return self._io.get(uid, {})

    @staticmethod
    def final(state: TaskState, stored: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """Return how far a task came that has ended."""
        if STATE_CLASS[state] is not StateClass.SUCCESS:
            return stored
        done = {"reported": 1.0, "best": 1.0, "percent": 100, "eta_s": 0.0, "stale": False}
        return {**(stored or {}), **done}

    def finish(self, changes: Changes) -> None:
        """Forget what has ended."""
        for ended in changes.ended:
            uid = ended.card.uid
            self._trackers.pop(uid, None)
            self._attempts.pop(uid, None)
            self._io.pop(uid, None)
            self._unstored.pop(uid, None)

    def last_words(self, card: Card, now: float, *, succeeded: bool) -> tuple[str | None, str | None]:
        """Return progress and bytes of a task that ends, as JSON texts, where it reported any."""
        tracker, io = self._trackers.get(card.uid), self._io.get(card.uid)
        progress = None if tracker is None else json.dumps(asdict(tracker.view(now, succeeded=succeeded)))
        return progress, json.dumps(io) if io else None

    def unstored(self, now: float) -> Write | None:
        """Return a write of what was reported since the last call."""
        rows: list[ProgressPut] = []
        for uid, epoch in self._unstored.items():
            tracker, io = self._trackers.get(uid), self._io.get(uid)
            if tracker is not None:
                rows.append(
                    {
                        "task_uid": uid,
                        "lease_epoch": epoch,
                        "progress": json.dumps(asdict(tracker.view(now))),
                        "actual_io": json.dumps(io) if io else None,
                    }
                )
        self._unstored.clear()
        return progress_put(rows) if rows else None

    def _tracker(self, card: Card) -> ProgressTracker:
        tracker = self._trackers.get(card.uid)
        if tracker is None or self._attempts.get(card.uid) != card.attempt:
            tracker = self._trackers[card.uid] = ProgressTracker(card.time_start or 0.0)
            self._attempts[card.uid] = card.attempt
        return tracker
