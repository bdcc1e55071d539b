"""Tasks of the task queue in the environment: when they begin, and how they are told to stop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from manager_rig import CloseEnvironment, FakeWorker, Rig, RunTask, function, user

from remanager.manager.task_queue.in_environment import PLACES
from remanager.model.link import StopTask, TaskFinished


@pytest.fixture
async def worker(rig: Rig) -> FakeWorker:
    return await rig.open_environment()


async def submit(rig: Rig, **options: Any) -> str:
    """Submit a task for the environment; return its uid."""
    options = {"where": "environment", **options}
    reply = await rig.ok("task_submit", **user(), item=function(), options=options)
    await rig.settle()
    return str(reply["task_uid"])


async def pass_time(rig: Rig, seconds: float) -> None:
    """Let time pass; what has become due is done."""
    rig.now += seconds
    rig.manager.task_queue.tick()
    await rig.settle()


def stops(worker: FakeWorker) -> list[tuple[str, str]]:
    """Return what the worker was told to stop, and why."""
    return [(m.task_uid, m.reason) for m in worker.commands(StopTask)]


async def end(rig: Rig, worker: FakeWorker, uid: str, *, took: float, **fields: Any) -> None:
    """End a task, by default with success."""
    values = {"success": True, "msg": "", "traceback": "", "codec": "json", "payload": b"1", **fields}
    times = {"time_start": rig.now - took, "time_stop": rig.now}
    await worker.report(TaskFinished, task_uid=uid, **times, **values)


async def test_its_time_counts_from_when_the_worker_takes_it(rig: Rig, worker: FakeWorker) -> None:
    uid = await submit(rig, timeout_s=2.0, kill_after_s=1.0)
    task = await rig.task(uid)
    assert (task["state"], task["stage"]) == ("running", "executing")
    (command,) = worker.commands(RunTask)
    assert (command.task_uid, command.timeout_s, command.attempt) == (f"{uid}:1", 2.0, 1)
    await pass_time(rig, 2.0)
    assert stops(worker) == [(f"{uid}:1", "took longer than 2 s")]
    assert (await rig.task(uid))["stage"] == "cancelling"
    await pass_time(rig, 1.0)
    task = await rig.task(uid)
    assert (task["stage"], task["duration"]) == ("cancelling", 3.0)
    assert task["state_reason"].startswith("not stopped within 1 s: took longer than 2 s")
    assert rig.processes.killed == []
    await end(rig, worker, f"{uid}:1", took=3.0)
    task = await rig.task(uid)
    assert (task["state"], task["duration"], task["last_error"]["type"]) == ("timed_out", 3.0, "TimeoutError")
    rows = (await rig.ok("task_info", task_uid=uid, include=["transitions"]))["transitions"]
    told = [(row["to"], row["stage"]) for row in rows]
    assert told == [
        ("pending", None),
        ("running", None),
        ("running", "cancelling"),
        ("running", "cancelling"),
        ("timed_out", None),
    ]


async def test_what_was_told_to_stop_and_did_is_cancelled(rig: Rig, worker: FakeWorker) -> None:
    uid = await submit(rig)
    assert (await rig.ok("task_cancel", task_uid=uid))["cancelling"] == [uid]
    await rig.settle()
    assert stops(worker) == [(f"{uid}:1", "cancelled")]
    await end(rig, worker, f"{uid}:1", took=1.0, success=False, msg="cancelled", cancelled=True)
    assert (await rig.task(uid))["state"] == "cancelled"


async def test_what_stopped_for_a_pause_goes_on_later(rig: Rig, worker: FakeWorker) -> None:
    uid = await submit(rig)
    await rig.ok("task_pause", scope="task", name=uid, running="interrupt")
    await rig.settle()
    await end(rig, worker, f"{uid}:1", took=1.0, success=False, msg="paused", cancelled=True)
    task = await rig.task(uid)
    assert (task["state"], task["attempt"]) == ("paused", 0)
    attempts = (await rig.ok("task_info", task_uid=uid, include=["attempts"]))["attempts"]
    assert [a["outcome"] for a in attempts] == ["interrupted"]


async def test_the_next_manager_says_it_again(rig: Rig, worker: FakeWorker) -> None:
    uid = await submit(rig, timeout_s=2.0)
    await pass_time(rig, 2.0)
    worker.received.clear()
    await rig.restart()
    assert {name for name, _ in stops(worker)} == {f"{uid}:1"}
    await end(rig, worker, f"{uid}:1", took=3.0)
    assert (await rig.task(uid))["state"] == "timed_out"


async def test_a_worker_that_is_away_is_told_when_it_is_back(rig: Rig, worker: FakeWorker) -> None:
    uid = await submit(rig, timeout_s=2.0)
    worker.connected = False
    await pass_time(rig, 2.0)
    assert stops(worker) == []
    worker.hello()
    await rig.settle()
    assert stops(worker) == [(f"{uid}:1", "took longer than 2 s")]


async def test_the_environment_is_not_closed_while_it_has_a_task(rig: Rig, worker: FakeWorker) -> None:
    rig.gate.shut()
    submitting = asyncio.ensure_future(
        rig.ok("task_submit", **user(), item=function(), options={"where": "environment"})
    )
    await rig.settle()
    assert "task queue" in await rig.refused("environment_close")  # it will be sent
    await rig.gate.open()
    uid = (await submitting)["task_uid"]
    await rig.settle()
    assert "task queue" in await rig.refused("environment_close")
    await end(rig, worker, f"{uid}:1", took=1.0)
    await rig.ok("environment_close")
    assert (await rig.task(uid))["state"] == "completed"


async def test_what_an_environment_that_ends_refuses_waits_for_the_next_one(
    rig: Rig, worker: FakeWorker
) -> None:
    worker.refusals[RunTask] = "Incorrect environment state: 'closing'"
    worker.silent = True
    uid = await submit(rig)
    await worker.change(environment_state="closing")
    (command,) = worker.commands(RunTask)
    worker.answer(command)
    await rig.settle()
    task = await rig.task(uid)
    assert (task["state"], task["attempt"], task["last_error"]) == ("pending", 0, None)
    assert len(worker.commands(RunTask)) == 1  # it is not asked again
    worker.die(0)
    await rig.until(lambda: not rig.manager.state.environment_exists)
    assert (await rig.task(uid))["wait_reason"] == "environment_closed"
    other = await rig.open_environment()
    assert [command.task_uid for command in other.commands(RunTask)] == [f"{uid}:2"]


@pytest.mark.parametrize("retries", [0, 1])
async def test_a_worker_that_has_died_gets_nothing_more(rig: Rig, worker: FakeWorker, retries: int) -> None:
    retry = {"max_retries": retries, "retry": {"strategy": "constant", "initial_s": 0.0}}
    uids = [await submit(rig, **retry) for _ in range(PLACES + 2)]
    assert len(worker.commands(RunTask)) == PLACES
    worker.die()
    await rig.until(lambda: not rig.manager.state.environment_exists)
    await rig.settle()
    tasks = [await rig.task(uid) for uid in uids]
    ran, waited = ["pending" if retries else "lost"] * PLACES, ["pending"] * 2
    assert [t["state"] for t in tasks] == ran + waited
    assert {t["wait_reason"] for t in tasks if t["state"] == "pending"} == {"environment_closed"}
    assert [t["attempt"] for t in tasks[PLACES:]] == [0, 0]
    assert (await rig.ok("task_cancel", task_uid=uids[-1]))["cancelled"] == [uids[-1]]
    other = await rig.open_environment()
    left = uids[:-1] if retries else uids[PLACES:-1]
    assert [c.task_uid.partition(":")[0] for c in other.commands(RunTask)] == left[:PLACES]


async def test_what_an_environment_that_stays_refuses_has_failed(rig: Rig, worker: FakeWorker) -> None:
    worker.refusals[RunTask] = "The task cannot be started: can't start new thread"
    uid = await submit(rig)
    await rig.settle()
    task = await rig.task(uid)
    assert (task["state"], task["last_error"]["type"]) == ("failed", "Refused")
    assert len(worker.commands(RunTask)) == 1


async def test_what_waited_for_a_close_that_was_refused_goes_on(rig: Rig, worker: FakeWorker) -> None:
    worker.silent = True
    await rig.ok("environment_close")
    await rig.settle()
    await submit(rig)
    assert worker.commands(RunTask) == []
    worker.silent = False
    worker.refusals[CloseEnvironment] = "IPython kernel is busy and can not be stopped."
    worker.answer(worker.commands(CloseEnvironment)[0])
    await rig.settle()
    assert len(worker.commands(RunTask)) == 1
