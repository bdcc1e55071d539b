"""The main thread of the worker: it loads start-up code and does what it is given, one piece at a time."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any, Protocol

from remanager.model.link import CloseEnvironment, ContinuePlan, RunPlan, RunTask
from remanager.worker.startup import load_startup

if TYPE_CHECKING:
    from collections.abc import Callable

    from remanager.model.link import WorkerState
    from remanager.model.worker_config import WorkerConfig
    from remanager.worker.state import StateBoard


class EndedOutside:
    """Work for the main thread: a paused plan was ended by someone else."""


Work = RunPlan | ContinuePlan | RunTask | CloseEnvironment | EndedOutside


class KernelPort(Protocol):
    """What the control thread asks of an IPython kernel."""

    def connection_info(self) -> dict[str, Any]:
        """Return what clients need to connect."""

    def interrupt(self) -> None:
        """Interrupt what the main thread executes."""

    def release(self) -> None:
        """Let the kernel turn to its clients; no plan follows soon."""


class MainThread(Protocol):
    """How the main thread works."""

    @property
    def kernel(self) -> KernelPort | None:
        """The IPython kernel; None in plain Python mode."""

    def refine(self, state: WorkerState) -> WorkerState:
        """Complete a new state with what the main thread knows; called from any thread."""

    def load(self, config: WorkerConfig) -> dict[str, Any]:
        """Load the start-up code and return the namespace; raises what the code raises."""

    def when_open(self, tell: Callable[[], None]) -> None:
        """Have ``tell`` called as soon as clients may know that the environment is open."""

    def submit(self, work: Work) -> None:
        """Hand work to the main thread; called from any thread."""

    def run(self, perform: Callable[[Work], bool], board: StateBoard) -> None:
        """Call ``perform`` with each piece of work until it returns False; tell the board what changes."""


class PlainMainThread:
    """The main thread in plain Python mode: it waits for work."""

    kernel = None

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Work] = queue.SimpleQueue()

    def refine(self, state: WorkerState) -> WorkerState:
        """Return the state as it is."""
        return state

    def load(self, config: WorkerConfig) -> dict[str, Any]:
        """Load the start-up code and return the namespace; raises what the code raises."""
        return load_startup(config)

    def when_open(self, tell: Callable[[], None]) -> None:
        """Call it at once: work can wait."""
        tell()

    def submit(self, work: Work) -> None:
        """Hand work to the main thread; called from any thread."""
        self._work.put(work)

    def run(self, perform: Callable[[Work], bool], board: StateBoard) -> None:
        """Call ``perform`` with each piece of work until it returns False."""
        while perform(self._work.get()):
            pass
