"""SIGINT: it interrupts user code in the main thread and nothing else."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType, TracebackType


class UserCode:
    """Context in which the main thread runs user code.

    SIGINT raises :class:`KeyboardInterrupt` there and is ignored elsewhere. It may still be raised while the
    context is being left: enter it inside the ``try`` statement that catches what user code raises. (While
    a plan runs, the RunEngine has its own handler in place.)
    """

    def __init__(self) -> None:
        self._runs = False

    def install(self) -> None:
        """Handle SIGINT; call this in the main thread."""
        signal.signal(signal.SIGINT, self._on_sigint)

    def __enter__(self) -> None:
        self._runs = True

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._runs = False

    def _on_sigint(self, _signal: int, _frame: FrameType | None) -> None:
        if self._runs:
            self._runs = False
            raise KeyboardInterrupt
