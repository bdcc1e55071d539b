"""Values of tasks in the client: tagged on the way out, whole on the way in."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import msgpack
import numpy as np
import pytest

from remanager_api import BFunc, RequestParameterError
from remanager_api.outcomes import Outcome
from remanager_api.task_methods import task_item
from remanager_api.values import tagged, tagged_item, untagged, with_values

FORM = {"__ndarray__": "AACAPw==", "dtype": "<f4", "shape": [1]}


def test_arguments_are_tagged() -> None:
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    item = task_item(
        BFunc("f", np.array([1.0], "<f4"), (1, np.int16(2)), b=b"\0\1", c={1: now}, d=np.float64(0.5))
    )
    assert item["args"] == [FORM, [1, 2]]
    assert item["kwargs"] == {
        "b": {"__bytes__": "AAE="},
        "c": {"__dict__": [[1, {"__datetime__": "2026-01-31T12:00:00+00:00"}]]},
        "d": 0.5,
    }
    assert type(item["args"][1][1]) is int


def test_forms_written_by_hand_stay() -> None:
    by_hand = {"a": {"__ndarray__": [[1, 2]]}, "b": [{"__bytes__": "AAE="}]}
    assert tagged(by_hand) == by_hand


def test_functions_of_the_environment_are_given_what_is_there() -> None:
    array = np.arange(3)
    for options in (({"where": "environment"},), (None, {"where": "environment"})):
        assert type(task_item(BFunc("f", array), *options)["args"][0]) is np.ndarray
    assert type(task_item(BFunc("f", array), {"where": "pool"}, {"where": "environment"})["args"][0]) is dict


@pytest.mark.parametrize(
    "damaged",
    [
        {"__ndarray__": "?", "dtype": "<f4", "shape": [1]},
        {"__ndarray__": "AAAA", "dtype": "<f4", "shape": [1]},
        {"__ndarray__": "AAAA", "dtype": "O", "shape": [1]},
        {"__ndarray__": "AA==", "dtype": "|u1", "shape": [-1]},
        {"__ndarray__": "AA=="},
        {"__ndarray__": [1], "more": 1},
        {"__bytes__": 5},
        {"__bytes__": "AA==", "more": 1},
        {"__dict__": [[[], 1]]},
        {"__dict__": 3},
        {"__float__": "much"},
        {"__datetime__": None},
        msgpack.ExtType(1, b"x"),
        msgpack.ExtType(9, b"x"),
    ],
)
def test_what_is_not_of_its_form_stays(damaged: Any) -> None:
    assert untagged([damaged]) == [damaged]


def test_results_are_whole() -> None:
    reply = with_values({"success": True, "result": {"return_value": [FORM]}})
    assert reply["result"]["return_value"][0].tolist() == [1.0]
    reply = with_values(
        {"results": {"u": {"result": {"return_value": {"__float__": "inf"}}}, "v": {"result": {}}}}
    )
    assert reply["results"] == {"u": {"result": {"return_value": float("inf")}}, "v": {"result": {}}}
    assert Outcome.of("u", "completed", {"return_value": {"__bytes__": "AAE="}}).result() == b"\0\1"
    assert with_values({"success": False, "result": None}) == {"success": False, "result": None}


def test_arrays_stay_forms_without_numpy() -> None:
    script = (
        "import sys; sys.modules['numpy'] = None; from remanager_api.values import tagged, untagged; "
        "import msgpack; "
        f"form = {FORM!r}; assert untagged([form]) == [form]; "
        "ext = msgpack.ExtType(1, msgpack.packb(['<f4', [1], b'\\0\\0\\x80?'])); "
        "assert untagged(ext) == form; "
        "assert tagged([b'a', {}]) == [{'__bytes__': 'YQ=='}, {}]"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_numpy_is_not_imported_without_an_array() -> None:
    script = (
        "import sys; from remanager_api.values import tagged, untagged; tagged([b'', {1: object()}]); "
        "untagged({'__bytes__': ''}); assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_arguments_that_hold_themselves_are_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(RequestParameterError, match="'f' hold themselves"):
        tagged_item({"name": "f", "args": endless})
