from __future__ import annotations

from typing import Any

import pytest

from remanager.plans.patterns import (
    find_device,
    is_object_name_in_list,
    matches_name,
    matching_devices,
    parse_name_pattern,
)


def device(*, movable: bool = False, flyable: bool = False, **components: Any) -> dict[str, Any]:
    description: dict[str, Any] = {"is_readable": True, "is_movable": movable, "is_flyable": flyable}
    if components:
        description["components"] = components
    return description


TREE = {
    "det1": device(val=device()),
    "det2": device(val=device(sub=device())),
    "stage": device(x=device(movable=True), dets=device(detA=device(), detB=device())),
    "motor": device(movable=True),
    "flyer": device(flyable=True),
}


def names(pattern: str) -> set[str]:
    return {".".join(path) for path in matching_devices(parse_name_pattern(pattern), TREE)}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("det1", {"det1"}),
        ("stage.dets.detA", {"stage.dets.detA"}),
        ("stage.none", set()),
        (":^det", {"det1", "det2"}),
        (": ^ det 1", {"det1"}),
        (":^det:.*", {"det1", "det1.val", "det2", "det2.val"}),
        (":-^det:.*", {"det1.val", "det2.val"}),
        (":+^stage$:-dets:-A$", {"stage", "stage.dets.detA"}),
        (":?^det.*val$", {"det1.val", "det2.val"}),
        (":?^det:depth=1", {"det1", "det2"}),
        (":?^det:depth=2", {"det1", "det2", "det1.val", "det2.val"}),
        (":^stage$:?det", {"stage", "stage.dets", "stage.dets.detA", "stage.dets.detB"}),
        (":-^stage$:?^dets.detA$:depth=2", {"stage.dets.detA"}),
        ("__MOTOR__:?.*", {"motor", "stage.x"}),
        ("__FLYABLE__:.*", {"flyer"}),
        ("__DETECTOR__:^(motor|det1)$", {"det1"}),
    ],
)
def test_matching_devices(pattern: str, expected: set[str]) -> None:
    assert names(pattern) == expected


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("", "empty string"),
        ("  ", "empty string"),
        ("det-1", "invalid characters"),
        (".det", "invalid characters"),
        ("a..b", "empty components"),
        (":", "empty components"),
        (":^det::val", "empty components"),
        (":+", "empty components"),
        (":[a", "invalid regular expression '\\[a'"),
        ("__THING__:.*", "Device type '__THING__' is not supported"),
        (":?a:b:c", "must be the last"),
        (":?a:b", "can be followed only by 'depth=N'"),
        (":?a:depth=x", "can be followed only by 'depth=N'"),
        (":?a:depth=0", r"Depth \(0\)"),
    ],
)
def test_malformed_patterns(pattern: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        parse_name_pattern(pattern)


def test_a_pattern_is_text() -> None:
    with pytest.raises(TypeError, match="incorrect type"):
        parse_name_pattern(["det1"])


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("count", "count", True),
        ("count", "count_all", False),
        (":^count", "count_all", True),
        (":?^count:depth=5", "count_all", True),
        (":count$", "my_scan", False),
    ],
)
def test_matches_name(pattern: str, name: str, expected: bool) -> None:
    assert matches_name(parse_name_pattern(pattern), name) is expected


@pytest.mark.parametrize("pattern", ["a.b", ":^a:b"])
def test_plan_names_have_one_component(pattern: str) -> None:
    with pytest.raises(ValueError, match="only one component"):
        matches_name(parse_name_pattern(pattern), "a")


def test_find_device() -> None:
    assert find_device(("stage", "x"), TREE) == device(movable=True)
    assert find_device(("stage", "x", "none"), TREE) is None


def test_excluded_objects_are_in_no_list() -> None:
    objects: dict[str, Any] = {"a": {"excluded": True, "components": {"b": {}}}, "p": {}}
    assert not is_object_name_in_list("a", objects)
    assert is_object_name_in_list("a.b", objects)
    assert is_object_name_in_list("p", objects)
    assert not is_object_name_in_list(":p", objects)
    assert not is_object_name_in_list(None, objects)
