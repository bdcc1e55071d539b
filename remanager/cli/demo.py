"""``remanager demo``: a daemon of its own runs about ten plans on the simulated instrument."""

from __future__ import annotations

import asyncio
import importlib.util
import tempfile
from pathlib import Path

import click
from rich.console import Console

from remanager.demo.drive import Picture, drive
from remanager.demo.instance import InstanceError, running_instance
from remanager.demo.view import LiveView, PlainView, View, history_table
from remanager_api import RequestFailedError
from remanager_api.zmq.aio import REManagerAPI


async def _demonstrate(view: View, picture: Picture, directory: Path) -> None:
    view.show(picture)
    async with running_instance(directory) as instance:
        api = REManagerAPI(
            zmq_control_addr=instance.control_addr, zmq_info_addr=instance.info_addr, timeout_recv=5
        )
        async with api:
            await drive(api, picture, view.show)


@click.command()
@click.option("--plain", is_flag=True, help="Print lines instead of a live display.")
@click.pass_context
def demo(ctx: click.Context, plain: bool) -> None:
    """Start a daemon with a simulated instrument, run about ten plans, and show the history.

    The exit status is 0 only if everything went as expected.
    """
    console = Console()
    if importlib.util.find_spec("bluesky") is None or importlib.util.find_spec("ophyd") is None:
        raise click.ClickException("the demonstration needs bluesky: pip install 'remanager[bluesky]'")
    picture = Picture()
    view: View = PlainView(console) if plain or not console.is_terminal else LiveView(console)
    with tempfile.TemporaryDirectory(prefix="remanager-demo-") as directory:
        try:
            with view:
                asyncio.run(_demonstrate(view, picture, Path(directory)))
        except (InstanceError, RequestFailedError, TimeoutError, RuntimeError) as exc:
            picture.problems.append(f"{picture.phase}: {exc}")
            picture.problems += [f"  console: {line}" for line in list(picture.console)[-15:]]
    console.print(history_table(picture))
    if picture.problems:
        for problem in picture.problems:
            console.print(problem, style="red", markup=False)
    else:
        console.print("Everything went as expected; one plan failed on purpose.", style="green")
    ctx.exit(1 if picture.problems else 0)
