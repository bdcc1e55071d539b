"""Named SQL statements, read once from the ``.sql`` files beside this module.

A statement starts with a line ``-- name: NAME``. It consists of one or more SQL statements, each ended by a
semicolon at the end of a line; all of them run with the same parameters, in order.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_DIRECTORY = Path(__file__).with_name("statements")
_HEADER = re.compile(r"^-- name: *(\w+) *$", re.MULTILINE)
_COMMENT = re.compile(r"^--.*$", re.MULTILINE)
_END = re.compile(r";[ \t]*$", re.MULTILINE)
_PARAMETER = re.compile(r":(\w+)")
_VALUES = re.compile(r"VALUES (\([^()]+\))")


def parse(text: str) -> dict[str, tuple[str, ...]]:
    """Return the statements of one file by name.

    Raises
    ------
    ValueError
        A name is defined twice or has no SQL.
    """
    parts = _HEADER.split(text)
    found: dict[str, tuple[str, ...]] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        sql = tuple(s.strip() for s in _END.split(_COMMENT.sub("", body)) if s.strip())
        if name in found or not sql:
            raise ValueError(f"Statement {name!r} is defined twice or empty")
        found[name] = sql
    return found


def load(directory: Path = _DIRECTORY) -> dict[str, tuple[str, ...]]:
    """Return the statements of all files of a directory; a name must be unique over the files."""
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(directory.glob("*.sql")):
        for name, sql in parse(path.read_text(encoding="utf-8")).items():
            if name in found:
                raise ValueError(f"Statement {name!r} of {path.name} is defined twice")
            found[name] = sql
    return found


STATEMENTS = load()


def query(name: str) -> str:
    """Return the SQL of a statement that consists of a single one."""
    (sql,) = STATEMENTS[name]
    return sql


def parameters(name: str) -> tuple[str, ...]:
    """Return the names of the parameters of a statement with ``VALUES (...)``, in order."""
    return tuple(_PARAMETER.findall(query(name)))


@cache
def of_rows(name: str, number: int) -> str:
    """Return the name of the statement that does with so many rows what ``name`` does with one.

    It is made when it is needed first. Its parameters are a sequence: those of the first row in the order of
    :func:`parameters`, then those of the next one. A statement has a cost of its own, most of all where
    triggers run: SQLite keeps a copy of each page that it changes until it is over.

    Parameters
    ----------
    name : str
        A statement whose only parameters are those of ``VALUES (...)``.
    """
    before, values, after = _VALUES.split(_PARAMETER.sub("?", query(name)))
    made = f"{name}*{number}"
    STATEMENTS[made] = (before + "VALUES " + ", ".join([values] * number) + after,)
    return made
