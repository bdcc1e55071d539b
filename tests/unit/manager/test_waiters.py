"""Waiting for the ends of tasks."""

from __future__ import annotations

import asyncio

from manager_rig import hop

from remanager.manager.task_queue.waiters import Waiters

LONG_S = 10.0


async def test_one_end_wakes_who_waits_for_any() -> None:
    waiters = Waiters()
    waiting = asyncio.ensure_future(waiters.wait(["a", "b"], LONG_S))
    await hop()
    waiters.ended("c")
    await hop()
    assert not waiting.done()
    waiters.ended("b")
    assert await waiting
    waiters.ended("a")
    assert not waiters._waiting


async def test_who_waits_for_all_is_woken_once() -> None:
    waiters = Waiters()
    waiting = asyncio.ensure_future(waiters.wait(["a", "b"], LONG_S, every=True))
    other = asyncio.ensure_future(waiters.wait(["b", "c"], LONG_S, every=True))
    await hop()
    waiters.ended("b")
    await hop()
    assert not waiting.done()
    waiters.ended("a")
    assert await waiting
    assert not other.done()
    waiters.look_again()
    assert await other
    assert not waiters._waiting


async def test_the_time_is_over() -> None:
    waiters = Waiters()
    assert not await waiters.wait(["a"], 0.0)
    assert not await waiters.wait(["a", "b"], 0.01, every=True)
    assert not waiters._waiting
