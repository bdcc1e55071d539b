"""Binding of arguments to the parameters of a plan, as its description gives them."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence
from typing import Any


def decode_default(text: str) -> Any:
    """Return the value of a default, which descriptions hold as the text of a literal.

    Raises
    ------
    ValueError
        The text is not a literal.
    """
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as exc:
        raise ValueError(f"Failed to decode the default value '{text}': {exc}") from exc


def signature_of(parameters: Sequence[Mapping[str, Any]]) -> inspect.Signature:
    """Return the signature of a plan, without annotations.

    Parameters
    ----------
    parameters : sequence of mappings
        ``parameters`` of the plan description; the keys ``name``, ``kind`` and ``default`` are used.

    Raises
    ------
    ValueError
        The descriptions do not make a signature.
    """
    return inspect.Signature([_parameter(description) for description in parameters])


def _parameter(description: Mapping[str, Any]) -> inspect.Parameter:
    if "name" not in description:
        raise ValueError(f"Description of parameter has no key 'name': {description}")
    try:
        kind = inspect._ParameterKind(description["kind"]["value"])
    except (KeyError, TypeError) as exc:
        raise ValueError(f"Description of parameter has no valid key 'kind': {description}") from exc
    default = inspect.Parameter.empty
    if "default" in description:
        default = decode_default(description["default"])
    return inspect.Parameter(description["name"], kind, default=default)


def bind_arguments(signature: inspect.Signature, item: Mapping[str, Any]) -> inspect.BoundArguments:
    """Bind ``args`` and ``kwargs`` of a plan item; both may be missing.

    Raises
    ------
    TypeError
        They do not fit the signature, with the text of :meth:`inspect.Signature.bind`.
    """
    args = item.get("args", ())
    kwargs = item.get("kwargs", {})
    # Some clients send an empty dictionary for 'no arguments'.
    if not isinstance(args, list | tuple) and args != {}:
        raise TypeError(f"Parameter 'args' is not a tuple or a list: {type(args)}")
    if not isinstance(kwargs, dict):
        raise TypeError(f"Parameter 'kwargs' is not a dictionary: {type(kwargs)}")
    return signature.bind(*args, **kwargs)
