"""Who may do what: user group permissions, and the lock."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from scenario import Setup, scenario
from session import EMERGENCY_KEY, USER, Session, function, plan

NEVER = Setup(
    "permissions are never reloaded", ("--user-group-permissions-reload=NEVER",), encodings=("json",)
)
ON_REQUEST = Setup(
    "permissions are reloaded on request",
    ("--user-group-permissions-reload=ON_REQUEST",),
    encodings=("json",),
)


def _without(permissions: dict[str, Any], group: str) -> dict[str, Any]:
    changed = deepcopy(permissions)
    del changed["user_groups"][group]
    return changed


def _with(permissions: dict[str, Any], group: str, key: str, value: object) -> dict[str, Any]:
    changed = deepcopy(permissions)
    changed["user_groups"].setdefault(group, {})[key] = value
    return changed


@scenario("permissions")
def permissions(session: Session) -> None:
    session.ready()
    given = session.call("permissions_get")["user_group_permissions"]
    bad: dict[str, object] = {
        "empty": {},
        "null": None,
        "a text": "all",
        "a list": [],
        "no groups": {"user_groups": {}},
        "groups are a list": {"user_groups": []},
        "no root": _without(given, "root"),
        "no primary": _without(given, "primary"),
        "unknown key": {**given, "extra": 1},
        "unknown key of a group": _with(given, "primary", "allowed_things", [None]),
        "patterns are a text": _with(given, "primary", "allowed_plans", ":.*"),
        "pattern is a number": _with(given, "primary", "allowed_plans", [1]),
        "pattern is no expression": _with(given, "primary", "allowed_plans", [":(count"]),
    }
    session.call("permissions_set", "nothing")
    for what, value in bad.items():
        session.call("permissions_set", what, user_group_permissions=value)
        if session.call("permissions_get", f"after {what}")["user_group_permissions"] != given:
            session.ask("permissions_reload")
    session.call("status", "after all refusals")
    session.call("permissions_set", "the same again", user_group_permissions=given)
    session.call("status", "after the same again")
    session.call(
        "permissions_set", user_group_permissions=_with(given, "primary", "allowed_plans", [":^count$"])
    )
    session.call("status", "after the change")
    session.call("permissions_get", "changed")
    session.call("plans_allowed", user_group="primary")
    session.call("queue_item_add", "no longer allowed", item=plan("scan", ["det"], "motor", 1, 2, 3), **USER)
    session.call("queue_item_add", "still allowed", item=plan("count", ["det"]), **USER)
    session.call("permissions_reload", "no permissions", restore_permissions=False)
    session.call("permissions_get", "still changed")
    session.call("permissions_reload")
    session.call("status", "after the reload")
    session.call("permissions_get", "as in the file")
    session.call("permissions_reload", "and the lists", restore_plans_devices=True)
    session.call("plans_allowed", "as in the file", user_group="primary")
    new_group = _with(given, "visitors", "allowed_plans", ["count"])
    session.call("permissions_set", "a new group", user_group_permissions=new_group)
    session.call("plans_allowed", "of the new group", user_group="visitors")
    session.call("devices_allowed", "of the new group", user_group="visitors")


@scenario("functions by permission")
def functions(session: Session) -> None:
    session.ready()
    given = session.ask("permissions_get")["user_group_permissions"]
    limited = {"user": "visitor", "user_group": "limited"}
    for name in ("give", "fail", "_hidden_function", "wait_for_gate"):
        session.call("function_execute", name, item=function(name), **limited)
        session.wait_quiet()
    changed = _with(given, "limited", "allowed_functions", ["fail"])
    session.call("permissions_set", "another function", user_group_permissions=changed)
    session.wait_quiet()
    session.call("function_execute", "no longer", item=function("give"), **limited)
    uid = session.call("function_execute", "now", item=function("fail"), **limited)["task_uid"]
    session.wait_task(uid)
    session.call("task_result", task_uid=uid)


@scenario("permissions that are never reloaded", NEVER)
def never(session: Session) -> None:
    session.call("permissions_get", "at first")
    session.call("permissions_reload")
    session.call("permissions_reload", "no permissions", restore_permissions=False)


@scenario("permissions that are reloaded on request", ON_REQUEST)
def on_request(session: Session) -> None:
    session.call("permissions_get", "at first")
    session.call("permissions_reload")
    session.call("permissions_get", "reloaded")


@scenario("lock")
def lock(session: Session) -> None:
    session.closed()
    session.call("lock_info", "unlocked")
    session.call("lock_info", "unlocked, with a key", lock_key="key")
    session.call("lock_info", "unlocked, key is a number", lock_key=1)
    session.call("unlock", "unlocked", lock_key="key")
    session.call("unlock", "no key")
    session.call("unlock", "key is a number", lock_key=1)
    who = {"user": "operator", "lock_key": "key"}
    session.call("lock", "nothing")
    session.call("lock", "no user", lock_key="key", environment=True)
    session.call("lock", "user is empty", user="", lock_key="key", environment=True)
    session.call("lock", "user is a number", user=1, lock_key="key", environment=True)
    session.call("lock", "no key", user="operator", environment=True)
    session.call("lock", "key is empty", user="operator", lock_key="", environment=True)
    session.call("lock", "key is null", user="operator", lock_key=None, environment=True)
    session.call("lock", "neither", **who)
    session.call("lock", "both false", environment=False, queue=False, **who)
    session.call("lock", "note is a number", environment=True, note=1, **who)
    session.call("status", "after all refusals")
    session.call("lock", "environment", environment=True, note="do not touch", **who)
    session.call("status", "environment locked")
    session.call("lock_info", "locked")
    session.call("lock_info", "right key", lock_key="key")
    session.call("lock_info", "wrong key", lock_key="other")
    session.call("lock_info", "emergency key", lock_key=EMERGENCY_KEY)
    session.call("environment_open", "no key")
    session.call("environment_open", "wrong key", lock_key="other")
    session.call("queue_start", "no key")
    session.call("re_pause", "emergency key", lock_key=EMERGENCY_KEY)
    session.call("queue_start", "right key", lock_key="key")
    session.call("queue_clear", "not locked")
    session.call("lock", "another key", queue=True, user="visitor", lock_key="other")
    session.call("lock", "both", environment=True, queue=True, **who)
    session.call("queue_clear", "no key")
    session.call("queue_item_add", "no key", item=plan("silent"), **USER)
    session.call("queue_item_add", "right key", item=plan("silent"), lock_key="key", **USER)
    session.call("queue_item_add_batch", "no key", items=[plan("silent")], **USER)
    session.call("queue_item_remove", "no key")
    session.call("queue_mode_set", "no key", mode={"loop": True})
    session.call("history_clear", "no key")
    session.call("permissions_reload", "no key")
    session.call("permissions_set", "no key", user_group_permissions={})
    session.call("lock", "queue only", queue=True, **who)
    session.call("status", "queue locked")
    session.call("environment_close", "not locked any more")
    session.call("unlock", "wrong key", lock_key="other")
    session.call("unlock", "key is empty", lock_key="")
    session.call("unlock", "right key", lock_key="key")
    session.call("status", "unlocked")
    session.call("lock", "numbers for true", environment=1, queue="yes", **who)
    session.call("unlock", "emergency key", lock_key=EMERGENCY_KEY)
    session.call("lock_info", "unlocked again")
