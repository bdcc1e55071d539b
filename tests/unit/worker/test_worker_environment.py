from __future__ import annotations

import json
import logging
import os
from typing import Any

import pytest

from remanager.model.worker_config import WorkerConfig
from remanager.worker.environment import Environment


class Odd:
    """An object of which nothing can be asked."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError("out of order")


def test_an_odd_object_is_named_once_and_spoils_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def plan() -> Any:
        yield

    environment = Environment(WorkerConfig(worker_uid="w", link_address="", console_address=""))
    with caplog.at_level(logging.WARNING):
        environment.open(lambda _config: {"odd": Odd(), "plan": plan})
    assert list(environment.lists.plans) == list(environment.lists.plans_ns) == ["plan"]
    assert environment.lists.devices == environment.lists.devices_ns == {}
    assert [record.message for record in caplog.records] == [
        "Can not tell whether 'odd' is a plan, it is left out: out of order",
        "Can not tell whether 'odd' is a device, it is left out: out of order",
    ]


def test_a_docstring_that_no_file_takes() -> None:
    def plan() -> Any:
        yield

    plan.__doc__ = "Loads " + os.fsdecode(b"caf\xe9.yaml")
    environment = Environment(WorkerConfig(worker_uid="w", link_address="", console_address=""))
    environment.open(lambda _config: {"plan": plan})
    plans = json.loads(environment.lists.plans_text)
    assert plans["plan"]["description"] == "Loads caf?.yaml"
