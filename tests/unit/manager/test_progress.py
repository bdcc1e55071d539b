"""Progress of the running plan: its points, and the time that is left."""

from __future__ import annotations

from typing import Any

from remanager.engine.estimates import DurationEstimator
from remanager.engine.queue_item import Submission
from remanager.manager.progress import ProgressView
from remanager.manager.state import RunningItem, State

START = 1000.0


class Run:
    """A plan that runs."""

    def __init__(self, item: dict[str, Any]) -> None:
        self.now = START
        self.state = State()
        self.estimator = DurationEstimator()
        self.view = ProgressView(self.state, self.estimator, lambda: self.now)
        self.item = item

    def start(self) -> None:
        self.state.running = RunningItem("u", self.item, "{}", False, START, Submission(), START)

    def after(self, seconds: float, points: tuple[int, int | None] | None = None) -> dict[str, Any]:
        self.now, self.state.progress = START + seconds, points
        report = self.view.report()
        assert report is not None
        assert report["elapsed_s"] == seconds
        return report


def count(num: int) -> dict[str, Any]:
    return {"name": "count", "args": [["det"]], "kwargs": {"num": num}}


def test_nothing_runs() -> None:
    assert Run(count(1)).view.report() is None


def test_points_come_from_the_arguments_until_the_run_tells_them() -> None:
    run = Run(count(10))
    run.start()
    first = run.after(0.0)
    assert (first["done_count"], first["total_count"]) == (0, 10)
    assert (first["estimated_s"], first["eta_s"]) == (None, None)
    assert run.after(1.0, (2, 12))["total_count"] == 12
    assert run.after(1.0, (2, None))["total_count"] == 10
    assert run.after(1.0, (11, None))["total_count"] is None


def test_time_left_comes_from_history_and_then_from_the_points() -> None:
    run = Run(count(10))
    run.estimator.add(count(5), 10.0)
    run.start()
    assert run.after(5.0)["estimated_s"] == 20.0
    assert run.after(5.0)["eta_s"] == 15.0
    assert run.after(25.0)["eta_s"] == 0.0
    assert run.after(8.0, (2, 10))["eta_s"] == 32.0


def test_a_plan_without_points() -> None:
    run = Run({"name": "align"})
    run.start()
    report = run.after(3.0)
    assert (report["done_count"], report["total_count"], report["eta_s"]) == (0, None, None)
