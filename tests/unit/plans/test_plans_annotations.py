from __future__ import annotations

import inspect
from typing import Any

import pytest

from remanager.plans.annotations import custom_annotation, parameter_annotation_decorator

ANNOTATION: dict[str, Any] = {
    "description": "A plan.",
    "parameters": {
        "detectors": {
            "description": "Detectors.",
            "annotation": "typing.List[Detectors]",
            "devices": {"Detectors": ("det1", ":^det")},
            "plans": {"P": []},
            "enums": {"E": ["a"]},
            "default": ["det1"],
            "min": 0,
            "max": 1.5,
            "step": 0.1,
            "convert_plan_names": True,
            "convert_device_names": False,
        }
    },
}


def test_function_keeps_its_behaviour_and_gets_the_annotation() -> None:
    @parameter_annotation_decorator(ANNOTATION)
    def plan(detectors: int = 3) -> Any:
        """Doc."""
        yield detectors

    assert inspect.isgeneratorfunction(plan)
    assert list(plan(5)) == [5]
    assert plan.__doc__ == "Doc."
    assert custom_annotation(plan) == ANNOTATION
    assert custom_annotation(plan) is not ANNOTATION


def test_plain_function_stays_a_plain_function() -> None:
    @parameter_annotation_decorator({})
    def function(x: int) -> int:
        return x + 1

    assert not inspect.isgeneratorfunction(function)
    assert function(1) == 2
    assert custom_annotation(function) == {}


def test_unknown_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match=r"parameters \['x'\] are not in the signature of function 'plan'"):

        @parameter_annotation_decorator({"parameters": {"x": {}}})
        def plan() -> Any:
            yield


@pytest.mark.parametrize(
    "annotation",
    [
        [],
        {"unknown": 1},
        {"description": 1},
        {"parameters": []},
        {"parameters": {"x": 1}},
        {"parameters": {"x": {"unknown": 1}}},
        {"parameters": {"x": {"annotation": int}}},
        {"parameters": {"x": {"min": "1"}}},
        {"parameters": {"x": {"max": True}}},
        {"parameters": {"x": {"devices": ["a"]}}},
        {"parameters": {"x": {"devices": {"D": "det1"}}}},
        {"parameters": {"x": {"plans": {"1P": []}}}},
        {"parameters": {"x": {"enums": {"E": [1]}}}},
        {"parameters": {"x": {"convert_plan_names": 1}}},
    ],
)
def test_malformed_annotations_are_refused(annotation: Any) -> None:
    with pytest.raises(ValueError, match="Custom annotation"):
        parameter_annotation_decorator(annotation)
