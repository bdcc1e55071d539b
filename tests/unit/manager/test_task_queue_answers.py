"""Questions about tasks: waiting, records, lists, counts, jobs, tags, events."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable
from typing import Any

import pytest
from manager_rig import FakePoolWorker, Rig, function, hop, plan, user

from remanager.manager import journal, tasks
from remanager.manager.task_queue import portions, questions, record, waiters


@pytest.fixture
async def worker(pool_rig: Rig) -> FakePoolWorker:
    """The only worker of the pool."""
    return await pool_rig.pool_worker()


async def started(rig: Rig, worker: FakePoolWorker, **options: Any) -> str:
    """Submit a task that begins at once."""
    uid = await rig.submit(**options)
    worker.begin(uid)
    await rig.settle()
    return uid


async def waiting(request: Awaitable[dict[str, Any]]) -> asyncio.Future[dict[str, Any]]:
    """Begin a request that waits; it must not be answered yet."""
    future = asyncio.ensure_future(request)
    for _ in range(20):
        await hop()
    assert not future.done()
    return future


async def test_the_record_of_an_ended_task_stays_as_it_is(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    ran = await started(rig, worker)
    await worker.end(ran)
    delayed = await rig.submit(delay_s=2.0)
    held = await rig.submit(delay_s=3.0)
    await rig.ok("task_pause", scope="task", name=held)
    blocked = await rig.submit(depends_on=[delayed])
    await rig.pass_time(1.0)
    await rig.ok("task_cancel", task_uid=[delayed, held, blocked])
    await rig.settle()
    before = [await rig.task(uid) for uid in (ran, delayed, held, blocked)]
    assert [task["state"] for task in before[1:]] == ["cancelled"] * 3
    assert [task["queue_wait"] for task in before] == [0.0, None, None, None]
    rig.now += 100.0
    assert [await rig.task(task["task_uid"]) for task in before] == before


# ------------------------------------------------------------------------------------------ waiting


async def test_a_result_that_is_waited_for(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await started(rig, worker)
    assert (await rig.ok("task_result", task_uid=uid))["status"] == "running"
    reply = await waiting(rig.ok("task_result", task_uid=uid, timeout=60))
    await worker.end(uid, value=5)
    found = await reply
    assert (found["status"], found["result"]["return_value"]) == ("completed", 5)
    assert (await rig.ok("task_result", task_uid=uid, timeout=60.0))["result"]["return_value"] == 5
    assert (await rig.ok("task_result", task_uid="nobody", timeout=60))["status"] == "not_found"
    for timeout in (61, -1, "1", None, float("nan")):
        await rig.refused("task_result", task_uid=uid, timeout=timeout)


async def test_the_time_is_over(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    uid = await started(rig, worker)
    found = await rig.ok("task_result", task_uid=uid, timeout=0.01)
    assert (found["status"], found["result"]["task_uid"]) == ("running", uid)
    found = await rig.ok("task_wait", task_uid=uid, timeout=0.01)
    assert (found["active"], found["timed_out"]) == ([uid], True)


async def test_a_plan_that_is_waited_for(pool_rig: Rig) -> None:
    rig = pool_rig
    environment = await rig.open_environment()
    uid = await rig.run_plan()
    reply = await waiting(rig.ok("task_result", task_uid=uid, timeout=60))
    await environment.finish()
    assert (await reply)["result"]["exit_status"] == "completed"


@pytest.mark.parametrize("removal", ["queue_item_remove", "queue_item_remove_batch", "queue_clear", "update"])
async def test_a_plan_that_is_removed_while_it_is_waited_for(pool_rig: Rig, removal: str) -> None:
    rig = pool_rig
    uid = await rig.add()
    reply = await waiting(rig.ok("task_wait", task_uid=uid, timeout=60))
    match removal:
        case "queue_item_remove":
            await rig.ok(removal, uid=uid)
        case "queue_item_remove_batch":
            await rig.add()
            await rig.ok(removal, uids=[uid])
        case "queue_clear":
            await rig.add()
            await rig.ok(removal)
        case _:
            item = {**plan("scan"), "item_uid": uid}
            await rig.ok("queue_item_update", item=item, replace=True, **user())
    state = "superseded" if removal == "update" else "cancelled"
    assert (await reply)["done"] == {uid: state}


async def test_any_all_and_idle(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    await worker.end(await started(rig, worker))
    uids = await rig.submit_many(2, tags={"a": "b"})
    (job,) = {(await rig.task(uid))["job_uid"] for uid in uids}
    both = await waiting(rig.ok("task_wait", job_uid=job, timeout=60))
    either = await waiting(rig.ok("task_wait", task_uid=[*uids, "nobody"], until="any", timeout=60))
    idle = await waiting(rig.ok("task_wait", selector={"tags": {"a": "b"}}, until="idle", timeout=60))
    await worker.end(uids[0])
    first = await either
    assert (first["done"], first["active"], first["not_found"]) == (
        {uids[0]: "completed"},
        [uids[1]],
        ["nobody"],
    )
    assert not both.done()
    await worker.fail(uids[1])
    assert (await both)["done"] == {uids[0]: "completed", uids[1]: "failed"}
    assert ((await idle)["active"], (await idle)["timed_out"]) == ([], False)
    for params in ({}, {"task_uid": uids, "job_uid": job}):
        await rig.refused("task_wait", **params)


@pytest.mark.parametrize("until", ["any", "all", "idle"])
async def test_what_nobody_knows_is_not_waited_for(pool_rig: Rig, worker: FakePoolWorker, until: str) -> None:
    """A job with a wrong UID is not one that is done."""
    rig = pool_rig
    for name in ("task_uid", "job_uid"):
        reply = await rig.ok("task_wait", **{name: "typo"}, until=until, timeout=60)
        assert (reply["done"], reply["active"], reply["not_found"]) == ({}, [], ["typo"])
        assert reply["timed_out"] is False
    uid = await started(rig, worker, job_uid="job")
    assert (await rig.ok("task_wait", job_uid="job", until=until, timeout=0))["not_found"] == []
    await worker.end(uid)
    assert (await rig.ok("task_wait", job_uid="job", until=until, timeout=60))["not_found"] == []


async def test_what_ends_while_the_active_ones_are_read_is_noticed(
    pool_rig: Rig, worker: FakePoolWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = pool_rig
    uid = await started(rig, worker)
    read = rig.manager.questions.uids

    async def read_slowly(*args: Any) -> list[Any]:
        found = await read(*args)
        if uid in worker.tasks:
            await worker.end(uid)
        return found

    monkeypatch.setattr(rig.manager.questions, "uids", read_slowly)
    reply = await rig.ok("task_wait", selector={"all": True}, until="idle", timeout=60)
    assert (reply["active"], reply["timed_out"]) == ([], False)


async def test_waiting_for_more_tasks_than_one_request_names(
    pool_rig: Rig, worker: FakePoolWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that have ended do not hide the ones that run; what does not fit is not left out in silence."""
    rig = pool_rig
    monkeypatch.setattr(questions, "MAX_WAITED", 2)
    uids = set()
    for _ in range(2):
        uids.add(uid := await started(rig, worker, group="g"))
        await worker.end(uid)
    assert (await rig.ok("task_wait", selector={"group": "g"}))["done"].keys() == uids
    last = await started(rig, worker, group="g")
    for until in ("any", "all"):
        assert "2 tasks" in await rig.refused("task_wait", selector={"group": "g"}, until=until)
    idle = await waiting(rig.ok("task_wait", selector={"group": "g"}, until="idle", timeout=60))
    ended = await rig.ok("task_wait", selector={"group": "g", "location": "history"}, until="idle")
    assert (ended["active"], ended["timed_out"]) == ([], False)
    assert not idle.done()
    await worker.end(last)
    assert ((await idle)["active"], (await idle)["timed_out"]) == ([], False)


async def test_too_many_that_wait(
    pool_rig: Rig, worker: FakePoolWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = pool_rig
    monkeypatch.setattr(waiters, "MAX_WAITERS", 1)
    uid = await started(rig, worker)
    reply = await waiting(rig.ok("task_wait", task_uid=uid, timeout=60))
    assert (await rig.ok("task_wait", task_uid=uid, timeout=60))["timed_out"] is True
    await worker.end(uid)
    assert (await reply)["timed_out"] is False


# ------------------------------------------------------------------------------------------ records


async def test_records_of_plans_and_functions(pool_rig: Rig) -> None:
    rig = pool_rig
    environment = await rig.open_environment()
    uid = await rig.add(item={**plan("scan", kwargs={"num": 3}), "label": "L", "tags": {"a": "b"}})
    task = await rig.task(uid)
    assert (task["task_type"], task["item_type"], task["state"], task["kwargs"]) == (
        "scan",
        "plan",
        "pending",
        {"num": 3},
    )
    assert (task["label"], task["tags"], task["attempt"]) == ("L", {"a": "b"}, 1)
    await rig.ok("queue_start")
    await rig.settle()
    await environment.finish(exit_status="aborted")
    await rig.settle()
    info = await rig.ok("task_info", task_uid=uid, include=["result"])
    assert (info["task"]["class"], info["location"]) == ("cancelled", "history")
    assert info["result"]["exit_status"] == "aborted"
    uid = (await rig.ok("function_execute", **user(), item=function("f")))["task_uid"]
    assert (await rig.task(uid))["state"] == "running"


async def test_a_task_by_its_key(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    old = await started(rig, worker, key="k")
    await worker.end(old)
    by_key = {"task_type": "work", "key": "k"}
    assert (await rig.ok("task_info", **by_key))["task"]["task_uid"] == old
    new = await rig.submit(key="k")
    assert (await rig.ok("task_info", **by_key))["task"]["task_uid"] == new
    assert (await rig.ok("task_info", task_type="other", key="k"))["location"] == "not_found"
    assert (await rig.ok("task_info", task_uid="nobody"))["task"] is None
    for params in ({}, {"key": "k"}, {"task_uid": new, "key": "k"}, {"task_type": "work"}):
        await rig.refused("task_info", **params)


async def test_results_of_several(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    done = await started(rig, worker)
    await worker.end(done, value=[1])
    running = await started(rig, worker)
    reply = await rig.ok("task_result_batch", task_uid=[done, running, "nobody"])
    assert [reply["results"][u]["state"] for u in (done, running, "nobody")] == [
        "completed",
        "running",
        "not_found",
    ]
    part = await rig.ok("task_result_batch", task_uid=[done], fields=["return_value"])
    assert part["results"][done]["result"] == {"return_value": [1]}


async def test_why_a_task_does_not_run(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    first = await started(rig, worker, resource_lock="disk")
    await rig.ok("limit_set", scope="group", name="g", max_running=0)
    await rig.ok("task_pause", scope="domain", name="d")
    wanted = {
        await rig.submit(): "slot",
        await rig.submit(delay_s=5): "run_after",
        await rig.submit(depends_on=[first]): "dependencies",
        await rig.submit(group="g"): "limit:group/g",
        await rig.submit(resource_lock="disk"): "resource_lock:disk",
        await rig.submit(domain="d"): "paused",
        first: "",
    }
    assert {uid: (await rig.task(uid))["wait_reason"] for uid in wanted} == wanted
    worker.connected = False
    rig.manager.task_queue.pool.workers[worker.uid].connected = False
    assert (await rig.task(next(iter(wanted))))["wait_reason"] == "no_worker"


# ------------------------------------------------------------------------------------------ lists


async def test_others_have_their_turn_while_a_long_list_is_made(
    pool_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = pool_rig
    await rig.submit_many(10, delay_s=1000.0)
    monkeypatch.setattr(portions, "PORTION", 4)
    turns: list[str] = []

    def describe(*args: Any) -> dict[str, Any]:
        turns.append("task")
        return record.describe(*args)

    monkeypatch.setattr(questions, "describe", describe)
    async with asyncio.TaskGroup() as group:
        listing = group.create_task(rig.ok("task_list"))
        while not listing.done():
            turns.append("other")
            await asyncio.sleep(0)
    assert len(listing.result()["tasks"]) == 10
    assert [len(list(run)) for turn, run in itertools.groupby(turns) if turn == "task"] == [4, 4, 2]


async def test_lists_in_every_order(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    ended = await started(rig, worker)
    await worker.end(ended)
    running = await started(rig, worker)
    low = await rig.submit(priority=200, delay_s=9)
    high = await rig.submit(priority=1, delay_s=9, label="x")

    async def uids(**params: Any) -> list[str]:
        return [t["task_uid"] for t in (await rig.ok("task_list", **params))["tasks"]]

    assert await uids() == [high, low, running, ended]
    assert await uids(order="finished") == [ended]
    assert await uids(order="dispatch") == [high, running, low]
    assert await uids(order="priority", selector={"state": ["pending"]}) == [high, low]
    assert await uids(selector={"class": "success"}) == [ended]
    assert await uids(selector={"location": "active"}, limit=1, offset=1) == [low]
    page = await rig.ok("task_list", limit=3, fields=["label"])
    assert (page["total"], page["tasks"][0]) == (4, {"label": "x"})
    await rig.submit()
    rest = await rig.ok("task_list", limit=3, cursor=page["next_cursor"])
    assert ([t["task_uid"] for t in rest["tasks"]], rest["next_cursor"]) == ([ended], None)
    for params in (
        {"limit": 0},
        {"limit": 1001},
        {"order": "beauty"},
        {"cursor": "x"},
        {"selector": {"x": 1}},
    ):
        await rig.refused("task_list", **params)


async def test_results_that_are_too_large_together_are_refused(
    pool_rig: Rig, worker: FakePoolWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = pool_rig
    uids = []
    for _ in range(2):
        uids.append(await started(rig, worker))
        await worker.end(uids[-1], value="x" * 100)
    assert set((await rig.ok("task_result_batch", task_uid=uids))["results"]) == set(uids)
    monkeypatch.setattr(tasks, "MAX_RESULTS_BYTES", 150)
    reply = await rig.call("task_result_batch", task_uid=uids)
    assert (reply["success"], reply["code"]) == (False, "too_large")
    assert "ask for fewer" in reply["msg"]
    assert (await rig.ok("task_result", task_uid=uids[0]))["result"]["return_value"] == "x" * 100
    assert (await rig.ok("task_result_batch", task_uid=uids[:1]))["results"]


async def test_a_page_of_large_tasks_ends_early(pool_rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = pool_rig
    await rig.ok("task_pause", scope="all")
    uids = await rig.submit_many(5)
    monkeypatch.setattr(questions, "MAX_PAGE_CHARS", 2 * len(json.dumps(function())) + 50)
    found: list[str] = []
    cursor, pages = None, 0
    while True:
        page = await rig.ok("task_list", selector={"all": True}, limit=100, cursor=cursor)
        found += [t["task_uid"] for t in page["tasks"]]
        pages += 1
        assert page["total"] == 5
        assert len(page["tasks"]) < 5
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert pages > 1
    assert sorted(found) == sorted(uids)
    monkeypatch.setattr(questions, "MAX_PAGE_CHARS", 1)  # one in any case
    assert len((await rig.ok("task_list", selector={"all": True}))["tasks"]) == 1


async def test_counts_jobs_and_tags(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    await worker.end(await started(rig, worker, tags={"s": "1"}))
    uids = await rig.submit_many(3, tags={"s": "2", "t": "x"})
    await worker.fail(uids[0])
    (job,) = {(await rig.task(uid))["job_uid"] for uid in uids}
    found = await rig.ok("task_count", group_by="state")
    assert (found["total"], found["counts"]) == (
        4,
        [
            {"value": "running", "count": 2},
            {"value": "completed", "count": 1},
            {"value": "failed", "count": 1},
        ],
    )
    assert (await rig.ok("task_count", group_by="tag:s"))["counts"][0] == {"value": "2", "count": 3}
    assert (await rig.ok("task_count", group_by="class", selector={"job_uid": job}))["total"] == 3
    assert "beauty" in await rig.refused("task_count", group_by="beauty")
    assert "tag:" in await rig.refused("task_count", group_by="tag:")
    status = await rig.ok("job_status", job_uid=job)
    assert (status["state"], status["failed"], status["remaining"]) == ("running", 1, 2)
    assert await rig.ok("job_status", selector={"job_uid": job}) == {
        name: value for name, value in status.items() if name != "job_uid"
    }
    assert status["errors"] == [{"type": "ValueError", "msg": "it broke", "count": 1}]
    for uid in uids[1:]:
        await worker.end(uid)
    jobs = (await rig.ok("job_status", job_uid=[job, "nobody"]))["jobs"]
    assert (jobs[job]["state"], jobs[job]["percent"], jobs["nobody"]) == ("failed", 100, None)
    assert (await rig.call("job_status", job_uid="nobody"))["code"] == "not_found"
    assert (await rig.ok("job_status", selector={"tags": {"s": "1"}}))["state"] == "completed"
    keys = [{"key": "s", "count": 4}, {"key": "t", "count": 3}]
    assert (await rig.ok("tag_list"))["keys"] == keys
    assert (await rig.ok("tag_list", prefix="t"))["keys"] == keys[1:]
    assert {v["value"]: v["count"] for v in (await rig.ok("tag_list", key="s"))["values"]} == {"1": 1, "2": 3}


# ------------------------------------------------------------------------------------------ events


async def test_events_of_some_tasks(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    mine = await started(rig, worker, tags={"s": "1"}, domain="d", job_uid="J", group="g")
    other = await rig.submit("other", delay_s=5)
    await worker.end(mine)

    async def types(**selector: Any) -> list[str]:
        events = (await rig.ok("event_list", selector=selector))["events"]
        assert {e["task_uid"] for e in events} <= {mine, other}
        return [e["type"] for e in events]

    life = ["task_submitted", "task_started", "task_finished"]
    for selector in (
        {"task_uid": mine},
        {"tags": {"s": "1"}},
        {"tags": {"s": None}},
        {"domain": "d", "user": "Jo"},
        {"job_uid": ["J", "K"]},
        {"group": "g"},
        {"task_type": "work"},
    ):
        assert await types(**selector) == life, selector
    assert await types(task_type="other") == ["task_submitted"]
    assert await types(state="completed") == ["task_finished"]
    assert await types(worker_uid=worker.uid) == life[1:]
    assert await types(user="Al") == []
    assert "created" in await rig.refused("event_list", selector={"created": {"after": 1.0}})
    assert len((await rig.ok("event_list", selector={"all": True}))["events"]) > 4


async def test_pages_of_selected_events(
    pool_rig: Rig, worker: FakePoolWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page may be empty though there is more: it tells where to go on."""
    rig = pool_rig
    monkeypatch.setattr(journal, "PORTION", 2)
    monkeypatch.setattr(journal, "MAX_PORTIONS", 2)
    mine = await started(rig, worker)
    await rig.submit_many(10, delay_s=9)
    await worker.end(mine)
    since, found, pages = 0, [], 0
    while True:
        page = await rig.ok("event_list", selector={"task_uid": mine}, since=since, timeout=30)
        found += page["events"]
        pages += 1
        assert page["next_seq"] > since
        since = page["next_seq"]
        if found and found[-1]["type"] == "task_finished":
            break
    assert [e["type"] for e in found] == ["task_submitted", "task_started", "task_finished"]
    assert pages > 2
    monkeypatch.setattr(journal, "MAX_PORTIONS", 100)
    first = await rig.ok("event_list", selector={"task_uid": mine}, limit=1)
    again = await rig.ok("event_list", selector={"task_uid": mine}, limit=1, since=first["next_seq"])
    assert [e["type"] for e in first["events"] + again["events"]] == ["task_submitted", "task_started"]


async def test_selected_events_that_are_waited_for(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    since = (await rig.ok("event_list", limit=10_000))["next_seq"]
    reply = await waiting(
        rig.ok("event_list", since=since, selector={"user": "Al", "state": "running"}, timeout=30)
    )
    uid = await started(rig, worker)
    await worker.end(uid)
    assert not reply.done()
    uid = (await rig.ok("task_submit", user="Al", user_group="primary", item=function("work")))["task_uid"]
    assert [e["task_uid"] for e in (await reply)["events"]] == [uid]


async def test_fields_are_those_of_a_record(pool_rig: Rig) -> None:
    uid = await pool_rig.submit()
    (task,) = (await pool_rig.ok("task_list"))["tasks"]
    assert tuple(sorted(task)) == tuple(sorted(record.FIELDS))
    (task,) = (await pool_rig.ok("task_list", fields=["state", "task_uid"]))["tasks"]
    assert task == {"state": task["state"], "task_uid": uid}
    msg = await pool_rig.refused("task_list", fields=["state", "stat"])
    assert "['stat']" in msg
    assert "state_reason" in msg
