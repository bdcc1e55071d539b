"""Figures of everything that ran, by type of task; the type of a task is the name of its plan or function."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from remanager.engine.estimates import DurationEstimator
from remanager.engine.task_queue.type_figures import TypeFigures
from remanager.manager.state import RunningItem
from remanager.model.states import STATE_CLASS, ExitStatus, StateClass, TaskState
from remanager.store.records import JournalEvent

SETTING = "figures"


class Statistics:
    """What ran, since the manager started and since ever.

    Parameters
    ----------
    now : float
        Start time, epoch seconds.
    stored : object
        What was stored under :data:`SETTING`; None if nothing was.
    history : iterable of tuple
        Entries from which is learned how long plans take, as
        :meth:`remanager.store.reads.Reads.history_page` returns them.

    Attributes
    ----------
    figures : TypeFigures
        Counters, windows, distributions and errors of plans, functions, scripts, and tasks of the task queue.
    estimator : DurationEstimator
        Knows how long plans took, also in former lives.
    """

    def __init__(self, now: float, stored: object, history: Iterable[tuple[int, str, str | None]]) -> None:
        self.time_started = now
        self.figures = TypeFigures.from_json(stored) if isinstance(stored, str) else TypeFigures()
        self.estimator = DurationEstimator()
        for _, body, text in history:
            result = json.loads(text) if text else {}
            if result.get("exit_status") == ExitStatus.COMPLETED:
                self.estimator.add(json.loads(body), result["time_stop"] - result["time_start"])

    def started(self, task_type: str, created: float, now: float) -> None:
        """Count the start of what is not of the task queue."""
        self.figures.started(task_type, now, max(now - created, 0.0))

    def finished(
        self,
        task_type: str,
        state: TaskState,
        now: float,
        *,
        created: float,
        started: float,
        stopped: float,
        msg: str,
    ) -> None:
        """Count the end of what is not of the task queue."""
        latency = max(stopped - created, 0.0)
        self.figures.ended(task_type, state, now, latency_s=latency, duration_s=stopped - started)
        if STATE_CLASS[state] is StateClass.FAILURE:
            self.figures.error(task_type, error_kind(msg) or state.value, now)

    def plan_finished(
        self, plan: RunningItem, state: TaskState, result: Mapping[str, Any], now: float
    ) -> None:
        """Count the end of a plan with its ``result`` of the history, and learn from it."""
        started, stopped = result["time_start"], result["time_stop"]
        self.finished(
            plan.name,
            state,
            now,
            created=plan.time_created,
            started=started,
            stopped=stopped,
            msg=result["msg"],
        )
        if state is TaskState.COMPLETED:
            self.estimator.add(plan.item, stopped - started)

    def left_queue(self, task_type: str, state: TaskState, created: float, now: float) -> None:
        """Count an item of the plan queue that ended without a start."""
        self.figures.ended(task_type, state, now, latency_s=max(now - created, 0.0), duration_s=None)

    def listen(self, events: Sequence[JournalEvent]) -> None:
        """Count what is submitted to the plan queue, and functions and scripts of the environment."""
        for event in events:
            match event.type:
                case "queue_item_added" if "origin_uid" not in event.data:
                    number = 1
                case "queue_items_added":
                    number = int(str(event.data.get("count", 1)))
                case "task_started" if "item_type" in event.data:  # of the environment
                    number = 1
                case _:
                    continue
            self.figures.count("submitted", "", event.time, number)


def error_kind(text: str) -> str:
    """Return what errors of one kind have in common: the first line of their text that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
