"""Binding of arguments to the parameters of a plan or a function, as its description gives them."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

_POSITIONAL_ONLY = inspect.Parameter.POSITIONAL_ONLY
_POSITIONAL_OR_KEYWORD = inspect.Parameter.POSITIONAL_OR_KEYWORD
_KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY
_VAR_POSITIONAL = inspect.Parameter.VAR_POSITIONAL
_VAR_KEYWORD = inspect.Parameter.VAR_KEYWORD
ANY_NUMBER = (_VAR_POSITIONAL, _VAR_KEYWORD)
"""Kinds of parameters that take any number of arguments, none included."""


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


class Binder:
    """Binds the arguments of items as :meth:`inspect.Signature.bind` does.

    What fits a signature without ``**kwargs`` and positional-only parameters is bound here, three times as
    fast; the rest, and every refusal, is left to the signature.

    Parameters
    ----------
    signature : inspect.Signature
        Parameters of the plan or function.
    """

    __slots__ = (
        "_by_keyword",
        "_fewest",
        "_is_plain",
        "_most",
        "_positional",
        "_required",
        "_rest",
        "_signature",
    )

    def __init__(self, signature: inspect.Signature) -> None:
        parameters = signature.parameters.values()
        kinds = {parameter.kind for parameter in parameters}
        self._signature = signature
        self._is_plain = kinds.isdisjoint((_VAR_KEYWORD, _POSITIONAL_ONLY))
        self._positional = tuple(p.name for p in parameters if p.kind is _POSITIONAL_OR_KEYWORD)
        self._rest = next((p.name for p in parameters if p.kind is _VAR_POSITIONAL), None)
        self._by_keyword = tuple(p.name for p in parameters if p.kind is not _VAR_POSITIONAL)
        required = [p for p in parameters if p.default is p.empty and p.kind not in ANY_NUMBER]
        self._required = frozenset(p.name for p in required)
        # Without keywords, the number of arguments says whether they fit.
        by_position = [p for p in parameters if p.kind in (_POSITIONAL_ONLY, _POSITIONAL_OR_KEYWORD)]
        self._fewest = math.inf if any(p.kind is _KEYWORD_ONLY for p in required) else len(required)
        self._most = math.inf if self._rest is not None else len(by_position)

    def arguments(self, item: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments by name, in the order of the signature.

        Parameters
        ----------
        item : mapping
            Its keys ``args`` and ``kwargs`` are used; both may be missing.

        Raises
        ------
        TypeError
            They do not fit the signature, with the text of :meth:`inspect.Signature.bind`.
        """
        args = item.get("args", ())
        kwargs = item.get("kwargs", {})
        # Some clients send an empty dictionary for 'no arguments'.
        if not isinstance(args, (list, tuple)) and args != {}:
            raise TypeError(f"Parameter 'args' is not a tuple or a list: {type(args)}")
        if not isinstance(kwargs, dict):
            raise TypeError(f"Parameter 'kwargs' is not a dictionary: {type(kwargs)}")
        bound = self._bind_plain(args, kwargs) if self._is_plain else None
        return self._signature.bind(*args, **kwargs).arguments if bound is None else bound

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Refuse arguments that do not fit the signature.

        Raises
        ------
        TypeError
            They do not, with the text of :meth:`inspect.Signature.bind`.
        """
        if not kwargs and self._fewest <= len(args) <= self._most:
            return
        if not self._is_plain or self._bind_plain(args, kwargs) is None:
            self._signature.bind(*args, **kwargs)

    def _bind_plain(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
        """Bind arguments that fit; None if they do not."""
        positional = self._positional
        bound = dict(zip(positional, args, strict=False))
        given = len(bound)
        if len(args) > given:
            if self._rest is None:
                return None
            bound[self._rest] = tuple(args[given:])
        if kwargs:
            expected = len(bound) + len(kwargs)
            for name in self._by_keyword[given:]:
                if name in kwargs:
                    bound[name] = kwargs[name]
            if len(bound) != expected:
                return None  # unknown, or given twice
        return bound if self._required <= bound.keys() else None
