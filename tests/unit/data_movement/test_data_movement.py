"""Moving the data of runs, on real directories."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_trees import OLD, make_run, tree

from remanager import data_movement as dm
from remanager.data_movement import copying, files, many_runs, one_run
from remanager.data_movement.contents import JOURNAL, MANIFEST, contents_of
from remanager.data_movement.files import PART, copy_file, digest_of
from remanager.data_movement.manifest import Manifest
from remanager.data_movement.places import ROOTS, allowed
from remanager.tasks import Cancelled, Context, Permanent, Retry, Skip


class Interrupted(Exception):
    """Stands for the death of the worker."""


def stop_after(pieces: int, error: Exception) -> Callable[[int], None]:
    """Return a step that raises at the given piece."""
    left = [pieces]

    def step(_size: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise error

    return step


# -------------------------------------------------------------------------------------------- copy


def test_copy_has_the_same_files_times_modes_and_a_manifest(room: Path) -> None:
    run = make_run(room / "fast" / "run1", **{"a.h5": b"x" * 3000, "sub__b.h5": b""})
    (run / "a.h5").chmod(0o640)
    ctx = Context()
    result = dm.copy_run(str(run), str(room / "slow" / "run1"), verify=True, ctx=ctx)
    copy = room / "slow" / "run1"
    assert tree(copy) == tree(run)
    status = (copy / "a.h5").stat()
    assert (status.st_mtime, status.st_mode & 0o777) == (OLD, 0o640)
    assert (result["files"], result["bytes"]) == (2, 3000)
    assert ctx.report["done_size"] == ctx.report["total_size"] == 3000
    assert ctx.report["done_count"] == 2
    assert ctx.io == {"disk_read": 2 * 3000, "disk_write": 3000}  # the copy is read again
    assert Manifest.read(copy).files["a.h5"].digest == digest_of(run / "a.h5", lambda _: None)


def test_a_single_file_is_a_run(room: Path) -> None:
    (room / "one.h5").write_bytes(b"data")
    dm.copy_run(str(room / "one.h5"), str(room / "copy.h5"), ctx=Context())
    assert (room / "copy.h5").read_bytes() == b"data"
    assert dm.inspect_run(str(room / "copy.h5"), ctx=Context())["healthy"]


def test_what_is_there_is_skipped_and_what_is_new_is_copied(room: Path) -> None:
    run, copy = make_run(room / "run"), room / "copy"
    dm.copy_run(str(run), str(copy), ctx=Context())
    with pytest.raises(Skip):
        dm.copy_run(str(run), str(copy), ctx=Context())
    (run / "c.h5").write_bytes(b"new")
    result = dm.copy_run(str(run), str(copy), ctx=Context())
    assert (result["files"], result["files_there"]) == (1, 2)


def test_an_interrupted_copy_goes_on_where_it_was(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", 1000)
    source = make_run(room / "run", big=os.urandom(10_500)) / "big"
    target = room / "copy" / "big"
    with pytest.raises(Interrupted):
        copy_file(source, target, stop_after(4, Interrupted()))
    part = target.with_name("big" + PART)
    assert not target.exists()
    assert 0 < part.stat().st_size < 10_500
    part.chmod(0o400)
    inode = part.stat().st_ino
    digest = copy_file(source, target, lambda _: None)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_ino == inode
    assert digest == digest_of(source, lambda _: None)
    assert not part.exists()


def test_an_unfinished_copy_that_differs_is_not_trusted(room: Path) -> None:
    source = make_run(room / "run", big=os.urandom(5000)) / "big"
    target = room / "copy" / "big"
    target.parent.mkdir()
    target.with_name("big" + PART).write_bytes(b"\0" * 3000)
    copy_file(source, target, lambda _: None)
    assert target.read_bytes() == source.read_bytes()


def test_a_source_that_changes_is_copied_again(room: Path) -> None:
    source = make_run(room / "run", big=b"1" * 5000) / "big"

    def change(_size: int) -> None:
        source.write_bytes(b"2" * 5001)

    with pytest.raises(Retry, match="changed while it was copied"):
        copy_file(source, room / "copy" / "big", change)
    assert tree(room / "copy") == {}


def test_cancelling_stops_between_two_pieces_and_keeps_the_part(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", 100)
    run, ctx = make_run(room / "run", big=b"z" * 1000), Context()
    seen = []
    progress = ctx.progress

    def watch(**report: Any) -> None:
        seen.append(report)
        if report.get("done_size", 0) >= 500:
            ctx.cancel("enough")
        progress(**report)

    monkeypatch.setattr(ctx, "progress", watch)
    with pytest.raises(Cancelled):
        dm.copy_run(str(run), str(room / "copy"), ctx=ctx)
    assert (room / "copy" / ("big" + PART)).stat().st_size == 500
    assert ctx.io == {"disk_read": 500, "disk_write": 500}


@pytest.mark.parametrize("verify", [False, True])
def test_only_what_an_attempt_moves_is_counted(room: Path, *, verify: bool) -> None:
    """What the attempt before has copied is compared with the source: that is two reads."""
    run, copy = make_run(room / "run", a=b"a" * 2000, big=b"z" * 1000), room / "copy"
    dm.copy_run(str(run), str(copy), patterns=["a"], ctx=Context())
    (copy / ("big" + PART)).write_bytes(b"z" * 400)
    ctx = Context()
    dm.copy_run(str(run), str(copy), verify=verify, ctx=ctx)
    assert ctx.report["done_size"] == 3000
    read = 2 * 400 + 600 + (2 * 2000 + 1000 if verify else 0)
    assert ctx.io == {"disk_read": read, "disk_write": 600}


def test_a_full_disk_leads_to_another_attempt(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_options: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device", "copy")

    monkeypatch.setattr(copying, "copy_file", full)
    with pytest.raises(Retry, match="No space left"):
        dm.copy_run(str(make_run(room / "run")), str(room / "copy"), ctx=Context())


def test_a_copy_that_reads_otherwise_is_not_kept(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "digest_of", lambda _path, _step: "other")
    with pytest.raises(Retry, match="differs from the source"):
        dm.copy_run(str(make_run(room / "run")), str(room / "copy"), verify=True, ctx=Context())
    assert tree(room / "copy") == {}


def test_a_copy_writes_little_beside_its_files(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _fd: None)
    names = [f"f{number:04}" for number in range(2000)]
    run = make_run(room / "run", **dict.fromkeys(names, b"x"))
    before = bytes_written()
    dm.copy_run(str(run), str(room / "copy"), ctx=Context())
    written = bytes_written() - before
    manifest = Manifest.place(room / "copy")
    assert list(Manifest.read(room / "copy").files) == names
    assert written < 4 * manifest.stat().st_size
    assert [p.name for p in (room / "copy").iterdir() if MANIFEST in p.name] == [manifest.name]


def bytes_written() -> int:
    """Return the bytes that this process has written so far, to whatever it was."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["wchar"])


@pytest.mark.parametrize("torn", ["", '\n["c", 1, 2', "\0\0\0", '\n{"c": 1}', '\n["c"]'])
def test_what_was_copied_before_a_break_is_known(
    room: Path, monkeypatch: pytest.MonkeyPatch, torn: str
) -> None:
    run, copy = make_run(room / "run", a=b"1", b=b"2", c=b"3"), room / "copy"
    meant = copying.copy_file

    def breaks(source: Path, target: Path, step: Callable[[int], None], **options: Any) -> str:
        if source.name == "c":
            raise Interrupted
        return meant(source, target, step, **options)

    monkeypatch.setattr(copying, "copy_file", breaks)
    with pytest.raises(Interrupted):
        dm.copy_run(str(run), str(copy), ctx=Context())
    with (copy / JOURNAL).open("a") as journal:
        journal.write(torn)
    assert list(Manifest.read(copy).files) == ["a", "b"]
    assert list(contents_of(copy).files) == ["a", "b"]
    monkeypatch.setattr(copying, "copy_file", meant)
    result = dm.copy_run(str(run), str(copy), ctx=Context())
    assert (result["files"], result["files_there"]) == (1, 2)
    assert list(Manifest.read(copy).files) == ["a", "b", "c"]
    assert not (copy / JOURNAL).exists()


def test_a_break_after_the_last_file_leaves_no_journal(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, copy = make_run(room / "run"), room / "copy"

    def breaks(_manifest: Manifest, _run: Path) -> None:
        raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(Manifest, "write", breaks)
        with pytest.raises(Interrupted):
            dm.copy_run(str(run), str(copy), ctx=Context())
    assert not Manifest.place(copy).exists()
    with pytest.raises(Skip):
        dm.copy_run(str(run), str(copy), ctx=Context())
    assert Manifest.place(copy).exists()
    assert not (copy / JOURNAL).exists()


def test_a_journal_of_other_checksums_is_refused(room: Path) -> None:
    run, copy = make_run(room / "run"), room / "copy"
    copy.mkdir()
    (copy / JOURNAL).write_text('\n"md5"\n["a.h5", 5000, 1, "00"]')
    with pytest.raises(Permanent, match="checksums of another kind: md5"):
        dm.copy_run(str(run), str(copy), ctx=Context())


# -------------------------------------------------------------------------------------------- places


def test_paths_outside_are_refused(room: Path, tmp_path: Path) -> None:
    outside = make_run(tmp_path / "outside")
    (room / "link").symlink_to(outside)
    for path in (str(outside), str(room / ".." / "outside"), str(room / "link"), "relative"):
        with pytest.raises(Permanent):
            allowed(path)
    with pytest.raises(Permanent, match="overlap"):
        dm.copy_run(str(room / "a"), str(room / "a" / "b"), ctx=Context())


def test_without_roots_nothing_may_be_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ROOTS, raising=False)
    with pytest.raises(Permanent, match=ROOTS):
        dm.inspect_run("/tmp", ctx=Context())


def test_a_missing_run_is_permanent(room: Path) -> None:
    with pytest.raises(Permanent, match="There is no"):
        dm.copy_run(str(room / "nowhere"), str(room / "copy"), ctx=Context())


# -------------------------------------------------------------------------------------------- move


def test_move_deletes_the_source_when_the_copy_is_good(room: Path) -> None:
    run = make_run(room / "run")
    before = tree(run)
    result = dm.move_run(str(run), str(room / "copy"), ctx=Context())
    assert result["deleted"]
    assert not run.exists()
    assert tree(room / "copy") == before
    with pytest.raises(Skip):
        dm.move_run(str(run), str(room / "copy"), ctx=Context())


def test_move_goes_on_after_an_interrupted_deletion(room: Path) -> None:
    run = make_run(room / "run")
    dm.copy_run(str(run), str(room / "copy"), ctx=Context())
    (run / "a.h5").unlink()
    dm.move_run(str(run), str(room / "copy"), ctx=Context())
    assert sorted(tree(room / "copy")) == ["a.h5", "b.h5"]
    assert not run.exists()


def test_move_keeps_a_file_that_changed_after_it_was_copied(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, copy = make_run(room / "run"), room / "copy"
    delete = one_run.delete_copied

    def change_first(source: Path, target: Path) -> dict[str, str]:
        (source / "a.h5").write_bytes(b"changed")
        return delete(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(one_run, "delete_copied", change_first)
        with pytest.raises(Retry, match=r"what changed is kept: 'a\.h5'"):
            dm.move_run(str(run), str(copy), ctx=Context())
    assert tree(run) == {"a.h5": b"changed", "b.h5": b"b" * 100}
    assert dm.move_run(str(run), str(copy), ctx=Context())["deleted"]
    assert tree(copy) == {"a.h5": b"changed", "b.h5": b"b" * 100}
    assert dm.inspect_run(str(copy), ctx=Context())["healthy"]


# -------------------------------------------------------------------------------------------- inspect, repair


def damaged(room: Path) -> tuple[Path, Path]:
    """Return a copy with a flipped byte and a missing file, and its source."""
    run, copy = make_run(room / "run", a=b"a" * 100, b=b"b" * 100, c=b"c"), room / "copy"
    dm.copy_run(str(run), str(copy), ctx=Context())
    data, known = bytearray((copy / "a").read_bytes()), (copy / "a").stat()
    data[50] ^= 1
    (copy / "a").write_bytes(data)
    os.utime(copy / "a", ns=(known.st_atime_ns, known.st_mtime_ns))
    (copy / "b").unlink()
    return copy, run


def test_inspection_finds_flipped_bytes_and_missing_files(room: Path) -> None:
    copy, _ = damaged(room)
    (copy / "new").write_bytes(b"?")
    result = dm.inspect_run(str(copy), fail=False, ctx=Context())
    assert (result["missing"], result["damaged"], result["unknown"]) == (["b"], ["a"], 1)
    assert not result["healthy"]
    with pytest.raises(Permanent, match="not healthy"):
        dm.inspect_run(str(copy), ctx=Context())


def test_inspection_goes_on_where_it_was(room: Path) -> None:
    copy, _ = damaged(room)
    ctx = Context(attempt=2, last_checkpoint={"seen": "a", "missing": [], "damaged": []})
    assert dm.inspect_run(str(copy), fail=False, ctx=ctx)["damaged"] == []


def test_repair_takes_what_is_good_from_the_other_copy(room: Path) -> None:
    copy, run = damaged(room)
    assert sorted(dm.repair_run(str(copy), str(run), ctx=Context())["repaired"]) == ["a", "b"]
    assert dm.inspect_run(str(copy), ctx=Context())["healthy"]
    with pytest.raises(Skip):
        dm.repair_run(str(copy), str(run), ctx=Context())


def test_repair_leaves_what_was_written_since(room: Path) -> None:
    copy, run = damaged(room)
    (copy / "c").write_bytes(b"corrected by hand")
    with pytest.raises(Permanent, match=r"missing \['b'\], damaged \['a'\], changed \['c'\]"):
        dm.inspect_run(str(copy), ctx=Context())
    with pytest.raises(Permanent, match=r"has changed files, delete those .* 'c' \(written since"):
        dm.repair_run(str(copy), str(run), ctx=Context())
    assert (copy / "c").read_bytes() == b"corrected by hand"
    left = dm.inspect_run(str(copy), fail=False, ctx=Context())
    assert (left["missing"], left["damaged"], left["changed"]) == ([], [], ["c"])
    (copy / "c").unlink()
    assert dm.repair_run(str(copy), str(run), ctx=Context())["repaired"] == ["c"]
    assert dm.inspect_run(str(copy), ctx=Context())["healthy"]


def test_repair_refuses_a_source_that_is_bad_too(room: Path) -> None:
    copy, run = damaged(room)
    (run / "b").write_bytes(b"?" * 100)
    with pytest.raises(Permanent, match="not good in"):
        dm.repair_run(str(copy), str(run), ctx=Context())


def test_a_run_without_or_with_a_damaged_manifest_cannot_be_inspected(room: Path) -> None:
    run = make_run(room / "run")
    with pytest.raises(Permanent, match="no manifest"):
        dm.inspect_run(str(run), ctx=Context())
    (run / MANIFEST).write_text("{")
    with pytest.raises(Permanent, match="damaged"):
        dm.inspect_run(str(run), ctx=Context())


# -------------------------------------------------------------------------------------------- many runs


def run_children(ctx: Context) -> None:
    """Do what the children of a task would do."""
    for child in ctx.children:
        move = {"drain_run": dm.drain_run, "balance_run": dm.balance_run}[child.name]
        move(*child.args, ctx=Context(), **child.kwargs)


def test_drain_moves_each_run_by_a_child(room: Path) -> None:
    for n in range(3):
        make_run(room / "disk" / f"run{n}")
    (room / "other").mkdir()
    ctx = Context()
    assert dm.drain_directory(str(room / "disk"), str(room / "other"), ctx=ctx) == {"moved": 3}
    first = ctx.children[0]
    assert first.name == "drain_run"
    assert first.options["resource_lock"] == f"disk:{room / 'disk'}"
    assert first.options["tags"] == {"disk": str(room / "disk"), "run": "run0"}
    with pytest.raises(Permanent, match="still in"):
        dm.drain_directory(
            str(room / "disk"),
            str(room / "other"),
            ctx=Context(finishing=True, last_checkpoint=ctx.last_checkpoint),
        )
    run_children(ctx)
    finishing = Context(finishing=True, last_checkpoint=ctx.last_checkpoint)
    assert dm.drain_directory(str(room / "disk"), str(room / "other"), ctx=finishing) == {"moved": 3}
    assert len(list((room / "other").iterdir())) == 3


def test_balance_tells_first_and_moves_when_asked(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(4):
        make_run(room / "full" / f"run{n}", data=b"x" * 1000)
    (room / "empty").mkdir()

    def usage(place: Path) -> Any:
        used = sum(p.stat().st_size for p in Path(place).rglob("*") if p.is_file())
        return type("Usage", (), {"total": 10_000, "free": 10_000 - used})

    monkeypatch.setattr(many_runs.shutil, "disk_usage", usage)
    places = [str(room / "full"), str(room / "empty")]
    ctx = Context()
    plan = dm.balance_directories(places, ctx=ctx)["moves"]
    assert [m["run"] for m in plan] == ["run0", "run1"]
    assert ctx.children == []
    dm.balance_directories(places, dry_run=False, ctx=ctx)
    run_children(ctx)
    with pytest.raises(Skip):
        dm.balance_directories(places, ctx=Context())
    for run in (room / "full").glob("run*"):
        shutil.rmtree(run)
    (room / "full" / "log.remanager-part").write_bytes(b"x" * 7000)  # no run
    with pytest.raises(Permanent, match=r"No run can be moved: .*full' is filled to 70\.0%"):
        dm.balance_directories(places, ctx=Context())


def test_only_old_runs_with_a_good_copy_are_deleted(room: Path) -> None:
    for name in ("good", "bad", "alone"):
        make_run(room / "disk" / name)
    young = room / "disk" / "young"
    young.mkdir()
    (young / "a").write_bytes(b"a")
    for name in ("good", "bad", "young"):
        dm.copy_run(str(room / "disk" / name), str(room / "archive" / name), ctx=Context())
    (room / "archive" / "bad" / "a.h5").write_bytes(b"b" * 5000)
    args = (str(room / "disk"), str(room / "archive"))
    told = dm.delete_runs(*args, ctx=Context())
    assert (told["deleted"], told["bytes"], told["dry_run"]) == (["good"], 5100, True)
    assert told["kept"] == {
        "alone": "it has no copy",
        "bad": "its copy is damaged: 'a.h5'",
        "young": "it is too young",
    }
    assert (room / "disk" / "good").exists()
    dm.delete_runs(*args, dry_run=False, ctx=Context())
    assert not (room / "disk" / "good").exists()
    assert sorted(p.name for p in (room / "disk").iterdir()) == ["alone", "bad", "young"]


def test_without_reading_a_copy_of_other_size_is_no_copy(room: Path) -> None:
    make_run(room / "disk" / "run")
    dm.copy_run(str(room / "disk" / "run"), str(room / "archive" / "run"), ctx=Context())
    (room / "archive" / "run" / "a.h5").write_bytes(b"short")
    told = dm.delete_runs(str(room / "disk"), str(room / "archive"), read_copies=False, ctx=Context())
    assert told["deleted"] == []
