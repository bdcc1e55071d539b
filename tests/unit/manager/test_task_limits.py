"""Limits on request: in force at once, over restarts, with figures."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from manager_rig import TASK_QUEUE, FakePoolWorker, Rig


@pytest.fixture
async def worker(pool_rig: Rig) -> FakePoolWorker:
    """The worker of the pool; it is handed several tasks at once, as they are short."""
    worker = await pool_rig.pool_worker()
    uid = await pool_rig.submit()
    worker.begin(uid)
    await worker.end(uid)
    return worker


async def test_a_limit_holds_its_scope_and_nothing_else(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    before = (await rig.ok("limit_list"))["limits_uid"]
    reply = await rig.ok("limit_set", scope="group", name="g", max_running=1)
    assert reply["limits_uid"] != before
    first, second = await rig.submit_many(2, group="g")
    other = await rig.submit()
    assert await rig.task_states(first, second, other) == ["running", "pending", "running"]
    assert (await rig.task(second))["wait_reason"] == "limit:group/g"
    [limit] = (await rig.ok("limit_list"))["limits"]
    assert (limit["max_running"], limit["running"], limit["allocated_slots"]) == (1, 1, 1)
    assert limit["denied_count"] > 0
    await rig.restart()
    assert (await rig.task(second))["wait_reason"] == "limit:group/g"
    await rig.ok("limit_remove", scope="group", name="g")
    worker.begin(other)
    await worker.end(other)
    assert await rig.task_states(second) == ["running"]
    await rig.restart()
    assert (await rig.ok("limit_list"))["limits"] == []
    assert [json.loads(e.data)["name"] for e in rig.events() if e.type.startswith("limit_")] == ["g", "g"]


async def test_a_rate(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    rate = {"permits": 1.0, "interval_s": 10.0, "burst": 1.0}
    reply = await rig.ok("limit_set", scope="task_type", name="work", rate=rate)
    assert reply["limits"][0]["available_tokens"] == 1.0
    first, second = await rig.submit_many(2)
    assert await rig.task_states(first, second) == ["running", "pending"]
    assert (await rig.task(second))["wait_reason"] == "rate_limit"
    await rig.pass_time(11.0)
    assert await rig.task_states(second) == ["running"]
    assert (await rig.ok("limit_list", scope="user"))["limits"] == []
    assert len((await rig.ok("limit_list", scope="task_type", name="work"))["limits"]) == 1


async def test_slots_by_weight(pool_rig: Rig) -> None:
    rig = pool_rig
    await rig.crash()
    rig.options = rig.with_options(task_queue=replace(TASK_QUEUE, workers=4))
    await rig.restart_after_crash()
    await rig.ok("limit_set", scope="group", name="a", weight=3.0, max_running=100)
    await rig.ok("limit_set", scope="group", name="b", min_slots=1)
    await rig.submit_many(10, group="a")
    await rig.submit_many(10, group="b")
    slots = {x["name"]: x["allocated_slots"] for x in (await rig.ok("limit_list"))["limits"]}
    assert slots == {"a": 3, "b": 1}


async def test_a_weight_may_be_the_usual_one(pool_rig: Rig) -> None:
    for scope in ("group", "user"):
        await pool_rig.ok("limit_set", scope=scope, name="a", weight=3.0)
        await pool_rig.ok("limit_set", scope=scope, name="a", weight=1.0)
    limits = (await pool_rig.ok("limit_list"))["limits"]
    assert [(x["scope"], x["weight"]) for x in limits] == [("group", 1.0), ("user", 1.0)]


async def test_what_is_refused(pool_rig: Rig) -> None:
    rig = pool_rig
    assert "Nothing is limited" in await rig.refused("limit_set", scope="all")
    assert "Nothing is limited" in await rig.refused("limit_set", scope="group", name="g")
    assert "Nothing is limited" in await rig.refused("limit_set", scope="domain", name="d", weight=1.0)
    for method in ("limit_set", "limit_remove", "limit_list"):
        words = "must be 'all', 'domain', 'task_type', 'group' or 'user'"
        assert words in await rig.refused(method, scope="schedule", name="s")
    await rig.refused("limit_set", scope="all", name="x", max_running=1)
    await rig.refused("limit_set", scope="group", max_running=1)
    await rig.refused("limit_set", scope="nonsense", name="x", max_running=1)
    await rig.refused("limit_set", scope="domain", name="d", weight=2.0)
    await rig.refused("limit_set", scope="domain", name="d", rate={"permits": 0.0})
    assert "no limit" in await rig.refused("limit_remove", scope="all")
