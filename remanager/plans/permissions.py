"""User group permissions: which plans, devices and functions the members of a group may use.

Permissions are a dictionary ``{"user_groups": {group: rules}}``. The rules of a group are lists of name
patterns (:mod:`remanager.plans.patterns`) under six keys: ``allowed_plans``, ``forbidden_plans`` and the same
for ``devices`` and ``functions``. An allow list that starts with None allows all names, an empty one allows
none; a forbid list that starts with None or is empty forbids none. The rules of the group ``root``, which
must exist, apply to every group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from remanager.model.errors import InvalidParams, NotPermitted
from remanager.plans.patterns import matches_name, parse_name_pattern
from remanager.plans.yaml_io import read_yaml

ROOT_GROUP = "root"
Kind = Literal["plans", "devices", "functions"]
Patterns = Sequence[str | None]

_KINDS: tuple[Kind, ...] = ("plans", "devices", "functions")
_RULES: dict[str, Kind] = {
    f"{verdict}_{kind}": kind for kind in _KINDS for verdict in ("allowed", "forbidden")
}


def default_permissions() -> dict[str, Any]:
    """Return the permissions of a daemon that was given no file.

    Group ``root`` hides the names that start with an underscore, ``primary`` may use all other plans and
    devices, ``test_user`` may count and scan with a part of the simulated instrument.
    """
    return {
        "user_groups": {
            ROOT_GROUP: {
                "allowed_plans": [None],
                "forbidden_plans": [":^_"],
                "allowed_devices": [None],
                "forbidden_devices": [":^_:?.*"],
                "allowed_functions": [None],
                "forbidden_functions": [":^_"],
            },
            "primary": {
                "allowed_plans": [":.*"],
                "forbidden_plans": [None],
                "allowed_devices": [":?.*:depth=5"],
                "forbidden_devices": [None],
                "allowed_functions": ["function_sleep", ":^func_for_test"],
            },
            "test_user": {
                "allowed_plans": [":^count", ":scan$"],
                "forbidden_plans": [":^adaptive_scan$", ":^inner_product"],
                "allowed_devices": [":^det:?.*", ":^motor:?.*", ":^sim_bundle_A:?.*"],
                "forbidden_devices": [":^det[3-5]$:?.*", ":^motor\\d+$:?.*"],
                "allowed_functions": [
                    ":element$",
                    ":elements$",
                    "function_sleep",
                    "clear_buffer",
                    ":^unit_test.*$",
                ],
                "forbidden_functions": [":^_"],
            },
        }
    }


def validate_permissions(permissions: object) -> None:
    """Check the form of user group permissions and every pattern in them.

    Raises
    ------
    InvalidParams
        The permissions cannot be used; the text says where.
    """
    if not isinstance(permissions, dict):
        raise InvalidParams(f"User group permissions: Invalid type '{type(permissions)}', must be 'dict'")
    if "user_groups" not in permissions:
        raise InvalidParams("User group permissions: 'user_groups' is a required property")
    _refuse_unknown(permissions, {"user_groups"}, "user group permissions")
    groups = permissions["user_groups"]
    if not isinstance(groups, dict):
        raise InvalidParams(f"User group permissions: 'user_groups': {groups!r} is not of type 'object'")
    for group, rules in groups.items():
        _validate_rules(group, rules)
    if ROOT_GROUP not in groups:
        raise InvalidParams(f"User group permissions: Missing required user group: {ROOT_GROUP!r}")


def _validate_rules(group: object, rules: object) -> None:
    if not isinstance(group, str):
        raise InvalidParams(f"User group permissions: name of user group {group!r} is not a string")
    if not isinstance(rules, dict):
        raise InvalidParams(
            f"User group permissions: user group {group!r}: {rules!r} is not of type 'object'"
        )
    _refuse_unknown(rules, _RULES.keys(), f"user group {group!r}")
    for rule, patterns in rules.items():
        where = f"User group permissions: {rule!r} of user group {group!r}"
        if not isinstance(patterns, list | tuple):
            raise InvalidParams(f"{where}: {patterns!r} is not of type 'array'")
        for number, pattern in enumerate(patterns):
            _validate_pattern(where, _RULES[rule], number, pattern)


def _refuse_unknown(mapping: Mapping[Any, Any], known: Any, where: str) -> None:
    unknown = [key for key in mapping if key not in known]
    if unknown:
        names = ", ".join(repr(key) for key in unknown)
        verb = "was" if len(unknown) == 1 else "were"
        raise InvalidParams(f"Additional properties are not allowed ({names} {verb} unexpected) in {where}")


def _validate_pattern(where: str, kind: Kind, number: int, pattern: object) -> None:
    if pattern is None:
        if number:
            raise InvalidParams(f"{where}: null may only be the first element of the list")
        return
    if not isinstance(pattern, str):
        raise InvalidParams(f"{where}: {pattern!r} is not of type 'string', 'null'")
    try:
        parsed = parse_name_pattern(pattern)
        if kind != "devices":
            matches_name(parsed, "")
    except ValueError as exc:
        raise InvalidParams(f"{where}: {exc}") from exc


def load_permissions(path: str | Path) -> dict[str, Any]:
    """Read user group permissions from a YAML file.

    Raises
    ------
    InvalidParams
        The file does not exist, is not YAML, or does not hold valid permissions.
    """
    try:
        permissions = read_yaml(path)
        validate_permissions(permissions)
    except (OSError, ValueError, InvalidParams) as exc:
        raise InvalidParams(f"Error while loading user group permissions from file '{path}': {exc}") from exc
    result: dict[str, Any] = permissions
    return result


def rules_for(permissions: Mapping[str, Any], group: str, kind: Kind) -> tuple[Patterns, Patterns]:
    """Return the allow list and the forbid list of one group for one kind of names."""
    rules = permissions["user_groups"][group]
    return rules.get(f"allowed_{kind}", ()), rules.get(f"forbidden_{kind}", ())


def name_allowed(name: str, allowed: Patterns, forbidden: Patterns) -> bool:
    """Say whether lists of patterns allow the name of a plan or function."""
    return _listed(name, allowed, everything=True) and not _listed(name, forbidden, everything=False)


def _listed(name: str, patterns: Patterns, *, everything: bool) -> bool:
    if patterns and patterns[0] is None:
        return everything
    return any(matches_name(parse_name_pattern(pattern), name) for pattern in patterns)


def function_allowed(name: str, group: str, permissions: Mapping[str, Any]) -> bool:
    """Say whether the members of a group may execute a function.

    Parameters
    ----------
    permissions : mapping
        Valid permissions; an empty mapping allows nothing.

    Raises
    ------
    NotPermitted
        No permissions are defined for the group.
    """
    if not permissions:
        return False
    if group not in permissions["user_groups"]:
        raise NotPermitted(f"No permissions are defined for user group {group!r}")
    return all(
        name_allowed(name, *rules_for(permissions, owner, "functions")) for owner in (ROOT_GROUP, group)
    )
