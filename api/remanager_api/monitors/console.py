"""The monitor of the console output, and the text that a terminal would show of it."""

from __future__ import annotations

import itertools
import re

from remanager_api.monitors.monitor import Monitor, Stream
from remanager_api.transport import TOPIC_CONSOLE, InfoMessage

_versions = itertools.count(1)
_CURSOR_UP = "\x1b[A"
_CONTROL = re.compile(r"(\n|\r|\x1b\[A)")


class ConsoleText:
    """Lines of text, written as on a terminal that knows new line, carriage return and cursor up.

    Parameters
    ----------
    max_lines : int
        Lines that are kept; 0: none.
    """

    def __init__(self, max_lines: int) -> None:
        self._max_lines = max(max_lines, 0)
        self.clear()

    def clear(self) -> None:
        """Drop all lines."""
        self._lines: list[str] = []
        self._row = 0
        self._column = 0
        self._change()

    def _change(self) -> None:
        self.uid = f"text-{next(_versions)}"

    @property
    def max_lines(self) -> int:
        """Lines that are kept."""
        return self._max_lines

    @max_lines.setter
    def max_lines(self, value: int) -> None:
        self._max_lines = max(value, 0)
        self._trim()

    def write(self, text: str) -> None:
        """Write text with control characters where the cursor is."""
        if not self._max_lines:
            return
        self._lines = self._lines or [""]
        for piece in _CONTROL.split(text):
            if piece == "\n":
                self._row += 1
                self._column = 0
                if self._row == len(self._lines):
                    self._lines.append("")
            elif piece == "\r":
                self._column = 0
            elif piece == _CURSOR_UP:
                self._row = max(self._row - 1, 0)
            elif piece:
                line = self._lines[self._row].ljust(self._column)
                end = self._column + len(piece)
                self._lines[self._row] = line[: self._column] + piece + line[end:]
                self._column = end
        self._trim()

    def _trim(self) -> None:
        # An empty last line is where the cursor waits; it does not count.
        kept = self._max_lines + (self._lines[-1:] == [""])
        surplus = len(self._lines) - kept
        if surplus > 0:
            del self._lines[:surplus]
            self._row = max(self._row - surplus, 0)
        self._change()

    def text(self, nlines: int | None = None) -> str:
        """Return the last lines, all by default."""
        lines = self._lines[:-1] if self._lines[-1:] == [""] else self._lines
        count = len(lines) if nlines is None else max(nlines, 0)
        return "\n".join(lines[-count:]) if count else ""


class ConsoleMonitor(Monitor):
    """Collects the console output of manager and worker: messages, and the text that a terminal would show.

    Parameters
    ----------
    stream : callable
        Takes topics, returns the messages that are published from then on.
    poll_timeout : float
        Time (s) for which a disabled monitor goes on, in case that it is enabled again.
    max_msgs : int
        Messages that are kept until they are read; newer ones are dropped. 0: none are kept.
    max_lines : int
        Lines of text that are kept. 0: none.
    """

    def __init__(
        self, stream: Stream, *, poll_timeout: float = 1.0, max_msgs: int = 10000, max_lines: int = 1000
    ) -> None:
        self._console = ConsoleText(max_lines)
        super().__init__(stream, TOPIC_CONSOLE, poll_timeout=poll_timeout, max_msgs=max_msgs)

    @property
    def text_uid(self) -> str:
        """Changes whenever the text does."""
        return self._console.uid

    @property
    def text_max_lines(self) -> int:
        """Lines of text that are kept. It can be set."""
        return self._console.max_lines

    @text_max_lines.setter
    def text_max_lines(self, max_lines: int) -> None:
        self._console.max_lines = max_lines

    async def text(self, nlines: int | None = None) -> str:
        """Return the text.

        Parameters
        ----------
        nlines : int, optional
            The last so many lines; default: all that are kept.
        """
        return self._console.text(nlines)

    def clear(self) -> None:
        """Drop the messages and the text."""
        super().clear()
        self._console.clear()

    def _take(self, message: InfoMessage) -> None:
        self._console.write(str(message.msg))
        super()._take(message)
