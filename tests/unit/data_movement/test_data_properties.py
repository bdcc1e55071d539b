"""Whatever a run and its destination hold: nothing is lost, and nothing is done by halves."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remanager import data_movement as dm
from remanager.data_movement.contents import OWN
from remanager.data_movement.files import PART
from remanager.data_movement.places import ROOTS
from remanager.tasks import Context, Permanent, Skip

NAMES = st.sampled_from(["a", "b", "d", "d/a", "d/e", "d/e/a", "c.remanager-part"])
FILES = st.sampled_from([b"", b"1", b"12", b"21"])
LINKS = st.sampled_from(["a", "../a", "d", "/etc/passwd", "../.."])
OTHERS = st.sampled_from(["directory", "pipe"])
TREES = st.dictionaries(NAMES, st.one_of(FILES, FILES, LINKS, OTHERS), max_size=6)
Tree = dict[str, bytes | str]


def plant(place: Path, tree: Tree, times: int) -> None:
    """Make what a tree says, as far as nothing is in its way."""
    place.mkdir(exist_ok=True)
    for name, what in sorted(tree.items()):
        path = place / name
        above = [p for p in path.parents if os.path.lexists(p)]
        if os.path.lexists(path) or any(p.is_symlink() or not p.is_dir() for p in above):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(what, bytes):
            path.write_bytes(what)
            os.utime(path, (times, times))
        elif what == "directory":
            path.mkdir()
        elif what == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(what)


def planted(place: Path) -> Tree:
    """Return what is in a place, without what tells of the run."""
    found: Tree = {}
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = path.read_bytes()
        else:
            found[name] = "directory" if path.is_dir() else "pipe"
    return {name: what for name, what in found.items() if name not in OWN}


@contextmanager
def disks() -> Iterator[tuple[Path, Path]]:
    """Give a place for a run and one for its copy."""
    root = Path(tempfile.mkdtemp()).resolve()
    before = os.environ.get(ROOTS)
    os.environ[ROOTS] = str(root)
    try:
        yield root / "run", root / "copy"
    finally:
        if before is None:
            del os.environ[ROOTS]
        else:
            os.environ[ROOTS] = before
        shutil.rmtree(root)


@pytest.mark.timeout(600)  # a thousand times it waits for the disk
@settings(max_examples=400, deadline=None)
@given(TREES, TREES, TREES, st.booleans(), st.booleans())
def test_a_move_does_all_or_nothing(
    run_tree: Tree, earlier_tree: Tree, stray_tree: Tree, has_copy: bool, same_times: bool
) -> None:
    with disks() as (run, copy):
        if has_copy:
            earlier = run.with_name("earlier")
            plant(earlier, earlier_tree, 1000)
            try:
                dm.copy_run(str(earlier), str(copy), ctx=Context())
            except Permanent:
                copy.mkdir()
            plant(copy, stray_tree, 1000)
        plant(run, run_tree, 1000 if same_times else 2000)
        ours, theirs = planted(run), planted(copy)
        try:
            dm.move_run(str(run), str(copy), ctx=Context())
        except Permanent:
            assert (planted(run), planted(copy)) == (ours, theirs)
            return
        assert not run.exists()
        now = planted(copy)
        assert now.items() >= ours.items()
        for name, what in theirs.items():
            if name.endswith(PART):
                assert name not in now
                continue
            begun = isinstance(what, bytes) and isinstance(ours.get(name), bytes)
            assert now[name] == what or (begun and now[name].startswith(what)), name
        assert dm.inspect_run(str(copy), ctx=Context())["healthy"]
        try:
            dm.move_run(str(run), str(copy), ctx=Context())
        except Skip:
            assert planted(copy) == now


@pytest.mark.timeout(600)
@settings(max_examples=200, deadline=None)
@given(TREES, TREES)
def test_a_copy_and_a_deletion_never_lose_anything(run_tree: Tree, later_tree: Tree) -> None:
    with disks() as (disk, archive):
        disk.mkdir()
        plant(disk / "run", run_tree, 1000)
        try:
            dm.copy_run(str(disk / "run"), str(archive / "run"), ctx=Context())
        except Permanent:
            archive.mkdir(exist_ok=True)
        copied = planted(archive / "run")
        plant(disk / "run", later_tree, 1000)
        ours = planted(disk / "run")
        told = dm.delete_runs(str(disk), str(archive), dry_run=False, ctx=Context())
        assert planted(archive / "run") == copied
        if told["deleted"]:
            assert not (disk / "run").exists()
            assert copied.items() >= ours.items()
        else:
            assert planted(disk / "run") == ours
