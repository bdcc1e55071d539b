"""Workers on request: listed, stopped, started anew."""

from __future__ import annotations

import pytest
from manager_rig import FakePoolWorker, Rig

from remanager.manager.worker_files import crash_path
from remanager.model.link import CloseEnvironment


@pytest.fixture
async def worker(pool_rig: Rig) -> FakePoolWorker:
    """The worker of the pool."""
    return await pool_rig.pool_worker()


async def test_list(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    environment = await rig.open_environment()
    uid = await rig.submit()
    workers = {w["worker_uid"]: w for w in (await rig.ok("worker_list"))["workers"]}
    assert workers.keys() == {environment.uid, worker.uid}
    told = workers[worker.uid]
    assert (told["kind"], told["state"], told["running"], told["pid"]) == ("pool", "busy", [uid], worker.pid)
    assert told["lease_expires_at"] > rig.now
    task = await rig.task(uid)
    assert (task["worker_uid"], task["lease_expires_at"]) == (worker.uid, told["lease_expires_at"])
    assert (await rig.task(await rig.submit()))["lease_expires_at"] is None
    keys = {"slots", "heartbeat_age_s", "tasks_done", "tasks_failed", "restarts", "cpu_s", "rss_bytes"}
    assert keys <= told.keys()
    assert keys <= workers[environment.uid].keys()
    [only] = (await rig.ok("worker_list", worker_uid=environment.uid))["workers"]
    assert only["kind"] == "environment"
    assert "no worker" in await rig.refused("worker_list", worker_uid="nobody")


async def test_stop_lets_it_finish(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await rig.submit()
    worker.begin(uid)
    told = (await rig.ok("worker_stop", worker_uid=worker.uid))["worker"]
    assert told["state"] == "draining"
    assert worker.drained
    await worker.end(uid)
    worker.leave()
    await rig.until(lambda: worker.uid not in rig.manager.task_queue.pool.workers)
    assert await rig.task_states(uid) == ["completed"]
    assert (await rig.ok("worker_list"))["workers"] == []
    again = await rig.submit()
    await rig.until(rig.living_pool)
    await rig.pool_worker()
    assert await rig.task_states(again) == ["running"]


async def test_stop_kills_what_does_not_leave(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await rig.submit()
    worker.begin(uid)
    await rig.ok("worker_stop", worker_uid=worker.uid, timeout_s=0.0)
    await rig.until(lambda: rig.processes.killed)
    await rig.until(lambda: not rig.living_pool())
    await rig.settle()
    assert await rig.task_states(uid) == ["lost"]


async def test_restart(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await rig.submit(max_retries=1, retry={"strategy": "constant", "initial_s": 0.0})
    worker.begin(uid)
    await rig.ok("worker_restart", worker_uid=worker.uid, drain=False)
    assert rig.processes.killed == [worker.pid]
    await rig.until(lambda: [w for w in rig.living_pool() if uid in w.tasks])
    [other] = rig.living_pool()
    assert other.tasks[uid].attempt == 2
    [told] = (await rig.ok("worker_list"))["workers"]
    assert (told["worker_uid"], told["restarts"]) == (other.uid, 0)  # it was wanted
    assert "no worker" in await rig.refused("worker_restart", worker_uid=worker.uid)


async def test_the_environment(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    environment = await rig.open_environment()
    await rig.ok("worker_restart", worker_uid=environment.uid)
    await rig.until(lambda: environment.commands(CloseEnvironment))
    environment.die(0)
    await rig.until(lambda: rig.worker is not environment)
    other = await rig.spawned()
    other.hello()
    await other.ready()
    await rig.settle()
    assert rig.status["worker_environment_exists"]
    await rig.run_plan()
    assert "in progress" in await rig.refused("worker_stop", worker_uid=other.uid)
    await rig.ok("worker_stop", worker_uid=other.uid, drain=False)
    await rig.until(lambda: not rig.status["worker_environment_exists"])
    assert rig.processes.killed == [other.pid]


async def test_an_environment_that_does_not_close_in_time(pool_rig: Rig) -> None:
    rig = pool_rig
    environment = await rig.open_environment()
    await rig.ok("worker_stop", worker_uid=environment.uid, timeout_s=0.0)
    await rig.until(lambda: rig.processes.killed == [environment.pid])
    await rig.until(lambda: not rig.status["worker_environment_exists"])


@pytest.mark.parametrize("manager_lives", [True, False])
async def test_the_stacks_of_a_crash_are_those_of_the_task(
    pool_rig: Rig, worker: FakePoolWorker, manager_lives: bool
) -> None:
    rig = pool_rig
    uid = await rig.submit()
    worker.begin(uid)
    await rig.settle()
    crash_path(rig.options.runtime_dir, worker.uid).write_text("Fatal Python error: Aborted")
    if manager_lives:
        worker.die(-6)
        await rig.settle()
    else:
        await rig.crash()
        worker.die(-6)
        await rig.start(first_start=False)
    assert (await rig.task(uid))["state"] == "lost"
    result = (await rig.ok("task_result", task_uid=uid))["result"]
    assert result["traceback"] == "Fatal Python error: Aborted"
    assert not crash_path(rig.options.runtime_dir, worker.uid).exists()
