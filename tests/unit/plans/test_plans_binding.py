"""Tests of the binding of arguments to the parameters of plans."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager.plans.binding import Binder

NAMES = ("a", "b", "c", "d", "args", "kwargs")


@st.composite
def signatures(draw: st.DrawFn) -> inspect.Signature:
    """Return any signature, its parameters in an order that Python permits."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    kinds = sorted(draw(st.sampled_from(tuple(inspect._ParameterKind))) for _ in names)
    parameters: list[inspect.Parameter] = []
    defaulted = False
    for name, kind in zip(names, kinds, strict=True):
        variadic = kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        if variadic and any(p.kind is kind for p in parameters):
            continue
        default: Any = inspect.Parameter.empty
        if not variadic and ((defaulted and kind < inspect.Parameter.VAR_POSITIONAL) or draw(st.booleans())):
            default, defaulted = 0, True
        parameters.append(inspect.Parameter(name, kind, default=default))
    return inspect.Signature(parameters)


def outcome(bind: Any) -> object:
    """Return the arguments in order, or the refusal."""
    try:
        return list(bind().items())
    except TypeError as exc:
        return str(exc)


@given(
    signature=signatures(),
    args=st.lists(st.integers(), max_size=5),
    kwargs=st.dictionaries(st.sampled_from((*NAMES, "other")), st.integers(), max_size=4),
)
def test_binds_as_signature_does(
    signature: inspect.Signature, args: list[int], kwargs: dict[str, int]
) -> None:
    expected = outcome(lambda: signature.bind(*args, **kwargs).arguments)
    assert outcome(lambda: Binder(signature).arguments({"args": args, "kwargs": kwargs})) == expected


@given(
    signature=signatures(),
    args=st.lists(st.integers(), max_size=5),
    kwargs=st.dictionaries(st.sampled_from((*NAMES, "other")), st.integers(), max_size=2),
)
def test_checks_as_signature_does(
    signature: inspect.Signature, args: list[int], kwargs: dict[str, int]
) -> None:
    bound = outcome(lambda: signature.bind(*args, **kwargs).arguments)
    checked = outcome(lambda: Binder(signature).check(args, kwargs) or {})
    assert checked == (bound if isinstance(bound, str) else [])


@pytest.mark.parametrize("item", [{}, {"args": {}}, {"args": [], "kwargs": {}}])
def test_no_arguments_in_each_form(item: dict[str, Any]) -> None:
    assert Binder(inspect.Signature()).arguments(item) == {}


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ({"args": "ab"}, "Parameter 'args' is not a tuple or a list: <class 'str'>"),
        ({"kwargs": [1]}, "Parameter 'kwargs' is not a dictionary: <class 'list'>"),
    ],
)
def test_other_forms_are_refused(item: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        Binder(inspect.Signature()).arguments(item)
