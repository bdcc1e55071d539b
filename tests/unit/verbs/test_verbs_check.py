"""Checking items without submitting them."""

from __future__ import annotations

from typing import Any

import pytest
from manager_rig import QUEUE_STOP, Rig, function, plan, user


def parameter(name: str, kind: int = 1, **fields: Any) -> dict[str, Any]:
    names = {1: "POSITIONAL_OR_KEYWORD", 2: "VAR_POSITIONAL", 3: "KEYWORD_ONLY"}
    return {"name": name, "kind": {"name": names[kind], "value": kind}, **fields}


def described(name: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "parameters": list(parameters), "properties": {"is_generator": True}, "module": ""}


PLANS = {
    "count": described("count", parameter("detectors"), parameter("num", default="1")),
    "scan": described(
        "scan", parameter("detectors"), parameter("args", 2), parameter("num", 3, default="None")
    ),
    "mine": described("mine", parameter("thing", default="None")),
    "typed": described(
        "typed",
        parameter("detectors", annotation={"type": "list[__READABLE__]"}, convert_device_names=True),
        parameter("inner", default="''", convert_plan_names=True, convert_device_names=True),
        parameter("sample", default="''", annotation={"type": "str"}),
    ),
}
DEVICES = {
    name: {"classname": "Det", "is_readable": True, "is_movable": False, "is_flyable": False}
    for name in ("det1", "det2", "motor")
}
DEVICES["det1"]["components"] = {"val": dict(DEVICES["det2"])}


@pytest.fixture
async def lab(rig: Rig) -> Rig:
    """Return a manager that knows plans with points and devices."""
    await rig.open_environment()
    assert rig.worker is not None
    await rig.worker.lists_changed(PLANS, DEVICES)
    await rig.settle()
    return rig


def count(num: int = 1, *detectors: str) -> dict[str, Any]:
    return plan("count", args=[list(detectors) or ["det1"]], kwargs={"num": num})


async def test_an_item_is_checked_and_estimated(lab: Rig) -> None:
    item = plan("scan", args=[["det1.val", "det2", "other"], "motor", 0, 1], kwargs={"num": 5}, label="x")
    before = dict(lab.status)
    reply = await lab.ok("item_check", item=item, **user())
    assert reply["item"] == {**item, **user()}
    assert reply["estimate"] == {"points": 5, "duration_s": None, "devices": ["det1.val", "det2", "motor"]}
    assert lab.status == before
    assert await lab.queue() == []


@pytest.mark.parametrize(
    "item",
    [
        plan("unknown"),
        plan("count"),
        plan("count", args=[["det1"]], kwargs={"wrong": 1}),
        plan("count", args=[["det1"]], label=5),
        plan("count", args=[["det1"]], meta=5),
        {"item_type": "instruction", "name": "jump"},
        {"item_type": "other"},
        {"name": "count"},
        "count",
        None,
    ],
)
async def test_what_submission_refuses_is_refused_with_its_words(lab: Rig, item: object) -> None:
    checked = await lab.call("item_check", item=item, **user())
    added = await lab.call("queue_item_add", item=item, **user())
    assert not checked["success"]
    assert {k: checked[k] for k in ("msg", "code", "item")} == {k: added[k] for k in ("msg", "code", "item")}
    assert checked["estimate"] is None


async def test_names_that_nobody_knows_are_warned_of(lab: Rig) -> None:
    item = plan("typed", args=[["det1.val", "detx", "det2"], "count"], kwargs={"sample": "copper foil"})
    reply = await lab.ok("item_check", item=item, **user())
    text = "Parameter 'detectors': 'detx' is not the name of a device of the list"
    assert reply["warnings"] == [text]
    items = [item, plan("typed", args=[["det1"], "scam"]), count(1, "anything"), QUEUE_STOP]
    results = (await lab.ok("item_check", items=items, **user()))["results"]
    assert [len(r["warnings"]) for r in results] == [1, 1, 0, 0]
    assert "'scam' is not the name of a device or plan" in results[1]["warnings"][0]


async def test_items_are_checked_together(lab: Rig) -> None:
    items = [count(5), count(7, "det2"), QUEUE_STOP]
    reply = await lab.ok("item_check", items=items, **user())
    assert reply["items"] == items
    assert [r["estimate"]["points"] for r in reply["results"]] == [5, 7, 0]
    assert reply["estimate"] == {"points": 12, "duration_s": None, "devices": ["det1", "det2"]}
    bad = [count(5), plan("unknown"), count(2)]
    checked = await lab.call("item_check", items=bad, **user())
    added = await lab.call("queue_item_add_batch", items=bad, **user())
    assert checked["msg"] == added["msg"]
    assert checked["code"] == added["code"] == "invalid_item"
    assert [{k: r[k] for k in ("success", "msg")} for r in checked["results"]] == added["results"]
    assert checked["estimate"] is None


async def test_no_items_take_nothing(lab: Rig) -> None:
    reply = await lab.ok("item_check", items=[], **user())
    assert reply["estimate"] == {"points": 0, "duration_s": 0, "devices": []}


async def test_functions_are_checked_too(lab: Rig) -> None:
    reply = await lab.ok("item_check", item=function("f", args=["det1"]), **user())
    assert reply["estimate"] == {"points": None, "duration_s": None, "devices": ["det1"]}
    assert (await lab.call("item_check", item={"item_type": "function"}, **user()))["code"] == "invalid_item"


@pytest.mark.parametrize(
    "params",
    [{}, {"item": count(), "items": []}, {"items": {}}, {"items": [], "user_group": "nobody"}],
)
async def test_bad_parameters_are_refused(lab: Rig, params: dict[str, Any]) -> None:
    reply = await lab.call("item_check", **{**user(), **params})
    assert reply["code"] == "invalid_params"
    assert reply["estimate"] is None


async def test_durations_are_learned_from_completed_plans(lab: Rig) -> None:
    assert lab.worker is not None
    for item, status, duration in (
        (count(10), "completed", 20.0),
        (count(1), "failed", 900.0),
        (plan("mine"), "completed", 3.0),
    ):
        await lab.ok("queue_item_add", item=item, **user())
        await lab.ok("queue_start")
        await lab.settle()
        await lab.worker.finish(exit_status=status, time_start=10.0, time_stop=10.0 + duration)
        await lab.settle()
        await lab.ok("queue_clear")

    async def durations() -> list[Any]:
        reply = await lab.ok("item_check", items=[count(5), plan("mine"), plan("scan", args=[[]])], **user())
        assert reply["estimate"]["duration_s"] is None
        return [r["estimate"]["duration_s"] for r in reply["results"]]

    assert await durations() == [10.0, 3.0, None]
    await lab.restart()
    assert await durations() == [10.0, 3.0, None]  # from the history


async def test_hundreds_of_items_are_checked_in_slices(lab: Rig) -> None:
    reply = await lab.ok("item_check", items=[count(2)] * 300, **user())
    assert reply["estimate"]["points"] == 600
