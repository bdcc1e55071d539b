"""What follows when somebody sets the clock, or the machine was suspended."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from manager_rig import TASK_QUEUE, FakePoolWorker, Rig, function, hop, user

from remanager.manager import silence
from remanager.manager.clock import WallClock
from remanager.manager.silence import SILENT_S

STEPS = pytest.mark.parametrize("step", [7200.0, -7200.0])


@pytest.fixture
async def worker(pool_rig: Rig) -> FakePoolWorker:
    """The worker of the pool."""
    return await pool_rig.pool_worker()


def set_clock(rig: Rig, step: float) -> None:
    """Let the manager see that the clock was set."""
    clock = WallClock(lambda: rig.now, lambda: 0.0)
    clock.on_step = rig.manager.clock_set
    rig.now += step
    clock()


def test_a_clock_that_goes_on_or_is_slewed() -> None:
    wall = steady = 1000.0
    steps: list[float] = []
    clock = WallClock(lambda: wall, lambda: steady)
    clock.on_step = steps.append
    for _ in range(100):
        wall, steady = wall + 100.05, steady + 100.0
        assert clock() == wall
    assert steps == []


@pytest.mark.parametrize("step", [5.0, -3600.0, 1e9])
def test_a_clock_that_is_set(step: float) -> None:
    wall = steady = 1000.0
    steps: list[float] = []
    clock = WallClock(lambda: wall, lambda: steady)
    clock.on_step = steps.append
    wall, steady = wall + 1.0 + step, steady + 1.0
    assert clock() == wall
    clock()
    assert steps == [step]


def test_only_its_own_thread_looks_for_a_step() -> None:
    wall, steps = 1000.0, []
    clock = WallClock(lambda: wall, lambda: 0.0)
    clock.on_step = steps.append
    wall += 60.0
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(clock).result() == wall
    assert steps == []
    assert clock() == wall
    assert steps == [60.0]


@STEPS
async def test_workers_and_time_outs_outlast_it(pool_rig: Rig, worker: FakePoolWorker, step: float) -> None:
    rig = pool_rig
    uid = await rig.submit(timeout_s=100.0)
    worker.begin(uid)
    await rig.settle()
    set_clock(rig, step)
    rig.manager.task_queue.pool.check()
    await hop()
    await rig.settle()
    assert rig.processes.killed == []
    assert (await rig.task(uid))["state"] == "running"
    (event,) = (await rig.ok("event_list", types=["clock_set"]))["events"]
    assert event["data"] == {"step_s": step}
    rig.now += TASK_QUEUE.lease_s - 1
    rig.manager.task_queue.pool.check()
    assert rig.processes.killed == []
    await rig.pass_time(99.0 - (TASK_QUEUE.lease_s - 1))
    assert worker.cancels == []
    await rig.pass_time(2.0)
    assert worker.cancels == [uid]
    rig.now += TASK_QUEUE.lease_s + 1
    rig.manager.task_queue.pool.check()
    assert rig.processes.killed == [worker.pid]


async def test_what_has_become_due_starts(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await rig.submit(run_after=rig.now + 3600.0)
    assert uid not in worker.tasks
    set_clock(rig, 7200.0)
    await rig.until(lambda: uid in worker.tasks)


@STEPS
async def test_intervals_are_kept(pool_rig: Rig, worker: FakePoolWorker, step: float) -> None:
    rig = pool_rig

    async def add(**recurring: object) -> str:
        item = function("work")
        return str((await rig.ok("schedule_add", **user(), item=item, recurring=recurring))["schedule_uid"])

    async def next_runs() -> dict[str, float]:
        schedules = (await rig.ok("schedule_list"))["schedules"]
        return {s["schedule_uid"]: s["next_run"] for s in schedules}

    interval = await add(interval_s=60.0, initial_delay_s=60.0)
    cron = await add(cron="0 0 1 1 *")
    before = await next_runs()
    set_clock(rig, step)
    expected = {interval: before[interval] + step, cron: before[cron]}
    assert await next_runs() == expected
    await rig.restart()
    assert await next_runs() == expected


@STEPS
async def test_a_rate_goes_on(pool_rig: Rig, worker: FakePoolWorker, step: float) -> None:
    rig = pool_rig
    rate = {"permits": 1.0, "interval_s": 10.0}
    await rig.ok("limit_set", scope="task_type", name="work", rate=rate)

    async def tokens() -> float:
        (limit,) = (await rig.ok("limit_list"))["limits"]
        return float(limit["available_tokens"])

    first, second = [await rig.submit() for _ in range(2)]
    worker.begin(first)
    await worker.end(first)
    await rig.pass_time(4.0)
    set_clock(rig, step)
    await hop()
    await rig.settle()
    assert await tokens() == pytest.approx(0.4)
    assert list(worker.tasks) == []
    await rig.pass_time(5.9)
    assert list(worker.tasks) == []
    await rig.pass_time(0.2)
    assert list(worker.tasks) == [second]


@STEPS
async def test_the_environment_worker_is_not_silent(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    await rig.open_environment()
    assert rig.manager.state.worker is not None
    rig.manager.state.worker.last_heartbeat = rig.now - 1.0
    set_clock(rig, step)
    rig.manager.silence._look()
    assert rig.status["ready"] is True
    monkeypatch.setattr(silence, "SILENT_S", 0.01)
    rig.now += SILENT_S
    rig.manager.silence._look()
    assert rig.status["ready"] is False
