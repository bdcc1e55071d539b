"""How far the running plan is, and how long it will still take."""

from __future__ import annotations

from remanager.engine.estimates import DurationEstimator, point_count
from remanager.manager.ports import Clock
from remanager.manager.state import RunningItem, State


class ProgressView:
    """Tells clients of the progress of the running plan.

    Parameters
    ----------
    state : State
        Knows the plan and its points.
    estimator : DurationEstimator
        Knows how long such plans took.
    clock : callable
        Wall clock, s.
    """

    def __init__(self, state: State, estimator: DurationEstimator, clock: Clock) -> None:
        self._state = state
        self._estimator = estimator
        self._clock = clock
        self._plan: RunningItem | None = None
        self._points: int | None = None
        self._seconds: float | None = None

    def report(self) -> dict[str, float | None] | None:
        """Return the progress now; None if no plan runs.

        Returns
        -------
        dict or None
            ``done_count`` and ``total_count`` (points; the total as the runs tell it, else as the arguments
            do), ``elapsed_s``, ``estimated_s`` (duration of the whole plan, from those that ran before) and
            ``eta_s`` (what is left: by its own points, else from those that ran before), in seconds. None
            where something is not known.
        """
        plan = self._state.running
        if plan is None:
            return None
        if self._plan is not plan:
            self._plan, self._points = plan, point_count(plan.item)
            self._seconds = self._estimator.estimate(plan.item, self._points)
        done, total = self._state.progress or (0, None)
        if total is None and self._points is not None and self._points >= done:
            total = self._points
        elapsed = max(self._clock() - plan.time_start, 0.0)
        left = None if self._seconds is None else max(self._seconds - elapsed, 0.0)
        if done and total is not None and total >= done:
            left = elapsed / done * (total - done)
        return {
            "done_count": done,
            "total_count": total,
            "elapsed_s": elapsed,
            "estimated_s": self._seconds,
            "eta_s": left,
        }
