"""What is unfinished or damaged is never called healthy, and no source is deleted for it."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_trees import Interrupted, interrupted_at, make_run, tree

from remanager import data_movement as dm
from remanager.data_movement import copying
from remanager.data_movement.contents import JOURNAL
from remanager.data_movement.files import PART
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
