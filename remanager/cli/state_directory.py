"""The option that names the state directory, for commands that work on it themselves."""

from __future__ import annotations

import os
from pathlib import Path

import click

from remanager.daemon.settings import default_state_dir
from remanager.daemon.sources import absolute

STATE_DIR_OPTION = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="PATH",
    help="State directory of the daemon. Variable: REMANAGER_STATE_DIR.",
)


def state_directory(given: Path | None, configured: str | None = None) -> Path:
    """Return the state directory, found as 'remanager start' finds it.

    Parameters
    ----------
    given : Path or None
        Value of the option.
    configured : str or None
        Value of the configuration file.
    """
    written = str(given) if given is not None else os.environ.get("REMANAGER_STATE_DIR") or configured
    if written:
        return absolute(written)
    return default_state_dir(os.environ, root=os.geteuid() == 0)
