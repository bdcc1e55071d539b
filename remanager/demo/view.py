"""Ways to show the demonstration: live on a terminal, or as lines."""

from __future__ import annotations

from time import time
from types import TracebackType
from typing import Any, Protocol, Self

from rich.box import SIMPLE
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from remanager.demo.drive import Picture
from remanager.demo.work import STEPS

_STYLES = {"completed": "green", "failed": "red", "running": "cyan", "waiting": "dim"}
_CONSOLE_SHOWN = 8


class View(Protocol):
    """Shows a picture of the manager."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: Any) -> None: ...

    def show(self, picture: Picture) -> None:
        """Show the picture, which has changed."""


def describe(item: dict[str, Any]) -> str:
    """Return an item as a call: ``scan(['diode'], 'theta', -5, 5)``."""
    args = [repr(a) for a in item.get("args", [])]
    args += [f"{k}={v!r}" for k, v in item.get("kwargs", {}).items()]
    return f"{item['name']}({', '.join(args)})"


def duration(item: dict[str, Any]) -> str:
    """Return how long an item of the history took."""
    return f"{item['result']['time_stop'] - item['result']['time_start']:.2f} s"


class PlainView:
    """Prints a line for each thing that happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._phase = ""
        self._told = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        return None

    def show(self, picture: Picture) -> None:
        """Print what is new in the picture."""
        if picture.phase != self._phase:
            self._phase = picture.phase
            self._line(picture.phase)
        for item in picture.history[self._told :]:
            self._told += 1
            status = item["result"]["exit_status"]
            self._line(f"  {self._told:2}/{len(STEPS)} {status:10} {duration(item):>8}  {describe(item)}")

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveView:
    """Shows queue, progress and console output, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=10, transient=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.__exit__(exc_type, exc, traceback)

    def show(self, picture: Picture) -> None:
        """Draw the picture."""
        self._live.update(draw(picture))


def _bar(picture: Picture) -> Progress:
    """Make the progress bar of the running plan; it pulses while the total is not known."""
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=40), TextColumn("{task.fields[points]}")
    )
    done, total = picture.progress() or (0, None)
    points = f"{done}/{total} points" if total else f"{done} points" if done else ""
    progress.add_task(picture.running["name"], total=total, completed=done, points=points)
    return progress


def draw(picture: Picture) -> Panel:
    """Return the picture as something that rich can print."""
    table = Table(box=None, pad_edge=False, expand=True)
    for column, options in (("", {"width": 2}), ("plan", {"ratio": 1}), ("state", {"width": 10})):
        table.add_column(column, no_wrap=True, overflow="ellipsis", **options)  # type: ignore[arg-type]
    table.add_column("time", width=8, justify="right")
    number = 0
    for item in picture.history:
        number += 1
        status = item["result"]["exit_status"]
        style = _STYLES.get(status, "yellow")
        table.add_row(str(number), describe(item), Text(status, style), duration(item))
    parts: list[Any] = [Text(picture.phase, "bold"), Text()]
    if picture.running:
        number += 1
        started = picture.running.get("properties", {}).get("time_start")
        elapsed = f"{time() - started:.2f} s" if started else ""
        table.add_row(str(number), describe(picture.running), Text("running", _STYLES["running"]), elapsed)
    for item in picture.queue:
        number += 1
        table.add_row(str(number), describe(item), Text("waiting", _STYLES["waiting"]), "")
    parts.append(table)
    parts += [Text(), _bar(picture) if picture.running else Text()]
    lines = list(picture.console)[-_CONSOLE_SHOWN:]
    lines += [""] * (_CONSOLE_SHOWN - len(lines))
    parts.append(Panel(Text("\n".join(lines), "dim", no_wrap=True, overflow="ellipsis"), title="console"))
    return Panel(Group(*parts), title="remanager demo", width=100)


def history_table(picture: Picture) -> Table:
    """Return what ran, how it ended, how long it took, and the runs of plans."""
    # In 80 columns a run's uid, which needs 36 of them, fits; in fewer it is folded.
    table = Table(title="What ran", title_justify="left", box=SIMPLE, pad_edge=False, collapse_padding=True)
    table.add_column(no_wrap=True)
    table.add_column("what")
    table.add_column("what it shows, and its runs", overflow="fold")
    table.add_column("status", no_wrap=True)
    table.add_column("time", no_wrap=True)
    for task in picture.tasks:
        status = Text(task.status, _STYLES[task.status])
        table.add_row("", task.name, task.note, status, f"{task.seconds:.2f} s")
    for number, item in enumerate(picture.history, 1):
        result = item["result"]
        shows = Text(STEPS[number - 1].note if number <= len(STEPS) else "")
        for uid in result["run_uids"]:
            shows.append(f"\n{uid}", "dim")
        status = Text(result["exit_status"], _STYLES.get(result["exit_status"], "yellow"))
        table.add_row(str(number), item["name"], shows, status, duration(item))
    return table
