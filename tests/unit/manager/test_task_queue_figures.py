"""Figures: stats, depths, types, snapshot, the past, and the keys of the status."""

from __future__ import annotations

from typing import Any

import pytest
from manager_rig import FakePoolWorker, Rig, function, plan, user

from remanager.daemon.control import ControlCounters
from remanager.engine.task_queue.type_figures import COUNTERS, PER_MINUTE
from remanager.manager.task_queue.history import Metric
from remanager.store.records import Write


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


async def types(rig: Rig) -> dict[str, Any]:
    """Return the section of the types."""
    return dict((await rig.ok("stats", sections=["types"]))["types"])


async def counters(rig: Rig) -> dict[str, int]:
    """Return the counters that are not zero."""
    found = (await rig.ok("stats", sections=["counters"]))["counters"]
    return {name: n for name, n in found.items() if n and name != "since_ever"}


# ------------------------------------------------------------------------------------------ stats


async def test_an_idle_manager(pool_rig: Rig) -> None:
    stats = await pool_rig.ok("stats")
    assert stats["window"] == {"slots": 20, "slot_s": 60, "order": "oldest_first", "last_is_partial": True}
    assert stats["health"] == {"state": "ok", "reasons": []}
    assert set(stats["summary"]["live"].values()) == {0}
    assert stats["summary"]["retained"] == {"total": 0, "history": 0}
    numbers = dict.fromkeys(("depth", "ready", "delayed", "unacked", "total"), 0)
    assert stats["queue"] == {**numbers, "oldest_age_s": None, "by_priority": [], "next_wakeup": None}
    assert stats["types"] == {}
    idle = {"throughput_per_s": 0.0, "error_rate": 0.0, "latency_ms": None}
    assert stats["rates"] == {"1m": idle, "5m": idle, "20m": idle}
    zeros = dict.fromkeys(COUNTERS, 0)
    assert stats["counters"] == {**zeros, **ControlCounters().as_dict(), "since_ever": zeros}
    status = await pool_rig.ok("queue_status")
    assert {k: status[k] for k in ("queued", "ready", "unacked", "total", "users_count", "lanes")} == {
        **dict.fromkeys(("queued", "ready", "unacked", "total", "users_count"), 0),
        "lanes": [],
    }
    assert status["plan_queue"]["eta_s"] == 0.0


async def test_a_task_from_its_submission_to_its_end(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    first = await started(rig, worker, resource_lock="disk")
    rig.now += 1.0
    second = await rig.submit(priority=5)
    rig.now += 2.0
    kind = (await types(rig))["work"]
    names = ("preparing_cnt", "ready_cnt", "worker_doing_cnt", "finishing_cnt")
    assert [kind[name] for name in names] == [1, 1, 1, 0]
    assert (kind["total_tasks_cnt"], kind["done_tasks_cnt"], kind["resources"]) == (2, 0, ["disk"])
    queue = (await rig.ok("stats", sections=["queue"]))["queue"]
    assert (queue["depth"], queue["ready"], queue["unacked"], queue["oldest_age_s"]) == (1, 1, 1, 2.0)
    assert queue["by_priority"] == [{"priority": 5, "queued": 1, "oldest_age_s": 2.0}]
    worker.progress(first, done_count=4, done_size=1000)
    worker.progress(first, done_count=6, done_size=1500)
    await rig.settle()
    await worker.end(first)
    rig.now += 1.0
    await worker.end(second)
    stats = await rig.ok("stats")
    kind = stats["types"]["work"]
    last = {name: slots[-1] + slots[-2] for name, slots in kind["per_min"].items()}
    expected = {"started": 2, "finished": 2, "succeeded": 2, "items": 6, "bytes": 1500}
    assert last == {**dict.fromkeys(PER_MINUTE, 0), **expected}
    assert kind["latency_ms"]["avg"] == pytest.approx(3000.0)
    assert (kind["queue_wait_ms"]["max"], kind["duration_ms"]["max"]) == (2000.0, 3000.0)
    assert (kind["total_tasks_cnt"], kind["done_tasks_cnt"], kind["succeeded_tasks_cnt"]) == (2, 2, 2)
    assert stats["rates"]["1m"]["throughput_per_s"] == pytest.approx(2 / 60)
    assert stats["rates"]["20m"]["latency_ms"] == pytest.approx(3000.0)
    assert stats["summary"]["live"]["total"] == 0
    assert stats["summary"]["retained"] == {"completed": 2, "total": 2, "history": 0}
    assert await counters(rig) == {"submitted": 2, "dispatched": 2, "completed": 2}


async def test_errors_and_rates(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    for msg in ("a: b\nmore", "a: b", "c"):
        await worker.fail(await started(rig, worker), msg=msg)
    await worker.end(await started(rig, worker))
    await worker.end(await started(rig, worker), "cancelled")
    retried = await started(rig, worker, max_retries=1)
    await worker.fail(retried, msg="c")
    kind = (await types(rig))["work"]
    assert kind["total_err_cnt"] == 4
    assert (kind["total_tasks_cnt"], kind["done_tasks_cnt"], kind["succeeded_tasks_cnt"]) == (6, 5, 1)
    assert [(e["error"], e["count"], e["share"]) for e in kind["err_stats"]] == [
        ("ValueError: a: b", 2, 0.5),
        ("ValueError: c", 2, 0.5),
    ]
    assert kind["per_min"]["retried"][-1] == 1
    rates = (await rig.ok("stats", sections=["rates"]))["rates"]
    assert rates["5m"]["error_rate"] == 0.75  # what was cancelled counts for neither
    assert (await counters(rig))["retried"] == 1


async def test_counters_of_what_does_not_run(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    running = await started(rig, worker)
    await rig.submit(ttl_s=1.0)
    await rig.submit(depends_on=[running])
    await rig.submit(key="k")
    await rig.submit(key="k", on_duplicate="supersede")
    await rig.pass_time(1.0)
    await worker.fail(running)
    found = await counters(rig)
    expected = {"failed": 1, "expired": 1, "dependency_failed": 1, "superseded": 1}
    assert {name: found[name] for name in expected} == expected


async def test_what_limits_hold_back(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    await rig.ok("limit_set", scope="group", name="g", max_running=0)
    await rig.ok(
        "limit_set", scope="domain", name="d", rate={"permits": 1.0, "interval_s": 100.0, "burst": 1.0}
    )
    await rig.submit(group="g")
    await worker.end(await started(rig, worker, domain="d"))
    await rig.submit(domain="d")
    found = await counters(rig)
    assert (found["gate_denied:limit:group"], found["gate_denied:rate_limit"], found["rate_limited"]) == (
        1,
        1,
        1,
    )
    assert (await counters(rig))["rate_limited"] == 1  # asking counts nothing


async def test_a_type_that_is_switched_off(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    await rig.ok("task_pause", scope="task_type", name="other")
    await rig.submit("other")
    await rig.submit()
    found = await types(rig)
    assert (found["other"]["enable"], found["work"]["enable"]) == (False, True)
    assert (found["other"]["preparing_cnt"], found["other"]["ready_cnt"]) == (1, 0)
    assert rig.status["tasks_held"] == 1
    await rig.ok("task_pause", scope="all")
    assert not (await types(rig))["work"]["enable"]


async def test_plans_and_functions_have_the_same_figures(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    environment = await rig.open_environment()
    await rig.add("scan")
    kind = (await types(rig))["scan"]
    assert (kind["preparing_cnt"], kind["ready_cnt"]) == (1, 0)  # the queue stands still
    await rig.ok("queue_start")
    await rig.settle()
    assert (await types(rig))["scan"]["worker_doing_cnt"] == 1
    await environment.finish(exit_status="failed", msg="no beam")
    await rig.settle()
    uid = (await rig.ok("function_execute", **user(), item=function("f")))["task_uid"]
    await environment.end_task(uid)
    await rig.settle()
    found = await types(rig)
    assert [e["error"] for e in found["scan"]["err_stats"]] == ["no beam"]
    assert (found["f"]["done_tasks_cnt"], found["f"]["per_min"]["succeeded"][-1]) == (1, 1)
    assert await counters(rig) == {"submitted": 2, "dispatched": 2, "failed": 1, "completed": 1}
    await rig.ok("alert_rule_set", name="failures", metric="counters.failed", warn=0.0)
    await rig.manager.controls.alerts.evaluate()
    assert [a["name"] for a in (await rig.ok("alert_list"))["alerts"]] == ["failures"]


async def test_how_long_plans_and_functions_waited_and_took(rig: Rig) -> None:
    environment = await rig.open_environment()
    uid = await rig.add()
    rig.now += 5.0
    await rig.ok("queue_start")
    await rig.settle()
    assert (await rig.task(uid))["queue_wait"] == 5.0
    await environment.finish(time_start=rig.now, time_stop=rig.now + 2.0)
    function_uid = (await rig.ok("function_execute", **user(), item=function("f")))["task_uid"]
    await environment.end_task(function_uid, time_start=rig.now, time_stop=rig.now + 1.0)
    found = (await rig.ok("stats"))["types"]
    times = ("queue_wait_ms", "latency_ms", "duration_ms")
    assert [found["count"][t]["max"] for t in times] == pytest.approx([5000, 7000, 2000])
    assert [found["f"][t]["max"] for t in times] == pytest.approx([0, 1000, 1000])
    assert [found["count"][t]["count"] for t in times] == [1, 1, 1]
    assert (await rig.task(function_uid))["queue_wait"] == 0.0
    lately = (await rig.ok("type_stats", task_type="count"))["types"]
    assert lately["count"]["queue_wait_ms"]["max"] == 5000.0


async def test_plans_that_wait_are_as_old_after_a_restart(rig: Rig) -> None:
    await rig.add()
    rig.now += 5.0
    await rig.restart()
    await rig.open_environment()
    await rig.ok("queue_start")
    await rig.settle()
    await rig.restart()
    assert rig.worker is not None
    await rig.worker.finish(time_start=rig.now, time_stop=rig.now + 2.0)
    count = (await types(rig))["count"]
    assert count["latency_ms"]["max"] == pytest.approx(7000)


async def test_plans_that_never_ran_are_counted(rig: Rig) -> None:
    uids = [await rig.add() for _ in range(5)]
    rig.now += 3.0
    await rig.ok("queue_item_remove", uid=uids[0])
    await rig.ok("queue_item_remove_batch", uids=uids[1:3])
    item = {**plan("scan"), "item_uid": uids[3]}
    await rig.ok("queue_item_update", item=item, replace=True, **user())
    await rig.ok(
        "queue_item_update", item={**item, "item_uid": (await rig.queue())[0], "args": [2]}, **user()
    )
    await rig.ok("queue_clear")
    stats = await rig.ok("stats")
    retained, counters = stats["summary"]["retained"], stats["counters"]
    assert (retained["cancelled"], retained["superseded"]) == (5, 1)
    for counted in (counters, counters["since_ever"]):
        assert (counted["cancelled"], counted["superseded"], counted["submitted"]) == (5, 1, 6)
    assert stats["types"]["count"]["per_min"]["finished"][-1] == 5
    assert stats["types"]["count"]["latency_ms"]["max"] == pytest.approx(3000)


async def test_a_type_with_no_figures_but_ended_tasks_is_told(rig: Rig) -> None:
    await rig.add()
    await rig.ok("queue_clear")
    await rig.restart()  # it died before it stored its figures
    count = (await types(rig))["count"]
    assert (count["total_tasks_cnt"], count["done_tasks_cnt"]) == (1, 1)


async def test_the_minutes_move_on(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    await worker.end(await started(rig, worker))
    for minutes, slot in ((0, -1), (1, -2), (18, -20), (1, None)):
        rig.now += 60.0 * minutes
        slots = (await types(rig))["work"]["per_min"]["succeeded"]
        assert len(slots) == 20
        assert slots == [int(i - 20 == slot) for i in range(20)]


async def test_preempted_tasks_are_counted(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    rig.manager.task_queue.scheduler.preempt_at = 10
    low = await started(rig, worker)
    await rig.submit(priority=1)
    assert worker.cancels == [low]
    await worker.end(low, "cancelled")
    assert (await counters(rig))["preempted"] == 1
    assert low in worker.tasks  # it goes on, as no urgent one waits any more


# ------------------------------------------------------------------------------------------ queue_status


async def test_depths_by_lane(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    await started(rig, worker, domain="d")
    rig.now += 5.0
    await rig.submit(domain="d", tags={"s": "1"})
    await rig.submit("other", delay_s=10)
    rig.now += 1.0
    await rig.ok("task_submit", user="Al", user_group="primary", item=function("work"))
    await rig.settle()
    await rig.add()
    status = await rig.ok("queue_status")
    names = ("queued", "ready", "delayed", "unacked", "total", "users_count", "oldest_age_s")
    assert [status[n] for n in names] == [4, 2, 1, 1, 5, 2, 1.0]
    lanes = {lane["lane"]: (lane["queued"], lane["unacked"]) for lane in status["lanes"]}
    assert lanes == {"Jo/d/work": (1, 1), "Jo//other": (1, 0), "Al//work": (1, 0), "Jo//count": (1, 0)}
    assert status["plan_queue"]["items_in_queue"] == 1
    by_user = (await rig.ok("queue_status", group_by="user"))["lanes"]
    assert by_user == [
        {"lane": "Jo", "user": "Jo", "queued": 3, "unacked": 1},
        {"lane": "Al", "user": "Al", "queued": 1, "unacked": 0},
    ]
    mine = await rig.ok("queue_status", selector={"user": "Al"})
    assert [mine[n] for n in names] == [1, 1, 0, 0, 1, 1, 0.0]
    tagged = await rig.ok("queue_status", selector={"tags": {"s": "1"}})
    assert [tagged[n] for n in names] == [1, 1, 0, 0, 1, 1, 1.0]
    delayed = await rig.ok("queue_status", selector={"task_type": "other"})
    assert [delayed[n] for n in names] == [1, 0, 1, 0, 1, 1, 1.0]
    nobody = await rig.ok("queue_status", selector={"user": "nobody"})
    assert [nobody[n] for n in names] == [0, 0, 0, 0, 0, 0, None]
    assert "colour" in await rig.refused("queue_status", selector={"colour": "red"})
    await rig.refused("queue_status", group_by="colour")


async def test_how_long_the_plans_will_take(pool_rig: Rig) -> None:
    rig = pool_rig
    environment = await rig.open_environment()
    await rig.run_plan()
    await environment.finish(time_start=10.0, time_stop=40.0)
    await rig.settle()
    await rig.add()
    assert (await rig.ok("queue_status"))["plan_queue"]["eta_s"] == 30.0
    await rig.add("scan")
    assert (await rig.ok("queue_status"))["plan_queue"]["eta_s"] is None


# ------------------------------------------------------------------------------------------ type_stats


async def test_what_became_of_a_type(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    for seconds in (1.0, 3.0):
        uid = await started(rig, worker)
        rig.now += seconds
        worker.progress(uid, io={"disk_read": 300, "disk_write": 600})
        await rig.settle()
        await worker.end(uid)
    middle = rig.now
    rig.now += 10.0
    uid = await started(rig, worker, max_retries=1, retry={"initial_s": 0.0})
    await worker.fail(uid)
    await rig.settle()
    await worker.fail(uid)
    await worker.end(await started(rig, worker), "cancelled")
    found = (await rig.ok("type_stats", task_type="work"))["types"]["work"]
    assert (found["count"], found["active"]) == (4, 0)
    assert found["count_by_state"] == {"completed": 2, "dead_letter": 1, "cancelled": 1}
    assert found["duration_ms"] == pytest.approx(
        {"avg": 2000.0, "min": 1000.0, "max": 3000.0, "p50": 1000.0, "p95": 3000.0, "p99": 3000.0}
    )
    assert (found["avg_read_bytes"], found["avg_write_bytes"]) == (300.0, 600.0)
    assert (found["read_bps"], found["write_bps"]) == pytest.approx((200.0, 400.0))
    assert found["failure_rate"] == pytest.approx(1 / 3)
    assert found["retry_rate"] == 0.25
    later = (await rig.ok("type_stats", task_type=["work", "nix"], since=middle + 1))["types"]
    assert later["work"]["count_by_state"] == {"dead_letter": 1, "cancelled": 1}
    assert later["work"]["failure_rate"] == 1.0
    assert (later["nix"]["count"], later["nix"]["duration_ms"]["avg"]) == (0, None)
    one = (await rig.ok("type_stats", task_type="work", sample=1))["types"]["work"]
    assert (one["count"], one["sampled"]) == (4, 1)
    await rig.refused("type_stats")
    await rig.refused("type_stats", task_type="work", sample=0)


# ------------------------------------------------------------------------------------------ snapshot


async def test_snapshot(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    running = await started(rig, worker, domain="d", group="g")
    await rig.submit(group="g")
    await rig.ok("limit_set", scope="group", name="g", max_running=1, weight=2.0)
    await rig.ok("task_pause", scope="domain", name="e", reason="repairs")
    await rig.submit(domain="e")
    snapshot = await rig.ok("snapshot")
    assert [t["task_uid"] for t in snapshot["running"]] == [running]
    assert [p["task_uid"] for p in snapshot["progress"]] == [running]
    assert snapshot["counts"] == {"running": 1, "pending": 1, "paused": 1}
    (group,) = snapshot["groups"]
    assert group == {
        "group": "g",
        "weight": 2.0,
        "min_slots": 0,
        "cap": 1,
        "allocated_slots": 1,
        "running": 1,
        "queued": 1,
    }
    assert [(s["scope"], s["name"], s["reason"]) for s in snapshot["paused_scopes"]] == [
        ("domain", "e", "repairs")
    ]
    assert (snapshot["max_concurrency"], snapshot["dispatch_paused"], snapshot["pressure"]) == (1, False, 1.0)
    assert [limit["name"] for limit in snapshot["limits"]] == ["g"]
    assert snapshot["schedules"] == []
    assert [w["worker_uid"] for w in snapshot["workers"]] == [worker.uid]
    part = await rig.ok("snapshot", selector={"domain": "e"}, parts=["running", "counts"])
    assert (part["running"], part["counts"]) == ([], {"paused": 1})
    assert "limits" not in part
    assert (await rig.ok("snapshot", selector={"state": "paused"}))["running"] == []
    await rig.refused("snapshot", parts=["everything"])


# ------------------------------------------------------------------------------------------ the past


async def test_a_value_each_minute(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    history = rig.manager.figures_history
    begin = rig.now // 60 * 60
    await worker.end(await started(rig, worker))
    await worker.fail(await started(rig, worker))
    await rig.submit(delay_s=1000)
    rig.now = begin + 60.0
    history.record()
    history.record()  # nothing new
    rig.now = begin + 4 * 60.0  # it was busy with something else: no minute is forgotten
    await worker.end(await started(rig, worker, "other"))
    rig.now += 60.0
    history.record()
    await rig.settle()

    async def points(metric: str, **params: Any) -> list[list[float]]:
        span = {"from": begin - 60, "to": rig.now}
        return list((await rig.ok("stats_history", metric=metric, **{**span, **params}))["points"])

    minutes = [begin + 60.0 * n for n in range(5)]
    found = [p for p in await points("finished") if p[0] >= begin]
    assert found == [[t, v] for t, v in zip(minutes, [2.0, 0.0, 0.0, 0.0, 1.0], strict=True)]
    assert await points("failed", task_type="work") == [[begin, 1.0]]
    assert await points("error_rate") == [[begin, 0.5], [minutes[4], 0.0]]
    assert (await points("queued"))[-1] == [minutes[4], 1.0]
    assert await points("finished", **{"from": 0}) == await points("finished")
    summed = await points("finished", step_s=3600)
    assert sum(v for _, v in summed) == 3.0
    assert all(t % 3600 == 0 for t, _ in summed)
    assert await points("finished", task_type="nix") == []
    for metric in Metric:
        await points(metric)
    assert "later" in await rig.refused("stats_history", metric="finished", **{"from": 10, "to": 5})
    await rig.refused("stats_history", metric="beauty")
    await rig.refused("stats_history", metric="finished", step_s=90)
    await rig.refused("stats_history", metric="finished", begin=0)


async def test_nothing_is_written_while_nothing_happens(pool_rig: Rig) -> None:
    rig = pool_rig
    history = rig.manager.figures_history
    rig.now += 60.0
    history.record()
    await rig.settle()
    batch = rig.manager.ledger.batch()
    history.save(batch)
    assert batch.writes == []
    rig.manager.statistics.figures.count("submitted", "work", rig.now)
    history.save(batch)
    assert [type(w) for w in batch.writes] == [Write]


# ------------------------------------------------------------------------------------------ status


async def test_keys_of_the_status(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig

    def now() -> tuple[int, int, int, bool]:
        s = rig.status
        return s["tasks_queued"], s["tasks_running"], s["tasks_held"], s["dispatch_paused"]

    assert now() == (0, 0, 0, False)
    uid = rig.status["task_list_uid"]
    first = await started(rig, worker)
    assert now() == (0, 1, 0, False)
    assert rig.status["task_list_uid"] != uid
    await rig.submit_many(3, delay_s=10)
    assert now() == (3, 1, 0, False)
    await rig.ok("task_pause", scope="all")
    await rig.settle()
    assert now() == (3, 1, 3, True)
    await rig.restart()
    assert now() == (3, 1, 3, True)
    worker.child(1, first, {**function("other"), "item_uid": "c"})
    await rig.settle()
    await worker.end(first, "parent")
    assert now() == (4, 1, 4, True)
    await rig.ok("task_cancel", selector={"all": True})
    await rig.settle()
    assert now() == (0, 0, 0, True)
    keys = {"schedules_uid", "limits_uid", "alerts_uid", "alerts_active", "task_results_uid"}
    assert keys <= rig.status.keys()
    live = rig.manager.task_queue.figures.live
    assert {state: n for state, n in live.items() if n} == {}
