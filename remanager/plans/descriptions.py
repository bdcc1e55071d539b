"""Descriptions of plans, in the form that clients know from the RE Manager protocol."""

from __future__ import annotations

import ast
import functools
import inspect
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields
from typing import Any

from remanager.plans.annotation_text import Conversion, annotation_text, check_annotation
from remanager.plans.annotations import custom_annotation
from remanager.plans.docstrings import Docstring, parse_docstring
from remanager.plans.patterns import DeviceTree, matches_name, matching_devices, parse_name_pattern
from remanager.plans.registry import registered_plans

logger = logging.getLogger(__name__)

Plan = Callable[..., Any]
PlanDescription = dict[str, Any]
ParameterDescription = dict[str, Any]

_CONVERT_NAMES = ("convert_plan_names", "convert_device_names")
_RANGE = ("min", "max", "step")


class PlanDescriptionError(ValueError):
    """A plan cannot be described; the text names the plan and says why."""


def is_plan(obj: object) -> bool:
    """Tell whether an object is a plan: a generator function or marked by ``bluesky.utils.plan``."""
    return inspect.isgeneratorfunction(obj) or getattr(obj, "_is_plan_", False) is True


def describe_plans(
    plans: Mapping[str, Plan], devices: DeviceTree, *, ignore_invalid_plans: bool = False
) -> dict[str, PlanDescription]:
    """Describe plans.

    Parameters
    ----------
    plans : mapping
        Plans by name. Plans that are registered as excluded are left out.
    devices : mapping
        Descriptions of the existing devices, in which device patterns are looked up.
    ignore_invalid_plans : bool
        Leave out plans that cannot be described, with a warning.

    Returns
    -------
    dict
        Descriptions by name, see :func:`describe_plan`.

    Raises
    ------
    PlanDescriptionError
        Plans cannot be described and must not be left out. All of them are named.
    """
    registered = registered_plans()
    listed = {
        name: plan for name, plan in plans.items() if name not in registered or not registered[name].exclude
    }
    descriptions: dict[str, PlanDescription] = {}
    errors: list[PlanDescriptionError] = []
    for name, plan in listed.items():
        try:
            descriptions[name] = describe_plan(plan, name, devices=devices, plan_names=listed)
        except PlanDescriptionError as exc:
            errors.append(exc)
    if errors and not ignore_invalid_plans:
        advice = "Correct these plans, or leave them out of the list with --ignore-invalid-plans ON"
        raise PlanDescriptionError("\n".join([*map(str, errors), advice])) from errors[0].__cause__
    for error in errors:
        logger.warning("Plan is left out of the list: %s", error)
    return descriptions


def describe_plan(
    plan: Plan, name: str, *, devices: DeviceTree, plan_names: Collection[str]
) -> PlanDescription:
    """Describe one plan.

    Texts, types and default values come from the annotation decorator, where it gives them, else from the
    signature and the docstring.

    Parameters
    ----------
    plan : callable
        The plan.
    name : str
        Its name in the namespace.
    devices : mapping
        Descriptions of existing devices.
    plan_names : collection of str
        Names of existing plans.

    Returns
    -------
    dict
        ``name``, ``module``, ``description``, ``properties`` (``is_generator``) and ``parameters``: a list of
        dictionaries with ``name``, ``kind`` and optionally ``description``, ``annotation`` (``type``,
        ``devices``, ``plans``, ``enums``), ``default``, ``default_defined_in_decorator``, ``min``, ``max``,
        ``step``, ``convert_plan_names``, ``convert_device_names``, ``eval_expressions``. Defaults are Python
        literals as text, numbers are text.

    Raises
    ------
    PlanDescriptionError
        A default value is no literal, or an annotation makes no sense.
    """
    try:
        function = _underlying_function(plan)
        custom = custom_annotation(function)
        docstring = parse_docstring(getattr(function, "__doc__", None))
        description: PlanDescription = {
            "name": getattr(plan, "__name__", name),
            "properties": {"is_generator": inspect.isgeneratorfunction(plan)},
            "parameters": [],
        }
        module = getattr(function, "__module__", None)
        if module and module != "<run_path>":
            description["module"] = module
        if text := custom.get("description") or docstring.summary:
            description["description"] = text
        for parameter in inspect.signature(plan).parameters.values():
            describer = _ParameterDescriber(
                parameter, custom.get("parameters", {}).get(parameter.name, {}), docstring
            )
            hint = _resolved_hint(function, parameter.annotation)
            description["parameters"].append(describer.describe(hint, devices, plan_names))
    except Exception as exc:
        # Signatures, representations and annotations are code of the profile, which may raise anything.
        raise PlanDescriptionError(f"Failed to create description of plan '{name}': {exc}") from exc
    return description


def _underlying_function(plan: Plan) -> Plan:
    function = plan
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _resolved_hint(function: Plan, hint: object) -> object:
    """Resolve a type hint that is text, as ``from __future__ import annotations`` leaves it."""
    if not isinstance(hint, str):
        return hint
    try:
        return eval(hint, getattr(inspect.unwrap(function), "__globals__", {}))
    except Exception:  # noqa: BLE001 - a hint that cannot be evaluated counts as none
        return inspect.Parameter.empty


class _ParameterDescriber:
    """Describes one parameter; ``custom`` is what the annotation decorator says of it."""

    def __init__(self, parameter: inspect.Parameter, custom: Mapping[str, Any], docstring: Docstring) -> None:
        self._parameter = parameter
        self._custom = custom
        self._docstring = docstring

    def describe(
        self, hint: object, devices: DeviceTree, plan_names: Collection[str]
    ) -> ParameterDescription:
        name, kind = self._parameter.name, self._parameter.kind
        result: ParameterDescription = {"name": name, "kind": {"name": kind.name, "value": kind.value}}
        result.update({key: self._custom[key] for key in _CONVERT_NAMES if key in self._custom})
        annotation = expand_annotation(self._custom, devices, plan_names)
        if annotation is None and hint is not inspect.Parameter.empty:
            text = annotation_text(hint)
            annotation = None if text is None else {"type": text}
        result.update(self._default())
        if text := self._custom.get("description") or self._docstring.parameters.get(name):
            result["description"] = text
        if annotation is not None:
            result["annotation"] = annotation
            for key in _asked_for(check_annotation(annotation)):
                result.setdefault(key, True)
        for key in _RANGE:
            if self._custom.get(key) is not None:
                result[key] = self._number(key)
        return result

    def _default(self) -> ParameterDescription:
        name, in_header = self._parameter.name, self._parameter.default
        in_decorator = self._custom.get("default")
        if in_decorator is not None:
            text = self._literal(in_decorator, "default value in decorator")
            if in_header is inspect.Parameter.empty:
                raise ValueError(
                    f"Missing default value for the parameter '{name}' in the plan signature: "
                    f"{text} in the annotation decorator can only replace a default value of the header"
                )
            return {"default": text, "default_defined_in_decorator": True}
        if in_header is inspect.Parameter.empty:
            return {}
        return {"default": self._literal(in_header, "default value")}

    def _literal(self, value: object, role: str) -> str:
        text = repr(value)
        try:
            ast.literal_eval(text)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as exc:
            raise ValueError(
                f"Parameter '{self._parameter.name}': The expression ({text}) can not be evaluated with "
                f"'ast.literal_eval()': unsupported type of {role}."
            ) from exc
        return text

    def _number(self, key: str) -> str:
        number = float(self._literal(self._custom[key], f"{key} value in decorator"))
        return str(int(number) if number == int(number) else number)


def _asked_for(conversion: Conversion) -> list[str]:
    return [field.name for field in fields(conversion) if getattr(conversion, field.name)]


def expand_annotation(
    custom: Mapping[str, Any], devices: DeviceTree, plan_names: Collection[str]
) -> dict[str, Any] | None:
    """Make the annotation of a parameter from what the decorator says of it.

    Patterns are replaced by the names of existing plans and devices that they match. Plain names are kept,
    whether they exist or not.

    Returns
    -------
    dict or None
        ``type`` and, where given, ``devices``, ``plans``, ``enums``; None if the decorator gives no type.
    """
    if "annotation" not in custom:
        return None
    annotation: dict[str, Any] = {"type": custom["annotation"]}
    if "devices" in custom:
        annotation["devices"] = {
            name: _sorted_names(_device_names(text, devices) for text in patterns)
            for name, patterns in custom["devices"].items()
        }
    if "plans" in custom:
        annotation["plans"] = {
            name: _sorted_names(_plan_names(text, plan_names) for text in patterns)
            for name, patterns in custom["plans"].items()
        }
    if "enums" in custom:
        annotation["enums"] = {name: list(items) for name, items in custom["enums"].items()}
    return annotation


def _device_names(text: str, devices: DeviceTree) -> list[str]:
    pattern = parse_name_pattern(text)
    if not pattern.uses_regex:
        return [".".join(pattern.names)]
    return [".".join(path) for path in matching_devices(pattern, devices)]


def _plan_names(text: str, plan_names: Collection[str]) -> list[str]:
    pattern = parse_name_pattern(text)
    component = pattern.components[0]
    if len(pattern.components) != 1:
        raise ValueError(
            f"List element describing a plan may contain only one component: {list(pattern.names)}"
        )
    if component.depth is not None:
        raise ValueError(f"Depth specification can not be part of the name pattern for a plan: {text!r}")
    if pattern.device_type:
        raise ValueError(f"Device type can not be included in the name pattern for a plan: {text!r}")
    if not pattern.uses_regex:
        return [component.text]
    return [name for name in plan_names if matches_name(pattern, name)]


def _sorted_names(groups: Iterable[list[str]]) -> list[str]:
    names = {name for group in groups for name in group}
    return sorted(names, key=lambda name: (name.upper(), name[0].islower(), name))
