"""Who submitted an item and how often it was tried: at the worker, in the history, after restarts."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Any

import pytest
from manager_rig import Rig, RunPlan, function, plan, user

from remanager.model.principal import LOCAL, Principal, Role
from remanager.verbs import load
from remanager.verbs.registry import REGISTRY
from remanager.wire.codec import Encoding, encode_reply

ANN, BOB = Principal("ann", Role.ADMIN), Principal("bob", Role.USER)
load()


async def ask(rig: Rig, principal: Principal, method: str, **params: Any) -> dict[str, Any]:
    """Send a request of a principal that must succeed."""
    answer = rig.dispatcher({"method": method, "params": params}, Encoding.JSON, principal)
    if isinstance(answer, Awaitable):
        answer = await answer
    reply: dict[str, Any] = json.loads(encode_reply(answer, Encoding.JSON))
    assert reply["success"], reply
    return reply


async def submit(rig: Rig, principal: Principal = ANN, method: str = "queue_item_add") -> str:
    reply = await ask(rig, principal, method, item=plan(), **user())
    return str(reply["item"]["item_uid"])


async def test_history_names_who_submitted_the_plan_and_not_who_started_the_queue(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = await submit(rig)
    await ask(rig, BOB, "queue_start")
    await rig.settle()
    (command,) = worker.commands(RunPlan)
    assert (command.attempt, command.principal) == (1, "ann")
    await worker.finish()
    (entry,) = await rig.history()
    assert (entry["result"]["principal"], entry["result"]["attempt"]) == ("ann", 1)
    assert (await rig.ok("task_result", task_uid=uid))["result"]["principal"] == "ann"
    (started,) = rig.events("queue_started")
    assert json.loads(started.data)["principal"] == "bob"
    (begun,) = rig.events("plan_started")
    assert json.loads(begun.data)["submitted_by"] == "ann"


async def test_runs_do_not_name_a_principal_that_nobody_has_proved(rig: Rig) -> None:
    worker = await rig.open_environment()
    await submit(rig, LOCAL)
    await rig.ok("queue_start")
    await rig.settle()
    assert worker.commands(RunPlan)[0].principal is None
    await worker.finish()
    assert (await rig.history())[0]["result"]["principal"] == "local"


@pytest.mark.parametrize(
    ("exit_status", "mode", "attempt"),
    [("failed", {}, 2), ("aborted", {}, 2), ("completed", {"loop": True}, 1), ("stopped", {"loop": True}, 1)],
)
async def test_what_returns_to_be_tried_again_is_another_attempt(
    rig: Rig, exit_status: str, mode: dict[str, bool], attempt: int
) -> None:
    worker = await rig.open_environment()
    await rig.ok("queue_mode_set", mode=mode)
    await submit(rig)
    await ask(rig, BOB, "queue_start")
    await rig.settle()
    await worker.finish(exit_status=exit_status)
    await rig.restart()  # the queue is read from the store
    if rig.state == "idle":
        await ask(rig, BOB, "queue_start")
        await rig.settle()
    command = worker.commands(RunPlan)[-1]
    assert (command.attempt, command.principal) == (attempt, "ann")
    (uid,) = [command.item_uid]
    await rig.ok("queue_mode_set", mode="default")
    await worker.finish()
    assert (await rig.ok("task_result", task_uid=uid))["result"]["attempt"] == attempt


async def test_a_changed_item_is_that_of_who_changed_it(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = await submit(rig)
    await ask(rig, BOB, "queue_item_update", item=plan("scan", item_uid=uid), **user())
    await rig.run_plan()
    assert worker.commands(RunPlan)[0].principal == "bob"


@pytest.mark.parametrize("immediate", [False, True])
async def test_submitter_is_known_after_a_restart_in_the_middle(rig: Rig, immediate: bool) -> None:
    worker = await rig.open_environment()
    if immediate:
        await submit(rig, ANN, "queue_item_execute")
    else:
        await submit(rig)
        await rig.ok("queue_start")
    await rig.settle()
    await rig.restart()
    await worker.finish(exit_status="failed")
    (entry,) = await rig.history()
    assert entry["result"]["principal"] == "ann"
    assert len(await rig.queue()) == (0 if immediate else 1)


async def test_a_batch_belongs_to_its_submitter(rig: Rig) -> None:
    worker = await rig.open_environment()
    await ask(rig, ANN, "queue_item_add_batch", items=[plan(), plan()], **user())
    await rig.ok("queue_start")
    await rig.settle()
    await worker.finish()
    await worker.finish()
    assert [h["result"]["principal"] for h in await rig.history()] == ["ann", "ann"]


async def test_result_of_a_function_names_who_asked(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = (await ask(rig, ANN, "function_execute", item=function(), **user()))["task_uid"]
    await worker.end_task(uid)
    assert (await rig.ok("task_result", task_uid=uid))["result"]["principal"] == "ann"


async def test_every_mutation_is_in_the_journal_with_its_principal(rig: Rig) -> None:
    """Each method that changes something leaves an event that names who asked."""
    worker = await rig.open_environment()
    first, second = await rig.add(), await rig.add()
    permissions = {"user_groups": {"root": {"allowed_plans": [None]}, "primary": {"allowed_plans": [None]}}}
    requests: list[tuple[str, dict[str, Any]]] = [
        ("queue_item_add", {"item": plan(), **user()}),
        ("queue_item_add_batch", {"items": [plan(), plan()], **user()}),
        ("queue_item_update", {"item": plan("scan", item_uid=first), **user()}),
        ("queue_item_move", {"uid": first, "pos_dest": "back"}),
        ("queue_item_move_batch", {"uids": [second, first], "pos_dest": "back"}),
        ("queue_item_remove", {"uid": first}),
        ("queue_item_remove_batch", {"uids": [second]}),
        ("queue_mode_set", {"mode": {"loop": True}}),
        ("queue_start", {}),
        ("queue_stop", {}),
        ("queue_stop_cancel", {}),
        ("re_pause", {"option": "immediate"}),
        ("re_resume", {}),
        ("re_stop", {}),
        ("re_abort", {}),
        ("re_halt", {}),
        ("queue_clear", {}),
        ("queue_item_execute", {"item": plan(), **user()}),
        ("queue_autostart", {"enable": True}),
        ("history_clear", {}),
        ("function_execute", {"item": function(), "run_in_background": True, **user()}),
        ("script_upload", {"script": "a = 1", "run_in_background": True}),
        ("environment_update", {"run_in_background": True}),
        ("lock", {"queue": True, "user": "Ann", "lock_key": "k"}),
        ("unlock", {"lock_key": "k"}),
        ("permissions_set", {"user_group_permissions": permissions}),
        ("permissions_reload", {"restore_permissions": False}),
        ("environment_destroy", {}),
        ("environment_open", {}),
        ("environment_close", {}),
        ("manager_stop", {"option": "safe_off"}),
    ]
    elsewhere = {"kernel_interrupt", "manager_kill"} | OF_TASKS  # need a kernel; an option; tested below
    assert {name for name, v in REGISTRY.items() if v.mutating} <= {m for m, _ in requests} | elsewhere
    for method, params in requests:
        if method in {"re_resume", "re_stop", "re_abort", "re_halt"}:
            await worker.pause()
        elif method in {"queue_item_execute", "queue_clear"} and rig.state != "idle":
            await worker.finish(exit_status="aborted")
        elif method == "environment_close":
            worker = await rig.spawned()
            worker.hello()
            await worker.ready()
        await rig.settle()
        newest = rig.events()[-1].seq
        await ask(rig, ANN, method, **params)
        await rig.settle()
        caused = [json.loads(e.data) for e in rig.events() if e.seq > newest]
        assert "ann" in {data.get("principal") for data in caused}, (method, caused)


OF_TASKS = {
    *("task_submit", "task_submit_batch", "task_cancel", "task_retry", "task_update", "task_pause"),
    *("task_resume", "task_prune", "limit_set", "limit_remove", "schedule_add", "schedule_pause"),
    *("schedule_resume", "schedule_cancel", "worker_stop", "worker_restart", "alert_rule_set"),
    *("alert_rule_remove", "alert_ack"),
}


async def test_every_mutation_of_the_task_queue_is_in_the_journal_with_its_principal(pool_rig: Rig) -> None:
    rig = pool_rig
    worker = await rig.pool_worker()
    failed = await rig.submit()
    worker.begin(failed)
    await worker.fail(failed)
    waiting = await rig.submit(delay_s=1000.0)
    await rig.submit(delay_s=1000.0)
    item, group = function("work"), {"scope": "group", "name": "g"}
    rule = {"name": "r", "metric": "task_count", "warn": 0.0}
    done: set[str] = set()

    async def do(method: str, **params: Any) -> dict[str, Any]:
        await rig.settle()
        newest = rig.events()[-1].seq
        reply = await ask(rig, ANN, method, **params)
        await rig.settle()
        caused = [json.loads(e.data) for e in rig.events() if e.seq > newest]
        assert "ann" in {data.get("principal") for data in caused}, (method, caused)
        done.add(method)
        return reply

    await do("task_submit", item=item, options={"delay_s": 1000.0}, **user())
    await do("task_submit_batch", items=[{"item": item}], defaults={"delay_s": 1000.0}, **user())
    await do("task_update", task_uid=waiting, changes={"priority": 1})
    await do("task_pause", **group)
    await do("task_resume", **group)
    await do("limit_set", **group, max_running=1)
    await do("limit_remove", **group)
    await do("alert_rule_set", **rule)
    await rig.manager.controls.alerts.evaluate()
    await do("alert_ack", name="r")
    await do("alert_rule_remove", name="r")
    schedule = await do("schedule_add", item=item, recurring={"cron": "0 0 1 1 *"}, **user())
    for verb in ("schedule_pause", "schedule_resume", "schedule_cancel"):
        await do(verb, schedule_uid=schedule["schedule_uid"])
    await do("task_cancel", task_uid=waiting)
    await do("task_prune", selector={"task_uid": [failed, waiting]}, keep=1)
    ended = await rig.submit(ttl_s=1.0, delay_s=1000.0)
    await rig.pass_time(2.0)
    await do("task_retry", task_uid=ended)
    await do("worker_restart", worker_uid=worker.uid)
    other = next(w for w in rig.living_pool() if w is not worker)
    await do("worker_stop", worker_uid=other.uid)
    assert done == OF_TASKS


async def test_an_exit_status_that_nobody_knows_is_unknown(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await rig.open_environment()
    await rig.run_plan()
    await worker.finish(exit_status="exploded")
    (entry,) = await rig.history()
    assert entry["result"]["exit_status"] == "unknown"
    assert "'exploded'" in caplog.text
    assert rig.state == "idle"


# ------------------------------------------------------------------------------------------- background tasks


async def asked_for(rig: Rig, uid: str) -> tuple[str | None, str | None]:
    """Return who asked for a task, as its record and the event of its submission say."""
    (event,) = [e for e in rig.events("task_submitted") if e.task_uid == uid]
    return (await rig.task(uid))["principal"], json.loads(event.data).get("principal")


async def test_everything_that_is_said_of_a_task_names_who_asked_for_it(pool_rig: Rig) -> None:
    rig = pool_rig
    worker = next(iter(rig.living_pool()))
    reply = await ask(rig, ANN, "task_submit", item=function("work"), **user())
    uid = reply["task_uid"]
    await rig.settle()
    worker.child(1, uid, {**function("other"), "item_uid": "child"})
    await rig.until(lambda: worker.answers)
    await worker.fail(uid)
    assert (await rig.ok("task_result", task_uid=uid))["result"]["principal"] == "ann"
    assert await asked_for(rig, uid) == ("ann", "ann")
    assert await asked_for(rig, "child") == ("ann", "ann")
    again = (await ask(rig, BOB, "task_retry", task_uid=uid))["resubmitted"][uid]
    assert await asked_for(rig, again) == ("bob", "bob")
    await rig.restart()
    assert rig.manager.task_queue.scheduler.cards[again].spec.principal == "bob"


async def test_an_occurrence_is_asked_for_by_who_added_the_schedule(pool_rig: Rig) -> None:
    rig = pool_rig
    recurring = {"interval_s": 60.0}
    await ask(rig, ANN, "schedule_add", item=function("work"), recurring=recurring, **user())
    await rig.until(lambda: rig.events("task_submitted"))
    (event,) = rig.events("task_submitted")
    assert await asked_for(rig, event.task_uid) == ("ann", "ann")


async def test_functions_and_tasks_name_the_principal_alike(pool_rig: Rig) -> None:
    rig = pool_rig
    uid = await rig.submit()
    worker = next(iter(rig.living_pool()))
    await worker.end(uid)
    assert (await rig.ok("task_result", task_uid=uid))["result"]["principal"] == "local"
