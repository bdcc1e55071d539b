"""A manager that starts where another one ended."""

from __future__ import annotations

import asyncio
import json

import pytest
from manager_rig import PLANS, TIMEOUT_S, Rig, function, hop, plan_description, user

from remanager.manager import environment
from remanager.manager.recovery import restore
from remanager.manager.state import WorkerRecord
from remanager.model.link import (
    CloseEnvironment,
    EnvironmentReady,
    ListsChanged,
    PlanFinished,
    RunTask,
    Welcome,
    WorkerState,
)
from remanager.store.records import WorkerRow
from remanager.store.writes import worker_put


async def test_queue_mode_lock_and_permissions_survive(rig: Rig) -> None:
    uids = [await rig.add(), await rig.add("scan")]
    await rig.ok("queue_mode_set", mode={"loop": True})
    await rig.ok("queue_autostart", enable=True)
    locked = await rig.ok("lock", queue=True, lock_key="k", user="Jo", note="mine")
    permissions = {"user_groups": {"root": {"allowed_plans": [None]}, "primary": {"allowed_plans": [None]}}}
    await rig.ok("permissions_set", user_group_permissions=permissions, lock_key="k")
    await rig.restart()
    assert await rig.queue() == uids
    assert rig.status["plan_queue_mode"] == {"loop": True, "ignore_failures": False}
    assert rig.status["queue_autostart_enabled"] is True
    info = await rig.ok("lock_info")
    assert info["lock_info_uid"] == locked["lock_info_uid"]
    assert info["lock_info"]["note"] == "mine"
    assert (await rig.ok("permissions_get"))["user_group_permissions"] == permissions
    assert rig.state == "idle"


async def test_plan_that_runs_goes_on(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = await rig.run_plan()
    second = await rig.add()
    await rig.ok("queue_stop")
    await rig.restart()
    assert rig.state == "executing_queue"
    assert rig.status["running_item_uid"] == uid
    assert rig.status["queue_stop_pending"] is True
    assert rig.status["worker_environment_exists"] is True
    assert worker.plans == [uid]
    assert worker.commands(Welcome)[-1].manager_uid == rig.manager.uid
    await worker.finish()
    await rig.settle()
    assert rig.state == "idle"
    assert await rig.queue() == [second]
    assert len(rig.events("plan_finished")) == 1


async def test_plan_that_the_worker_never_got_is_sent(rig: Rig) -> None:
    worker = await rig.open_environment()
    worker.connected = False
    uid = await rig.run_plan()
    assert worker.plans == []
    await rig.restart()
    assert worker.plans == [uid]
    assert rig.state == "executing_queue"


async def test_plan_whose_start_was_not_recorded_is_still_queued(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = await rig.add()
    rig.gate.shut()
    starting = asyncio.ensure_future(rig.call("queue_start"))
    await rig.settle()
    await rig.restart()
    starting.cancel()
    await asyncio.wait([starting])
    assert worker.plans == []
    assert await rig.queue() == [uid]
    assert rig.state == "idle"


async def test_plan_that_finished_meanwhile_and_the_queue_goes_on(rig: Rig) -> None:
    worker = await rig.open_environment()
    first = await rig.run_plan()
    second = await rig.add()
    await rig.crash()
    worker.event(PlanFinished, **worker.plan_finished(first))
    await rig.restart_after_crash()
    assert [h["item_uid"] for h in await rig.history()] == [first]
    assert rig.status["running_item_uid"] == second
    assert rig.state == "executing_queue"
    assert worker.plans == [first, second]


async def test_last_plan_finished_meanwhile(rig: Rig) -> None:
    worker = await rig.open_environment()
    first = await rig.run_plan()
    await rig.crash()
    worker.event(PlanFinished, **worker.plan_finished(first))
    await rig.restart_after_crash()
    assert rig.state == "idle"
    assert rig.status["worker_environment_exists"] is True


async def test_paused_plan_stays_paused(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = await rig.run_plan()
    await worker.pause()
    await rig.restart()
    assert rig.state == "paused"
    assert (await rig.ok("task_status", task_uid=uid))["state"] == "paused"
    await rig.ok("re_resume")
    assert rig.state == "executing_queue"


async def test_pause_that_is_pending_stays_pending(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = await rig.run_plan()
    await rig.ok("re_pause")
    await worker.change(running_item_uid=uid, deferred_pause=True)
    await rig.restart()
    assert rig.status["pause_pending"] is True
    await worker.finish()
    await rig.settle()
    assert rig.state == "idle"


async def test_plan_that_ended_meanwhile_with_a_pause_pending_stops_the_queue(rig: Rig) -> None:
    worker = await rig.open_environment()
    first = await rig.run_plan()
    second = await rig.add()
    await rig.ok("re_pause")
    await rig.crash()
    worker.event(PlanFinished, **worker.plan_finished(first, pause_pending=True))
    await rig.restart_after_crash()
    assert rig.state == "idle"
    assert await rig.queue() == [second]


async def test_worker_that_greets_late_tells_that_its_plan_is_paused(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.run_plan()
    await worker.pause()
    await rig.restart(greet=False)
    assert rig.state == "executing_queue"
    worker.hello()
    await rig.settle()
    assert rig.state == "paused"


async def test_a_worker_that_does_not_greet_while_it_opens(rig: Rig) -> None:
    await rig.ok("environment_open")
    worker = await rig.spawned()
    worker.hello()
    await rig.settle()
    await rig.restart(greet=False)
    assert rig.state == "creating_environment"
    assert rig.status["worker_environment_exists"] is False
    worker.hello()
    await worker.ready()
    assert rig.state == "idle"
    assert rig.status["worker_environment_exists"] is True


async def test_worker_that_never_greets_can_be_destroyed(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.run_plan()
    await rig.restart(greet=False)
    assert rig.status["worker_environment_exists"] is True
    await rig.ok("environment_destroy")
    await rig.until(lambda: rig.state == "idle")
    assert rig.processes.killed == [worker.pid]
    assert rig.status["items_in_queue"] == 1
    assert len(await rig.history()) == 1


async def test_worker_that_dies_before_it_greets(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.run_plan()
    await rig.crash()
    rig.make()

    starting = asyncio.ensure_future(restore(rig.manager, first_start=False))
    await hop()
    worker.die()
    await starting
    assert rig.status["manager_state"] == "idle"
    assert rig.status["worker_environment_exists"] is False
    assert rig.status["items_in_queue"] == 1


async def test_environment_that_was_being_opened(rig: Rig) -> None:
    await rig.ok("environment_open")
    worker = await rig.spawned()
    worker.hello()
    await rig.settle()
    await rig.restart()
    assert rig.state == "creating_environment"
    assert rig.status["worker_environment_exists"] is False
    await worker.ready()
    assert rig.state == "idle"
    assert rig.status["worker_environment_exists"] is True


async def test_environment_that_became_ready_meanwhile(rig: Rig) -> None:
    await rig.ok("environment_open")
    worker = await rig.spawned()
    await rig.crash()

    worker.state = WorkerState(environment_state="idle", re_state="idle")
    worker.event(EnvironmentReady, plans=json.dumps(PLANS), devices="{}")
    await rig.restart_after_crash()
    assert rig.state == "idle"
    assert rig.status["worker_environment_exists"] is True
    assert rig.status["ready"] is True


async def test_lists_come_from_the_worker_and_not_from_their_file(rig: Rig) -> None:
    rig.options = rig.with_options(lists_update="NEVER")
    await rig.restart()
    worker = await rig.open_environment()
    await worker.lists_changed({**PLANS, "extra": plan_description("extra")}, {})
    await rig.restart()
    assert "extra" in (await rig.ok("plans_existing"))["plans_existing"]


async def test_newer_lists_than_the_stored_ones_win(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.crash()
    worker.event(ListsChanged, plans=json.dumps({"newest": plan_description("newest")}), devices="{}")
    await rig.restart_after_crash()
    assert list((await rig.ok("plans_existing"))["plans_existing"]) == ["newest"]


async def test_tasks_go_on(rig: Rig) -> None:
    worker = await rig.open_environment()
    reply = await rig.ok("function_execute", item=function(), run_in_background=True, **user())
    known, foreground = reply["task_uid"], (await rig.ok("environment_update"))["task_uid"]
    worker.accepted.remove(foreground)
    await rig.restart()
    assert rig.state == "executing_task"
    last = worker.commands(RunTask)[-1]
    assert (last.task_uid, last.kind) == (foreground, "script")
    assert len(worker.commands(RunTask)) == 3
    await worker.end_task(known)
    await worker.end_task(foreground)
    await rig.settle()
    assert rig.state == "idle"
    states = await rig.ok("task_status", task_uid=[known, foreground])
    assert set(states["state"].values()) == {"completed"}


async def test_task_that_the_worker_refuses_when_it_is_sent_again(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = (await rig.ok("environment_update"))["task_uid"]
    worker.accepted.remove(uid)
    worker.refusals[RunTask] = "too late"
    await rig.restart()
    await rig.settle()
    assert rig.state == "idle"
    assert (await rig.ok("task_result", task_uid=uid))["result"]["msg"] == "too late"


async def test_everything_was_killed(rig: Rig) -> None:
    await rig.open_environment()
    uid = await rig.run_plan()
    waiting = await rig.add("scan")
    task = (await rig.ok("function_execute", item=function(), run_in_background=True, **user()))["task_uid"]
    await rig.ok("queue_autostart", enable=True)
    rig.processes.alive.clear()
    await rig.restart()
    assert rig.state == "idle"
    assert rig.status["worker_environment_exists"] is False
    assert await rig.queue() == [waiting]
    assert rig.status["queue_autostart_enabled"] is False
    (entry,) = await rig.history()
    assert entry["result"]["exit_status"] == "unknown"
    states = (await rig.ok("task_status", task_uid=[uid, task, waiting]))["state"]
    assert states == {uid: "lost", task: "lost", waiting: "pending"}
    assert rig.gate.reads.workers() == []
    await rig.restart()
    assert len(await rig.history()) == 1


async def test_workers_of_another_state_directory_are_left_alone(rig: Rig) -> None:
    """The store is a copy: it tells of workers of the daemon whose it was."""
    worker = await rig.open_environment()
    uid = await rig.run_plan()
    rig.processes.foreign.add(worker.pid)
    await rig.restart(greet=False)
    assert rig.state == "idle"
    assert rig.status["worker_environment_exists"] is False
    (entry,) = await rig.history()
    assert (entry["item_uid"], entry["result"]["exit_status"]) == (uid, "unknown")
    assert "is a copy" in entry["result"]["msg"]
    assert rig.gate.reads.workers() == []
    assert rig.events("worker_autopsy") == []
    assert rig.processes.alive == {worker.pid}
    assert rig.processes.killed == []


async def test_what_is_known_of_a_plan_outlives_everything(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = await rig.run_plan()
    run = {"uid": "run-1", "scan_id": 7, "is_open": True, "exit_status": None}
    rig.now += 5.0
    await worker.change(running_item_uid=uid, run_list=[run], run_list_rev=1)
    await rig.settle()
    last_sign_of_life = rig.now
    rig.now += 3600.0
    rig.processes.alive.clear()
    await rig.restart()
    (entry,) = await rig.history()
    assert entry["result"]["run_uids"] == ["run-1"]
    assert entry["result"]["scan_ids"] == [7]
    assert entry["result"]["time_stop"] == last_sign_of_life


async def test_immediate_item_is_still_one_after_a_restart(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.ok("queue_item_execute", item={"item_type": "plan", "name": "count"}, **user())
    await rig.settle()
    await rig.restart()
    await worker.finish(exit_status="failed")
    await rig.settle()
    assert rig.status["items_in_queue"] == 0


async def test_worker_without_recorded_pid_is_a_stranger(rig: Rig) -> None:
    """The manager was killed between the start of the process and its record."""
    row = WorkerRow("w", "environment", 0, 0, 1.0, 0, "{}")
    await rig.gate.enqueue([worker_put(row)])
    await rig.restart()
    assert rig.state == "idle"
    assert rig.gate.reads.workers() == []
    await rig.ok("environment_open")
    await rig.settle()


async def test_shut_down_closes_the_environment(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.ok("queue_autostart", enable=True)
    assert "is not allowed" in await rig.refused("manager_stop", option="now")
    await rig.ok("manager_stop")
    await asyncio.wait_for(rig.stopped.wait(), TIMEOUT_S)
    ending = asyncio.ensure_future(rig.manager.shut_down())
    await rig.until(lambda: worker.commands(CloseEnvironment))
    worker.die(0)
    await ending
    assert rig.processes.killed == []
    await rig.restart()
    assert rig.status["queue_autostart_enabled"] is False


async def test_shut_down_does_not_wait_for_a_worker_that_hangs(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "END_TIMEOUT_S", 0.01)
    worker = await rig.open_environment()
    worker.silent = True
    await rig.ok("queue_autostart", enable=True)
    await rig.manager.shut_down()
    assert worker.commands(CloseEnvironment)
    assert rig.processes.killed == [worker.pid]
    await rig.restart()
    assert rig.status["queue_autostart_enabled"] is False


@pytest.mark.parametrize("when", ["running", "opening", "starting"])
async def test_shut_down_kills_what_does_not_rest(rig: Rig, when: str) -> None:
    if when == "running":
        await rig.open_environment()
        await rig.run_plan()
        assert "allowed only in 'idle' state" in await rig.refused("manager_stop")
        await rig.ok("manager_stop", option="safe_off")
    else:
        await rig.ok("environment_open")
        if when == "opening":
            await rig.spawned()
        else:
            await rig.until(lambda: isinstance(rig.manager.state.worker, WorkerRecord))
    await rig.manager.shut_down()
    assert rig.processes.alive == set()
    assert rig.status["worker_environment_exists"] is False
    await rig.restart()
    assert rig.status["items_in_queue"] == (1 if when == "running" else 0)
    texts = [entry["result"]["msg"] for entry in await rig.history()]
    assert texts == (["The manager was stopped"] if when == "running" else [])
