"""The future whose waiters run as soon as it is resolved."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

from remanager.store.prompt import PromptFuture

asked: ContextVar[str] = ContextVar("asked", default="nobody")


async def begun(order: list[str], future: asyncio.Future[int], name: str) -> asyncio.Task[int]:
    async def wait() -> int:
        asked.set(name)
        try:
            return await future
        finally:
            order.append(f"{name} for {asked.get()}")

    task = asyncio.get_running_loop().create_task(wait())
    await asyncio.sleep(0)
    return task


async def resolved_by_the_loop(future: asyncio.Future[int], order: list[str], outcome: object = 7) -> None:
    done = asyncio.Event()

    def resolve() -> None:
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(7)
        order.append("resolved")
        done.set()

    asyncio.get_running_loop().call_soon(resolve)
    await done.wait()


async def test_tasks_go_on_before_whoever_resolves_it_does() -> None:
    order: list[str] = []
    future: PromptFuture[int] = PromptFuture()
    tasks = [await begun(order, future, name) for name in ("first", "second")]
    await resolved_by_the_loop(future, order)
    assert order == ["first for first", "second for second", "resolved"]
    assert [await task for task in tasks] == [7, 7]
    assert await future == 7


async def test_an_error_reaches_each_task() -> None:
    order: list[str] = []
    future: PromptFuture[int] = PromptFuture()
    task = await begun(order, future, "first")
    await resolved_by_the_loop(future, order, KeyError("lost"))
    assert order == ["first for first", "resolved"]
    with pytest.raises(KeyError):
        await task


async def test_a_cancelled_task_leaves_the_future_to_the_others() -> None:
    order: list[str] = []
    future: PromptFuture[int] = PromptFuture()
    shielded = asyncio.shield(future)
    task = await begun(order, shielded, "impatient")
    patient = await begun(order, future, "patient")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await resolved_by_the_loop(future, order)
    assert order == ["impatient for impatient", "patient for patient", "resolved"]
    assert await patient == 7


async def test_cancelling_wakes_in_the_next_turn() -> None:
    order: list[str] = []
    future: PromptFuture[int] = PromptFuture()
    task = await begun(order, future, "first")
    assert future.cancel()
    assert not future.cancel()
    assert order == []
    with pytest.raises(asyncio.CancelledError):
        await task
    assert future.cancelled()


async def test_waiting_for_several_forgets_the_callback() -> None:
    order: list[str] = []
    futures: list[PromptFuture[int]] = [PromptFuture(), PromptFuture()]
    waiting = asyncio.ensure_future(asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED))
    await asyncio.sleep(0)
    await resolved_by_the_loop(futures[0], order)
    done, pending = await waiting
    assert (done, pending) == ({futures[0]}, {futures[1]})
    assert futures[1].remove_done_callback(print) == 0
    futures[1].cancel()


async def test_a_callback_that_raises_is_reported_and_stops_no_other() -> None:
    reported: list[dict[str, object]] = []
    called: list[PromptFuture[int]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: reported.append(context))
    future: PromptFuture[int] = PromptFuture()
    error = ValueError("bad")

    def bad(_: object) -> None:
        raise error

    future.add_done_callback(bad)
    future.add_done_callback(called.append)
    future.set_result(1)
    assert called == [future]
    assert [context["exception"] for context in reported] == [error]
    late: list[object] = []
    future.add_done_callback(late.append)
    assert late == []
    await asyncio.sleep(0)
    assert late == [future]
