"""The encoder writes what the standard library writes."""

from __future__ import annotations

import json
from collections import OrderedDict
from enum import IntEnum, StrEnum
from json import encoder as standard
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager.model.json_text import dumps, make_encoder

KEYS = st.text() | st.integers() | st.floats() | st.booleans() | st.none()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner),
)


@given(VALUES)
def test_texts_are_those_of_the_standard_library(value: Any) -> None:
    assert dumps(value) == json.dumps(value)
    compact = make_encoder(separators=(",", ":"))
    assert compact(value) == json.dumps(value, separators=(",", ":"))


class Word(StrEnum):
    A = "a"


class Number(IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    "value",
    [
        Word.A,
        Number.ONE,
        {Word.A: Number.ONE},
        OrderedDict(b=1, a=2),
        "\ud800",
        2**200,
        [float("nan")],
        "\u2028é",
    ],
)
def test_what_else_is_taken(value: Any) -> None:
    assert dumps(value) == json.dumps(value)


@pytest.mark.parametrize("value", [b"x", {1, 2}, object(), [1j], {"a": b"x"}, {(1, 2): 3}, {b"k": 1}])
def test_refusals_have_the_words_of_the_standard_library(value: Any) -> None:
    with pytest.raises(TypeError) as expected:
        json.dumps(value)
    with pytest.raises(TypeError) as refused:
        dumps(value)
    assert str(refused.value) == str(expected.value)


def test_what_holds_itself_is_refused() -> None:
    own: list[object] = []
    own.append(own)
    with pytest.raises(RecursionError):
        dumps(own)
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(RecursionError):
        dumps(deep)
    while isinstance(deep, list):  # taken apart from the outside: to delete it at once would be as deep
        (deep,) = deep


def test_a_default_of_its_own() -> None:
    encode = make_encoder(lambda value: {"hex": value.hex()})
    assert encode([b"\x01", 2]) == '[{"hex": "01"}, 2]'


@given(VALUES)
def test_an_interpreter_without_the_encoder_in_c(value: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standard, "c_make_encoder", None)
        assert make_encoder()(value) == json.dumps(value)
