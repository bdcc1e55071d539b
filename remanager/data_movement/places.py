"""Where data may be read and written."""

from __future__ import annotations

import os
from pathlib import Path

from remanager.tasks import Permanent

ROOTS = "REMANAGER_DATA_ROOTS"
"""Environment variable with the directories that may be touched, separated by colons."""


def roots() -> list[Path]:
    """Return the directories that may be touched, without symbolic links.

    Raises
    ------
    Permanent
        None is configured.
    """
    found = [Path(os.path.realpath(part)) for part in os.environ.get(ROOTS, "").split(os.pathsep) if part]
    if not found:
        raise Permanent(f"No directory may be touched: name them in the environment variable {ROOTS}")
    return found


def allowed(path: str) -> Path:
    """Return a path without symbolic links and ``..``, if it lies in a directory that may be touched.

    Raises
    ------
    Permanent
        It is no text, not absolute, or lies elsewhere.
    """
    if not isinstance(path, str) or "\0" in path:
        raise Permanent(f"A path must be a text without NUL, not {path!r}")
    if not os.path.isabs(path):
        raise Permanent(f"The path '{path}' is not absolute")
    found = Path(os.path.realpath(path))
    if not any(found.is_relative_to(root) for root in roots()):
        raise Permanent(f"The path '{path}' lies in none of the directories of {ROOTS}")
    return found


def allowed_run(path: str) -> Path:
    """Return the path of a run, as :func:`allowed` does.

    Raises
    ------
    Permanent
        It may not be touched, or is itself one of the directories that may.
    """
    found = allowed(path)
    if found in roots():
        raise Permanent(f"The path '{path}' is one of the directories of {ROOTS} and not a run in it")
    return found


def allowed_directory(path: str) -> Path:
    """Return the path of a directory with runs, as :func:`allowed` does.

    Raises
    ------
    Permanent
        It may not be touched, or something else than a directory has its name.
    """
    found = allowed(path)
    if found.exists() and not found.is_dir():
        raise Permanent(f"The path '{path}' is no directory")
    return found


def apart(source: Path, target: Path) -> None:
    """Refuse two places one of which contains the other.

    Raises
    ------
    Permanent
        They are the same, by whatever mounts and hard links, or one lies in the other.
    """
    if source.is_relative_to(target) or target.is_relative_to(source):
        raise Permanent(f"'{source}' and '{target}' overlap")
    if source.exists() and target.exists() and source.samefile(target):
        raise Permanent(f"'{source}' and '{target}' are the same under two names")
