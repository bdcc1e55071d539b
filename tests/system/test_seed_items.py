"""Single promises of the documents of five other systems, asked of one daemon."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from system_harness import Daemon

from remanager_api import BFunc, RequestFailedError
from remanager_api.views import cubefs, memos, sitq, taskmill
from remanager_api.views.cubefs import Kind, Section
from remanager_api.views.taskmill_handles import DomainHandle, Scheduler, TaskStore
from remanager_api.zmq import REManagerAPI
from remanager_api.zmq.aio import REManagerAPI as AsyncREManagerAPI

TASKS = Path(__file__).parent / "tasks"
WAIT_S = 30.0
numbers = itertools.count()


@pytest.fixture(scope="module")
def items(make_daemon: Callable[..., Daemon]) -> Daemon:
    """A daemon with the tasks of these tests."""
    daemon = make_daemon("--task-paths", str(TASKS), "--task-modules", "item_tasks", "--task-workers", "3")
    daemon.start()
    return daemon


@pytest.fixture(scope="module")
def api(items: Daemon) -> Iterator[REManagerAPI]:
    """The client."""
    with REManagerAPI(zmq_control_addr=items.control, timeout_recv=WAIT_S) as client:
        client.user_group = "root"
        yield client


@pytest.fixture
def who(api: REManagerAPI) -> str:
    """A user, a group and a domain that are used by one test only."""
    api.user = name = f"user{next(numbers)}"
    return name


@pytest.fixture
def gate(tmp_path: Path, api: REManagerAPI) -> Iterator[Path]:
    """A file that tasks wait for; it is made at the end in any case, so that workers are free again."""
    path = tmp_path / "gate"
    yield path
    path.touch()
    api.task_wait(selector={"state": ["running", "waiting_children"]}, until="idle", timeout=WAIT_S)


def submit(api: REManagerAPI, name: str, *args: Any, **options: Any) -> str:
    """Submit a task and return its uid."""
    uid: str = api.task_submit(BFunc(name, *map(_plain, args)), options)["task_uid"]
    return uid


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def ended(api: REManagerAPI, *uids: str) -> list[str]:
    """Wait for tasks and return their states."""
    reply = api.task_wait(uids, timeout=WAIT_S)
    assert not reply["timed_out"], reply
    return [reply["done"][uid] for uid in uids]


def until(api: REManagerAPI, uid: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait for a record; looked at again with each event of the task."""
    since = 0
    while True:
        task: dict[str, Any] = api.task_info(uid)["task"]
        if condition(task):
            return task
        page = api.event_list(since, task_uid=uid, timeout=WAIT_S)
        assert page["events"], f"nothing happens: {task}"
        since = page["next_seq"]


def running(api: REManagerAPI, *uids: str) -> None:
    """Wait until tasks run."""
    for uid in uids:
        until(api, uid, lambda task: task["state"] == "running")


def progress(api: REManagerAPI, uid: str) -> dict[str, Any]:
    """Wait until a task has reported how far it is; that it has begun may be told later."""
    for _ in range(1000):
        info = api.task_info(uid)
        found: dict[str, Any] = info["progress"]
        if found and found["time_updated"] is not None and info["task"]["stage"] == "executing":
            return found
        api.task_wait(uid, timeout=0.02)
    raise TimeoutError(found)


def ask(items: Daemon, question: Callable[[AsyncREManagerAPI], Awaitable[None]]) -> None:
    """Ask with the asynchronous client."""

    async def run() -> None:
        async with AsyncREManagerAPI(zmq_control_addr=items.control, timeout_recv=WAIT_S) as client:
            client.user_group = "root"
            await question(client)

    asyncio.run(run())


# ------------------------------------------------------------------------------------------------- MemOS


def test_overview_of_the_system(api: REManagerAPI, who: str, gate: Path) -> None:
    done, held = submit(api, "give", 1), submit(api, "gated", gate)
    ended(api, done)
    running(api, held)
    summary = api.stats()["summary"]
    assert summary["live"]["running"] >= 1
    assert summary["live"]["total"] == sum(n for s, n in summary["live"].items() if s != "total")
    assert summary["retained"]["completed"] >= 1
    data = memos.MemOSClient(api).get_all_scheduler_status().data
    assert set(data) == {"scheduler_summary", "all_tasks_summary"}
    words = {"waiting", "in_progress", "pending", "completed", "failed", "cancelled", "total"}
    assert all(set(part) == words for part in data.values())
    assert data["scheduler_summary"]["in_progress"] >= 1
    assert data["all_tasks_summary"]["completed"] >= 1
    assert api.stats([])["health"] == {"state": "ok", "reasons": []}


def test_statuses_of_a_user(api: REManagerAPI, who: str) -> None:
    mine = [submit(api, "give", n) for n in range(3)]
    api.user = "somebody else"
    submit(api, "give")
    ended(api, *mine)
    listed = api.task_list({"user": who}, fields=["task_uid", "state"])["tasks"]
    assert listed == [{"task_uid": uid, "state": "completed"} for uid in reversed(mine)]
    data = memos.MemOSClient(api).get_task_status(user_id=who).data
    assert data == [{"task_id": uid, "status": "completed"} for uid in reversed(mine)]


def test_one_task_a_job_or_nothing(api: REManagerAPI, who: str, gate: Path) -> None:
    client = memos.MemOSClient(api)
    reply = api.task_submit_batch([BFunc("give", 1), BFunc("gated", str(gate)), BFunc("hopeless", "no")])
    job, uids = reply["job_uid"], [r["task_uid"] for r in reply["results"]]
    ended(api, uids[2])
    assert client.get_task_status(who, uids[2]).data == [{"task_id": uids[2], "status": "failed"}]
    assert client.get_task_status(who, job).data == [{"task_id": job, "status": "in_progress"}]
    gate.touch()
    ended(api, *uids)
    assert client.get_task_status(who, job).data[0]["status"] == "failed"
    api.user = "nobody"
    for uid in (uids[2], job):
        assert client.get_task_status("nobody", uid).code == 404, "those of others are not known"
    unknown = client.get_task_status(who, "nothing")
    assert (unknown.code, unknown.data) == (404, None)
    assert api.task_status("nothing")["state"] == "not_found"


def test_queue_of_a_user(api: REManagerAPI, who: str, gate: Path) -> None:
    uids = [submit(api, "gated", gate, resource_lock=who, domain="cube") for _ in range(3)]
    running(api, uids[0])
    status = api.queue_status(selector={"user": who})
    assert (status["unacked"], status["queued"], status["total"]) == (1, 2, 3)
    assert status["users_count"] == 1
    (lane,) = status["lanes"]
    assert (lane["user"], lane["domain"], lane["task_type"]) == (who, "cube", "gated")
    assert (lane["queued"], lane["unacked"]) == (2, 1)
    data = memos.MemOSClient(api).get_task_queue_status(user_id=who).data
    key = f"{who}:cube:gated"
    assert data == {
        "user_name": who,
        "mem_cube_id": None,
        "users_count": 1,
        "pending_tasks_count": 1,
        "remaining_tasks_count": 2,
        "pending_tasks_detail": [f"{key}:1"],
        "remaining_tasks_detail": [f"{key}:2"],
        "stream_keys": [key],
    }
    empty = memos.MemOSClient(api).get_task_queue_status(user_id="nobody").data
    assert (empty["pending_tasks_count"], empty["remaining_tasks_count"], empty["stream_keys"]) == (0, 0, [])


def test_states_of_a_life(api: REManagerAPI, who: str, gate: Path) -> None:
    first, second = (submit(api, "gated", gate, resource_lock=who) for _ in range(2))
    running(api, first)
    assert api.task_status([first, second])["state"] == {first: "running", second: "pending"}
    assert api.task_info(second)["task"]["wait_reason"] == f"resource_lock:{who}"
    gate.touch()
    assert ended(api, first, second) == ["completed", "completed"]
    pool = {w["pid"] for w in api.worker_list()["workers"] if w["kind"] == "pool"}
    assert api.task_result(first)["result"]["return_value"] in pool, "tasks run in processes of their own"
    with pytest.raises(RequestFailedError, match="There is no function 'unheard_of'"):
        submit(api, "unheard_of")


def test_a_failure_says_why(api: REManagerAPI, who: str) -> None:
    uid = submit(api, "hopeless", "the reason")
    assert ended(api, uid) == ["failed"]
    error = api.task_info(uid)["task"]["last_error"]
    assert (error["type"], error["msg"]) == ("remanager.tasks.exceptions.Permanent", "the reason")
    result = api.task_result(uid)["result"]
    assert (result["success"], result["return_value"]) == (False, None)
    needs = submit(api, "give", depends_on=[uid])
    parent = submit(api, "sponsor", "no")
    assert ended(api, needs, parent) == ["dependency_failed", "failed"]
    (child,) = api.task_info(parent, include=["children"])["children"]
    reasons = {
        needs: f"prerequisite {uid} ended as failed",
        parent: f"child {child['task_uid']} ended as failed",
    }
    for (other, reason), kind in zip(reasons.items(), ("DependencyFailed", "ChildFailed"), strict=True):
        task = api.task_info(other)["task"]
        assert task["last_error"] == {"type": kind, "msg": reason, "traceback": ""}
        assert task["state_reason"] == reason
    failed = {t.id: t.last_error for t in TaskStore(api).failed_tasks(100)}
    assert reasons.items() <= failed.items()
    batch = sitq.batch_status(api.task_result_batch(list(reasons)))
    assert batch == {u: {"status": "failed", "error": reason} for u, reason in reasons.items()}


def test_waiting_until_a_user_is_idle(api: REManagerAPI, who: str, gate: Path) -> None:
    uid = submit(api, "gated", gate)
    reply = api.task_wait(selector={"user": who}, until="idle", timeout=0.05)
    assert (reply["timed_out"], reply["active"]) == (True, [uid])
    assert reply["waited_s"] >= 0.05
    gate.touch()
    reply = api.task_wait(selector={"user": who}, until="idle", timeout=WAIT_S)
    assert (reply["timed_out"], reply["active"]) == (False, [])
    assert api.task_wait(["nothing"], timeout=WAIT_S)["not_found"] == ["nothing"]


# ------------------------------------------------------------------------------------------------- sitq


def test_results(api: REManagerAPI, items: Daemon, who: str, gate: Path) -> None:
    async def question(client: AsyncREManagerAPI) -> None:
        queue = sitq.TaskQueue(client)
        await queue.connect()
        held = await queue.enqueue("gated", str(gate))
        assert await queue.get_result(held, timeout=0.05) is None
        with pytest.raises(KeyError):
            await queue.get_result("nothing", timeout=0.05)
        good = await queue.get_result(await queue.enqueue("give", {"a": [1]}))
        assert good is not None
        assert good.is_success()
        assert (good.value, good.error) == ({"a": [1]}, None)
        assert good.started_at is not None
        assert good.finished_at is not None
        assert good.started_at <= good.finished_at <= datetime.now(UTC)
        bad = await queue.get_result(await queue.enqueue("hopeless", "no"))
        assert bad is not None
        assert bad.is_failed()
        assert bad.error == "no"
        assert "Permanent" in str(bad.traceback)
        assert (await queue.get_result(await queue.enqueue("touch", str(gate)))) is not None
        assert await queue.get_result(held) is not None

    ask(items, question)


def test_a_delayed_task(api: REManagerAPI, items: Daemon, who: str) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)

    async def question(client: AsyncREManagerAPI) -> None:
        uid = await sitq.TaskQueue(client).enqueue("give", eta=later, options={"group": who})
        task = (await client.task_info(uid))["task"]
        assert (task["state"], task["wait_reason"]) == ("pending", "run_after")
        assert task["run_after"] == pytest.approx(later.timestamp())
        status = await client.queue_status(selector={"group": who})
        assert (status["queued"], status["ready"], status["delayed"]) == (1, 0, 1)
        queue = (await client.stats(["queue"]))["queue"]
        assert queue["delayed"] >= 1
        assert queue["next_wakeup"] <= later.timestamp() + 1
        await client.task_cancel(uid)

    ask(items, question)


def test_history_of_a_task(api: REManagerAPI, items: Daemon, who: str, gate: Path) -> None:
    uid = submit(api, "gated", gate)
    running(api, uid)
    gate.touch()
    ended(api, uid)
    lines = api.task_info(uid, include=["transitions"])["transitions"]
    assert [line["to"] for line in lines][-1] == "completed"
    assert all({"seq", "time", "from", "to", "attempt"} <= set(line) for line in lines)
    words = [word for _, word in sitq.status_history(lines)]
    assert words == ["pending", "processing", "completed"]
    times = [when for when, _ in sitq.status_history(lines)]
    assert times == sorted(times)  # type: ignore[type-var]


def test_statistics_add_up(api: REManagerAPI, who: str, gate: Path) -> None:
    uids = [submit(api, "give"), submit(api, "hopeless", "no"), submit(api, "gated", gate)]
    submit(api, "give", delay_s=3600.0)
    ended(api, *uids[:2])
    running(api, uids[2])
    count = api.task_count({"user": who}, group_by="state")
    assert count["total"] == sum(row["count"] for row in count["counts"]) == 4
    assert sitq.queue_statistics(count) == {
        "total": 4,
        "pending": 1,
        "processing": 1,
        "completed": 1,
        "failed": 1,
    }


def test_record_of_a_running_task(api: REManagerAPI, who: str, gate: Path) -> None:
    uid = submit(api, "gated", gate, label="a label")
    running(api, uid)
    task = api.task_info(uid)["task"]
    assert task["duration"] > 0
    assert task["time_stop"] is None
    assert task["attempt"] == 1
    workers = {w["worker_uid"]: w for w in api.worker_list()["workers"]}
    assert uid in workers[task["worker_uid"]]["running"]
    info = sitq.task_info(task)
    assert (info["task_id"], info["task_type"], info["status"]) == (uid, "gated", "processing")
    assert info["created_at"] <= info["started_at"] <= datetime.now(UTC)


def test_several_at_once(api: REManagerAPI, who: str, gate: Path) -> None:
    good, bad, held = submit(api, "give", 7), submit(api, "hopeless", "no"), submit(api, "gated", gate)
    ended(api, good, bad)
    running(api, held)
    assert sitq.batch_status(api.task_result_batch([good, bad, held, "nothing"])) == {
        good: {"status": "completed", "result": 7},
        bad: {"status": "failed", "error": "no"},
        held: {"status": "processing"},
        "nothing": {"status": "error", "error": "The task 'nothing' is not known"},
    }


def test_tracked_tasks_have_results(api: REManagerAPI, items: Daemon, who: str, gate: Path) -> None:
    good, bad, held = submit(api, "give", [7]), submit(api, "hopeless", "no"), submit(api, "gated", gate)
    ended(api, good, bad)
    running(api, held)

    async def question(client: AsyncREManagerAPI) -> None:
        tracker = sitq.TaskStatusTracker(client, {"user": who})
        tasks = await tracker.get_all_tasks()
        assert list(tasks) == [good, bad, held]
        found = [(task["status"], task["result"], task["error"]) for task in tasks.values()]
        assert found == [("completed", [7], None), ("failed", None, "no"), ("processing", None, None)]
        assert [await tracker.get_task_status(uid) for uid in (good, bad)] == [tasks[good], tasks[bad]]
        report = sitq.status_report(await tracker.get_queue_statistics(), tasks, datetime.now(UTC))
        assert f"Task {held[:8]}... - processing - gated (Duration: " in report

    ask(items, question)


def test_figures_of_the_queue(api: REManagerAPI, who: str) -> None:
    ended(api, submit(api, "give"), submit(api, "hopeless", "no"))
    urgent = submit(api, "give", delay_s=3600.0, priority=3)
    stats = api.stats()
    json.dumps(stats)
    rates = stats["rates"]["1m"]
    assert rates["throughput_per_s"] > 0
    assert 0 < rates["error_rate"] < 1
    assert rates["latency_ms"] > 0
    (row,) = [row for row in stats["queue"]["by_priority"] if row["priority"] == 3]
    assert row["queued"] == 1
    assert row["oldest_age_s"] >= 0
    assert stats["queue"]["depth"] >= 1
    assert set(sitq.metrics(stats)) == {"throughput", "latency", "error_rate", "queue_depth"}
    assert all({"count", "avg", "min", "max", "p50", "p95", "p99"} <= set(d) for d in _times(stats))
    api.task_cancel(urgent)


def _times(stats: dict[str, Any]) -> list[dict[str, Any]]:
    return [stats["types"]["give"][name] for name in ("latency_ms", "queue_wait_ms", "duration_ms")]


def test_figures_of_one_type(api: REManagerAPI, who: str, gate: Path) -> None:
    gate.touch()
    uids = [submit(api, "shrink", gate) for _ in range(2)]
    ended(api, *uids)
    found = api.type_stats("shrink", sample=50)["types"]["shrink"]
    assert found["count"] == found["count_by_state"]["completed"] >= 2
    assert found["duration_ms"]["min"] <= found["duration_ms"]["avg"] <= found["duration_ms"]["max"]
    assert {"p50", "p95", "p99"} <= set(found["duration_ms"])
    assert (found["avg_read_bytes"], found["avg_write_bytes"], found["failure_rate"]) == (1000, 2000, 0)
    assert found["write_bps"] > found["read_bps"] > 0
    store = TaskStore(api)
    stats = store.history_stats("media::shrink")
    assert (stats.count, stats.avg_read_bytes, stats.avg_write_bytes) == (found["count"], 1000, 2000)
    assert stats.avg_duration_ms == pytest.approx(found["duration_ms"]["avg"])
    assert store.avg_throughput("media::shrink", 50) == pytest.approx((found["read_bps"], found["write_bps"]))
    bad = submit(api, "broken", "no", domain=who)
    ended(api, bad, submit(api, "shrink", gate, domain=who))
    assert api.type_stats("broken")["types"]["broken"]["failure_rate"] == 1
    assert store.history_stats(f"{who}::broken").failure_rate == 1
    assert store.history_stats(f"{who}::shrink").count == 1
    assert store.history_stats("media::shrink").count == stats.count, "of another domain is of another type"
    assert store.history_stats("unheard::shrink") == taskmill.TypeStats(0, 0.0, 0.0, 0.0, 0.0)
    assert store.avg_throughput("unheard::shrink", 50) == (0.0, 0.0)


# ------------------------------------------------------------------------------------------------- taskmill


def test_lists_and_counts_by_state(api: REManagerAPI, who: str, gate: Path) -> None:
    store = TaskStore(api)
    held = submit(api, "gated", gate, domain=who, priority=200)
    urgent = submit(api, "gated", gate, domain=who, priority=5)
    running(api, held, urgent)
    blocked = submit(api, "give", domain=who, depends_on=[held])
    late = submit(api, "give", domain=who, delay_s=3600.0)
    later = submit(api, "give", domain=who, delay_s=3600.0)
    first = submit(api, "give", domain=who, delay_s=3600.0, priority=0)
    paused = submit(api, "give", domain=who, delay_s=3600.0)
    api.task_pause("task", paused)
    ours = [urgent, held]
    assert [t.id for t in store.running_tasks() if t.id in ours] == ours
    assert store.running_count() >= 2
    assert [t.id for t in store.pending_tasks(10) if t.task_type == f"{who}::give"] == [first, late, later]
    assert store.pending_count() >= 3
    assert [t.id for t in store.pending_by_type(f"{who}::give")] == [first, late, later]
    (found,) = [t for t in store.paused_tasks() if t.id == paused]
    assert found.pause_reasons == ("operator",)
    assert store.paused_count() >= 1
    assert blocked in [t.id for t in store.blocked_tasks()]
    assert store.blocked_count() >= 1
    assert api.task_count({"domain": who, "ready": False})["total"] >= 3
    assert api.task_list({"domain": who, "pause_reason": "operator"})["total"] == 1
    snap = DomainHandle(api, who).snapshot()
    counts = (len(snap.running), snap.pending_count, snap.paused_count, snap.blocked_count)
    assert counts == (2, 3, 1, 1)
    handle = DomainHandle(api, who)
    assert {t.id for t in handle.active_tasks()} == {held, urgent}
    assert [t.id for t in Scheduler(api).active_tasks() if t.id in ours] == ours
    api.task_cancel([late, later, first, paused])


def test_lookup_by_uid_and_key(api: REManagerAPI, who: str, gate: Path) -> None:
    @dataclass(frozen=True, slots=True)
    class Shrink(taskmill.TypedTask):
        domain: ClassVar[str] = "media"
        name: ClassVar[str] = "shrink"
        gate: str

    scheduler, task = Scheduler(api), Shrink(str(gate))
    assert isinstance(scheduler.lookup_typed(task), taskmill.NotFound)
    uid = scheduler.domain("media").submit(task)
    assert scheduler.domain("media").submit(task) == uid, "a duplicate is the same task"
    running(api, uid)
    found = scheduler.lookup_typed(task)
    assert isinstance(found, taskmill.Active)
    assert (found.record.id, found.record.status, found.record.priority) == (uid, "running", 128)
    again = scheduler.task(uid)
    assert again is not None
    assert again.id == uid
    by_key = scheduler.store().task_by_key(task.key)
    assert by_key is not None
    assert by_key.id == uid
    gate.touch()
    ended(api, uid)
    after = scheduler.task_lookup("media::shrink", task.key)
    assert isinstance(after, taskmill.History)
    assert after.record.completed_at is not None
    assert after.record.duration_ms is not None
    assert scheduler.store().task_by_id(uid) is None
    assert [t.id for t in scheduler.store().history_by_key(task.key)] == [uid]
    assert api.task_info(uid)["location"] == "history"
    assert isinstance(scheduler.task_lookup("media::shrink", "other"), taskmill.NotFound)


def test_lookup_of_a_qualified_type(api: REManagerAPI, who: str, gate: Path) -> None:
    gate.touch()
    scheduler, key = Scheduler(api), f"/photos/{who}.jpg"
    ours = submit(api, "shrink", gate, key=key)
    ended(api, ours)
    theirs = submit(api, "shrink", gate, key=key, domain=who)
    ended(api, theirs)
    for task_type, uid in (("media::shrink", ours), (f"{who}::shrink", theirs), ("shrink", theirs)):
        found = scheduler.task_lookup(task_type, key)
        assert isinstance(found, taskmill.History)
        assert found.record.id == uid
    assert isinstance(scheduler.task_lookup("unheard::shrink", key), taskmill.NotFound)


def test_lists_are_longer_than_a_page(api: REManagerAPI, who: str) -> None:
    number, store, handle = 1500, TaskStore(api), DomainHandle(api, who)
    options = {"domain": who, "delay_s": 3600.0, "tags": {"album": who}}
    batch = api.task_submit_batch([BFunc("give", n) for n in range(number)], options)
    uids = [result["task_uid"] for result in batch["results"]]
    assert set(handle.task_ids_by_tags({"album": who})) == set(uids)
    assert handle.count_by_tag("album") == [(who, number)]
    assert [t.id for t in store.pending_by_type(f"{who}::give")] == uids
    assert len(store.pending_tasks(1200)) == 1200
    assert set(uids) <= {t.id for t in store.pending_tasks(store.pending_count() + 1)}
    odd = set(uids[1::2])
    assert sorted(handle.cancel_where(lambda task: task.id in odd)) == sorted(odd)
    assert set(handle.cancel_all()) == set(uids[::2])
    assert {t.id for t in store.history(number, 0)} == set(uids)
    page = [t.id for t in store.history(1100, 200)]
    assert page == [t.id for t in store.history(number, 0)][200:1300]
    assert handle.cancel_all() == []


def test_expected_io(api: REManagerAPI, who: str, gate: Path) -> None:
    before = TaskStore(api).running_io_totals()
    expected = {"disk_read": 100, "disk_write": 20, "net_rx": 3}
    uid = submit(api, "gated", gate, expected_io=expected)
    running(api, uid)
    read, write = TaskStore(api).running_io_totals()
    assert (read - before[0], write - before[1]) == (100, 20)
    io = api.stats(["io"])["io"]
    assert set(io["expected"]) == set(io["actual"]) == {"disk_read", "disk_write", "net_rx", "net_tx"}


def test_progress_of_a_domain(api: REManagerAPI, who: str, gate: Path) -> None:
    uid = submit(api, "gated", gate, 1000, domain=who)
    assert progress(api, uid)["percent"] == 25
    handle = DomainHandle(api, who)
    (row,) = handle.byte_progress()
    assert (row.task_id, row.bytes_completed, row.bytes_total) == (uid, 250, 1000)
    assert row.elapsed > 0
    (estimated,) = handle.estimated_progress()
    assert estimated.task_type == row.task_type == f"{who}::gated"
    assert estimated.reported == 0.25
    assert estimated.percent is not None
    assert 0.25 <= estimated.percent < 1
    snap = handle.snapshot()
    assert [p.task_id for p in snap.progress] == [p.task_id for p in snap.byte_progress] == [uid]
    gate.touch()
    ended(api, uid)
    assert api.task_info(uid)["progress"]["percent"] == 100


def test_tags(api: REManagerAPI, who: str) -> None:
    tags = [{"billing.team": "a", "color": "red"}, {"billing.team": "a"}, {"billing.team": "b"}, {"x": "y"}]
    uids = [submit(api, "give", domain=who, delay_s=3600.0, tags=t) for t in tags]
    handle = DomainHandle(api, who)
    assert handle.task_ids_by_tags({"billing.team": "a", "color": "red"}) == uids[:1]
    assert set(handle.task_ids_by_tags({"billing.team": "a"}, "pending")) == set(uids[:2])
    assert handle.task_ids_by_tags({"billing.team": "a"}, "running") == []
    assert set(handle.task_ids_by_tags({})) == set(uids)
    assert handle.count_by_tag("billing.team") == handle.tag_values("billing.team") == [("a", 2), ("b", 1)]
    assert handle.tag_keys_by_prefix("billing.") == ["billing.team"]
    assert set(handle.task_ids_by_tag_key_prefix("billing.")) == set(uids[:3])
    assert handle.count_by_tag_key_prefix("billing.", "pending") == 3
    assert handle.count_by_tag_key_prefix("bil%", None) == 0, "literal"
    assert set(handle.cancel_by_tag_key_prefix("billing.")) == set(uids[:3])
    assert handle.cancel_all() == uids[3:]
    with pytest.raises(RequestFailedError, match="no condition"):
        api.task_cancel(selector={})


def test_domains_that_nobody_declares(api: REManagerAPI) -> None:
    scheduler = Scheduler(api)
    assert scheduler.try_domain("unheard") is None
    with pytest.raises(KeyError):
        scheduler.domain("unheard")
    assert scheduler.domain("media").domain == "media"
    assert api.task_list({"domain": "unheard"})["total"] == 0


def test_snapshot_of_everything(api: REManagerAPI, who: str, gate: Path) -> None:
    uid = submit(api, "gated", gate, group=who)
    running(api, uid)
    api.limit_set("group", who, max_running=2, weight=3.0, min_slots=1)
    api.limit_set("task_type", "needless", rate={"permits": 5, "interval_s": 60.0, "burst": 7})
    api.task_pause("group", f"{who}-held", reason="for the test")
    schedule = api.schedule_add(BFunc("give"), {"interval_s": 3600.0, "initial_delay_s": 3600.0})
    snap = Scheduler(api).snapshot()
    assert uid in [t.id for t in snap.running]
    assert 0 < snap.pressure <= 1
    assert snap.max_concurrency == 3
    assert not snap.is_paused
    (group,) = [g for g in snap.group_allocations if g["group"] == who]
    assert (group["weight"], group["min_slots"], group["cap"], group["running"]) == (3.0, 1, 2, 1)
    assert group["allocated_slots"] >= 1
    (paused,) = snap.paused_groups
    assert (paused["name"], paused["until"]) == (f"{who}-held", None)
    (limit,) = snap.rate_limits
    assert (limit["scope"], limit["name"], limit["rate"]["burst"]) == ("task_type", "needless", 7)
    assert limit["available_tokens"] == 7
    assert schedule["schedule_uid"] in [s.task_id for s in snap.recurring_schedules]
    assert {"aging", "workers", "counts"} <= set(api.snapshot())
    api.limit_remove("group", who)
    api.limit_remove("task_type", "needless")
    api.task_resume("group", f"{who}-held")
    api.schedule_cancel(schedule["schedule_uid"])


def test_cancelling(api: REManagerAPI, who: str, gate: Path) -> None:
    handle = DomainHandle(api, who)
    held = submit(api, "gated", gate, domain=who)
    running(api, held)
    pending, late, kept = (submit(api, "give", n, domain=who, delay_s=3600.0) for n in range(3))
    api.task_pause("task", late)
    seq = api.event_list(0, limit=1)["next_seq"]
    uid = api.status()["task_results_uid"]
    assert handle.cancel(pending) is True
    assert api.status()["task_results_uid"] != uid
    assert handle.cancel(pending) is False
    assert handle.cancel_where(lambda task: task.status == "paused") == [late]
    assert api.task_status([pending, late, kept])["state"] == {
        pending: "cancelled",
        late: "cancelled",
        kept: "pending",
    }
    assert set(handle.cancel_all()) == {held, kept}
    assert ended(api, held) == ["cancelled"]
    events = api.event_list(seq, selector={"task_uid": [pending, late, kept, held]})["events"]
    assert {e["task_uid"] for e in events if e["data"].get("to") == "cancelled"} == {
        pending,
        late,
        kept,
        held,
    }
    assert handle.cancel("nothing") is False


def test_cancelling_a_family(api: REManagerAPI, who: str, gate: Path) -> None:
    root = submit(api, "family", gate, 2, domain=who)
    until(api, root, lambda task: task["state"] == "waiting_children")
    (child, *_) = api.task_info(root, include=["children"])["children"]
    until(api, child["task_uid"], lambda task: task["state"] == "waiting_children")
    assert DomainHandle(api, who).snapshot().waiting_count == 1
    reply = api.task_cancel(root)
    assert len(reply["cascaded"]) >= 2
    ended(api, root)
    api.task_wait(selector={"user": who}, until="idle", timeout=WAIT_S)
    counts = api.task_count({"user": who}, group_by="state")["counts"]
    assert [row["value"] for row in counts] == ["cancelled"]
    domains = {row["value"] for row in api.task_count({"user": who}, group_by="domain")["counts"]}
    assert "other" in domains, "a child of another domain is cancelled, too"


def test_dependencies(api: REManagerAPI, who: str, gate: Path) -> None:
    store = TaskStore(api)
    first = submit(api, "gated", gate, domain="ingest")
    second = submit(api, "give", domain="process", depends_on=[first])
    assert store.task_dependencies(second) == [first]
    assert store.task_dependents(first) == [second]
    parts = api.task_info(second, include=["dependents"])
    assert [p["task_uid"] for p in parts["prerequisites"]] == [first]
    gate.touch()
    assert ended(api, first, second) == ["completed", "completed"]
    assert store.task_dependencies(second) == [first], "kept after it is met"
    handle = DomainHandle(api, who)
    pair = [submit(api, "give", domain=who, delay_s=3600.0)]
    pair += [submit(api, "give", domain=who, depends_on=pair)]
    assert handle.cancel_all() == pair[::-1], "a dependent task is cancelled and does not fail"
    with pytest.raises(RequestFailedError):
        submit(api, "give", depends_on=["nothing"])
    batch = api.task_submit_batch([BFunc("give", 1), (BFunc("give", 2), {"depends_on": [0]})])
    above, below = (result["task_uid"] for result in batch["results"])
    assert store.task_dependencies(below) == [above]
    assert ended(api, above, below) == ["completed", "completed"]
    cycle = [(BFunc("give", n), {"depends_on": [1 - n]}) for n in range(2)]
    with pytest.raises(RequestFailedError, match=r"items\[0\]: .* form a cycle"):
        api.task_submit_batch(cycle)


def test_each_ending(api: REManagerAPI, who: str, gate: Path) -> None:
    api.task_pause("group", who)
    key = {"key": who, "on_duplicate": "supersede", "group": who}
    uids = {
        "completed": submit(api, "give", domain=who),
        "failed": submit(api, "hopeless", "no", domain=who),
        "dead_letter": submit(
            api, "broken", "no", domain=who, max_retries=1, retry={"strategy": "constant", "initial_s": 0.0}
        ),
        "superseded": submit(api, "give", domain=who, **key),
        "cancelled": submit(api, "give", domain=who, **key),
        "expired": submit(api, "give", domain=who, group=who, ttl_s=0.05),
    }
    uids["dependency_failed"] = submit(api, "give", domain=who, depends_on=[uids["failed"]])
    api.task_cancel(uids["cancelled"])
    states = dict(zip(uids, ended(api, *uids.values()), strict=True))
    assert states == {word: word for word in uids}
    store, handle = TaskStore(api), DomainHandle(api, who)
    words = {t.id: t.status for t in store.history(50, 0)}
    assert {words[uid] for uid in uids.values()} == set(uids)
    assert [t.id for t in handle.dead_letter_tasks(10, 0)] == [uids["dead_letter"]]
    failed = {t.id: t.last_error for t in store.failed_tasks(100)}
    assert failed[uids["dead_letter"]] == "no"
    assert {uids["failed"], uids["dependency_failed"]} <= set(failed)
    types = [t.task_type for t in store.history_by_type(f"{who}::give", 50)]
    assert types == [f"{who}::give"] * 5
    assert len(store.history(2, 0)) == 2
    assert store.history(2, 0) != store.history(2, 2)
    again = api.task_retry(uids["failed"])["resubmitted"][uids["failed"]]
    assert ended(api, again) == ["failed"]
    api.task_resume("group", who)


def test_a_page_leads_to_the_next(api: REManagerAPI, who: str) -> None:
    uids = [submit(api, "give", n) for n in range(5)]
    ended(api, *uids)
    seen: list[str] = []
    cursor = None
    while True:
        page = api.task_list({"user": who}, order="finished", limit=2, cursor=cursor, fields=["task_uid"])
        assert page["total"] == 5
        seen += [task["task_uid"] for task in page["tasks"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(uids)


def test_schedules(api: REManagerAPI, who: str) -> None:
    store, handle = TaskStore(api), DomainHandle(api, who)
    uid = api.schedule_add(
        BFunc("give", 1),
        {"interval_s": 3600.0, "max_executions": 2, "mode": "fixed_rate"},
        {"domain": who, "label": "hourly"},
    )["schedule_uid"]
    reply = api.task_wait(selector={"schedule_uid": uid}, until="idle", timeout=WAIT_S)
    assert not reply["timed_out"]
    (first,) = api.task_list({"schedule_uid": uid})["tasks"]
    assert first["state"] == "completed"
    (found,) = [s for s in store.recurring_schedules() if s.task_id == uid]
    assert (found.task_type, found.label, found.interval_secs) == (f"{who}::give", "hourly", 3600.0)
    assert (found.execution_count, found.max_executions, found.paused) == (1, 2, False)
    due = store.next_run_after()
    assert due is not None
    assert due == found.next_run
    handle.pause_recurring(uid)
    assert [s.paused for s in store.recurring_schedules() if s.task_id == uid] == [True]
    handle.resume_recurring(uid)
    assert [s.paused for s in store.recurring_schedules() if s.task_id == uid] == [False]
    handle.cancel_recurring(uid)
    assert uid not in [s.task_id for s in store.recurring_schedules()]


def test_pruning(api: REManagerAPI, who: str, tmp_path: Path) -> None:
    uids = [submit(api, "touch", tmp_path / "file") for _ in range(4)]
    ended(api, *uids)
    kept = submit(api, "give")
    ended(api, kept)
    mine = {"task_type": "touch", "user": who}
    assert api.task_prune(selector=mine, dry_run=True)["deleted"] == 4
    assert api.task_prune(keep=3, selector=mine)["deleted"] == 1
    assert api.task_count(mine)["total"] == 3
    assert api.task_prune(max_age_s=0.0, selector=mine)["deleted"] == 3
    store = TaskStore(api)
    assert store.prune_history_by_age(days=1) == 0
    assert store.prune_history_by_count(keep=100_000) == 0


# ------------------------------------------------------------------------------------------------- CubeFS

SECTIONS = {
    "disk_repair": Section(("gated",), disks="repairing_disks", done="repaired_tasks_cnt"),
    "volume_inspect": Section(("shrink",), Kind.INSPECTION),
    "shard_repair": Section(("broken",), Kind.RUNNER),
}


def types(api: REManagerAPI, name: str) -> dict[str, Any]:
    """Return the figures of a type."""
    found: dict[str, Any] = api.stats(["types"])["types"][name]
    return found


def test_a_type_is_switched_off(api: REManagerAPI, who: str) -> None:
    ended(api, submit(api, "needless", "nothing to do"))
    assert types(api, "needless")["enable"] is True
    api.task_pause("task_type", "needless")
    assert types(api, "needless")["enable"] is False
    reply = api.task_submit(BFunc("needless", "nothing to do"))
    assert reply["held"] == ["task_type"]
    assert api.task_status(reply["task_uid"])["state"] == "paused"
    api.task_resume("task_type", "needless")
    assert ended(api, reply["task_uid"]) == ["skipped"]


def test_figures_of_background_tasks(api: REManagerAPI, who: str, gate: Path) -> None:
    before = types(api, "gated") if "gated" in api.stats(["types"])["types"] else None
    lock = f"disk:{who}"
    first, second = (submit(api, "gated", gate, 1000, resource_lock=lock) for _ in range(2))
    running(api, first)
    found = types(api, "gated")
    assert found["worker_doing_cnt"] == 1
    assert found["preparing_cnt"] == 1
    assert found["resources"] == [lock]
    gate.touch()
    ended(api, first, second)
    found = types(api, "gated")
    assert found["done_tasks_cnt"] == found["total_tasks_cnt"]
    per_min = found["per_min"]
    assert all(len(per_min[name]) == 20 for name in ("started", "finished", "succeeded", "items", "bytes"))
    gained = sum(per_min["bytes"]) - (sum(before["per_min"]["bytes"]) if before else 0)
    assert gained == 2000
    window = api.stats([])["window"]
    assert window == {"slots": 20, "slot_s": 60, "order": "oldest_first", "last_is_partial": True}
    section = cubefs.stats(api.stats(["types"]), SECTIONS)["disk_repair"]
    assert section["repairing_disks"] == []
    totals = (section["total_tasks_cnt"], section["repaired_tasks_cnt"])
    assert totals == (found["total_tasks_cnt"], found["succeeded_tasks_cnt"])
    assert section["stats_per_min"]["shard_cnt"].startswith("[0 0 ")


def test_time_outs_of_inspections(api: REManagerAPI, who: str, gate: Path) -> None:
    assert ended(api, submit(api, "shrink", gate, timeout_s=0.1)) == ["timed_out"]
    assert sum(types(api, "shrink")["per_min"]["timed_out"]) == 1
    section = cubefs.stats(api.stats(["types"]), SECTIONS)["volume_inspect"]
    assert " 1" in section["time_out_per_min"]


def test_errors_of_runners(api: REManagerAPI, who: str) -> None:
    ended(api, *(submit(api, "broken", "disk is full", max_retries=0) for _ in range(2)))
    found = types(api, "broken")
    assert found["total_err_cnt"] >= 2
    kind = next(k for k in found["err_stats"] if "disk is full" in k["error"])
    assert kind["count"] == 2
    assert 0 < kind["share"] <= 1
    assert kind["last_time"] > 0
    section = cubefs.stats(api.stats(["types"]), SECTIONS)["shard_repair"]
    assert any("disk is full" in text and text.endswith("%[2]") for text in section["err_stats"])


def test_detail_of_a_task(api: REManagerAPI, who: str, gate: Path) -> None:
    uid = submit(api, "gated", gate, 1000, tags={"disk": "2678"})
    progress(api, uid)
    detail = cubefs.task_detail(api.task_info(uid))
    assert detail is not None
    assert detail["stat"] == {
        "done_count": 1,
        "done_size": 250,
        "progress": 25,
        "total_count": 4,
        "total_size": 1000,
    }
    assert detail["task"]["state"] == 2
    assert detail["task"]["source_disk_id"] == detail["task"]["sources"][0]["disk_id"] == "2678"
    assert detail["task"]["destination"]["host"] == api.task_info(uid)["task"]["worker_uid"]
    gate.touch()
    ended(api, uid)
    after = cubefs.task_detail(api.task_info(uid))
    assert after is not None
    assert (after["task"]["state"], after["stat"]["progress"]) == (4, 100)
    skipped = submit(api, "needless", "moved already")
    ended(api, skipped)
    task = (cubefs.task_detail(api.task_info(skipped)) or {})["task"]
    assert (task["state"], task["finish_advance_reason"]) == (5, "moved already")
    assert cubefs.task_detail(api.task_info("nothing")) is None


def test_attempts_are_counted(api: REManagerAPI, who: str) -> None:
    retry = {"strategy": "constant", "initial_s": 0.0}
    uid = submit(api, "broken", "again", max_retries=2, retry=retry)
    assert ended(api, uid) == ["dead_letter"]
    info = api.task_info(uid, include=["attempts"])
    assert (info["task"]["attempt"], info["task"]["max_retries"]) == (3, 2)
    assert [a["attempt"] for a in info["attempts"]] == [1, 2, 3]
    assert all(a["error"]["msg"] == "again" for a in info["attempts"])
    assert (cubefs.task_detail(info) or {})["task"]["worker_redo_cnt"] == 2


def test_progress_of_a_disk(api: REManagerAPI, who: str, gate: Path) -> None:
    tags = {"disk": who}
    uids = [submit(api, "give", tags=tags), submit(api, "gated", gate, tags=tags)]
    refused = submit(api, "hopeless", "no space", tags=tags)
    ended(api, uids[0], refused)
    selector = {"task_type": ["give", "gated", "hopeless"], "tags": tags}
    assert cubefs.disk_migrating(api.job_status(selector=selector)) == {
        "total_tasks_cnt": 3,
        "migrated_tasks_cnt": 1,
    }
    gate.touch()
    ended(api, *uids)
    job = api.job_status(selector=selector)
    assert (job["state"], job["remaining"], job["percent"]) == ("failed", 0, 100)
    assert cubefs.disk_migrating(job) == {"total_tasks_cnt": 3, "migrated_tasks_cnt": 2}


def test_manager_and_workers(api: REManagerAPI, who: str) -> None:
    ended(api, submit(api, "give"))
    here, leader = api.stats([], scope="local"), api.stats([], scope="leader")
    assert here["role"] == leader["role"] == "leader"
    assert here["manager_uid"] == leader["manager_uid"]
    pool = [w for w in api.worker_list()["workers"] if w["kind"] == "pool"]
    assert pool
    (one,) = api.stats(["workers"], worker_uid=pool[0]["worker_uid"])["workers"]
    assert one["pid"] == pool[0]["pid"]
    assert {"slots", "running", "heartbeat_age_s", "tasks_done", "tasks_failed", "rss_bytes"} <= set(pool[0])


def test_the_same_work_is_submitted_once(api: REManagerAPI, who: str, gate: Path) -> None:
    uid = submit(api, "gated", gate, key=who)
    reply = api.task_submit(BFunc("gated", str(gate)), {"key": who})
    assert (reply["outcome"], reply["existing_task_uid"]) == ("duplicate", uid)
