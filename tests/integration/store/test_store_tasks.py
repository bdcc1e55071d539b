"""What the writes do to the queue, the tasks, the history and the rest."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remanager.model.states import TaskState, is_terminal
from remanager.store import (
    JournalEvent,
    NewTask,
    QueueEntryRow,
    Reads,
    Retention,
    StaleWrite,
    Store,
    WorkerRow,
    Write,
    writes,
)

COMPLETED = TaskState.COMPLETED


def entry(uid: str, rank: int) -> QueueEntryRow:
    return QueueEntryRow(uid, rank, "plan", "count", "user", "primary", f'{{"item_uid": "{uid}"}}')


def function(uid: str, **changes: Any) -> NewTask:
    task = NewTask(
        task_uid=uid, item_type="function", name="f", user="u", user_group="g", body="{}", time_created=1.0
    )
    return replace(task, **changes)


def do(store: Store, *made: Write) -> int:
    return store.submit(made).result(20)


def order(store: Store) -> list[str]:
    return [row.task_uid for row in store.reads.queue()]


def history(store: Store) -> list[str]:
    uids = [body[14:-2] for _, body, _ in store.reads.history_page()]
    assert store.reads.history_count() == len(uids)
    return uids


def run_plans(store: Store, uids: Sequence[str]) -> None:
    for uid in uids:
        do(
            store,
            writes.queue_insert([entry(uid, 0)], 1.0),
            writes.task_start(uid, time=2.0, worker_uid="w"),
            writes.task_finish(uid, state=COMPLETED, time_stop=3.0, result='{"a": 1}', in_history=True),
        )


# ------------------------------------------------------------------------------------------ queue


def test_queue_row_comes_back_as_it_was(store: Store) -> None:
    row = QueueEntryRow(
        "u", -(1 << 40), "instruction", "queue_stop", "me", "root", '{"a": NaN}', "o", '{"p": 1}'
    )
    do(store, writes.queue_insert([row], 12.5))
    assert store.reads.queue() == [row]
    task = store.reads.task_row("u")
    assert task is not None
    assert (task.state, task.time_created, task.time_stop, task.attempt) == (TaskState.PENDING, 12.5, None, 1)
    assert task.background is False
    assert task.success is None


def test_ranks_may_be_permuted(store: Store) -> None:
    do(store, writes.queue_insert([entry("a", 1), entry("b", 2), entry("c", 3)], 1.0))
    do(store, writes.queue_rank([("c", 0)]))
    assert order(store) == ["c", "a", "b"]
    do(store, writes.queue_rank([("a", 2), ("b", 0), ("c", 1)]))
    assert order(store) == ["b", "c", "a"]
    do(store, writes.queue_rank([]))


@given(st.permutations(range(6)), st.permutations(range(6)))
@settings(max_examples=25, deadline=None)
def test_any_permutation_of_ranks(first: list[int], second: list[int]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = Store.open(Path(directory))
        try:
            do(store, writes.queue_insert([entry(str(n), rank) for n, rank in enumerate(first)], 1.0))
            do(store, writes.queue_rank([(str(n), rank) for n, rank in enumerate(second)]))
            assert order(store) == [str(second.index(rank)) for rank in range(6)]
        finally:
            store.close()


def test_replace_in_place(store: Store) -> None:
    do(store, writes.queue_insert([entry("a", 1), entry("b", 2)], 1.0))
    changed = replace(entry("a", 1), name="scan", body='{"x": 1}', user="other")
    do(store, writes.queue_replace("a", changed, 5.0))
    assert store.reads.queue()[0] == changed
    row = store.reads.task_row("a")
    assert row is not None
    assert row.time_created == 1.0


def test_replace_by_a_new_task(store: Store) -> None:
    do(store, writes.queue_insert([entry("a", 1), entry("b", 2)], 1.0))
    new = replace(entry("c", 1), origin_uid="a")
    do(store, writes.queue_replace("a", new, 5.0))
    assert store.reads.queue() == [new, entry("b", 2)]
    row = store.reads.task_row("a")
    assert row is not None
    assert (row.state, row.time_stop, row.queue_rank) == (TaskState.SUPERSEDED, 5.0, None)
    with pytest.raises(StaleWrite):
        do(store, writes.queue_replace("a", entry("d", 9), 6.0))
    assert store.reads.task_row("d") is None


def test_remove_and_clear(store: Store) -> None:
    do(store, writes.queue_insert([entry(uid, n) for n, uid in enumerate("abcd")], 1.0))
    do(store, writes.queue_remove(["b", "c"], TaskState.CANCELLED, 2.0))
    assert order(store) == ["a", "d"]
    with pytest.raises(StaleWrite):
        do(store, writes.queue_remove(["a", "b"], TaskState.CANCELLED, 3.0))
    assert order(store) == ["a", "d"]
    do(store, writes.queue_clear(4.0))
    assert order(store) == []
    assert store.reads.task_states("abcdx") == dict.fromkeys("abcd", TaskState.CANCELLED)
    with pytest.raises(ValueError, match="not a terminal state"):
        writes.queue_remove(["a"], TaskState.RUNNING, 1.0)


# ------------------------------------------------------------------------------------------ tasks


def test_life_of_a_plan(store: Store) -> None:
    do(store, writes.queue_insert([entry("a", 1)], 1.0))
    do(store, writes.task_start("a", time=2.0, worker_uid="w1"))
    assert order(store) == []
    (running,) = store.reads.running()
    assert (running.task_uid, running.state) == ("a", TaskState.RUNNING)
    assert (running.time_start, running.worker_uid) == (2.0, "w1")
    finish = writes.task_finish(
        "a", state=TaskState.FAILED, time_stop=4.0, success=False, msg="why", traceback="tb", result="{}"
    )
    do(store, finish)
    assert store.reads.running() == []
    row = store.reads.task_row("a")
    assert row is not None
    assert (row.state, row.success, row.msg) == (TaskState.FAILED, False, "why")
    assert (row.traceback, row.result) == ("tb", "{}")
    assert (row.time_start, row.time_stop, row.history_seq) == (2.0, 4.0, None)


def test_function_with_a_return_value(store: Store) -> None:
    do(store, writes.task_insert(function("f", background=True, worker_uid="w", time_start=1.0)))
    assert [row.task_uid for row in store.reads.running()] == ["f"]
    times = {"time_start": 1.5, "time_stop": 2.0, "result_expires": 122.0}
    value = {"success": True, "return_codec": "json", "return_value": b"[1]"}
    do(store, writes.task_finish("f", state=COMPLETED, **times, **value))
    row = store.reads.task_row("f")
    assert row is not None
    assert (row.background, row.success, row.return_codec, row.return_value) == (True, True, "json", b"[1]")
    assert (row.time_start, row.result_expires, row.msg) == (1.5, 122.0, "")


@pytest.mark.parametrize("state", [state for state in TaskState if is_terminal(state)])
def test_only_one_terminal_record(store: Store, state: TaskState) -> None:
    do(store, writes.queue_insert([entry("a", 1)], 1.0))
    do(store, writes.task_start("a", time=2.0, worker_uid="w"))
    seq = store.submit(
        [writes.task_finish("a", state=state, time_stop=3.0, in_history=True)],
        [JournalEvent("end", 3.0, "a")],
    ).result(20)
    before = store.reads.task_row("a")
    late = writes.task_finish("a", state=COMPLETED, time_stop=9.0, msg="late", in_history=True)
    for made in (late, writes.task_start("a", time=9.0, worker_uid="w2")):
        with pytest.raises(StaleWrite):
            store.submit([writes.setting_set("late", 1), made], [JournalEvent("end", 9.0, "a")]).result(20)
    assert store.reads.task_row("a") == before
    assert store.reads.event_bounds() == (seq, seq)
    assert store.reads.settings() == {}
    assert store.reads.history_count() == 1


def test_old_attempt_changes_nothing(store: Store) -> None:
    do(store, writes.queue_insert([entry("a", 1)], 1.0), writes.task_start("a", time=2.0, worker_uid="w"))
    with pytest.raises(StaleWrite):
        do(store, writes.task_finish("a", state=COMPLETED, time_stop=3.0, attempt=2))
    do(store, writes.task_finish("a", state=COMPLETED, time_stop=3.0, attempt=1))
    with pytest.raises(ValueError, match="not a terminal state"):
        writes.task_finish("a", state=TaskState.PENDING, time_stop=1.0)


# ------------------------------------------------------------------------------------------ history


def test_history_pages(store: Store) -> None:
    run_plans(store, "abcde")
    assert history(store) == list("abcde")
    page = store.reads.history_page(limit=2)
    assert [(seq, result) for seq, _, result in page] == [(4, '{"a": 1}'), (5, '{"a": 1}')]
    page = store.reads.history_page(limit=2, before_seq=page[0][0])
    assert [seq for seq, _, _ in page] == [2, 3]
    page = store.reads.history_page(limit=2, before_seq=page[0][0])
    assert [seq for seq, _, _ in page] == [1]
    assert store.reads.history_page(limit=0) == []


@pytest.mark.parametrize(
    ("size", "kept"), [(0, ""), (-3, ""), (1, "e"), (3, "cde"), (5, "abcde"), (6, "abcde"), (1000, "abcde")]
)
def test_history_trim_by_size(store: Store, size: int, kept: str) -> None:
    run_plans(store, "abcde")
    do(store, writes.history_trim_size(size))
    assert history(store) == list(kept)


@pytest.mark.parametrize(("uid", "kept"), [("a", "bcde"), ("c", "de"), ("e", ""), ("x", "abcde")])
def test_history_trim_by_uid(store: Store, uid: str, kept: str) -> None:
    run_plans(store, "abcde")
    do(store, writes.queue_insert([entry("x", 5)], 1.0))  # known, but not in the history
    do(store, writes.history_trim_uid(uid), writes.history_trim_uid("unknown"))
    assert history(store) == list(kept)
    assert order(store) == ["x"]


def test_history_numbers_are_never_reused(store: Store) -> None:
    run_plans(store, "abc")
    do(store, writes.history_clear())
    assert history(store) == []
    assert store.reads.task_states("abc") == dict.fromkeys("abc", COMPLETED)
    run_plans(store, "d")
    assert [seq for seq, _, _ in store.reads.history_page()] == [4]


# ------------------------------------------------------------------------------------------ settings, workers


def test_settings(store: Store) -> None:
    do(store, writes.setting_set("mode", {"loop": True}), writes.setting_set_text("b", '[1, "x"]'))
    do(store, writes.setting_set("mode", {"loop": False}), writes.setting_set("a", None))
    assert store.reads.settings() == {"mode": {"loop": False}, "a": None, "b": [1, "x"]}


def test_workers(store: Store) -> None:
    first = WorkerRow("w1", "environment", 123, 456, 1.0, 0, "{}")
    second = replace(first, worker_uid="w2", time_started=2.0)
    do(store, writes.worker_put(first), writes.worker_put(second))
    do(store, writes.worker_acked("w1", 7))
    do(store, writes.worker_acked("w1", 5), writes.worker_acked("gone", 5))
    assert store.reads.workers() == [replace(first, acked_seq=7), second]
    do(store, writes.worker_put(replace(second, pid=5)), writes.worker_delete("w1"))
    assert store.reads.workers() == [replace(second, pid=5)]


# ------------------------------------------------------------------------------------------ retention


async def test_retention(store: Store) -> None:
    run_plans(store, "abc")
    await store.commit([writes.history_trim_size(1)])  # a and b leave the history
    await store.commit([writes.queue_insert([entry("q", 1), entry("r", 2)], 1.0)])
    await store.commit([writes.task_start("r", time=1.0, worker_uid="w")])
    for n in range(10):
        finish = writes.task_finish(
            f"f{n}", state=COMPLETED, time_stop=100.0 + n, result_expires=200.0 + n, return_value=b"1"
        )
        await store.commit([writes.task_insert(function(f"f{n}")), finish], [JournalEvent("end", 1.0)] * 3)
    retention = Retention(records_s=1000.0, events=10)

    assert await store.purge(150.0, retention, chunk=4) == 5  # 20 events, four at a time
    assert store.reads.event_bounds() == (21, 30)
    assert await store.purge(150.0, retention, chunk=4) == 0

    assert await store.purge(204.0, retention, chunk=4) == 2  # five return values
    rows = [store.reads.task_row(f"f{n}") for n in range(10)]
    assert [row.return_value if row else "gone" for row in rows] == [None] * 5 + [b"1"] * 5
    assert rows[0] is not None
    assert rows[0].result_expires == 200.0

    assert await store.purge(1102.0, retention, chunk=4) == 4  # five return values, then five records
    known = store.reads.task_states([*"abcqr", *(f"f{n}" for n in range(10))])
    assert set(known) == {"c", "q", "r", *(f"f{n}" for n in range(3, 10))}
    assert await store.purge(1e9, Retention(0.0, 0), chunk=4) > 0
    assert set(store.reads.task_states([*"abcqr", "f9"])) == {"c", "q", "r"}
    assert store.reads.event_bounds() == (30, 30)
    assert await store.commit([], [JournalEvent("x", 1.0)]) == 31


async def test_numbers_of_events_grow_over_restarts_whatever_was_purged(tmp_path: Path) -> None:
    with closing(Store.open(tmp_path)) as store:
        assert await store.commit([], [JournalEvent("x", 1.0)] * 3) == 3
        await store.purge(1e9, Retention(0.0, 0))
    with closing(Store.open(tmp_path)) as store:
        assert await store.commit([], [JournalEvent("x", 1.0)]) == 4


# ------------------------------------------------------------------------------------------ heavy reads


async def test_heavy_read_sees_one_snapshot(store: Store) -> None:
    loop = asyncio.get_running_loop()
    counted, changed = asyncio.Event(), asyncio.Event()

    def count_twice(reads: Reads) -> tuple[int, int]:
        first = reads.history_count()
        loop.call_soon_threadsafe(counted.set)
        asyncio.run_coroutine_threadsafe(changed.wait(), loop).result(20)
        return first, reads.history_count()

    under_way = asyncio.create_task(store.read_heavy(count_twice))
    await counted.wait()
    run_plans(store, "ab")
    changed.set()
    assert await under_way == (0, 0)
    assert await store.read_heavy(lambda reads: reads.history_count()) == 2


async def test_heavy_reads_cannot_write(store: Store) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await store.read_heavy(lambda reads: reads.connection.execute("DELETE FROM task"))
    assert await store.read_heavy(lambda reads: reads.history_count()) == 0
