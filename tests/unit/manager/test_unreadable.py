"""What is stored and cannot be read is left out, and said; the manager starts, and works, without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from manager_rig import Rig, function, user

from remanager.manager.task_queue.alerting import SETTING as ALERTS
from remanager.manager.task_queue.restoring import LIMITS
from remanager.manager.task_queue.switch_record import SWITCHES
from remanager.store.task_writes import schedule_put
from remanager.store.writes import setting_set

ADDED = {**user(), "item": function("work"), "recurring": {"cron": "0 0 1 1 *"}}


async def change_setting(rig: Rig, name: str, change: Callable[[Any], None]) -> None:
    """Change a stored setting that is JSON text, and start the next manager."""
    stored = json.loads(rig.gate.reads.settings()[name])
    change(stored)
    await rig.gate.enqueue([setting_set(name, json.dumps(stored))])
    await rig.restart()
    await rig.settle()
    assert rig.faults == []


@pytest.mark.parametrize(
    "damage",
    [
        {"recurrence": {"cron": "0 0 1 1 *", "timezone": "Mars/Base"}},
        {"recurrence": {}},
        {"unheard_of": 1},
        {"last_state": "vanished"},
        {"task": {}},
        {"task": {"item": None, "options": {}, "user": "Jo", "user_group": "primary"}},
    ],
)
async def test_a_schedule(pool_rig: Rig, caplog: pytest.LogCaptureFixture, damage: dict[str, Any]) -> None:
    rig = pool_rig
    uids = [(await rig.ok("schedule_add", **ADDED))["schedule_uid"] for _ in range(2)]
    body = {**json.loads(rig.gate.reads.tasks.schedules()[0].body), **damage}
    await rig.gate.enqueue([schedule_put(uids[0], 1.0, body)])
    for _ in range(2):
        await rig.restart()
        await rig.settle()
        assert rig.faults == []
        assert [s["schedule_uid"] for s in (await rig.ok("schedule_list"))["schedules"]] == uids[1:]
        told = [json.loads(event.data)["schedule_uid"] for event in rig.events("schedule_failed")]
        assert set(told) == {uids[0]}
        assert "A stored schedule cannot be read and is left out" in caplog.text
    assert {row.schedule_uid for row in rig.gate.reads.tasks.schedules()} == set(uids)


async def test_a_stored_schedule_with_a_user_that_cannot_be_stored(pool_rig: Rig) -> None:
    rig = pool_rig
    uid = (await rig.ok("schedule_add", **ADDED))["schedule_uid"]
    body = json.loads(rig.gate.reads.tasks.schedules()[0].body)
    body["task"]["user"] = "\ud800"
    await rig.gate.enqueue([schedule_put(uid, 1.0, {**body, "catch_up": "one", "next_run": rig.now})])
    await rig.restart()
    await rig.manager.controls.schedules.submit_due()
    await rig.settle()
    (event,) = rig.events("schedule_failed")
    assert "'user'" in json.loads(event.data)["msg"]


async def test_a_limit(pool_rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig = pool_rig
    for name in ("good", "bad"):
        await rig.ok("limit_set", scope="group", name=name, max_running=1)
    await change_setting(rig, LIMITS, lambda rows: rows[0].update(max_running="many"))
    assert [row["name"] for row in (await rig.ok("limit_list"))["limits"]] == ["good"]
    assert "A stored limit cannot be read and is left out" in caplog.text


async def test_a_pause(pool_rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig = pool_rig
    for name in ("a", "b"):
        await rig.ok("task_pause", scope="group", name=name)
    await change_setting(rig, SWITCHES, lambda rows: rows[0].pop())
    assert [s.name for s in rig.manager.task_queue.scheduler.dispatcher.switches.list()] == ["b"]
    assert "A stored pause cannot be read and is left out" in caplog.text


@pytest.mark.parametrize(
    "damage", [{"op": "!"}, {"selector": {"vanished": 1}}, {"selector": {"state": ["x"]}}]
)
async def test_an_alert_rule(pool_rig: Rig, caplog: pytest.LogCaptureFixture, damage: dict[str, Any]) -> None:
    rig = pool_rig
    for name in ("bad", "good"):
        await rig.ok("alert_rule_set", name=name, metric="task_count", op="<", warn=1.0)
    await rig.manager.controls.alerts.evaluate()
    await change_setting(rig, ALERTS, lambda stored: stored["rules"][0].update(damage))
    await rig.manager.controls.alerts.evaluate()
    assert [row["name"] for row in (await rig.ok("alert_rule_list"))["rules"]] == ["good"]
    assert [row["name"] for row in (await rig.ok("alert_list"))["alerts"]] == ["good"]
    assert "A stored alert cannot be read and is left out" in caplog.text
