"""Custom annotations of plan parameters: the decorator that start-up code uses, and how they are read.

The annotation is kept in the function attribute ``_custom_parameter_annotation_``. The decorator of the
package ``bluesky_queueserver`` uses the same attribute and the same form, so both kinds are understood.
"""

from __future__ import annotations

import copy
import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

_ATTRIBUTE = "_custom_parameter_annotation_"
_TYPE_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
F = TypeVar("F", bound=Callable[..., Any])


def parameter_annotation_decorator(annotation: Mapping[str, Any]) -> Callable[[F], F]:
    """Attach a description and parameter annotations to a plan.

    What the decorator says overrides type hints, default values and docstring of the function.

    Parameters
    ----------
    annotation : dict
        Optional keys: ``description`` (str) and ``parameters``, a dictionary that maps parameter names to
        dictionaries with the optional keys ``description`` (str), ``annotation`` (the type as text),
        ``devices``, ``plans``, ``enums`` (types used in ``annotation``: names and patterns, by type name),
        ``default``, ``min``, ``max``, ``step`` (numbers), ``convert_plan_names``, ``convert_device_names``.

    Returns
    -------
    callable
        Decorator that returns a function with the same behaviour and the annotation attached.

    Raises
    ------
    ValueError
        The annotation has unknown keys, values of a wrong type, or names unknown parameters.
    """
    annotation = copy.deepcopy(annotation)
    _check_annotation(annotation)

    def decorate(function: F) -> F:
        unknown = [
            name
            for name in annotation.get("parameters", {})
            if name not in inspect.signature(function).parameters
        ]
        if unknown:
            raise ValueError(
                f"Custom annotation parameters {unknown} are not "
                f"in the signature of function '{function.__name__}'."
            )
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return (yield from function(*args, **kwargs))

        else:

            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return function(*args, **kwargs)

        setattr(wrapper, _ATTRIBUTE, annotation)
        return cast(F, wrapper)

    return decorate


def custom_annotation(plan: object) -> Mapping[str, Any]:
    """Return the annotation that a decorator attached to a plan; empty if there is none."""
    return getattr(plan, _ATTRIBUTE, None) or {}


def _check_annotation(annotation: Mapping[str, Any]) -> None:
    if not isinstance(annotation, dict):
        raise ValueError(f"Custom annotation must be a dictionary: {annotation!r}")
    if unknown := sorted(set(annotation) - {"description", "parameters"}):
        raise ValueError(f"Custom annotation contains unsupported keys: {unknown}")
    if not isinstance(annotation.get("description", ""), str):
        raise ValueError(f"Custom annotation: 'description' must be a string: {annotation['description']!r}")
    parameters = annotation.get("parameters", {})
    if not isinstance(parameters, dict):
        raise ValueError(f"Custom annotation: 'parameters' must be a dictionary: {parameters!r}")
    for name, entry in parameters.items():
        _check_parameter(name, entry)


def _check_parameter(name: object, entry: object) -> None:
    if not isinstance(entry, dict):
        raise ValueError(f"Custom annotation of parameter {name!r} must be a dictionary: {entry!r}")
    for key, value in entry.items():
        if key not in _KINDS:
            raise ValueError(f"Custom annotation of parameter {name!r} contains unsupported key {key!r}")
        kind, accepts = _KINDS[key]
        if not accepts(value):
            raise ValueError(f"Custom annotation of parameter {name!r}: {key!r} must be {kind}: {value!r}")


def _is_string(value: object) -> bool:
    return isinstance(value, str)


def _is_boolean(value: object) -> bool:
    return isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_named_lists(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str)
        and _TYPE_NAME.fullmatch(name)
        and isinstance(items, (list, tuple))
        and all(isinstance(item, str) for item in items)
        for name, items in value.items()
    )


_Kind = tuple[str, Callable[[object], bool]]
_STRING: _Kind = ("a string", _is_string)
_NUMBER: _Kind = ("a number", _is_number)
_BOOLEAN: _Kind = ("a boolean", _is_boolean)
_NAMED_LISTS: _Kind = ("a dictionary of lists of strings", _is_named_lists)
_KINDS: dict[str, _Kind] = {
    "description": _STRING,
    "annotation": _STRING,
    "devices": _NAMED_LISTS,
    "plans": _NAMED_LISTS,
    "enums": _NAMED_LISTS,
    "default": ("any value", lambda value: True),
    "min": _NUMBER,
    "max": _NUMBER,
    "step": _NUMBER,
    "convert_plan_names": _BOOLEAN,
    "convert_device_names": _BOOLEAN,
}
