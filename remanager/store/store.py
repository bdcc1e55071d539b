"""The store: one SQLite file in the state directory, one writer, any number of readers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

from remanager.model.errors import StorageError
from remanager.model.json_text import dumps
from remanager.model.selector import Selector
from remanager.store import writes as make
from remanager.store.archive import Archive
from remanager.store.ended import EndedStates
from remanager.store.errors import DatabaseUnusable, StateDirUnusable
from remanager.store.filesystem import has_room, prepare_directory, refuse_network_filesystem
from remanager.store.lock import InstanceLock
from remanager.store.log_file import LOG_PAGES, check_log, extend_log
from remanager.store.migrate import check_database, load_migrations, migrate
from remanager.store.pool import ReadPool
from remanager.store.prompt import PromptFuture
from remanager.store.reads import Reads
from remanager.store.records import JournalEvent, Retention, Write
from remanager.store.retention import Pruned, Victim, due, oldest, prunable, retire
from remanager.store.selection import Conditions
from remanager.store.statements import query
from remanager.store.task_writes import tasks_delete
from remanager.store.writer import EventColumns, Submission, Writer

logger = logging.getLogger(__name__)

T = TypeVar("T")

DATABASE_NAME = "remanager.sqlite"

OLDEST_SQLITE = (3, 37, 0)  # STRICT tables
_BUSY_TIMEOUT_S = 5.0
_WRITER_PRAGMAS = (
    "PRAGMA synchronous = FULL",
    f"PRAGMA wal_autocheckpoint = {LOG_PAGES}",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA cache_size = -8000",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA secure_delete = OFF",
)


class Store:
    """The manager's memory on disk. Made by :meth:`open`.

    Attributes
    ----------
    reads : Reads
        Quick reads for the thread of the event loop. They see what is committed, at once.
    ended : EndedStates
        States of ended tasks that need no read; for the thread of the event loop.
    """

    def __init__(
        self,
        lock: InstanceLock,
        writer: Writer,
        reads: Reads,
        pool: ReadPool,
        cleanup: contextlib.ExitStack,
    ) -> None:
        self.reads = reads
        self.ended = EndedStates()
        self._lock = lock
        self._writer = writer
        self._pool = pool
        self._cleanup = cleanup
        self._putting_away = asyncio.Lock()  # two at once would archive, and count, the same tasks

    @classmethod
    def open(
        cls,
        state_dir: Path,
        *,
        on_failure: Callable[[BaseException], None] | None = None,
        on_room: Callable[[bool], None] = lambda _has_room: None,
        allow_network_fs: bool = False,
    ) -> Store:
        """Open the store of a state directory; create what is missing.

        Parameters
        ----------
        state_dir : Path
            Created with mode 0700 unless it exists.
        on_failure : callable or None
            Called once, in the writer thread, when a commit fails (disk full, I/O error). The store takes no
            more writes then; what was acknowledged is on disk.
        on_room : callable
            Called in the writer thread with False if the disk is full at the start, and with True when there
            is room again. Meanwhile writes wait.
        allow_network_fs : bool
            Do not refuse a network file system. SQLite is not safe there unless it is certain that only one
            machine uses the directory and that the server really keeps what it confirms.

        Raises
        ------
        StoreInUse, NetworkFileSystem, StateDirUnusable, SchemaTooNew, DatabaseUnusable
            See :mod:`remanager.store.errors`; all are ``StorageError``.
        """
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise StorageError(f"SQLite {sqlite3.sqlite_version} is too old; 3.37 or later is needed")
        prepare_directory(state_dir)
        if not allow_network_fs:
            refuse_network_filesystem(state_dir)
        path = (state_dir / DATABASE_NAME).absolute()
        with contextlib.ExitStack() as stack:
            lock = InstanceLock(state_dir)
            stack.callback(lock.release)
            try:
                connection = _connect_writer(path, stack)
                reads = Reads(_connect_reader(path))
                stack.callback(reads.connection.close)
                (last_seq,) = reads.connection.execute(query("event_last_seq")).fetchone()
            except (sqlite3.Error, OSError) as exc:
                raise _translate(exc, path) from exc
            pool = ReadPool(lambda: _connect_reader(path))
            stack.callback(pool.close)
            prepare = partial(extend_log, path)
            writer = Writer(
                connection,
                last_seq=last_seq,
                prepare=prepare,
                has_room=partial(has_room, state_dir),
                on_room=on_room,
                on_failure=on_failure,
            )
            stack.callback(writer.close)
            return cls(lock, writer, reads, pool, stack.pop_all())

    def tell(self, **facts: str) -> None:
        """Write into the lock file what people want to know of who uses the state directory."""
        self._lock.tell(**facts)

    def submit(self, writes: Sequence[Write], events: Sequence[JournalEvent] = ()) -> Future[int]:
        """Hand over writes and their journal events: all are stored together, or none.

        Returns
        -------
        Future of int
            Resolved after the commit with the ``seq`` of the last event of the journal. It fails with
            ``WriteRejected`` or ``StaleWrite`` if this submission is at fault, with ``StoreFailed`` if the
            database is. It cannot be cancelled.

        Raises
        ------
        StoreFailed
            The store takes no more writes.
        TypeError, ValueError
            The data of an event cannot be represented in JSON.
        """
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()
        self._writer.put(Submission(writes, _event_columns(events), future))
        return future

    def enqueue(self, writes: Sequence[Write], events: Sequence[JournalEvent] = ()) -> asyncio.Future[int]:
        """Hand over writes like :meth:`submit`; the future belongs to the running event loop.

        Who waits for it is woken as soon as the loop hears of the commit.
        """
        loop = asyncio.get_running_loop()
        future: PromptFuture[int] = PromptFuture(loop=loop)
        self._writer.put(Submission(writes, _event_columns(events), future, loop))
        return future

    async def commit(self, writes: Sequence[Write], events: Sequence[JournalEvent] = ()) -> int:
        """Store writes and their journal events and wait until they are on disk.

        The awaitable form of :meth:`submit`, with the same errors. Cancelling it does not undo the write.
        """
        return await self.enqueue(writes, events)

    async def read_heavy(self, fn: Callable[[Reads], T]) -> T:
        """Call ``fn`` with reads of one snapshot in another thread: for what takes milliseconds or more."""
        return await self._pool.run(fn)

    async def purge(
        self, now: float, retention: Retention, *, chunk: int = 500, archive: Archive | None = None
    ) -> int:
        """Drop everything older than its retention, in short transactions between those of others.

        Parameters
        ----------
        now : float
            Epoch seconds.
        chunk : int
            Most rows of a kind in one transaction.
        archive : Archive or None
            Takes the tasks before they are deleted. If it cannot, they stay and the error is raised.

        Returns
        -------
        int
            Number of transactions that were needed; 0 if nothing was due.
        """
        rounds = 0
        while self.reads.purge_due(now, retention):
            await self.commit(make.purge(now, retention, chunk))
            rounds += 1
        async with self._putting_away:
            while await self._put_away(lambda reads: due(reads, now, retention, chunk), archive):
                rounds += 1
        return rounds

    async def prune(
        self,
        selector: Selector,
        now: float,
        *,
        keep: int | None = None,
        max_age_s: float | None = None,
        archive: Archive | None = None,
        dry_run: bool = False,
        chunk: int = 500,
    ) -> Pruned:
        """Delete selected tasks that have ended and are not in the plan history, the oldest ends first.

        Parameters
        ----------
        keep : int or None
            So many of them stay, those that ended last.
        max_age_s : float or None
            Only those that ended so long ago, s.
        archive : Archive or None
            Takes them before they are deleted.
        dry_run : bool
            Only tell how many it would be.
        """

        def count(reads: Reads) -> tuple[Conditions, int]:
            return prunable(reads, selector, now, keep=keep, max_age_s=max_age_s)

        deleted, last = 0, None
        if dry_run:
            _, deleted = await self.read_heavy(count)
            return Pruned(deleted, deleted if archive is not None else 0)
        async with self._putting_away:
            made, number = await self.read_heavy(count)
            while deleted < number:
                room = min(chunk, number - deleted)
                find = partial(oldest, made=made, where="true", limit=room, after=last)
                victims = await self._put_away(find, archive)
                if not victims:
                    break
                deleted += len(victims)
                last = victims[-1]
        return Pruned(deleted, deleted if archive is not None else 0)

    async def _put_away(self, find: Callable[[Reads], list[Victim]], archive: Archive | None) -> list[Victim]:
        """Find ended tasks, archive and delete them; return them."""

        def archived(reads: Reads) -> list[Victim]:
            victims = find(reads)
            if archive is not None:
                retire(reads, victims, archive)
            return victims

        victims = await self.read_heavy(archived)
        if victims:
            await self._delete([victim.task_uid for victim in victims])
        return victims

    async def _delete(self, uids: Sequence[str]) -> None:
        """Delete ended tasks."""
        deletion = self.enqueue([tasks_delete(uids)])
        deletion.add_done_callback(lambda _: self.ended.forget(uids))
        await asyncio.shield(deletion)  # a cancelled future would call back before the commit

    def close(self) -> None:
        """Commit what waits, write the log back into the database file and give up the lock."""
        self._cleanup.close()


def _connect_writer(path: Path, stack: contextlib.ExitStack) -> sqlite3.Connection:
    check_log(path)
    if path.exists() and not path.stat().st_size:  # as a daemon leaves it that is killed at its first start
        logger.warning(
            "The database %s has 0 bytes: the daemon starts empty. If there was something, restore a backup",
            path,
        )
    # SQLite gives its other files the mode of the database file.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    stack.callback(connection.close)
    scripts = load_migrations()
    check_database(connection, len(scripts))
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StateDirUnusable(f"SQLite cannot use a write-ahead log in {str(path.parent)!r}")
    for pragma in _WRITER_PRAGMAS:
        connection.execute(pragma)
    migrate(connection, scripts)
    stack.callback(_checkpoint, connection)
    return connection


def _connect_reader(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.as_uri()}?mode=ro",
        uri=True,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )


def _checkpoint(connection: sqlite3.Connection) -> None:
    # Only a convenience: without it the next start reads the log.
    with contextlib.suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def damage(exc: BaseException, state_dir: Path) -> StorageError | None:
    """Return the error that tells the operator that a read found the database damaged; None if it is not."""
    found = _translate(exc, state_dir / DATABASE_NAME) if isinstance(exc, sqlite3.DatabaseError) else None
    return found if isinstance(found, DatabaseUnusable) else None


def _translate(exc: sqlite3.Error | OSError, path: Path) -> StorageError:
    """Return the error that tells the operator what to do."""
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CANTOPEN) & 0xFF
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return DatabaseUnusable(
            f"The database {str(path)!r} is damaged ({exc}); 'remanager doctor' says more. Move the state "
            "directory away and restore a backup: what 'remanager backup' made takes its place. Without "
            "one the daemon starts empty."
        )
    if code == sqlite3.SQLITE_IOERR and not has_room(path.parent):
        return StateDirUnusable(f"The database {str(path)!r} cannot be opened: its disk is full. Make room.")
    if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_FULL}:
        return StateDirUnusable(
            f"The database {str(path)!r} cannot be written: {exc}. Correct the permissions, free disk "
            f"space or choose another directory with --state-dir."
        )
    return StorageError(f"The database {str(path)!r} cannot be opened: {exc}")


def _event_columns(events: Sequence[JournalEvent]) -> list[EventColumns]:
    # Encoded here, not in the writer: the caller may change its data afterwards. Many may share theirs.
    texts: dict[int, str] = {}
    columns: list[EventColumns] = []
    for event in events:
        text = texts.get(id(event.data))
        if text is None:
            text = texts[id(event.data)] = _event_text(event.data)
        columns.append((event.time, event.type, event.task_uid, text))
    return columns


def _event_text(data: Mapping[str, object]) -> str:
    if len(data) == 1:
        ((key, value),) = data.items()
        if isinstance(value, str):
            return _member_text(key, value)
    return dumps(dict(data))


@lru_cache(maxsize=1000)
def _member_text(key: str, value: str) -> str:
    """Most events only say who asked."""
    return dumps({key: value})
