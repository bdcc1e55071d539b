"""The figures of the past: one value a minute on disk, and the present figures for the next manager."""

from __future__ import annotations

import asyncio
from enum import StrEnum

from remanager.engine.task_queue.type_figures import PER_MINUTE
from remanager.engine.windows import SLOT_S, SLOTS
from remanager.manager.ledger import Batch, Ledger
from remanager.manager.ports import Clock
from remanager.manager.statistics import SETTING
from remanager.manager.task_queue.figures import QueueFigures
from remanager.store.store import Store
from remanager.store.task_rows import SamplePut
from remanager.store.task_writes import samples_put


class Metric(StrEnum):
    """What is kept; depths of the task queue (at the end of the minute) for all types together only."""

    STARTED = "started"
    FINISHED = "finished"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    RETRIED = "retried"
    ITEMS = "items"
    BYTES = "bytes"
    LATENCY_MS = "latency_ms"
    ERROR_RATE = "error_rate"
    QUEUED = "queued"
    UNACKED = "unacked"
    HELD = "held"


MAX_POINTS = 10_000
DELAY_S = 0.5
"""A minute is recorded so long after its end, s."""


class FiguresHistory:
    """Records the figures of each minute, and answers for the past.

    Parameters
    ----------
    figures : QueueFigures
        What is recorded.
    store, ledger, clock
        As elsewhere in this room.
    """

    def __init__(self, figures: QueueFigures, store: Store, ledger: Ledger, clock: Clock) -> None:
        self._figures = figures.figures
        self._depths = figures.depths
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._stored = ""
        # The minute in which the manager before this one ended was perhaps not over.
        self._recorded = self._minute() - 2

    async def run(self) -> None:
        """Record each minute when it is over, for ever."""
        while True:
            await asyncio.sleep(SLOT_S - self._clock() % SLOT_S + DELAY_S)
            self.record()

    def record(self) -> None:
        """Record the minutes that are over and have not been recorded, and the present figures."""
        now, current = self._clock(), self._minute()
        first = max(self._recorded + 1, current - SLOTS + 1)
        rows: list[SamplePut] = []
        for minute in range(first, current):
            figures = self._figures.minute(current - minute, now)
            if minute == current - 1:
                figures.update(self._depths())
            rows += [_row(metric, "", minute, value) for metric, value in figures.items()]
            for task_type in self._figures.task_types():
                own = self._figures.minute(current - minute, now, task_type)
                rows += [_row(metric, task_type, minute, value) for metric, value in own.items() if value]
        self._recorded = max(self._recorded, current - 1)  # the clock may have been set back
        batch = self._ledger.batch()
        if rows:
            batch.write(samples_put(rows))
        self.save(batch)
        if batch.writes:
            self._ledger.commit(batch)

    def save(self, batch: Batch) -> None:
        """Add the present figures to a transaction, if they have changed."""
        text = self._figures.to_json()
        if text != self._stored:
            self._stored = text
            batch.setting(SETTING, text)

    async def points(
        self, metric: Metric, task_type: str, begin: float, end: float, step_s: int
    ) -> list[tuple[float, float]]:
        """Return a figure over time.

        Parameters
        ----------
        metric : Metric
            Which one.
        task_type : str
            Empty: of all types.
        begin, end : float
            Epoch seconds.
        step_s : int
            Whole minutes, s. A longer step has the sum of its counts, and the mean of other figures.

        Returns
        -------
        list of tuple
            Begin of the step (epoch seconds) and value; steps of which nothing is known are left out.
        """
        await self._ledger.flush()
        minutes = step_s // SLOT_S
        first, last = int(begin // SLOT_S) // minutes * minutes, int(end // SLOT_S)
        rows = await self._store.read_heavy(
            lambda reads: reads.tasks.samples(metric, task_type, first, last, MAX_POINTS * minutes)
        )
        steps: dict[int, list[float]] = {}
        for minute, value in rows:
            steps.setdefault(minute // minutes * minutes, []).append(value)
        counts = metric in PER_MINUTE
        points = [(float(m * SLOT_S), sum(v) if counts else sum(v) / len(v)) for m, v in steps.items()]
        return points[:MAX_POINTS]

    def _minute(self) -> int:
        return int(self._clock() // SLOT_S)


def _row(metric: str, task_type: str, minute: int, value: float) -> SamplePut:
    return {"metric": metric, "task_type": task_type, "minute": minute, "value": float(value)}
