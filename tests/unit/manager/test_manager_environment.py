"""Opening, closing and destroying the environment, and the end of its worker in every state."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from manager_rig import CloseEnvironment, Rig, hop, plan_description, user

from remanager.manager import environment, silence, worker_link
from remanager.manager.worker_exit import describe_exit
from remanager.model.link import (
    EnvironmentReady,
    Heartbeat,
    Hello,
    ListsChanged,
    PlanFinished,
    PlanPaused,
    WorkerState,
)


async def test_open_and_close(rig: Rig) -> None:
    assert rig.status["not_ready_reason"] == "the environment is closed"
    await rig.ok("environment_open")
    assert rig.state == "creating_environment"
    assert rig.status["worker_environment_exists"] is False
    assert "in the process of creating the RE Worker environment" in await rig.refused("environment_open")
    worker = await rig.spawned()
    worker.hello()
    await worker.ready()
    assert rig.state == "idle"
    assert rig.status["worker_environment_exists"] is True
    assert rig.status["ready"] is True
    assert "RE Worker environment already exists" in await rig.refused("environment_open")
    worker.silent = True
    await rig.ok("environment_close")
    assert rig.state == "closing_environment"
    assert "in the process of closing the RE Worker environment" in await rig.refused("environment_close")
    await rig.settle()
    worker.answer(worker.commands(CloseEnvironment)[-1])
    worker.die(0)
    await rig.until(lambda: rig.state == "idle")
    assert rig.status["worker_environment_exists"] is False
    assert rig.status["worker_environment_state"] == "closed"
    assert "RE Worker environment does not exist" in await rig.refused("environment_close")
    assert "RE environment does not exist" in await rig.refused("environment_destroy")
    await rig.settle()
    assert rig.gate.reads.workers() == []
    assert not list((rig.path / "runtime").iterdir())


async def test_process_that_cannot_be_started(rig: Rig) -> None:
    rig.processes.spawn_error = OSError("no more processes")
    await rig.ok("environment_open")
    await rig.until(lambda: rig.state == "idle")
    assert "no more processes" in rig.status["not_ready_reason"]
    assert (await rig.ok("stats", sections=[]))["health"]["state"] == "degraded"
    rig.processes.spawn_error = None
    await rig.open_environment()
    assert rig.status["ready"] is True


async def test_readiness_while_a_client_uses_the_kernel(rig: Rig) -> None:
    worker = await rig.open_environment()
    await worker.change(ip_kernel_state="busy", ip_kernel_captured=False)
    await rig.until(lambda: rig.status["ready"] is False)
    assert "IPython kernel" in rig.status["not_ready_reason"]
    await rig.refused("queue_start")
    await worker.change(ip_kernel_state="busy", ip_kernel_captured=True)  # works for the manager
    await rig.until(lambda: rig.status["ready"] is True)
    assert rig.status["not_ready_reason"] == ""


async def test_settings_of_the_worker_that_cannot_be_written(rig: Rig) -> None:
    (rig.path / "runtime").rmdir()
    await rig.ok("environment_open")
    await rig.until(lambda: rig.state == "idle")
    assert "could not be started" in rig.status["not_ready_reason"]


async def test_start_up_code_that_fails(rig: Rig) -> None:
    await rig.ok("environment_open")
    worker = await rig.spawned()
    worker.hello()
    await worker.failed("no beam")
    await rig.until(lambda: rig.state == "idle")
    assert "no beam" in rig.status["not_ready_reason"]
    assert rig.status["worker_environment_exists"] is False


async def test_reason_is_that_of_the_last_attempt(rig: Rig) -> None:
    await rig.ok("environment_open")
    worker = await rig.spawned()
    worker.hello()
    await worker.failed("no beam")
    await rig.until(lambda: rig.state == "idle")
    await rig.ok("environment_open")
    (await rig.spawned()).die(3)
    await rig.until(lambda: rig.state == "idle")
    assert "no beam" not in rig.status["not_ready_reason"]
    assert "exit code 3" in rig.status["not_ready_reason"]


async def test_destroy_while_opening(rig: Rig) -> None:
    await rig.ok("environment_open")
    await rig.ok("environment_destroy")  # before the process was started
    assert rig.state == "destroying_environment"
    await rig.until(lambda: rig.state == "idle")
    assert rig.processes.killed
    assert not rig.processes.alive
    await rig.ok("environment_open")
    worker = await rig.spawned()
    worker.hello()
    await rig.ok("environment_destroy")
    await rig.until(lambda: rig.state == "idle")
    assert not rig.processes.alive


async def test_close_that_the_worker_refuses(rig: Rig) -> None:
    worker = await rig.open_environment()
    worker.refusals[CloseEnvironment] = "busy"
    await rig.ok("environment_close")
    await rig.settle()
    assert rig.state == "idle"
    assert rig.status["worker_environment_exists"] is True


async def test_worker_that_agrees_to_leave_and_hangs_is_killed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "CLOSE_TIMEOUT_S", 0.01)
    worker = await rig.open_environment()
    await rig.ok("environment_close")
    await rig.until(lambda: rig.state == "idle")
    assert rig.processes.killed == [worker.pid]


async def test_worker_that_does_not_answer_is_killed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "CLOSE_TIMEOUT_S", 0.01)
    monkeypatch.setattr(worker_link, "COMMAND_TIMEOUT_S", 0.01)
    worker = await rig.open_environment()
    worker.silent = True
    await rig.ok("environment_close")
    await rig.until(lambda: rig.state == "idle")
    assert rig.processes.killed == [worker.pid]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("re_pause", {"option": "immediate"}),
        ("re_metadata", {}),
        ("environment_update", {}),
        ("script_upload", {"script": "1"}),
        ("queue_start", {}),
    ],
)
async def test_nothing_is_asked_of_a_worker_that_is_silent(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, method: str, params: dict[str, object]
) -> None:
    monkeypatch.setattr(silence, "SILENT_S", 0.01)
    worker = await rig.open_environment()
    received = len(worker.received)
    rig.now += 25.0
    await rig.until(lambda: rig.status["ready"] is False)
    assert rig.statuses[-1]["ready"] is False
    assert "has been silent since" in rig.status["not_ready_reason"]
    reply = await rig.call(method, **params)
    assert reply["code"] == "timeout"
    assert "silent for 25 s; if it hangs, destroy the environment." in reply["msg"]
    assert rig.state == "idle"
    assert len(worker.received) == received
    worker.send(Heartbeat(rig.now))
    await rig.until(lambda: rig.status["ready"] is True)


async def test_worker_without_connection_is_killed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "CLOSE_TIMEOUT_S", 0.01)
    worker = await rig.open_environment()
    worker.connected = False
    await rig.ok("environment_close")
    await rig.until(lambda: rig.state == "idle")
    assert rig.processes.killed == [worker.pid]


async def test_close_is_refused_while_something_runs(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.run_plan()
    assert "Queue execution is in progress" in await rig.refused("environment_close")
    await worker.pause()
    assert "not idle" in await rig.refused("environment_close")
    await rig.ok("re_stop")
    await worker.finish(exit_status="stopped")
    await rig.ok("script_upload", script="1")
    assert "Foreground task execution is in progress" in await rig.refused("environment_close")


# ------------------------------------------------------------------------------------------ death


async def test_death_at_rest(rig: Rig) -> None:
    worker = await rig.open_environment()
    worker.die(-11)
    await rig.until(lambda: not rig.status["worker_environment_exists"])
    assert rig.state == "idle"
    await rig.settle()
    assert "SIGSEGV" in rig.events("environment_closed")[-1].data


@pytest.mark.parametrize("paused", [False, True])
async def test_death_while_a_plan_runs(rig: Rig, paused: bool) -> None:
    worker = await rig.open_environment()
    await rig.ok("queue_autostart", enable=True)
    uid = await rig.add()
    await rig.settle()
    run = {"uid": "run-1", "scan_id": 7, "is_open": True, "exit_status": None}
    await worker.change(running_item_uid=uid, run_list=[run], run_list_rev=1)
    if paused:
        await worker.pause()
    await rig.add("scan")
    worker.die()
    await rig.until(lambda: rig.state == "idle")
    assert rig.status["queue_autostart_enabled"] is False
    assert rig.status["pause_pending"] is False
    (entry,) = await rig.history()
    assert entry["item_uid"] == uid
    assert entry["result"]["exit_status"] == "failed"
    assert "SIGKILL" in entry["result"]["msg"]
    assert (entry["result"]["run_uids"], entry["result"]["scan_ids"]) == (["run-1"], [7])
    assert [i["name"] for i in (await rig.ok("queue_get"))["items"]] == ["count", "scan"]
    assert (await rig.ok("task_status", task_uid=uid))["state"] == "lost"


async def test_runs_of_the_plan_before_are_not_those_of_a_lost_one(rig: Rig) -> None:
    worker = await rig.open_environment()
    first = await rig.run_plan()
    run = {"uid": "run-1", "scan_id": 7, "is_open": True, "exit_status": None}
    await worker.change(running_item_uid=first, run_list=[run], run_list_rev=1)
    await rig.add()
    await worker.finish()
    await rig.settle()
    worker.die()
    await rig.until(lambda: rig.state == "idle")
    assert (await rig.history())[-1]["result"]["run_uids"] == []


async def test_plan_that_ended_just_before_the_death_has_ended(rig: Rig) -> None:
    """The end of a process is handled after what it sent, however long that takes."""
    worker = await rig.open_environment()
    uid = await rig.run_plan()
    worker.event(ListsChanged, plans="{}", devices="{}")  # takes several turns of the loop
    worker.event(PlanFinished, **worker.plan_finished(uid))
    await hop()
    worker.die()
    await rig.until(lambda: not rig.status["worker_environment_exists"])
    (entry,) = await rig.history()
    assert entry["result"]["exit_status"] == "completed"
    assert rig.status["items_in_queue"] == 0


async def test_environment_that_opens_and_dies_at_once_is_closed(rig: Rig) -> None:
    await rig.ok("environment_open")
    worker = await rig.spawned()
    worker.hello()
    worker.event(EnvironmentReady, plans="{}", devices="{}")
    await hop()
    worker.die()
    await rig.until(lambda: rig.state == "idle")
    assert rig.status["worker_environment_exists"] is False


async def test_late_events_of_a_dead_worker_are_not_those_of_the_next(rig: Rig) -> None:
    old = await rig.open_environment()
    old.die()
    await rig.until(lambda: not rig.status["worker_environment_exists"])
    new = await rig.open_environment()
    uid = await rig.run_plan()
    old.connected = True
    old.event(PlanFinished, **old.plan_finished(uid))
    await rig.settle()
    assert rig.status["running_item_uid"] == uid
    await new.finish()
    await rig.settle()
    assert len(await rig.history()) == 1


async def test_close_while_a_function_runs_in_the_background(rig: Rig) -> None:
    worker = await rig.open_environment()
    item = {"name": "f", "item_type": "function"}
    reply = await rig.ok("function_execute", item=item, run_in_background=True, **user())
    await rig.ok("environment_close")
    await rig.settle()
    worker.die(0)
    await rig.until(lambda: rig.state == "idle")
    result = (await rig.ok("task_result", task_uid=reply["task_uid"]))["result"]
    assert not result["success"]
    assert result["msg"] == "RE Worker environment was closed while it ran"
    (event,) = (await rig.ok("event_list", types=["environment_closed"]))["events"]
    assert event["data"]["msg"] == "RE Worker environment was closed"


async def test_destroying_is_logged(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    worker = await rig.open_environment()
    await rig.ok("environment_destroy")
    await rig.until(lambda: rig.state == "idle")
    lines = [r.getMessage() for r in caplog.records if "The environment is destroyed" in r.getMessage()]
    asked, ended = lines
    assert asked.endswith(f"as 'local' asked: the worker (pid {worker.pid}) is killed")
    assert re.fullmatch(r"The environment is destroyed: its worker has ended after \d+\.\d s", ended)
    await rig.ok("environment_open")
    await rig.ok("environment_destroy")
    await rig.until(lambda: rig.state == "idle")
    assert "as 'local' asked: the worker is killed as soon as it is started" in caplog.text


async def test_destroy_while_a_plan_runs(rig: Rig) -> None:
    worker = await rig.open_environment()
    rig.processes.ignore_kill = True
    uid = await rig.run_plan()
    second = await rig.add("scan")
    await rig.ok("environment_destroy")
    assert rig.state == "destroying_environment"
    await worker.report(PlanPaused, item_uid=uid)
    assert rig.state == "destroying_environment"
    worker.die()
    await rig.until(lambda: rig.state == "idle")
    (entry,) = await rig.history()
    assert entry["result"]["exit_status"] == "failed"
    assert entry["result"]["msg"] == "RE Worker environment was destroyed"
    items = (await rig.ok("queue_get"))["items"]
    assert [i["name"] for i in items] == ["count", "scan"]
    assert items[1]["item_uid"] == second


async def test_no_plan_starts_in_an_environment_that_is_being_destroyed(rig: Rig) -> None:
    worker = await rig.open_environment()
    rig.processes.ignore_kill = True
    await rig.run_plan()
    second = await rig.add("scan")
    await rig.ok("environment_destroy")
    await worker.finish()
    await rig.settle()
    assert rig.state == "destroying_environment"
    assert await rig.queue() == [second]
    worker.die()
    await rig.until(lambda: rig.state == "idle")
    assert len(await rig.history()) == 1


async def test_death_while_a_command_waits(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.run_plan()
    worker.silent = True
    pausing = asyncio.ensure_future(rig.call("re_pause"))
    await rig.settle()
    worker.die()
    reply = await pausing
    assert reply["code"] == "environment_closed"


# ------------------------------------------------------------------------------------------ strangers


async def test_unknown_worker_that_is_being_opened_is_killed(rig: Rig) -> None:
    rig.manager.on_worker_message("stranger", Hello("stranger", 4711, 0, [], WorkerState()))
    assert rig.processes.killed == [4711]
    assert not rig.workers.strangers


async def test_unknown_worker_is_told_to_leave_until_it_does(rig: Rig) -> None:
    hello = Hello("stranger", 1, 0, [], WorkerState(environment_state="idle"))
    rig.manager.on_worker_message("stranger", hello)
    rig.manager.on_worker_message("stranger", Heartbeat(1.0))
    assert [(u, type(m)) for u, m in rig.workers.strangers] == [("stranger", CloseEnvironment)] * 2
    assert rig.status["worker_environment_exists"] is False


async def test_lists_file_is_written_when_the_environment_opens(rig: Rig) -> None:
    written = Path(rig.options.lists_path).read_text
    before = rig.status["plans_existing_uid"]
    devices_uid = rig.status["devices_existing_uid"]
    await rig.ok("environment_open")
    worker = await rig.spawned()
    worker.hello()
    await worker.ready({"new": plan_description("new")})
    assert rig.status["plans_existing_uid"] != before
    assert rig.status["devices_existing_uid"] == devices_uid
    await rig.manager.catalogue.write_lists()
    assert "new:" in written()
    assert list((await rig.ok("plans_existing"))["plans_existing"]) == ["new"]
    assert "is not in the list of allowed plans" in await rig.refused(
        "queue_item_add", item={"item_type": "plan", "name": "count"}, **user()
    )


def test_words_for_the_end_of_a_process() -> None:
    assert "out of memory" in describe_exit(-9)
    assert "SIGSEGV" in describe_exit(-11)
    assert "signal 200" in describe_exit(-200)
    assert "exit code 3" in describe_exit(3)
    assert "not known" in describe_exit(None)
