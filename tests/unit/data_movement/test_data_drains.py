"""Directories with entries that are no runs, that vanish, or that two tasks drain."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from run_trees import make_run

from remanager import data_movement as dm
from remanager.data_movement import many_runs
from remanager.data_movement.contents import Contents, contents_of
from remanager.data_movement.many_runs import FILE_SYSTEM, entries_of
from remanager.tasks import Context, Permanent, Skip


def drain(room: Path, ctx: Context, **options: bool) -> dict[str, int]:
    """Drain the disk."""
    return dm.drain_directory(str(room / "disk"), str(room / "other"), **options, ctx=ctx)


def run_children(ctx: Context) -> Context:
    """Do what the children of a drain would do; return the context in which it finishes."""
    for child in ctx.children:
        dm.drain_run(*child.args, ctx=Context())
    return Context(finishing=True, last_checkpoint=ctx.last_checkpoint)


@pytest.fixture
def no_entry(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Return a way to make a directory unreadable, for the administrator, too."""

    def close(closed: Path) -> None:
        def listing(run: Path) -> Contents:
            if run == closed:
                raise PermissionError(13, "Permission denied", str(run))
            return contents_of(run)

        monkeypatch.setattr(many_runs, "contents_of", listing)

    return close


def test_what_cannot_be_read_stays_and_is_told(room: Path, no_entry: Callable[[Path], None]) -> None:
    make_run(room / "disk" / "run")
    closed = room / "disk" / "secret"
    closed.mkdir()
    no_entry(closed)
    told = f"Permission denied: '{closed}'"
    runs, others = entries_of(room / "disk")
    assert ([run.name for run in runs], others) == (["run"], {"secret": told})
    kept = dm.delete_runs(str(room / "disk"), str(room / "other"), ctx=Context())["kept"]
    assert kept == {"run": "it has no copy", "secret": told}
    ctx = Context()
    with pytest.raises(Permanent, match=r"'secret' \(Permission denied"):
        drain(room, ctx)
    assert ctx.children == []


def test_what_belongs_to_the_file_system_is_no_run_and_stays(
    room: Path, no_entry: Callable[[Path], None]
) -> None:
    make_run(room / "disk" / "run")
    (room / "disk" / FILE_SYSTEM).mkdir()
    no_entry(room / "disk" / FILE_SYSTEM)
    ctx = Context()
    drain(room, ctx)
    assert drain(room, run_children(ctx)) == {"moved": 1}
    assert os.listdir(room / "disk") == [FILE_SYSTEM]
    with pytest.raises(Skip, match="has no runs"):
        drain(room, Context())
    kept = dm.delete_runs(str(room / "disk"), str(room / "other"), ctx=Context())["kept"]
    assert kept == {FILE_SYSTEM: "it belongs to the file system"}


def test_what_vanishes_while_it_is_listed_is_left_out(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("run1", "run2", "run3"):
        make_run(room / "disk" / name)
    (room / "disk" / "run4").touch()

    def vanish(run: Path) -> Contents:
        shutil.rmtree(room / "disk" / "run2", ignore_errors=True)
        (room / "disk" / "run4").unlink(missing_ok=True)
        return contents_of(run)

    monkeypatch.setattr(many_runs, "contents_of", vanish)
    runs, others = entries_of(room / "disk")
    assert ([run.name for run in runs], others) == (["run1", "run3"], {})


def test_a_directory_in_a_run_may_vanish_while_it_is_listed(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, lstat = make_run(room / "run", a=b"1", sub__b=b"2"), os.lstat

    def vanish(path: Path) -> os.stat_result:
        found = lstat(path)
        if path.name == "sub":
            path.rename(room / "elsewhere")
        return found

    monkeypatch.setattr(os, "lstat", vanish)
    assert list(contents_of(run).files) == ["a"]


def test_a_run_that_has_gone_before_it_is_read_is_told(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(room / "disk" / "run")
    dm.copy_run(str(run), str(room / "other" / "run"), ctx=Context())

    def list_and_lose(place: Path) -> object:
        found = entries_of(place)
        shutil.rmtree(run)
        return found

    monkeypatch.setattr(many_runs, "entries_of", list_and_lose)
    told = dm.delete_runs(str(room / "disk"), str(room / "other"), ctx=Context())
    assert told["kept"] == {"run": "it has gone meanwhile"}


# ------------------------------------------------------------------------------------------- two drains


@pytest.mark.parametrize("one_at_a_time", [True, False])
def test_two_drains_of_a_directory_have_their_own_children(room: Path, one_at_a_time: bool) -> None:
    make_run(room / "disk" / "run1")
    make_run(room / "disk" / "run2")
    first, second = Context("first"), Context("second")
    for ctx in (first, second):
        drain(room, ctx, one_at_a_time=one_at_a_time)
    options = [[child.options for child in ctx.children] for ctx in (first, second)]
    assert len({o["key"] for of_one in options for o in of_one}) == 4
    locks = [[o["resource_lock"] for o in of_one] for of_one in options]
    assert locks[0] == locks[1]
    assert len(set(locks[0])) == (1 if one_at_a_time else 2)
    assert drain(room, run_children(first)) == {"moved": 2}
    assert not (room / "disk").exists()
    for child in second.children:
        with pytest.raises(Skip, match="there already"):
            dm.drain_run(*child.args, ctx=Context())
    finishing = Context(finishing=True, last_checkpoint=second.last_checkpoint)
    assert drain(room, finishing) == {"moved": 2}


def test_another_attempt_submits_no_child_twice(room: Path) -> None:
    make_run(room / "disk" / ("run" * 80))
    keys = []
    for attempt in (1, 2):
        ctx = Context("6f0c5b6e-58f4-4b0b-8f83-6a1f8b3f2d55", attempt=attempt)
        drain(room, ctx)
        keys.append(ctx.children[0].options["key"])
    assert keys[0] == keys[1]
    assert ctx.task_uid in keys[0]


def test_a_disk_that_has_gone_is_no_success(room: Path) -> None:
    make_run(room / "disk" / "run1")
    make_run(room / "disk" / "run2")
    ctx = Context()
    drain(room, ctx)
    dm.drain_run(*ctx.children[0].args, ctx=Context())
    (room / "disk").rename(room / "unmounted")
    finishing = Context(finishing=True, last_checkpoint=ctx.last_checkpoint)
    with pytest.raises(Permanent, match=r"lacks runs: 'run2' \(it has no copy\)"):
        drain(room, finishing)


def test_more_runs_than_can_be_kept_must_be_seen_to_be_gone(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many_runs, "MAX_KEPT_CHARS", 3)
    make_run(room / "disk" / "run1")
    ctx = Context()
    drain(room, ctx)
    finishing = run_children(ctx)
    (room / "disk").rename(room / "unmounted")
    with pytest.raises(Permanent, match="There is no"):
        drain(room, finishing)
