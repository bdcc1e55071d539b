"""Group commit, order, isolation of bad submissions, fail-stop."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import closing, contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest

from remanager.model.errors import StorageError
from remanager.model.states import TaskState
from remanager.store import (
    JournalEvent,
    QueueEntryRow,
    StaleWrite,
    Store,
    StoreFailed,
    Write,
    WriteRejected,
    writes,
)
from remanager.store.store import DATABASE_NAME


def entry(uid: str, rank: int, body: str = "{}") -> QueueEntryRow:
    return QueueEntryRow(uid, rank, "plan", "count", "user", "primary", body)


@contextmanager
def held_database(state_dir: Path) -> Iterator[sqlite3.Connection]:
    """Keep the writer waiting in BEGIN, so that submissions gather in one group."""
    with closing(sqlite3.connect(state_dir / DATABASE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other
        if other.in_transaction:
            other.execute("COMMIT")


def test_events_are_numbered_in_order(store: Store) -> None:
    futures = [
        store.submit(
            [writes.queue_insert([entry(f"u{n}", n)], 1.0)],
            [JournalEvent("added", float(n), f"u{n}", {"n": n}), JournalEvent("changed", float(n))],
        )
        for n in range(200)
    ]
    assert [future.result(20) for future in futures] == [2 * n + 2 for n in range(200)]
    assert [row.task_uid for row in store.reads.queue()] == [f"u{n}" for n in range(200)]
    events = store.reads.events(since=100, limit=2)
    assert [(e.seq, e.type, e.task_uid, e.data) for e in events] == [
        (101, "added", "u50", '{"n": 50}'),
        (102, "changed", None, "{}"),
    ]
    assert store.reads.event_bounds() == (1, 400)


def test_submission_without_events_returns_the_last_seq(store: Store) -> None:
    assert store.submit([writes.setting_set("a", 1)]).result(20) == 0
    assert store.submit([], [JournalEvent("x", 1.0)]).result(20) == 1
    assert store.submit([writes.setting_set("a", 2)]).result(20) == 1
    nothing = [writes.queue_remove([], TaskState.CANCELLED, 1.0), writes.queue_insert([], 1.0)]
    assert store.submit(nothing).result(20) == 1


def test_event_data_is_taken_at_submission(store: Store, state_dir: Path) -> None:
    data = {"n": 1}
    with held_database(state_dir):
        future = store.submit([], [JournalEvent("x", 1.0, data=data)])
        data["n"] = 2
    future.result(20)
    assert store.reads.events(0, 10)[0].data == '{"n": 1}'
    with pytest.raises(TypeError):
        store.submit([], [JournalEvent("x", 1.0, data={"n": object()})])


BAD: list[tuple[list[Write], type[Exception]]] = [
    ([writes.queue_insert([entry("good-0", 77)], 1.0)], WriteRejected),  # the uid exists
    ([writes.queue_insert([entry("new", 0)], 1.0)], WriteRejected),  # the rank is taken
    ([writes.setting_set("half", 1), writes.queue_insert([entry("new", 1 << 70)], 1.0)], WriteRejected),
    ([writes.setting_set("half", 1), Write("no_such_statement")], WriteRejected),
    ([writes.setting_set("half", 1), Write("setting_set", {"key": "half"})], WriteRejected),
    (
        [writes.setting_set("half", 1), Write("setting_set", {"key": "half", "value": object()})],
        WriteRejected,
    ),
    ([writes.queue_insert([entry("new", 50, "\ud800")], 1.0)], WriteRejected),
    ([writes.setting_set("half", 1), writes.task_start("unknown", time=1.0, worker_uid=None)], StaleWrite),
    ([writes.queue_rank([("good-0", 9), ("unknown", 10)])], StaleWrite),
]


@pytest.mark.parametrize(("bad", "error"), BAD)
def test_bad_submission_fails_alone(
    store: Store, state_dir: Path, bad: list[Write], error: type[Exception]
) -> None:
    event = JournalEvent("x", 1.0)
    with held_database(state_dir):
        first = store.submit([], [event])  # the writer waits with this one
        good = [store.submit([writes.queue_insert([entry(f"good-{n}", n)], 1.0)], [event]) for n in range(3)]
        refused = store.submit(bad, [event])
        good += [store.submit([writes.queue_insert([entry(f"good-{n}", n)], 1.0)], [event]) for n in (3, 4)]
    with pytest.raises(error):
        refused.result(20)
    assert first.result(20) == 1
    assert [future.result(20) for future in good] == [2, 3, 4, 5, 6]
    assert [(row.task_uid, row.queue_rank) for row in store.reads.queue()] == [
        (f"good-{n}", n) for n in range(5)
    ]
    assert store.reads.settings() == {}
    # Alone in its group it fails in the same way.
    with pytest.raises(error):
        store.submit(bad, [event]).result(20)
    assert store.submit([], [event]).result(20) == 7


async def test_commit_many_at_once(store: Store) -> None:
    async def add(n: int) -> int:
        return await store.commit([writes.queue_insert([entry(f"u{n}", n)], 1.0)], [JournalEvent("a", 1.0)])

    seqs = await asyncio.gather(*(add(n) for n in range(500)))
    assert seqs == list(range(1, 501))
    assert len(store.reads.queue()) == 500


async def test_cancelled_commit_is_still_stored(store: Store, state_dir: Path) -> None:
    with held_database(state_dir):
        task = asyncio.create_task(store.commit([writes.setting_set("a", 1)]))
        await asyncio.wait([task], timeout=0)
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    await store.commit([])
    assert store.reads.settings() == {"a": 1}


def test_waiter_of_a_closed_loop_is_forgotten(store: Store, state_dir: Path) -> None:
    async def main() -> None:
        task = asyncio.create_task(store.commit([writes.setting_set("a", 1)]))
        await asyncio.wait([task], timeout=0)

    with held_database(state_dir):
        asyncio.run(main())
    store.submit([]).result(20)
    assert store.reads.settings() == {"a": 1}


def test_submissions_of_many_threads(store: Store) -> None:
    futures: list[Future[int]] = []

    def add(k: int) -> None:
        for n in range(50):
            futures.append(store.submit([writes.setting_set(f"{k}-{n}", n)], [JournalEvent("x", 1.0)]))

    threads = [threading.Thread(target=add, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait(futures, timeout=20)
    assert sorted(future.result(0) for future in futures) == list(range(1, 201))


class Failures:
    """Records the call of ``on_failure``."""

    def __init__(self) -> None:
        self.causes: list[BaseException] = []
        self.called = threading.Event()

    def __call__(self, cause: BaseException) -> None:
        self.causes.append(cause)
        self.called.set()


def test_full_disk_stops_the_store(state_dir: Path) -> None:
    failures = Failures()
    store = Store.open(state_dir, on_failure=failures)
    try:
        store.submit([writes.setting_set("before", 1)], [JournalEvent("x", 1.0)]).result(20)
        connection = store._writer._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with held_database(state_dir):
            small = store.submit([writes.setting_set("small", 1)])
            large = store.submit([writes.setting_set("large", "x" * 1_000_000)])
            after = store.submit([writes.setting_set("after", 1)])
        small.exception(20)  # in the group of the large one or before it
        for future in (large, after):
            assert isinstance(future.exception(20), StoreFailed)
        assert failures.called.wait(20)
        with pytest.raises(StoreFailed, match="full"):
            store.submit([])
        assert len(failures.causes) == 1
        acknowledged = small.exception(0) is None
        assert store.reads.settings() == ({"before": 1, "small": 1} if acknowledged else {"before": 1})
    finally:
        store.close()
    with closing_store(state_dir) as store:
        assert store.submit([], [JournalEvent("x", 1.0)]).result(20) == 2


def test_disk_that_is_full_at_the_start(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is handed over waits until there is room, in its order."""
    has_room = threading.Event()
    told: SimpleQueue[bool] = SimpleQueue()
    monkeypatch.setattr("remanager.store.store.has_room", lambda _directory: has_room.is_set())
    monkeypatch.setattr("remanager.store.writer.RETRY_S", 0.01)
    store = Store.open(state_dir, on_room=told.put)
    try:
        assert told.get(timeout=20) is False
        store.submit([writes.setting_set("a", 1)], [JournalEvent("x", 1.0)]).result(20)  # it still fits
        connection = store._writer._connection
        connection.execute("PRAGMA max_page_count = 1")
        large = store.submit([writes.setting_set("large", "x" * 1_000_000)], [JournalEvent("x", 1.0)])
        after = store.submit([], [JournalEvent("x", 1.0)])
        with pytest.raises(TimeoutError):
            large.result(0.1)
        connection.execute("PRAGMA max_page_count = 1000000")
        assert (large.result(20), after.result(20)) == (2, 3)
        has_room.set()
        assert told.get(timeout=20) is True
    finally:
        store.close()


def test_closing_a_store_on_a_full_disk(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remanager.store.store.has_room", lambda _directory: False)
    store = Store.open(state_dir)
    store._writer._connection.execute("PRAGMA max_page_count = 1")
    large = store.submit([writes.setting_set("large", "x" * 1_000_000)])
    store.close()
    assert isinstance(large.exception(20), StoreFailed)


def test_transaction_that_cannot_begin_stops_the_store(state_dir: Path) -> None:
    failures = Failures()
    with closing_store(state_dir, failures) as store:
        store._writer._connection.execute("PRAGMA busy_timeout = 1")
        with held_database(state_dir):
            error = store.submit([writes.setting_set("a", 1)]).exception(20)
            assert isinstance(error, StoreFailed)
            assert "locked" in str(error)
            assert failures.called.wait(20)
        with pytest.raises(StorageError):
            store.submit([])
        assert store.reads.settings() == {}


async def test_failure_reaches_coroutines(state_dir: Path) -> None:
    with closing_store(state_dir) as store:
        store._writer._connection.execute("PRAGMA busy_timeout = 1")
        with held_database(state_dir):
            results = await asyncio.gather(
                *(store.commit([writes.setting_set("a", n)]) for n in range(5)), return_exceptions=True
            )
        assert all(isinstance(result, StoreFailed) for result in results)
        with pytest.raises(StoreFailed):
            await store.commit([])


async def test_what_a_turn_of_the_loop_hands_over_is_one_group(store: Store) -> None:
    await store.commit([])
    commits: list[str] = []
    store._writer._connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)

    async def put(number: int) -> int:
        return await store.commit([writes.setting_set(str(number), number)], [JournalEvent("x", 1.0)])

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(put(number)) for number in range(50)]
    assert [task.result() for task in tasks] == list(range(1, 51))
    assert commits == ["COMMIT"]
    store._writer._connection.set_trace_callback(None)


async def test_close_commits_what_was_handed_over_in_the_same_turn(state_dir: Path) -> None:
    with closing_store(state_dir) as store:
        future = store.enqueue([writes.setting_set("a", 1)])
    assert await asyncio.wait_for(future, 20) == 0
    with closing_store(state_dir) as store:
        assert store.reads.settings() == {"a": 1}


async def test_a_failure_reaches_what_was_handed_over_in_the_same_turn(state_dir: Path) -> None:
    failures = Failures()
    with closing_store(state_dir, failures) as store:
        store._writer._connection.execute("PRAGMA busy_timeout = 1")
        with held_database(state_dir):
            store.submit([writes.setting_set("a", 1)])
            future = store.enqueue([writes.setting_set("b", 1)])
            assert failures.called.wait(20)  # the loop had no turn meanwhile
            with pytest.raises(StoreFailed):
                await asyncio.wait_for(future, 20)
            with pytest.raises(StoreFailed):
                store.enqueue([])


def test_close_commits_what_waits_then_refuses(state_dir: Path) -> None:
    with closing_store(state_dir) as store, held_database(state_dir):
        futures = [store.submit([writes.setting_set(str(n), n)]) for n in range(20)]
    assert all(future.result(0) == 0 for future in futures)
    with pytest.raises(StoreFailed, match="closed"):
        store.submit([])
    assert not (state_dir / f"{DATABASE_NAME}-wal").exists()
    with closing_store(state_dir) as store:
        assert len(store.reads.settings()) == 20


@contextmanager
def closing_store(state_dir: Path, on_failure: Failures | None = None) -> Iterator[Store]:
    store = Store.open(state_dir, on_failure=on_failure)
    try:
        yield store
    finally:
        store.close()
