"""``remanager backup``: a copy of the state directory, made while the daemon runs."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import click

from remanager.cli.send import ExitStatus, Failure
from remanager.cli.state_directory import STATE_DIR_OPTION, state_directory
from remanager.model.errors import RemanagerError
from remanager.store.backup import back_up


@click.command()
@click.argument("target", type=click.Path(path_type=Path), metavar="DIRECTORY")
@STATE_DIR_OPTION
def backup(target: Path, state_dir: Path | None) -> None:
    """Copy queue, history, results and keys into DIRECTORY, which must be new or empty.

    The daemon may run meanwhile. The copy is a state directory itself: to restore it, put it where the state
    directory was while no daemon runs, or start a daemon with it.
    """
    source = state_directory(state_dir)
    try:
        size = back_up(source, target)
    except (RemanagerError, sqlite3.Error, OSError) as exc:
        raise Failure(f"{source} cannot be copied: {exc}", ExitStatus.FAILED) from exc
    click.echo(f"{source} was copied to {target}: {size / 1e6:.1f} MB.")
