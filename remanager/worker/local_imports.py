"""Imports from the directory of a script: what they load is forgotten, so that edits take effect."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

_PATH_OF_INTERPRETER = frozenset(sys.path)
"""Where modules are found before user code has run: the installation, and packages installed for editing."""

_LIBRARIES = ("site-packages", "dist-packages")


@contextmanager
def local_imports(root: Path | None) -> Iterator[None]:
    """Allow imports from a directory; the user's own modules in it are forgotten afterwards.

    What is installed stays, also below the directory (a virtual environment, packages installed for editing):
    libraries cannot be loaded twice.

    Parameters
    ----------
    root : Path or None
        Directory, absolute; None: nothing is done.
    """
    if root is None or not root.is_dir():
        yield
        return
    importlib.invalidate_caches()
    before = set(sys.modules)
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        # The path is still needed here: the places of namespace packages are computed from it.
        for name in _own_modules(set(sys.modules) - before, root):
            sys.modules.pop(name, None)
        if str(root) in sys.path:
            sys.path.remove(str(root))


def _own_modules(names: Iterable[str], root: Path) -> list[str]:
    """Return which modules come from the directory, or from one below it that user code put on the path."""
    own = _own_directories(root)
    return [name for name in names if (origins := _origins(name)) and origins <= own]


def _own_directories(root: Path) -> set[Path]:
    top = root.resolve()
    added = {Path(os.path.abspath(entry)) for entry in sys.path if entry not in _PATH_OF_INTERPRETER}
    resolved = {path: path.resolve() for path in (root, *added)}
    return {p for p, real in resolved.items() if real.is_relative_to(top) and real.name not in _LIBRARIES}


def _origins(name: str) -> set[Path]:
    """Return the directories in which a module, or the package it belongs to, was found."""
    module = sys.modules.get(name)
    if not isinstance(module, ModuleType):
        return set()
    file, path = vars(module).get("__file__"), vars(module).get("__path__")
    levels = name.count(".")
    if isinstance(file, str):
        places = [file]
        levels += path is not None  # that of a package is its __init__.py
    else:
        try:
            places = list(path or ())
        except KeyError:  # user code has forgotten the package around this namespace package
            return set()
    return {parents[levels] for place in places if len(parents := Path(place).parents) > levels}
