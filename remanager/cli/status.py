"""``remanager status``: what the manager does."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from remanager_api import RequestTimeoutError
from remanager_api.zmq import REManagerAPI

_ROWS = (
    ("manager", "manager_state"),
    ("environment", "worker_environment_state"),
    ("RunEngine", "re_state"),
    ("running item", "running_item_uid"),
    ("items in queue", "items_in_queue"),
    ("items in history", "items_in_history"),
    ("stop pending", "queue_stop_pending"),
    ("autostart", "queue_autostart_enabled"),
    ("background tasks", "worker_background_tasks"),
)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


@click.command()
@click.option("--address", metavar="ADDR", help="Control address. Variable: QSERVER_ZMQ_CONTROL_ADDRESS.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole reply as JSON.")
@click.pass_context
def status(ctx: click.Context, address: str | None, as_json: bool) -> None:
    """Show what the manager does. The exit status is 1 if it does not answer."""
    with REManagerAPI(zmq_control_addr=address) as api:
        try:
            reply = api.status()
        except RequestTimeoutError as exc:
            raise click.ClickException(f"{exc}; is the daemon running?") from exc
    if as_json:
        click.echo(json.dumps(reply, indent=2))
        return
    table = Table(box=None, show_header=False, title=str(reply.get("msg", "")), title_justify="left")
    for label, key in _ROWS:
        table.add_row(label, _shown(reply.get(key)))
    Console().print(table)
    ctx.exit(0)
