"""Runs for the tests of data movement: made, and read back."""

from __future__ import annotations

import os
from pathlib import Path

from remanager.data_movement.contents import MANIFEST

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
