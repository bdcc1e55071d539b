"""A copy of the state directory: whole, of one moment, made while the store is written."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from click.testing import CliRunner

from remanager.cli.backup import backup
from remanager.store import DatabaseUnusable, JournalEvent, StateDirUnusable, Store, writes
from remanager.store.backup import back_up
from remanager.store.store import DATABASE_NAME


def _note(store: Store, number: int) -> Future[int]:
    # Setting and event belong together: a copy has both or none.
    return store.submit([writes.setting_set("n", number)], [JournalEvent("noted", 1.0, data={"n": number})])


def test_copy_of_a_store_in_use_is_a_state_directory(store: Store, state_dir: Path, tmp_path: Path) -> None:
    _note(store, 1).result(20)
    (state_dir / "keys.json").write_text("{}")
    target = tmp_path / "copy"
    size = back_up(state_dir, target)
    assert {path.name for path in target.iterdir()} == {DATABASE_NAME, "keys.json"}
    assert (target / DATABASE_NAME).stat().st_size == size
    assert (target / DATABASE_NAME).stat().st_mode & 0o077 == 0
    _note(store, 2).result(20)
    copy = Store.open(target)
    try:
        assert copy.reads.settings() == {"n": 1}
        assert _note(copy, 3).result(20) == 2
    finally:
        copy.close()
    assert store.reads.settings() == {"n": 2}


def test_copies_are_of_one_moment(store: Store, state_dir: Path, tmp_path: Path) -> None:
    for round_number in range(5):
        pending = [_note(store, n) for n in range(200)]
        target = tmp_path / f"copy{round_number}"
        back_up(state_dir, target)
        for future in pending:
            future.result(20)
        copy = Store.open(target)
        try:
            events = copy.reads.events(0, 10_000)
            settings = copy.reads.settings()
        finally:
            copy.close()
        assert [e.seq for e in events] == list(range(1, len(events) + 1))
        last = json.loads(events[-1].data) if events else None
        assert last == (settings or None)


def test_target_must_be_empty(store: Store, state_dir: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    back_up(state_dir, target)
    with pytest.raises(StateDirUnusable, match="not empty"):
        back_up(state_dir, target)


def test_nothing_to_copy(tmp_path: Path) -> None:
    with pytest.raises(StateDirUnusable, match=r"no remanager\.sqlite"):
        back_up(tmp_path, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_an_empty_file_is_no_copy(state_dir: Path, tmp_path: Path) -> None:
    state_dir.mkdir()
    (state_dir / DATABASE_NAME).touch()
    with pytest.raises(StateDirUnusable, match="is empty"):
        back_up(state_dir, tmp_path / "copy")
    assert list((tmp_path / "copy").iterdir()) == []


def test_target_that_cannot_be_made(store: Store, state_dir: Path, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.touch()
    done = CliRunner().invoke(backup, [str(target), "--state-dir", str(state_dir)])
    assert done.exit_code == 5
    assert f"The directory '{target}' cannot be made: File exists. Name another one" in done.output


@pytest.fixture
def read_only(state_dir: Path, tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """Return a way to see the state directory where it cannot be written."""
    view, mounted = tmp_path / "view", []

    def protect() -> Path:
        if os.geteuid() != 0:
            state_dir.chmod(0o500)
            return state_dir
        view.mkdir()
        for options in (["--bind", state_dir], ["-o", "remount,ro,bind"]):
            if subprocess.run(["mount", *options, view], capture_output=True, check=False).returncode:
                pytest.skip("file systems cannot be mounted here")
            mounted.append(view)
        return view

    yield protect
    if mounted:
        subprocess.run(["umount", "--lazy", view], check=True)
    state_dir.chmod(0o700)


def test_read_only_state_directory(state_dir: Path, tmp_path: Path, read_only: Callable[[], Path]) -> None:
    store = Store.open(state_dir)
    try:
        _note(store, 1).result(20)
    finally:
        store.close()
    assert list(state_dir.glob(f"{DATABASE_NAME}*")) == [state_dir / DATABASE_NAME]
    back_up(read_only(), tmp_path / "copy")
    copy = Store.open(tmp_path / "copy")
    try:
        assert copy.reads.settings() == {"n": 1}
    finally:
        copy.close()


def test_read_only_state_directory_in_use(
    store: Store, state_dir: Path, tmp_path: Path, read_only: Callable[[], Path]
) -> None:
    _note(store, 1).result(20)
    # In this process SQLite would keep what it has opened open as long as the store.
    words = ["backup", tmp_path / "copy", "--state-dir", read_only()]
    subprocess.run([sys.executable, "-m", "remanager", *words], check=True)
    copy = Store.open(tmp_path / "copy")
    try:
        assert copy.reads.settings() == {"n": 1}
    finally:
        copy.close()


def test_file_of_others_and_damage(state_dir: Path, tmp_path: Path) -> None:
    state_dir.mkdir()
    (state_dir / DATABASE_NAME).write_bytes(b"no database at all, but a text" * 100)
    done = CliRunner().invoke(backup, [str(tmp_path / "copy"), "--state-dir", str(state_dir)])
    assert done.exit_code == 5
    assert "cannot be copied: file is not a database" in done.output
    assert list((tmp_path / "copy").iterdir()) == []  # so that the next attempt is not refused
    (state_dir / DATABASE_NAME).unlink()
    with sqlite3.connect(state_dir / DATABASE_NAME) as connection:
        connection.execute("CREATE TABLE other (x)")
    connection.close()
    with pytest.raises(DatabaseUnusable):
        back_up(state_dir, tmp_path / "copy2")


def test_failure_amid_the_settings_leaves_nothing(store: Store, state_dir: Path, tmp_path: Path) -> None:
    (state_dir / "server.key").write_text("key")
    (state_dir / "keys.json").mkdir()
    with pytest.raises(IsADirectoryError):
        back_up(state_dir, tmp_path / "copy")
    assert list((tmp_path / "copy").iterdir()) == []


def test_command_says_what_it_did(store: Store, state_dir: Path, tmp_path: Path) -> None:
    _note(store, 1).result(20)
    done = CliRunner().invoke(backup, [str(tmp_path / "copy"), "--state-dir", str(state_dir)])
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"{state_dir} was copied to {tmp_path / 'copy'}: 0.")
