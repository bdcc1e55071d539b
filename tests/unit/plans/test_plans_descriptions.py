from __future__ import annotations

import functools
import logging
import typing
from collections.abc import Iterator
from typing import Any

import bluesky.protocols as bp
import pytest

from remanager.plans.annotations import parameter_annotation_decorator
from remanager.plans.descriptions import (
    PlanDescriptionError,
    describe_plan,
    describe_plans,
    expand_annotation,
    is_plan,
)
from remanager.plans.registry import clear_registered_items, register_plan

POSITIONAL = {"name": "POSITIONAL_OR_KEYWORD", "value": 1}
DEVICE = {"is_readable": True, "is_movable": False, "is_flyable": False}
DEVICES: dict[str, Any] = {
    "det1": DEVICE,
    "det2": DEVICE,
    "stage": {**DEVICE, "components": {"x": {**DEVICE, "is_movable": True}, "y": DEVICE}},
}
PLAN_NAMES = {"count", "scan", "count2"}


@pytest.fixture(autouse=True)
def _clean_registry() -> Iterator[None]:
    clear_registered_items()
    yield
    clear_registered_items()


def describe(plan: Any) -> dict[str, Any]:
    return describe_plan(plan, plan.__name__, devices=DEVICES, plan_names=PLAN_NAMES)


def test_full_description() -> None:
    def plan(
        detectors: list[bp.Readable],
        *args: int,
        num: int = 1,
        name: str | None = None,
        hook: typing.Callable[[int], int] | None = None,
        **kwargs: Any,
    ) -> Any:
        """
        Do it.

        Parameters
        ----------
        detectors : list
            Detectors.
        """
        yield

    description = describe(plan)
    parameters = {p.pop("name"): p for p in description.pop("parameters")}
    assert description == {
        "name": "plan",
        "module": __name__,
        "description": "Do it.",
        "properties": {"is_generator": True},
    }
    assert parameters == {
        "detectors": {
            "kind": POSITIONAL,
            "description": "Detectors.",
            "annotation": {"type": "list[__READABLE__]"},
            "convert_device_names": True,
        },
        "args": {"kind": {"name": "VAR_POSITIONAL", "value": 2}, "annotation": {"type": "int"}},
        "num": {
            "kind": {"name": "KEYWORD_ONLY", "value": 3},
            "annotation": {"type": "int"},
            "default": "1",
        },
        "name": {
            "kind": {"name": "KEYWORD_ONLY", "value": 3},
            "annotation": {"type": "str | None"},
            "default": "None",
        },
        "hook": {
            "kind": {"name": "KEYWORD_ONLY", "value": 3},
            "annotation": {"type": "typing.Optional[__CALLABLE__]"},
            "eval_expressions": True,
            "default": "None",
        },
        "kwargs": {"kind": {"name": "VAR_KEYWORD", "value": 4}, "annotation": {"type": "typing.Any"}},
    }


def test_decorator_overrides_header_and_docstring() -> None:
    @parameter_annotation_decorator(
        {
            "description": "Better.",
            "parameters": {
                "x": {
                    "description": "Better x.",
                    "annotation": "typing.List[D]",
                    "devices": {"D": (":^det", "other.val")},
                    "default": ["det1"],
                    "min": 0.10,
                    "max": 100.0,
                    "step": 1e-3,
                },
                "y": {"annotation": "__PLAN__", "convert_plan_names": False},
            },
        }
    )
    def plan(x: Any = object(), y: int = 2) -> Any:  # noqa: B008
        """Worse."""
        yield

    description = describe(plan)
    assert description["description"] == "Better."
    assert description["parameters"] == [
        {
            "name": "x",
            "kind": POSITIONAL,
            "description": "Better x.",
            "annotation": {"type": "typing.List[D]", "devices": {"D": ["det1", "det2", "other.val"]}},
            "default": "['det1']",
            "default_defined_in_decorator": True,
            "min": "0.1",
            "max": "100",
            "step": "0.001",
        },
        {
            "name": "y",
            "kind": POSITIONAL,
            "annotation": {"type": "__PLAN__"},
            "convert_plan_names": False,
            "default": "2",
        },
    ]


def test_patterns_are_expanded() -> None:
    custom = {
        "annotation": "typing.Union[D, P, E]",
        "devices": {"D": ["__MOTOR__:?.*", ":^stage$:-^y$", "det2"]},
        "plans": {"P": [":^count", "missing"]},
        "enums": {"E": ("b", "a")},
    }
    assert expand_annotation(custom, DEVICES, PLAN_NAMES) == {
        "type": "typing.Union[D, P, E]",
        "devices": {"D": ["det2", "stage", "stage.x", "stage.y"]},
        "plans": {"P": ["count", "count2", "missing"]},
        "enums": {"E": ["b", "a"]},
    }
    assert expand_annotation({}, DEVICES, PLAN_NAMES) is None


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"annotation": "P", "plans": {"P": [":*"]}}, "invalid regular expression"),
        ({"annotation": "D", "devices": {"D": ["*det"]}}, "invalid characters"),
        ({"annotation": "P", "plans": {"P": [":a:b"]}}, "only one component"),
        ({"annotation": "P", "plans": {"P": [":?a:depth=2"]}}, "Depth specification"),
        ({"annotation": "P", "plans": {"P": ["__MOTOR__:a"]}}, "Device type"),
        ({"annotation": "P"}, "name 'P' is not defined"),
        ({"default": 1}, "Missing default value for the parameter 'x' in the plan signature"),
        ({"default": object()}, "unsupported type of default value in decorator"),
        ({"max": float("inf")}, "unsupported type of max value in decorator"),
    ],
)
def test_bad_annotations_name_the_plan(entry: dict[str, Any], text: str) -> None:
    @parameter_annotation_decorator({"parameters": {"x": entry}})
    def plan(x: Any) -> Any:
        yield

    with pytest.raises(PlanDescriptionError, match=f"Failed to create description of plan 'plan': .*{text}"):
        describe(plan)


def test_hint_that_cannot_be_resolved_counts_as_none() -> None:
    def plan(x: Nowhere) -> Any:  # type: ignore[name-defined]  # noqa: F821
        yield

    assert describe(plan)["parameters"] == [{"name": "x", "kind": POSITIONAL}]


def test_partial_is_described_under_its_name() -> None:
    def inner(x: int, y: int = 2) -> Any:
        """Inner."""
        yield

    plan = functools.partial(inner, y=3)
    description = describe_plan(plan, "plan", devices={}, plan_names=())
    assert description["name"] == "plan"
    assert description["module"] == __name__
    assert description["description"] == "Inner."
    assert description["parameters"][1]["default"] == "3"


def test_what_is_a_plan() -> None:
    def generator() -> Any:
        yield

    def function() -> None:
        pass

    class Marked:
        _is_plan_ = True

    class AnswersEverything:
        def __getattr__(self, name: str) -> str:
            return name

    assert is_plan(generator)
    assert is_plan(Marked())
    assert not is_plan(function)
    assert not is_plan(AnswersEverything())
    assert not is_plan(generator())


def good() -> Any:
    yield


def bad(x: Any = object()) -> Any:  # noqa: B008
    yield


def worse(x: Any = bp) -> Any:
    yield


def test_all_invalid_plans_are_named() -> None:
    with pytest.raises(PlanDescriptionError) as info:
        describe_plans({"good": good, "bad": bad, "worse": worse}, {})
    assert [line[:45] for line in str(info.value).splitlines()] == [
        "Failed to create description of plan 'bad': P",
        "Failed to create description of plan 'worse':",
        "Correct these plans, or leave them out of the",
    ]


def test_invalid_plans_are_left_out_on_request(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        plans = describe_plans({"good": good, "bad": bad}, {}, ignore_invalid_plans=True)
    assert list(plans) == ["good"]
    assert "Failed to create description of plan 'bad'" in caplog.text


def test_excluded_plans_are_not_described() -> None:
    register_plan("bad", exclude=True)
    register_plan("good")
    assert list(describe_plans({"good": good, "bad": bad}, {})) == ["good"]
