"""The worker's account of itself: its state and what it accepted."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from remanager.model.link import WorkerState
from remanager.model.states import EnvironmentState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from remanager.model.link import Event

    Announce = Callable[[Sequence[Event], WorkerState | None], None]
    Refine = Callable[[WorkerState], WorkerState]

ACCEPTED_KEPT = 2000


class StateBoard:
    """Holds the current :class:`~remanager.model.link.WorkerState`; each change is announced once.

    Events that belong to a change are announced before the new state, in one step. All methods may be called
    from any thread.

    Parameters
    ----------
    announce : callable
        Called as ``announce(events, state)`` with the lock held; ``state`` is None if it did not change.
        It must not block.
    refine : callable
        Completes each new state with what follows from it; called with the lock held.
    """

    def __init__(self, announce: Announce, refine: Refine = lambda state: state) -> None:
        self._announce = announce
        self._refine = refine
        self._lock = threading.RLock()
        self._state = refine(WorkerState(environment_state=EnvironmentState.INITIALIZING.value))

    @property
    def current(self) -> WorkerState:
        """The current state."""
        return self._state

    def change(self, *, events: Sequence[Event] = (), background: int = 0, **fields: Any) -> None:
        """Change the state and announce it together with events.

        Parameters
        ----------
        events : sequence of Event
            Events to announce before the state.
        background : int
            Added to the number of background tasks.
        **fields
            New values of fields; ``run_list_rev`` follows ``run_list`` by itself.
        """
        with self._lock:
            old = self._state
            if background:
                fields["background_tasks"] = old.background_tasks + background
            if "run_list" in fields and fields["run_list"] != old.run_list:
                fields["run_list_rev"] = old.run_list_rev + 1
            self._state = new = self._refine(replace(old, **fields))
            changed = new != old
            if changed or events:
                self._announce(events, new if changed else None)


class AcceptedUids:
    """Remembers the uids of plans and tasks that were accepted: those that run, and those that ended lately.

    A manager that was restarted may send a command again: a uid in here must not run a second time.

    Parameters
    ----------
    limit : int
        Uids of ended plans and tasks that are kept.
    """

    def __init__(self, limit: int = ACCEPTED_KEPT) -> None:
        self._limit = limit
        self._running: dict[str, None] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, uid: str) -> bool:
        with self._lock:
            return uid in self._running or uid in self._ended

    def add(self, uid: str) -> None:
        """Remember a uid; it is kept at least until it ends."""
        with self._lock:
            self._running[uid] = None

    def withdraw(self, uid: str) -> None:
        """Forget a uid that was not begun after all."""
        with self._lock:
            del self._running[uid]

    def ended(self, uid: str) -> None:
        """Take note of an end; beyond the limit the one that ended first is forgotten."""
        with self._lock:
            self._running.pop(uid, None)
            self._ended[uid] = None
            if len(self._ended) > self._limit:
                self._ended.popitem(last=False)

    def as_list(self) -> list[str]:
        """Return the uids: those that ended, oldest first, then those that run."""
        with self._lock:
            return [*self._ended, *self._running]


def is_busy(state: WorkerState) -> bool:
    """Tell whether the worker starts up, runs or holds a plan, runs a task, or leaves."""
    return (
        state.environment_state != EnvironmentState.IDLE
        or state.running_item_uid is not None
        or state.running_task_uid is not None
        or state.background_tasks > 0
    )
