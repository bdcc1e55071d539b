"""The writer thread: the only one that changes the database.

It takes all submissions that wait, runs them in one transaction and commits once for all of them (group
commit). A bad submission fails alone: the group runs again with savepoints. A failure of the transaction
itself stops the writer for good: what was not acknowledged is refused, and the owner is told.

What an event loop hands over in one turn comes to the writer together at the end of the turn. It is one
group, and the writer does not begin while the loop is busy: the two would only take turns at the interpreter
lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from remanager.model.errors import RemanagerError
from remanager.store.errors import StaleWrite, StoreFailed, WriteRejected
from remanager.store.records import Kind, Write
from remanager.store.statements import STATEMENTS, of_rows, query

EventColumns = tuple[float, str, str | None, str]

RETRY_S = 1.0
"""How often a writer on a full disk looks whether there is room again."""

MAX_GROUP = 1000
"""Submissions in one transaction; the last turn of a loop may add more."""

EVENTS_AT_ONCE = 25
"""Most journal events in one statement.

Each step of a statement gives up the interpreter lock and must get it back from the event loop: with one
statement for many events the writer waits once.
"""


@dataclass(slots=True)
class Submission:
    """Writes and journal events that are stored together or not at all.

    Attributes
    ----------
    events : list of tuple
        Columns of the journal's table without ``seq``.
    future : Future
        Resolved after the commit with the ``seq`` of the last event of the journal.
    loop : asyncio.AbstractEventLoop or None
        The loop of an asyncio future; None for a ``concurrent.futures`` one.
    """

    writes: Sequence[Write]
    events: list[EventColumns]
    future: Future[int] | asyncio.Future[int]
    loop: asyncio.AbstractEventLoop | None = None
    seq: int = 0
    error: RemanagerError | None = None

    def settle(self) -> None:
        """Resolve the future with the outcome."""
        if self.future.done():  # its waiter was cancelled
            return
        if self.error is None:
            self.future.set_result(self.seq)
        else:
            self.future.set_exception(self.error)


class Writer:
    """Runs submissions in a thread of its own.

    Parameters
    ----------
    connection : sqlite3.Connection
        In autocommit mode; used by the writer alone until :meth:`close` returns.
    last_seq : int
        ``seq`` of the last event of the journal.
    prepare : callable
        Called in the writer thread before the first commit.
    has_room : callable
        Tells whether the disk has room. A writer that begins without keeps what the disk does not take until
        there is some; one that runs out of it later fails, since what it was told of may be undone only by a
        new start.
    on_room : callable
        Called in the writer thread with False if there is no room at the beginning, and with True when there
        is some again.
    on_failure : callable or None
        Called once, in the writer thread, with the exception that stopped it.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        last_seq: int,
        prepare: Callable[[], None] = lambda: None,
        has_room: Callable[[], bool] = lambda: True,
        on_room: Callable[[bool], None] = lambda _has_room: None,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._last_seq = last_seq
        self._prepare = prepare
        self._has_room = has_room
        self._on_room = on_room
        self._is_short = False
        self._stopped = threading.Event()
        self._on_failure = on_failure
        self._waiting: SimpleQueue[list[Submission] | None] = SimpleQueue()
        self._turn: list[Submission] = []
        self._gate = threading.Lock()  # nothing enters queue or turn after the writer refuses
        self._refusal: str | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def put(self, submission: Submission) -> None:
        """Hand over a submission; its future is resolved after the commit.

        Raises
        ------
        StoreFailed
            The writer takes no more submissions.
        """
        with self._gate:
            if self._refusal is not None:
                raise StoreFailed(self._refusal)
            if submission.loop is None:
                self._waiting.put([submission])
                return
            if not self._turn:
                submission.loop.call_soon(self._end_turn)
            self._turn.append(submission)

    def _end_turn(self) -> None:
        with self._gate:
            self._pass_on()

    def _pass_on(self) -> None:
        """Give the writer thread what was handed over in this turn of the loop; the gate is held."""
        if self._turn:
            self._waiting.put(self._turn)
            self._turn = []

    def close(self) -> None:
        """Commit what waits, then end the thread."""
        with self._gate:
            if self._refusal is None:
                self._refusal = "The store is closed"
                self._pass_on()
                self._waiting.put(None)
        self._stopped.set()
        self._thread.join()

    # -------------------------------------------------------------------------------------- writer thread

    def _run(self) -> None:
        group: list[Submission] = []
        try:
            self._look_for_room()  # before a log is made longer, which is room, too
            self._prepare()
            while group := self._take():
                self._commit_when_possible(group)
                _deliver(group)
                group = []
        except BaseException as exc:
            self._fail(exc, group)
            if not isinstance(exc, sqlite3.Error):
                raise

    def _take(self) -> list[Submission]:
        """Wait for a submission; return all that wait. An empty list means that the writer was closed."""
        group: list[Submission] = []
        while not (group or self._closing):
            with contextlib.suppress(Empty):
                while not self._closing and len(group) < MAX_GROUP:
                    submissions = self._waiting.get(not group, RETRY_S if self._is_short else None)
                    if submissions is None:
                        self._closing = True
                    else:
                        group += submissions
            if self._is_short:
                self._look_for_room()
        return group

    def _look_for_room(self) -> None:
        is_short = not self._has_room()
        if is_short is not self._is_short:
            self._is_short = is_short
            self._on_room(not is_short)

    def _commit_when_possible(self, group: list[Submission]) -> None:
        """Commit a group; wait with it as long as the disk was full from the beginning on."""
        while True:
            last_seq = self._last_seq
            try:
                self._commit(group)
            except sqlite3.OperationalError as exc:
                if not self._is_short or exc.sqlite_errorcode != sqlite3.SQLITE_FULL:
                    raise
                self._connection.rollback()
                self._last_seq = last_seq
                if self._stopped.wait(RETRY_S):
                    raise
                self._look_for_room()
            else:
                return

    def _commit(self, group: list[Submission]) -> None:
        execute = self._cursor.execute
        execute("BEGIN IMMEDIATE")
        if self._apply(group):
            execute("COMMIT")
            return
        # One is bad, which is rare: only then does each get a savepoint of its own.
        execute("ROLLBACK")
        if len(group) > 1:
            self._commit_apart(group)

    def _commit_apart(self, group: list[Submission]) -> None:
        """Run the submissions so that each bad one fails alone; commit the others."""
        execute = self._cursor.execute
        execute("BEGIN IMMEDIATE")
        for submission in group:
            submission.error = None
            execute("SAVEPOINT submission")
            if not self._apply([submission]):
                execute("ROLLBACK TO submission")
            execute("RELEASE submission")
        execute("COMMIT")

    def _apply(self, group: list[Submission]) -> bool:
        """Run submissions; return False if they must be rolled back, with the error of the one at fault."""
        seq = self._last_seq
        events: list[object] = []
        tally: dict[Kind, int] = {}
        submission = group[0]
        try:
            for submission in group:
                for write in submission.writes:
                    self._write(write)
                    for kind in write.new:
                        tally[kind] = tally.get(kind, 0) + 1
                for event in submission.events:
                    seq += 1
                    events += (seq, *event)
                submission.seq = seq
            for start in range(0, len(events), EVENTS_AT_ONCE * 5):
                some = events[start : start + EVENTS_AT_ONCE * 5]
                self._cursor.execute(query(of_rows("event_insert", len(some) // 5)), some)
            if tally:
                self._cursor.executemany(query("tally_add"), [(*kind, n) for kind, n in tally.items()])
        except StaleWrite as exc:
            submission.error = exc
        except (sqlite3.Error, LookupError, TypeError, ValueError, OverflowError) as exc:
            if not _is_rejection(exc):
                raise
            submission.error = WriteRejected(f"The store refused a write: {exc}")
            submission.error.__cause__ = exc
        else:
            self._last_seq = seq
            return True
        return False

    def _write(self, write: Write) -> None:
        params = write.params
        many = not isinstance(params, Mapping)
        if many and not params:
            return
        for sql in STATEMENTS[write.statement]:
            if many:
                self._cursor.executemany(sql, params)
            else:
                self._cursor.execute(sql, params)
            changed = self._cursor.rowcount
            if write.expect is not None and changed != write.expect:
                raise StaleWrite(
                    f"The write {write.statement!r} found {changed} rows instead of {write.expect}"
                )

    def _fail(self, cause: BaseException, group: list[Submission]) -> None:
        """Refuse everything from now on; nothing of the open transaction is kept."""
        refusal = f"The store cannot write any more: {cause}"
        with self._gate:
            self._refusal = refusal
            self._pass_on()
        with contextlib.suppress(sqlite3.Error):
            self._connection.rollback()
        lost = list(group)
        with contextlib.suppress(Empty):
            while True:
                lost += self._waiting.get_nowait() or ()
        for submission in lost:
            submission.error = StoreFailed(refusal)
            submission.error.__cause__ = cause
        _deliver(lost)
        if self._on_failure is not None:
            self._on_failure(cause)


def _is_rejection(exc: Exception) -> bool:
    """Tell whether the fault lies in the submission and not in the database."""
    if isinstance(exc, sqlite3.OperationalError):
        return getattr(exc, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
    if isinstance(exc, sqlite3.Error):
        fault = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
        return isinstance(exc, fault)
    return True


def _deliver(group: list[Submission]) -> None:
    """Resolve the futures of a group: one wake-up for each event loop, not for each future."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Submission]] = {}
    for submission in group:
        if submission.loop is None:
            submission.settle()
        else:
            by_loop.setdefault(submission.loop, []).append(submission)
    for loop, submissions in by_loop.items():
        # A closed loop has no one left who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle_all, submissions)


def _settle_all(submissions: list[Submission]) -> None:
    for submission in submissions:
        submission.settle()
