"""A condition that names nothing selects nothing, and one that says nothing is refused."""

from __future__ import annotations

from typing import Any

import pytest
from manager_rig import FakePoolWorker, Rig

LISTS = (
    *("task_uid", "job_uid", "parent_uid", "schedule_uid", "key", "name", "task_type", "domain", "group"),
    *("item_type", "user", "user_group", "worker_uid", "state", "class", "pause_reason"),
)
NOTHING: list[dict[str, Any]] = [{name: []} for name in LISTS] + [{"tags": {"run": []}}]
SAYS_NOTHING: list[dict[str, Any]] = [
    *({name: None} for name in (*LISTS, "ready", "tags", "tag_key_prefix", "priority", "created")),
    {"tags": {}},
    *({name: {}} for name in ("priority", "created", "started", "finished")),
    {"priority": {"min": None}},
]


@pytest.fixture
async def rig(pool_rig: Rig) -> Rig:
    """A manager with a failed task and two that wait."""
    worker: FakePoolWorker = await pool_rig.pool_worker()
    uid = await pool_rig.submit(max_retries=0)
    worker.begin(uid)
    await worker.fail(uid)
    await pool_rig.submit_many(2, delay_s=1000.0, tags={"run": "1"})
    return pool_rig


@pytest.mark.parametrize("condition", NOTHING, ids=str)
async def test_an_empty_list_selects_nothing(rig: Rig, condition: dict[str, Any]) -> None:
    pending, failed = {"priority": {"min": 0}, **condition}, {"location": "history", **condition}
    for selector in (condition, pending):
        cancelled = await rig.ok("task_cancel", selector=selector, dry_run=True)
        assert (cancelled["cancelled"], cancelled["cancelling"]) == ([], [])
        assert (await rig.ok("task_list", selector=selector))["total"] == 0
        assert (await rig.ok("task_count", selector=selector, group_by="state"))["counts"] == []
        assert (await rig.ok("task_wait", selector=selector))["done"] == {}
        assert not (await rig.ok("task_wait", selector=selector, until="idle"))["timed_out"]
        assert (await rig.ok("queue_status", selector=selector))["queued"] == 0
        assert (await rig.ok("snapshot", selector=selector))["counts"] == {}
        assert (await rig.ok("job_status", selector=selector))["total_tasks_cnt"] == 0
        assert (await rig.ok("task_progress", selector=selector))["progress"] == []
        assert (await rig.ok("tag_list", selector=selector))["keys"] == []
    for selector in (condition, failed):
        assert (await rig.ok("task_retry", selector=selector))["resubmitted"] == {}
        assert (await rig.ok("task_prune", selector=selector, dry_run=True))["deleted"] == 0
        assert (await rig.ok("task_prune", keep=0, selector=selector, dry_run=True))["deleted"] == 0


@pytest.mark.parametrize("condition", SAYS_NOTHING, ids=str)
async def test_a_condition_that_says_nothing_is_refused(rig: Rig, condition: dict[str, Any]) -> None:
    (name,) = condition
    for method in ("task_cancel", "task_retry", "task_prune", "task_list", "task_count", "snapshot"):
        assert name in await rig.refused(method, selector={"ready": True, **condition})


async def test_no_uids_are_no_tasks(rig: Rig) -> None:
    assert (await rig.ok("task_cancel", task_uid=[], dry_run=True))["cancelled"] == []
    assert (await rig.ok("task_retry", task_uid=[]))["resubmitted"] == {}
    for until in ("all", "any", "idle"):
        reply = await rig.ok("task_wait", task_uid=[], until=until)
        assert (reply["done"], reply["active"], reply["timed_out"]) == ({}, [], False)
    assert (await rig.ok("job_status", job_uid=[]))["jobs"] == {}


async def test_events_of_no_task_and_of_no_type(rig: Rig) -> None:
    assert (await rig.ok("event_list"))["events"]
    assert (await rig.ok("event_list", types=[]))["events"] == []
    for condition in ({"task_uid": []}, {"name": []}, {"state": []}, {"tags": {"run": []}}):
        assert (await rig.ok("event_list", selector=condition))["events"] == []


async def test_no_schedules(rig: Rig) -> None:
    item = {"item_type": "function", "name": "work"}
    await rig.ok("schedule_add", item=item, recurring={"interval_s": 60.0}, user="Jo", user_group="primary")
    assert len((await rig.ok("schedule_list"))["schedules"]) == 1
    assert (await rig.ok("schedule_list", selector={"schedule_uid": []}))["schedules"] == []
    assert "schedule_uid" in await rig.refused("schedule_list", selector={"schedule_uid": None})


async def test_alerts_about_no_tasks(rig: Rig) -> None:
    for name, metric in enumerate(("task_count", "oldest_pending_age_s")):
        rule = {"name": str(name), "metric": metric, "op": ">=", "warn": 1.0}
        await rig.ok("alert_rule_set", selector={"state": [], "user": "Jo"}, **rule)
    await rig.pass_time(2000.0)
    await rig.manager.controls.alerts.evaluate()
    assert (await rig.ok("alert_list"))["alerts"] == []


async def test_a_selector_stays_as_narrow_as_it_was_said(rig: Rig) -> None:
    """A metric that adds a state of its own does not widen the one that is asked for."""
    rule = {"name": "old", "metric": "oldest_pending_age_s", "warn": 1.0, "selector": {"state": "failed"}}
    await rig.ok("alert_rule_set", **rule)
    await rig.pass_time(2000.0)
    await rig.manager.controls.alerts.evaluate()
    assert (await rig.ok("alert_list"))["alerts"] == []
