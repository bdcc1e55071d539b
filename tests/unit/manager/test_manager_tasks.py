"""Functions and scripts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from manager_rig import Rig, RunTask, function, user

from remanager.manager import worker_link
from remanager.model.link import TaskFinished
from remanager.model.states import TaskState
from remanager.store.records import Retention


async def start(rig: Rig, *, background: bool = False) -> str:
    """Start a function."""
    reply = await rig.ok("function_execute", item=function(), run_in_background=background, **user())
    assert (reply["item"]["args"], reply["item"]["kwargs"]) == ([], {})
    return str(reply["task_uid"])


async def state(rig: Rig, uid: str) -> str:
    """Return the state of a task."""
    return str((await rig.ok("task_status", task_uid=uid))["state"])


async def test_foreground_function(rig: Rig) -> None:
    worker = await rig.open_environment()
    results_uid = rig.status["task_results_uid"]
    uid = await start(rig)
    (command,) = worker.commands(RunTask)
    assert (command.task_uid, command.kind, command.background) == (uid, "function", False)
    assert json.loads(command.body)["item_uid"] == uid
    assert rig.state == "executing_task"
    reply = await rig.ok("task_result", task_uid=uid)
    assert reply["status"] == "running"
    assert reply["result"] == {"task_uid": uid, "time_start": rig.now, "run_in_background": False}
    assert "RE Manager must be in idle state" in await rig.refused(
        "function_execute", item=function(), **user()
    )
    assert rig.status["task_results_uid"] == results_uid
    await worker.end_task(uid, value=[1, 2])
    await rig.settle()
    assert rig.state == "idle"
    assert rig.status["task_results_uid"] != results_uid
    reply = await rig.ok("task_result", task_uid=uid)
    assert (reply["status"], reply["state"]) == ("completed", "completed")
    assert reply["result"]["return_value"] == [1, 2]
    assert reply["result"]["success"] is True
    assert reply["result"]["time_stop"] == 11.0


async def test_background_tasks_run_beside_a_plan(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.run_plan()
    first, second = await start(rig, background=True), await start(rig, background=True)
    assert rig.state == "executing_queue"
    await worker.end_task(second, success=False, msg="sorry")
    await rig.settle()
    assert await state(rig, first) == "running"
    assert await state(rig, second) == "failed"
    assert (await rig.ok("task_result", task_uid=second))["result"]["msg"] == "sorry"


async def test_states_come_in_the_order_in_which_they_are_asked_for(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await rig.open_environment()
    running, ended, other = [await start(rig, background=True) for _ in range(3)]
    await worker.end_task(ended)
    await worker.end_task(other, success=False)
    await rig.settle()
    asked = [ended, "x", running, other, ended]
    expected = {ended: "completed", "x": "not_found", running: "running", other: "failed"}
    reads: list[list[str]] = []
    read = rig.gate.reads.task_states

    def spy(uids: list[str]) -> dict[str, TaskState]:
        reads.append(uids)
        return read(uids)

    monkeypatch.setattr(rig.gate.reads, "task_states", spy)
    for _ in range(2):
        reply = await rig.ok("task_status", task_uid=asked)
        assert reply["task_uid"] == asked
        assert list(reply["state"].items()) == list(expected.items())
        words = ["completed", "not_found", "running", "completed"]
        assert list(reply["status"].items()) == list(zip(expected, words, strict=True))
    assert reads == [[ended, "x", other], ["x"]]  # what has ended does not change any more


async def test_script_and_update(rig: Rig) -> None:
    assert "RE Worker environment is not open" in await rig.refused("script_upload", script="x = 1")
    worker = await rig.open_environment()
    uid = (await rig.ok("script_upload", script="x = 1", update_lists=False))["task_uid"]
    (command,) = worker.commands(RunTask)
    assert command.kind == "script"
    assert json.loads(command.body) == {"script": "x = 1", "update_lists": False, "update_re": False}
    await worker.end_task(uid)
    await rig.settle()
    uid = (await rig.ok("environment_update"))["task_uid"]
    assert json.loads(worker.commands(RunTask)[-1].body)["script"] == ""
    await worker.end_task(uid)
    await rig.settle()
    types = (await rig.ok("stats", sections=["types"]))["types"]
    for kind in ("script_upload", "environment_update"):
        assert types[kind]["total_tasks_cnt"] == types[kind]["done_tasks_cnt"] == 1


async def test_task_that_the_worker_refuses(rig: Rig) -> None:
    worker = await rig.open_environment()
    worker.refusals[RunTask] = "not now"
    reply = await rig.call("function_execute", item=function(), **user())
    assert reply["success"] is False
    assert "not now" in reply["msg"]
    assert reply["task_uid"] is None
    await rig.settle()
    assert rig.state == "idle"
    assert await state(rig, reply["item"]["item_uid"]) == "failed"


async def test_task_without_an_answer_goes_on(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it runs is not known: its record stays open until the worker says so."""
    monkeypatch.setattr(worker_link, "COMMAND_TIMEOUT_S", 0.01)
    worker = await rig.open_environment()
    worker.silent = True
    reply = await rig.call("function_execute", item=function(), **user())
    assert reply["code"] == "timeout"
    uid = reply["item"]["item_uid"]
    assert await state(rig, uid) == "running"
    assert rig.state == "executing_task"
    await worker.end_task(uid)
    await rig.settle()
    assert await state(rig, uid) == "completed"
    assert rig.state == "idle"


async def test_task_is_handed_over_again_after_a_reconnection(rig: Rig) -> None:
    worker = await rig.open_environment()
    worker.silent = True
    starting = asyncio.ensure_future(start(rig, background=True))
    await rig.settle()
    (first,) = worker.commands(RunTask)
    worker.connected = False
    worker.silent = False
    worker.hello()  # it was lost on the way
    await rig.settle()
    assert [c.task_uid for c in worker.commands(RunTask)] == [first.task_uid] * 2
    worker.hello()
    await rig.settle()
    assert len(worker.commands(RunTask)) == 2
    worker.answer(first)
    assert await starting == first.task_uid
    await worker.end_task(first.task_uid)


async def test_task_is_sent_while_it_is_recorded_and_acknowledged_when_it_is_on_disk(rig: Rig) -> None:
    worker = await rig.open_environment()
    rig.gate.shut()
    starting = asyncio.ensure_future(start(rig, background=True))
    await rig.settle()
    (command,) = worker.commands(RunTask)
    worker.hello()
    await rig.settle()
    assert worker.commands(RunTask) == [command]
    assert not starting.done()
    await rig.gate.open()
    assert await starting == command.task_uid


async def test_end_that_comes_before_the_start_is_on_disk(rig: Rig) -> None:
    worker = await rig.open_environment()
    rig.gate.shut()
    starting = asyncio.ensure_future(start(rig))
    await rig.until(lambda: worker.commands(RunTask))
    ending = asyncio.ensure_future(worker.end_task(worker.commands(RunTask)[0].task_uid))
    await rig.settle()
    assert not starting.done()
    assert rig.state == "executing_task"
    await rig.gate.open()
    await ending
    assert await state(rig, await starting) == "completed"
    assert rig.state == "idle"


async def test_refusal_that_comes_before_the_start_is_on_disk(rig: Rig) -> None:
    worker = await rig.open_environment()
    worker.refusals[RunTask] = "not now"
    rig.gate.shut()
    starting = asyncio.ensure_future(rig.call("function_execute", item=function(), **user()))
    await rig.settle()
    assert not starting.done()
    await rig.gate.open()
    reply = await starting
    assert "not now" in reply["msg"]
    assert await state(rig, reply["item"]["item_uid"]) == "failed"


@pytest.mark.parametrize("background", [False, True])
async def test_task_that_a_crash_kept_from_being_recorded(rig: Rig, background: bool) -> None:
    """It was not acknowledged; the worker does not seem free while it runs, and the journal tells of it."""
    worker = await rig.open_environment()
    rig.gate.shut()
    starting = asyncio.ensure_future(start(rig, background=background))
    await rig.until(lambda: worker.accepted)
    (uid,) = worker.accepted
    if not background:
        await worker.change(environment_state="executing_task", running_task_uid=uid)
    await rig.restart()
    starting.cancel()
    assert await state(rig, uid) == "not_found"
    assert rig.state == ("idle" if background else "executing_task")
    await worker.change(environment_state="idle", running_task_uid=None)
    await worker.end_task(uid, success=False, msg="sorry")
    await rig.settle()
    assert rig.state == "idle"
    (event,) = rig.events("task_unrecorded")
    assert event.task_uid == uid
    assert json.loads(event.data) == {"success": False, "msg": "sorry"}
    assert await state(rig, uid) == "not_found"


async def test_task_that_ended_while_nobody_had_recorded_it(rig: Rig) -> None:
    worker = await rig.open_environment()
    rig.gate.shut()
    starting = asyncio.ensure_future(start(rig))
    await rig.until(lambda: worker.accepted)
    await rig.crash()
    starting.cancel()
    ending = asyncio.ensure_future(worker.end_task(worker.accepted[0]))
    await rig.restart_after_crash()
    await ending
    await rig.settle()
    assert rig.state == "idle"
    assert len(rig.events("task_unrecorded")) == 1


@pytest.mark.parametrize("background", [False, True])
async def test_task_of_a_worker_that_dies_is_lost(rig: Rig, background: bool) -> None:
    worker = await rig.open_environment()
    uid = await start(rig, background=background)
    results_uid = rig.status["task_results_uid"]
    worker.die()
    await rig.until(lambda: not rig.status["worker_environment_exists"])
    await rig.settle()
    assert rig.state == "idle"
    assert rig.status["task_results_uid"] != results_uid
    reply = await rig.ok("task_result", task_uid=uid)
    assert (reply["status"], reply["state"]) == ("completed", "lost")
    assert "SIGKILL" in reply["result"]["msg"]


async def test_task_of_a_dead_worker_does_not_seem_to_run(rig: Rig) -> None:
    """The status shows at once that the worker is gone, before that is on disk."""
    worker = await rig.open_environment()
    uid = await start(rig)
    rig.gate.shut()
    worker.die()
    await rig.until(lambda: not rig.status["worker_environment_exists"])
    assert await state(rig, uid) == "lost"
    asking = asyncio.ensure_future(rig.call("task_result", task_uid=uid))
    await rig.gate.open()
    assert "SIGKILL" in (await asking)["result"]["msg"]


@pytest.mark.parametrize(
    ("method", "params"),
    [("function_execute", {"item": function(), **user()}), ("script_upload", {"script": "os._exit(1)"})],
)
async def test_worker_that_dies_before_it_answers_ends_the_task_once(
    rig: Rig, method: str, params: dict[str, Any]
) -> None:
    worker = await rig.open_environment()
    worker.silent = True
    calling = asyncio.ensure_future(rig.ok(method, **params))
    await rig.until(lambda: worker.commands(RunTask))
    rig.gate.shut()
    worker.die()
    await rig.settle()
    await rig.gate.open()
    reply = await calling
    await rig.settle()
    assert len(rig.events("task_finished")) == 1
    assert await state(rig, reply["task_uid"]) == "lost"


async def test_worker_that_dies_before_the_start_is_on_disk(rig: Rig) -> None:
    worker = await rig.open_environment()
    worker.silent = True
    rig.gate.shut()
    calling = asyncio.ensure_future(start(rig))
    await rig.until(lambda: worker.commands(RunTask))
    worker.die()
    await rig.settle()
    assert not calling.done()
    await rig.gate.open()
    assert await state(rig, await calling) == "lost"


async def test_end_that_is_not_on_disk_yet_still_says_running(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = await start(rig)
    rig.gate.shut()
    report = worker.event(
        TaskFinished,
        task_uid=uid,
        success=True,
        msg="",
        traceback="",
        codec="json",
        payload=b"1",
        time_start=1.0,
        time_stop=2.0,
    )
    await rig.settle()
    assert await state(rig, uid) == "running"
    assert rig.state == "executing_task"
    await rig.gate.open()
    await rig.settle()
    assert await state(rig, uid) == "completed"
    worker.repeat(report)
    await worker.end_task("nobody's")
    await rig.settle()
    assert len(rig.events("task_finished")) == 1


async def test_results_are_forgotten_after_their_retention(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = await start(rig)
    await worker.end_task(uid, value="x")
    await rig.settle()
    plan = await rig.run_plan()
    rig.now = 11.0 + 119.0
    await worker.finish()
    await rig.settle()
    retention = Retention(records_s=rig.options.retention_s)
    await rig.gate.purge(rig.now, retention)
    assert await state(rig, uid) == "completed"
    rig.now = 2_000_000.0
    await rig.gate.purge(rig.now, retention)
    assert await state(rig, uid) == "not_found"
    assert (await rig.ok("task_result", task_uid=uid))["result"] == {}
    assert await state(rig, plan) == "completed"  # it is in the history
    await rig.ok("history_clear")
    await rig.gate.purge(rig.now, retention)
    assert await state(rig, plan) == "not_found"


async def test_loop_of_retention_purges(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = await rig.add()
    await rig.ok("queue_clear")
    assert await state(rig, uid) == "cancelled"
    monkeypatch.setattr("remanager.manager.task_queue.keeping.PERIOD_S", 0.0)
    rig.now += 1000.0
    await rig.restart()
    await rig.until(lambda: rig.gate.reads.task_states([uid]) == {})
