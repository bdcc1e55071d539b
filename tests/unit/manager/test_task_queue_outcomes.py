"""What becomes of tasks: outcomes, retries, time-outs, progress, checkpoints, children, dependencies."""

from __future__ import annotations

from typing import Any

import pytest
from manager_rig import FakePoolWorker, Rig, function, user

from remanager.model.pool_messages import TasksEnded, TasksStarted


@pytest.fixture
async def worker(pool_rig: Rig) -> FakePoolWorker:
    """The only worker of the pool."""
    return await pool_rig.pool_worker()


async def started(rig: Rig, worker: FakePoolWorker, name: str = "work", **options: Any) -> str:
    """Submit a task that begins at once."""
    uid = await rig.submit(name, **options)
    worker.begin(uid)
    await rig.settle()
    return uid


async def result(rig: Rig, uid: str) -> dict[str, Any]:
    """Return the result of a task."""
    return dict((await rig.ok("task_result", task_uid=uid))["result"])


def finished(rig: Rig, uid: str) -> list[Any]:
    """Return the events of the ends of a task."""
    return [e for e in rig.events("task_finished") if e.task_uid == uid]


@pytest.mark.parametrize(
    ("kind", "state", "succeeded"),
    [
        ("completed", "completed", True),
        ("skipped", "skipped", True),
        ("error", "failed", False),
        ("permanent", "failed", False),
        ("cancelled", "cancelled", False),
        ("retry", "dead_letter", False),
        ("lost", "lost", False),
    ],
)
async def test_each_outcome(
    pool_rig: Rig, worker: FakePoolWorker, kind: str, state: str, succeeded: bool
) -> None:
    rig = pool_rig
    uid = await started(rig, worker)
    rig.now += 2.0
    error = None if succeeded or kind == "cancelled" else ["ValueError", "it broke", "Traceback: it broke"]
    await worker.end(uid, kind, value={"n": 1}, reason="why", error=error)
    task = await rig.task(uid)
    assert (task["state"], task["ok"], task["duration"]) == (state, succeeded, 2.0)
    reply = await rig.ok("task_result", task_uid=uid)
    assert (reply["status"], reply["state"], reply["result"]["success"]) == ("completed", state, succeeded)
    assert reply["result"]["return_value"] == ({"n": 1} if kind == "completed" else None)
    if error is not None:
        assert task["last_error"] == {"type": error[0], "msg": error[1], "traceback": error[2]}
        assert (reply["result"]["msg"], reply["result"]["traceback"]) == (error[1], error[2])
    if kind in ("skipped", "cancelled"):
        assert task["state_reason"] == "why"
    assert len(finished(rig, uid)) == 1
    info = await rig.ok("task_info", task_uid=uid, include=["transitions", "attempts", "result"])
    assert [t["to"] for t in info["transitions"]] == ["pending", "running", state]
    assert [(a["attempt"], a["state"]) for a in info["attempts"]] == [(1, state)]
    assert info["location"] == "history"


@pytest.mark.parametrize("parent_runs", [True, False])
async def test_failures_through_others_have_a_message(
    pool_rig: Rig, worker: FakePoolWorker, *, parent_runs: bool
) -> None:
    rig = pool_rig
    parent = await started(rig, worker)
    child = await rig.submit(parent_uid=parent)
    after = await rig.submit(depends_on=[child])
    if parent_runs:
        await rig.ok("task_cancel", task_uid=child)
        await worker.end(parent)
    else:
        await worker.end(parent, "parent")
        await rig.settle()
        await worker.fail(child)
    for uid, kind in ((parent, "ChildFailed"), (after, "DependencyFailed")):
        task = await rig.task(uid)
        assert (task["class"], task["last_error"]["type"]) == ("failure", kind)
        assert child in task["last_error"]["msg"]
        assert (await rig.ok("task_result", task_uid=uid))["result"]["msg"] == task["last_error"]["msg"]
    late = await rig.ok("task_submit", **user(), item=function("work"), options={"depends_on": [child]})
    assert (await rig.task(late["task_uid"]))["last_error"]["type"] == "DependencyFailed"


async def test_errors_are_tried_again_with_growing_delays(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await started(rig, worker, max_retries=2, retry={"strategy": "linear", "initial_s": 10.0})
    for attempt, delay in ((1, 10.0), (2, 20.0)):
        await worker.fail(uid)
        task = await rig.task(uid)
        assert (task["state"], task["wait_reason"]) == ("pending", "backoff")
        assert task["run_after"] == pytest.approx(rig.now + delay)
        assert task["last_error"]["msg"] == "it broke"
        assert uid not in worker.tasks
        await rig.pass_time(delay)
        assert worker.tasks[uid].attempt == attempt + 1
        worker.begin(uid)
    await worker.fail(uid, msg="for good")
    task = await rig.task(uid)
    assert (task["state"], task["attempt"]) == ("dead_letter", 3)
    assert "after 3 attempts" in task["state_reason"]
    info = await rig.ok("task_info", task_uid=uid, include=["attempts"])
    assert [a["state"] for a in info["attempts"]] == ["pending", "pending", "dead_letter"]
    assert [a["outcome"] for a in info["attempts"]] == ["failed", "failed", "dead_letter"]
    assert [a["error"]["msg"] for a in info["attempts"]] == ["it broke", "it broke", "for good"]


async def test_a_function_asks_for_another_attempt(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await started(rig, worker, max_retries=1)
    await worker.checkpoint(uid, b"\x05")
    await worker.end(uid, "retry", retry_after_s=77.0, error=["Retry", "later", ""])
    assert (await rig.task(uid))["run_after"] == rig.now + 77.0
    await rig.pass_time(77.0)
    assert worker.tasks[uid].checkpoint == b"\x05"
    await worker.end(uid)
    assert (await rig.task(uid))["state"] == "completed"


@pytest.mark.parametrize(("attempt", "preempted"), [(1, False), (2, False), (1, True)])
async def test_what_was_interrupted_goes_on_from_its_checkpoint(
    pool_rig: Rig, worker: FakePoolWorker, attempt: int, preempted: bool
) -> None:
    rig = pool_rig
    uid = await started(rig, worker, max_retries=1, retry={"initial_s": 0.0})
    if attempt == 2:
        await worker.end(uid, "retry", error=["Retry", "later", ""])
        await rig.settle()
        worker.begin(uid)
    await worker.checkpoint(uid, b"\x05")
    if preempted:
        rig.manager.task_queue.scheduler.preempt_at = 10
        await rig.submit(priority=0)
    else:
        await rig.ok("task_pause", scope="task", name=uid, running="interrupt")
    await rig.settle()
    assert worker.cancels == [uid]
    await worker.end(uid, "cancelled")
    if not preempted:
        assert (await rig.task(uid))["state"] == "paused"
        await rig.ok("task_resume", scope="task", name=uid)
    await rig.settle()
    handed = worker.tasks[uid]
    assert (handed.attempt, handed.checkpoint) == (attempt, b"\x05")


@pytest.mark.parametrize("end", ["completed", "error", "cancelled"])
async def test_another_run_begins_without_the_checkpoint_of_the_one_before(
    pool_rig: Rig, worker: FakePoolWorker, end: str
) -> None:
    rig = pool_rig
    uid = await started(rig, worker, key="k", max_retries=1, retry={"initial_s": 0.0})
    await worker.checkpoint(uid, b"\x05")
    merged = {"key": "k", "on_duplicate": "merge"}
    again = await rig.ok("task_submit", **user(), item=function("work"), options=merged)
    assert (again["task_uid"], again["outcome"]) == (uid, "requeued")
    if end == "cancelled":
        await rig.ok("task_pause", scope="task", name=uid, running="interrupt")
        await rig.settle()
    await worker.end(uid, end)
    await rig.ok("task_resume", scope="task", name=uid)
    await rig.settle()
    handed = worker.tasks[uid]
    assert (handed.attempt, handed.epoch, handed.checkpoint) == (1, 2, None)
    await worker.fail(uid)
    await rig.settle()
    await worker.end(uid)
    assert await rig.task_states(uid) == ["completed"]
    info = await rig.ok("task_info", task_uid=uid, include=["attempts", "transitions"])
    assert [(a["run"], a["attempt"]) for a in info["attempts"]] == [(1, 1), (2, 1), (2, 2)]
    keys = {"seq", "time", "from", "to", "attempt", "stage", "outcome", "reason", "worker_uid", "error"}
    assert all(line.keys() == keys for line in info["transitions"])


async def test_late_reports_change_nothing(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await started(rig, worker, max_retries=1, retry={"initial_s": 0.0})
    row = worker.outcome(uid, "completed", value=1)
    lost = [*row[:2], "error", *row[3:6], ["ValueError", "x", ""], None, None, None]
    await worker.report(TasksEnded, outcomes=[lost])
    await rig.settle()
    assert worker.tasks[uid].epoch == 2
    await worker.report(TasksEnded, outcomes=[row])  # of the first execution
    assert (await rig.task(uid))["state"] == "running"
    assert [e.task_uid for e in rig.events("task_late_report")] == [uid]
    worker.send(TasksStarted([[uid, 1, 5.0]]))
    await rig.settle()
    assert (await rig.task(uid))["time_start"] == rig.now
    await worker.end(uid)
    await worker.report(TasksEnded, outcomes=[row])
    assert (await rig.task(uid))["state"] == "completed"
    assert len(finished(rig, uid)) == 1


async def test_what_is_given_back_has_used_no_attempt(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    first = await started(rig, worker)
    await worker.end(first)
    running, waiting = await rig.submit_many(2)
    worker.begin(running)
    await worker.end(waiting, "returned")
    assert await rig.task_states(running, waiting) == ["running", "pending"]
    task = await rig.task(waiting)
    assert (task["attempt"], task["wait_reason"]) == (0, "slot")
    assert waiting not in worker.tasks  # it is handed nothing until the long one has ended
    await worker.end(running)
    assert worker.tasks[waiting].attempt == 1
    await worker.end(waiting)


async def test_time_out_is_told_then_enforced(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await started(rig, worker, timeout_s=10.0, kill_after_s=5.0)
    await rig.pass_time(10.0)
    assert worker.cancels == [uid]
    assert (await rig.task(uid))["stage"] == "cancelling"
    await rig.pass_time(5.0)
    assert worker.pid in rig.processes.killed
    await rig.until(lambda: uid not in rig.manager.task_queue.scheduler.cards)
    await rig.settle()
    task = await rig.task(uid)
    assert task["state"] == "timed_out"
    assert task["last_error"]["type"] == "TimeoutError"
    figures = (await rig.ok("stats", sections=["counters", "types"]))["types"]["work"]
    assert figures["per_min"]["timed_out"][-1] == 1


async def test_code_that_keeps_the_worker_from_telling_has_no_more_time(
    pool_rig: Rig, worker: FakePoolWorker
) -> None:
    rig = pool_rig
    uid = await rig.submit(timeout_s=2.0, kill_after_s=1.0)
    rig.now += 0.5
    worker.begin(uid, tell=False)
    await rig.pass_time(1.5)
    assert worker.cancels == []
    await rig.pass_time(0.5)
    assert worker.cancels == [uid]
    await rig.pass_time(1.0)
    assert worker.pid in rig.processes.killed
    await rig.until(lambda: uid not in rig.manager.task_queue.scheduler.cards)
    await rig.settle()
    task = await rig.task(uid)
    assert (task["state"], task["duration"]) == ("timed_out", 3.0)


async def test_what_waits_in_the_worker_has_all_its_time(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await rig.submit(timeout_s=2.0)
    await rig.pass_time(5.0)
    await rig.pass_time(5.0)
    assert (worker.cancels, (await rig.task(uid))["stage"]) == ([], "preparing")
    worker.begin(uid, tell=False)
    await rig.pass_time(2.0)
    await rig.pass_time(0.0)
    assert worker.cancels == [uid]


async def test_ttl_ends_what_waits(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    await started(rig, worker)
    uid = await rig.submit(ttl_s=5.0)
    await rig.pass_time(5.0)
    task = await rig.task(uid)
    assert (task["state"], task["ok"], task["class"]) == ("expired", False, "dropped")
    assert (await result(rig, uid))["msg"] == task["state_reason"]


async def test_progress_is_told_and_kept(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await started(rig, worker, expected_io={"disk_read": 50})
    rig.now += 1.0
    worker.progress(uid, done_count=3, total_count=4, done_size=10, message="m", io={"disk_read": 7})
    await rig.settle()
    (told,) = (await rig.ok("task_progress"))["progress"]
    assert (told["task_uid"], told["percent"], told["message"], told["elapsed_s"]) == (uid, 75, "m", 1.0)
    io = (await rig.ok("stats", sections=["io"]))["io"]
    assert (io["expected"]["disk_read"], io["actual"]["disk_read"]) == (50, 7)
    rig.now += 1.0
    await worker.end(uid)
    task = await rig.task(uid)
    assert (task["progress"]["percent"], task["progress"]["done_count"]) == (100, 3)
    assert task["actual_io"] == {"disk_read": 7}
    assert (await rig.ok("task_progress"))["progress"] == []


async def test_the_end_brings_the_last_report(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await started(rig, worker)
    worker.progress(uid, done_count=1, total_count=4)
    await worker.end(uid, "error", report={"done_count": 3, "total_count": 4, "io": {"disk_read": 7}})
    task = await rig.task(uid)
    assert (task["progress"]["percent"], task["progress"]["done_count"]) == (75, 3)
    assert task["actual_io"] == {"disk_read": 7}


async def test_a_task_that_began_is_executing(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await rig.submit()
    assert (await rig.task(uid))["stage"] == "preparing"
    worker.begin(uid)
    await rig.settle()
    assert (await rig.task(uid))["stage"] == "executing"
    await worker.end(uid)
    assert (await rig.task(uid))["stage"] is None


# ------------------------------------------------------------------------------------------ families


async def test_children_and_the_finish_of_their_parent(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    parent = await started(rig, worker, job_uid="J")
    for number in (1, 2):
        worker.child(number, parent, {**function("other"), "item_uid": f"child-{number}"})
    await rig.settle()
    assert [a.task_uid for a in worker.answers] == ["child-1", "child-2"]
    worker.child(1, parent, {**function("other"), "item_uid": "child-1"})  # its answer was lost
    await rig.settle()
    assert worker.answers[-1].task_uid == "child-1"
    assert (await rig.ok("task_count", selector={"parent_uid": parent}))["total"] == 2
    await worker.checkpoint(parent, b"\x01")
    await worker.end(parent, "parent")
    task = await rig.task(parent)
    assert (task["state"], task["wait_reason"], task["children_count"]) == ("waiting_children", "children", 2)
    depths = await rig.ok("queue_status")
    assert (depths["queued"] + depths["unacked"], depths["total"]) == (3, 3)
    for uid in ("child-1", "child-2"):
        assert (await rig.task(uid))["job_uid"] == "J"
        worker.begin(uid)
        await worker.end(uid)
        await rig.settle()
    handed = worker.tasks[parent]
    assert (handed.finishing, handed.attempt, handed.checkpoint) == (True, 1, b"\x01")
    assert (await rig.ok("stats", sections=["types"]))["types"]["work"]["finishing_cnt"] == 1
    await worker.end(parent, value="done")
    assert await rig.task_states(parent) == ["completed"]
    info = await rig.ok("task_info", task_uid=parent, include=["children"])
    assert info["children"] == [{"task_uid": f"child-{n}", "state": "completed"} for n in (1, 2)]
    assert (await rig.ok("job_status", job_uid="J"))["succeeded"] == 3


async def test_a_child_that_is_refused(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    parent = await started(rig, worker)
    worker.child(1, parent, {**function("nix"), "item_uid": "c"})
    worker.child(2, parent, {**function("work"), "item_uid": "d"}, priority=999)
    await rig.settle()
    assert [(a.id, a.task_uid) for a in worker.answers] == [(1, None), (2, None)]
    assert "no function 'nix'" in worker.answers[0].msg
    assert "priority" in worker.answers[1].msg
    await worker.end(parent)
    assert await rig.task_states(parent, "c", "d") == ["completed", "not_found", "not_found"]


async def test_a_failed_child_fails_its_parent(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    parent = await started(rig, worker)
    for number in (1, 2):
        worker.child(number, parent, {**function(), "name": "other", "item_uid": f"c{number}"})
    await rig.settle()
    await worker.end(parent, "parent")
    await worker.fail("c1")
    assert await rig.task_states(parent, "c1") == ["failed", "failed"]
    await rig.until(lambda: "c2" not in rig.manager.task_queue.scheduler.cards or "c2" in worker.tasks)
    if "c2" in worker.tasks:
        await worker.end("c2", "cancelled")
    assert await rig.task_states("c2") == ["cancelled"]


# ------------------------------------------------------------------------------------------ dependencies


async def test_a_task_waits_for_another(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    first = await started(rig, worker)
    after = await rig.submit(depends_on=[first])
    anyway = await rig.submit("other", depends_on=[first], on_dependency_failure="ignore")
    info = await rig.ok("task_info", task_uid=after, include=["dependents"])
    assert info["prerequisites"] == [{"task_uid": first, "state": "running"}]
    assert (await rig.task(first))["dependents"] == [after, anyway]
    await worker.fail(first)
    assert await rig.task_states(after, anyway) == ["dependency_failed", "running"]
    assert first in (await rig.task(after))["state_reason"]
    await worker.end(anyway)
    done = await rig.submit(depends_on=[anyway])
    assert await rig.task_states(done) == ["running"]
    reply = await rig.ok(
        "task_submit", **user(), item=function("work"), options={"depends_on": [first, anyway]}
    )
    assert await rig.task_states(reply["task_uid"]) == ["dependency_failed"]


@pytest.mark.parametrize(
    ("exit_status", "state"), [("completed", "running"), ("failed", "dependency_failed")]
)
async def test_a_task_waits_for_a_plan(
    pool_rig: Rig, worker: FakePoolWorker, exit_status: str, state: str
) -> None:
    rig = pool_rig
    environment = await rig.open_environment()
    plan = await rig.add()
    uid = await rig.submit(depends_on=[plan])
    assert await rig.task_states(plan, uid) == ["pending", "blocked"]
    await rig.ok("queue_start")
    await rig.settle()
    assert await rig.task_states(uid) == ["blocked"]
    await environment.finish(exit_status=exit_status)
    await rig.settle()
    assert await rig.task_states(uid) == [state]


async def test_a_task_whose_plan_is_removed(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    plan = await rig.add()
    uid = await rig.submit(depends_on=[plan])
    await rig.ok("queue_item_remove", uid=plan)
    await rig.settle()
    assert await rig.task_states(plan, uid) == ["cancelled", "dependency_failed"]
    plans = [await rig.add() for _ in range(2)]
    uid = await rig.submit(depends_on=plans)
    await rig.ok("queue_clear")
    await rig.settle()
    assert await rig.task_states(uid) == ["dependency_failed"]


async def test_a_task_waits_for_a_function_of_the_environment(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    environment = await rig.open_environment()
    reply = await rig.ok("function_execute", **user(), item=function("f"))
    uid = await rig.submit(depends_on=[reply["task_uid"]])
    assert await rig.task_states(uid) == ["blocked"]
    await environment.end_task(reply["task_uid"])
    await rig.settle()
    assert await rig.task_states(uid) == ["running"]
