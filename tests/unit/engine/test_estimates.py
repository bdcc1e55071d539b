"""Number of points and duration of plans."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager.engine.estimates import PLANS_KEPT, RUNS_KEPT, DurationEstimator, point_count, texts_in


def item(name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"name": name, "args": list(args), "kwargs": kwargs}


DETS = ["det1", "det2"]


@pytest.mark.parametrize(
    ("plan", "points"),
    [
        (item("count", DETS), 1),
        (item("count", DETS, 5), 5),
        (item("count", DETS, num=7.0), 7),
        (item("count", DETS, num=None), None),
        ({"name": "count"}, 1),
        (item("scan", DETS, "m", 0, 1, 11), 11),
        (item("scan", DETS, "m", 0, 1, num=12), 12),
        (item("scan", DETS, "m", 0, 1, "n", 0, 1, num=13), 13),
        (item("rel_scan", DETS, "m", 0, 1, "n", 0, 1, 14), 14),
        (item("scan", DETS, "m", 0, 1), None),
        (item("log_scan", DETS, "m", 1, 10, 4), 4),
        (item("log_scan", DETS, "m", 1, 10, num=5), 5),
        (item("inner_product_scan", DETS, 6, "m", 0, 1), 6),
        (item("x2x_scan", DETS, "m", "n", 0, 1, 8), 8),
        (item("list_scan", DETS, "m", [1, 2, 3]), 3),
        (item("list_scan", DETS, "m", [1, 2, 3], "n", [4, 5, 6]), 3),
        (item("list_scan", DETS, "m"), None),
        (item("list_grid_scan", DETS, "m", [1, 2, 3], "n", [4, 5]), 6),
        (item("list_grid_scan", DETS, "m", [1, 2, 3], "n", 5), None),
        (item("grid_scan", DETS, "m", 0, 1, 3, "n", 0, 1, 4), 12),
        (item("grid_scan", DETS, "m", 0, 1, 3, "n", 0, 1, 4, True), 12),
        (item("grid_scan", DETS, "m", 0, 1, 3, "n", 0, 1), None),
        (item("grid_scan", DETS), None),
        (item("spiral_square", DETS, "m", "n", 0, 0, 1, 1, 5, 4), 20),
        (item("rel_spiral_square", DETS, "m", "n", 1, 1, x_num=5, y_num=4), 20),
        (item("spiral_square", DETS), None),
        (item("my_plan", 5), None),
        (item("count", DETS, True), None),
        (item("count", DETS, -1), None),
        (item("count", DETS, 2.5), None),
        (item("count", DETS, float("nan")), None),
        (item("count", DETS, float("inf")), None),
        (item("count", DETS, 10**30), None),
        (item("grid_scan", DETS, *["m", 0, 1, 10**15] * 5), None),
        ({"name": ["count"]}, None),
        ({"name": "count", "args": {}, "kwargs": []}, 1),
    ],
)
def test_number_of_points(plan: dict[str, Any], points: int | None) -> None:
    assert point_count(plan) == points


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)
names = st.sampled_from(["count", "scan", "log_scan", "list_scan", "list_grid_scan", "grid_scan", "x2x_scan"])


@given(name=names | values, args=values, kwargs=values)
def test_any_item_is_taken(name: object, args: object, kwargs: object) -> None:
    plan: dict[str, Any] = {"name": name, "args": args, "kwargs": kwargs}
    points = point_count(plan)
    assert points is None or points >= 0
    estimator = DurationEstimator()
    estimator.add(plan, 1.0)
    estimator.estimate(plan, points)


def test_duration_grows_with_the_points() -> None:
    estimator = DurationEstimator()
    assert estimator.estimate(item("count", DETS), 1) is None
    for points, duration in ((10, 20.0), (100, 100.0), (1, 3.0)):
        estimator.add(item("count", DETS, points), duration)
    assert estimator.estimate(item("count", DETS, 50), 50) == 100.0
    assert estimator.estimate(item("count", DETS, num=None), None) == 20.0


def test_duration_of_other_plans_is_their_median() -> None:
    estimator = DurationEstimator()
    for duration in (1.0, 5.0, 100.0):
        estimator.add(item("align"), duration)
    assert estimator.estimate(item("align"), None) == 5.0
    assert estimator.estimate(item("scan", DETS), 10) is None


def test_memory_is_bounded() -> None:
    estimator = DurationEstimator()
    for n in range(RUNS_KEPT):
        estimator.add(item("a"), 1.0)
        estimator.add(item("b"), float(n))
    for _ in range(RUNS_KEPT):
        estimator.add(item("a"), 2.0)
    assert estimator.estimate(item("a"), None) == 2.0
    for n in range(PLANS_KEPT):
        estimator.add(item(f"plan{n}"), 1.0)
    assert estimator.estimate(item("a"), None) is None
    assert estimator.estimate(item("plan0"), None) == 1.0


@pytest.mark.parametrize("duration", [-1.0, float("nan")])
def test_durations_that_are_none_are_dropped(duration: float) -> None:
    estimator = DurationEstimator()
    estimator.add(item("a"), duration)
    assert estimator.estimate(item("a"), None) is None


def test_texts_in_nested_values() -> None:
    assert texts_in([["a"], {"b": "c", "d": ["e", 1]}, None, ("a",)]) == {"a", "c", "e"}
    assert texts_in(5) == set()
