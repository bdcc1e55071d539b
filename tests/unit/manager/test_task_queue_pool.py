"""The pool: workers are started, watched, dismissed, killed and drained as there is work for them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from manager_rig import TASK_QUEUE, FakePoolWorker, Rig, function, user

from remanager.manager.task_queue import service
from remanager.manager.task_queue.pool import RECYCLED_EXIT
from remanager.model.link import Heartbeat
from remanager.model.pool_messages import Drain, PoolHello, PoolLeaving, TasksEnded


@pytest.fixture
async def worker(pool_rig: Rig) -> FakePoolWorker:
    """The only worker of the pool."""
    return await pool_rig.pool_worker()


async def gone(rig: Rig, worker: FakePoolWorker) -> None:
    """Wait until the manager knows that a worker has ended."""
    await rig.until(lambda: worker.uid not in rig.manager.task_queue.pool.workers)
    await rig.settle()


async def with_workers(rig: Rig, number: int, **changes: object) -> None:
    """Allow more workers."""
    rig.options = rig.with_options(task_queue=replace(TASK_QUEUE, workers=number, **changes))
    await rig.restart()


async def test_the_first_worker_is_there_from_the_start(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    (told,) = (await rig.ok("stats", sections=["workers"]))["workers"]
    assert (told["worker_uid"], told["pid"], told["kind"], told["state"]) == (
        worker.uid,
        worker.pid,
        "pool",
        "idle",
    )
    assert (await rig.ok("stats", worker_uid=worker.uid))["workers"] == [told]
    assert "no worker 'x'" in await rig.refused("stats", worker_uid="x")
    (row,) = rig.gate.reads.workers()
    assert (row.worker_uid, row.kind, row.pid) == (worker.uid, "pool", worker.pid)


async def test_more_workers_come_with_more_work(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    await with_workers(rig, 3)
    assert len(rig.living_pool()) == 1
    uids = await rig.submit_many(5)
    await rig.until(lambda: len(rig.living_pool()) == 3 and all(w.acked for w in rig.living_pool()))
    await rig.settle()
    assert len(rig.living_pool()) == 3
    handed = [uid for w in rig.living_pool() for uid in w.tasks]
    assert sorted(handed) == sorted(uids[:3])  # nothing is known of their times yet: one for each
    for w in rig.living_pool():
        (uid,) = w.tasks
        w.begin(uid)
    rig.now += 60.0
    for w in rig.living_pool():
        (uid,) = w.tasks
        await w.end(uid)
    await rig.settle()
    assert (await rig.ok("queue_status"))["queued"] == 0


async def test_what_waits_behind_a_long_task_gets_another_worker(
    pool_rig: Rig, worker: FakePoolWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "CHECK_PERIOD_S", 0.001)  # this one looks by itself
    rig = pool_rig
    await with_workers(rig, 2)
    (only,) = rig.living_pool()
    await rig.until(lambda: only.acked)
    for _ in range(30):  # tasks are short as far as is known
        uid = await rig.submit()
        only.begin(uid, tell=False)
        rig.now += 0.001
        await only.end(uid)
    long = await rig.submit()
    only.begin(long)
    await rig.settle()
    short = await rig.submit()
    if short in only.tasks:
        await only.end(short, "returned")
        await rig.settle()
    assert len(rig.living_pool()) == 1
    rig.now += 1.0
    await rig.until(lambda: len(rig.living_pool()) == 2 and all(w.acked for w in rig.living_pool()))
    await rig.settle()
    (other,) = (w for w in rig.living_pool() if w is not only)
    assert list(other.tasks) == [short]


async def test_idle_workers_leave_but_one(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    await with_workers(rig, 2, idle_s=10.0)
    rig.manager.task_queue.pool.want(2)
    await rig.until(lambda: len([w for w in rig.living_pool() if w.acked]) == 2)
    await rig.settle()
    await rig.pass_time(9.0)
    rig.manager.task_queue.pool.check()
    assert not any(w.drained for w in rig.living_pool())
    await rig.pass_time(2.0)
    rig.manager.task_queue.pool.check()
    await rig.settle()
    (leaving,) = (w for w in rig.living_pool() if w.drained)
    leaving.leave()
    await gone(rig, leaving)
    await rig.pass_time(100.0)
    rig.manager.task_queue.pool.check()
    assert not any(w.drained for w in rig.living_pool())
    assert rig.manager.task_queue.pool.restarts == 0


async def test_a_silent_worker_is_killed(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await rig.submit(max_retries=1, retry={"initial_s": 0.0})
    worker.begin(uid)
    await rig.settle()
    pool = rig.manager.task_queue.pool
    rig.now += TASK_QUEUE.lease_s - 1
    worker.heartbeat()
    await rig.settle()
    rig.now += TASK_QUEUE.lease_s
    pool.check()
    assert rig.processes.killed == []
    assert "silent" in (await rig.ok("stats", sections=[]))["health"]["reasons"][0]
    rig.now += 1.0
    pool.check()
    assert rig.processes.killed == [worker.pid]
    await gone(rig, worker)
    successor = await rig.pool_worker()
    await rig.settle()
    assert successor.tasks[uid].attempt == 2
    assert "silent" in (await rig.task(uid))["last_error"]["msg"]


async def test_a_worker_that_never_greets_is_killed(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    await with_workers(rig, 2)
    rig.pool_greets = False
    rig.manager.task_queue.pool.want(2)
    await rig.until(lambda: len(rig.living_pool()) == 2)
    await rig.settle()
    (mute,) = (w for w in rig.living_pool() if w is not worker)
    states = {w["worker_uid"]: w["state"] for w in (await rig.ok("stats"))["workers"]}
    assert states[mute.uid] == "starting"
    await rig.submit()
    assert not mute.tasks
    rig.now += 31.0
    rig.manager.task_queue.pool.workers[worker.uid].last_heartbeat = rig.now
    rig.manager.task_queue.pool.check()
    assert rig.processes.killed == [mute.pid]
    await gone(rig, mute)


async def test_a_worker_that_cannot_be_started(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    rig.processes.spawn_error = OSError("no python")
    worker.die()
    await gone(rig, worker)
    uid = await rig.submit()
    await rig.settle()
    health = (await rig.ok("stats", sections=[]))["health"]
    assert health["state"] == "bad"
    assert "no python" in health["reasons"][0]
    assert (await rig.task(uid))["wait_reason"] == "no_worker"
    rig.processes.spawn_error = None
    await rig.pass_time(1.0)
    rig.manager.task_queue.commit()
    successor = await rig.pool_worker()
    await rig.settle()
    assert uid in successor.tasks
    assert (await rig.ok("stats", sections=[]))["health"]["state"] == "ok"


async def test_a_worker_leaves_to_be_replaced(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    await worker.end(await rig.submit())
    running, waiting = await rig.submit_many(2)
    worker.begin(running)
    await worker.report(PoolLeaving, reason="it has run 1000 tasks")
    await worker.report(TasksEnded, outcomes=[worker.outcome(waiting, "returned")])
    third = await rig.submit()
    assert list(worker.tasks) == [running]
    await worker.end(running)
    worker.die(RECYCLED_EXIT)
    await gone(rig, worker)
    successor = await rig.pool_worker()
    await rig.settle()
    assert set(successor.tasks) == {waiting, third} or list(successor.tasks) == [waiting]
    assert successor.tasks[waiting].attempt == 1
    assert rig.manager.task_queue.pool.restarts == 0
    assert await rig.task_states(running) == ["completed"]


async def test_heartbeats_are_answered(pool_rig: Rig, worker: FakePoolWorker) -> None:
    worker.received.clear()
    worker.heartbeat()
    await pool_rig.settle()
    assert [type(m).__name__ for m in worker.received] == ["Ack"]


async def test_an_event_that_is_sent_again_counts_once(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await rig.submit()
    event = await worker.report(TasksEnded, outcomes=[worker.outcome(uid, "completed")])
    worker.send(event)
    await rig.settle()
    assert rig.events("task_late_report") == []
    assert (await rig.ok("stats", sections=["counters"]))["counters"]["completed"] == 1


async def test_strangers_are_sent_away(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    rig.manager.on_worker_message("stranger", PoolHello("stranger", 7, 0, []))
    rig.manager.on_worker_message(worker.uid, Heartbeat(1.0))
    assert rig.workers.strangers == [("stranger", Drain())]


async def test_stopping_waits_for_what_runs(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await rig.submit()
    worker.begin(uid)
    rig.manager.request_stop()
    await rig.stopped.wait()
    stopping = asyncio.ensure_future(rig.manager.shut_down())
    await rig.until(lambda: worker.drained)
    await worker.end(uid, value=1)
    worker.leave()
    await stopping
    await rig.crash()
    await rig.restart_after_crash()
    assert await rig.task_states(uid) == ["completed"]
    assert (await rig.ok("stats"))["types"]["work"]["done_tasks_cnt"] == 1
    assert sum((await rig.ok("stats"))["types"]["work"]["per_min"]["succeeded"]) == 1


async def test_a_worker_reports_other_functions_than_before(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    assert len(rig.events("task_functions_changed")) == 1
    worker.ready({"work": {}, "new": {}})
    await rig.settle()
    assert len(rig.events("task_functions_changed")) == 2
    await rig.restart()
    await rig.ok("task_submit", **user(), item=function("new"))
    assert json.loads(rig.events("task_functions_changed")[-1].data)["worker_uid"] == worker.uid
