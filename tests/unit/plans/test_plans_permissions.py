from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from remanager.model.errors import InvalidParams, NotPermitted
from remanager.plans.permissions import (
    default_permissions,
    function_allowed,
    load_permissions,
    name_allowed,
    validate_permissions,
)


def test_default_permissions_are_valid_and_fresh() -> None:
    first = default_permissions()
    validate_permissions(first)
    first["user_groups"].clear()
    assert set(default_permissions()["user_groups"]) == {"root", "primary", "test_user"}


@pytest.mark.parametrize(
    ("permissions", "text"),
    [
        ([], "Invalid type '<class 'list'>', must be 'dict'"),
        ({}, "'user_groups' is a required property"),
        ({"user_groups": {}}, "Missing required user group: 'root'"),
        (
            {"user_groups": {"root": {}}, "x": 1},
            r"Additional properties are not allowed \('x' was unexpected\)",
        ),
        ({"user_groups": {"root": {"x": [], "y": []}}}, r"\('x', 'y' were unexpected\) in user group 'root'"),
        ({"user_groups": {"root": {"allowed_plans": 5}}}, "5 is not of type 'array'"),
        ({"user_groups": {"root": {"allowed_plans": [5]}}}, "5 is not of type 'string', 'null'"),
        ({"user_groups": {"root": {"allowed_plans": ["a", None]}}}, "null may only be the first element"),
        ({"user_groups": {"root": {"forbidden_plans": [":[a"]}}}, "'forbidden_plans' of user group 'root'"),
        ({"user_groups": {"root": {"allowed_functions": ["a.b"]}}}, "only one component"),
        ({"user_groups": {"root": {}, 5: {}}}, "name of user group 5 is not a string"),
    ],
)
def test_refusals(permissions: Any, text: str) -> None:
    with pytest.raises(InvalidParams, match=text):
        validate_permissions(permissions)


@pytest.mark.parametrize(
    ("allowed", "forbidden", "expected"),
    [
        ([], [], False),
        ([None], [], True),
        ([None], [None], True),
        ([None], ["count"], False),
        (["count"], [None], True),
        ([":^c"], [":t$"], False),
        (["scan"], [], False),
    ],
)
def test_name_allowed(allowed: list[str | None], forbidden: list[str | None], expected: bool) -> None:
    assert name_allowed("count", allowed, forbidden) is expected


def test_root_rules_apply_to_every_group() -> None:
    permissions = {
        "user_groups": {
            "root": {"allowed_functions": [None], "forbidden_functions": [":^_"]},
            "primary": {"allowed_functions": [None]},
            "guests": {},
        }
    }
    assert function_allowed("clear", "primary", permissions)
    assert not function_allowed("_clear", "primary", permissions)
    assert not function_allowed("clear", "guests", permissions)
    assert not function_allowed("clear", "primary", {})
    with pytest.raises(NotPermitted, match="No permissions are defined for user group 'others'"):
        function_allowed("clear", "others", permissions)


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "user_group_permissions.yaml"
    path.write_text(yaml.safe_dump(default_permissions()))
    assert load_permissions(path) == default_permissions()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "No such file"),
        ("a: [", "invalid YAML"),
        ("", "Invalid type"),
        ("user_groups: {primary: {}}", "Missing required user group: 'root'"),
        ("x: !!python/object/apply:os.getcwd []", "invalid YAML"),
    ],
)
def test_load_refusals(tmp_path: Path, content: str | None, text: str) -> None:
    path = tmp_path / "permissions.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidParams, match=text) as refusal:
        load_permissions(path)
    assert str(path) in str(refusal.value)
