from __future__ import annotations

import collections.abc
import enum
import typing
from typing import Any

import pytest

from remanager.plans.annotation_types import enumeration, resolve_annotation


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int", int),
        ("NoneType", type(None)),
        ("None", None),
        ("typing.Any", Any),
        ("typing.List[int]", typing.List[int]),  # noqa: UP006
        ("typing.Union[list[int], int, None]", typing.Union[list[int], int, None]),  # noqa: UP007
        ("int | None", int | None),
        ("typing.Tuple[int, ...]", typing.Tuple[int, ...]),  # noqa: UP006
        ("tuple[()]", tuple[()]),
        ("typing.Literal['a', -1]", typing.Literal["a", -1]),
        ("typing.Annotated[int, print(1)]", int),
        ("collections.abc.Callable[[int], str]", collections.abc.Callable[[int], str]),
        ("list['int']", list[int]),
        ("typing.Union[list[__PLAN__], __DEVICE__]", typing.Union[list[str], str]),  # noqa: UP007
        ("bluesky.protocols.Readable", Any),
        ("bluesky.protocols.Status[int]", Any),
    ],
)
def test_resolved_types(text: str, expected: Any) -> None:
    assert resolve_annotation({"type": text}) == expected


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        ({}, "Type is not specified"),
        ({"type": 5}, "Type is not specified"),
        ({"type": "List[int]"}, "name 'List' is not defined"),
        ({"type": "typing.list"}, "module 'typing' has no attribute 'list'"),
        ({"type": "typing.sys"}, "module 'typing' has no attribute 'sys'"),
        ({"type": "typing.List.append"}, "name 'typing.List.append' is not defined"),
        ({"type": "os.system"}, "name 'os.system' is not defined"),
        ({"type": "print"}, "name 'print' is not defined"),
        ({"type": "__import__('os')"}, "is not a type"),
        ({"type": "typing.List['__import__(1)']"}, "is not a type"),
        ({"type": "[int]"}, "is not a type"),
        ({"type": "int int"}, "invalid syntax"),
        ({"type": "Dev", "devices": {"Dev": "det"}}, r"The list of items \('Dev': 'det'\)"),
        ({"type": "int", "devices": {"Dev": []}}, "Type 'Dev' is defined in the annotation, but not used"),
        ({"type": "Dev", "things": {"Dev": []}}, r"unsupported keys: \['things'\]"),
    ],
)
def test_refusals(annotation: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match="Failed to process annotation") as refusal:
        resolve_annotation(annotation)
    assert refusal.match(text)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(TypeError, match="Failed to process annotation"):
        resolve_annotation({"type": "list[" * 5000 + "int" + "]" * 5000})


def test_lists_of_names_become_enumerations() -> None:
    resolved = resolve_annotation({"type": "typing.List[Dev]", "devices": {"Dev": ("a.b", "mro")}})
    (members,) = typing.get_args(resolved)
    assert issubclass(members, enum.Enum)
    assert [member.value for member in members] == ["a.b", "mro"]
    assert list(enumeration("Empty", [])) == []
