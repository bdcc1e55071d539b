from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from remanager.plans.allowed import AnnotationLimiter, allowed_lists, select_devices

DEVICE: dict[str, Any] = {"classname": "D", "is_readable": True, "is_movable": False, "is_flyable": False}
DEVICES = {
    "det": {**DEVICE, "components": {"a": DEVICE, "b": {**DEVICE, "components": {"c": DEVICE}}}},
    "_det": DEVICE,
}
PLAN = {
    "name": "p",
    "parameters": [
        {
            "name": "x",
            "annotation": {
                "type": "typing.Union[D, P]",
                "devices": {"D": ["det", "det.a", "_det"]},
                "plans": {"P": ["p", "_p"]},
                "enums": {"E": ["det"]},
            },
        },
        {"name": "y"},
    ],
}
PLANS = {"p": PLAN, "_p": {"name": "_p"}}


def permissions(**rules: list[str | None]) -> dict[str, Any]:
    root = {"allowed_plans": [None], "allowed_devices": [None], "forbidden_plans": [":^_"]}
    group = {"allowed_plans": [None], "allowed_devices": [None]} | rules
    return {"user_groups": {"root": root, "group": group}}


def test_excluded_devices_stay_where_they_hold_allowed_ones() -> None:
    devices = select_devices(DEVICES, ["det.b.c"], [])
    c = {"b": {**DEVICE, "excluded": True, "components": {"c": DEVICE}}}
    assert devices == {"det": {**DEVICE, "excluded": True, "components": c}}


def test_existing_exclusion_is_kept() -> None:
    devices = {"det": {**DEVICES["det"], "excluded": True}, "x": {**DEVICE, "excluded": True}}
    assert set(select_devices(devices, [None], [None])) == {"det"}


def test_name_lists_are_limited() -> None:
    plans, _ = allowed_lists(PLANS, DEVICES, permissions(forbidden_devices=["det.a"]))["group"]
    assert set(plans) == {"p"}
    annotation = plans["p"]["parameters"][0]["annotation"]
    assert annotation["devices"] == {"D": ["det", "_det"]}
    assert annotation["plans"] == {"P": ["p"]}
    assert annotation["enums"] == {"E": ["det"]}
    assert plans["p"]["parameters"][1] == {"name": "y"}


def test_limiter_without_lists_allows_all_names() -> None:
    assert AnnotationLimiter(None, None).limit_plan(PLAN) == PLAN


def test_no_permissions_give_root_alone() -> None:
    assert allowed_lists(PLANS, DEVICES, {}) == {"root": (PLANS, DEVICES)}


PATTERNS = st.lists(
    st.sampled_from(["det", "det.b", ":^_", ":?.*", ":?.*:depth=2", ":-det:b", "no"]), max_size=3
)


@given(allowed=PATTERNS, forbidden=PATTERNS)
def test_selection_is_part_of_the_tree(allowed: list[str | None], forbidden: list[str | None]) -> None:
    before = copy.deepcopy(DEVICES)
    once = select_devices(DEVICES, allowed, forbidden)
    assert before == DEVICES
    assert select_devices(once, allowed, forbidden) == once

    def check(part: dict[str, Any], whole: dict[str, Any]) -> None:
        for name, device in part.items():
            assert not device.get("excluded") or device["components"]
            check(device.get("components", {}), whole[name].get("components", {}))

    check(once, DEVICES)
