from __future__ import annotations

import collections.abc
import enum
import typing
from typing import Any

import bluesky.protocols as bp
import pytest

from remanager.plans.annotation_text import Conversion, annotation_text, check_annotation


class Color(enum.Enum):
    RED = 1


class Custom:
    pass


class Awkward:
    def __repr__(self) -> str:
        return "1 / 0"


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "int"),
        (None, "None"),
        (type(None), "NoneType"),
        (typing.Any, "typing.Any"),
        (list, "list"),
        (list[int], "list[int]"),
        (typing.List[int], "typing.List[int]"),  # noqa: UP006
        (typing.Optional[float], repr(typing.Optional[float])),  # noqa: UP045
        (int | None, "int | None"),
        (typing.Literal["a", 1], "typing.Literal['a', 1]"),
        (typing.Annotated[int, "unit"], "typing.Annotated[int, 'unit']"),
        (collections.abc.Iterable, "collections.abc.Iterable[typing.Any]"),
        (collections.abc.Iterable[int], "collections.abc.Iterable[int]"),
        (list[collections.abc.Iterable], "list[collections.abc.Iterable[typing.Any]]"),
        (Color, None),
        (Custom, None),
        (list[Custom], None),
        (Awkward(), None),
        (typing.TypeVar("T"), None),
    ],
)
def test_types(annotation: object, text: str | None) -> None:
    assert annotation_text(annotation) == text


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (bp.Readable, "__READABLE__"),
        (bp.Movable, "__MOVABLE__"),
        (bp.NamedMovable, "__MOVABLE__"),
        (bp.Movable[float], "__MOVABLE__"),
        (bp.Flyable, "__FLYABLE__"),
        (bp.Stageable, "__DEVICE__"),
        (bp.Preparable, "__DEVICE__"),
        (list[bp.Collectable], "list[__DEVICE__]"),
        (bp.EventPageCollectable | bp.EventCollectable, "__DEVICE__ | __DEVICE__"),
        (bp.Status, "bluesky.protocols.Status"),
        (list[bp.Readable], "list[__READABLE__]"),
        (dict[str, list[bp.Movable[int]]], "dict[str, list[__MOVABLE__]]"),
        (typing.Callable, "__CALLABLE__"),
        (collections.abc.Callable, "__CALLABLE__"),
        (collections.abc.Callable[[bp.Readable], list[int]], "__CALLABLE__"),
        (
            dict[collections.abc.Callable, collections.abc.Callable[[int], str]],
            "dict[__CALLABLE__, __CALLABLE__]",
        ),
        (collections.abc.Sequence[bp.Readable], "collections.abc.Sequence[__READABLE__]"),
    ],
)
def test_protocols_and_callables(annotation: object, text: str) -> None:
    assert annotation_text(annotation) == text


@pytest.mark.parametrize(
    ("annotation", "conversion"),
    [
        ({"type": "list[int]"}, Conversion()),
        ({"type": "__PLAN__"}, Conversion(convert_plan_names=True)),
        ({"type": "list[__READABLE__]"}, Conversion(convert_device_names=True)),
        ({"type": "__CALLABLE__"}, Conversion(eval_expressions=True)),
        (
            {"type": "typing.Union[__PLAN_OR_DEVICE__, int]"},
            Conversion(convert_plan_names=True, convert_device_names=True),
        ),
        ({"type": "__DEVICE__", "devices": {"__DEVICE__": ["det"]}}, Conversion()),
        ({"type": "bluesky.utils.Msg"}, Conversion()),
    ],
)
def test_conversion(annotation: dict[str, Any], conversion: Conversion) -> None:
    assert check_annotation(annotation) == conversion


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        ({}, "Type is not specified"),
        ({"type": "int", "colour": 1}, "unsupported keys"),
        ({"type": "int", "enums": {"E": ["a"]}}, "not used in the parameter type"),
        ({"type": "typing.List[Plans1]"}, "name 'Plans1' is not defined"),
        ({"type": "list["}, "never closed|unexpected EOF"),
        ({"type": "E", "enums": {"E": ["mro"]}}, "mro"),
    ],
)
def test_unusable_annotations_are_refused(annotation: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=f"Failed to process annotation .*({text})"):
        check_annotation(annotation)
