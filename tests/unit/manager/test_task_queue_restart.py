"""The task queue after a restart of the manager, and after the end of a worker."""

from __future__ import annotations

from dataclasses import replace

import pytest
from manager_rig import TASK_QUEUE, FakePoolWorker, Rig, function, hop, user

from remanager.manager.task_queue import service
from remanager.manager.task_queue.restoring import GONE
from remanager.model.link import PlanFinished
from remanager.model.pool_messages import CancelTask, TasksEnded


@pytest.fixture
async def worker(pool_rig: Rig) -> FakePoolWorker:
    """The only worker of the pool."""
    return await pool_rig.pool_worker()


async def started(rig: Rig, worker: FakePoolWorker, **options: object) -> str:
    """Submit a task that begins at once."""
    uid = await rig.submit(**options)
    worker.begin(uid)
    await rig.settle()
    return uid


async def short_ones(rig: Rig, worker: FakePoolWorker) -> None:
    """Let the manager learn that tasks are short: it hands over several at once."""
    await worker.end(await started(rig, worker))


async def test_everything_that_waits_is_there_again(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    running = await started(rig, worker, max_retries=1)
    waiting = await rig.submit(priority=3, tags={"a": "b"}, key="k")
    delayed = await rig.submit(delay_s=100)
    blocked = await rig.submit(depends_on=[waiting, running])
    await rig.ok("task_pause", scope="group", name="g")
    held = await rig.submit(group="g")
    uids = [running, waiting, delayed, blocked, held]
    before = {uid: await rig.task(uid) for uid in uids}
    states = ["running", "pending", "pending", "blocked", "paused"]
    assert await rig.task_states(*uids) == states
    await rig.restart()
    assert await rig.task_states(*uids) == states
    for uid in uids:
        assert await rig.task(uid) == before[uid]
    status = rig.status
    assert (status["tasks_queued"], status["tasks_running"], status["tasks_held"]) == (4, 1, 1)
    reply = await rig.call("task_submit", **user(), item=function("work"), options={"key": "k"})
    assert (reply["outcome"], reply["task_uid"]) == ("duplicate", waiting)
    worker.begin(running)
    await worker.end(running)
    await rig.settle()
    assert list(worker.tasks) == [waiting]
    await worker.end(waiting)
    assert blocked in worker.tasks


async def test_a_parent_knows_its_failed_child(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    await short_ones(rig, worker)
    parent = await started(rig, worker)
    worker.child(1, parent, {**function("other"), "item_uid": "child"})
    await rig.settle()
    await worker.fail("child")
    await rig.restart()
    await worker.end(parent)
    assert await rig.task_states(parent, "child") == ["failed", "failed"]
    assert (await rig.task(parent))["state_reason"] == "child child did not succeed"


async def test_children_that_were_spared_go_on(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    await short_ones(rig, worker)
    parent = await started(rig, worker)
    worker.child(1, parent, {**function("other"), "item_uid": "child"})
    await rig.settle()
    worker.begin("child")
    reply = await rig.ok("task_cancel", task_uid=parent, cascade=False)
    assert (reply["cancelling"], reply["cascaded"]) == ([parent], [])
    await rig.restart()
    await worker.end(parent, "cancelled")
    assert await rig.task_states(parent, "child") == ["cancelled", "running"]
    assert "child" not in worker.cancels
    await worker.end("child")
    assert await rig.task_states("child") == ["completed"]


async def test_numbers_go_on(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    await worker.end(await started(rig, worker))
    await rig.restart()
    uid = await rig.submit()
    assert rig.manager.task_queue.scheduler.cards[uid].number == 2


async def test_an_end_that_the_manager_missed(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await started(rig, worker)
    await rig.crash()
    row = worker.outcome(uid, "completed", value=3)
    worker.event(TasksEnded, outcomes=[row])  # nobody hears it now
    await rig.restart_after_crash()
    await rig.settle()
    assert (await rig.ok("task_result", task_uid=uid))["result"]["return_value"] == 3
    assert len([e for e in rig.events("task_finished") if e.task_uid == uid]) == 1


async def test_an_end_that_was_not_on_disk(pool_rig: Rig, worker: FakePoolWorker) -> None:
    """What was not acknowledged is told again, and counts once."""
    rig = pool_rig
    uid = await started(rig, worker)
    rig.gate.shut()
    worker.event(TasksEnded, outcomes=[worker.outcome(uid, "completed", value=3)])
    while uid not in rig.manager.task_queue.ending:
        await hop()
    assert (await rig.ok("task_status", task_uid=uid))["state"] == "running"
    await rig.crash()
    await rig.restart_after_crash()
    await rig.settle()
    assert (await rig.ok("task_result", task_uid=uid))["result"]["return_value"] == 3
    assert (await rig.ok("stats", sections=["counters"]))["counters"]["completed"] == 1


async def test_a_hand_over_that_never_left(pool_rig: Rig, worker: FakePoolWorker) -> None:
    """It is on disk, and the worker never got it: it is handed over again, and has used no attempt."""
    rig = pool_rig
    worker.connected = False  # what is sent to it is lost
    uid = await rig.submit()
    assert uid not in worker.tasks
    worker.hello()
    await rig.settle()
    assert worker.tasks[uid].epoch == 2
    assert worker.tasks[uid].attempt == 1
    worker.connected = False
    second = await rig.submit("other")
    await rig.restart()
    await rig.settle()
    worker.begin(uid)
    await worker.end(uid)
    await rig.settle()
    assert worker.tasks[second].attempt == 1
    await worker.end(second)
    assert await rig.task_states(uid, second) == ["completed", "completed"]


async def test_a_lost_worker(pool_rig: Rig, worker: FakePoolWorker) -> None:
    """What it had begun has used an attempt; what it had not begun waits again."""
    rig = pool_rig
    await short_ones(rig, worker)
    begun, untold, waiting = await rig.submit_many(3)
    assert set(worker.tasks) == {begun, untold, waiting}
    worker.begin(begun)
    worker.begin(untold, tell=False)
    worker.die()
    await rig.until(lambda: worker.uid not in rig.manager.task_queue.pool.workers)
    successor = await rig.pool_worker()
    await rig.settle()
    assert await rig.task_states(begun, untold, waiting) == ["lost", "lost", "running"]
    task = await rig.task(begun)
    assert task["last_error"]["type"] == "WorkerLost"
    assert "signal 9" in task["last_error"]["msg"]
    assert successor.tasks[waiting].attempt == 1
    await successor.end(waiting)
    assert rig.manager.task_queue.pool.restarts == 1
    (ended,) = rig.events("pool_worker_ended")
    assert '"expected": false' in ended.data


async def test_a_worker_that_is_lost_after_a_restart(pool_rig: Rig, worker: FakePoolWorker) -> None:
    """Its note tells what it had begun, also of what a former manager handed to it."""
    rig = pool_rig
    await short_ones(rig, worker)
    begun, waiting = await rig.submit_many(2, max_retries=1)
    worker.begin(begun)
    await rig.restart()
    worker.die()
    await rig.until(lambda: worker.uid not in rig.manager.task_queue.pool.workers)
    await rig.settle()
    task = await rig.task(begun)
    assert (task["state"], task["attempt"], task["wait_reason"]) == ("pending", 1, "backoff")
    successor = await rig.pool_worker()
    await rig.until(lambda: waiting in successor.tasks)
    assert successor.tasks[waiting].attempt == 1


async def test_worker_and_manager_are_lost(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    await short_ones(rig, worker)
    begun, waiting = await rig.submit_many(2)
    worker.begin(begun)
    await rig.crash()
    worker.die()
    await rig.restart_after_crash()
    assert await rig.task_states(begun) == ["lost"]
    successor = await rig.pool_worker()
    await rig.until(lambda: waiting in successor.tasks)
    assert successor.tasks[waiting].attempt == 1
    await successor.end(waiting)
    assert await rig.task_states(waiting) == ["completed"]
    left = {path.stem for path in rig.options.runtime_dir.glob("worker-*.begun")}
    assert left == {f"worker-{uid}" for uid in rig.manager.task_queue.pool.workers}


async def test_a_lost_worker_and_another_attempt(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await started(rig, worker, max_retries=1, retry={"initial_s": 0.0})
    await worker.checkpoint(uid, b"\x07")
    worker.die()
    await rig.until(lambda: worker.uid not in rig.manager.task_queue.pool.workers)
    successor = await rig.pool_worker()
    await rig.settle()
    handed = successor.tasks[uid]
    assert (handed.attempt, handed.epoch, handed.checkpoint) == (2, 2, b"\x07")
    successor.die()
    await rig.until(lambda: successor.uid not in rig.manager.task_queue.pool.workers)
    third = await rig.pool_worker()
    await rig.settle()
    assert third.tasks[uid].attempt == 2  # the second worker had not begun it
    third.begin(uid)
    third.die()
    await rig.until(lambda: uid not in rig.manager.task_queue.scheduler.cards)
    await rig.settle()
    assert (await rig.task(uid))["state"] == "lost"
    counters = (await rig.ok("stats", sections=["counters"]))["counters"]
    assert (counters["lost"], counters["retried"]) == (1, 1)


async def test_a_worker_that_died_while_no_manager_was_there(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await started(rig, worker)
    again = await rig.submit("other", max_retries=1, retry={"initial_s": 0.0}, priority=200)
    await rig.crash()
    rig.processes.alive.discard(worker.pid)
    worker.connected = False
    await rig.restart_after_crash()
    await rig.settle()
    task = await rig.task(uid)
    assert (task["state"], task["last_error"]["msg"]) == ("lost", GONE)
    successor = await rig.pool_worker()
    await rig.settle()
    assert successor.tasks[again].attempt == 1


async def test_stop_orders_are_given_again(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await started(rig, worker)
    await rig.ok("task_cancel", task_uid=uid)
    await rig.settle()
    assert worker.cancels == [uid]
    await rig.restart()
    await rig.settle()
    assert worker.cancels == [uid, uid]
    assert (await rig.task(uid))["stage"] == "cancelling"
    await worker.end(uid, "cancelled")
    assert await rig.task_states(uid) == ["cancelled"]


@pytest.mark.parametrize("how", ["cancelled", "paused", "preempted"])
async def test_stop_orders_of_before_the_greeting_are_given(
    pool_rig: Rig, worker: FakePoolWorker, how: str
) -> None:
    rig = pool_rig
    uid = await started(rig, worker)
    await rig.restart(greet=False)
    if how == "cancelled":
        await rig.ok("task_cancel", task_uid=uid)
    elif how == "paused":
        await rig.ok("task_pause", scope="task", name=uid, running="interrupt")
    else:
        rig.manager.task_queue.scheduler.preempt_at = 10
        await rig.submit(priority=0)
    await rig.settle()
    assert worker.cancels == []
    worker.hello()
    await rig.settle()
    assert worker.cancels == [uid]
    assert [m.reason.split()[0] for m in worker.received if isinstance(m, CancelTask)] == [how]


async def test_a_dependency_that_was_met_while_no_manager_was_there(
    pool_rig: Rig, worker: FakePoolWorker
) -> None:
    rig = pool_rig
    environment = await rig.open_environment()
    plan = await rig.run_plan()
    uid = await rig.submit(depends_on=[plan])
    rig.gate.shut()
    environment.event(PlanFinished, **environment.plan_finished(plan))
    await rig.crash()
    await rig.restart_after_crash()
    await rig.settle()
    assert await rig.task_states(plan, uid) == ["completed", "running"]


async def test_items_that_are_left_on_disk(
    pool_rig: Rig, worker: FakePoolWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "KEPT_BODIES", 1)
    rig = pool_rig
    await short_ones(rig, worker)
    first = await started(rig, worker)
    uids = await rig.submit_many(3, delay_s=10)
    cards = rig.manager.task_queue.scheduler.cards
    assert [cards[u].spec.body for u in uids] == [""] * 3
    await rig.pass_time(10)
    await worker.end(first)
    await rig.settle()
    assert [worker.tasks[u].item["args"] for u in uids] == [[0], [1], [2]]


async def test_figures_survive(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    await worker.end(await started(rig, worker))
    await worker.fail(await started(rig, worker), msg="no\nmore")
    rig.manager.figures_history.record()
    await rig.settle()
    before = await rig.ok("stats")
    await rig.restart()
    after = await rig.ok("stats")
    assert after["types"] == before["types"]
    assert after["rates"] == before["rates"]
    assert after["counters"]["since_ever"] == before["counters"]["since_ever"]
    assert (before["counters"]["completed"], after["counters"]["completed"]) == (1, 0)
    (kind,) = after["types"]["work"]["err_stats"]
    assert (kind["error"], kind["count"], kind["share"]) == ("ValueError: no", 1, 1.0)


async def test_settings_may_shrink(pool_rig: Rig, worker: FakePoolWorker) -> None:
    """More active tasks than now allowed are taken up all the same."""
    rig = pool_rig
    uids = await rig.submit_many(3, delay_s=50)
    rig.options = rig.with_options(task_queue=replace(TASK_QUEUE, max_active=1))
    await rig.restart()
    assert await rig.task_states(*uids) == ["pending"] * 3
