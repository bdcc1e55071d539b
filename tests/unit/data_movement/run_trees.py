"""Runs for the tests of data movement: made, and read back."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from remanager.data_movement.contents import MANIFEST
from remanager.data_movement.files import PART, Step, copy_file, make_directories

OLD = 1_700_000_000


def make_run(place: Path, **contents: bytes) -> Path:
    """Make a run with files that are old."""
    for name, data in (contents or {"a.h5": b"a" * 5000, "b.h5": b"b" * 100}).items():
        path = place / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (OLD, OLD))
    return place


def tree(place: Path) -> dict[str, bytes]:
    """Return the files of a run without the manifest."""
    found = {p.relative_to(place).as_posix(): p.read_bytes() for p in place.rglob("*") if p.is_file()}
    return {name: data for name, data in found.items() if MANIFEST not in name}


class Interrupted(Exception):
    """Stands for the death of the worker."""


def interrupted_at(name: str) -> Callable[..., str]:
    """Return a way to copy files that dies at the file of this name, with a part of it at the destination."""

    def copy(source: Path, target: Path, step: Step, **options: Any) -> str:
        if source.name == name:
            make_directories(target.parent)
            target.with_name(target.name + PART).write_bytes(source.read_bytes()[:1])
            raise Interrupted
        return copy_file(source, target, step, **options)

    return copy
