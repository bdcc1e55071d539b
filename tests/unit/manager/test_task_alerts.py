"""Alerts at work: on figures and on tasks, acknowledged, over restarts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manager_rig import FakePoolWorker, Rig

from remanager.model.selector import Selector
from remanager.verbs.selectors import SelectorModel, selector_of


@pytest.fixture
async def worker(pool_rig: Rig) -> FakePoolWorker:
    """The worker of the pool."""
    return await pool_rig.pool_worker()


async def look(rig: Rig, seconds: float = 0.0) -> dict[str, Any]:
    """Let time pass and look at the rules; return the active alerts by name."""
    await rig.pass_time(seconds)
    await rig.manager.controls.alerts.evaluate()
    return {a["name"]: a for a in (await rig.ok("alert_list"))["alerts"]}


async def test_raise_escalate_acknowledge_clear(pool_rig: Rig) -> None:
    rig = pool_rig
    rule = {"name": "deep", "metric": "queue.depth", "warn": 2.0, "critical": 4.0, "for_s": 10.0}
    assert [r["name"] for r in (await rig.ok("alert_rule_set", **rule))["rules"]] == ["deep"]
    waiting = await rig.submit_many(3, delay_s=10_000.0)
    assert await look(rig) == {}
    assert (await look(rig, 11.0))["deep"]["level"] == "warn"
    before = (await rig.ok("alert_list"))["alerts_uid"]
    acked = (await rig.ok("alert_ack", name="deep", user="Ann"))["alert"]
    assert acked["acked_by"] == "Ann"
    assert (await rig.ok("alert_list"))["alerts_uid"] != before
    waiting += await rig.submit_many(3, delay_s=10_000.0)
    await look(rig)
    alert = (await look(rig, 11.0))["deep"]
    assert (alert["level"], alert["acked_by"], alert["value"], alert["threshold"]) == ("critical", None, 6, 4)
    assert rig.status["alerts_active"] == 1
    await rig.restart()
    assert rig.status["alerts_active"] == 1
    assert (await rig.ok("alert_rule_list"))["rules"][0]["for_s"] == 10.0
    await rig.ok("task_cancel", task_uid=waiting)
    assert await look(rig) == {}
    [cleared] = (await rig.ok("alert_list", active=False))["alerts"]
    assert cleared["time_cleared"] == rig.now
    kinds = [e.type for e in rig.events() if e.type.startswith("alert_")]
    told = ["alert_rule_set", "alert_raised", "alert_acknowledged", "alert_escalated", "alert_cleared"]
    assert kinds == told
    assert cleared["value"] == 6.0
    assert [json.loads(e.data)["value"] for e in rig.events("alert_cleared")] == [0.0]
    assert [n["alert_event"]["type"] for n in rig.news if "alert_event" in n] == told
    assert "No alert" in await rig.refused("alert_ack", name="deep")


async def test_tasks_that_wait_or_run_for_too_long(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    urgent = {"priority": {"max": 10}}
    await rig.ok("alert_rule_set", name="stuck", metric="oldest_pending_age_s", selector=urgent, warn=60.0)
    await rig.ok("alert_rule_set", name="slow", metric="running_age_s", warn=100.0, critical=200.0)
    await rig.ok("alert_rule_set", name="many", metric="task_count", selector={"state": "failed"}, warn=0.0)
    running = await rig.submit()
    worker.begin(running)
    await rig.submit()
    assert await look(rig, 70.0) == {}
    waiting = await rig.submit(priority=1)
    alerts = await look(rig, 70.0)
    assert alerts["stuck"]["task_uids"] == [waiting]
    assert (alerts["slow"]["level"], alerts["slow"]["task_uids"]) == ("warn", [running])
    await worker.fail(running)
    alerts = await look(rig)
    assert alerts.keys() == {"many"}
    await rig.ok("alert_rule_remove", name="many")
    assert (await rig.ok("alert_list"))["alerts"] == []
    assert "not found" in await rig.refused("alert_rule_remove", name="many")


async def test_figures_of_types(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    of_work = {"task_type": "work"}
    await rig.ok("alert_rule_set", name="slow", metric="duration_ms.avg", selector=of_work, warn=1000.0)
    await rig.ok("alert_rule_set", name="bad", metric="type_stats.work.failure_rate", critical=0.4)
    uid = await rig.submit()
    worker.begin(uid)
    await rig.pass_time(5.0)
    await worker.end(uid)
    assert (await look(rig)).keys() == {"slow"}
    uid = await rig.submit()
    worker.begin(uid)
    await worker.fail(uid)
    assert (await look(rig))["bad"]["level"] == "critical"
    await rig.ok("alert_rule_set", name="bad", metric="rates.1m.error_rate", warn=0.1, enabled=False)
    assert (await look(rig)).keys() == {"slow"}


async def test_what_is_refused(pool_rig: Rig) -> None:
    rig = pool_rig
    await rig.refused("alert_rule_set", name="a", metric="queue.depth")
    await rig.refused("alert_rule_set", name="a", metric="queue.depth", warn=3.0, critical=1.0)
    await rig.refused("alert_rule_set", name="a", metric="queue.depth", warn=3.0, op="=")
    msg = await rig.refused(
        "alert_rule_set", name="a", metric="queue.depth", warn=3.0, selector={"user": "Jo"}
    )
    assert "only name types" in msg
    assert (await rig.ok("alert_rule_list"))["rules"] == []


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("queue.dpth", "there is no 'dpth', but depth, "),
        ("queue", "'queue' has depth, "),
        ("queue.depth.x", "there is no 'depth.x'"),
        ("failure_rate", "'type_stats.NAME.'"),
        ("health.state", "'state' is no number"),
        ("health.reasons", "'reasons' is no number"),
        ("types.perm.per_min.failed", "'failed' is no number"),
        ("types.perm.enable", "'enable' is no number"),
        ("type_stats.work", "there is no 'work'"),
        ("type_stats.work.falure_rate", "there is no 'falure_rate', but count, "),
        ("failed", "there is no 'failed'"),
        ("no.such.figure", "there is no 'no.such.figure', but time, "),
    ],
)
async def test_a_path_that_leads_to_no_number_is_refused(pool_rig: Rig, metric: str, words: str) -> None:
    msg = await pool_rig.refused("alert_rule_set", name="a", metric=metric, warn=1.0)
    assert words in msg
    assert "task_count" in msg
    assert (await pool_rig.ok("alert_rule_list"))["rules"] == []


async def test_what_does_not_exist_yet_may_be_named(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    paths = [
        *("queue.depth", "queue.next_wakeup", "summary.retained.failed", "summary.duration_ms.p95"),
        *("rates.1m.error_rate", "io.actual.disk_read", "counters.since_ever.submitted", "window.slots"),
        *("types.work.total_err_cnt", "types.a.b.duration_ms.max", "type_stats.a.b.failure_rate"),
        *("type_stats.work.count_by_state.failed", "type_stats.work.duration_ms.p95"),
    ]
    for path in paths:
        await rig.ok("alert_rule_set", name=path, metric=path, warn=1e9)
    of_work = {"name": "work"}
    await rig.ok("alert_rule_set", name="read", metric="avg_read_bytes", warn=1e9, selector=of_work)
    msg = await rig.refused("alert_rule_set", name="x", metric="queue.depth", warn=1.0, selector=of_work)
    assert "there is no 'queue.depth', but count, " in msg

    async def values() -> dict[str, float | None]:
        return {rule["name"]: rule["value"] for rule in (await rig.ok("alert_rule_list"))["rules"]}

    before = await values()
    assert before["queue.depth"] == 0
    assert (before["type_stats.work.duration_ms.p95"], before["types.work.total_err_cnt"]) == (None, None)
    uid = await rig.submit()
    worker.begin(uid)
    await worker.end(uid)
    await look(rig, 6.0)
    after = await values()
    assert (after["type_stats.work.duration_ms.p95"], after["types.work.total_err_cnt"]) != (None, None)


SELECTORS = st.fixed_dictionaries(
    {},
    optional={
        "task_uid": st.lists(st.text(max_size=3), max_size=3),
        "name": st.text(max_size=3),
        "state": st.sampled_from(["pending", ["failed", "lost"], []]),
        "class": st.sampled_from(["failure", ["success", "dropped"]]),
        "tags": st.dictionaries(
            st.text(max_size=2), st.none() | st.text(max_size=2) | st.just([]), min_size=1, max_size=2
        ),
        "priority": st.sampled_from([{"min": 3}, {"min": 1, "max": 2}]),
        "created": st.sampled_from([{"after": 1.0}, {"after": 1.0, "before": 2.0}]),
        "ready": st.booleans(),
        "location": st.sampled_from(["active", "history", "any"]),
    },
)


@given(SELECTORS)
def test_selectors_are_kept(given: dict[str, Any]) -> None:
    selector = selector_of(SelectorModel.model_validate(given))
    kept = json.loads(json.dumps(selector.to_dict()))
    assert Selector.from_dict(kept) == selector
    assert selector_of(SelectorModel.model_validate(kept)) == selector
