"""Runs are deleted only if all of them was read in the archive."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from run_trees import OLD, make_run, tree

from remanager import data_movement as dm
from remanager.data_movement import many_runs, one_run
from remanager.data_movement.contents import JOURNAL
from remanager.data_movement.files import PART
from remanager.data_movement.manifest import Manifest, deleting, writing
from remanager.tasks import Cancelled, Context, Permanent, Retry, Skip


def archived(room: Path, name: str, **contents: bytes) -> Path:
    """Return an old run with a good copy in the archive."""
    run = make_run(room / "disk" / name, **contents)
    dm.copy_run(str(run), str(room / "archive" / name), ctx=Context())
    return run


def delete(room: Path, ctx: Context | None = None, **options: Any) -> dict[str, Any]:
    """Delete the runs of the disk that are in the archive."""
    options = {"dry_run": False} | options
    return dm.delete_runs(str(room / "disk"), str(room / "archive"), **options, ctx=ctx or Context())


def damage(path: Path) -> None:
    """Change a file so that its size and its time stay."""
    path.write_bytes(b"?" * path.stat().st_size)
    os.utime(path, (OLD, OLD))


def test_each_run_is_read_from_its_first_file_on(room: Path) -> None:
    archived(room, "run1", z=b"z")
    run2, run3 = archived(room, "run2", a=b"precious"), archived(room, "run3", a=b"data")
    damage(room / "archive" / "run2" / "a")
    (room / "archive" / "run3" / "a").write_bytes(b"garbage")
    told = delete(room, Context(attempt=2, last_checkpoint={"seen": "zz", "damaged": []}))
    assert told["deleted"] == ["run1"]
    assert told["kept"] == {"run2": "its copy is damaged: 'a'", "run3": "its copy is damaged: ['a']"}
    assert (tree(run2), tree(run3)) == ({"a": b"precious"}, {"a": b"data"})


def test_the_run_of_another_detector_is_no_copy(room: Path) -> None:
    archived(room, "run", frame=b"A" * 1000)
    run = make_run(room / "disk" / "run", frame=b"B" * 1000)
    assert delete(room)["kept"] == {"run": "it differs from its copy: 'frame'"}
    assert tree(run) == {"frame": b"B" * 1000}


def test_without_reading_nothing_is_deleted(room: Path) -> None:
    run = archived(room, "run")
    with pytest.raises(Permanent, match="Nothing is deleted unless its copy was read"):
        delete(room, read_copies=False)
    assert sorted(tree(run)) == ["a.h5", "b.h5"]
    assert delete(room, read_copies=False, dry_run=True)["deleted"] == ["run"]


@pytest.mark.parametrize("left", [JOURNAL, "c.h5" + PART])
def test_an_unfinished_copy_is_no_copy(room: Path, left: str) -> None:
    run = archived(room, "run")
    (room / "archive" / "run" / left).touch()
    assert delete(room)["kept"] == {"run": "its copy is unfinished"}
    assert sorted(tree(run)) == ["a.h5", "b.h5"]


def test_a_file_under_two_names_is_no_copy(room: Path) -> None:
    run = archived(room, "run")
    copy = room / "archive" / "run" / "a.h5"
    copy.unlink()
    copy.hardlink_to(run / "a.h5")
    assert delete(room)["kept"] == {"run": "its copy is the run itself under another name: 'a.h5'"}


@pytest.mark.parametrize("place", ["disk", "archive"])
def test_a_run_that_another_task_writes_stays(room: Path, place: str) -> None:
    run = archived(room, "run")
    with writing(room / place / "run"):
        assert "another task writes" in delete(room)["kept"]["run"]
        assert delete(room, dry_run=True)["deleted"] == ["run"]
    assert sorted(tree(run)) == ["a.h5", "b.h5"]
    assert delete(room)["deleted"] == ["run"]


@pytest.mark.parametrize("task", [dm.delete_runs, dm.move_run])
def test_no_task_deletes_a_run_for_the_sake_of_a_copy_that_another_deletes(
    room: Path, monkeypatch: pytest.MonkeyPatch, task: Callable[..., object]
) -> None:
    run, copy = archived(room, "run"), room / "archive" / "run"
    with pytest.raises(Skip):  # but now the run has a manifest
        dm.copy_run(str(copy), str(run), verify=True, ctx=Context())
    before, meant, said = tree(run), one_run.delete_copied, []

    def meanwhile(source: Path, target: Path) -> dict[str, str]:
        back = dm.delete_runs(str(copy.parent), str(run.parent), dry_run=False, ctx=Context())
        said.append(back["kept"]["run"])
        with pytest.raises(Retry) as refused:
            dm.move_run(str(copy), str(run), ctx=Context())
        said.append(str(refused.value))
        return meant(source, target)

    for module in (one_run, many_runs):
        monkeypatch.setattr(module, "delete_copied", meanwhile)
    if task is dm.delete_runs:
        assert delete(room)["deleted"] == ["run"]
    else:
        dm.move_run(str(run), str(copy), ctx=Context())
    assert all("another task writes" in text for text in said)
    assert len(said) == 2
    assert tree(copy) == before


def refuse_to_make(monkeypatch: pytest.MonkeyPatch, directory: Path, fault: int) -> None:
    """Let no file be made in a directory."""
    real = os.open

    def refusing(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if flags & os.O_CREAT and Path(path).is_relative_to(directory):
            raise OSError(fault, os.strerror(fault), str(path))
        return real(path, flags, *args, **options)

    monkeypatch.setattr(os, "open", refusing)


def test_an_archive_may_be_read_only(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, copy = archived(room, "run"), room / "archive" / "run"
    refuse_to_make(monkeypatch, room / "archive", errno.EROFS)
    with pytest.raises(Skip):
        dm.copy_run(str(run), str(copy), ctx=Context())
    with pytest.raises(Skip):
        dm.repair_run(str(copy), str(run), ctx=Context())
    assert delete(room)["deleted"] == ["run"]
    assert not run.exists()


@pytest.mark.parametrize("how", ["delete", "move"])
def test_a_full_disk_can_be_emptied(room: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    run = archived(room, "run")
    refuse_to_make(monkeypatch, room / "disk", errno.ENOSPC)
    if how == "delete":
        assert delete(room)["deleted"] == ["run"]
    else:
        dm.move_run(str(run), str(room / "elsewhere"), ctx=Context())
    assert not run.exists()


def test_no_file_that_is_open_is_in_a_run_that_is_deleted(room: Path) -> None:
    run = archived(room, "run")
    with deleting(run):
        # NFS would rename such a file and keep it.
        assert not [f.path for f in psutil.Process().open_files() if f.path.startswith(f"{run}/")]


def test_a_manifest_that_makes_no_sense_keeps_its_run_only(room: Path) -> None:
    archived(room, "run1")
    archived(room, "run2")
    Manifest.place(room / "archive" / "run1").write_text("{")
    told = delete(room)
    assert told["deleted"] == ["run2"]
    assert "is damaged" in told["kept"]["run1"]


def test_a_copy_that_changes_while_it_is_read_is_none(room: Path) -> None:
    run, ctx = archived(room, "run", a=b"1", b=b"2"), Context()
    copy = room / "archive" / "run"

    def change(**report: Any) -> None:
        if report.get("done_size"):
            manifest = Manifest.read(copy)
            manifest.files.pop("a", None)
            manifest.write(copy)

    ctx.progress = change  # type: ignore[method-assign]
    assert delete(room, ctx)["kept"] == {"run": "its copy has changed meanwhile"}
    assert tree(run) == {"a": b"1", "b": b"2"}


def test_what_was_deleted_before_a_break_needs_not_be_read_again(room: Path) -> None:
    run1, run2 = archived(room, "run1"), archived(room, "run2")
    ctx = Context()

    def stop(**report: Any) -> None:
        if report.get("done_count") == 1:
            ctx.cancel("enough")

    ctx.progress = stop  # type: ignore[method-assign]
    with pytest.raises(Cancelled):
        delete(room, ctx)
    assert not run1.exists()
    assert sorted(tree(run2)) == ["a.h5", "b.h5"]
    assert delete(room)["deleted"] == ["run2"]


def test_what_is_read_is_told(room: Path) -> None:
    archived(room, "run1", a=b"1" * 100)
    archived(room, "run2", a=b"2" * 50)
    ctx = Context()
    assert delete(room, ctx)["bytes"] == 150
    assert ctx.report["done_size"] == ctx.report["total_size"] == 300
    assert ctx.report["done_count"] == ctx.report["total_count"] == 2
    assert ctx.io == {"disk_read": 300}


def test_the_copy_is_on_disk_before_its_run_is_deleted(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = archived(room, "run", **{"sub__a": b"1", "b": b"2"})
    synced, sync = set[str](), os.fsync

    def note(fd: int) -> None:
        assert len(tree(run)) == 2
        synced.add(os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), room))
        sync(fd)

    monkeypatch.setattr(os, "fsync", note)
    assert delete(room)["deleted"] == ["run"]
    assert synced == {"archive", *(f"archive/run{name}" for name in ("", "/sub", "/sub/a", "/b"))}


def test_a_run_that_is_one_file_is_deleted_with_its_manifest(room: Path) -> None:
    (room / "disk").mkdir()
    path = room / "disk" / "one.h5"
    path.write_bytes(b"1")
    os.utime(path, (OLD, OLD))
    dm.copy_run(str(path), str(room / "archive" / "one.h5"), ctx=Context())
    assert delete(room)["deleted"] == ["one.h5"]
    assert tree(room / "archive") == {"one.h5": b"1"}
