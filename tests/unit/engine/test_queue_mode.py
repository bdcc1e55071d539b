"""The mode of the plan queue."""

from __future__ import annotations

import re

import pytest

from remanager.engine.queue_mode import DEFAULT_MODE, QueueMode, updated_mode
from remanager.model.errors import InvalidParams


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        ({}, QueueMode(loop=True)),
        ({"ignore_failures": True}, QueueMode(loop=True, ignore_failures=True)),
        ({"loop": False}, QueueMode()),
        ({"loop": False, "ignore_failures": True}, QueueMode(ignore_failures=True)),
        ("default", DEFAULT_MODE),
    ],
)
def test_updates(update: object, expected: QueueMode) -> None:
    assert updated_mode(QueueMode(loop=True), update) == expected


def test_default() -> None:
    assert DEFAULT_MODE.as_dict() == {"loop": False, "ignore_failures": False}


@pytest.mark.parametrize(
    ("update", "text"),
    [
        (
            "unknown",
            "Queue mode is passed using object of unsupported type '<class 'str'>': (unknown). "
            "Supported types: ('dict', 'str'), supported string value: 'default'",
        ),
        (["a"], "Queue mode is passed using object of unsupported type '<class 'list'>'"),
        (None, "Queue mode is passed using object of unsupported type '<class 'NoneType'>'"),
        (
            {"loop": True, "x": 10},
            "Unsupported plan queue mode parameter 'x': supported parameters ['loop', 'ignore_failures']",
        ),
        ({1: True}, "Unsupported plan queue mode parameter '1'"),
        (
            {"loop": 10},
            "Unsupported type '<class 'int'>' of the parameter 'loop': expected type '<class 'bool'>'",
        ),
        ({"ignore_failures": []}, "Unsupported type '<class 'list'>' of the parameter 'ignore_failures'"),
    ],
)
def test_refusals(update: object, text: str) -> None:
    with pytest.raises(InvalidParams, match=re.escape(text)):
        updated_mode(DEFAULT_MODE, update)
