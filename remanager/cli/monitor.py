"""``remanager monitor``: the manager live on a terminal."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from time import time
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from remanager.cli.console import show_output
from remanager.cli.send import INFO_OPTION, ExitStatus, Failure, connection, connection_options
from remanager.cli.show import history_rows
from remanager.cli.shown import describe
from remanager_api import RequestFailedError, RequestTimeoutError
from remanager_api.zmq.aio import REManagerAPI

_HISTORY_SHOWN = 8
_CONSOLE_LINES = 500
_RECENT = 100
"""Pieces of console output from before that are shown."""

_AGAIN_S = 1.0  # until a manager that did not answer is asked for its output again


@dataclass(slots=True)
class Watch:
    """What is known of the manager.

    Attributes
    ----------
    status : dict
        Last status.
    queue, history : list of dict
        Items that wait; the newest that have ended.
    running : dict
        Running item; empty if there is none.
    console : deque of str
        Last lines of console output.
    problem : str
        Why the picture is not up to date; empty if it is.
    """

    status: dict[str, Any] = field(default_factory=dict)
    queue: list[dict[str, Any]] = field(default_factory=list)
    running: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    console: deque[str] = field(default_factory=lambda: deque(maxlen=_CONSOLE_LINES))
    problem: str = ""
    _rest: str = field(default="", init=False, repr=False)

    def hear(self, text: str) -> None:
        """Take a piece of console output; it comes in pieces, not in lines."""
        *lines, self._rest = (self._rest + text).split("\n")
        # Of a line that was written over, the last state is shown.
        self.console.extend(line.rstrip("\r").rpartition("\r")[2] for line in lines)

    async def look(self, api: REManagerAPI) -> None:
        """Bring the picture up to date, asking only for what has changed."""
        before, status = self.status, await api.status(reload=True)
        if status["plan_queue_uid"] != before.get("plan_queue_uid"):
            reply = await api.queue_get()
            self.queue, self.running = reply["items"], reply["running_item"]
        if status["plan_history_uid"] != before.get("plan_history_uid"):
            self.history = (await api.history_get())["items"][-_HISTORY_SHOWN:]
        self.status = status


# ------------------------------------------------------------------------------------------- picture


def _progress(watch: Watch) -> RenderableType:
    running = watch.running
    if not running:
        return Text("nothing runs", "dim")
    progress = watch.status.get("progress") or {}
    done, total = progress.get("done_count"), progress.get("total_count")
    started = running.get("properties", {}).get("time_start")
    line = Table.grid(padding=(0, 2))
    cells: list[RenderableType] = [Text(describe(running), "cyan")]
    if total:
        cells += [ProgressBar(total=total, completed=done or 0, width=30), Text(f"{done}/{total} points")]
    elif done:
        cells.append(Text(f"{done} points"))
    if started:
        cells.append(Text(f"{time() - started:.0f} s"))
    if progress.get("eta_s") is not None and not _is_paused(watch):
        cells.append(Text(f"about {progress['eta_s']:.0f} s left", "dim"))
    line.add_row(*cells)
    return line


def _is_paused(watch: Watch) -> bool:
    return bool(watch.status.get("manager_state") == "paused")


def _head(watch: Watch) -> RenderableType:
    status = watch.status
    if not status:
        return Text("waiting for the manager ...", "dim")
    line = Text.assemble(
        (str(status.get("manager_state", "?")), "bold"),
        f"   environment {status.get('worker_environment_state') or '-'}",
        f"   RunEngine {status.get('re_state') or '-'}",
        f"   queue {status.get('items_in_queue', '?')}   history {status.get('items_in_history', '?')}",
    )
    for key, word in (("queue_stop_pending", "stop pending"), ("pause_pending", "pause pending")):
        if status.get(key):
            line.append(f"   {word}", "yellow")
    if status.get("queue_autostart_enabled"):
        line.append("   autostart", "green")
    return line


def _waiting(watch: Watch) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for number, item in enumerate(watch.queue):
        table.add_row(Text(str(number), "dim"), Text(describe(item)), Text(str(item.get("user", "")), "dim"))
    return table


def draw(watch: Watch, height: int) -> RenderableType:
    """Return the picture as something that rich can print.

    Parameters
    ----------
    watch : Watch
        What is known.
    height : int
        Number of lines that may be used.
    """
    head = [_head(watch), _progress(watch)]
    if watch.problem:
        head.append(Text(watch.problem, "red"))
    layout = Layout()
    history_height = _HISTORY_SHOWN + 3
    rest = max(height - len(head) - 2 - history_height, 8)
    layout.split_column(
        Layout(Panel(Group(*head), title=str(watch.status.get("msg", "remanager"))), size=len(head) + 2),
        Layout(Panel(_waiting(watch), title="queue"), size=rest // 2),
        Layout(Panel(history_rows(watch.history[::-1]), title="history"), size=history_height),
        Layout(Panel(_tail(watch, rest - rest // 2 - 2), title="console")),
    )
    return layout


def _tail(watch: Watch, lines: int) -> Text:
    return Text("\n".join(list(watch.console)[-max(lines, 1) :]), "dim", no_wrap=True, overflow="ellipsis")


# ------------------------------------------------------------------------------------------- life


async def observe(
    api: REManagerAPI, watch: Watch, show: Callable[[Watch], object], *, period_s: float
) -> None:
    """Keep a picture up to date and show it, without an end.

    Parameters
    ----------
    api : REManagerAPI
        Client.
    watch : Watch
        The picture.
    show : callable
        Called with the picture after each look.
    period_s : float
        Time (s) between two looks.
    """
    while True:
        try:
            await watch.look(api)
            watch.problem = ""
        except (RequestTimeoutError, RequestFailedError) as exc:
            watch.problem = str(exc)
        show(watch)
        await asyncio.sleep(period_s)


async def listen(api: REManagerAPI, watch: Watch) -> None:
    """Collect console output, from a little before now on, without an end."""
    while True:
        with suppress(RequestTimeoutError, RequestFailedError):  # the head of the picture says so
            await show_output(api, _RECENT, watch.hear, lambda text: watch.console.append(f"({text})"))
        await asyncio.sleep(_AGAIN_S)


async def _together(*parts: Coroutine[Any, Any, None]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for part in parts:
            tasks.create_task(part)


@click.command(
    params=[
        *connection_options(),
        INFO_OPTION,
        click.Option(
            ["--period"],
            type=click.FloatRange(min=0.05),
            default=0.5,
            show_default=True,
            metavar="S",
            help="Time (s) between two looks at the manager.",
        ),
    ]
)
def monitor(period: float, **options: Any) -> None:
    """Watch the manager live, until Ctrl-C: running item, queue, history and console output."""
    terminal, watch = Console(), Watch()
    if not terminal.is_interactive:
        raise Failure(
            "The output is no terminal that the monitor can draw on. "
            "'remanager status' and 'remanager console' write to files and pipes, too.",
            ExitStatus.PARAMETERS,
        )

    async def run(live: Live) -> None:
        def show(watch: Watch) -> None:
            live.update(draw(watch, terminal.height), refresh=True)

        async with REManagerAPI(**connection(options)) as api:
            await _together(
                observe(api, watch, show, period_s=period),
                listen(api, watch),
            )

    with suppress(KeyboardInterrupt), Live(console=terminal, screen=True, auto_refresh=False) as live:
        asyncio.run(run(live))
