"""Retention by class, deletion on request, and the archive."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import do, end, new

from remanager.model.selector import ALL, Selector
from remanager.model.states import StateClass, TaskState
from remanager.store import QueueEntryRow, Retention, Store, writes
from remanager.store import task_writes as make
from remanager.store.archive import Archive
from remanager.store.records import Keep
from remanager.store.store import DATABASE_NAME


def fill(store: Store, ends: list[tuple[str, float]], **changes: Any) -> None:
    """Put ended tasks into the store, and one that is active."""
    rows = [new(f"t{n}", n + 1, **changes) for n in range(len(ends) + 1)]
    do(store, *make.tasks_insert(rows))
    records = [end(f"t{n}", state, time_stop=stop) for n, (state, stop) in enumerate(ends)]
    do(store, make.tasks_end(records))


def left(store: Store) -> set[str]:
    return {row[0] for row in store.reads.connection.execute("SELECT task_uid FROM task")}


def archived(archive: Archive) -> list[dict[str, Any]]:
    """Return what is in the archive, oldest first."""
    texts = [path.read_text().splitlines() for path in reversed(archive.files())]
    return [json.loads(line) for text in texts for line in text]


async def test_classes_are_kept_for_their_times(store: Store, tmp_path: Path) -> None:
    ends = [("completed", 10.0), ("failed", 10.0), ("cancelled", 10.0), ("completed", 90.0), ("lost", 20.0)]
    fill(store, ends, tags=(("run", "1"),))
    archive = Archive(tmp_path / "archive")
    classes = {StateClass.SUCCESS: Keep(retain_s=50.0), StateClass.FAILURE: Keep(retain_s=85.0)}
    retention = Retention(records_s=1000.0, classes=classes)
    assert await store.purge(100.0, retention, archive=archive, chunk=1) == 2
    assert left(store) == {"t2", "t3", "t4", "t5"}
    assert [line["task_uid"] for line in archived(archive)] == ["t0", "t1"]
    kept = archived(archive)[0]
    assert (kept["state"], kept["tags"], kept["body"]) == ("completed", {"run": "1"}, {"item_uid": "t0"})
    assert [line["to"] for line in kept["transitions"]] == ["pending", "completed"]
    assert await store.purge(100.0, retention, archive=archive) == 0


async def test_so_many_of_a_class_are_kept(store: Store) -> None:
    fill(store, [("failed" if n % 2 else "timed_out", float(n)) for n in range(9)] + [("completed", 0.0)])
    retention = Retention(records_s=1e9, classes={StateClass.FAILURE: Keep(retain_count=4)})
    assert await store.purge(100.0, retention, chunk=3) == 2
    assert left(store) == {"t5", "t6", "t7", "t8", "t9", "t10"}


async def test_the_plan_history_is_neither_counted_nor_deleted(store: Store) -> None:
    fill(store, [("completed", float(n)) for n in range(4)])
    for n in range(5):
        do(store, writes.queue_insert([QueueEntryRow(f"p{n}", n, "plan", "c", "u", "g", "{}")], 1.0))
        finish = writes.task_finish(f"p{n}", state=TaskState.COMPLETED, time_stop=0.5, in_history=True)
        do(store, finish)
    retention = Retention(records_s=1e9, classes={StateClass.SUCCESS: Keep(retain_count=2)})
    assert await store.purge(100.0, retention) == 1
    assert left(store) == {"t2", "t3", "t4", *(f"p{n}" for n in range(5))}
    assert (await store.prune(ALL, 100.0)).deleted == 2
    assert left(store) == {"t4", *(f"p{n}" for n in range(5))}


async def test_results_go_before_records(store: Store) -> None:
    do(store, *make.tasks_insert([new("a"), new("b", 2)]))
    do(store, make.tasks_end([end("a", return_codec="json", return_value=b"1", result_expires=60.0)]))
    assert await store.purge(50.0, Retention(records_s=10.0)) == 0  # the record waits for the result
    assert await store.purge(70.0, Retention(records_s=68.0)) == 1
    result = store.reads.tasks.results(["a"])["a"]
    assert (result.return_value, result.result_expires) == (None, 60.0)
    assert await store.purge(72.0, Retention(records_s=68.0)) == 1
    assert left(store) == {"b"}


async def test_samples_and_empty_sums_are_dropped(store: Store) -> None:
    samples = [{"metric": "m", "task_type": "", "minute": n, "value": 1.0} for n in range(10)]
    do(store, make.samples_put(samples))  # type: ignore[arg-type]
    assert await store.purge(600.0, Retention(records_s=1e9, samples_s=300.0), chunk=2) == 3
    assert [minute for minute, _ in store.reads.tasks.samples("m", "", 0, 99, 99)] == [5, 6, 7, 8, 9]
    rows = [new(f"u{n}", n + 1, name=f"f{n}") for n in range(1500)]
    do(store, *make.tasks_insert(rows), make.tasks_end([end(f"u{n}") for n in range(1500)]))
    await store.purge(1e10, Retention(records_s=0.0))
    await store.purge(1e10, Retention(records_s=0.0))
    assert store.reads.connection.execute("SELECT COUNT(*) FROM tally_sum").fetchone()[0] <= 1000


async def test_prune_what_is_selected(store: Store, tmp_path: Path) -> None:
    fill(store, [("completed" if n % 2 else "failed", float(n)) for n in range(12)])
    archive = Archive(tmp_path / "archive")
    failed = Selector(state_class=(StateClass.FAILURE,))
    assert (await store.prune(failed, 20.0, keep=2, dry_run=True)).deleted == 4
    assert len(left(store)) == 13
    pruned = await store.prune(failed, 20.0, keep=2, archive=archive, chunk=3)
    assert (pruned.deleted, pruned.archived) == (4, 4)
    assert [line["task_uid"] for line in archived(archive)] == ["t0", "t2", "t4", "t6"]
    assert (await store.prune(ALL, 20.0, max_age_s=15.0)).deleted == 3  # t1, t3, t5
    assert left(store) == {"t7", "t8", "t9", "t10", "t11", "t12"}
    assert (await store.prune(Selector(task_uid=("t9", "t12", "nobody")), 20.0)).deleted == 1
    assert (await store.prune(Selector(state=(TaskState.PENDING,)), 20.0)).deleted == 0


async def test_several_at_once(store: Store, tmp_path: Path) -> None:
    fill(store, [("completed", float(n)) for n in range(12)])
    archive = Archive(tmp_path / "archive")
    retention = Retention(records_s=1e9, classes={StateClass.SUCCESS: Keep(retain_count=8)})
    prunings = [store.prune(ALL, 20.0, keep=4, archive=archive, chunk=1) for _ in range(3)]
    _, *pruned = await asyncio.gather(store.purge(20.0, retention, archive=archive, chunk=1), *prunings)
    assert sorted(p.deleted for p in pruned) == [0, 0, 4]
    assert left(store) == {"t8", "t9", "t10", "t11", "t12"}
    assert [line["task_uid"] for line in archived(archive)] == [f"t{n}" for n in range(8)]


async def test_what_cannot_be_archived_stays(store: Store, tmp_path: Path) -> None:
    fill(store, [("completed", 1.0)])
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        await store.purge(1e9, Retention(records_s=1.0), archive=Archive(tmp_path / "file" / "x"))
    assert left(store) == {"t0", "t1"}


async def test_what_is_deleted_is_forgotten(store: Store) -> None:
    fill(store, [("completed", 1.0), ("failed", 2.0)])
    store.ended.remember(store.reads.task_states(["t0", "t1", "t2"]))
    assert store.ended.look_up(["t0", "t1", "t2"]) == {"t0": "completed", "t1": "failed", "t2": None}
    await store.prune(Selector(task_uid=("t0",)), 20.0)
    assert store.ended.look_up(["t0", "t1"]) == {"t0": None, "t1": "failed"}
    await store.purge(1e9, Retention(records_s=1.0))
    assert store.ended.look_up(["t1"]) == {"t1": None}


async def test_what_is_deleted_is_forgotten_though_nobody_waits(
    store: Store, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read again between the end of the wait and the commit must not be remembered either."""
    fill(store, [("completed", 1.0)])
    handed_in, enqueue = asyncio.Event(), store.enqueue

    def spy(*args: Any) -> asyncio.Future[int]:
        handed_in.set()
        return enqueue(*args)

    monkeypatch.setattr(store, "enqueue", spy)
    with contextlib.closing(sqlite3.connect(state_dir / DATABASE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # the deletion waits for the lock
        pruning = asyncio.ensure_future(store.prune(ALL, 20.0))
        await handed_in.wait()
        pruning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pruning
        store.ended.remember(store.reads.task_states(["t0"]))
        assert store.ended.look_up(["t0"]) == {"t0": "completed"}
    await store.commit([])
    assert left(store) == {"t1"}
    assert store.ended.look_up(["t0"]) == {"t0": None}


@settings(deadline=None, max_examples=50)
@given(parts=st.lists(st.lists(st.integers(0, 60), max_size=5), max_size=12), files=st.integers(1, 4))
def test_the_archive_is_bounded_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]], files: int
) -> None:
    archive = Archive(tmp_path_factory.mktemp("archive"), max_bytes=100, max_files=files)
    lines = []
    for part in parts:
        new_lines = [f"{len(lines) + n}:" + "x" * size for n, size in enumerate(part)]
        archive.append(new_lines)
        lines += new_lines
    found = [line for path in reversed(archive.files()) for line in path.read_text().splitlines()]
    assert found == lines[len(lines) - len(found) :]
    assert len(list(archive.path.parent.iterdir())) == len(archive.files()) <= files
    assert all(path.stat().st_size <= 100 for path in archive.files())
    if sum(len(line) + 1 for line in lines) <= 100:
        assert found == lines
