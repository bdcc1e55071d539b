"""Checks of argument values against the types of parameter annotations.

Pydantic says whether a value fits a type. It also converts, for example ``"10"`` to ``10.0``; the plan gets
the value as it was sent, so a value that fits only after a conversion is refused.
"""

from __future__ import annotations

import enum
import json
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError, WrapValidator
from pydantic.errors import PydanticUserError
from pydantic_core import SchemaValidator

from remanager.plans.annotation_types import resolve_annotation

ERRORS_SHOWN = 10
_VALUE_LENGTH = 200
_INPUT_LENGTH = 50


class ValueTypes:
    """Makes validators for annotations; equal annotations share one.

    Plans repeat annotations, and lists of device names may be long.
    """

    def __init__(self) -> None:
        self._validators: dict[tuple[str, str], SchemaValidator | None] = {}

    def get(self, annotation: Mapping[str, Any], wrapper: str = "") -> SchemaValidator | None:
        """Return the validator for values of a parameter, or None where every value is good.

        Parameters
        ----------
        annotation : mapping
            ``annotation`` of the parameter description.
        wrapper : str
            ``"list"`` for ``*args``, ``"dict"`` for ``**kwargs``, else empty.

        Raises
        ------
        TypeError
            The annotation cannot be processed, or values of the type cannot be checked.
        """
        key = (json.dumps(annotation), wrapper)
        if key not in self._validators:
            self._validators[key] = _make_validator(annotation, wrapper)
        return self._validators[key]


def _make_validator(annotation: Mapping[str, Any], wrapper: str) -> SchemaValidator | None:
    value_type = resolve_annotation(annotation)
    if value_type is Any or value_type is object:
        return None
    if wrapper == "list":
        value_type = _positional(value_type)
    elif wrapper == "dict":
        value_type = types.GenericAlias(dict, (str, value_type))
    try:
        validator = TypeAdapter(value_type).validator
    except (PydanticUserError, TypeError, ValueError, NameError) as exc:
        reason = str(exc).partition("\n")[0].partition(". Set ")[0]
        raise TypeError(f"Values of type '{annotation['type']}' can not be checked: {reason}") from exc
    assert isinstance(validator, SchemaValidator)
    return validator


def _positional(value_type: Any) -> Any:
    """Return the type of ``*args``.

    Tuples of a fixed size may also be given as their values, one after the other: ``list_scan`` of bluesky
    declares ``*args: tuple[Movable, list]`` and is called with a motor, its positions, the next motor, ...
    """
    listed = types.GenericAlias(list, (value_type,))
    elements = get_args(value_type)
    if get_origin(value_type) is not tuple or not elements or ... in elements:
        return listed
    size = len(elements)

    def validate(values: Sequence[Any], validate_list: Callable[[Any], list[Any]]) -> list[Any]:
        if len(values) % size or all(isinstance(value, list | tuple) for value in values):
            return validate_list(values)
        groups = [tuple(values[start : start + size]) for start in range(0, len(values), size)]
        return [value for group in validate_list(groups) for value in group]

    return Annotated[listed, WrapValidator(validate)]


def check_types(
    plan_name: str, arguments: Mapping[str, Any], validators: Mapping[str, SchemaValidator]
) -> None:
    """Check bound arguments of a plan.

    Raises
    ------
    ValueError
        One or more values do not fit; the text names them.
    """
    errors: list[str] = []
    count = 0
    mismatches: list[str] = []
    for name, value in arguments.items():
        validator = validators.get(name)
        if validator is None:
            continue
        try:
            converted = validator.validate_python(value)
            if not same_type(value, converted):
                mismatches.append(_describe_mismatch(name, value, converted))
        except ValidationError as exc:
            count += exc.error_count()
            errors.extend(_describe_errors(name, exc, ERRORS_SHOWN - len(errors)))
    if errors:
        noun = "error" if count == 1 else "errors"
        raise ValueError("\n".join([f"{count} validation {noun} for {plan_name}", *errors]))
    if mismatches:
        raise ValueError("Error in argument types: " + "\n".join(mismatches))


def same_type(value: object, converted: object) -> bool:
    """Say whether a value was taken as it is.

    Elements are compared in pairs. An integer may stand for a float, and a name for the member of an
    enumeration. For mappings the keys are compared.
    """
    if value is converted:
        return True
    if isinstance(value, Iterable) and not isinstance(value, str) and isinstance(converted, Iterable):
        return all(same_type(*pair) for pair in zip(value, converted, strict=False))
    if isinstance(converted, enum.Enum):
        return bool(value == converted.value) or isinstance(converted, type(value))
    if isinstance(converted, float) and isinstance(value, int):
        return True
    return isinstance(converted, type(value))


def shorten(value: object, length: int = _VALUE_LENGTH) -> str:
    """Return the text of a value, cut in the middle where it is long."""
    text = str(value)
    if len(text) <= length:
        return text
    half = length // 2 - 2
    return f"{text[:half]}...{text[-half:]}"


def _describe_mismatch(name: str, value: object, converted: object) -> str:
    return (
        f"Incorrect parameter type: key='{name}', value='{shorten(value)}' ({type(value)}), "
        f"interpreted as '{shorten(converted)}' ({type(converted)})"
    )


def _describe_errors(name: str, exc: ValidationError, limit: int) -> list[str]:
    lines: list[str] = []
    for error in exc.errors(include_url=False, include_context=False)[: max(limit, 0)]:
        where = ".".join([name, *(str(part) for part in error["loc"])])
        value = error["input"]
        lines.append(
            f"{where}\n  {error['msg']} [type={error['type']}, "
            f"input_value={shorten(repr(value), _INPUT_LENGTH)}, input_type={type(value).__name__}]"
        )
    return lines
