"""Faults of the caller end a task at once, with a text that names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from run_trees import make_run, tree

from remanager import data_movement as dm
from remanager.tasks import Context, Permanent


@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        ("*.raw", r"must be a list of texts, such as \['\*\.raw'\], not '\*\.raw'"),
        (None, "must be a list of texts"),
        ([1], "must be a list of texts"),
        ([""], "The pattern '' is empty"),
        (["/etc/*"], "leads out of the run"),
        (["../*"], "leads out of the run"),
        (["a/../../*"], "leads out of the run"),
    ],
)
def test_patterns_that_are_none(room: Path, patterns: Any, said: str) -> None:
    run = make_run(room / "run")
    make_run(room / "secret")
    with pytest.raises(Permanent, match=said):
        dm.copy_run(str(run), str(room / "copy"), patterns, ctx=Context())
    assert not (room / "copy").exists()


@pytest.mark.parametrize("path", [None, 1, ["/"], b"/", "a\0b", ""])
def test_paths_that_are_none(room: Path, path: Any) -> None:
    target = str(room / "copy")
    for call in (
        lambda: dm.copy_run(path, target, ctx=Context()),
        lambda: dm.move_run(target, path, ctx=Context()),
        lambda: dm.inspect_run(path, ctx=Context()),
        lambda: dm.repair_run(path, target, ctx=Context()),
        lambda: dm.drain_directory(path, target, ctx=Context()),
        lambda: dm.balance_directories([path], ctx=Context()),
        lambda: dm.balance_directories(path, ctx=Context()),
        lambda: dm.delete_runs(path, target, ctx=Context()),
    ):
        with pytest.raises(Permanent):
            call()


def test_a_file_where_a_directory_is_wanted(room: Path) -> None:
    run, file = make_run(room / "run"), make_run(room / "file", a=b"1") / "a"
    for task in (dm.copy_run, dm.move_run):
        with pytest.raises(Permanent, match=f"Not a directory: '{file}'"):
            task(str(run), str(file / "copy"), ctx=Context())
        with pytest.raises(Permanent, match="Not a directory"):
            task(str(file / "x"), str(room / "copy"), ctx=Context())
    for call in (
        lambda: dm.drain_directory(str(file), str(room / "copy"), ctx=Context()),
        lambda: dm.drain_directory(str(run), str(file), ctx=Context()),
        lambda: dm.balance_directories([str(file), str(run)], ctx=Context()),
        lambda: dm.delete_runs(str(file), str(run), ctx=Context()),
        lambda: dm.delete_runs(str(run), str(file), ctx=Context()),
    ):
        with pytest.raises(Permanent, match=f"'{file}' is no directory"):
            call()
    assert sorted(tree(run)) == ["a.h5", "b.h5"]


@pytest.mark.parametrize("value", [None, 0, 1, "", "no", []])
def test_what_is_no_truth_value_is_no_wish(room: Path, value: Any) -> None:
    run, archive = make_run(room / "disk" / "run"), room / "archive"
    dm.copy_run(str(run), str(archive / "run"), ctx=Context())
    disk, copies = str(room / "disk"), str(archive)
    for name, call in (
        ("dry_run", lambda: dm.delete_runs(disk, copies, 0, value, ctx=Context())),
        ("read_copies", lambda: dm.delete_runs(disk, copies, 0, read_copies=value, ctx=Context())),
        ("dry_run", lambda: dm.balance_directories([disk, copies], dry_run=value, ctx=Context())),
        ("one_at_a_time", lambda: dm.balance_directories([disk], one_at_a_time=value, ctx=Context())),
        ("one_at_a_time", lambda: dm.drain_directory(disk, copies, value, ctx=Context())),
        ("overwrite", lambda: dm.copy_run(str(run), copies, overwrite=value, ctx=Context())),
        ("verify", lambda: dm.copy_run(str(run), copies, verify=value, ctx=Context())),
        ("overwrite", lambda: dm.move_run(str(run), copies, value, ctx=Context())),
        ("fail", lambda: dm.inspect_run(str(run), value, ctx=Context())),
    ):
        with pytest.raises(Permanent, match=f"'{name}' must be true or false"):
            call()
    assert sorted(tree(run)) == ["a.h5", "b.h5"]


@pytest.mark.parametrize("tolerance", [-0.1, 1.5, float("nan"), "x", None, True])
def test_a_tolerance_that_is_none(room: Path, tolerance: Any) -> None:
    with pytest.raises(Permanent, match="'tolerance' must be a number of at least 0 and at most 1"):
        dm.balance_directories([str(room)], tolerance, ctx=Context())


@pytest.mark.parametrize("age", [-5.0, float("nan"), "3", None])
def test_an_age_that_is_none(room: Path, age: Any) -> None:
    run, archive = make_run(room / "run"), make_run(room / "archive")
    with pytest.raises(Permanent, match="older_than_s"):
        dm.delete_runs(str(run), str(archive), age, ctx=Context())


def test_a_name_that_is_too_long(room: Path) -> None:
    with pytest.raises(Permanent, match="File name too long"):
        dm.copy_run(str(make_run(room / "run")), str(room / ("x" * 300)), ctx=Context())


def test_a_root_is_no_run(room: Path) -> None:
    run = make_run(room / "run")
    for call in (
        lambda: dm.copy_run(str(run), str(room), ctx=Context()),
        lambda: dm.move_run(str(room), str(run), ctx=Context()),
        lambda: dm.inspect_run(f"{room}/run/..", ctx=Context()),
    ):
        with pytest.raises(Permanent, match="not a run in it"):
            call()
