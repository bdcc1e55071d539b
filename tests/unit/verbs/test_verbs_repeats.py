"""A request that is sent twice is carried out once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from manager_rig import Rig, hop, plan, user

from remanager.model.errors import Conflict, InvalidParams
from remanager.verbs.registry import REGISTRY
from remanager.verbs.repeats import Repeats
from remanager.wire.codec import Reply


def adding(request_id: object, name: str = "count") -> dict[str, Any]:
    return {"item": plan(name), "request_id": request_id, **user()}


async def test_a_repetition_gets_the_first_answer(rig: Rig) -> None:
    first = await rig.ok("queue_item_add", **adding("a"))
    assert await rig.ok("queue_item_add", **adding("a")) == first
    assert await rig.queue() == [first["item"]["item_uid"]]
    await rig.ok("queue_item_add", **adding("b"))
    assert len(await rig.queue()) == 2


async def test_a_repetition_waits_for_the_first_answer(rig: Rig) -> None:
    rig.gate.shut()
    requests = [asyncio.ensure_future(rig.call("queue_item_add", **adding("a"))) for _ in range(3)]
    await rig.settle()
    assert not any(r.done() for r in requests)
    await rig.gate.open()
    first, *others = await asyncio.gather(*requests)
    assert first["success"]
    assert others == [first, first]
    assert len(await rig.queue()) == 1


async def test_the_first_answer_may_be_a_refusal(rig: Rig) -> None:
    first = await rig.refused("queue_start", request_id="a")
    await rig.open_environment()
    assert await rig.refused("queue_start", request_id="a") == first
    await rig.ok("queue_start", request_id="b")


@pytest.mark.parametrize(
    ("method", "params"),
    [("queue_item_add", adding("a", "scan")), ("queue_clear", {"request_id": "a"})],
)
async def test_another_request_with_the_same_id_is_a_conflict(
    rig: Rig, method: str, params: dict[str, Any]
) -> None:
    await rig.ok("queue_item_add", **adding("a"))
    reply = await rig.call(method, **params)
    assert reply["code"] == "conflict"
    assert "'a'" in reply["msg"]
    assert len(await rig.queue()) == 1


@pytest.mark.parametrize("request_id", [None, "", 1, "x" * 201, ["a"]])
async def test_improper_ids_are_refused(rig: Rig, request_id: object) -> None:
    reply = await rig.call("queue_item_add", **adding(request_id))
    assert reply["code"] == "invalid_params"
    assert "'request_id' must be a string" in reply["msg"]
    assert reply["item"] == plan()
    assert await rig.queue() == []


async def test_questions_take_no_id(rig: Rig) -> None:
    reply = await rig.call("queue_get", request_id="a")
    assert "unsupported parameters: 'request_id'" in reply["msg"]
    msg = await rig.refused("queue_clear", request_id="a", other=1)
    assert "unsupported parameters: 'other'. Supported parameters: ['lock_key', 'request_id']" in msg


async def test_what_takes_an_id(rig: Rig) -> None:
    questions = {v.name for v in REGISTRY.values() if not v.mutating}
    assert {"ping", "status", "queue_get", "task_result", "event_list", "lock_info"} <= questions
    assert not {"lock", "unlock", "permissions_set", "manager_stop", "re_pause"} & questions


# ------------------------------------------------------------------------------------ the table


class Maker:
    """Carries requests out; answers now, or when told."""

    def __init__(self) -> None:
        self.count = 0
        self.gate: asyncio.Future[None] | None = None

    def __call__(self) -> Reply | Awaitable[Reply]:
        self.count += 1
        return self._later(self.count) if self.gate is not None else {"n": self.count}

    async def _later(self, number: int) -> Reply:
        assert self.gate is not None
        await self.gate
        return {"n": number}


async def test_answers_are_kept_for_a_while() -> None:
    now = 0.0
    repeats, make = Repeats(lambda: now, max_age_s=300.0), Maker()
    assert repeats.answer("a", "m", {}, make) == {"n": 1}
    now = 299.0
    assert repeats.answer("a", "m", {}, make) == {"n": 1}
    now = 300.0
    assert repeats.answer("a", "m", {}, make) == {"n": 2}
    assert len(repeats) == 1


async def test_the_table_is_bounded() -> None:
    make = Maker()
    repeats = Repeats(max_requests=3)
    for n in range(10):
        repeats.answer(str(n), "m", {}, make)
    assert len(repeats) == 3
    assert repeats.answer("9", "m", {}, make) == {"n": 10}
    repeats = Repeats(max_bytes=1000)
    for n in range(10):
        repeats.answer(str(n), "m", {"x": "y" * 300}, make)
    assert len(repeats) <= 4


async def test_what_is_being_carried_out_is_not_forgotten() -> None:
    now = 0.0
    repeats, make = Repeats(lambda: now, max_requests=1), Maker()
    make.gate = asyncio.get_running_loop().create_future()
    first = repeats.answer("a", "m", {}, make)
    assert isinstance(first, Awaitable)
    running = asyncio.ensure_future(first)
    await hop()
    now = 1000.0
    second = repeats.answer("a", "m", {}, make)
    make.gate.set_result(None)
    assert isinstance(second, Awaitable)
    assert await running == await second == {"n": 1}


async def test_a_request_that_was_not_carried_out_is_forgotten() -> None:
    repeats, make = Repeats(), Maker()
    make.gate = asyncio.get_running_loop().create_future()
    first = asyncio.ensure_future(repeats.answer("a", "m", {}, make))  # type: ignore[arg-type]
    await hop()
    second = asyncio.ensure_future(repeats.answer("a", "m", {}, make))  # type: ignore[arg-type]
    await hop()
    first.cancel()
    await asyncio.wait([first, second])
    assert first.cancelled()
    assert second.cancelled()
    assert len(repeats) == 0

    def fail() -> Reply:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        repeats.answer("a", "m", {}, fail)
    assert len(repeats) == 0


async def test_order_of_keys_and_strange_values_do_not_matter() -> None:
    repeats, make = Repeats(), Maker()
    repeats.answer("a", "m", {"x": 1, "y": b"\xff", "z": float("nan")}, make)
    again = {"z": float("nan"), "y": b"\xff", "x": 1}
    assert repeats.answer("a", "m", again, make) == {"n": 1}
    with pytest.raises(Conflict):
        repeats.answer("a", "m", {"x": "\ud800"}, make)
    with pytest.raises(InvalidParams, match="cannot have"):
        repeats.answer("b", "m", {"x": {1: 0, "a": 0}}, make)
