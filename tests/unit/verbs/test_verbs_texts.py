"""Texts and fillers that clients of the protocol match on, and the answers of the small methods."""

from __future__ import annotations

from typing import Any

import pytest
from manager_rig import PERMISSIONS, QUEUE_STOP, Rig, function, plan, user

from remanager.model.link import GetMetadata
from remanager.plans.lists_file import ExistingLists

ADD = "Failed to add an item: "
FORMAT = "Incorrect request format: "


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({**user()}, f"{ADD}{FORMAT}request contains no item info"),
        ({"item": [], **user()}, "item parameter must have type 'dict'"),
        ({"item": {"name": "count"}, **user()}, f"{ADD}{FORMAT}'item_type' key is not found"),
        ({"item": {"item_type": "x"}, **user()}, f"{FORMAT}unsupported 'item_type' value: 'x'"),
        ({"item": function(), **user()}, "unsupported 'item_type' value: 'function'"),
        ({"item": plan(), "user": "Jo"}, "user group is not specified"),
        ({"item": plan(), "user_group": "primary"}, "user name is not specified"),
        ({"item": plan(), "user": "Jo", "user_group": "x"}, "Unknown user group: 'x'"),
        ({"item": plan(), "user": "Jo", "user_group": ["x"]}, "Unknown user group"),
        ({"item": plan("x"), **user()}, "Plan 'x' is not in the list of allowed plans"),
        (
            {"item": plan(kwargs={"abc": 1}), **user()},
            f"{ADD}Plan validation failed: got an unexpected keyword argument 'abc'",
        ),
        ({"item": {"item_type": "instruction", "name": "x"}, **user()}, "Unrecognized instruction"),
        ({"item": plan(), **user(), "pos": 1, "before_uid": "x"}, "Ambiguous parameters"),
        ({"item": plan(), **user(), "before_uid": "x"}, "is not in the queue"),
    ],
)
async def test_add_refused(rig: Rig, params: dict[str, Any], text: str) -> None:
    reply = await rig.call("queue_item_add", **params)
    assert reply["success"] is False
    assert text in reply["msg"]
    assert reply["qsize"] is None
    if isinstance(params.get("item"), dict):
        assert reply["item"].items() >= params["item"].items()
    else:
        assert reply["item"] == params.get("item")
    assert rig.status["items_in_queue"] == 0


async def test_a_plan_before_the_first_opening_is_refused_with_what_to_do(rig: Rig) -> None:
    params = {"item": plan("x"), **user()}
    refused = "Plan validation failed: Plan 'x' is not in the list of allowed plans."
    assert (await rig.refused("queue_item_add", **params)).endswith(refused)
    rig.manager.catalogue.lists = ExistingLists()
    msg = await rig.refused("queue_item_add", **params)
    assert msg.endswith(f"{refused} No plans are known yet: open the environment, their list is made then.")


async def test_add_gives_a_new_uid_and_drops_foreign_keys(rig: Rig) -> None:
    reply = await rig.ok("queue_item_add", item=plan(item_uid="mine", result={}), **user())
    item = reply["item"]
    assert item["item_uid"] != "mine"
    assert "result" not in item
    assert (item["user"], item["user_group"], reply["qsize"]) == ("Jo", "primary", 1)


@pytest.mark.parametrize(
    ("pos", "place"), [(-100, 0), ("front", 0), (1, 1), (100, 2), ("back", 2), (None, 2)]
)
async def test_positions_are_clipped_when_adding(rig: Rig, pos: object, place: int) -> None:
    await rig.add()
    await rig.add()
    uid = await rig.add("scan", pos=pos)
    assert (await rig.queue()).index(uid) == place


async def test_the_size_of_the_queue_is_told_before_autostart_takes_an_item(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.ok("queue_autostart", enable=True)
    reply = await rig.ok("queue_item_add", item=plan(), **user())
    assert reply["qsize"] == 1
    await rig.settle()
    await worker.finish()
    reply = await rig.ok("queue_item_add_batch", items=[plan(), plan()], **user())
    assert reply["qsize"] == 2


async def test_the_default_position_is_named(rig: Rig) -> None:
    assert "(parameter pos = 'back')" in await rig.refused("queue_item_get")


async def test_neighbours(rig: Rig) -> None:
    first = await rig.add()
    before, after = await rig.add(before_uid=first), await rig.add(after_uid=first)
    assert await rig.queue() == [before, first, after]
    await rig.open_environment()
    await rig.ok("queue_start")
    await rig.settle()
    msg = await rig.refused("queue_item_add", item=plan(), before_uid=before, **user())
    assert "Can not insert a plan in the queue before a currently running plan" in msg
    uid = await rig.add(after_uid=before)
    assert (await rig.queue())[0] == uid
    assert "is currently running" in await rig.refused("queue_item_get", uid=before)
    assert "Can not remove an item which is currently running" in await rig.refused(
        "queue_item_remove", uid=before
    )


async def test_move_to_a_place_that_does_not_exist(rig: Rig) -> None:
    await rig.add()
    msg = await rig.refused("queue_item_move", pos=0, after_uid="x")
    assert "Destination plan (UID 'x') was not found" in msg
    msg = await rig.refused("queue_item_move", pos=0, pos_dest=5)
    assert "Destination plan (position 5) was not found" in msg


async def test_add_batch(rig: Rig) -> None:
    items = [plan(), plan("x"), QUEUE_STOP, 5, plan(kwargs={"z": 1})]
    reply = await rig.call("queue_item_add_batch", items=items, **user())
    assert reply["success"] is False
    assert reply["msg"] == "Failed to add all items: validation of 3 out of 5 submitted items failed"
    assert [r["success"] for r in reply["results"]] == [True, False, True, False, False]
    assert reply["items"] == items
    assert reply["qsize"] == 0
    reply = await rig.ok("queue_item_add_batch", items=[plan(), QUEUE_STOP], **user())
    assert [i["name"] for i in reply["items"]] == ["count", "queue_stop"]
    assert reply["qsize"] == 2
    reply = await rig.call("queue_item_add_batch", items=[plan()] * 2, before_uid="x", **user())
    assert [("is not in the queue" in r["msg"]) for r in reply["results"]] == [True, False] or all(
        "is not in the queue" in r["msg"] for r in reply["results"]
    )
    assert reply["qsize"] == 2
    assert all(i["item_uid"] and i["user"] == "Jo" for i in reply["items"])
    assert "list of items is not found" in await rig.refused("queue_item_add_batch", **user())
    assert "Incorrect type of 'items'" in await rig.refused("queue_item_add_batch", items={}, **user())


async def test_update(rig: Rig) -> None:
    uid = await rig.add()
    reply = await rig.ok("queue_item_update", item=plan("scan", item_uid=uid), **user())
    assert (reply["item"]["item_uid"], reply["item"]["name"], reply["qsize"]) == (uid, "scan", 1)
    reply = await rig.call("queue_item_update", item=plan(item_uid="x"), **user())
    text = "Failed to add an item: Failed to replace item: Item with UID 'x' is not in the queue"
    assert reply["msg"] == text
    assert reply["qsize"] == 0
    assert "no UID" in await rig.refused("queue_item_update", item=plan(), **user())
    await rig.refused("queue_item_update", item=plan(item_uid=[1]), **user())
    await rig.refused("queue_item_update", item=plan(), replace=True, **user())
    assert await rig.queue() == [uid]


@pytest.mark.parametrize(
    ("method", "params", "text"),
    [
        ("queue_item_get", {"pos": 50}, "Failed to get an item: "),
        ("queue_item_get", {"uid": "x"}, "not in the queue"),
        ("queue_item_get", {"pos": 0, "uid": "x"}, "Ambiguous parameters"),
        ("queue_item_remove", {"pos": 50}, "Failed to remove an item: "),
        ("queue_item_remove", {"uid": "x"}, "not in the queue"),
        ("queue_item_remove_batch", {}, "Request does not contain the list of UIDs"),
        (
            "queue_item_remove_batch",
            {"uids": ["7", "8"], "ignore_missing": False},
            "The queue does not contain items with the following UIDs: ['7', '8']",
        ),
        (
            "queue_item_remove_batch",
            {"uids": ["7", "7"], "ignore_missing": False},
            "The list of contains repeated UIDs",
        ),
        ("queue_item_move", {"pos": 50, "pos_dest": 0}, "Source plan (position 50) was not found"),
        ("queue_item_move", {"uid": "x", "pos_dest": 0}, "Source plan (UID 'x') was not found"),
        ("queue_item_move", {"pos_dest": 0}, "Source position or UID is not specified"),
        ("queue_item_move", {"pos": 0}, "Destination position or UID is not specified"),
        ("queue_item_move", {"pos": 0, "uid": "x", "pos_dest": 0}, "Ambiguous parameters"),
        ("queue_item_move_batch", {}, "Request does not contain the list of UIDs"),
        ("queue_item_move_batch", {"uids": []}, "Destination for the batch is not specified"),
        (
            "queue_item_move_batch",
            {"uids": [], "pos_dest": "front", "before_uid": "x"},
            "more than one mutually exclusive parameter",
        ),
        ("queue_item_move_batch", {"uids": ["x"], "before_uid": "x"}, "with the following UIDs: ['x']"),
        ("queue_mode_set", {}, "Parameter 'mode' is not found in request"),
        ("queue_mode_set", {"mode": "x"}, "object of unsupported type '<class 'str'>'"),
        ("queue_mode_set", {"mode": {"x": True}}, "Unsupported plan queue mode parameter 'x'"),
        ("queue_mode_set", {"mode": {"loop": 1}}, "Unsupported type '<class 'int'>' of the parameter 'loop'"),
        ("queue_autostart", {}, "Required 'enable' parameter is missing"),
        ("queue_autostart", {"enable": 1}, "Required 'enable' parameter must be boolean"),
        ("history_clear", {"size": "ab"}, "=Error: The 'size' parameter must be an integer: size='ab'"),
        (
            "history_clear",
            {"item_uid": 1.5},
            "=Error: The 'item_uid' parameter must be a string: item_uid=1.5",
        ),
        (
            "history_clear",
            {"item_uid": "x", "size": 1},
            "=Error: Parameters 'size' and 'item_uid' are mutually exclusive.",
        ),
        ("permissions_set", {}, "Parameter 'user_group_permissions' is missing"),
        ("function_execute", {"item": function(), **user()}, "RE Worker environment is not open"),
        ("function_execute", {"item": {"item_type": "function"}, **user()}, "Function name is not specified"),
        ("function_execute", {"item": function(5), **user()}, "Function name"),
        (
            "function_execute",
            {"item": function(args=5), **user()},
            "Parameter 'args' is not a tuple or a list",
        ),
        (
            "function_execute",
            {"item": function(kwargs=5), **user()},
            "Parameter 'kwargs' is not a dictionary",
        ),
        ("function_execute", {"item": plan(), **user()}, "unsupported 'item_type' value: 'plan'"),
        ("script_upload", {}, "Required 'script' parameter"),
        ("script_upload", {"script": 5}, "Type of the 'script' parameter"),
        ("script_upload", {"script": ""}, "RE Worker environment is not open"),
        ("environment_update", {}, "RE Worker environment is not open"),
        ("task_status", {}, "Required 'task_uid' parameter is missing in the API call"),
        ("task_status", {"task_uid": 5}, "'task_uid' must be a string or a list of strings"),
        ("task_status", {"task_uid": ["x", 5]}, "'task_uid' must be a string or a list of strings"),
        ("task_status", {"task_uid": ["x"] * 10_001}, "at most 10000 tasks"),
        ("task_result", {}, "Required 'task_uid' parameter is missing in the API call"),
        ("task_result", {"task_uid": ["x"]}, "'task_uid' must be a string"),
        ("re_metadata", {}, "=Environment does not exist. Cannot retrieve RE metadata."),
        ("re_pause", {}, "Environment does not exist"),
        ("re_runs", {"option": "x"}, "Option 'x' is not supported"),
        ("kernel_interrupt", {}, "not in IPython mode"),
        ("manager_kill", {}, "--allow-manager-kill"),
        ("manager_stop", {"option": "x"}, "Option 'x' is not allowed"),
        ("unlock", {}, "Request contains no lock key"),
    ],
)
async def test_refused(rig: Rig, method: str, params: dict[str, Any], text: str) -> None:
    msg = await rig.refused(method, **params)
    if text.startswith("="):
        assert msg == text[1:]
    else:
        assert text in msg


@pytest.mark.parametrize(
    ("method", "fillers"),
    [
        ("queue_item_get", {"item": {}}),
        ("queue_item_remove", {"item": {}, "qsize": None}),
        ("queue_item_move", {"item": {}, "qsize": None}),
        ("queue_item_remove_batch", {"items": [], "qsize": None}),
        ("queue_item_move_batch", {"items": [], "qsize": None}),
        ("queue_item_execute", {"item": None, "qsize": None}),
        ("function_execute", {"item": None, "task_uid": None}),
        ("script_upload", {"task_uid": None}),
        ("task_status", {"task_uid": None, "status": None}),
        ("task_result", {"task_uid": None, "status": None, "result": None}),
        ("plans_allowed", {"plans_allowed": {}, "plans_allowed_uid": None}),
        ("devices_allowed", {"devices_allowed": {}, "devices_allowed_uid": None}),
        ("re_metadata", {"re_metadata": {}}),
        ("lock", {"lock_info": {}, "lock_info_uid": None}),
    ],
)
async def test_fillers(rig: Rig, method: str, fillers: dict[str, Any]) -> None:
    reply = await rig.call(method, x=1)
    assert reply["success"] is False
    assert reply["code"] == "invalid_params"
    assert reply.items() >= fillers.items()


async def test_function_that_is_not_allowed(rig: Rig) -> None:
    groups = PERMISSIONS["user_groups"]
    permissions = {"user_groups": {**groups, "primary": {"allowed_functions": ["g"]}}}
    await rig.ok("permissions_set", user_group_permissions=permissions)
    await rig.open_environment()
    msg = await rig.refused("function_execute", item=function("f"), **user())
    assert "Function 'f' is not allowed" in msg
    await rig.refused("function_execute", item=function({"a": 1}), **user())
    await rig.ok("function_execute", item=function("g"), **user())


async def test_runs_of_the_running_plan(rig: Rig) -> None:
    assert (await rig.ok("re_runs"))["run_list"] == []
    worker = await rig.open_environment()
    uid = rig.status["run_list_uid"]
    runs = [
        {"uid": "a", "scan_id": 1, "is_open": False, "exit_status": "success"},
        {"uid": "b", "scan_id": 2, "is_open": True, "exit_status": None},
    ]
    await worker.change(run_list=runs, run_list_rev=1)
    assert rig.status["run_list_uid"] != uid
    for option, expected in (("active", ["a", "b"]), ("open", ["b"]), ("closed", ["a"])):
        reply = await rig.ok("re_runs", option=option)
        assert [r["uid"] for r in reply["run_list"]] == expected
        assert reply["run_list_uid"] == rig.status["run_list_uid"]
    uid = rig.status["run_list_uid"]
    await worker.change(background_tasks=1)
    assert rig.status["run_list_uid"] == uid
    assert rig.status["worker_background_tasks"] == 1


async def test_metadata(rig: Rig) -> None:
    worker = await rig.open_environment()
    worker.replies[GetMetadata] = {"re_metadata": '{"scan_id": 5}'}
    assert (await rig.ok("re_metadata"))["re_metadata"] == {"scan_id": 5}
    worker.refusals[GetMetadata] = "Run Engine does not have a metadata attribute"
    reply = await rig.call("re_metadata")
    assert (reply["msg"], reply["re_metadata"]) == ("Run Engine does not have a metadata attribute", {})
    worker.refusals.clear()
    worker.replies.clear()
    assert "no metadata" in await rig.refused("re_metadata")


async def test_stats_and_queue_status(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.add("scan")
    await rig.add()
    await rig.ok("queue_start")
    await rig.settle()
    await rig.ok("function_execute", item=function(), run_in_background=True, **user())
    status = await rig.ok("queue_status")
    assert (status["queued"], status["unacked"], status["total"], status["users_count"]) == (1, 2, 3, 1)
    assert status["plan_queue"]["items_in_queue"] == 1
    assert {lane["lane"] for lane in status["lanes"]} == {"Jo//scan", "Jo//count", "Jo//f"}
    await worker.finish(exit_status="failed")
    await rig.settle()
    stats = await rig.ok("stats")
    assert stats["health"] == {"state": "ok", "reasons": []}
    assert stats["types"]["scan"]["total_err_cnt"] == 1
    assert len(stats["types"]["scan"]["per_min"]["failed"]) == 20
    live = {name: number for name, number in stats["summary"]["live"].items() if number}
    assert live == {"pending": 2, "running": 1, "total": 3}
    assert stats["workers"][0]["worker_uid"] == worker.uid
    assert stats["counters"]["dispatched"] == 2
    rig.now += 60.0
    part = await rig.ok("stats", sections=["rates"])
    assert "types" not in part
    assert part["health"]["state"] == "degraded"
    assert "silent for 60 s" in part["health"]["reasons"][0]
    assert "parameter 'sections.0'" in await rig.refused("stats", sections=["x"])
    assert (await rig.ok("config_get"))["config"] == {"ip_connect_info": {}}
