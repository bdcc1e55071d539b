"""What the client keeps of the manager's answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from remanager_api.caching import ReplyCache, StatusCache


class Manager:
    def __init__(self) -> None:
        self.asked = 0
        self.gate: asyncio.Event | None = None

    async def status(self) -> dict[str, Any]:
        self.asked += 1
        answer = {"number": self.asked, "list": []}
        if self.gate is not None:
            await self.gate.wait()
        return answer


async def test_a_status_is_good_for_a_while() -> None:
    manager = Manager()
    cache = StatusCache(manager.status, lifetime=1e6)
    first = await cache.get()
    first["list"].append("changed by the caller")
    assert await cache.get() == {"number": 1, "list": []}
    assert (await cache.get(reload=True))["number"] == 2
    assert (await cache.get())["number"] == 2
    cache.invalidate()
    assert (await cache.get())["number"] == 3
    cache.put({"number": 0})
    assert await cache.get() == {"number": 0}
    assert manager.asked == 3


async def test_an_old_status_is_asked_for_again() -> None:
    cache = StatusCache(Manager().status, lifetime=-1.0)
    assert [(await cache.get())["number"] for _ in range(3)] == [1, 2, 3]


async def test_a_status_of_before_a_change_is_not_kept() -> None:
    manager = Manager()
    manager.gate = asyncio.Event()
    cache = StatusCache(manager.status, lifetime=1e6)
    asking = asyncio.ensure_future(cache.get())
    await asyncio.sleep(0)
    cache.invalidate()
    manager.gate.set()
    assert (await asking)["number"] == 1
    assert (await cache.get())["number"] == 2


async def test_a_failure_is_not_kept() -> None:
    async def fail() -> dict[str, Any]:
        raise TimeoutError

    cache = StatusCache(fail, lifetime=1e6)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await cache.get()


def test_replies_are_kept_by_uid() -> None:
    cache = ReplyCache()
    assert cache.get("queue", "a") is None
    cache.put("queue", "a", {"items": []})
    found = cache.get("queue", "a")
    assert found == {"items": []}
    found["items"].append(1)
    assert cache.get("queue", "a") == {"items": []}
    assert cache.get("queue", "b") is None
    assert cache.get("queue", None) is None
    assert cache.get("history", "a") is None
