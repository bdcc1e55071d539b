"""Allowed lists, function permissions and the lists file must be those of the peer."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remanager.model.errors import InvalidParams
from remanager.plans.allowed import allowed_lists
from remanager.plans.lists_file import ExistingLists, read_lists, write_lists
from remanager.plans.patterns import is_object_name_in_list
from remanager.plans.permissions import (
    default_permissions,
    function_allowed,
    load_permissions,
    validate_permissions,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    peer_package = pytest.importorskip("bluesky_queueserver")
    from bluesky_queueserver.manager import profile_ops as peer

pytestmark = pytest.mark.filterwarnings("ignore")

PROFILE = Path(peer_package.__file__).parent / "profile_collection_sim"
LISTS = read_lists(PROFILE / "existing_plans_and_devices.yaml")


def all_rules(**changes: list[str | None]) -> dict[str, list[str | None]]:
    rules: dict[str, list[str | None]] = {
        "allowed_plans": [None],
        "forbidden_plans": [None],
        "allowed_devices": [None],
        "forbidden_devices": [None],
        "allowed_functions": [None],
        "forbidden_functions": [None],
    }
    return rules | changes


PERMISSIONS: list[dict[str, Any]] = [
    {"root": {}},
    {"root": all_rules()},
    {"root": all_rules(), "primary": {}},
    {"root": all_rules(), "primary": all_rules()},
    {"root": all_rules(), "primary": all_rules(allowed_plans=[], allowed_devices=[])},
    {"root": all_rules(), "primary": all_rules(allowed_plans=[":.*"], allowed_devices=[":?.*"])},
    {"root": all_rules(forbidden_plans=[":^count$"], forbidden_devices=[":+^det1$:?.*"]), "a": all_rules()},
    {"root": all_rules(allowed_plans=[":^(?!.*scan)"], allowed_devices=[":?^(?!.*det)"]), "a": all_rules()},
    {"root": all_rules(), "a": all_rules(allowed_plans=[":^(?!.*s)"], allowed_devices=[":+^(?!.*A):?.*"])},
    {"root": all_rules(), "a": all_rules(allowed_devices=["det1", "sim_bundle_A.dets", "no_such.thing"])},
    {"root": all_rules(), "a": all_rules(allowed_devices=["sim_bundle_A.dets.det_A", "sim_bundle_B.mtrs.x"])},
    {"root": all_rules(), "a": all_rules(forbidden_devices=["sim_bundle_A", "sim_bundle_B.dets.det_B"])},
    {"root": all_rules(), "a": all_rules(allowed_devices=[":?.*:depth=2"])},
    {"root": all_rules(), "a": all_rules(allowed_devices=[":^sim:?.*:depth=1"])},
    {"root": all_rules(), "a": all_rules(allowed_devices=[":-^sim:+dets:-det_A", "__MOTOR__:.*"])},
    {"root": all_rules(), "a": all_rules(allowed_devices=[":-^sim:?det_A$"])},
    {"root": all_rules(), "a": all_rules(allowed_devices=["__READABLE__:?.*"])},
    {"root": all_rules(), "a": all_rules(allowed_devices=["__DETECTOR__:?.*:depth=3"])},
    {"root": all_rules(), "a": all_rules(allowed_devices=["__FLYABLE__:.*"], forbidden_devices=[":flyer2"])},
    {"root": all_rules(), "a": all_rules(allowed_devices=[": ^ det1 $"], allowed_plans=["count", " scan"])},
    {"root": all_rules(), "a": all_rules(allowed_plans=["count", "scan"], forbidden_plans=["scan"])},
    {"root": all_rules(allowed_devices=[":^sim:?.*"]),
     "a": all_rules(allowed_devices=[":^det:?.*", ":.*:^dets$"])},
]  # fmt: skip


def peer_lists(permissions: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    plans, devices = peer.load_allowed_plans_and_devices(
        existing_plans=LISTS.plans, existing_devices=LISTS.devices, user_group_permissions=permissions
    )
    return {group: (plans[group], devices[group]) for group in plans}


@pytest.mark.parametrize("groups", PERMISSIONS)
def test_allowed_lists(groups: dict[str, Any]) -> None:
    permissions = {"user_groups": groups}
    validate_permissions(permissions)
    before = copy.deepcopy(LISTS)
    assert allowed_lists(LISTS.plans, LISTS.devices, permissions) == peer_lists(permissions)
    assert before == LISTS


def test_profile_permissions() -> None:
    permissions = load_permissions(PROFILE / "user_group_permissions.yaml")
    assert permissions == default_permissions()
    assert allowed_lists(LISTS.plans, LISTS.devices, permissions) == peer_lists(permissions)


def test_no_permissions_and_no_lists() -> None:
    assert allowed_lists(LISTS.plans, LISTS.devices, {}) == peer_lists({})
    plans, devices = peer.load_allowed_plans_and_devices(
        existing_plans={}, existing_devices={}, user_group_permissions=default_permissions()
    )
    ours = allowed_lists({}, {}, default_permissions())
    assert ours == {group: (plans[group], devices[group]) for group in plans}


PIECES = st.sampled_from(
    ["^det", "^sim", "A$", "dets", "^det_A$", ".*", "-^sim", "+.*", "-.*", "val", "mtrs", "^[xyz]$"]
)
DEVICE_PATTERNS = st.one_of(
    st.sampled_from(["det1", "sim_bundle_A", "sim_bundle_A.dets", "sim_bundle_B.mtrs.x", "no.such", None]),
    st.builds(
        lambda prefix, parts, tail: prefix + "".join(f":{part}" for part in parts) + tail,
        st.sampled_from(["", "__READABLE__", "__DETECTOR__", "__MOTOR__", "__FLYABLE__"]),
        st.lists(PIECES, min_size=1, max_size=3),
        st.sampled_from(["", ":?.*", ":?det.*A$", ":?.*:depth=1", ":?.*:depth=2"]),
    ),
)
DEVICE_RULES = st.lists(DEVICE_PATTERNS, max_size=3).map(
    lambda rules: sorted(rules, key=lambda rule: rule is not None)
)


@settings(max_examples=60, deadline=None)
@given(root_forbidden=DEVICE_RULES, allowed=DEVICE_RULES, forbidden=DEVICE_RULES)
def test_generated_device_patterns(
    root_forbidden: list[Any], allowed: list[Any], forbidden: list[Any]
) -> None:
    def once(rules: list[Any]) -> list[Any]:
        return rules if rules.count(None) < 2 else [None]

    permissions = {
        "user_groups": {
            "root": all_rules(forbidden_devices=once(root_forbidden)),
            "a": all_rules(allowed_devices=once(allowed), forbidden_devices=once(forbidden)),
        }
    }
    assert (
        allowed_lists({}, LISTS.devices, permissions)["a"][1]
        == (
            peer.load_allowed_plans_and_devices(
                existing_plans={}, existing_devices=LISTS.devices, user_group_permissions=permissions
            )[1]["a"]
        )
    )


@pytest.mark.parametrize("group", ["root", "primary", "test_user"])
@pytest.mark.parametrize(
    "name",
    [
        "function_sleep",
        "_private",
        "func_for_test_sleep",
        "unit_test1",
        "clear_buffer",
        "push_element",
        "x.y",
        "",
    ],
)
def test_functions(group: str, name: str) -> None:
    permissions = default_permissions()
    assert function_allowed(name, group, permissions) == peer.check_if_function_allowed(
        name, group_name=group, user_group_permissions=permissions
    )


@pytest.mark.parametrize(
    "permissions",
    [
        None,
        [],
        {},
        {"user_groups": {}},
        {"user_groups": []},
        {"user_groups": {"primary": {}}},
        {"user_groups": {"root": {}}, "other": 1},
        {"user_groups": {"root": None}},
        {"user_groups": {"root": {"allowed_things": []}}},
        {"user_groups": {"root": {"allowed_plans": None}}},
        {"user_groups": {"root": {"allowed_plans": "count"}}},
        {"user_groups": {"root": {"allowed_plans": [10]}}},
    ],
)
def test_refused_permissions(permissions: Any) -> None:
    with pytest.raises(Exception) as refusal:  # noqa: PT011
        peer.validate_user_group_permissions(permissions)
    with pytest.raises(InvalidParams) as ours:
        validate_permissions(permissions)
    peer_text = getattr(refusal.value, "message", str(refusal.value)).strip('"')
    assert peer_text.removeprefix("User group permissions: ") in str(ours.value)


@pytest.mark.parametrize(
    "name",
    ["det1", "count", "sim_bundle_A", "sim_bundle_A.dets.det_A", "sim_bundle_A.dets.x", "det1.", ".det1", "",
     " det1", "det1.val", "1det", ":^det1$", "a..b", 5, None, "sim_bundle_A.mtrs.z"],
)  # fmt: skip
def test_names_in_lists(name: Any) -> None:
    assert is_object_name_in_list(name, LISTS.devices) == peer._is_object_name_in_list(
        name, allowed_objects=LISTS.devices
    )


def test_lists_file_both_ways(tmp_path: Path) -> None:
    plans, devices = peer.load_existing_plans_and_devices(str(PROFILE / "existing_plans_and_devices.yaml"))
    assert ExistingLists(plans, devices) == LISTS
    write_lists(tmp_path / "ours.yaml", LISTS)
    assert peer.load_existing_plans_and_devices(str(tmp_path / "ours.yaml")) == (plans, devices)
    peer.save_existing_plans_and_devices(
        existing_plans=plans, existing_devices=devices, file_dir=str(tmp_path), file_name="peer.yaml"
    )
    assert read_lists(tmp_path / "peer.yaml") == LISTS
