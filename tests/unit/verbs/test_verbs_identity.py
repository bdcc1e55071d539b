"""What roles may do, whose user and group a request carries, and who is named in the journal."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import pytest

from remanager.model.principal import LOCAL, PERMITTED, Permission, Principal, Role
from remanager.verbs import load
from remanager.verbs.registry import REGISTRY
from remanager.wire.codec import Encoding, encode_reply

if TYPE_CHECKING:
    from manager_rig import Rig

load()
QUESTIONS = {
    *("ping", "status", "config_get", "queue_status", "stats", "queue_get", "queue_item_get", "history_get"),
    *("plans_allowed", "plans_existing", "devices_allowed", "devices_existing", "permissions_get"),
    *("re_runs", "re_metadata", "task_status", "task_result", "lock_info"),
    *("item_check", "console_get", "event_list", "worker_autopsy_list", "status_wait"),
    *("task_info", "task_list", "task_count", "task_wait", "task_result_batch", "task_progress", "tag_list"),
    *("task_function_list", "job_status", "type_stats", "snapshot", "stats_history", "metrics_get"),
    *("limit_list", "schedule_list", "worker_list", "alert_rule_list", "alert_list"),
}
ADMINISTRATION = {"manager_stop", "manager_kill", "permissions_set", "permissions_reload"}


async def call(rig: Rig, principal: Principal, method: str, **params: Any) -> dict[str, Any]:
    answer = rig.dispatcher({"method": method, "params": params}, Encoding.JSON, principal)
    if isinstance(answer, Awaitable):
        answer = await answer
    reply: dict[str, Any] = json.loads(encode_reply(answer, Encoding.JSON))
    return reply


@pytest.mark.parametrize("name", sorted(QUESTIONS & set(REGISTRY)))
def test_questions_need_no_more_than_to_read(name: str) -> None:
    assert REGISTRY[name].permission is Permission.READ
    assert not REGISTRY[name].mutating


def test_everything_else_needs_more() -> None:
    for name, verb in REGISTRY.items():
        if name not in QUESTIONS:
            assert verb.permission is not Permission.READ, f"{name}: is it a question?"
        assert (verb.permission is Permission.ADMIN) == (name in ADMINISTRATION), name


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("name", sorted(REGISTRY))
async def test_roles(rig: Rig, name: str, role: Role) -> None:
    principal = Principal("ann", role)
    if REGISTRY[name].permission in PERMITTED[role]:
        return
    reply = await call(rig, principal, name)
    assert (reply["success"], reply["code"]) == (False, "not_permitted")
    assert "'ann' has the role" in reply["msg"]


async def test_refused_is_refused_before_anything_else(rig: Rig) -> None:
    await rig.ok("lock", queue=True, environment=True, user="Jo", lock_key="k")
    observer = Principal("ann", Role.OBSERVER)
    for params in ({}, {"lock_key": "wrong"}, {"no": "such"}, {"request_id": "1"}):
        assert (await call(rig, observer, "queue_clear", **params))["code"] == "not_permitted"
    reply = await call(rig, observer, "queue_item_add", item={"name": "count"})
    assert reply["item"] == {"name": "count"}
    assert (await call(rig, observer, "queue_get"))["success"]


async def test_user_and_group_of_the_key_decide(rig: Rig) -> None:
    ann = Principal("ann", Role.USER, user="Ann", user_group="primary")
    item = {"name": "count", "args": [["det1"]], "item_type": "plan"}
    reply = await call(rig, ann, "queue_item_add", item=item, user="Bob", user_group="root")
    assert reply["code"] == "not_permitted"
    assert "belongs to the user group 'primary', not to 'root'" in reply["msg"]
    for claim in ({"user": "Bob", "user_group": "primary"}, {"user": "Bob"}, {}):
        reply = await call(rig, ann, "queue_item_add", item=item, **claim)
        assert reply["success"], reply
        assert (reply["item"]["user"], reply["item"]["user_group"]) == ("Ann", "primary")
    assert (await call(rig, ann, "plans_allowed", user_group="root"))["code"] == "not_permitted"
    assert (await call(rig, ann, "plans_allowed"))["success"]


async def test_journal_names_who_asked(rig: Rig) -> None:
    item = {"name": "count", "args": [["det1"]], "item_type": "plan"}
    claim = {"user": "Bob", "user_group": "primary"}
    assert (await call(rig, Principal("ann", Role.USER), "queue_item_add", item=item, **claim))["success"]
    assert (await call(rig, LOCAL, "queue_clear"))["success"]
    assert (await call(rig, Principal("eve", Role.USER), "environment_open"))["success"]
    assert not (await call(rig, Principal("bob", Role.USER), "re_resume"))["success"]
    await rig.settle()
    events = {e.type: json.loads(e.data) for e in rig.events()}
    assert events["request"] == {"method": "environment_open", "principal": "eve"}
    assert events["queue_item_added"]["principal"] == "ann"
    assert events["queue_cleared"]["principal"] == "local"


async def test_request_id_of_another_is_not_answered(rig: Rig) -> None:
    ann, bob = Principal("ann", Role.USER), Principal("bob", Role.USER)
    assert (await call(rig, ann, "queue_clear", request_id="1"))["success"]
    assert (await call(rig, ann, "queue_clear", request_id="1"))["success"]
    assert (await call(rig, bob, "queue_clear", request_id="1"))["code"] == "conflict"
