"""Where a live display is drawn: a cell of a notebook, a terminal, or lines of text."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any, Protocol, TextIO

from remanager_api.notebook.blocks import View
from remanager_api.notebook.queue_views import plan_bar
from remanager_api.notebook.render_html import to_html
from remanager_api.notebook.render_text import to_text
from remanager_api.notebook.values import call, mapping, one_line, short
from remanager_api.notebook.watching import Picture

_STEP = 0.1
"""Part of a plan after which its progress is told anew in lines of text."""


class Screen(Protocol):
    """Shows pictures, one after the other."""

    def show(self, picture: Picture) -> None:
        """Show a picture in place of the one before."""

    def close(self) -> None:
        """Leave the last picture as it is."""


def open_screen(stream: TextIO | None = None) -> Screen:
    """Return what suits the place where the program runs.

    Parameters
    ----------
    stream : file, optional
        Where text goes; default: ``sys.stdout``.
    """
    if stream is None and is_notebook():
        return Cell()
    target = stream or sys.stdout
    if target.isatty():
        with suppress(ImportError):
            return Terminal(target)
    return PlainLines(target)


def is_notebook() -> bool:
    """Return whether this runs in the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class _Drawn:
    """A picture as it was: what is drawn later must not change what was drawn."""

    def __init__(self, view: View) -> None:
        self._html, self._text = to_html(view), to_text(view)

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        return self._html

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Drawn) and self._html == other._html

    __hash__ = None  # type: ignore[assignment]


class Cell:
    """The output of a cell of a notebook, which is replaced."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._drawn: _Drawn | None = None

    def show(self, picture: Picture) -> None:
        """Show a picture in place of the one before."""
        from IPython.display import display

        drawn = _Drawn(picture._view())
        if self._handle is None:
            self._handle = display(drawn, display_id=True)
        elif drawn != self._drawn:
            self._handle.update(drawn)
        self._drawn = drawn

    def close(self) -> None:
        """Leave the last picture as it is."""


class Terminal:
    """A terminal, in which the picture is drawn anew.

    Parameters
    ----------
    stream : file
        The terminal.

    Raises
    ------
    ImportError
        rich is not installed.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        self._text = Text
        self._live = Live(console=Console(file=stream), auto_refresh=False, vertical_overflow="crop")
        self._live.start()

    def show(self, picture: Picture) -> None:
        """Show a picture in place of the one before."""
        text = self._text(to_text(picture._view()), no_wrap=True, overflow="ellipsis")
        self._live.update(text, refresh=True)

    def close(self) -> None:
        """Leave the last picture as it is."""
        self._live.stop()


class PlainLines:
    """Lines of text that tell what is new.

    Parameters
    ----------
    stream : file
        Where the lines go.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._said: dict[str, str] = {}
        self._fraction = 0.0
        self._ended = 0
        self._heard = 0

    def show(self, picture: Picture) -> None:
        """Write what is new."""
        for line in self._console(picture):
            self._write(f"| {line}")
        for item in picture.ended[self._ended :]:
            self._write(f"{short(mapping(item.get('result')).get('exit_status'))}: {call(item).text}")
        self._ended = len(picture.ended)
        for task in picture.tasks:
            self._say(
                str(task.get("task_uid")), f"{call(task).text} ({task.get('task_uid')}): {task.get('state')}"
            )
        status = picture.status
        state, waiting = short(status.get("manager_state")), short(status.get("items_in_queue"))
        self._say("state", f"{state}, {waiting} in the queue")
        self._progress(picture)
        self._say("problem", picture.problem)

    def _progress(self, picture: Picture) -> None:
        name = call(picture.running).text if picture.running else ""
        if self._say("running", f"running: {name}" if name else ""):
            self._fraction = 0.0
        bar = plan_bar(mapping(picture.status.get("progress")))
        if name and bar and bar.fraction is not None and bar.fraction >= self._fraction + _STEP:
            self._fraction = bar.fraction
            self._write(f"  {bar.text}")

    def _console(self, picture: Picture) -> list[str]:
        new, self._heard = picture.heard - self._heard, picture.heard
        return list(picture.console)[-new:] if new else []

    def _say(self, what: str, words: str) -> bool:
        """Write words if they are not what was said of this before."""
        if self._said.get(what, "") == words:
            return False
        self._said[what] = words
        if words:
            self._write(words)
        return True

    def _write(self, line: str) -> None:
        self._stream.write(one_line(line) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """There is nothing to end."""
