"""Texts that UTF-8 cannot express or that hold a NUL, and huge numbers: refused or kept, without any harm."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
from manager_rig import EVERYTHING, PERMISSIONS, FakePoolWorker, Rig, function, plan, user

NUMBERS = (2**63, 2**70, -(2**70), 10**400, 1e308, -1, 0, 0.5)
TEXTS = ("\ud800", "a\udfffb", "a\0b", "\0", "\0\ud800")
UNWRITABLE = "\ud800"

OPTIONS = {
    **dict.fromkeys(("group", "domain", "label", "key", "job_uid", "resource_lock"), "x"),
    "tags": {"x": "x"},
    "depends_on": ["TASK"],
    "retry": {"strategy": "constant"},
    "expected_io": {"net_rx": 1},
    "where": "pool",
    "on_duplicate": "skip",
}
SELECTOR = {
    **dict.fromkeys(("task_uid", "key", "name", "domain", "group", "user", "pause_reason"), "x"),
    "tags": {"x": ["x"]},
    "tag_key_prefix": "x",
}
ITEM = function("work", args=["x"], kwargs={"x": "x"}, label="x", tags={"x": "x"}, meta={"x": "x"})
OTHER = function("there")
"""Of the environment, which is asked for it only when it starts."""

REQUESTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("task_submit", {**user(), "item": ITEM, "options": {"label": "x"}}),
    ("task_submit", {**user(), "item": OTHER, "options": {"where": "environment"}}),
    ("task_submit_batch", {**user(), "items": [{"item": ITEM}], "defaults": OPTIONS, "job_uid": "x"}),
    *(("task_submit", {**user(), "item": ITEM, "options": {name: OPTIONS[name]}}) for name in OPTIONS),
    ("task_submit", {**user(), "item": ITEM, "options": {"parent_uid": "TASK"}}),
    ("schedule_add", {**user(), "item": ITEM, "recurring": {"interval_s": 1.0, "mode": "fixed_rate"}}),
    ("schedule_add", {**user(), "item": ITEM, "recurring": {"cron": "* * * * *", "timezone": "UTC"}}),
    (
        "schedule_add",
        {**user(), "item": OTHER, "recurring": {"interval_s": 1.0}, "options": {"where": "environment"}},
    ),
    *((f"schedule_{verb}", {"schedule_uid": "SCHEDULE"}) for verb in ("pause", "resume", "cancel")),
    ("limit_set", {"scope": "group", "name": "x", "max_running": 5}),
    ("limit_remove", {"scope": "group", "name": "x"}),
    ("alert_rule_set", {"name": "x", "metric": "task_count", "selector": SELECTOR, "warn": 1.0}),
    ("alert_rule_set", {"name": "x", "metric": "failure_rate", "selector": {"name": "x"}, "warn": 1.0}),
    ("alert_rule_remove", {"name": "x"}),
    ("alert_ack", {"name": "x", "user": "x"}),
    ("task_cancel", {"task_uid": "TASK", "reason": "x"}),
    ("task_cancel", {"selector": SELECTOR, "reason": "x"}),
    ("task_retry", {"task_uid": ["x"]}),
    ("task_retry", {"selector": SELECTOR}),
    ("task_update", {"task_uid": "TASK", "changes": {"group": "x", "label": "x", "tags": {"x": "x"}}}),
    *(("task_pause", {"scope": s, "name": "x", "reason": "x"}) for s in ("domain", "task_type", "group")),
    ("task_pause", {"scope": "task", "name": "TASK", "reason": "x"}),
    ("task_resume", {"scope": "group", "name": "x"}),
    ("task_prune", {"selector": {**SELECTOR, "name": "nothing"}}),
    ("queue_item_add", {**user(), "item": plan(label="x", tags={"x": "x"}, meta={"x": "x"})}),
    ("queue_item_execute", {**user(), "item": plan(label="x", tags={"x": "x"})}),
    ("function_execute", {**user(), "item": function("there", args=["x"]), "run_in_background": True}),
    ("script_upload", {"script": "x", "run_in_background": True}),
    (
        "permissions_set",
        {"user_group_permissions": {"user_groups": {"root": EVERYTHING, "x": {"allowed_plans": ["x"]}}}},
    ),
    ("task_info", {"task_type": "x", "key": "x"}),
    ("task_list", {"selector": SELECTOR}),
    ("task_count", {"selector": SELECTOR, "group_by": "tag:x"}),
    ("tag_list", {"prefix": "x", "selector": SELECTOR}),
    ("job_status", {"job_uid": "x"}),
    ("type_stats", {"task_type": "x"}),
    ("event_list", {"task_uid": "x", "selector": {"name": "x", "tags": {"x": "x"}}}),
)


RANGE = {"after": 1, "before": 2}
RANGES = {"priority": {"min": 1, "max": 2}, "created": RANGE, "started": RANGE, "finished": RANGE}
NUMERIC = ("priority", "run_after", "delay_s", "ttl_s", "timeout_s", "kill_after_s", "max_retries")
WITH_NUMBERS: tuple[tuple[str, dict[str, Any]], ...] = (
    *(("task_submit", {**user(), "item": ITEM, "options": {name: 1}}) for name in NUMERIC),
    ("task_submit", {**user(), "item": ITEM, "options": {"expected_io": {"net_rx": 1}}}),
    (
        "task_submit",
        {**user(), "item": ITEM, "options": {"retry": {"initial_s": 1, "max_s": 1, "factor": 1}}},
    ),
    ("schedule_add", {**user(), "item": ITEM, "recurring": {"interval_s": 1.0, "max_executions": 1}}),
    ("schedule_add", {**user(), "item": ITEM, "recurring": {"interval_s": 1.0, "initial_delay_s": 1}}),
    ("limit_set", {"scope": "group", "name": "x", "max_running": 5, "min_slots": 1, "weight": 1}),
    ("limit_set", {"scope": "all", "rate": {"permits": 1, "interval_s": 1, "burst": 1}}),
    ("alert_rule_set", {"name": "x", "metric": "task_count", "warn": 1, "for_s": 0, "clear_for_s": 0}),
    ("alert_rule_set", {"name": "x", "metric": "task_count", "selector": RANGES, "warn": 1}),
    *((verb, {"selector": RANGES}) for verb in ("task_list", "task_count", "task_cancel", "task_retry")),
    ("task_wait", {"selector": {"priority": {"min": 1}}, "until": "idle", "timeout": 0}),
    ("task_list", {"limit": 1, "offset": 0}),
    ("task_prune", {"keep": 0, "max_age_s": 0, "selector": RANGES}),
    ("task_pause", {"scope": "group", "name": "x", "until": 2e6}),
    ("type_stats", {"task_type": "work", "since": 1, "sample": 1}),
    ("queue_status", {"selector": RANGES}),
    ("stats_history", {"metric": "finished", "from": 1, "to": 2, "step_s": 60}),
    ("event_list", {"since": 1, "limit": 1, "timeout": 0}),
    ("console_get", {"since": 1, "limit": 1}),
    ("queue_get", {"limit": 1}),
    ("history_get", {"limit": 1}),
)


def variants(value: Any, other: str | float) -> Iterator[Any]:
    """Return a value as often as it has texts, or numbers, each time with another of them replaced."""
    match value:
        case Mapping():
            for key, inner in value.items():
                yield from ({**value, key: made} for made in variants(inner, other))
            if value.keys() == {"x"} and isinstance(other, str):
                yield {other: value["x"]}
        case [*parts]:
            for place, inner in enumerate(parts):
                yield from ([*parts[:place], made, *parts[place + 1 :]] for made in variants(inner, other))
        case str() | float() | int() if isinstance(value, str) == isinstance(other, str):
            yield other


@pytest.fixture
async def worker(pool_rig: Rig) -> FakePoolWorker:
    """The worker of the pool."""
    return await pool_rig.pool_worker()


async def with_others(rig: Rig, method: str, params: dict[str, Any], others: Iterable[str | float]) -> None:
    """Send a request that is right, then with other values; whatever becomes of them, the manager goes on."""
    if method in ("queue_item_execute", "function_execute", "script_upload"):
        await rig.open_environment()
    task = await rig.submit("work", delay_s=1000.0)
    recurring = {"cron": "0 0 1 1 *"}
    schedule = await rig.ok("schedule_add", **user(), item=function("work"), recurring=recurring)
    text = json.dumps(params).replace("TASK", task).replace("SCHEDULE", schedule["schedule_uid"])
    made = json.loads(text)
    requests = [{**made, **changed} for other in others for changed in variants(made, other)]
    told = [(request, await rig.call(method, **request)) for request in (*requests, made)]
    assert [(request, reply["msg"]) for request, reply in told if reply.get("code") == "internal"] == []
    right = told[-1][1]
    assert right["success"] or right["code"] in ("not_found", "busy", "conflict"), right
    await rig.manager.controls.alerts.evaluate()
    await rig.manager.controls.schedules.submit_due()
    await rig.pass_time(10.0)
    assert rig.faults == []
    await rig.restart()
    await rig.ok("task_list")


def name_of(value: object) -> str:
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize(("method", "params"), REQUESTS, ids=name_of)
async def test_no_text_does_harm(
    pool_rig: Rig, worker: FakePoolWorker, method: str, params: dict[str, Any]
) -> None:
    await with_others(pool_rig, method, params, TEXTS)


@pytest.mark.parametrize(("method", "params"), WITH_NUMBERS, ids=name_of)
async def test_no_number_does_harm(
    pool_rig: Rig, worker: FakePoolWorker, method: str, params: dict[str, Any]
) -> None:
    await with_others(pool_rig, method, params, NUMBERS)


@pytest.mark.parametrize("text", TEXTS)
async def test_a_lock_and_an_alert(pool_rig: Rig, text: str) -> None:
    rig = pool_rig
    await rig.ok("alert_rule_set", name="x", metric="task_count", op="<", warn=1.0)
    await rig.manager.controls.alerts.evaluate()
    await rig.call("alert_ack", name="x", user=text)
    await rig.ok("lock", user=text, note=text, lock_key=text, queue=True)
    await rig.restart()
    assert (await rig.ok("lock_info", lock_key=text))["lock_info"]["note"] == text
    await rig.ok("unlock", lock_key=text)


@pytest.mark.parametrize("where", ["pool", "environment"])
async def test_what_cannot_be_stored_of_a_task(pool_rig: Rig, worker: FakePoolWorker, where: str) -> None:
    rig = pool_rig
    groups = {**PERMISSIONS["user_groups"], UNWRITABLE: EVERYTHING}
    await rig.ok("permissions_set", user_group_permissions={"user_groups": groups})
    task = {"item": function("work"), "options": {"where": where}}
    for wrong in ({"user": UNWRITABLE}, {"user_group": UNWRITABLE}):
        asked = {**user(), **wrong}
        for method, params in (
            ("task_submit", task),
            ("schedule_add", {**task, "recurring": {"interval_s": 1.0}}),
        ):
            reply = await rig.call(method, **asked, **params)
            assert (reply["success"], reply["code"]) == (False, "invalid_params")
            assert next(iter(wrong)) in reply["msg"]
        reply = await rig.call("task_submit_batch", **asked, items=[task])
        assert reply["results"][0]["code"] == "invalid_params"


async def test_a_nul_is_kept(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    asked = {"user": "a\0b", "user_group": "primary"}
    texts = {name: f"{name}\0x" for name in ("group", "domain", "label", "key", "job_uid")}
    options = {**texts, "tags": {"k\0x": "v\0x"}}
    uid = (await rig.ok("task_submit", **asked, item=function("work"), options=options))["task_uid"]
    selector = {name: texts[name] for name in ("group", "domain", "key", "job_uid")}
    selector |= {"user": "a\0b", "tags": options["tags"]}
    for _ in range(2):
        record = await rig.task(uid)
        assert {name: record[name] for name in (*options, "user")} == {**options, "user": "a\0b"}
        for name, value in selector.items():
            found = (await rig.ok("task_list", selector={name: value}))["tasks"]
            assert [task["task_uid"] for task in found] == [uid], name
        await rig.restart()
