"""Opening: the lock, refusals, and what is there after a crash."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from remanager.store import (
    DatabaseUnusable,
    JournalEvent,
    NetworkFileSystem,
    QueueEntryRow,
    SchemaTooNew,
    StateDirUnusable,
    Store,
    StoreInUse,
    filesystem,
    writes,
)
from remanager.store.lock import LOCK_NAME
from remanager.store.store import DATABASE_NAME


def test_reopening_keeps_everything(state_dir: Path) -> None:
    row = QueueEntryRow("u", 1, "plan", "count", "user", "primary", "{}")
    store = Store.open(state_dir)
    event = JournalEvent("added", 1.0)
    assert (
        store.submit([writes.queue_insert([row], 1.0), writes.setting_set("a", 1)], [event]).result(20) == 1
    )
    store.close()
    store.close()
    store = Store.open(state_dir)
    try:
        assert store.reads.queue() == [row]
        assert store.reads.settings() == {"a": 1}
        assert store.submit([], [event]).result(20) == 2
    finally:
        store.close()


def test_files_are_private(store: Store, state_dir: Path) -> None:
    store.submit([writes.setting_set("a", 1)]).result(20)
    assert state_dir.stat().st_mode & 0o777 == 0o700
    names = {path.name for path in state_dir.iterdir()}
    assert {DATABASE_NAME, f"{DATABASE_NAME}-wal", LOCK_NAME} <= names
    assert all(path.stat().st_mode & 0o077 == 0 for path in state_dir.iterdir())


def test_commits_are_synchronous(store: Store) -> None:
    connection = store._writer._connection
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


# ------------------------------------------------------------------------------------------ lock

OPEN = """
import sys
from pathlib import Path
from remanager.store import Store, StoreInUse
try:
    Store.open(Path(sys.argv[1])).close()
    print("opened")
except StoreInUse as exc:
    print(exc)
"""


def open_elsewhere(state_dir: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(state_dir)], capture_output=True, text=True, check=True, timeout=40
    )
    return done.stdout.strip()


def test_second_process_is_refused(state_dir: Path) -> None:
    store = Store.open(state_dir)
    try:
        said = open_elsewhere(state_dir)
        assert f"in use by another manager (process {os.getpid()} on " in said
        assert "Stop that manager first" in said
        with pytest.raises(StoreInUse):
            Store.open(state_dir)
    finally:
        store.close()
    assert open_elsewhere(state_dir) == "opened"


def test_refusal_without_readable_holder(store: Store, state_dir: Path) -> None:
    (state_dir / LOCK_NAME).write_text("[]")
    with pytest.raises(StoreInUse, match=r"in use by another manager\. Stop"):
        Store.open(state_dir)


def test_child_process_does_not_keep_the_lock(state_dir: Path) -> None:
    store = Store.open(state_dir)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False) as child:
        store.close()
        Store.open(state_dir).close()
        assert child.poll() is None


# ------------------------------------------------------------------------------------------ refusals


def test_network_file_system(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mountinfo = state_dir.parent / "mountinfo"
    mountinfo.write_text("1 0 0:1 / / rw - nfs4 server:/ rw\n")
    monkeypatch.setattr(filesystem, "MOUNTINFO", mountinfo)
    with pytest.raises(NetworkFileSystem):
        Store.open(state_dir)
    Store.open(state_dir, allow_network_fs=True).close()


def test_schema_of_a_newer_release(state_dir: Path) -> None:
    Store.open(state_dir).close()
    with closing(sqlite3.connect(state_dir / DATABASE_NAME)) as connection:
        connection.execute("PRAGMA user_version = 9999")
    with pytest.raises(SchemaTooNew, match="9999"):
        Store.open(state_dir)
    with pytest.raises(SchemaTooNew):  # the lock was given up
        Store.open(state_dir)


def test_an_empty_file_is_told(state_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    Store.open(state_dir).close()
    assert caplog.text == ""
    os.truncate(state_dir / DATABASE_NAME, 0)
    Store.open(state_dir).close()
    assert "has 0 bytes: the daemon starts empty" in caplog.text


@pytest.mark.parametrize("content", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_damaged_database(state_dir: Path, content: bytes) -> None:
    state_dir.mkdir()
    (state_dir / DATABASE_NAME).write_bytes(content)
    with pytest.raises(DatabaseUnusable, match=r"is damaged .* restore a backup"):
        Store.open(state_dir)
    assert (state_dir / DATABASE_NAME).read_bytes() == content


def test_database_of_another_application(state_dir: Path) -> None:
    state_dir.mkdir()
    with closing(sqlite3.connect(state_dir / DATABASE_NAME)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(DatabaseUnusable, match="not made by remanager"):
        Store.open(state_dir)
    with closing(sqlite3.connect(state_dir / DATABASE_NAME)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_state_dir_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateDirUnusable, match="cannot be created"):
        Store.open(tmp_path / "file" / "state")
    (tmp_path / "a" / LOCK_NAME).mkdir(parents=True)
    with pytest.raises(StateDirUnusable, match="is not writable"):
        Store.open(tmp_path / "a")
    (tmp_path / "b" / DATABASE_NAME).mkdir(parents=True)
    with pytest.raises(StateDirUnusable, match="cannot be written"):
        Store.open(tmp_path / "b")


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind the superuser")
def test_read_only_state_dir(state_dir: Path) -> None:
    state_dir.mkdir(mode=0o500)
    with pytest.raises(StateDirUnusable, match="is not writable"):
        Store.open(state_dir)


# ------------------------------------------------------------------------------------------ crash

WRITER = """
import asyncio, itertools, sys
from pathlib import Path
from remanager.model.states import TaskState
from remanager.store import JournalEvent, QueueEntryRow, Store, writes

store = Store.open(Path(sys.argv[1]))
ranks = itertools.count(len(store.reads.queue()))

async def add(k):
    for n in itertools.count():
        uid = f"{sys.argv[2]}-{k}-{n}"
        rows = [QueueEntryRow(uid, next(ranks), "plan", "count", "u", "g", "x" * 300)]
        seq = await store.commit([writes.queue_insert(rows, 1.0), writes.setting_set("last", uid)],
                                 [JournalEvent("added", 1.0, uid)])
        sys.stdout.write(f"{uid} {seq}\\n")
        sys.stdout.flush()

async def main():
    await asyncio.gather(*(add(k) for k in range(4)))

asyncio.run(main())
"""


def test_acknowledged_writes_survive_sigkill(state_dir: Path) -> None:
    acknowledged: dict[str, int] = {}
    for life in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(state_dir), str(life)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(50 + 100 * life)]
            child.send_signal(signal.SIGKILL)
            lines += child.stdout.readlines()
        acknowledged |= {
            uid: int(seq) for uid, seq in (line.split() for line in lines if line.endswith("\n"))
        }
    store = Store.open(state_dir)
    try:
        assert store._writer._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        queued = {row.task_uid for row in store.reads.queue()}
        events = {event.task_uid: event.seq for event in store.reads.events(0, 1_000_000)}
        assert acknowledged.items() <= events.items()
        assert events.keys() == queued  # a row and its event come together
        assert len(acknowledged) >= 450
    finally:
        store.close()
