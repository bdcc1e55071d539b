"""Requests as such: their form, their parameters, and what a closed environment refuses."""

from __future__ import annotations

from scenario import scenario
from session import USER, Session, function, plan

METHODS = (
    "config_get",
    "queue_get",
    "plans_allowed",
    "plans_existing",
    "devices_allowed",
    "devices_existing",
    "permissions_reload",
    "permissions_get",
    "permissions_set",
    "history_get",
    "history_clear",
    "environment_open",
    "environment_close",
    "environment_destroy",
    "environment_update",
    "script_upload",
    "function_execute",
    "task_result",
    "task_status",
    "queue_mode_set",
    "queue_item_add",
    "queue_item_add_batch",
    "queue_item_update",
    "queue_item_get",
    "queue_item_remove",
    "queue_item_remove_batch",
    "queue_item_move",
    "queue_item_move_batch",
    "queue_item_execute",
    "queue_clear",
    "queue_start",
    "queue_stop",
    "queue_stop_cancel",
    "queue_autostart",
    "kernel_interrupt",
    "re_pause",
    "re_resume",
    "re_stop",
    "re_abort",
    "re_halt",
    "re_runs",
    "re_metadata",
    "lock",
    "lock_info",
    "unlock",
    "manager_stop",
)
LENIENT = ("ping", "status")
GUARDED = tuple(
    m
    for m in METHODS
    if m.startswith(("environment_", "re_", "queue_start", "queue_stop", "queue_autostart"))
    and m != "re_runs"
)


@scenario("form of requests")
def form(session: Session) -> None:
    session.closed()
    clipped = session.encode({"method": "status"})[:-3]
    session.frame("clipped frame", clipped)
    session.frame("empty frame", b"")
    session.frame("bytes that are nothing", b"\xc1\xff\x00")
    session.message("a list", [1, 2])
    session.message("a text", "status")
    session.message("a number", 5)
    session.message("null", None)
    session.message("no method", {"met": "status"})
    session.message("no keys", {})
    session.message("unknown method", {"method": "no_such_method"})
    session.message("method in capitals", {"method": "STATUS"})
    session.message("method is null", {"method": None})
    session.message("method is a number", {"method": 5})
    session.message("method is a list", {"method": ["status"]})
    session.message("one more key", {"method": "status", "extra": 1})
    session.message("two more keys", {"method": "status", "extra": 1, "more": 2})
    session.message("no parameters", {"method": "queue_get"})
    session.message("parameters are null", {"method": "queue_get", "params": None})
    session.message("parameters are a list", {"method": "queue_get", "params": []})
    session.message("parameters are a text", {"method": "queue_get", "params": "pos"})


@scenario("unsupported parameters")
def unsupported(session: Session) -> None:
    session.closed()
    for method in LENIENT:
        session.call(method)
        session.call(method, "with a parameter", anything=1)
    for method in METHODS:
        session.call(method, "unsupported", unsupported=1)
        session.call(method, "two unsupported", unsupported=1, also_not=2)


@scenario("without an environment")
def without_environment(session: Session) -> None:
    session.closed()
    for method in (
        "environment_close",
        "environment_destroy",
        "environment_update",
        "re_metadata",
        "re_runs",
    ):
        session.call(method)
    for method in ("queue_start", "queue_stop", "queue_stop_cancel", "re_pause", "re_resume", "re_stop"):
        session.call(method)
    for method in ("re_abort", "re_halt", "kernel_interrupt", "config_get"):
        session.call(method)
    session.call("kernel_interrupt", "task", interrupt_task=True)
    session.call("environment_update", "in the background", run_in_background=True)
    session.call("re_pause", "bad option", option="later")
    session.call("re_pause", "immediate", option="immediate")
    session.call("re_runs", "open", option="open")
    session.call("re_runs", "bad option", option="all")
    session.call("queue_item_execute", item=plan("silent"), **USER)
    session.call("function_execute", item=function("give"), **USER)
    session.call("script_upload", script="a = 1")
    session.call("queue_autostart", enable=True)
    session.call("status", "with autostart")
    session.call("queue_autostart", enable=False)
    session.call("queue_autostart", "nothing to enable")
    session.call("queue_autostart", "a number", enable=1)
    session.call("queue_autostart", "a text", enable="yes")
    session.call("manager_stop", "bad option", option="unsafe")
    session.call("status", "at the end")


@scenario("keys of the lock that are no texts")
def odd_keys(session: Session) -> None:
    session.closed()
    for method in GUARDED:
        if method not in {"re_metadata", "environment_open"}:
            session.call(method, "key is a number", lock_key=5)
            session.call(method, "key is empty", lock_key="")
    session.call("environment_open", "key is a list", lock_key=["a"])
