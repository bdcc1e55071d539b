"""Whether the environment worker gives signs of life."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from remanager.manager.ports import Clock
from remanager.manager.state import State
from remanager.model.errors import RequestTimeout

logger = logging.getLogger(__name__)

SILENT_S = 6.0
"""A worker that gave no sign of life for so long, three heartbeats, counts as silent."""

REMEDY = "if it hangs, destroy the environment"


class Silence:
    """Notices when the environment worker goes silent and when it speaks again.

    Parameters
    ----------
    state : State
        Names the present worker.
    clock : callable
        Wall clock, s.
    touch : callable
        Called when the status has changed.
    """

    def __init__(self, state: State, clock: Clock, touch: Callable[[], None]) -> None:
        self._state = state
        self._clock = clock
        self._touch = touch
        self._timer: asyncio.TimerHandle | None = None

    def heard(self) -> None:
        """Take note of a sign of life of the present worker."""
        worker = self._state.worker
        assert worker is not None
        worker.last_heartbeat = self._clock()
        if worker.silent:
            worker.silent = False
            logger.warning("The environment worker answers again")
            self._touch()
        if self._timer is None:
            self.expect()

    def clock_set(self, step_s: float) -> None:
        """Take the last sign of life for as old as it is, though the clock was set by ``step_s`` (s)."""
        worker = self._state.worker
        if worker is not None and worker.last_heartbeat:
            worker.last_heartbeat += step_s

    def expect(self) -> None:
        """Look after some time whether there has been a sign of life."""
        self._timer = asyncio.get_running_loop().call_later(SILENT_S, self._look)

    def check(self) -> None:
        """Make sure that the worker is not silent.

        Raises
        ------
        RequestTimeout
            It is.
        """
        worker = self._state.worker
        if worker is not None and worker.silent:
            age = self._clock() - worker.last_heartbeat
            raise RequestTimeout(f"The environment worker has been silent for {age:.0f} s; {REMEDY}.")

    def reason(self) -> str:
        """Return what the status says of a worker that is silent; empty if it is not."""
        worker = self._state.worker
        if worker is None or not worker.silent:
            return ""
        since = datetime.fromtimestamp(worker.last_heartbeat)
        return f"the environment worker has been silent since {since:%H:%M:%S}; {REMEDY}"

    def _look(self) -> None:
        self._timer = None
        worker = self._state.worker
        if worker is None or worker.silent:  # the next sign of life begins anew
            return
        now = self._clock()  # first: a step of the clock moves the last sign of life
        left = worker.last_heartbeat + SILENT_S - now
        if left > 0:
            self._timer = asyncio.get_running_loop().call_later(left, self._look)
            return
        worker.silent = True
        if self._state.environment_exists:
            logger.warning("The environment worker has been silent for %g s; %s", SILENT_S, REMEDY)
        self._touch()
