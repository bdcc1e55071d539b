"""What is in a run is moved, or refused in clear words: links, directories, special files."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_trees import OLD, make_run, tree

from remanager import data_movement as dm
from remanager.data_movement import contents, many_runs
from remanager.data_movement.contents import JOURNAL, MANIFEST, Contents, contents_of
from remanager.data_movement.files import PART
from remanager.data_movement.manifest import Manifest
from remanager.tasks import Context, Permanent, Skip

TASKS = pytest.mark.parametrize("task", [dm.copy_run, dm.move_run])
Task = Callable[..., dict[str, Any]]


@TASKS
@pytest.mark.parametrize("data", [{"a.raw": b"1", "sub__b.raw": b"2"}, {}])
def test_links_in_the_run_and_empty_directories_go_along(
    room: Path, task: Task, data: dict[str, bytes]
) -> None:
    run, copy = room / "run", room / "copy"
    (run / "sub" / "empty").mkdir(parents=True)
    if data:
        make_run(run, **data)
    links = {"link": "a.raw", "sub/up": "../a.raw", "sub/root": "..", "loop": "loop", "via": "sub/root/x"}
    for name, to in links.items():
        (run / name).symlink_to(to)
    assert task(str(run), str(copy), ctx=Context())["links"] == len(links)
    assert {name: os.readlink(copy / name) for name in links} == links
    assert list((copy / "sub" / "empty").iterdir()) == []
    assert contents_of(copy).files.keys() == {name.replace("__", "/") for name in data}
    assert run.exists() == (task is dm.copy_run)
    assert dm.inspect_run(str(copy), ctx=Context())["healthy"]
    with pytest.raises(Skip):
        task(str(run), str(copy), ctx=Context())
    (copy / "link").unlink()
    (copy / "sub" / "empty").rmdir()
    assert dm.inspect_run(str(copy), fail=False, ctx=Context())["missing"] == ["link", "sub/empty"]


@TASKS
def test_an_empty_run_stays_a_run(room: Path, task: Task) -> None:
    (room / "run").mkdir()
    task(str(room / "run"), str(room / "copy"), ctx=Context())
    assert contents_of(room / "copy").directories == {".": True}
    assert dm.inspect_run(str(room / "copy"), ctx=Context())["healthy"]
    assert (room / "run").exists() == (task is dm.copy_run)


@TASKS
@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("evil", "/etc/passwd"),
        ("evil", "{run}/a.h5"),
        ("evil", "../other"),
        ("evil", "../run/a.h5"),
        ("evil", ".."),
        ("sub/evil", "../../other"),
        ("evil", "sub/../../other"),
    ],
)
def test_links_that_lead_outside_are_refused_before_anything_is_done(
    room: Path, task: Task, name: str, to: str
) -> None:
    run = make_run(room / "run")
    (run / "sub").mkdir()
    (run / name).symlink_to(to.format(run=run))
    with pytest.raises(Permanent, match=f"'{name}' .a link to "):
        task(str(run), str(room / "copy"), ctx=Context())
    assert not (room / "copy").exists()
    assert list(contents_of(run).files) == ["a.h5", "b.h5"]


def test_a_link_by_links_leads_outside_no_more_than_each_of_them() -> None:
    links = {"p/q/a": "../..", "p/q/b": "a/../x"}
    assert list(Contents(links=links).immovable()) == ["p/q/b"]


@TASKS
def test_special_files_and_unfinished_copies_are_refused(room: Path, task: Task) -> None:
    run = make_run(room / "run")
    os.mkfifo(run / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(run / "sock"))
    (run / ("c.h5" + PART)).write_bytes(b"1")
    (Path(os.fsdecode(os.fsencode(run) + b"/\xff"))).write_bytes(b"1")
    with pytest.raises(Permanent) as caught:
        task(str(run), str(room / "copy"), ctx=Context())
    assert caught.value.reason == (
        f"'{run}' has what cannot be copied: ''\\udcff'' (its name is not UTF-8), "
        f"'c.h5{PART}' (an unfinished copy), 'pipe' (neither file, link nor directory), "
        "'sock' (neither file, link nor directory)"
    )
    assert not (room / "copy").exists()
    with pytest.raises(Permanent, match="what cannot be copied"):
        task(str(run / "pipe"), str(room / "copy"), ctx=Context())
    assert len(os.listdir(run)) == 6


@TASKS
def test_a_copy_that_is_not_complete_is_no_source(room: Path, task: Task) -> None:
    run = make_run(room / "run")
    (run / JOURNAL).write_text("")
    with pytest.raises(Permanent, match="itself an unfinished copy"):
        task(str(run), str(room / "copy"), ctx=Context())


def test_a_directory_that_becomes_a_link_is_not_entered(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(room / "run", sub__a=b"1")
    names_in = contents._names_in

    def exchange(directory: Path) -> set[str]:
        if directory.name == "sub":
            directory.rename(room / "sub")
            directory.symlink_to(tmp_path)
        return names_in(directory)

    monkeypatch.setattr(contents, "_names_in", exchange)
    with pytest.raises(Permanent, match="Not a directory"):
        dm.copy_run(str(run), str(room / "copy"), ctx=Context())


def test_patterns_choose_among_everything_in_a_run(room: Path) -> None:
    run = make_run(
        room / "run", **{"a.raw": b"1", "b.h5": b"2", "sub__c.raw": b"3", "sub__deep__d.raw": b"4"}
    )
    (run / "x.raw").symlink_to("a.raw")
    (run / "out").symlink_to("/etc")
    (run / "e.raw").mkdir()
    chosen = {
        ("*.raw",): ["a.raw", "e.raw", "x.raw"],
        ("**/*.raw",): ["a.raw", "e.raw", "sub/c.raw", "sub/deep/d.raw", "x.raw"],
        ("./sub/*", "b.*"): ["b.h5", "sub/c.raw"],
        ("sub/**",): ["sub/c.raw", "sub/deep/d.raw"],
    }
    for number, (patterns, names) in enumerate(chosen.items()):
        copy = room / f"copy{number}"
        dm.copy_run(str(run), str(copy), list(patterns), ctx=Context())
        there = contents_of(copy)
        assert sorted([*there.files, *there.links, *there.empty]) == names
    with pytest.raises(Skip, match="nothing that matches"):
        dm.copy_run(str(run), str(room / "copy"), ["*.tif"], ctx=Context())
    with pytest.raises(Permanent, match="'out'"):
        dm.copy_run(str(run), str(room / "copy"), ["o*"], ctx=Context())
    with pytest.raises(Skip, match="nothing that matches"):
        dm.copy_run(str(run), str(room / "copy"), ["out/*"], ctx=Context())


def test_links_are_repaired_and_files_in_their_place_stay(room: Path) -> None:
    run, copy = make_run(room / "run"), room / "copy"
    (run / "link").symlink_to("a.h5")
    (run / "empty").mkdir()
    dm.copy_run(str(run), str(copy), ctx=Context())
    (copy / "link").unlink()
    (copy / "link").symlink_to("b.h5")
    (copy / "empty").rmdir()
    assert dm.repair_run(str(copy), str(run), ctx=Context())["repaired"] == ["empty", "link"]
    assert dm.inspect_run(str(copy), ctx=Context())["healthy"]
    (copy / "link").unlink()
    (copy / "link").write_bytes(b"a file")
    with pytest.raises(Permanent, match="File exists"):
        dm.repair_run(str(copy), str(run), ctx=Context())
    assert (copy / "link").read_bytes() == b"a file"


# ------------------------------------------------------------------------------------------------ many runs


def archived(room: Path, name: str) -> Path:
    """Return an old run with a link and an empty directory that has a good copy."""
    run = make_run(room / "disk" / name)
    (run / "link").symlink_to("a.h5")
    (run / "empty").mkdir()
    dm.copy_run(str(run), str(room / "archive" / name), ctx=Context())
    return run


def test_runs_with_links_are_deleted_as_a_whole_or_not_at_all(room: Path) -> None:
    gone, other_link, new_pipe = (archived(room, name) for name in ("gone", "other_link", "new_pipe"))
    only_links = room / "disk" / "only_links"
    only_links.mkdir()
    (only_links / "link").symlink_to("link")
    os.utime(only_links, (OLD, OLD))
    (other_link / "link").unlink()
    (other_link / "link").symlink_to("b.h5")
    os.mkfifo(new_pipe / "pipe")
    (room / "disk" / "latest").symlink_to("gone")
    args = (str(room / "disk"), str(room / "archive"))
    for read, dry_run in ((False, True), (True, True), (True, False)):
        told = dm.delete_runs(*args, read_copies=read, dry_run=dry_run, ctx=Context())
        assert told["deleted"] == ["gone"]
        assert told["kept"] == {
            **dict.fromkeys(("other_link", "new_pipe"), "its copy does not have all of it as it is"),
            "only_links": "it has no copy",
            "latest": "it is a symbolic link",
        }
    assert not gone.exists()
    assert sorted(os.listdir(other_link)) == ["a.h5", "b.h5", "empty", "link"]


def test_a_copy_that_is_a_link_to_the_run_is_none(room: Path) -> None:
    make_run(room / "first")
    dm.copy_run(str(room / "first"), str(room / "disk" / "run"), ctx=Context())
    (room / "archive").mkdir()
    (room / "archive" / "run").symlink_to(room / "disk" / "run")
    told = dm.delete_runs(str(room / "disk"), str(room / "archive"), dry_run=False, ctx=Context())
    assert told["deleted"] == []
    assert sorted(tree(room / "disk" / "run")) == ["a.h5", "b.h5"]


def test_a_run_that_changes_while_others_are_deleted_is_kept(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = archived(room, "run")
    delete = many_runs.delete_copied

    def change_first(source: Path, copy: Path) -> dict[str, str]:
        (source / "new").write_bytes(b"new")
        return delete(source, copy)

    monkeypatch.setattr(many_runs, "delete_copied", change_first)
    told = dm.delete_runs(str(room / "disk"), str(room / "archive"), dry_run=False, ctx=Context())
    assert (told["deleted"], told["bytes"]) == ([], 0)
    assert told["kept"] == {"run": "it has changed meanwhile"}
    assert sorted(tree(run)) == ["a.h5", "b.h5", "link", "new"]


def test_a_drain_refuses_what_is_no_run(room: Path) -> None:
    disk = make_run(room / "disk" / "run").parent
    (disk / "latest").symlink_to("run")
    (disk / ("one.h5" + PART)).write_bytes(b"1")
    os.mkfifo(disk / "pipe")
    ctx = Context()
    with pytest.raises(Permanent, match=r"'latest' .*'one\.h5.*'pipe'"):
        dm.drain_directory(str(disk), str(room / "target"), ctx=ctx)
    assert ctx.children == []


def test_a_drain_leaves_no_manifest_and_keeps_the_roots(room: Path) -> None:
    (room / "one").write_bytes(b"1")
    dm.copy_run(str(room / "one"), str(room / "disk" / "one"), ctx=Context())
    dm.move_run(str(room / "disk" / "one"), str(room / "other" / "one"), ctx=Context())
    done = Context(finishing=True, last_checkpoint=[1, ["one"]])
    dm.drain_directory(str(room / "disk"), str(room / "other"), ctx=done)
    assert not (room / "disk").exists()


def test_a_drained_root_stays(room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "second").mkdir()
    monkeypatch.setenv("REMANAGER_DATA_ROOTS", f"{room}:{tmp_path / 'second'}")
    done = Context(finishing=True, last_checkpoint=1)  # as an earlier release kept it
    assert dm.drain_directory(str(tmp_path / "second"), str(room), ctx=done) == {"moved": 1}
    assert (tmp_path / "second").exists()


# ------------------------------------------------------------------------------------------------ repair


def test_all_that_is_missing_is_repaired(room: Path) -> None:
    run = make_run(room / "run", **{f"f{n:03}": b"%d" % n for n in range(120)})
    dm.copy_run(str(run), str(room / "copy"), ctx=Context())
    for path in (room / "copy").glob("f*"):
        path.unlink()
    told = dm.inspect_run(str(room / "copy"), fail=False, ctx=Context())
    assert len(told["missing"]) == 50
    assert len(dm.repair_run(str(room / "copy"), str(run), ctx=Context())["repaired"]) == 120
    assert dm.inspect_run(str(room / "copy"), ctx=Context())["healthy"]


def test_a_run_without_a_manifest_is_not_overwritten_by_a_copy_of_another(room: Path) -> None:
    dm.copy_run(str(make_run(room / "one")), str(room / "copy"), ctx=Context())
    run = make_run(room / "two", **{"a.h5": b"other"})
    with pytest.raises(Permanent, match=r"holds other content than the copy: 'a\.h5'"):
        dm.repair_run(str(run), str(room / "copy"), ctx=Context())
    assert tree(run) == {"a.h5": b"other"}
    assert not Manifest.place(run).exists()
    with pytest.raises(Permanent, match="Neither"):
        dm.repair_run(str(run), str(room / "one"), ctx=Context())
    assert not Manifest.place(run).exists()


def test_a_file_that_rotted_is_repaired_without_a_manifest(room: Path) -> None:
    run = make_run(room / "run")
    dm.copy_run(str(run), str(room / "copy"), ctx=Context())
    make_run(run, **{"a.h5": b"x" * 5000})
    assert dm.repair_run(str(run), str(room / "copy"), ctx=Context())["repaired"] == ["a.h5"]
    assert tree(run) == tree(room / "copy")


# ------------------------------------------------------------------------------------ modes


def modes(place: Path) -> dict[str, int]:
    """Return the modes of what is in a run."""
    found = {p.relative_to(place).as_posix(): p.stat().st_mode & 0o7777 for p in (place, *place.rglob("*"))}
    return {name: mode for name, mode in found.items() if MANIFEST not in name}


@TASKS
def test_files_do_not_run_as_their_owner_in_the_copy(room: Path, task: Task) -> None:
    run = make_run(room / "run", user=b"1", group=b"2", sticky=b"3")
    for name, mode in (("user", 0o4755), ("group", 0o2755), ("sticky", 0o1640)):
        (run / name).chmod(mode)
    task(str(run), str(room / "copy"), ctx=Context())
    assert modes(room / "copy") == modes(room / "copy") | {"user": 0o755, "group": 0o755, "sticky": 0o1640}


@TASKS
def test_directories_keep_their_modes_and_stay_writable(room: Path, task: Task) -> None:
    run = make_run(room / "run", private__deep__a=b"1", public__b=b"2")
    (run / "private" / "empty").mkdir()
    (run / "public" / "link").symlink_to("b")
    wanted = {".": 0o700, "private": 0o700, "private/deep": 0o750, "private/empty": 0o711, "public": 0o777}
    for name, mode in wanted.items():
        (run / name).chmod(mode)
    (run / "private" / "deep").chmod(0o550)
    task(str(run), str(room / "new" / "copy"), ctx=Context())
    assert modes(room / "new" / "copy").items() >= wanted.items()
    assert (room / "new").stat().st_mode == room.stat().st_mode


def test_a_directory_that_is_there_keeps_its_mode_and_what_it_inherits(room: Path) -> None:
    run = make_run(room / "run", a__x=b"1", b__y=b"2")
    copy = room / "copy"
    (copy / "a").mkdir(parents=True)
    (copy / "a").chmod(0o711)
    copy.chmod(0o2755)
    dm.copy_run(str(run), str(copy), ctx=Context())
    assert modes(copy).items() >= {".": 0o2755, "a": 0o711, "b": 0o2755}.items()


def test_repair_gives_directories_their_modes(room: Path) -> None:
    run, copy = make_run(room / "run", sub__a=b"1"), room / "copy"
    (run / "empty").mkdir()
    (run / "gone").mkdir()
    for name in ("sub", "empty"):
        (run / name).chmod(0o710)
    dm.copy_run(str(run), str(copy), ctx=Context())
    (copy / "sub" / "a").unlink()
    for place in (copy / "sub", copy / "empty", copy / "gone", run / "gone"):
        place.rmdir()
    dm.repair_run(str(copy), str(run), ctx=Context())
    assert modes(copy).items() >= {"sub": 0o710, "empty": 0o710, "sub/a": 0o644}.items()
    assert (copy / "gone").is_dir()


# ------------------------------------------------------------------------------------ names, sparse files


@TASKS
def test_names_that_are_too_long_are_refused_before_anything_is_done(room: Path, task: Task) -> None:
    run = make_run(room / "run", **{"a": b"1", "b" * 240: b"2", "c" * 241: b"3", "ä" * 121: b"4"})
    with pytest.raises(Permanent) as caught:
        task(str(run), str(room / "copy"), ctx=Context())
    assert caught.value.reason.count("its name is too long") == 2
    for name, place in ((("s" * 224), "target"), ("short", "t" * 224)):
        (room / name).write_bytes(b"1")
        with pytest.raises(Permanent, match="too long for a run that is a single file"):
            task(str(room / name), str(room / "new" / place), ctx=Context())
    assert not (room / "copy").exists()
    assert not (room / "new").exists()


@TASKS
def test_the_longest_names_are_copied(room: Path, task: Task) -> None:
    run = make_run(room / ("r" * 255), **{"b" * 240: b"2"})
    (run / ("d" * 255)).mkdir()
    (room / ("s" * 223)).write_bytes(b"1")
    for source in (run, room / ("s" * 223)):
        copy = room / "archive" / source.name
        task(str(source), str(copy), ctx=Context())
        assert dm.inspect_run(str(copy), ctx=Context())["healthy"]


def test_a_sparse_file_stays_one(room: Path) -> None:
    run, size = make_run(room / "run", a=b"", b=b"\0" * 10), 32 << 20
    with (run / "a").open("wb") as file:
        file.seek(size // 2)
        file.write(b"data")
        file.truncate(size)
    dm.copy_run(str(run), str(room / "copy"), verify=True, ctx=Context())
    status = (room / "copy" / "a").stat()
    assert status.st_size == size
    assert status.st_blocks * 512 < size // 4
    assert tree(room / "copy") == tree(run)
