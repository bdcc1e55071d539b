"""Turning queue items into calls: names of plans, devices and functions become the objects of a namespace."""

from __future__ import annotations

import builtins
import inspect
import logging
import re
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from remanager.model.errors import InvalidItem, NotFound, NotPermitted
from remanager.plans.binding import decode_default
from remanager.plans.patterns import DeviceTree, is_object_name_in_list, parse_name_pattern
from remanager.plans.permissions import function_allowed
from remanager.plans.validation import PlanValidator

logger = logging.getLogger(__name__)

_DOTTED_NAME = re.compile(r"[_A-Za-z][_A-Za-z0-9]*(\.[_A-Za-z][_A-Za-z0-9]*)*")
_MISSING = object()


class PreparedFunction(TypedDict):
    """A call: ``callable(*args, **kwargs)``."""

    callable: Callable[..., Any]
    args: list[Any]
    kwargs: dict[str, Any]


class PreparedPlan(PreparedFunction):
    """A call that makes a plan; ``meta`` is metadata for its runs."""

    meta: dict[str, Any]


def prepare_plan(
    item: Mapping[str, Any],
    *,
    plans_ns: Mapping[str, Any],
    devices_ns: Mapping[str, Any],
    allowed_plans: Mapping[str, dict[str, Any]],
    allowed_devices: Mapping[str, dict[str, Any]],
    ns: Mapping[str, Any],
    validators: dict[str, PlanValidator] | None = None,
) -> PreparedPlan:
    """Make the call for a plan item.

    Parameters
    ----------
    item : mapping
        ``name``, ``user_group`` and optionally ``args``, ``kwargs``, ``meta``. It is not changed.
    plans_ns, devices_ns : mapping
        Plans and devices as they were when the lists were made.
    allowed_plans, allowed_devices : mapping
        Descriptions by name, for each user group.
    ns : mapping
        The namespace; its present objects are preferred.
    validators : dict, optional
        Where validators are kept, by user group. Pass the same dictionary as long as the lists stay the same.

    Returns
    -------
    PreparedPlan
        Callable, arguments and metadata.

    Raises
    ------
    InvalidItem
        The plan is not allowed, does not exist, or its parameters are wrong.
    """
    name = item["name"]
    if "user_group" not in item:
        raise InvalidItem(f"No user group is specified in parameters for the plan '{name}'")
    group = item["user_group"]
    if group not in allowed_plans or group not in allowed_devices:
        raise InvalidItem(f"Lists of allowed plans and devices is not defined for the user group '{group}'")
    validators = {} if validators is None else validators
    if group not in validators:
        validators[group] = PlanValidator(allowed_plans[group], allowed_devices[group])
    validators[group].validate(item)
    plan = ns.get(name, plans_ns.get(name)) if name in plans_ns else None
    if plan is None:
        raise InvalidItem(f"Plan '{name}' is not allowed or does not exist")
    names = _Names(allowed_plans[group], allowed_devices[group], {**devices_ns, **plans_ns}, ns)
    args, kwargs = _convert_arguments(item, plan, allowed_plans[group][name]["parameters"], names)
    return {"callable": plan, "args": args, "kwargs": kwargs, "meta": _merged_metadata(item.get("meta", {}))}


def prepare_function(
    item: Mapping[str, Any], ns: Mapping[str, Any], permissions: Mapping[str, Any] | None
) -> PreparedFunction:
    """Make the call for a function item.

    Parameters
    ----------
    item : mapping
        ``name``, ``user_group`` and optionally ``args``, ``kwargs``.
    ns : mapping
        The namespace.
    permissions : mapping or None
        User group permissions; None allows every function.

    Raises
    ------
    InvalidItem
        Name or group are missing, or the object is no plain function.
    NotPermitted
        The group may not call the function.
    NotFound
        The namespace does not hold it.
    """
    if "name" not in item:
        raise InvalidItem(f"No function name is specified: {item!r}")
    if "user_group" not in item:
        raise InvalidItem(f"No user group is specified in parameters for the function: {item!r}")
    name, group = item["name"], item["user_group"]
    if permissions is not None and not function_allowed(name, group, permissions):
        raise NotPermitted(f"Function {name!r} is not allowed for users from {group!r} user group")
    if name not in ns:
        raise NotFound(f"Function {name!r} is not found in the worker namespace")
    function = ns[name]
    if not callable(function):
        raise InvalidItem(f"Object {name!r} defined in worker namespace is not callable")
    if inspect.isgeneratorfunction(function):
        raise InvalidItem(f"Object {name!r} defined in worker namespace is a generator function")
    return {
        "callable": function,
        "args": list(item.get("args", [])),
        "kwargs": dict(item.get("kwargs", {})),
    }


def _convert_arguments(
    item: Mapping[str, Any],
    plan: Callable[..., Any],
    parameters: Sequence[Mapping[str, Any]],
    names: _Names,
) -> tuple[list[Any], dict[str, Any]]:
    signature = inspect.signature(plan)
    descriptions = {description["name"]: description for description in parameters}
    if extra := set(descriptions) - set(signature.parameters):
        raise InvalidItem(f"Plan description in the list of allowed plans has extra parameters {extra}")
    try:
        bound = signature.bind(*item.get("args", ()), **item.get("kwargs", {}))
    except TypeError as exc:
        raise InvalidItem(f"Arguments do not fit the plan '{item['name']}' in the namespace: {exc}") from exc
    # A default value of the annotation decorator replaces the one of the plan header.
    defaults = {
        name: decode_default(description["default"])
        for name, description in descriptions.items()
        if "default" in description
        and description.get("default_defined_in_decorator", False)
        and name not in bound.arguments
    }
    for name, value in bound.arguments.items():
        bound.arguments[name] = names.convert(value, descriptions.get(name, {}))
    defaults = {name: names.convert(value, descriptions[name]) for name, value in defaults.items()}
    return list(bound.args), {**bound.kwargs, **defaults}


def _merged_metadata(metadata: Any) -> dict[str, Any]:
    """Merge metadata given as a list of dictionaries; the first ones win."""
    if isinstance(metadata, list | tuple):
        return dict(ChainMap(*metadata))
    return dict(metadata)


@dataclass(frozen=True, slots=True)
class _Names:
    """Knows which names a user group may use and what they stand for."""

    allowed_plans: DeviceTree
    allowed_devices: DeviceTree
    objects: Mapping[str, Any]
    ns: Mapping[str, Any]

    def convert(self, value: Any, description: Mapping[str, Any]) -> Any:
        """Replace the names in the value of a parameter, as the parameter's description wants it."""
        return self._replace(value, self._selection(description))

    def _selection(self, description: Mapping[str, Any]) -> _Selection:
        annotation = description.get("annotation")
        all_plans = description.get("convert_plan_names", None if annotation else True)
        all_devices = description.get("convert_device_names", None if annotation else True)
        trees: list[DeviceTree] = []
        if all_plans:
            trees.append(self.allowed_plans)
        if all_devices:
            trees.append(self.allowed_devices)
        listed: set[str] = set()
        if annotation and all_plans is not False:
            listed |= _allowed_names(annotation.get("plans", {}), self.allowed_plans)
        if annotation and all_devices is not False:
            listed |= _allowed_names(annotation.get("devices", {}), self.allowed_devices)
        return _Selection(listed, trees, description.get("eval_expressions", False))

    def _replace(self, value: Any, selection: _Selection) -> Any:
        if selection.is_empty:
            return value
        if isinstance(value, str):
            return self._object(value, selection)
        if isinstance(value, Mapping):
            return {key: self._replace(part, selection) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self._replace(part, selection) for part in value]
        return value

    def _object(self, name: str, selection: _Selection) -> Any:
        if name in selection:
            path = parse_name_pattern(name).names
            if path[0] not in self.objects:
                return name
            found = _walk(self.ns.get(path[0], self.objects[path[0]]), path[1:])
            if found is _MISSING or found is None:
                logger.error("Device '%s' is not found in the namespace", name)
                return name
            return found
        if selection.eval_expressions and _DOTTED_NAME.fullmatch(name):
            first, *rest = name.split(".")
            found = _walk(self.ns.get(first, getattr(builtins, first, _MISSING)), rest)
            return name if found is _MISSING else found
        return name


@dataclass(frozen=True, slots=True)
class _Selection:
    """Which strings in a value are names."""

    listed: set[str]
    trees: list[DeviceTree]
    eval_expressions: bool

    @property
    def is_empty(self) -> bool:
        return not (self.listed or self.trees or self.eval_expressions)

    def __contains__(self, name: str) -> bool:
        return name in self.listed or any(is_object_name_in_list(name, tree) for tree in self.trees)


def _allowed_names(lists: Mapping[str, Sequence[str]], allowed: DeviceTree) -> set[str]:
    return {name for names in lists.values() for name in names if is_object_name_in_list(name, allowed)}


def _walk(obj: Any, attributes: Sequence[str]) -> Any:
    """Follow attributes; ``_MISSING`` if one does not exist."""
    for attribute in attributes:
        obj = getattr(obj, attribute, _MISSING)
        if obj is _MISSING:
            break
    return obj
