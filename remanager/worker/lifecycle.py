"""What every worker process does when it begins and when it ends."""

from __future__ import annotations

import atexit
import faulthandler
import logging
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from remanager.worker.capture import ConsoleCapture

EXIT_FAULT = 70
EXIT_TIMEOUT_S = 2.0
CONSOLE_TIMEOUT_S = 1.0


class Lifecycle:
    """Begin and end of a worker process.

    Parameters
    ----------
    console : ConsoleCapture
        Captures what the process writes; it is started and closed here.
    log_level : int
        From which level on the log of this package is written.
    crash_path : str
        File for the stacks of the threads when the process crashes; empty: they go to standard error.

    Attributes
    ----------
    exit_code : int
        With which the process ends; 70 until it is set.
    """

    def __init__(self, console: ConsoleCapture, log_level: int, crash_path: str = "") -> None:
        self.exit_code = EXIT_FAULT
        self._console = console
        self._log_level = log_level
        self._crash_path = crash_path

    def begin(self) -> None:
        """Prepare the process for user code, of which none may have run yet."""
        # Registered first, it runs last: after the exit handlers of user code.
        atexit.register(self._end)
        # Figures must not look for a display where there is none.
        if not any(os.environ.get(name) for name in ("MPLBACKEND", "DISPLAY", "WAYLAND_DISPLAY")):
            os.environ["MPLBACKEND"] = "agg"
        self._console.start()
        self._keep_stacks_of_crashes()
        _configure_logging(self._log_level)

    def fail(self) -> None:
        """End the process because of a fault of its own; what was logged of it is still sent."""
        self.exit_code = EXIT_FAULT
        self._end()

    def end_soon(self) -> None:
        """End the process also if the exit of the interpreter takes too long; returns at once."""
        # Threads and exit handlers of user code may hang.
        threading.Thread(target=self._end_later, name="remanager-exit", daemon=True).start()

    def _keep_stacks_of_crashes(self) -> None:
        descriptor = self._console.original_stderr
        if self._crash_path:
            descriptor = os.open(self._crash_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        faulthandler.enable(descriptor)
        # What a forked child crashes of is not how this process ends: it goes to the console.
        os.register_at_fork(after_in_child=lambda: faulthandler.enable(2))

    def _end(self) -> None:
        """End the process at once, without taking modules apart: libraries may hang in that."""
        self._console.close(CONSOLE_TIMEOUT_S)
        os._exit(self.exit_code)

    def _end_later(self) -> None:
        threading.Event().wait(EXIT_TIMEOUT_S)
        self._end()


def _configure_logging(level: int) -> None:
    """Write the log of this package to the standard error of the process, which is the console."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        logging.Formatter(
            "[%(levelname)1.1s %(asctime)s.%(msecs)03d %(name)s] %(message)s", "%Y-%m-%d %H:%M:%S"
        )
    )
    root = logging.getLogger("remanager")
    root.addHandler(handler)
    root.setLevel(level)
    root.propagate = False
