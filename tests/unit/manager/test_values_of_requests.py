"""Texts that have no form in UTF-8, or hold a NUL: refused or kept, but never the end of the manager."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from manager_rig import EVERYTHING, PERMISSIONS, FakePoolWorker, Rig, function, plan, user

TEXTS = ("\ud800", "a\udfffb", "a\0b", "\0", "\0\ud800")
UNWRITABLE = "\ud800"

OPTIONS = {
    **dict.fromkeys(("group", "domain", "label", "key", "job_uid", "parent_uid", "resource_lock"), "x"),
    "tags": {"x": "x"},
    "depends_on": ["x"],
    "retry": {"strategy": "constant"},
    "expected_io": {"net_rx": 1},
    "where": "environment",
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
    ("schedule_add", {**user(), "item": ITEM, "recurring": {"interval_s": 1.0, "mode": "fixed_rate"}}),
    ("schedule_add", {**user(), "item": ITEM, "recurring": {"cron": "* * * * *", "timezone": "UTC"}}),
    (
        "schedule_add",
        {**user(), "item": OTHER, "recurring": {"interval_s": 1.0}, "options": {"where": "environment"}},
    ),
    *((f"schedule_{verb}", {"schedule_uid": "x"}) for verb in ("pause", "resume", "cancel")),
    ("limit_set", {"scope": "group", "name": "x", "max_running": 5}),
    ("limit_remove", {"scope": "group", "name": "x"}),
    ("alert_rule_set", {"name": "x", "metric": "task_count", "selector": SELECTOR, "warn": 1.0}),
    ("alert_rule_set", {"name": "x", "metric": "failure_rate", "selector": {"name": "x"}, "warn": 1.0}),
    ("alert_rule_remove", {"name": "x"}),
    ("alert_ack", {"name": "x", "user": "x"}),
    ("task_cancel", {"task_uid": "x", "reason": "x"}),
    ("task_cancel", {"selector": SELECTOR, "reason": "x"}),
    ("task_retry", {"task_uid": ["x"]}),
    ("task_retry", {"selector": SELECTOR}),
    ("task_update", {"task_uid": "x", "changes": {"group": "x", "label": "x", "tags": {"x": "x"}}}),
    *(("task_pause", {"scope": s, "name": "x", "reason": "x"}) for s in ("domain", "task_type", "group")),
    ("task_pause", {"scope": "task", "name": "x", "reason": "x"}),
    ("task_resume", {"scope": "group", "name": "x"}),
    ("task_prune", {"selector": {**SELECTOR, "name": "nothing"}}),
    ("lock", {"user": "x", "note": "x", "lock_key": "x", "queue": False}),
    ("queue_item_add", {**user(), "item": plan(label="x", tags={"x": "x"}, meta={"x": "x"})}),
    ("queue_item_execute", {**user(), "item": plan(label="x", tags={"x": "x"})}),
    ("function_execute", {**user(), "item": function("there", args=["x"])}),
    ("script_upload", {"script": "x"}),
    ("permissions_set", {"user_groups_allowed": "x"}),
    ("task_info", {"task_type": "x", "key": "x"}),
    ("task_list", {"selector": SELECTOR, "cursor": "x"}),
    ("task_count", {"selector": SELECTOR, "group_by": "tag:x"}),
    ("tag_list", {"prefix": "x", "selector": SELECTOR}),
    ("job_status", {"job_uid": "x"}),
    ("type_stats", {"task_type": "x"}),
    ("event_list", {"task_uid": "x", "selector": {"name": "x", "tags": {"x": "x"}}}),
)


def variants(value: Any, text: str) -> Iterator[Any]:
    """Return a value as often as it has texts, each time with another of them replaced."""
    match value:
        case str():
            yield text
        case Mapping():
            for key, inner in value.items():
                yield from ({**value, key: made} for made in variants(inner, text))
            if value.keys() == {"x"}:
                yield {text: value["x"]}
        case [*parts]:
            for place, inner in enumerate(parts):
                yield from ([*parts[:place], made, *parts[place + 1 :]] for made in variants(inner, text))


@pytest.fixture
async def worker(pool_rig: Rig) -> FakePoolWorker:
    """The worker of the pool."""
    return await pool_rig.pool_worker()


@pytest.mark.parametrize(("method", "params"), REQUESTS, ids=lambda v: v if isinstance(v, str) else "")
async def test_no_text_ends_the_manager(
    pool_rig: Rig, worker: FakePoolWorker, method: str, params: dict[str, Any]
) -> None:
    rig = pool_rig
    told = [(made, await rig.call(method, **made)) for text in TEXTS for made in variants(params, text)]
    internal = [(made, reply["msg"]) for made, reply in told if reply.get("code") == "internal"]
    await rig.manager.controls.alerts.evaluate()
    await rig.manager.controls.schedules.submit_due()
    await rig.settle()
    assert internal == []
    assert rig.faults == []
    await rig.restart()
    assert (await rig.ok("task_list"))["total"] >= 0


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
