"""Schedules at work: due, skipped, paused, over; and over restarts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from manager_rig import FakePoolWorker, Rig, function, user


@pytest.fixture
async def worker(pool_rig: Rig) -> FakePoolWorker:
    """The worker of the pool."""
    return await pool_rig.pool_worker()


async def add(rig: Rig, options: dict[str, Any] | None = None, **recurring: Any) -> str:
    reply = await rig.ok(
        "schedule_add", **user(), item=function("work"), recurring=recurring, options=options or {}
    )
    return str(reply["schedule_uid"])


async def look(rig: Rig, uid: str) -> dict[str, Any]:
    """Return a schedule."""
    [found] = (await rig.ok("schedule_list", selector={"schedule_uid": uid}))["schedules"]
    return dict(found)


async def due(rig: Rig, seconds: float = 0.0) -> None:
    """Let time pass, and do what is due."""
    await rig.pass_time(seconds)
    await rig.manager.controls.schedules.submit_due()
    await rig.settle()


async def finish(rig: Rig, worker: FakePoolWorker, kind: str = "completed") -> str:
    """End the task that the worker has."""
    (uid,) = worker.tasks
    worker.begin(uid)
    if kind == "completed":
        await worker.end(uid)
    else:
        await worker.fail(uid, kind)
    return uid


async def test_domain_and_group_of_the_function_are_those_of_its_schedule(
    pool_rig: Rig, worker: FakePoolWorker
) -> None:
    rig = pool_rig
    worker.ready({"work": {"domain": "d1", "group": "g1", "label": "of the module"}})
    await rig.settle()
    uid = await add(rig, {"group": "own"}, interval_s=100.0)
    there = await add(rig, {"where": "environment"}, interval_s=100.0)
    for _ in range(2):
        [found] = (await rig.ok("schedule_list", selector={"domain": "d1"}))["schedules"]
        told = {name: found[name] for name in ("schedule_uid", "domain", "group", "label", "options")}
        assert told == {
            "schedule_uid": uid,
            "domain": "d1",
            "group": "own",
            "label": "of the module",
            "options": {"group": "own"},
        }
        assert (await look(rig, there))["domain"] == ""
        await rig.restart()


async def test_what_cannot_be_stored_is_refused_and_never_due(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    deep: list[Any] = []
    for _ in range(600):
        deep = [deep]
    for odd in ({"user": b"x"}, {"x": {b"k": 1}}, {"args": [deep]}):
        item = {**function("work"), **odd}
        told = await rig.refused("schedule_add", **user(), item=item, recurring={"interval_s": 1.0})
        assert "cannot be written as JSON" in told
    assert (await rig.ok("schedule_list"))["schedules"] == []
    await due(rig, 10.0)
    assert worker.tasks == {}


async def test_it_goes_on_whatever_becomes_of_an_occurrence(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await add(rig, {"label": "sweep", "tags": {"a": "b"}}, interval_s=100.0, mode="fixed_rate")
    await due(rig)
    schedule = await look(rig, uid)
    assert (schedule["task_type"], schedule["label"], schedule["execution_count"]) == ("work", "sweep", 1)
    first = schedule["current_task_uid"]
    record = await rig.task(first)
    assert (record["schedule_uid"], record["tags"], record["label"]) == (uid, {"a": "b"}, "sweep")
    await finish(rig, worker, "error")
    schedule = await look(rig, uid)
    assert (schedule["last_state"], schedule["current_task_uid"]) == ("failed", None)
    await due(rig, 101.0)
    second = (await look(rig, uid))["current_task_uid"]
    assert second not in {None, first}
    await rig.ok("task_cancel", task_uid=second)
    await worker.end(second, "cancelled")
    await due(rig, 100.0)
    assert (await look(rig, uid))["execution_count"] == 3
    assert (await rig.ok("task_count", selector={"schedule_uid": uid}))["total"] == 3


async def test_what_is_due_too_early_is_skipped(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await add(rig, interval_s=10.0, mode="fixed_rate")
    await due(rig)
    await due(rig, 10.0)
    schedule = await look(rig, uid)
    assert (schedule["execution_count"], schedule["skipped_count"]) == (1, 1)
    assert len(rig.events("schedule_skipped")) == 1
    await finish(rig, worker)
    await due(rig, 10.0)
    assert (await look(rig, uid))["execution_count"] == 2


async def test_after_completion_and_to_the_end(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await add(rig, interval_s=10.0, max_executions=2, initial_delay_s=5.0)
    await due(rig)
    assert worker.tasks == {}
    await due(rig, 5.0)
    assert (await look(rig, uid))["next_run"] is None
    await due(rig, 50.0)
    await finish(rig, worker)
    assert (await look(rig, uid))["next_run"] == rig.now + 10.0
    await due(rig, 10.0)
    assert (await look(rig, uid))["remaining"] == 0
    await finish(rig, worker)
    reply = await rig.ok("schedule_list")
    assert (reply["schedules"], reply["next_run_after"]) == ([], None)
    assert len(rig.events("schedule_ended")) == 1
    await rig.restart()
    assert (await rig.ok("schedule_list"))["schedules"] == []


async def test_it_runs_by_itself(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    await add(rig, interval_s=1000.0)
    await rig.until(lambda: worker.tasks)


async def test_over_a_restart(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await add(rig, interval_s=100.0, mode="fixed_rate")
    await due(rig)
    first = (await look(rig, uid))["current_task_uid"]
    await rig.restart()
    assert (await look(rig, uid))["current_task_uid"] == first
    await finish(rig, worker)
    await rig.restart()
    schedule = await look(rig, uid)
    assert (schedule["last_state"], schedule["current_task_uid"]) == ("completed", None)
    rig.now += 450.0
    await rig.restart()
    schedule = await look(rig, uid)
    assert schedule["next_run"] > rig.now
    assert schedule["skipped_count"] == 4
    worker.heartbeat()


async def test_pause_resume_cancel(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await add(rig, interval_s=10.0, mode="fixed_rate")
    await due(rig)
    await finish(rig, worker)
    before = (await rig.ok("schedule_list"))["schedules_uid"]
    assert (await rig.ok("schedule_pause", schedule_uid=uid))["schedule"]["paused"]
    assert (await rig.ok("schedule_list"))["schedules_uid"] != before
    await rig.restart()
    await due(rig, 35.0)
    assert worker.tasks == {}
    assert (await rig.ok("schedule_list", selector={"paused": True}))["schedules"]
    await rig.ok("schedule_resume", schedule_uid=uid, catch_up="one")
    await due(rig)
    assert len(worker.tasks) == 1
    schedule = (await rig.ok("schedule_cancel", schedule_uid=uid, cancel_current=True))["schedule"]
    assert worker.cancels == [schedule["current_task_uid"]]
    assert "not found" in await rig.refused("schedule_pause", schedule_uid=uid)
    kinds = [json.loads(e.data)["schedule_uid"] for e in rig.events() if e.type.startswith("schedule_")]
    assert set(kinds) == {uid}
    assert {"schedule_event"} <= {key for news in rig.news for key in news}


async def test_an_occurrence_that_is_refused(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await add(rig, interval_s=10.0, initial_delay_s=10.0, mode="fixed_rate")
    worker.ready({"other": {}})
    await rig.settle()
    await due(rig, 10.0)
    schedule = await look(rig, uid)
    assert (schedule["last_state"], schedule["execution_count"]) == ("failed", 1)
    [event] = rig.events("schedule_failed")
    assert "no function 'work'" in json.loads(event.data)["msg"]


async def test_a_duplicate_stands_for_the_occurrence(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    other = await rig.submit(key="k")
    uid = await add(rig, {"key": "k"}, interval_s=10.0)
    await due(rig)
    assert (await look(rig, uid))["current_task_uid"] == other
    await finish(rig, worker)
    assert (await look(rig, uid))["last_state"] == "completed"


async def test_a_task_stands_for_occurrences_of_two(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uids = [await add(rig, {"key": "k"}, interval_s=10.0, mode="fixed_rate") for _ in range(2)]
    for count in (1, 2):
        await due(rig, 10.0)
        await finish(rig, worker)
        for uid in uids:
            schedule = await look(rig, uid)
            assert (schedule["execution_count"], schedule["current_task_uid"]) == (count, None)


async def test_it_goes_on_after_its_occurrence_was_lost(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await add(rig, interval_s=10.0, mode="fixed_rate")
    await due(rig)
    (lost,) = worker.tasks
    worker.begin(lost)
    await rig.settle()
    await rig.crash()
    rig.processes.end(worker.pid, -9)
    await rig.restart_after_crash()
    assert (await rig.task(lost))["state"] == "lost"
    schedule = await look(rig, uid)
    assert (schedule["last_state"], schedule["current_task_uid"]) == ("lost", None)


async def test_what_is_refused(pool_rig: Rig) -> None:
    rig = pool_rig

    async def refused(item: Any = None, options: Any = None, **recurring: Any) -> str:
        item = item or function("work")
        return await rig.refused(
            "schedule_add", **user(), item=item, recurring=recurring, options=options or {}
        )

    await refused()
    await refused(interval_s=1.0, cron="* * * * *")
    await refused(cron="nonsense")
    await refused(cron="* * * * *", timezone="Mars/Base")
    await refused(cron="0 0 30 2 *")
    assert "'mode'" in await refused(cron="* * * * *", mode="fixed_rate")
    assert "'timezone'" in await refused(interval_s=1.0, timezone="UTC")
    await refused(interval_s=0.001)
    assert "no function" in await refused(function("unheard_of"), interval_s=1.0)
    assert "run_after" in await refused(options={"run_after": 5.0}, interval_s=1.0)
    assert "priority" in await refused(options={"priority": 300}, interval_s=1.0)
    assert (await rig.ok("schedule_list"))["schedules"] == []
