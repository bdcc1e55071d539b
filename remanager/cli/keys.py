"""``remanager keys``: the server's key, and keys and roles of clients."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import zmq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from remanager.cli.send import ExitStatus, Failure
from remanager.cli.shown import moment
from remanager.cli.state_directory import STATE_DIR_OPTION, state_directory
from remanager.daemon.keys import (
    LEGACY,
    ClientKey,
    Keys,
    KeysError,
    change_keys,
    make_server_key,
    read_keys,
    read_server_key,
)
from remanager.daemon.sockets import check_curve_key
from remanager.model.errors import RemanagerError
from remanager.model.principal import Role
from remanager.store.filesystem import KEYS_NAME

_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_CLIENT_ROLES = [role.value for role in Role if role is not Role.NONE]


def _change(state_dir: Path, change: Callable[[Keys], Keys]) -> Keys:
    try:
        return change_keys(state_dir, change)
    except (KeysError, OSError) as exc:
        raise Failure(str(exc), ExitStatus.FAILED) from exc


def _print(result: dict[str, Any], as_json: bool, *lines: str) -> None:
    click.echo(json.dumps(result, indent=2) if as_json else "\n".join(lines))


@click.command()
@click.argument("name")
@click.option(
    "--role", type=click.Choice(_CLIENT_ROLES), default="user", show_default=True, help="What it may do."
)
@click.option("--user", help="User name that its requests carry, whatever they claim.")
@click.option("--user-group", help="The only user group that its requests may claim.")
@click.option(
    "--public-key", metavar="KEY", help="Public key that the client made itself; else a pair is made."
)
@STATE_DIR_OPTION
@_JSON
def add(
    name: str,
    role: str,
    user: str | None,
    user_group: str | None,
    public_key: str | None,
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """Make a key for the client NAME and print its private key, which is not kept.

    A running daemon accepts it at once. The client sets REMANAGER_CLIENT_PRIVATE_KEY to the private key and
    QSERVER_ZMQ_PUBLIC_KEY to the public key of the server.
    """
    private: str | None = None
    if public_key is None:
        pair = zmq.curve_keypair()
        public_key, private = pair[0].decode(), pair[1].decode()
    else:
        try:
            check_curve_key(public_key)
        except RemanagerError as exc:
            message = "the public key must be a z85-encoded string of 40 characters"
            raise Failure(message, ExitStatus.PARAMETERS) from exc
    key = ClientKey(name, public_key, Role(role), user, user_group, time_added=time.time())
    directory = state_directory(state_dir)
    keys = _change(directory, lambda keys: keys.add(key))
    lines = [f"{name} is known now and has the role {role!r}."]
    if private is not None:
        lines += ["", "Set in the environment of this client, and nowhere else:"]
        lines.append(f"    REMANAGER_CLIENT_PRIVATE_KEY='{private}'")
    if keys.legacy_role in {Role.ADMIN, Role.USER}:
        lines += ["", f"Clients without a key of their own still have the role {keys.legacy_role.value!r}."]
        lines.append("To restrict them: remanager keys legacy --role observer (or none).")
    _print({**asdict(key), "private_key": private}, as_json, *lines)


@click.command("list")
@STATE_DIR_OPTION
@_JSON
def show(state_dir: Path | None, as_json: bool) -> None:
    """Show who may talk to the daemon, and what they may do."""
    path = state_directory(state_dir) / KEYS_NAME
    try:
        keys = read_keys(path)
    except KeysError as exc:
        raise Failure(str(exc), ExitStatus.FAILED) from exc
    if as_json:
        click.echo(json.dumps(None if keys is None else asdict(keys), indent=2))
        return
    if keys is None:
        click.echo("No client has a key: whoever knows the server's public key may do everything.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "role", "user", "user group", "added", "revoked", "public key"):
        table.add_column(column, overflow="fold")
    table.add_row(LEGACY, keys.legacy_role.value, "", "", "", "", Text("the key of all stock clients", "dim"))
    for key in keys.clients:
        table.add_row(
            Text(key.name),
            key.role.value,
            Text(key.user or ""),
            Text(key.user_group or ""),
            moment(key.time_added),
            moment(key.time_revoked),
            Text(key.public_key),
            style="dim" if key.time_revoked else "",
        )
    console = Console()
    if not console.is_terminal:
        console.width = 200
    console.print(table)


@click.command()
@click.argument("name")
@STATE_DIR_OPTION
def revoke(name: str, state_dir: Path | None) -> None:
    """Take the key of NAME back; a running daemon refuses it within a second."""
    _change(state_directory(state_dir), lambda keys: keys.revoke(name, time.time()))
    click.echo(f"The key of {name} does not count any more.")


@click.command()
@click.option("--role", type=click.Choice([r.value for r in Role]), required=True, help="What they may do.")
@STATE_DIR_OPTION
def legacy(role: str, state_dir: Path | None) -> None:
    """Set what clients without a key of their own may do: all stock clients share one.

    With 'none' they cannot even connect.
    """

    def change(keys: Keys) -> Keys:
        return Keys(Role(role), keys.clients)

    _change(state_directory(state_dir), change)
    click.echo(f"Clients without a key of their own have the role {role!r} now.")


@click.command()
@click.option("--make", is_flag=True, help="Make a key; the daemon uses it from its next start on.")
@click.option("--overwrite", is_flag=True, help="With --make: replace a key; clients must learn the new one.")
@STATE_DIR_OPTION
@_JSON
def server(make: bool, overwrite: bool, state_dir: Path | None, as_json: bool) -> None:
    """Show the public key of the server, which clients need; with --make, make a key pair.

    The private key stays in the state directory, readable by its owner only. The variable
    QSERVER_ZMQ_PRIVATE_KEY_FOR_SERVER and the configuration file come before it.
    """
    directory = state_directory(state_dir)
    try:
        private = make_server_key(directory, overwrite=overwrite) if make else read_server_key(directory)
    except (KeysError, OSError) as exc:
        raise Failure(str(exc), ExitStatus.FAILED) from exc
    if private is None:
        raise Failure(
            f"there is no key in {directory}; make one with: remanager keys server --make", ExitStatus.FAILED
        )
    public = zmq.curve_public(private.encode()).decode()
    lines = [f"QSERVER_ZMQ_PUBLIC_KEY='{public}'"]
    if make:
        lines = ["The daemon encrypts from its next start on. Clients need its public key:", *lines]
    _print({"public_key": public}, as_json, *lines)
