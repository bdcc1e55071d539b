"""What a destination holds already is never overwritten or destroyed unasked."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_trees import OLD, make_run, tree

from remanager import data_movement as dm
from remanager.data_movement import copying, files, one_run
from remanager.data_movement.contents import LOCK, MANIFEST
from remanager.data_movement.files import PART, Step, copy_file
from remanager.data_movement.manifest import Manifest
from remanager.tasks import Context, Permanent, Retry, Skip

TASKS = pytest.mark.parametrize("task", [dm.copy_run, dm.move_run])
Task = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("single", [False, True])
def test_a_move_onto_the_run_of_monday_is_refused(room: Path, single: bool) -> None:
    fast, archived = room / "fast" / "run1", room / "arch" / "run1"
    data, kept = (fast, archived) if single else (fast / "a.raw", archived / "a.raw")
    data.parent.mkdir(parents=True)
    data.write_text("monday")
    dm.move_run(str(fast), str(archived), ctx=Context())
    data.parent.mkdir(exist_ok=True)
    data.write_text("tuesday")
    for task in (dm.move_run, dm.copy_run):
        named = "the run itself" if single else "'a.raw'"
        with pytest.raises(Permanent, match=rf"holds other content than .*: {named} \(differs\)"):
            task(str(fast), str(archived), ctx=Context())
    assert (data.read_text(), kept.read_text()) == ("tuesday", "monday")
    assert dm.move_run(str(fast), str(archived), overwrite=True, ctx=Context())["files"] == 1
    assert (data.exists(), kept.read_text()) == (False, "tuesday")
    assert dm.inspect_run(str(archived), ctx=Context())["healthy"]


@TASKS
@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({"a.h5": b"b" * 5000}, r"'a\.h5' \(differs\)"),
        ({"a.h5": b"a" * 6000}, r"'a\.h5' \(differs\)"),
        ({"notes.txt": b"notes"}, r"'notes\.txt' \(not in the run\)"),
        ({f"{n:02}": b"" for n in range(30)}, r"'09' \(not in the run\) and 20 more"),
    ],
)
def test_files_without_a_manifest_are_not_touched(
    room: Path, task: Task, there: dict[str, bytes], said: str
) -> None:
    run, copy = make_run(room / "run"), make_run(room / "copy", **there)
    with pytest.raises(Permanent, match=said):
        task(str(run), str(copy), ctx=Context())
    assert tree(copy) == there
    assert not Manifest.place(copy).exists()
    assert sorted(tree(run)) == ["a.h5", "b.h5"]


@TASKS
def test_the_copy_of_another_run_is_not_mixed_with_this_one(room: Path, task: Task) -> None:
    dm.copy_run(str(make_run(room / "one", x=b"1")), str(room / "copy"), ctx=Context())
    run = make_run(room / "two", y=b"2")
    with pytest.raises(Permanent, match="of another run"):
        task(str(run), str(room / "copy"), ctx=Context())
    assert tree(room / "copy") == {"x": b"1"}
    task(str(run), str(room / "copy"), overwrite=True, ctx=Context())
    assert tree(room / "copy") == {"x": b"1", "y": b"2"}


@TASKS
def test_a_file_and_a_directory_never_replace_each_other(room: Path, task: Task) -> None:
    run = make_run(room / "run", a=b"1", b__c=b"2")
    there = make_run(room / "copy", a__x=b"3", b=b"4")
    for overwrite in (False, True):
        with pytest.raises(Permanent, match=r"cannot take .*'a' \(a directory here.*'b' \(a directory in"):
            task(str(run), str(there), overwrite=overwrite, ctx=Context())
        with pytest.raises(Permanent, match="a directory in the run, none here"):
            task(str(run), str(there / "b"), overwrite=overwrite, ctx=Context())
        with pytest.raises(Permanent, match="a directory here, none in the run"):
            task(str(run / "a"), str(there), overwrite=overwrite, ctx=Context())
    assert tree(there) == {"a/x": b"3", "b": b"4"}


@TASKS
def test_links_and_special_files_are_in_the_way_too(room: Path, tmp_path: Path, task: Task) -> None:
    (tmp_path / "outside").mkdir()
    run, copy = make_run(room / "run", sub__a=b"1"), room / "copy"
    copy.mkdir()
    (copy / "sub").symlink_to(tmp_path / "outside")
    with pytest.raises(Permanent, match="'sub'"):
        task(str(run), str(copy), overwrite=True, ctx=Context())
    (copy / "sub").unlink()
    os.mkfifo(copy / "pipe")
    with pytest.raises(Permanent, match="'pipe'"):
        task(str(run), str(copy), ctx=Context())
    assert list((tmp_path / "outside").iterdir()) == []


@TASKS
def test_a_run_that_grew_goes_on(room: Path, task: Task) -> None:
    run, copy = make_run(room / "run", a=b"1", b=b"2"), room / "copy"
    dm.copy_run(str(run), str(copy), ctx=Context())
    (run / "c").write_bytes(b"3")
    (run / "a").write_bytes(b"1 and more")
    result = task(str(run), str(copy), ctx=Context())
    assert (result["files"], result["files_there"]) == (2, 1)
    assert tree(copy) == {"a": b"1 and more", "b": b"2", "c": b"3"}
    assert dm.inspect_run(str(copy), ctx=Context())["healthy"]


@TASKS
def test_the_same_content_is_the_same_run_whatever_its_times_and_manifest(room: Path, task: Task) -> None:
    run, copy = make_run(room / "run"), make_run(room / "copy")
    os.utime(run / "a.h5")
    if task is dm.copy_run:
        with pytest.raises(Skip, match="there already"):
            task(str(run), str(copy), ctx=Context())
    else:
        assert task(str(run), str(copy), ctx=Context())["files_there"] == 2
        assert not run.exists()
    assert sorted(Manifest.read(copy).files) == ["a.h5", "b.h5"]
    assert dm.inspect_run(str(copy), ctx=Context())["healthy"]


def test_what_a_run_has_lost_since_stays_in_its_copy(room: Path) -> None:
    run, copy = make_run(room / "run"), room / "copy"
    dm.copy_run(str(run), str(copy), ctx=Context())
    (run / "a.h5").unlink()
    (run / "new").write_bytes(b"new")
    dm.copy_run(str(run), str(copy), ctx=Context())
    assert sorted(tree(copy)) == ["a.h5", "b.h5", "new"]


@pytest.mark.parametrize("wrong", ["copy", "run"])
def test_a_move_reads_what_is_there_whatever_size_and_time_say(room: Path, wrong: str) -> None:
    run, copy = make_run(room / "run"), room / "copy"
    dm.copy_run(str(run), str(copy), ctx=Context())
    make_run(room / wrong, **{"a.h5": b"x" * 5000})
    with pytest.raises(Permanent, match=r"'a\.h5'"):
        dm.move_run(str(run), str(copy), ctx=Context())
    with pytest.raises(Permanent, match=r"'a\.h5'"):
        dm.copy_run(str(run), str(copy), verify=True, ctx=Context())
    assert sorted(tree(run)) == ["a.h5", "b.h5"]


def test_a_move_deletes_nothing_if_a_file_came_meanwhile(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, copy = make_run(room / "run"), room / "copy"
    write = Manifest.write

    def come(manifest: Manifest, target: Path) -> None:
        write(manifest, target)
        (run / "late").write_bytes(b"late")

    with monkeypatch.context() as patched:
        patched.setattr(Manifest, "write", come)
        with pytest.raises(Retry, match=r"'late' \(changed\)"):
            dm.move_run(str(run), str(copy), ctx=Context())
    assert sorted(tree(run)) == ["a.h5", "b.h5", "late"]
    dm.move_run(str(run), str(copy), ctx=Context())
    assert sorted(tree(copy)) == ["a.h5", "b.h5", "late"]


def test_a_source_that_is_gone_and_a_copy_that_is_damaged_are_no_success(room: Path) -> None:
    run, copy = make_run(room / "run"), room / "copy"
    dm.move_run(str(run), str(copy), ctx=Context())
    (copy / "a.h5").unlink()
    with pytest.raises(Permanent, match="There is no"):
        dm.move_run(str(run), str(copy), ctx=Context())


def test_a_manifest_of_a_file_that_is_gone_says_nothing(room: Path) -> None:
    (room / "one").write_bytes(b"1")
    dm.copy_run(str(room / "one"), str(room / "copy"), ctx=Context())
    (room / "copy").unlink()
    dm.copy_run(str(make_run(room / "run")), str(room / "copy"), ctx=Context())
    assert dm.inspect_run(str(room / "copy"), ctx=Context())["healthy"]


def test_manifests_of_runs_in_a_run_are_data(room: Path) -> None:
    dm.copy_run(str(make_run(room / "run")), str(room / "day" / "run"), ctx=Context())
    dm.move_run(str(room / "day"), str(room / "tape"), ctx=Context())
    assert (room / "tape" / "run" / MANIFEST).exists()
    assert dm.inspect_run(str(room / "tape" / "run"), ctx=Context())["healthy"]


def test_a_single_file_takes_its_manifest_along(room: Path) -> None:
    (room / "one").write_bytes(b"1")
    dm.copy_run(str(room / "one"), str(room / "two"), ctx=Context())
    dm.move_run(str(room / "two"), str(room / "three"), ctx=Context())
    assert sorted(p.name for p in room.iterdir()) == ["one", "three", "three" + MANIFEST]


@TASKS
def test_a_run_is_not_moved_onto_itself(room: Path, task: Task) -> None:
    (room / "one").write_bytes(b"1")
    (room / "two").hardlink_to(room / "one")
    with pytest.raises(Permanent, match="the same under two names"):
        task(str(room / "one"), str(room / "two"), ctx=Context())
    assert (room / "one").exists()


def test_a_run_under_two_names_is_no_copy(room: Path) -> None:
    for place in ("disk", "archive"):
        (room / place).mkdir()
    (room / "one").write_bytes(b"1")
    os.utime(room / "one", (OLD, OLD))
    dm.copy_run(str(room / "one"), str(room / "archive" / "one"), ctx=Context())
    (room / "disk" / "one").hardlink_to(room / "archive" / "one")
    told = dm.delete_runs(str(room / "disk"), str(room / "archive"), ctx=Context())
    assert told["kept"] == {"one": "its copy is the run itself under another name"}


# ------------------------------------------------------------------------------------ tasks at the same time


def test_a_name_that_is_taken_meanwhile_is_not_overwritten(room: Path) -> None:
    source, target = make_run(room / "run", a=b"1" * 100) / "a", room / "copy" / "a"

    def take(_size: int) -> None:
        target.write_bytes(b"other")

    with pytest.raises(Retry, match="has appeared"):
        copy_file(source, target, take)
    assert target.read_bytes() == b"other"


def test_two_tasks_do_not_write_the_same_file(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = make_run(room / "run", a=b"1" * 100) / "a", room / "copy" / "a"
    seen = []

    def second(_size: int) -> None:
        with pytest.raises(Retry, match="another task writes"):
            copy_file(source, target, lambda _: None)
        seen.append(True)

    copy_file(source, target, second)
    assert seen == [True]
    monkeypatch.setattr(files.fcntl, "flock", lambda _fd, _how: target.with_name("a" + PART).unlink())
    with pytest.raises(Retry, match="another task writes"):
        copy_file(source, target, lambda _: None, replace=True)


def test_a_mount_without_locks_will_do(
    room: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(_fd: int, _how: int) -> None:
        raise OSError(files.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", no_locks)
    dm.copy_run(str(make_run(room / "run")), str(room / "copy"), ctx=Context())
    assert sorted(tree(room / "copy")) == ["a.h5", "b.h5"]
    assert "Nothing keeps two tasks from writing" in caplog.text


def test_a_file_that_grows_before_it_is_copied_is_known_as_it_is(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, copy = make_run(room / "run", a=b"1", b=b"2"), room / "copy"

    def grow(source: Path, target: Path, step: Step, **options: Any) -> str:
        if source.name == "a":
            (run / "b").write_bytes(b"2 and more")
        return copy_file(source, target, step, **options)

    monkeypatch.setattr(copying, "copy_file", grow)
    dm.copy_run(str(run), str(copy), ctx=Context())
    assert dm.inspect_run(str(copy), ctx=Context())["healthy"]
    assert tree(copy) == {"a": b"1", "b": b"2 and more"}


def moving(room: Path, name: str, **contents: bytes) -> tuple[Path, dict[str, bytes]]:
    """Return a run of one of two detectors, and what is in it."""
    run = make_run(room / name / "run", **contents)
    return run, tree(run)


@pytest.mark.parametrize("at", ["compare", "copy_file", "delete_copied"])
@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("second", [dm.copy_run, dm.move_run, dm.repair_run])
def test_two_tasks_do_not_write_the_same_run(
    room: Path, monkeypatch: pytest.MonkeyPatch, at: str, there: bool, second: Task
) -> None:
    (a, in_a), (b, in_b) = moving(room, "A", a1=b"1", a2=b"2"), moving(room, "B", b1=b"1", b2=b"2")
    copy = room / "archive" / "run"
    if there:
        dm.copy_run(str(a), str(copy), ["a1"], ctx=Context())
    module = one_run if at == "delete_copied" else copying
    meant = getattr(module, at)
    refused = []

    def meanwhile(*args: Any, **options: Any) -> Any:
        places = (copy, b) if second is dm.repair_run else (b, copy)
        with pytest.raises(Retry, match="another task writes"):
            second(*map(str, places), ctx=Context())
        refused.append(True)
        return meant(*args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(module, at, meanwhile)
        dm.move_run(str(a), str(copy), ctx=Context())
    assert refused
    assert (tree(copy), tree(b)) == (in_a, in_b)
    assert sorted(p.name for p in copy.iterdir()) == [MANIFEST, "a1", "a2"]
    with pytest.raises(Permanent, match="holds other content"):
        dm.move_run(str(b), str(copy), ctx=Context())


def test_two_tasks_do_not_write_the_same_single_file(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (room / name).write_text(name)
    delete = one_run.delete_copied

    def meanwhile(source: Path, copy: Path) -> dict[str, str]:
        with pytest.raises(Retry, match="another task writes"):
            dm.move_run(str(room / "two"), str(copy), overwrite=True, ctx=Context())
        return delete(source, copy)

    with monkeypatch.context() as patched:
        patched.setattr(one_run, "delete_copied", meanwhile)
        dm.move_run(str(room / "one"), str(room / "copy"), ctx=Context())
    assert (room / "copy").read_text() == "one"
    assert sorted(p.name for p in room.iterdir()) == ["copy", "copy" + MANIFEST, "two"]


def test_a_lock_that_a_break_has_left_is_taken_over(room: Path) -> None:
    run, copy = make_run(room / "run"), make_run(room / "copy")
    (copy / LOCK).touch()
    dm.move_run(str(run), str(copy), ctx=Context())
    (copy / LOCK).touch()
    with pytest.raises(Skip):
        dm.move_run(str(run), str(copy), ctx=Context())
    assert sorted(p.name for p in copy.iterdir()) == [MANIFEST, "a.h5", "b.h5"]


@pytest.mark.parametrize("how", ["gone", "short"])
def test_a_source_stays_if_its_copy_is_damaged_just_before(
    room: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    run, copy = make_run(room / "run"), room / "copy"
    delete = one_run.delete_copied

    def meanwhile(source: Path, target: Path) -> dict[str, str]:
        (target / "a.h5").unlink()
        if how == "short":
            (target / "a.h5").write_bytes(b"a")
        return delete(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(one_run, "delete_copied", meanwhile)
        with pytest.raises(Retry, match=r"'a\.h5' \(not in the copy any more\)"):
            dm.move_run(str(run), str(copy), ctx=Context())
    before = tree(run)
    assert sorted(before) == ["a.h5", "b.h5"]
    dm.move_run(str(run), str(copy), ctx=Context())
    assert tree(copy) == before


def test_what_was_there_is_brought_to_disk_before_the_source_is_deleted(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, copy = make_run(room / "run", a=b"1", sub__b=b"2"), make_run(room / "copy", a=b"1", sub__b=b"2")
    synced, fsync = set(), os.fsync

    def watch(fd: int) -> None:
        assert (run / "a").exists()
        synced.add(os.readlink(f"/proc/self/fd/{fd}"))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", watch)
    dm.move_run(str(run), str(copy), ctx=Context())
    assert synced >= {str(p) for p in (copy / "a", copy / "sub" / "b", copy / "sub", copy, room)}
