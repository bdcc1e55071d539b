"""Commits: effects come before whoever waits, and waiting does not matter to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from remanager.manager.ledger import Ledger
from remanager.store import StaleWrite, Store
from remanager.store.writes import task_start


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """Return an open store."""
    store = Store.open(tmp_path)
    yield store
    store.close()


def ledger_of(store: Store, faults: list[BaseException]) -> Ledger:
    return Ledger(store, lambda: 1.0, lambda: None, faults.append)


async def test_effects_come_before_whoever_waits(store: Store) -> None:
    ledger = ledger_of(store, [])
    calls: list[str] = []
    batch = ledger.batch()
    batch.event("added", "u1")
    batch.after(lambda: calls.append("effect"))
    seq = await ledger.commit(batch)
    calls.append("waiter")
    assert seq == 1
    assert calls == ["effect", "waiter"]


async def test_a_cancelled_wait_changes_nothing(store: Store) -> None:
    faults: list[BaseException] = []
    ledger = ledger_of(store, faults)
    effect = asyncio.Event()
    batch = ledger.batch()
    batch.event("added", "u1")
    batch.after(effect.set)
    ledger.commit(batch).cancel()
    await asyncio.wait_for(effect.wait(), 10)
    await ledger.flush()
    assert [event.task_uid for event in store.reads.events(since=0, limit=10)] == ["u1"]
    assert faults == []


async def test_a_failed_commit_fails_the_wait_and_is_a_fault(store: Store) -> None:
    faults: list[BaseException] = []
    ledger = ledger_of(store, faults)
    batch = ledger.batch()
    batch.write(task_start("unknown", time=1.0, worker_uid=None))
    batch.after(lambda: pytest.fail("the effect of a failed commit"))
    with pytest.raises(StaleWrite) as raised:
        await ledger.commit(batch)
    assert faults == [raised.value]
