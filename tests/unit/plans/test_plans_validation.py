from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from remanager.model.errors import InvalidItem
from remanager.plans.validation import PlanValidator
from remanager.plans.value_ranges import ValueRange, range_of
from remanager.plans.value_types import shorten

KINDS = {"positional": 1, "args": 2, "keyword": 3, "kwargs": 4}


def parameter(name: str, text: str = "", kind: str = "positional", **extra: Any) -> dict[str, Any]:
    description: dict[str, Any] = {"name": name, "kind": {"name": kind, "value": KINDS[kind]}, **extra}
    if text:
        description["annotation"] = {"type": text}
    return description


PLANS = {
    "count": {
        "parameters": [
            parameter("detectors", "typing.List[__READABLE__]"),
            parameter("num", "int", default="1"),
            parameter("delay", "typing.Union[float, typing.List[float]]", "keyword", default="0.0"),
        ]
    },
    "plain": {"parameters": [parameter("a"), parameter("b", default="None")]},
    "many": {"parameters": [parameter("args", "float", "args"), parameter("kwargs", "int", "kwargs")]},
    "pairs": {"parameters": [parameter("args", "tuple[__MOVABLE__ | typing.Any, list[typing.Any]]", "args")]},
    "numbers": {"parameters": [parameter("args", "tuple[str, int]", "args")]},
    "limited": {"parameters": [parameter("x", min="1", max="2.5"), parameter("y", min="0", default="0")]},
    "odd_names": {"parameters": [parameter("_x", "int"), parameter("copy", "int"), parameter("self", "int")]},
    "damaged": {"parameters": [parameter("x", "no.such.type")]},
    "listed": {
        "parameters": [
            {
                **parameter("motors"),
                "annotation": {"type": "typing.List[Motors]", "devices": {"Motors": ["m1", "m2", "stage.x"]}},
            }
        ]
    },
}
DEVICES: dict[str, Any] = {"m1": {}, "stage": {"components": {"x": {}}}}


@pytest.fixture(scope="module")
def validator() -> PlanValidator:
    return PlanValidator(PLANS, DEVICES)


@pytest.mark.parametrize(
    "item",
    [
        {"name": "count", "args": [["det1"]]},
        {"name": "count", "args": [[]], "kwargs": {"num": 5, "delay": 1}},
        {"name": "count", "kwargs": {"detectors": ["det1"], "delay": [1, 2.5]}, "meta": {"sample": 1}},
        {"name": "plain", "args": [{"any": [1, {"b": None}]}]},
        {"name": "plain", "args": {}, "kwargs": {"a": 1}},
        {"name": "many", "args": [1, 2.5], "kwargs": {"c": 3}, "meta": [{}, {"a": 1}]},
        {"name": "many"},
        {"name": "limited", "args": [[1, {"k": 2.5}, "99"]]},
        {"name": "odd_names", "args": [1, 2], "kwargs": {"self": 3}},
        {"name": "listed", "args": [["m1", "stage.x"]]},
    ],
)
def test_accepted(validator: PlanValidator, item: dict[str, Any]) -> None:
    validator.validate(item)


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ({}, "Plan name is not specified"),
        ({"name": ["count"]}, r"Plan '\['count'\]' is not in the list of allowed plans"),
        ({"name": "scan"}, "Plan 'scan' is not in the list of allowed plans"),
        ({"name": "count"}, "missing a required argument: 'detectors'"),
        ({"name": "count", "args": [[], 1, 1]}, "too many positional arguments"),
        ({"name": "count", "args": [[]], "kwargs": {"abc": 1}}, "got an unexpected keyword argument 'abc'"),
        ({"name": "count", "args": [[]], "kwargs": {"detectors": []}}, "multiple values for argument"),
        ({"name": "count", "args": "det1"}, "Parameter 'args' is not a tuple or a list: <class 'str'>"),
        ({"name": "count", "args": None}, "Parameter 'args' is not a tuple or a list"),
        ({"name": "count", "kwargs": [1]}, "Parameter 'kwargs' is not a dictionary: <class 'list'>"),
        ({"name": "plain", "kwargs": {1: 2}}, "keywords must be strings"),
        ({"name": "count", "args": [[5]]}, r"1 validation error for count\ndetectors.0\n  Input should be"),
        ({"name": "count", "args": [[], "x"], "kwargs": {"delay": "x"}}, "3 validation errors for count"),
        (
            {"name": "count", "args": [[], "5"]},
            "Incorrect parameter type: key='num', value='5' .* interpreted as '5' ",
        ),
        ({"name": "many", "args": [1, "2"]}, "Incorrect parameter type: key='args'"),
        ({"name": "many", "kwargs": {"a": 1.5}}, "kwargs.a"),
        ({"name": "limited", "args": [0]}, r"key='x', value='0': Value 0 is out of range \[1, 2.5\]"),
        ({"name": "limited", "args": [1, -1]}, r"Value -1 is out of range \[0, inf\]"),
        ({"name": "damaged", "args": [1]}, "Failed to process annotation 'no.such.type'"),
        ({"name": "listed", "args": [["m2"]]}, "Input should be 'm1' or 'stage.x'"),
        ({"name": "plain", "args": [1], "meta": 5}, "'meta' must be a dictionary or a list of dictionaries"),
        (
            {"name": "plain", "args": [1], "meta": [5]},
            "'meta' must be a dictionary or a list of dictionaries",
        ),
    ],
)
def test_refused(validator: PlanValidator, item: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidItem, match=text) as refusal:
        validator.validate(item)
    assert str(refusal.value).startswith("Plan validation failed: ")


@pytest.mark.parametrize(
    ("name", "args", "accepted"),
    [
        ("pairs", ["m1", [1, 2], "m2", [3, 4]], True),
        ("pairs", [["m1", [1, 2]], ["m2", [3, 4]]], True),
        ("pairs", [], True),
        ("pairs", ["m1", [1, 2], "m2"], False),
        ("pairs", ["m1", 5], False),
        ("numbers", ["m1", 1, "m2", 2], True),
        ("numbers", ["m1", 1, "m2", 2.0], False),
        ("numbers", ["m1", 1, 2, "m2"], False),
        ("numbers", [["m1", 1], "m2", 2], False),
    ],
)
def test_positional_tuples_may_be_given_one_value_after_the_other(
    validator: PlanValidator, name: str, args: list[Any], accepted: bool
) -> None:
    """``list_scan`` of bluesky declares its motors and positions so, and takes them one after the other."""
    item = {"name": name, "args": args}
    if accepted:
        validator.validate(item)
    else:
        with pytest.raises(InvalidItem):
            validator.validate(item)


def test_refusals_are_short(validator: PlanValidator) -> None:
    for item in (
        {"name": "count", "args": [list(range(10_000))]},
        {"name": "count", "args": [[], 1], "kwargs": {"delay": ["1"] * 10_000}},
        {"name": "limited", "args": [[5] * 10_000]},
    ):
        with pytest.raises(InvalidItem) as refusal:
            validator.validate(item)
        assert len(str(refusal.value)) < 2000


def test_item_is_not_changed(validator: PlanValidator) -> None:
    item = {"name": "count", "args": [["det1"], 5], "kwargs": {"delay": [1, 2]}}
    validator.validate(item)
    assert item == {"name": "count", "args": [["det1"], 5], "kwargs": {"delay": [1, 2]}}


def test_without_plans_only_metadata_counts() -> None:
    PlanValidator(None, None).validate({})
    with pytest.raises(InvalidItem, match="meta"):
        PlanValidator(None, None).validate({"meta": 1})


def test_ranges() -> None:
    assert range_of({}) is None
    assert range_of({"min": "1.0", "max": 2}) == ValueRange(1, 2)
    assert range_of({"max": "inf"}) == ValueRange(None, float("inf"))
    for text in ("x", [1]):
        with pytest.raises(ValueError, match="Failed to interpret the value"):
            range_of({"min": text})


def test_shorten() -> None:
    assert shorten("abc", 10) == "abc"
    assert shorten("abcdefghijkl", 10) == "abc...jkl"


def test_the_manager_side_needs_no_bluesky() -> None:
    modules = ["allowed", "binding", "lists_file", "patterns", "permissions", "validation"]
    code = "\n".join(
        [
            "import sys",
            *(f"import remanager.plans.{name}" for name in modules),
            "heavy = {'bluesky', 'ophyd', 'numpy', 'yaml', 'jsonschema'} & set(sys.modules)",
            "assert not heavy, heavy",
        ]
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
