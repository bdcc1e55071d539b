"""Bringing a database to the schema of this release by numbered migrations."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from remanager.store.errors import DatabaseUnusable, SchemaTooNew

APPLICATION_ID = 0x52454D41
"""``PRAGMA application_id`` of the file: the letters REMA."""

_DIRECTORY = Path(__file__).with_name("schema")
_FILE_NAME = re.compile(r"(\d{4})_\w+\.sql")


def load_migrations(directory: Path = _DIRECTORY) -> list[str]:
    """Return the migrations' SQL in order: the first one makes version 1.

    Raises
    ------
    ValueError
        A file has a wrong name, or the numbers have a gap.
    """
    scripts = []
    for number, path in enumerate(sorted(directory.glob("*.sql")), start=1):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None or int(match[1]) != number:
            raise ValueError(f"Migration {path.name!r} should have the number {number:04d}")
        scripts.append(path.read_text(encoding="utf-8"))
    return scripts


def check_database(connection: sqlite3.Connection, newest: int) -> int:
    """Make sure that the database is new or ours, without changing it.

    Parameters
    ----------
    newest : int
        The last version that this release knows.

    Returns
    -------
    int
        Version of its schema; 0 for a new database.

    Raises
    ------
    SchemaTooNew
        Its version is later than the last one known.
    DatabaseUnusable
        It belongs to another application.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    application_id: int = connection.execute("PRAGMA application_id").fetchone()[0]
    tables: int = connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()[0]
    if application_id != APPLICATION_ID and (tables or version or application_id):
        raise DatabaseUnusable("The database file was not made by remanager. Choose another --state-dir.")
    if version > newest:
        raise SchemaTooNew(
            f"The database has schema version {version}; this release of remanager knows versions up to "
            f"{newest}. Install the newer release again or choose another --state-dir."
        )
    return version


def migrate(connection: sqlite3.Connection, scripts: list[str]) -> int:
    """Apply the migrations that the database does not have yet, each in one transaction.

    Parameters
    ----------
    connection : sqlite3.Connection
        Connection in autocommit mode.
    scripts : list of str
        All migrations, as :func:`load_migrations` returns them.

    Returns
    -------
    int
        Number of migrations applied.

    Raises
    ------
    SchemaTooNew, DatabaseUnusable
        See :func:`check_database`.
    """
    version = check_database(connection, len(scripts))
    for number, script in enumerate(scripts[version:], start=version + 1):
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{script}\n;PRAGMA application_id = {APPLICATION_ID};\n"
                f"PRAGMA user_version = {number};\nCOMMIT;"
            )
        except sqlite3.Error:
            connection.rollback()
            raise
    return len(scripts) - version
