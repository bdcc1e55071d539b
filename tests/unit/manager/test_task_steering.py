"""Steering tasks: cancelling, retrying, changing, holding, deleting."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from manager_rig import FUNCTIONS, TASK_QUEUE, FakePoolWorker, Rig, function, user

from remanager.manager.task_queue import portions
from remanager.model.states import StateClass
from remanager.store.records import Keep


@pytest.fixture
async def worker(pool_rig: Rig) -> FakePoolWorker:
    """The worker of the pool; it is handed several tasks at once, as they are short."""
    worker = await pool_rig.pool_worker()
    uid = await pool_rig.submit()
    worker.begin(uid)
    await worker.end(uid)
    return worker


async def held(rig: Rig, number: int, **options: object) -> list[str]:
    """Submit tasks that wait."""
    return await rig.submit_many(number, delay_s=1000.0, **options)


async def test_a_task_runs(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await rig.submit("work", 1)
    assert list(worker.tasks) == [uid]
    worker.begin(uid)
    await worker.end(uid, value=7)
    assert (await rig.ok("task_result", task_uid=uid))["result"]["return_value"] == 7
    waiting = await rig.submit_many(3)
    await rig.restart()
    assert await rig.task_states(*waiting) == ["running"] * 3
    for uid in waiting:
        worker.begin(uid)
        await worker.end(uid)
    assert await rig.task_states(*waiting) == ["completed"] * 3


async def test_functions_take_any_number_of_arguments(pool_rig: Rig, worker: FakePoolWorker) -> None:
    assert set(FUNCTIONS) == {f["name"] for f in (await pool_rig.ok("task_function_list"))["functions"]}
    uid = await pool_rig.submit("work", 1, 2, 3)
    assert worker.tasks[uid].item["args"] == [1, 2, 3]


# ------------------------------------------------------------------------------------------ cancelling


async def test_cancel_what_waits_and_what_runs(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    running = await rig.submit()
    worker.begin(running)
    (waiting,) = await held(rig, 1)
    reply = await rig.ok("task_cancel", task_uid=[running, waiting, "nobody"], reason="no beam")
    assert (reply["cancelled"], reply["cancelling"], reply["not_found"]) == ([waiting], [running], ["nobody"])
    assert reply["counts"]["cancelled"] == 1
    assert worker.cancels == [running]
    assert (await rig.task(running))["stage"] == "cancelling"
    await worker.end(running, "cancelled")
    assert await rig.task_states(running, waiting) == ["cancelled"] * 2
    assert (await rig.task(waiting))["state_reason"] == "no beam"
    again = await rig.ok("task_cancel", task_uid=running)
    assert (again["cancelled"], again["already_terminal"]) == ([], [running])


async def test_a_worker_that_does_not_stop_is_killed(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await rig.submit(kill_after_s=600.0)
    worker.begin(uid)
    await rig.ok("task_cancel", task_uid=uid)
    await rig.pass_time(1.0)
    assert rig.processes.killed == []
    await rig.ok("task_cancel", task_uid=uid, kill_after_s=0.0)  # out of patience
    await rig.pass_time(0.1)
    assert rig.processes.killed == [worker.pid]
    assert await rig.task_states(uid) == ["cancelled"]


async def test_patience_survives_a_restart(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await rig.submit(kill_after_s=600.0)
    worker.begin(uid)
    await rig.ok("task_cancel", task_uid=uid, kill_after_s=5.0)
    await rig.restart()
    await rig.pass_time(6.0)
    assert rig.processes.killed == [worker.pid]


async def test_cancel_by_selector_in_portions(pool_rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = pool_rig
    monkeypatch.setattr(portions, "PORTION", 3)
    chosen = await held(rig, 10, group="g")
    others = await held(rig, 2)
    preview = await rig.ok("task_cancel", selector={"group": "g"}, dry_run=True)
    assert sorted(preview["cancelled"]) == sorted(chosen)
    assert set(await rig.task_states(*chosen)) == {"pending"}
    reply = await rig.ok("task_cancel", selector={"group": "g"})
    assert sorted(reply["cancelled"]) == sorted(chosen)
    assert set(await rig.task_states(*chosen)) == {"cancelled"}
    assert set(await rig.task_states(*others)) == {"pending"}
    assert len([e for e in rig.events("task_finished") if e.task_uid in chosen]) == 10


async def test_cancel_ends_each_as_cancelled(pool_rig: Rig, worker: FakePoolWorker) -> None:
    """A parent is not said to have failed with its child, nor a dependent with what it needs."""
    rig = pool_rig
    parent = await rig.submit()
    worker.begin(parent)
    worker.child(1, parent, {**function("work"), "item_uid": "c" * 8}, delay_s=100.0)
    await rig.until(lambda: worker.answers)
    assert worker.answers[0].msg == ""
    child = worker.answers[0].task_uid
    await worker.end(parent, "parent")
    (needed,) = await held(rig, 1)
    dependent = await rig.submit(depends_on=[needed])
    assert await rig.task_states(parent, dependent) == ["waiting_children", "blocked"]
    preview = await rig.ok("task_cancel", task_uid=parent, dry_run=True)
    assert preview["cascaded"] == [child]
    reply = await rig.ok("task_cancel", selector={"all": True})
    assert set(reply["cancelled"]) == {parent, child, needed, dependent}
    assert set(await rig.task_states(parent, child, needed, dependent)) == {"cancelled"}


async def test_cancel_without_cascade(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    parent = await rig.submit()
    worker.begin(parent)
    worker.child(1, parent, {**function("work"), "item_uid": "c" * 8}, delay_s=100.0)
    await rig.until(lambda: worker.answers)
    assert worker.answers[0].msg == ""
    await worker.end(parent, "parent")
    await rig.ok("task_cancel", task_uid=parent, cascade=False)
    child = worker.answers[0].task_uid
    assert await rig.task_states(parent, str(child)) == ["cancelled", "pending"]


async def test_cancel_plans(pool_rig: Rig) -> None:
    rig = pool_rig
    await rig.open_environment()
    running = await rig.run_plan()
    queued = await rig.add()
    preview = await rig.ok("task_cancel", task_uid=[queued], dry_run=True)
    assert preview["cancelled"] == [queued]
    assert await rig.queue() == [queued]
    reply = await rig.ok("task_cancel", task_uid=[running, queued])
    assert reply["cancelled"] == [queued]
    assert "re_abort" in reply["refused"][running]
    assert await rig.queue() == []
    assert "re_abort" in await rig.refused("task_cancel", task_uid=running)
    uid = (await rig.ok("function_execute", item=function("f"), run_in_background=True, **user()))["task_uid"]
    assert "kernel_interrupt" in await rig.refused("task_cancel", task_uid=uid)


async def test_cancel_a_plan_that_is_started_in_that_moment(pool_rig: Rig) -> None:
    rig = pool_rig
    await rig.open_environment()
    (waiting,) = await held(rig, 1)
    queued = await rig.add()
    requests = rig.ok("task_cancel", task_uid=[waiting, queued]), rig.ok("queue_start")
    reply = (await asyncio.gather(*requests))[0]
    assert (reply["cancelled"], reply["refused"]) == ([waiting, queued], {})
    assert await rig.task_states(waiting, queued) == ["cancelled", "cancelled"]


async def test_what_is_refused(pool_rig: Rig) -> None:
    rig = pool_rig
    await rig.refused("task_cancel")
    await rig.refused("task_cancel", task_uid="a", selector={"all": True})
    assert "all" in await rig.refused("task_cancel", selector={})
    assert "group_name" in await rig.refused("task_cancel", selector={"group_name": "g"})
    await rig.ok("lock", queue=True, lock_key="k", user="Jo")
    assert "lock" in await rig.refused("task_cancel", selector={"all": True})


# ------------------------------------------------------------------------------------------ retrying


async def test_retry(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await rig.submit("work", 5, tags={"a": "b"}, label="L", priority=7, max_retries=0)
    worker.begin(uid)
    await worker.fail(uid)
    reply = await rig.ok("task_retry", task_uid=uid)
    new = reply["resubmitted"][uid]
    assert worker.tasks[new].item["args"] == [5]
    record = await rig.task(new)
    assert record["origin_uid"] == uid
    assert (record["tags"], record["label"], record["priority"], record["attempt"]) == ({"a": "b"}, "L", 7, 1)
    worker.begin(new)
    await worker.end(new)
    assert "succeeded" in await rig.refused("task_retry", task_uid=new)
    reply = await rig.call("task_retry", task_uid="nobody")
    assert (reply["code"], "not known" in reply["msg"]) == ("not_found", True)
    assert (await rig.call("task_retry", task_uid=new))["code"] == "conflict"
    assert (await rig.ok("task_retry", task_uid=["nobody"]))["skipped"] == {"nobody": "It is not known"}


async def test_retry_what_failed_together(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    first = await rig.submit(group="g")
    second = await rig.submit(group="g", depends_on=[first])
    good = await rig.submit(group="g")
    cancelled = (await held(rig, 1, group="g"))[0]
    for uid in (first, good):
        worker.begin(uid)
    await worker.end(good)
    await worker.fail(first)
    await rig.ok("task_cancel", task_uid=cancelled)
    assert await rig.task_states(first, second) == ["failed", "dependency_failed"]
    reply = await rig.ok("task_retry", selector={"group": "g"})
    assert set(reply["resubmitted"]) == {first, second}
    new = reply["resubmitted"]
    assert (await rig.task(new[second]))["depends_on"] == [new[first]]
    worker.begin(new[first])
    await worker.end(new[first])
    assert (await rig.task_states(new[second])) == ["running"]
    named = await rig.ok("task_retry", selector={"group": "g", "state": "cancelled"})
    assert set(named["resubmitted"]) == {cancelled}


async def test_retry_with_what_is_left(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await rig.submit(max_retries=2, retry={"strategy": "constant", "initial_s": 0.0})
    for _ in range(3):
        worker.begin(uid)
        await worker.fail(uid)
        await rig.pass_time(0.1)
    assert await rig.task_states(uid) == ["dead_letter"]
    left = (await rig.ok("task_retry", task_uid=uid, reset_attempts=False))["resubmitted"][uid]
    fresh = (await rig.ok("task_retry", task_uid=uid, again=True))["resubmitted"][uid]
    assert [(await rig.task(u))["max_retries"] for u in (left, fresh)] == [0, 2]


async def test_what_was_retried_is_not_retried_again(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await rig.submit(group="g")
    worker.begin(uid)
    await worker.fail(uid)
    assert (await rig.task(uid))["retried_as"] is None
    replies = await asyncio.gather(*[rig.ok("task_retry", selector={"group": "g"}) for _ in range(2)])
    second, first = sorted(replies, key=lambda reply: len(reply["resubmitted"]))  # whichever came first
    new = first["resubmitted"][uid]
    assert (second["resubmitted"], second["skipped"].keys()) == ({}, {uid})
    assert new in second["skipped"][uid]
    assert new in await rig.refused("task_retry", task_uid=uid)
    assert [(await rig.task(u))["retried_as"] for u in (uid, new)] == [new, None]
    await rig.settle()
    worker.begin(new)
    await worker.fail(new)
    third = await rig.ok("task_retry", selector={"group": "g"})
    assert (third["resubmitted"].keys(), third["skipped"].keys()) == ({new}, {uid})
    forced = (await rig.ok("task_retry", task_uid=uid, again=True))["resubmitted"][uid]
    assert (await rig.task(uid))["retried_as"] == forced


async def test_retry_a_task_whose_key_is_taken(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await rig.submit(key="k")
    worker.begin(uid)
    await worker.fail(uid)
    other = await rig.submit(key="k")
    assert other in await rig.refused("task_retry", task_uid=uid)
    assert (await rig.ok("task_retry", selector={"key": "k"}))["skipped"].keys() == {uid}


@pytest.mark.parametrize("policy", ["skip", "merge", "supersede", "reject"])
async def test_retry_leaves_newer_work_with_its_key_alone(
    pool_rig: Rig, worker: FakePoolWorker, policy: str
) -> None:
    rig = pool_rig
    old = await rig.submit(key="k", on_duplicate=policy)
    worker.begin(old)
    await worker.fail(old)
    new = await rig.submit(key="k", on_duplicate=policy)
    worker.begin(new)
    reply = await rig.ok("task_retry", selector={"key": "k"})
    assert (reply["resubmitted"], reply["skipped"].keys()) == ({}, {old})
    assert new in reply["skipped"][old]
    assert new in await rig.refused("task_retry", task_uid=old)
    await rig.settle()
    assert worker.cancels == []
    await worker.end(new)
    assert await rig.task_states(new) == ["completed"]  # and it is not run once more


async def test_what_needs_a_task_whose_key_is_taken_waits_for_the_newer_one(
    pool_rig: Rig, worker: FakePoolWorker
) -> None:
    rig = pool_rig
    uid = await rig.submit(key="k")
    after = await rig.submit(depends_on=[uid])
    worker.begin(uid)
    await worker.fail(uid)
    newer = await rig.submit(key="k")
    told = await rig.ok("task_retry", task_uid=[uid, after])
    assert told["skipped"].keys() == {uid}
    worker.begin(newer)
    await worker.end(newer)
    assert await rig.task_states(newer, told["resubmitted"][after]) == ["completed", "running"]


async def test_retry_several_that_supersede_each_other(
    pool_rig: Rig, worker: FakePoolWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = pool_rig
    monkeypatch.setattr(portions, "PORTION", 1)
    uids = []
    for _ in range(3):
        uids.append(uid := await rig.submit(key="k", on_duplicate="supersede"))
        worker.begin(uid)
        await worker.fail(uid)
    new = (await rig.ok("task_retry", selector={"key": "k"}))["resubmitted"]
    assert list(new) == uids
    await worker.end(new[uids[0]])  # it had begun
    await rig.settle()
    assert await rig.task_states(*new.values()) == ["superseded", "superseded", "running"]


async def test_retry_what_is_not_of_the_task_queue(pool_rig: Rig) -> None:
    rig = pool_rig
    worker = await rig.open_environment()
    uid = await rig.run_plan()
    await worker.finish(uid, "failed")
    assert "plan" in await rig.refused("task_retry", task_uid=uid)


# ------------------------------------------------------------------------------------------ changing


async def test_update(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    (uid,) = await held(rig, 1)
    changes = {"priority": 3, "group": "g", "tags": {"x": "y"}, "label": "new", "run_after": None}
    task = (await rig.ok("task_update", task_uid=uid, changes={**changes, "timeout_s": 9.0}))["task"]
    assert (task["priority"], task["group"], task["tags"], task["label"]) == (3, "g", {"x": "y"}, "new")
    assert (task["timeout_s"], task["state"]) == (9.0, "running")  # nothing delays it any more
    await rig.ok("task_update", task_uid=uid, changes={"max_retries": 4, "ttl_s": 50.0})
    await rig.restart()
    task = await rig.task(uid)
    assert (task["max_retries"], task["tags"], task["group"]) == (4, {"x": "y"}, "g")
    worker.begin(uid)
    await worker.end(uid)
    assert "has ended" in await rig.refused("task_update", task_uid=uid, changes={"priority": 1})
    assert "not known" in await rig.refused("task_update", task_uid="nobody", changes={"priority": 1})
    assert "empty" in await rig.refused("task_update", task_uid=uid, changes={})
    assert "name" in await rig.refused("task_update", task_uid=uid, changes={"name": "f"})
    [event] = [e for e in rig.events("task_updated") if "ttl_s" in e.data]
    assert json.loads(event.data)["changes"] == {"max_retries": 4, "ttl_s": 50.0}


async def test_update_of_a_plan(pool_rig: Rig) -> None:
    uid = await pool_rig.add()
    assert "queue_item_update" in await pool_rig.refused("task_update", task_uid=uid, changes={"priority": 1})


# ------------------------------------------------------------------------------------------ holding


async def test_pause_a_scope_over_a_restart(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    paused = await rig.ok("task_pause", scope="domain", name="d", reason="no gas")
    assert (paused["held_count"], paused["interrupted"]) == (0, [])
    uid = await rig.submit(domain="d")
    await rig.restart()
    assert await rig.task_states(uid) == ["paused"]
    assert (await rig.task(uid))["pause_reasons"] == ["domain"]
    late = await rig.ok("task_submit", **user(), item=function("work"), options={"domain": "d"})
    assert late["held"] == ["domain"]
    resumed = await rig.ok("task_resume", scope="domain", name="d")
    assert resumed["resumed_count"] == 2
    await rig.settle()
    worker.begin(uid)
    await worker.end(uid)
    assert list(worker.tasks) == [late["task_uid"]]
    assert (await rig.ok("task_resume", scope="domain", name="d"))["resumed_count"] == 0
    await rig.restart()
    assert await rig.task_states(late["task_uid"]) == ["running"]
    assert [json.loads(e.data)["reason"] for e in rig.events("dispatch_paused")] == ["no gas"]
    assert len(rig.events("dispatch_resumed")) == 1


async def test_pause_counts_what_waits(pool_rig: Rig) -> None:
    rig = pool_rig
    await held(rig, 3, group="g")
    await held(rig, 2)
    assert (await rig.ok("task_pause", scope="group", name="g"))["held_count"] == 3
    assert (await rig.ok("task_pause", scope="all"))["held_count"] == 5
    assert (await rig.ok("task_resume", scope="group", name="g"))["resumed_count"] == 0
    assert (await rig.ok("task_resume", scope="all"))["resumed_count"] == 5


async def test_a_timed_pause_ends_by_itself(pool_rig: Rig) -> None:
    rig = pool_rig
    await rig.ok("task_pause", scope="all", until=rig.now + 60.0)
    uid = await rig.submit()
    await rig.restart()
    assert await rig.task_states(uid) == ["paused"]
    await rig.pass_time(61.0)
    assert await rig.task_states(uid) == ["running"]
    assert len(rig.events("dispatch_resumed")) == 1
    assert "future" in await rig.refused("task_pause", scope="all", until=rig.now - 1.0)


async def test_pause_one_task_for_a_while(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    (uid,) = await held(rig, 1)
    paused = await rig.ok("task_pause", scope="task", name=uid, until=rig.now + 2000.0)
    assert paused["held_count"] == 1
    await rig.restart()
    await rig.pass_time(1500.0)
    assert await rig.task_states(uid) == ["paused"]
    await rig.pass_time(600.0)
    assert await rig.task_states(uid) == ["running"]
    worker.begin(uid)
    interrupted = await rig.ok("task_pause", scope="task", name=uid, running="interrupt")
    assert interrupted["interrupted"] == [uid]
    await worker.end(uid, "cancelled")
    assert await rig.task_states(uid) == ["paused"]
    assert (await rig.ok("task_resume", scope="task", name=uid))["resumed_count"] == 1
    assert await rig.task_states(uid) == ["running"]


async def test_pause_what_is_no_task(pool_rig: Rig) -> None:
    rig = pool_rig
    uid = await rig.add()
    assert "re_pause" in await rig.refused("task_pause", scope="task", name=uid)
    assert "not known" in await rig.refused("task_resume", scope="task", name="nobody")
    await rig.refused("task_pause", scope="all", name="x")
    await rig.refused("task_pause", scope="group")
    await rig.refused("task_pause", scope="user", name="Jo")


# ------------------------------------------------------------------------------------------ deleting


async def test_prune(pool_rig: Rig, worker: FakePoolWorker, tmp_path: Path) -> None:
    rig = pool_rig
    await rig.crash()
    archive = tmp_path / "archive"
    rig.options = rig.with_options(task_queue=replace(TASK_QUEUE, archive=archive))
    await rig.restart_after_crash()
    uids: list[str] = []
    for _ in range(5):
        uid = await rig.submit()
        worker.begin(uid)
        await worker.end(uid)
        uids.append(uid)
        rig.now += 1.0
    assert (await rig.ok("task_prune", keep=2, selector={"task_uid": uids}, dry_run=True))["deleted"] == 3
    assert await rig.task_states(*uids) == ["completed"] * 5
    reply = await rig.ok("task_prune", keep=2, selector={"task_uid": uids})
    assert (reply["deleted"], reply["archived"]) == (3, 3)
    assert await rig.task_states(*uids) == ["not_found"] * 3 + ["completed"] * 2
    lines = (archive / "tasks.jsonl").read_text().splitlines()
    assert [json.loads(line)["task_uid"] for line in lines] == uids[:3]
    assert (await rig.ok("task_prune", max_age_s=1000.0))["deleted"] == 0
    await rig.refused("task_prune")
    await rig.refused("task_prune", selector={})


async def test_ended_tasks_are_kept_by_class(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    await rig.crash()
    rig.options = rig.with_options(
        task_queue=replace(TASK_QUEUE, retention={StateClass.FAILURE: Keep(86400.0)})
    )
    await rig.restart_after_crash()
    bad, good, last = await rig.submit_many(3)
    worker.begin(bad)
    await worker.fail(bad)
    worker.begin(good)
    await worker.end(good)
    worker.begin(last)
    rig.now += 1000.0  # longer than results are kept
    await worker.end(last)
    await rig.manager.controls.keeper.purge()
    assert await rig.task_states(bad, good, last) == ["failed", "not_found", "completed"]


async def test_only_what_exists_is_held_by_uid(pool_rig: Rig, worker: FakePoolWorker) -> None:
    """Nothing would end a pause of a schedule that nobody knows; of one that is over, tasks may be left."""
    rig = pool_rig
    for scope in ("schedule", "task"):
        assert "nosuch" in await rig.refused("task_pause", scope=scope, name="nosuch")
    recurring = {"interval_s": 1000.0, "max_executions": 1}
    added = await rig.ok("schedule_add", item=function("work"), recurring=recurring, **user())
    assert (await rig.ok("task_pause", scope="schedule", name=added["schedule_uid"]))["held_count"] == 0
    await rig.ok("task_resume", scope="schedule", name=added["schedule_uid"])
    await rig.pass_time(1.0)
    await rig.manager.controls.schedules.submit_due()
    (task,) = (await rig.ok("task_list", selector={"schedule_uid": added["schedule_uid"]}))["tasks"]
    await rig.ok("schedule_cancel", schedule_uid=added["schedule_uid"])
    assert (await rig.ok("schedule_list"))["schedules"] == []
    await rig.ok("task_pause", scope="schedule", name=added["schedule_uid"])
    assert (await rig.task(task["task_uid"]))["state"] == "running"
