"""Those who wait for the ends of tasks share questions, and nothing stays behind when they leave."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from remanager_api.ends import GROUP, EndWatch
from remanager_api.outcomes import Outcome


class Manager:
    """Tells of the ends of tasks when the test says so."""

    def __init__(self) -> None:
        self.questions: list[list[str]] = []
        self.ended: set[str] = set()
        self.news = asyncio.Condition()

    async def look(self, uids: list[str]) -> list[Outcome]:
        self.questions.append(uids)
        async with self.news:
            await self.news.wait_for(lambda: self.ended.intersection(uids))
        return [Outcome(uid, "completed") for uid in uids if uid in self.ended]

    async def end(self, *uids: str) -> None:
        async with self.news:
            self.ended.update(uids)
            self.news.notify_all()


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_one_question_for_all_who_begin_together() -> None:
    manager = Manager()
    watch = EndWatch(manager.look)
    uids = [f"u{n}" for n in range(5)]
    waiting = [asyncio.create_task(watch.end(uid)) for uid in (*uids, "u0")]
    await turns()
    assert manager.questions == [uids]
    await manager.end("u0", "u3")
    await turns()
    assert [task.done() for task in waiting] == [True, False, False, True, False, True]
    assert manager.questions[1] == ["u1", "u2", "u4"]
    await manager.end("u1", "u2", "u4")
    assert [(await task).task_uid for task in waiting] == [*uids, "u0"]
    assert len(manager.questions) == 2


async def test_large_numbers_are_asked_in_parts() -> None:
    manager = Manager()
    watch = EndWatch(manager.look)
    uids = [f"u{n}" for n in range(2 * GROUP + 1)]
    await manager.end(*uids)
    found = await asyncio.gather(*map(watch.end, uids))
    assert [outcome.task_uid for outcome in found] == uids
    assert [len(question) for question in manager.questions] == [GROUP, GROUP, 1]


async def test_the_last_one_who_leaves_ends_the_question() -> None:
    manager = Manager()
    watch = EndWatch(manager.look)
    waiting = [asyncio.create_task(watch.end(uid)) for uid in ("a", "b")]
    await turns()
    waiting[0].cancel()
    with suppress(asyncio.CancelledError):
        await waiting[0]
    await manager.end("b")
    assert (await waiting[1]).task_uid == "b"
    alone = asyncio.create_task(watch.end("c"))
    await turns()
    alone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await alone
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_who_leaves_before_the_question_is_not_asked_for() -> None:
    manager = Manager()
    watch = EndWatch(manager.look)
    waiting = asyncio.create_task(watch.end("a"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await turns()
    assert manager.questions == []


async def test_a_fault_reaches_everybody_who_waits() -> None:
    async def look(_uids: list[str]) -> list[Outcome]:
        raise ConnectionError("no manager")

    watch = EndWatch(look)
    found = await asyncio.gather(watch.end("a"), watch.end("b"), return_exceptions=True)
    assert [str(fault) for fault in found] == ["no manager"] * 2


def test_another_loop_begins_anew() -> None:
    async def look(uids: list[str]) -> list[Outcome]:
        return [Outcome(uid, "completed") for uid in uids]

    watch = EndWatch(look)
    for _ in range(2):
        assert asyncio.run(watch.end("a")) == Outcome("a", "completed")
