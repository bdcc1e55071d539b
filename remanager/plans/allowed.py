"""Which of the existing plans and devices each user group may use.

The results share unchanged parts with the descriptions that they are made from: treat both as read-only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remanager.plans.patterns import DeviceTree, is_object_name_in_list, matching_devices, parse_name_pattern
from remanager.plans.permissions import ROOT_GROUP, Patterns, name_allowed, rules_for

Descriptions = dict[str, Any]
AllowedLists = dict[str, tuple[Descriptions, Descriptions]]
Path = tuple[str, ...]


def allowed_lists(
    existing_plans: Descriptions, existing_devices: Descriptions, permissions: Mapping[str, Any]
) -> AllowedLists:
    """Make the lists of allowed plans and devices of every user group.

    Parameters
    ----------
    existing_plans, existing_devices : dict
        Descriptions by name.
    permissions : mapping
        Valid user group permissions. Without any, the group ``root`` alone exists and may use everything.

    Returns
    -------
    dict
        ``{group: (plans, devices)}``. Devices that are not allowed but hold allowed subdevices stay in the
        tree with ``"excluded": True``. Lists of names in the annotations of plan parameters hold allowed
        names only.
    """
    if not permissions:
        return {ROOT_GROUP: (existing_plans, existing_devices)}
    groups = permissions["user_groups"]
    root_plans, root_devices = existing_plans, existing_devices
    if ROOT_GROUP in groups:
        root_plans = select_plans(existing_plans, *rules_for(permissions, ROOT_GROUP, "plans"))
        root_devices = select_devices(existing_devices, *rules_for(permissions, ROOT_GROUP, "devices"))
    lists: AllowedLists = {}
    for group in groups:
        plans, devices = root_plans, root_devices
        if group != ROOT_GROUP:
            plans = select_plans(root_plans, *rules_for(permissions, group, "plans"))
            devices = select_devices(root_devices, *rules_for(permissions, group, "devices"))
        lists[group] = (limit_annotations(plans, devices), devices)
    return lists


def select_plans(plans: Descriptions, allowed: Patterns, forbidden: Patterns) -> Descriptions:
    """Return the plans whose names the patterns allow."""
    return {name: plan for name, plan in plans.items() if name_allowed(name, allowed, forbidden)}


def select_devices(devices: Descriptions, allowed: Patterns, forbidden: Patterns) -> Descriptions:
    """Return the tree without the devices that the patterns do not allow."""
    allowed_paths = None if allowed and allowed[0] is None else _selected(devices, allowed)
    forbidden_paths = set() if forbidden and forbidden[0] is None else _selected(devices, forbidden)
    return _trim(devices, (), allowed_paths, forbidden_paths)


def _selected(devices: DeviceTree, patterns: Patterns) -> set[Path]:
    return {path for text in patterns for path in matching_devices(parse_name_pattern(text), devices)}


def _trim(devices: DeviceTree, parent: Path, allowed: set[Path] | None, forbidden: set[Path]) -> Descriptions:
    """Leave out excluded branches; ``allowed`` None allows every device."""
    kept: Descriptions = {}
    for name, device in devices.items():
        path = (*parent, name)
        is_allowed = (allowed is None or path in allowed) and path not in forbidden
        excluded = device.get("excluded", False) or not is_allowed
        components: Descriptions = {}
        if "components" in device:
            components = _trim(device["components"], path, allowed, forbidden)
        if excluded and not components:
            continue
        result = {key: value for key, value in device.items() if key != "components"}
        if components:
            result["components"] = components
        if excluded:
            result["excluded"] = True
        kept[name] = result
    return kept


def limit_annotations(plans: Descriptions, devices: Descriptions) -> Descriptions:
    """Leave only the names of the given plans and devices in the lists of the parameter annotations."""
    limiter = AnnotationLimiter(plans, devices)
    return {name: limiter.limit_plan(plan) for name, plan in plans.items()}


class AnnotationLimiter:
    """Takes names that are not allowed out of the lists in parameter annotations.

    The verdict on each name is remembered, as plans repeat the same names.

    Parameters
    ----------
    plans, devices : dict or None
        Allowed plans and devices; None allows all names.
    """

    def __init__(self, plans: Descriptions | None, devices: Descriptions | None) -> None:
        self._allowed = {"plans": plans, "devices": devices}
        self._verdicts: dict[str, dict[str, bool]] = {"plans": {}, "devices": {}}

    def limit_plan(self, plan: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the plan description with limited lists; the same object if it has no lists."""
        parameters = plan.get("parameters", ())
        if not any(_has_name_lists(parameter) for parameter in parameters):
            return plan
        return {**plan, "parameters": [self._limit_parameter(parameter) for parameter in parameters]}

    def _limit_parameter(self, parameter: Mapping[str, Any]) -> Mapping[str, Any]:
        if not _has_name_lists(parameter):
            return parameter
        annotation = dict(parameter["annotation"])
        for section, objects in self._allowed.items():
            if objects is not None and section in annotation:
                annotation[section] = {
                    type_name: [name for name in names if self._is_allowed(section, objects, name)]
                    for type_name, names in annotation[section].items()
                }
        return {**parameter, "annotation": annotation}

    def _is_allowed(self, section: str, objects: Descriptions, name: str) -> bool:
        verdicts = self._verdicts[section]
        verdict = verdicts.get(name)
        if verdict is None:
            verdict = verdicts[name] = is_object_name_in_list(name, objects)
        return verdict


def _has_name_lists(parameter: Mapping[str, Any]) -> bool:
    annotation = parameter.get("annotation", ())
    return "plans" in annotation or "devices" in annotation
