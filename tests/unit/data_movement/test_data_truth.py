"""What is unfinished or damaged is never called healthy, and no source is deleted for it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_trees import Interrupted, interrupted_at, make_run, tree

from remanager import data_movement as dm
from remanager.data_movement import copying
from remanager.data_movement.contents import JOURNAL, MANIFEST
from remanager.data_movement.files import PART, Step, copy_file
from remanager.data_movement.manifest import Manifest
from remanager.tasks import Context, Permanent, Retry, Skip

TASKS = pytest.mark.parametrize("task", [dm.copy_run, dm.move_run])
Task = Callable[..., dict[str, Any]]


# ------------------------------------------------------------------------------------ unfinished copies


@pytest.mark.parametrize("at", ["a.h5", "b.h5"])
def test_a_move_whose_source_disappears_has_failed(
    room: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    run, copy = make_run(room / "run"), room / "copy"
    with monkeypatch.context() as patched:
        patched.setattr(copying, "copy_file", interrupted_at(at))
        with pytest.raises(Interrupted):
            dm.move_run(str(run), str(copy), ctx=Context())
    run.rename(room / "unmounted")
    with pytest.raises(Permanent, match="There is no"):
        dm.move_run(str(run), str(copy), ctx=Context())
    (room / "unmounted").rename(run)
    assert dm.move_run(str(run), str(copy), ctx=Context())["deleted"]
    with pytest.raises(Skip, match="the source is gone"):
        dm.move_run(str(run), str(copy), ctx=Context())


def test_a_copy_of_a_part_of_a_run_is_no_move_of_it(room: Path) -> None:
    run, copy = make_run(room / "run"), room / "copy"
    dm.copy_run(str(run), str(copy), ["a.*"], ctx=Context())
    run.rename(room / "unmounted")
    with pytest.raises(Permanent, match="There is no"):
        dm.move_run(str(run), str(copy), ctx=Context())
    (room / "unmounted").rename(run)
    dm.move_run(str(run), str(copy), ctx=Context())
    make_run(run, **{"b.h5": b"b" * 100, "c.h5": b"later"})
    dm.copy_run(str(run), str(copy), ctx=Context())
    run.rename(room / "unmounted")
    with pytest.raises(Permanent, match="There is no"):
        dm.move_run(str(run), str(copy), ctx=Context())


def test_a_move_that_left_something_was_not_complete(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, copy = make_run(room / "run"), room / "copy"
    sync = copying.Copy.sync

    def come(moving: copying.Copy) -> None:
        (run / "late").write_bytes(b"late")
        sync(moving)

    monkeypatch.setattr(copying.Copy, "sync", come)
    with pytest.raises(Retry, match="'late'"):
        dm.move_run(str(run), str(copy), ctx=Context())
    run.rename(room / "unmounted")
    with pytest.raises(Permanent, match="There is no"):
        dm.move_run(str(run), str(copy), ctx=Context())


@pytest.mark.parametrize("left", [JOURNAL, "sub/a.h5" + PART])
def test_an_unfinished_copy_is_not_healthy(room: Path, left: str) -> None:
    run = make_run(room / "run", sub__a=b"1")
    dm.copy_run(str(run), str(room / "copy"), ctx=Context())
    (room / "copy" / left).touch()
    told = dm.inspect_run(str(room / "copy"), fail=False, ctx=Context())
    assert (told["unfinished"], told["healthy"], told["missing"]) == (True, False, [])
    with pytest.raises(Permanent, match="not healthy: an unfinished copy"):
        dm.inspect_run(str(room / "copy"), ctx=Context())
    with pytest.raises(Permanent, match="an unfinished copy: copy or move its run again"):
        dm.repair_run(str(room / "copy"), str(run), ctx=Context())


def test_an_unfinished_copy_of_a_single_file_is_not_healthy(room: Path) -> None:
    (room / "one").write_bytes(b"1")
    dm.move_run(str(room / "one"), str(room / "copy"), ctx=Context())
    (room / ("copy" + PART)).write_bytes(b"2")
    assert not dm.inspect_run(str(room / "copy"), fail=False, ctx=Context())["healthy"]
    with pytest.raises(Permanent, match="There is no"):
        dm.move_run(str(room / "one"), str(room / "copy"), ctx=Context())


def test_a_repair_that_was_interrupted_goes_on(room: Path) -> None:
    run, copy = make_run(room / "run"), room / "copy"
    dm.copy_run(str(run), str(copy), ctx=Context())
    (copy / "a.h5").rename(copy / ("a.h5" + PART))
    assert dm.repair_run(str(copy), str(run), ctx=Context())["repaired"] == ["a.h5"]
    assert dm.inspect_run(str(copy), ctx=Context())["healthy"]
    assert tree(copy) == tree(run)
    assert Manifest.read(copy).moved_from == ""


@TASKS
def test_parts_of_files_that_the_run_has_lost_do_not_stay(
    room: Path, monkeypatch: pytest.MonkeyPatch, task: Task
) -> None:
    run, copy = make_run(room / "run"), room / "copy"
    with monkeypatch.context() as patched:
        patched.setattr(copying, "copy_file", interrupted_at("b.h5"))
        with pytest.raises(Interrupted):
            task(str(run), str(copy), ctx=Context())
    (run / "b.h5").rename(run / "c.h5")
    task(str(run), str(copy), ctx=Context())
    assert sorted(tree(copy)) == ["a.h5", "c.h5"]
    assert dm.inspect_run(str(copy), ctx=Context())["healthy"]
    dm.move_run(str(copy), str(room / "tape"), ctx=Context())


def test_a_part_that_another_task_writes_stays(room: Path) -> None:
    run, copy = make_run(room / "run"), room / "copy"
    copy.mkdir()
    (copy / ("gone" + PART)).write_bytes(b"1")
    with (copy / ("gone" + PART)).open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Retry, match="another task writes"):
            dm.copy_run(str(run), str(copy), ctx=Context())
    assert sorted(tree(copy)) == ["gone" + PART]


@TASKS
def test_what_only_is_named_like_a_part_is_refused(room: Path, task: Task) -> None:
    run, copy = make_run(room / "run"), room / "copy"
    (copy / ("a.h5" + PART)).mkdir(parents=True)
    (copy / ("gone" + PART)).symlink_to("a.h5")
    with pytest.raises(Permanent, match=r"'a\.h5.remanager-part'.*'gone.remanager-part'"):
        task(str(run), str(copy), overwrite=True, ctx=Context())


# ------------------------------------------------------------------------------------ damage


def rot(path: Path) -> None:
    """Change a file, but not its size and its times."""
    status = path.stat()
    path.write_bytes(b"?" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@TASKS
@pytest.mark.parametrize("fault", ["damaged", "cut", "missing"])
@pytest.mark.parametrize("there", ["nothing", "good copy", "bad copy"])
def test_damage_that_a_manifest_knows_is_not_copied(room: Path, task: Task, fault: str, there: str) -> None:
    run, first, second = make_run(room / "run"), room / "first", room / "second"
    dm.copy_run(str(run), str(first), ctx=Context())
    if there == "good copy":
        shutil.copytree(run, second)
    if fault == "damaged":
        rot(first / "a.h5")
    elif fault == "cut":
        make_run(first, **{"a.h5": b"a"})
    else:
        (first / "a.h5").unlink()
    if there == "bad copy":
        shutil.copytree(first, second, ignore=shutil.ignore_patterns(MANIFEST))
    before = tree(first)
    with pytest.raises(Permanent, match=r"a\.h5"):
        task(str(first), str(second), ctx=Context())
    assert tree(first) == before
    assert not Manifest.place(second).exists()
    if there == "nothing" and fault != "damaged":  # which only reading shows
        assert not second.exists()
    assert not dm.inspect_run(str(first), fail=False, ctx=Context())["healthy"]
    assert dm.repair_run(str(first), str(run), ctx=Context())["repaired"] == ["a.h5"]
    with contextlib.suppress(Skip):
        task(str(first), str(second), overwrite=there == "bad copy", ctx=Context())
    assert tree(second) == tree(run)
    assert dm.inspect_run(str(second), ctx=Context())["healthy"]


@TASKS
def test_an_empty_directory_that_was_there_stays(room: Path, task: Task) -> None:
    run, first, second = make_run(room / "run"), room / "first", room / "second"
    dm.copy_run(str(run), str(first), ctx=Context())
    (first / "a.h5").unlink()
    second.mkdir()
    with pytest.raises(Permanent, match=r"a\.h5"):
        task(str(first), str(second), ctx=Context())
    assert list(second.iterdir()) == []


def test_all_that_is_damaged_is_named_where_a_copy_is_there(room: Path) -> None:
    run, first, second = make_run(room / "run"), room / "first", room / "second"
    dm.copy_run(str(run), str(first), ctx=Context())
    for name in ("a.h5", "b.h5"):
        rot(first / name)
    shutil.copytree(first, second, ignore=shutil.ignore_patterns(MANIFEST))
    with pytest.raises(Permanent, match=r"not what its manifest says: 'a\.h5' .*, 'b\.h5' .damaged"):
        dm.move_run(str(first), str(second), ctx=Context())


def test_a_good_copy_is_not_replaced_by_a_damaged_source(room: Path) -> None:
    run, copy = make_run(room / "run"), room / "copy"
    dm.copy_run(str(run), str(copy), ctx=Context())
    good = tree(copy)
    rot(run / "a.h5")
    with pytest.raises(Permanent, match="is damaged: it is not what its manifest says"):
        dm.move_run(str(run), str(copy), overwrite=True, ctx=Context())
    assert tree(copy) == good
    assert (run / "a.h5").exists()


def test_what_was_changed_since_is_no_damage(room: Path) -> None:
    run, first = make_run(room / "run"), room / "first"
    dm.copy_run(str(run), str(first), ctx=Context())
    (first / "a.h5").write_bytes(b"changed")
    dm.move_run(str(first), str(room / "second"), ctx=Context())
    assert tree(room / "second") == {"a.h5": b"changed", "b.h5": b"b" * 100}


def test_what_does_not_match_may_be_missing(room: Path) -> None:
    run, first = make_run(room / "run"), room / "first"
    dm.copy_run(str(run), str(first), ctx=Context())
    (first / "b.h5").unlink()
    dm.copy_run(str(first), str(room / "second"), ["a.*"], ctx=Context())
    assert list(tree(room / "second")) == ["a.h5"]


# ------------------------------------------------------------------------------------ what comes and goes


@TASKS
def test_a_file_that_is_renamed_meanwhile_leads_to_another_attempt(
    room: Path, monkeypatch: pytest.MonkeyPatch, task: Task
) -> None:
    run, copy = make_run(room / "run", **{"a": b"1", "sub__x.tmp": b"2"}), room / "copy"

    def rename(source: Path, target: Path, step: Step, **options: Any) -> str:
        if source.name == "a":
            (run / "sub" / "x.tmp").rename(run / "sub" / "x.h5")
        return copy_file(source, target, step, **options)

    with monkeypatch.context() as patched:
        patched.setattr(copying, "copy_file", rename)
        with pytest.raises(Retry, match=r"x\.tmp' has gone meanwhile"):
            task(str(run), str(copy), ctx=Context())
    before = tree(run)
    task(str(run), str(copy), ctx=Context())
    assert tree(copy) == before


def test_a_run_that_is_gone_meanwhile_is_gone_for_good(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(room / "run")

    def remove(*_args: Any, **_options: Any) -> str:
        run.rename(room / "elsewhere")
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(run / "a.h5"))

    monkeypatch.setattr(copying, "copy_file", remove)
    with pytest.raises(Permanent, match="There is no"):
        dm.copy_run(str(run), str(room / "copy"), ctx=Context())


@pytest.mark.parametrize(("call", "named"), [("fsync", "a.h5"), ("write", JOURNAL)])
def test_a_full_disk_is_named(room: Path, monkeypatch: pytest.MonkeyPatch, call: str, named: str) -> None:
    def full(_fd: int, *_args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run, copy = make_run(room / "run"), room / "copy"
    copy.mkdir()
    meant = getattr(os, call)

    def fails_for_the_copy(fd: int, *args: Any) -> Any:
        path = os.readlink(f"/proc/self/fd/{fd}")
        return (
            full(fd) if path.startswith(f"{copy}/") and "manifest.json.new" not in path else meant(fd, *args)
        )

    monkeypatch.setattr(os, call, fails_for_the_copy)
    with pytest.raises(Retry, match=f"No space left on device: '{copy / named}'"):
        dm.copy_run(str(run), str(copy), ctx=Context())
