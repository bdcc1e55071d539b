"""Starting, ending, pausing and stopping plans."""

from __future__ import annotations

import asyncio
import json

import pytest
from manager_rig import QUEUE_STOP, ContinuePlan, PausePlan, Rig, RunPlan, hop, plan, user

from remanager.model.link import Heartbeat, PlanFinished, PlanPaused, Progress


async def test_queue_runs_to_its_end(rig: Rig) -> None:
    worker = await rig.open_environment()
    first, second = await rig.add(), await rig.add("scan")
    await rig.ok("queue_start")
    await rig.settle()
    assert worker.plans == [first]
    assert rig.state == "executing_queue"
    assert rig.status["running_item_uid"] == first
    await worker.finish()
    await rig.settle()
    assert worker.plans == [first, second]
    assert rig.status["running_item_uid"] == second
    await worker.finish()
    await rig.settle()
    assert rig.state == "idle"
    assert rig.status["running_item_uid"] is None
    assert [h["item_uid"] for h in await rig.history()] == [first, second]
    assert [h["result"]["exit_status"] for h in await rig.history()] == ["completed"] * 2
    assert [e.task_uid for e in rig.events("plan_finished")] == [first, second]
    assert len(rig.events("queue_drained")) == 1


async def test_no_status_says_idle_between_two_plans(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.add()
    await rig.add()
    rig.statuses.clear()
    await rig.ok("queue_start")
    await rig.settle()
    await worker.finish()
    await rig.settle()
    assert {s["manager_state"] for s in rig.statuses} == {"starting_queue", "executing_queue"}
    assert all(s["running_item_uid"] for s in rig.statuses)


async def test_plan_is_sent_only_when_its_start_is_on_disk(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.add()
    rig.gate.shut()
    starting = asyncio.ensure_future(rig.call("queue_start"))
    await rig.settle()
    assert worker.plans == []
    assert rig.state == "starting_queue"
    worker.hello()  # a reconnection must not send it early either
    await rig.settle()
    assert worker.plans == []
    await rig.gate.open()
    assert (await starting)["success"]
    await rig.settle()
    assert len(worker.plans) == 1


async def test_a_client_that_goes_away_does_not_stop_what_it_started(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.add()
    rig.gate.shut()
    starting = asyncio.ensure_future(rig.call("queue_start"))
    await rig.settle()
    starting.cancel()
    await asyncio.wait([starting])
    await rig.gate.open()
    await rig.settle()
    assert len(worker.plans) == 1


async def test_start_needs_environment_run_engine_and_rest(rig: Rig) -> None:
    await rig.add()
    assert "RE Worker environment does not exist" in await rig.refused("queue_start")
    worker = await rig.open_environment(re_state=None)
    assert "Run Engine is not found in the RE Worker environment" in await rig.refused("queue_start")
    await worker.change(re_state="idle")
    await rig.ok("queue_start")
    assert "RE Manager is busy" in await rig.refused("queue_start")
    await rig.settle()


async def test_start_of_an_empty_queue_does_nothing(rig: Rig) -> None:
    await rig.open_environment()
    await rig.ok("queue_start")
    assert rig.state == "idle"


@pytest.mark.parametrize(
    ("exit_status", "mode", "in_queue", "goes_on", "autostart"),
    [
        ("completed", {}, None, True, True),
        ("unknown", {}, None, True, True),
        ("completed", {"loop": True}, "back", True, True),
        ("failed", {}, "front", False, False),
        ("failed", {"ignore_failures": True}, None, True, True),
        ("failed", {"ignore_failures": True, "loop": True}, "back", True, True),
        ("stopped", {}, None, False, False),
        ("stopped", {"loop": True}, "back", False, False),
        ("aborted", {"ignore_failures": True}, "front", False, False),
        ("halted", {"loop": True}, "front", False, False),
    ],
)
async def test_what_follows_when_a_plan_ends(
    rig: Rig, exit_status: str, mode: dict[str, bool], in_queue: str | None, goes_on: bool, autostart: bool
) -> None:
    worker = await rig.open_environment()
    await rig.ok("queue_mode_set", mode=mode)
    first, second = await rig.add(), await rig.add("scan")
    await rig.ok("queue_autostart", enable=True)
    await rig.settle()
    await worker.finish(exit_status=exit_status, msg="why", traceback="Traceback")
    await rig.settle()
    history = await rig.history()
    assert [h["item_uid"] for h in history] == [first]
    assert history[0]["result"]["exit_status"] == exit_status
    assert history[0]["result"]["msg"] == "why"
    items = (await rig.ok("queue_get"))["items"]
    names = [i["name"] for i in items]
    if goes_on:
        assert rig.status["running_item_uid"] == second
        assert names == {None: [], "back": ["count"]}[in_queue]
    else:
        assert rig.state == "idle"
        assert names == {None: ["scan"], "front": ["count", "scan"], "back": ["scan", "count"]}[in_queue]
    assert rig.status["queue_autostart_enabled"] is autostart
    returned = [i for i in items if i["name"] == "count"]
    assert all(i["item_uid"] != first and "result" not in i for i in returned)


async def test_worker_asks_to_stop_the_queue(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.add()
    await rig.add()
    await rig.ok("queue_start")
    await rig.settle()
    await worker.finish(stop_queue=True)
    await rig.settle()
    assert rig.state == "idle"
    assert rig.status["items_in_queue"] == 1


async def test_queue_stop_is_pending_until_the_plan_ends(rig: Rig) -> None:
    worker = await rig.open_environment()
    assert "Queue is not running" in await rig.refused("queue_stop")
    await rig.run_plan()
    await rig.add()
    await rig.ok("queue_stop")
    assert rig.status["queue_stop_pending"] is True
    await rig.ok("queue_stop_cancel")
    assert rig.status["queue_stop_pending"] is False
    await rig.ok("queue_stop")
    await worker.finish()
    await rig.settle()
    assert rig.state == "idle"
    assert rig.status["queue_stop_pending"] is False
    assert rig.status["items_in_queue"] == 1


async def test_stop_pending_does_not_come_back_after_everything_was_killed(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.run_plan()
    await rig.ok("queue_stop")
    rig.processes.alive.clear()
    await rig.restart()
    assert rig.status["queue_stop_pending"] is False
    worker = await rig.open_environment()
    await rig.run_plan()
    await rig.restart()
    assert rig.status["queue_stop_pending"] is False
    assert rig.state == "executing_queue"
    await worker.finish()


async def test_stop_instruction(rig: Rig) -> None:
    worker = await rig.open_environment()
    first = await rig.add()
    stop = (await rig.ok("queue_item_add", item=QUEUE_STOP, **user()))["item"]["item_uid"]
    last = await rig.add()
    await rig.ok("queue_autostart", enable=True)
    await rig.settle()
    await worker.finish()
    await rig.settle()
    assert worker.plans == [first]
    assert rig.state == "idle"
    assert rig.status["queue_autostart_enabled"] is False
    assert await rig.queue() == [last]
    assert [h["item_uid"] for h in await rig.history()] == [first]
    assert (await rig.ok("task_status", task_uid=stop))["state"] == "completed"


async def test_stop_instruction_stays_in_a_loop(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.ok("queue_mode_set", mode={"loop": True})
    await rig.ok("queue_item_add", item=QUEUE_STOP, **user())
    await rig.add()
    await rig.ok("queue_start")
    await rig.settle()
    assert rig.state == "idle"
    assert worker.plans == []
    items = (await rig.ok("queue_get"))["items"]
    assert [i["name"] for i in items] == ["count", "queue_stop"]


@pytest.mark.parametrize("last", ["enable", "item", "environment", "run_engine", "task"])
async def test_autostart_starts_whatever_comes_last(rig: Rig, last: str) -> None:
    async def enable() -> None:
        await rig.ok("queue_autostart", enable=True)

    if last != "enable":
        await enable()
    if last != "item":
        await rig.add()
    if last != "environment":
        worker = await rig.open_environment(re_state=None)
        assert rig.state == "idle"
        if last == "task":
            uid = (await rig.ok("script_upload", script="RE = 1"))["task_uid"]
            await worker.change(re_state="idle")
            assert rig.state == "executing_task"
            await worker.end_task(uid)
        else:
            await worker.change(re_state="idle")
    await rig.settle()
    match last:
        case "enable":
            await enable()
        case "item":
            await rig.add()
        case "environment":
            await rig.open_environment()
    await rig.settle()
    assert rig.state == "executing_queue"
    assert rig.status["queue_autostart_enabled"] is True
    assert rig.worker is not None
    assert len(rig.worker.plans) == 1


async def test_autostart_survives_a_normal_end(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.ok("queue_autostart", enable=True)
    await rig.add()
    await rig.settle()
    await worker.finish()
    await rig.settle()
    assert rig.state == "idle"
    assert rig.status["queue_autostart_enabled"] is True
    await rig.add()
    await rig.settle()
    assert rig.state == "executing_queue"


async def test_autostart_after_a_refused_close(rig: Rig) -> None:
    worker = await rig.open_environment()
    worker.silent = True
    await rig.ok("queue_autostart", enable=True)
    await rig.ok("environment_close")
    await rig.settle()
    await rig.add()
    await rig.settle()
    assert rig.state == "closing_environment"
    worker.silent = False
    worker.refusals[type(worker.received[-1])] = "a task is running"
    worker.answer(worker.received[-1])
    await rig.settle()
    assert rig.state == "executing_queue"


async def test_item_executed_at_once_leaves_the_queue_alone(rig: Rig) -> None:
    worker = await rig.open_environment()
    waiting = await rig.add("scan")
    queue_uid = rig.status["plan_queue_uid"]
    reply = await rig.ok("queue_item_execute", item=plan(item_uid="mine"), **user())
    uid = reply["item"]["item_uid"]
    assert uid != "mine"
    assert reply["qsize"] == 1
    assert rig.state != "idle"
    assert rig.status["plan_queue_uid"] != queue_uid
    await rig.settle()
    running = (await rig.ok("queue_get"))["running_item"]
    assert running["item_uid"] == uid
    assert running["properties"]["immediate_execution"] is True
    await worker.finish(exit_status="failed")
    await rig.settle()
    assert rig.state == "idle"
    assert await rig.queue() == [waiting]
    assert [h["item_uid"] for h in await rig.history()] == [uid]


async def test_instruction_executed_at_once(rig: Rig) -> None:
    await rig.open_environment()
    await rig.ok("queue_autostart", enable=True)
    await rig.ok("queue_item_execute", item=QUEUE_STOP, **user())
    assert rig.state == "idle"
    assert rig.status["queue_autostart_enabled"] is False


async def test_execute_is_refused_without_environment_or_rest(rig: Rig) -> None:
    prefix = "Failed to start execution of the item: "
    reply = await rig.call("queue_item_execute", item=plan(), **user())
    assert reply["msg"] == f"{prefix}RE Worker environment does not exist."
    assert reply["qsize"] is None
    assert reply["item"]["name"] == "count"
    await rig.open_environment()
    await rig.run_plan()
    assert await rig.refused("queue_item_execute", item=plan(), **user()) == f"{prefix}RE Manager is busy."


async def test_item_that_json_cannot_take_changes_nothing(rig: Rig) -> None:
    await rig.open_environment()
    item = plan(meta={"raw": b"bytes"})
    answer = await rig.dispatcher({"method": "queue_item_execute", "params": {"item": item, **user()}}, None)
    assert answer["code"] == "invalid_item"
    assert rig.state == "idle"
    call = {"item_type": "function", "name": "f", "args": [b"bytes"]}
    answer = await rig.dispatcher({"method": "function_execute", "params": {"item": call, **user()}}, None)
    assert answer["code"] == "invalid_item"
    assert rig.state == "idle"


async def test_plan_that_the_worker_refuses_returns_to_the_queue(rig: Rig) -> None:
    worker = await rig.open_environment()
    worker.refusals[RunPlan] = "the detector sulks"
    await rig.ok("queue_autostart", enable=True)
    uid = await rig.add()
    await rig.settle()
    assert rig.state == "idle"
    assert rig.status["queue_autostart_enabled"] is False
    history = await rig.history()
    assert [h["item_uid"] for h in history] == [uid]
    assert history[0]["result"]["exit_status"] == "failed"
    assert "the detector sulks" in history[0]["result"]["msg"]
    assert rig.status["items_in_queue"] == 1


async def test_report_on_another_plan_changes_nothing(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = await rig.run_plan()
    await worker.finish("somebody else")
    await rig.settle()
    assert rig.status["running_item_uid"] == uid
    assert rig.status["items_in_history"] == 0


async def test_repeated_events_are_acknowledged_and_change_nothing(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.run_plan()
    second = await rig.add()
    report = await worker.finish()
    await rig.settle()
    worker.received.clear()
    worker.repeat(report)
    await rig.settle()
    assert [m.seq for m in worker.received] == [report.seq]
    assert rig.status["running_item_uid"] == second
    assert rig.status["items_in_history"] == 1


async def test_nothing_acknowledges_what_is_not_on_disk(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = await rig.run_plan()
    before = worker.acked
    rig.gate.shut()
    worker.event(PlanFinished, **worker.plan_finished(uid))
    await rig.settle()
    worker.hello()

    worker.send(Heartbeat(1.0))
    await rig.settle()
    assert worker.acked == before
    await rig.restart()  # what was held is lost; the worker reports again
    assert [h["item_uid"] for h in await rig.history()] == [uid]
    assert worker.acked == before + 1


async def test_task_answers_for_a_plan_all_its_life(rig: Rig) -> None:
    async def status(uid: str) -> tuple[str, str]:
        reply = await rig.ok("task_status", task_uid=uid)
        both = await rig.ok("task_status", task_uid=[uid, "nobody"])
        assert both["status"] == {uid: reply["status"], "nobody": "not_found"}
        assert both["state"] == {uid: reply["state"], "nobody": "not_found"}
        return reply["status"], reply["state"]

    worker = await rig.open_environment()
    uid = await rig.add()
    assert await status(uid) == ("running", "pending")
    assert (await rig.ok("task_result", task_uid=uid))["result"]["time_start"] is None
    await rig.ok("queue_start")
    await rig.settle()
    assert await status(uid) == ("running", "running")
    assert (await rig.ok("task_result", task_uid=uid))["result"]["time_start"] == rig.now
    await worker.pause()
    assert await status(uid) == ("running", "paused")
    await rig.ok("re_stop")
    rig.gate.shut()
    worker.event(PlanFinished, **worker.plan_finished(uid, "stopped"))
    await rig.settle()
    assert await status(uid) == ("completed", "stopped")
    asking = asyncio.ensure_future(rig.ok("task_result", task_uid=uid))
    await rig.gate.open()
    result = (await asking)["result"]
    assert result["exit_status"] == "stopped"
    assert result["success"] is True
    assert result["run_uids"] == [f"run-{uid[:4]}"]
    await rig.ok("history_clear")
    assert await rig.history() == []
    assert await status(uid) == ("completed", "stopped")
    assert (await rig.ok("task_result", task_uid=uid))["result"]["exit_status"] == "stopped"
    removed = await rig.add()
    await rig.ok("queue_item_remove", uid=removed)
    assert await status(removed) == ("completed", "cancelled")


# ------------------------------------------------------------------------------------------ pausing


async def test_pause_and_resume(rig: Rig) -> None:
    worker = await rig.open_environment()
    assert "Option 'later' is not supported" in await rig.refused("re_pause", option="later")
    assert "not paused" in await rig.refused("re_resume")
    await rig.run_plan()
    await rig.ok("re_pause")
    assert worker.commands(PausePlan)[-1].option == "deferred"
    assert rig.status["pause_pending"] is True
    await worker.pause()
    assert rig.state == "paused"
    assert rig.status["pause_pending"] is False
    await rig.ok("re_resume")
    assert worker.commands(ContinuePlan)[-1].option == "resume"
    assert rig.state == "executing_queue"
    await worker.finish()
    await rig.settle()
    assert rig.state == "idle"


async def test_pending_pause_is_escalated(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.run_plan()
    assert "not paused" in await rig.refused("re_abort")
    await rig.ok("re_pause", option="deferred")
    await rig.ok("re_pause", option="immediate")
    assert [c.option for c in worker.commands(PausePlan)] == ["deferred", "immediate"]
    assert "not paused" in await rig.refused("re_resume")
    await rig.ok("re_abort")
    assert [c.option for c in worker.commands(ContinuePlan)] == ["abort"]
    assert rig.state == "executing_queue"
    await worker.finish(exit_status="aborted")
    await rig.settle()
    assert rig.state == "idle"
    assert rig.status["pause_pending"] is False


async def test_plan_that_ends_before_its_pause_stops_the_queue(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.run_plan()
    await rig.add()
    await rig.ok("re_pause")
    await worker.finish()
    await rig.settle()
    assert rig.state == "idle"
    assert rig.status["pause_pending"] is False
    assert rig.status["items_in_queue"] == 1


async def test_pause_that_is_accepted_just_before_the_end_counts(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = await rig.run_plan()
    await rig.add()
    worker.silent = True
    pausing = asyncio.ensure_future(rig.call("re_pause"))
    await hop()
    await rig.settle()
    worker.answer(worker.commands(PausePlan)[-1])
    worker.event(PlanFinished, **worker.plan_finished(uid))  # both in one turn of the loop
    assert (await pausing)["success"]
    await rig.settle()
    assert rig.state == "idle"
    assert rig.status["pause_pending"] is False


async def test_refused_pause_leaves_no_trace(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.run_plan()
    worker.refusals[PausePlan] = "no"
    assert await rig.refused("re_pause") == "no"
    assert rig.status["pause_pending"] is False
    assert rig.state == "executing_queue"


async def test_plan_that_ends_while_paused_hands_over_to_a_running_one(rig: Rig) -> None:
    """The reply to ``re_resume`` may come after the end of the plan."""
    worker = await rig.open_environment()
    first = await rig.run_plan()
    second = await rig.add()
    await worker.pause()
    worker.silent = True
    resuming = asyncio.ensure_future(rig.call("re_resume"))
    await hop()
    await worker.finish(first)
    assert rig.status["running_item_uid"] == second
    assert rig.state == "executing_queue"
    worker.silent = False
    worker.answer(worker.commands(ContinuePlan)[-1])
    assert (await resuming)["success"]
    await rig.settle()
    assert rig.state == "executing_queue"


async def test_pause_of_another_plan_is_ignored(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.run_plan()
    await worker.report(PlanPaused, item_uid="another")
    assert rig.state == "executing_queue"


async def test_progress_of_the_running_plan_only(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = await rig.run_plan()
    worker.send(Progress("another", 1, 2))
    worker.send(Progress(uid, 3, None))
    await rig.settle()
    progress = rig.status["progress"]
    assert (progress["done_count"], progress["total_count"]) == (3, None)
    await worker.finish()
    assert rig.status["progress"] is None


# ------------------------------------------------------------------------------------------ connection


async def test_plan_that_a_disconnected_worker_never_got_is_sent_again(rig: Rig) -> None:
    worker = await rig.open_environment()
    worker.connected = False
    uid = await rig.run_plan()
    assert worker.plans == []
    worker.hello()
    await rig.settle()
    assert worker.plans == [uid]
    worker.hello()
    await rig.settle()
    assert worker.plans == [uid]
    assert json.loads(worker.commands(RunPlan)[0].body)["item_uid"] == uid
