"""Validation of plan items against the plans that a user group may use."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import SchemaValidator

from remanager.model.errors import InvalidItem
from remanager.plans.allowed import AnnotationLimiter
from remanager.plans.binding import Binder, signature_of
from remanager.plans.value_ranges import ValueRange, check_ranges, range_of
from remanager.plans.value_types import ValueTypes, check_types

_WRAPPERS = {
    inspect.Parameter.VAR_POSITIONAL.value: "list",
    inspect.Parameter.VAR_KEYWORD.value: "dict",
}


@dataclass(frozen=True, slots=True)
class _PlanCheck:
    """What is known of one plan.

    Attributes
    ----------
    binder : Binder
        Binds the arguments of an item to its parameters.
    validators, ranges : dict
        By name of parameter; parameters that take every value are left out.
    """

    binder: Binder
    validators: dict[str, SchemaValidator]
    ranges: dict[str, ValueRange]


class PlanValidator:
    """Validates plan items for one user group.

    What a plan needs is prepared when its first item comes, and kept: an item then costs some ten
    microseconds. Make a new validator when the lists change.

    Parameters
    ----------
    plans, devices : dict or None
        Allowed plans and devices of the group. Without plans every plan is accepted; without devices every
        device.
    """

    def __init__(self, plans: dict[str, Any] | None, devices: dict[str, Any] | None) -> None:
        self._plans = plans
        self._limiter = AnnotationLimiter(plans, devices)
        self._value_types = ValueTypes()
        self._checks: dict[str, _PlanCheck | str] = {}

    def validate(self, item: Mapping[str, Any]) -> None:
        """Check the name, the arguments and the metadata of a plan item.

        Raises
        ------
        InvalidItem
            The item is refused; the text says why.
        """
        try:
            if self._plans is not None:
                self._validate_call(item, self._plans)
            _validate_metadata(item)
        except (TypeError, ValueError) as exc:
            raise InvalidItem(f"Plan validation failed: {exc}") from exc

    def arguments(self, item: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments of a valid plan item by name of parameter; empty without plans."""
        check = self._checks.get(item["name"])
        return check.binder.arguments(item) if isinstance(check, _PlanCheck) else {}

    def _validate_call(self, item: Mapping[str, Any], plans: Mapping[str, Any]) -> None:
        if "name" not in item:
            raise ValueError("Plan name is not specified")
        name = item["name"]
        if not isinstance(name, str) or name not in plans:
            raise ValueError(f"Plan '{name}' is not in the list of allowed plans.")
        check = self._checks.get(name)
        if check is None:
            check = self._checks[name] = self._prepare(plans[name])
        if isinstance(check, str):
            raise ValueError(check)
        arguments = check.binder.arguments(item)
        if check.validators:
            check_types(name, arguments, check.validators)
        if check.ranges:
            check_ranges(arguments, check.ranges)

    def _prepare(self, plan: Mapping[str, Any]) -> _PlanCheck | str:
        """Return what checks a plan, or the reason why its description cannot be used."""
        validators: dict[str, SchemaValidator] = {}
        ranges: dict[str, ValueRange] = {}
        try:
            parameters = self._limiter.limit_plan(plan).get("parameters", [])
            binder = Binder(signature_of(parameters))
            for parameter in parameters:
                validator = self._validator_of(parameter)
                if validator is not None:
                    validators[parameter["name"]] = validator
                allowed = range_of(parameter)
                if allowed is not None:
                    ranges[parameter["name"]] = allowed
        except (TypeError, ValueError) as exc:
            return str(exc)
        return _PlanCheck(binder, validators, ranges)

    def _validator_of(self, parameter: Mapping[str, Any]) -> SchemaValidator | None:
        if "annotation" not in parameter:
            return None
        return self._value_types.get(parameter["annotation"], _WRAPPERS.get(parameter["kind"]["value"], ""))


def _validate_metadata(item: Mapping[str, Any]) -> None:
    metadata = item.get("meta", {})
    parts = metadata if isinstance(metadata, list | tuple) else [metadata]
    if not all(isinstance(part, dict) for part in parts):
        raise ValueError("Plan parameter 'meta' must be a dictionary or a list of dictionaries")
