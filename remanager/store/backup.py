"""Copying a state directory while its daemon runs."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from remanager.store.errors import StateDirUnusable
from remanager.store.filesystem import KEYS_NAME, SERVER_KEY_NAME
from remanager.store.migrate import check_database, load_migrations
from remanager.store.store import DATABASE_NAME

SETTINGS_NAMES = (SERVER_KEY_NAME, KEYS_NAME)


def back_up(state_dir: Path, target: Path) -> int:
    """Copy a state directory into a new one, with which a daemon can start.

    The copy of the database is that of one moment, whatever the daemon writes meanwhile. The daemon is not
    held up.

    Parameters
    ----------
    state_dir : Path
        The state directory; a daemon may be using it.
    target : Path
        Must be empty or not exist; made with mode 0700.

    Returns
    -------
    int
        Size of the copied database (bytes).

    Raises
    ------
    StateDirUnusable
        There is no database, or it is empty; or the target is not empty or cannot be made.
    SchemaTooNew, DatabaseUnusable
        The database is of a later release, or not ours.
    sqlite3.Error
        It cannot be read, or the copy cannot be written or is damaged.
    OSError
        A file cannot be copied.
    """
    source = state_dir / DATABASE_NAME
    if not source.is_file():
        raise StateDirUnusable(f"There is no {DATABASE_NAME} in {str(state_dir)!r}. Name another --state-dir")
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        reason = exc.strerror or exc
        raise StateDirUnusable(
            f"The directory {str(target)!r} cannot be made: {reason}. Name another one"
        ) from exc
    if any(target.iterdir()):
        raise StateDirUnusable(f"The directory {str(target)!r} is not empty. Name another one")
    copy = target / DATABASE_NAME
    # Under its name it appears only when it is whole.
    partial = copy.with_suffix(".partial")
    partial.touch(mode=0o600)
    try:
        _copy_database(source, partial)
        for name in SETTINGS_NAMES:
            if (state_dir / name).exists():
                shutil.copy2(state_dir / name, target / name)
    except BaseException:
        # The directory was empty, and is so for the next attempt; SQLite may have left a journal, too.
        for path in target.iterdir():
            if path.name in SETTINGS_NAMES or path.name.startswith(partial.name):
                path.unlink()
        raise
    partial.rename(copy)
    return copy.stat().st_size


def _copy_database(source: Path, copy: Path) -> None:
    log = source.with_name(source.name + "-wal")
    # SQLite keeps files beside the database. Where it cannot, as on a read-only mount, a database without a
    # log is whole, and is read as one that nobody writes.
    unused = not os.access(source.parent, os.W_OK) and not log.exists()
    options = "mode=ro&immutable=1" if unused else "mode=ro"
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?{options}", uri=True)) as reader,
        closing(sqlite3.connect(copy)) as writer,
    ):
        if not check_database(reader, len(load_migrations())):
            raise StateDirUnusable(f"{str(source)!r} is empty: there is nothing to copy")
        reader.backup(writer)  # all pages in one step, and so of one moment
        problems = [row[0] for row in writer.execute("PRAGMA quick_check(5)")]
        if problems != ["ok"]:
            raise sqlite3.DatabaseError(f"the copy is damaged: {'; '.join(problems)}")
    if unused and log.exists():
        raise sqlite3.DatabaseError("a daemon has started meanwhile. Try again")
