"""Figures for monitoring systems."""

from __future__ import annotations

import pytest
from manager_rig import FakePoolWorker, Rig

from remanager.manager import metrics

LABELS = {"type", "domain", "group", "reason", "state", "kind", "level", "quantile"}


@pytest.fixture
async def worker(pool_rig: Rig) -> FakePoolWorker:
    """The worker of the pool."""
    return await pool_rig.pool_worker()


async def test_figures(pool_rig: Rig, worker: FakePoolWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = pool_rig
    monkeypatch.setattr(metrics, "MAX_VALUES", 2)
    uid = await rig.submit(domain="a", expected_io={"disk_read": 5})
    worker.begin(uid)
    await rig.ok("limit_set", scope="all", max_running=1)
    await rig.ok("alert_rule_set", name="r", metric="queue.depth", warn=1.0)
    for domain in ("a", "b", "b", "c"):
        await rig.submit("other", domain=domain, key=f"secret-{domain}", on_duplicate="merge", group="g")
    await rig.add()
    await rig.manager.controls.alerts.evaluate()
    text = (await rig.ok("metrics_get"))["text"]
    lines = set(text.splitlines())
    assert {
        'remanager_tasks{state="running"} 1',
        'remanager_type_tasks{type="other",state="queued"} 3',
        'remanager_domain_tasks{domain="a",state="queued"} 1',
        'remanager_domain_tasks{domain="a",state="running"} 1',
        'remanager_running_io_expected_bytes{kind="disk_read"} 5',
        'remanager_workers{kind="pool",state="busy"} 1',
        'remanager_alerts_active{level="warn"} 1',
        "remanager_plan_queue_items 1",
        "remanager_limits 1",
        "remanager_tasks_dispatched_total 1",
        "remanager_tasks_failed_total 0",
        "remanager_control_internal_errors_total 0",
    } <= lines
    assert 'domain="(other)"' in text
    assert "secret" not in text
    assert uid not in text
    assert "Jo" not in text
    await worker.end(uid)
    text = (await rig.ok("metrics_get"))["text"]
    assert "remanager_tasks_completed_total 1" in text
    assert 'remanager_task_duration_seconds_count{type="work"} 1' in text


async def test_as_json(pool_rig: Rig) -> None:
    rig = pool_rig
    found = {m["name"]: m for m in (await rig.ok("metrics_get", format="json"))["metrics"]}
    for name, family in found.items():
        assert name.startswith("remanager_")
        assert (family["type"] == "counter") == name.endswith("_total")
        assert family["help"].endswith(".")
        assert all(sample["labels"].keys() <= LABELS for sample in family["samples"])
    assert found["remanager_health"]["samples"][0]["value"] == 0
    await rig.refused("metrics_get", format="xml")
