"""IPython mode: the main thread of the worker is an IPython kernel that people attach to.

The kernel executes requests one after another. Work of the manager is a request among them, which the worker
sends to itself: it waits until code of clients has ended, and clients wait until it has ended.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_core.paths import jupyter_runtime_dir
from tornado.ioloop import IOLoop

from remanager.model.link import ContinuePlan, RunPlan
from remanager.model.states import EnvironmentState
from remanager.worker.kernel_app import KernelApp, kernel_config
from remanager.worker.kernel_connection import kernel_address
from remanager.worker.startup import new_namespace

if TYPE_CHECKING:
    from collections.abc import Callable

    from remanager.model.link import WorkerState
    from remanager.model.worker_config import WorkerConfig
    from remanager.worker.main_thread import Work
    from remanager.worker.state import StateBoard

logger = logging.getLogger(__name__)

HOLD_S = 1.0
"""How long the kernel waits, if it is not released, for the next plan before it turns to its clients."""

_CAPTURING = (EnvironmentState.EXECUTING_PLAN, EnvironmentState.EXECUTING_TASK)
_BEFORE = (EnvironmentState.INITIALIZING, EnvironmentState.FAILED)


class KernelMainThread:
    """The main thread in IPython mode."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._board: StateBoard | None = None
        self._app: Any = None
        self._perform: Callable[[Work], bool] = lambda _work: False
        self._tell_open: Callable[[], None] = lambda: None
        self._cell_runs = False
        self._fault: BaseException | None = None

    @property
    def kernel(self) -> KernelMainThread:
        """The kernel as the control thread sees it."""
        return self

    # ------------------------------------------------------------------------------------ any thread

    def refine(self, state: WorkerState) -> WorkerState:
        """Add the state of the kernel.

        The kernel counts as captured from the moment at which the worker accepts a plan or a task.
        """
        if state.environment_state in _BEFORE:
            return replace(state, ip_kernel_state="starting", ip_kernel_captured=True)
        captured = state.environment_state in _CAPTURING
        busy = captured or self._cell_runs
        return replace(state, ip_kernel_state="busy" if busy else "idle", ip_kernel_captured=captured)

    def submit(self, work: Work) -> None:
        """Hand work to the main thread."""
        self._work.put(work)
        if self._app is not None:
            self._app.wake()

    def interrupt(self) -> None:
        """Interrupt what the main thread executes."""
        ident = threading.main_thread().ident
        assert ident is not None
        signal.pthread_kill(ident, signal.SIGINT)

    def release(self) -> None:
        """Let the kernel turn to its clients; no plan follows soon."""
        self._work.put(None)

    def connection_info(self) -> dict[str, Any]:
        """Return address, ports and key of the kernel."""
        if self._app is None:
            return {}
        info: dict[str, Any] = self._app.get_connection_info()
        return {k: v.decode() if isinstance(v, bytes) else v for k, v in info.items()}

    # ------------------------------------------------------------------------------------ main thread

    def load(self, config: WorkerConfig) -> dict[str, Any]:
        """Start the kernel and let it load the start-up code.

        Returns
        -------
        dict
            Namespace of the kernel.

        Raises
        ------
        ScriptLoadingError
            The start-up code raised an exception.
        ImportError, RuntimeError, OSError
            There is no such script or profile, or the kernel cannot listen where it shall.
        """
        if config.startup_script is not None and not Path(config.startup_script).is_file():
            raise ImportError(f"Failed to load the script '{config.startup_script}': script was not found")
        if not config.kernel_matplotlib:
            # Otherwise the kernel chooses a backend for notebooks.
            os.environ.setdefault("MPLBACKEND", "agg")
        # The kernel's debugger would print advice at each start.
        os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
        ns = new_namespace(ipython_kernel=True)
        address = kernel_address(config, Path(jupyter_runtime_dir()))
        main = sys.modules["__main__"]
        spec = main.__spec__
        app = KernelApp.instance(user_ns=ns, config=kernel_config(config, address))
        app.keep_connection_file = address.file is not None
        try:
            app.initialize([])
        except SystemExit as exc:
            raise RuntimeError(
                f"IPython cannot use the profile '{app.profile}'; the console output says why"
            ) from exc
        main.__spec__ = spec  # that of a start-up module would have spawned processes run it
        self._app = app
        app.kernel.on_work = self._on_work
        app.kernel.on_cell = self._on_cell
        logger.info("The IPython kernel listens: jupyter console --existing %s", app.abs_connection_file)
        return ns

    def when_open(self, tell: Callable[[], None]) -> None:
        """Have ``tell`` called when the kernel serves: its clients are not to hear that it starts."""
        self._tell_open = tell

    def run(self, perform: Callable[[Work], bool], board: StateBoard) -> None:
        """Serve the manager and clients until ``perform`` returns False or a client shuts the kernel down."""
        self._perform, self._board = perform, board
        IOLoop.current().add_callback(self._tell_open)
        self._app.start()
        if self._fault is not None:
            raise self._fault
        logger.info("The IPython kernel has ended")

    def _on_cell(self, runs: bool) -> None:
        if runs != self._cell_runs:
            self._cell_runs = runs
            assert self._board is not None
            self._board.change()

    def _on_work(self) -> None:
        """Do what there is to do; the kernel hides exceptions, so a fault is kept for :meth:`run`."""
        try:
            self._work_off()
        except BaseException as exc:  # noqa: BLE001 - it is raised in run()
            self._fault = exc
            self._stop()

    def _work_off(self) -> None:
        shell, board = self._app.shell, self._board
        assert board is not None
        hold: float = 0
        while not shell.exit_now:
            try:
                work = self._work.get(timeout=hold) if hold else self._work.get_nowait()
            except queue.Empty:
                return
            if work is None:
                if hold:
                    return
                continue  # said after the kernel had been released by itself
            if not self._perform(work):
                self._stop()
                return
            # What IPython does after each cell, such as drawing figures.
            shell.events.trigger("post_execute")
            ended = isinstance(work, RunPlan | ContinuePlan) and board.current.running_item_uid is None
            hold = HOLD_S if ended else 0

    def _stop(self) -> None:
        self._app.shell.exit_now = True  # ends the event loop of a graphical interface
        loop = self._app.kernel.io_loop
        loop.add_callback(loop.stop)
