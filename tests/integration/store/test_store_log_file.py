"""The log is extended before it is needed, and that never shows in what is stored."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from remanager.store import DatabaseUnusable, JournalEvent, Store, log_file, writes
from remanager.store.log_file import LOG_BYTES, extend_log
from remanager.store.store import DATABASE_NAME


def log_of(state_dir: Path) -> Path:
    return state_dir / f"{DATABASE_NAME}-wal"


def put(store: Store, number: int) -> None:
    store.submit([writes.setting_set("n", number)], [JournalEvent("noted", 1.0)]).result(20)


def test_the_log_is_extended_at_each_start(state_dir: Path) -> None:
    for life in range(3):
        with closing(Store.open(state_dir)) as store:
            put(store, life)
            assert log_of(state_dir).stat().st_size == LOG_BYTES
            assert store.reads.settings() == {"n": life}
        assert not log_of(state_dir).exists()


def test_a_log_stays_as_long_as_it_is(state_dir: Path) -> None:
    """A checkpoint starts the log again from its beginning, in the same blocks."""
    with closing(Store.open(state_dir)) as store:
        for number in range(500):
            put(store, number)
        assert log_of(state_dir).stat().st_size == LOG_BYTES
        assert [event.seq for event in store.reads.events(0, 1000)] == list(range(1, 501))


CRASH = """
import os, sys
from pathlib import Path
from remanager.store import JournalEvent, Store, writes
store = Store.open(Path(sys.argv[1]))
for n in range(20):
    store.submit([writes.setting_set("n", n)], [JournalEvent("noted", 1.0)]).result(20)
os._exit(1)
"""


@pytest.mark.parametrize("shorter_by", [0, LOG_BYTES // 2])
def test_the_log_of_a_crash_is_read_and_extended_again(state_dir: Path, shorter_by: int) -> None:
    for crashes in range(1, 3):
        crash(state_dir)
        os.truncate(log_of(state_dir), LOG_BYTES - shorter_by)
        with closing(sqlite3.connect(state_dir / DATABASE_NAME)) as connection:
            assert connection.execute("SELECT COUNT(*) FROM event").fetchone() == (20 * crashes,)
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with closing(Store.open(state_dir)) as store:
        assert store.reads.settings() == {"n": 19}
        put(store, 20)
        assert log_of(state_dir).stat().st_size == LOG_BYTES


def crash(state_dir: Path) -> None:
    subprocess.run([sys.executable, "-c", CRASH, str(state_dir)], check=False, timeout=60)


@pytest.mark.parametrize("content", [b"no log at all " * 1000, b"\x37\x7f\x06\x82" + b"x" * 5000])
def test_a_damaged_log_is_refused(state_dir: Path, content: bytes) -> None:
    """SQLite would take it for empty: the latest changes would be gone without a word."""
    crash(state_dir)
    log_of(state_dir).write_bytes(content)
    with pytest.raises(DatabaseUnusable, match=r"log .* is damaged: .* Restore a backup"):
        Store.open(state_dir)
    assert log_of(state_dir).read_bytes() == content


@pytest.mark.parametrize("is_there", [False, True])
def test_a_log_without_its_database_is_refused(state_dir: Path, is_there: bool) -> None:
    """SQLite would delete it."""
    crash(state_dir)
    (state_dir / DATABASE_NAME).unlink()
    if is_there:
        (state_dir / DATABASE_NAME).touch()
    with pytest.raises(DatabaseUnusable, match="missing or empty, but there is its log"):
        Store.open(state_dir)
    assert log_of(state_dir).stat().st_size
    log_of(state_dir).unlink()
    Store.open(state_dir).close()


@pytest.mark.parametrize("content", [b"", bytes(10), bytes(LOG_BYTES), b"\x37\x7f"])
def test_a_log_to_which_nothing_was_written(state_dir: Path, content: bytes) -> None:
    with closing(Store.open(state_dir)) as store:
        put(store, 1)
    log_of(state_dir).write_bytes(content)
    with closing(Store.open(state_dir)) as store:
        assert store.reads.settings() == {"n": 1}


def full(real: Callable[..., int], *args: Any) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def half(real: Callable[..., int], descriptor: int, data: bytes, offset: int) -> int:
    return real(descriptor, data[: len(data) // 2], offset)


@pytest.mark.parametrize("written", [full, half])
def test_a_full_disk_is_not_made_fuller(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch, written: Callable[..., int]
) -> None:
    real = os.pwrite
    monkeypatch.setattr(log_file.os, "pwrite", lambda *args: written(real, *args))
    with closing(Store.open(state_dir)) as store:
        put(store, 1)
        assert log_of(state_dir).stat().st_size < LOG_BYTES // 2
        assert store.reads.settings() == {"n": 1}


def test_without_a_log_nothing_is_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    extend_log(tmp_path / "database")
    assert list(tmp_path.iterdir()) == []
    assert "cannot be extended" in caplog.text
