"""What questions about tasks answer for plans and functions: the same everywhere."""

from __future__ import annotations

from typing import Any

from manager_rig import Rig, function, plan, user


async def states(rig: Rig, uid: str) -> set[str]:
    """Return the states of a task as each method tells it."""
    status = (await rig.ok("task_status", task_uid=uid))["state"]
    info = (await rig.ok("task_info", task_uid=uid))["task"]["state"]
    (listed,) = (await rig.ok("task_list", selector={"task_uid": uid}))["tasks"]
    (counted,) = (await rig.ok("task_count", selector={"task_uid": uid}, group_by="state"))["counts"]
    result = (await rig.ok("task_result", task_uid=uid))["state"]
    return {status, info, listed["state"], counted["value"], result}


async def found(rig: Rig, **selector: Any) -> list[str]:
    """Return the UIDs of selected tasks."""
    return [t["task_uid"] for t in (await rig.ok("task_list", selector=selector))["tasks"]]


async def wait_reason(rig: Rig, uid: str) -> str:
    """Return why a task waits."""
    return str((await rig.task(uid))["wait_reason"])


async def transitions(rig: Rig, uid: str) -> list[tuple[str | None, str, str]]:
    """Return the transitions of a task with their reasons."""
    rows = (await rig.ok("task_info", task_uid=uid, include=["transitions"]))["transitions"]
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    return [(row["from"], row["to"], row.get("reason", "")) for row in rows]


async def test_a_paused_plan_is_paused_in_every_answer(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = await rig.run_plan()
    assert await states(rig, uid) == {"running"}
    await worker.pause()
    assert await states(rig, uid) == {"paused"}
    assert (rig.status["ready"], rig.status["not_ready_reason"][:16]) == (False, "a plan is paused")
    task = await rig.task(uid)
    assert (task["pause_reasons"], task["wait_reason"]) == (["re_pause"], "paused")
    assert await found(rig, state="paused") == [uid] == await found(rig, pause_reason="re_pause")
    assert await found(rig, ready=False) == []
    queue = await rig.ok("queue_status")
    assert (queue["queued"], queue["unacked"]) == (0, 1)  # it keeps its worker
    rig.now += 3.0
    await rig.ok("re_resume")
    assert await states(rig, uid) == {"running"}
    task = await rig.task(uid)
    assert (task["pause_reasons"], task["wait_reason"], task["pause_duration"]) == ([], "", 3.0)
    assert await found(rig, state="paused") == []
    await worker.finish()
    assert await states(rig, uid) == {"completed"}
    assert len(rig.events("plan_paused")) == len(rig.events("plan_resumed")) == 1
    assert await transitions(rig, uid) == [
        (None, "pending", ""),
        ("pending", "running", ""),
        ("running", "paused", "re_pause"),
        ("paused", "running", "re_resume"),
        ("running", "completed", ""),
    ]
    attempts = (await rig.ok("task_info", task_uid=uid, include=["attempts"]))["attempts"]
    assert [(a["attempt"], a["outcome"]) for a in attempts] == [(1, "completed")]


async def test_a_paused_plan_is_still_paused_after_a_restart(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = await rig.run_plan()
    await worker.pause()
    await rig.restart()
    assert (rig.state, await states(rig, uid)) == ("paused", {"paused"})
    await rig.ok("re_stop")
    await worker.finish(exit_status="stopped")
    assert await states(rig, uid) == {"stopped"}
    task = await rig.task(uid)
    assert (task["pause_reasons"], task["wait_reason"]) == ([], "")


async def test_a_pause_or_its_end_while_no_manager_was_there(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = await rig.run_plan()
    await rig.crash()
    await worker.change(re_state="paused", running_item_uid=uid)
    await rig.restart_after_crash()
    assert await states(rig, uid) == {"paused"}
    await rig.crash()
    await worker.change(re_state="running")
    await rig.restart_after_crash()
    assert await states(rig, uid) == {"running"}
    assert len(rig.events("plan_resumed")) == 1


async def test_a_paused_plan_of_a_worker_that_dies_is_lost(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = await rig.run_plan()
    await worker.pause()
    worker.die()
    await rig.until(lambda: rig.manager.state.running is None)
    await rig.settle()
    assert await states(rig, uid) == {"lost"}


async def test_a_queued_plan_says_why_it_waits(rig: Rig) -> None:
    first, waiting = await rig.add(), await rig.add("scan")
    assert await wait_reason(rig, first) == "environment_closed"
    worker = await rig.open_environment()
    assert await wait_reason(rig, first) == "queue_stopped"
    await rig.ok("queue_start")
    await rig.settle()
    assert [await wait_reason(rig, u) for u in (first, waiting)] == ["", "slot"]
    await worker.pause()
    assert await wait_reason(rig, waiting) == "slot"
    await rig.ok("re_resume")
    await rig.ok("queue_stop")
    assert await wait_reason(rig, waiting) == "queue_stopped"
    await rig.ok("queue_stop_cancel")
    await worker.finish()
    await rig.settle()
    await worker.finish()
    assert await wait_reason(rig, waiting) == ""


async def test_a_queued_plan_waits_beside_what_is_executed_at_once(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.ok("queue_item_execute", item=plan(), **user())
    waiting = await rig.add()
    assert await wait_reason(rig, waiting) == "queue_stopped"
    await rig.settle()
    await worker.finish()
    uid = (await rig.ok("function_execute", item=function(), **user()))["task_uid"]
    assert await wait_reason(rig, waiting) == "queue_stopped"
    await rig.ok("queue_autostart", enable=True)
    assert await wait_reason(rig, waiting) == "slot"
    await worker.end_task(uid)


async def test_functions_and_cancelled_plans_have_transitions(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = (await rig.ok("function_execute", item=function(), **user()))["task_uid"]
    assert await transitions(rig, uid) == [(None, "pending", ""), ("pending", "running", "")]
    await worker.end_task(uid, success=False, msg="it broke")
    assert (await transitions(rig, uid))[-1] == ("running", "failed", "it broke")
    plan_uid = await rig.add()
    await rig.ok("queue_item_remove", uid=plan_uid)
    assert await transitions(rig, plan_uid) == [(None, "pending", ""), ("pending", "cancelled", "")]


async def test_the_record_says_why_a_plan_or_function_failed(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = await rig.run_plan()
    told = {"msg": "Plan failed: no beam", "traceback": "Traceback: no beam"}
    await worker.finish(exit_status="failed", **told, error_type="RuntimeError")
    assert (await rig.task(uid))["last_error"] == {"type": "RuntimeError", **told}
    attempts = (await rig.ok("task_info", task_uid=uid, include=["attempts"]))["attempts"]
    assert [a["error"] for a in attempts] == [{"type": "RuntimeError", "msg": told["msg"]}]
    uid = (await rig.ok("function_execute", item=function(), **user()))["task_uid"]
    await worker.end_task(uid, success=False, msg="it broke", error_type="ValueError")
    assert (await rig.task(uid))["last_error"] == {"type": "ValueError", "msg": "it broke", "traceback": ""}
    uid = (await rig.ok("function_execute", item=function(), **user()))["task_uid"]
    await worker.end_task(uid)
    assert (await rig.task(uid))["last_error"] is None


async def test_the_record_says_that_the_worker_of_a_plan_and_of_a_function_was_lost(rig: Rig) -> None:
    worker = await rig.open_environment()
    item = function()
    uids = [await rig.run_plan()]
    reply = await rig.ok("function_execute", item=item, run_in_background=True, **user())
    uids.append(reply["task_uid"])
    worker.die()
    await rig.until(lambda: rig.manager.state.running is None)
    await rig.settle()
    errors = [(await rig.task(uid))["last_error"] for uid in uids]
    assert [error["type"] for error in errors] == ["WorkerLost"] * 2
    assert all("signal" in error["msg"] for error in errors), errors
