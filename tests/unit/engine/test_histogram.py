"""Distribution of durations, against the durations themselves."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager.engine.histogram import MAX_RATIO, Histogram

durations = st.floats(1e-6, 1e7)
RATIO = MAX_RATIO * (1 + 1e-9)


def histogram(values: list[float]) -> Histogram:
    result = Histogram()
    for value in values:
        result.add(value)
    return result


@given(st.lists(durations, min_size=1, max_size=200), st.floats(0, 100))
def test_percentile_is_within_a_bucket_of_the_true_one(values: list[float], percent: float) -> None:
    (found,) = histogram(values).percentiles([percent])
    true = sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]
    assert found is not None
    assert true / RATIO <= found <= true * RATIO


def test_summary() -> None:
    result = histogram([0.5, 1.5, 4.0])
    assert (result.count, result.minimum, result.maximum, result.average) == (3, 0.5, 4.0, 2.0)
    median, longest = result.percentiles([50, 100])
    assert median == pytest.approx(1.5, rel=0.1)
    assert longest == pytest.approx(4.0, rel=0.1)


def test_empty() -> None:
    result = Histogram()
    assert (result.count, result.minimum, result.maximum, result.average) == (0, None, None, None)
    assert result.percentiles([50, 99]) == [None, None]


def test_extremes_stay_within_minimum_and_maximum() -> None:
    assert histogram([0.0, 0.0]).percentiles([50]) == [0.0]
    assert histogram([-3.0]).minimum == 0.0
    assert histogram([1e12]).percentiles([1, 99]) == [1e12, 1e12]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_refuses_what_is_no_duration(value: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        Histogram().add(value)


@pytest.mark.parametrize("percent", [-1, 101])
def test_refuses_what_is_no_percentile(percent: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        Histogram().percentiles([percent])
