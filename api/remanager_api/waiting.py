"""Control over what waits: time passed, time-out, cancelling."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)


class WaitMonitor:
    """Tells of a ``wait_for_...`` call and cancels it, from any thread or task.

    Examples
    --------
    >>> monitor = WaitMonitor()
    >>> RM.wait_for_idle(monitor=monitor)  # in one thread  # doctest: +SKIP
    >>> monitor.cancel()  # in another: the call raises WaitCancelError
    """

    def __init__(self) -> None:
        self._time_start = 0.0
        self._started: float | None = None
        self._timeout = 0.0
        self._callbacks: list[Callable[[], object]] = []
        self._cancelled = False
        self._wakers: list[Callable[[], object]] = []

    @property
    def time_start(self) -> float:
        """When the waiting began (epoch seconds); 0 before."""
        return self._time_start

    @property
    def time_elapsed(self) -> float:
        """Time (s) since the waiting began."""
        return time.time() if self._started is None else time.monotonic() - self._started

    @property
    def timeout(self) -> float:
        """Longest time (s) to wait."""
        return self._timeout

    def set_timeout(self, timeout: float) -> None:
        """Change the longest time (s) to wait, counted from the beginning; also while something waits."""
        self._timeout = timeout
        self._wake()

    def add_cancel_callback(self, cancel_callback: Callable[[], object]) -> None:
        """Call a function without parameters once, when the waiting is cancelled."""
        self._callbacks.append(cancel_callback)

    def cancel(self) -> None:
        """Cancel the waiting; a monitor stays cancelled."""
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception:
                logger.exception("A callback of a wait monitor failed")
        self._cancelled = True
        self._wake()

    @property
    def is_cancelled(self) -> bool:
        """Whether the waiting was cancelled."""
        return self._cancelled

    def _wake(self) -> None:
        for waker in tuple(self._wakers):
            waker()

    @contextmanager
    def _waiting(self, timeout: float, waker: Callable[[], object]) -> Iterator[None]:
        """Note the beginning of a waiting; call ``waker`` when there is something new to heed."""
        self._time_start, self._started, self._timeout = time.time(), time.monotonic(), timeout
        self._wakers.append(waker)
        try:
            yield
        finally:
            self._wakers.remove(waker)
