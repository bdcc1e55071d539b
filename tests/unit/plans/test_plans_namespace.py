from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from remanager.plans.devices import describe_devices, is_device
from remanager.plans.namespace import (
    devices_from_namespace,
    existing_plans_and_devices,
    plans_from_namespace,
)
from remanager.plans.registry import clear_registered_items, register_device, register_plan


@pytest.fixture(autouse=True)
def _clean_registry() -> Iterator[None]:
    clear_registered_items()
    yield
    clear_registered_items()


class Node:
    """Device with children, in the manner of ophyd-async."""

    def __init__(self, **children: Any) -> None:
        self.__dict__.update(children)
        self._names = list(children)

    def children(self) -> Iterator[tuple[str, Any]]:
        return ((name, getattr(self, name)) for name in self._names)


class Motor(Node):
    name = "motor"
    parent = None

    def read(self) -> None: ...
    def describe(self) -> None: ...
    def set(self, value: float) -> None: ...


class Static:
    component_names = ("broken", "fine")

    def __init__(self) -> None:
        self.fine = Node()

    @property
    def broken(self) -> object:
        raise TimeoutError("no such channel")


class Broken:
    def __getattr__(self, name: str) -> object:
        raise RuntimeError("out of order")


def shape(descriptions: dict[str, Any]) -> dict[str, Any]:
    return {name: shape(entry.get("components", {})) for name, entry in descriptions.items()}


def test_properties_of_a_device() -> None:
    assert describe_devices({"motor": Motor()}) == {
        "motor": {
            "is_readable": True,
            "is_movable": True,
            "is_flyable": False,
            "classname": "Motor",
            "module": __name__,
        }
    }


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (0, {"a": {"b": {"c": {}}}}),
        (-1, {"a": {"b": {"c": {}}}}),
        (1, {"a": {}}),
        (2, {"a": {"b": {}}}),
        (9, {"a": {"b": {"c": {}}}}),
    ],
)
def test_depth(depth: int, expected: dict[str, Any]) -> None:
    assert shape(describe_devices({"a": Node(b=Node(c=Node()))}, depth)) == expected


def test_registration_sets_the_depth_and_excludes() -> None:
    register_device("a", depth=2)
    register_device("b", exclude=True)
    devices = {name: Node(x=Node(y=Node())) for name in "abc"}
    assert shape(describe_devices(devices, 1)) == {"a": {"x": {}}, "c": {}}


def test_components_that_fail_are_left_out_together(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        descriptions = describe_devices({"top": Node(static=Static(), other=Node())})
    assert shape(descriptions) == {"top": {"static": {}, "other": {}}}
    assert "Device 'top.static': component 'broken' can not be processed: no such channel" in caplog.text


def test_device_that_cannot_be_examined_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    strange = SimpleNamespace(children=lambda: [5])
    with caplog.at_level(logging.WARNING):
        descriptions = describe_devices({"strange": strange, "fine": Node()})
    assert list(descriptions) == ["fine"]
    assert "Device 'strange' is left out" in caplog.text


def test_device_that_contains_itself_is_survived(caplog: pytest.LogCaptureFixture) -> None:
    device = Node(inner=Node())
    device.inner.outer = device  # type: ignore[attr-defined]
    device.inner._names.append("outer")  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING):
        assert shape(describe_devices({"device": device})) == {"device": {"inner": {}}}
    assert "contains itself" in caplog.text


def test_area_detectors_are_expanded_only_if_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ophyd.areadetector.base", SimpleNamespace(ADBase=Motor))
    devices = {"camera": Motor(cam=Node())}
    assert shape(describe_devices(devices)) == {"camera": {}}
    register_device("camera", depth=0)
    assert shape(describe_devices(devices)) == {"camera": {"cam": {}}}


def test_what_is_a_device() -> None:
    assert is_device(Node())
    assert is_device(Motor())
    assert not is_device(Motor)
    assert not is_device("motor")
    module = ModuleType("module")
    module.children = lambda: []  # type: ignore[attr-defined]
    assert not is_device(module)


def test_plans_and_devices_are_found(caplog: pytest.LogCaptureFixture) -> None:
    def plan() -> Any:
        yield

    ns = {"plan": plan, "motor": Motor(), "number": 5, "broken": Broken(), "excluded": plan}
    register_plan("excluded", exclude=True)
    register_plan("number")
    register_device("missing")
    with caplog.at_level(logging.WARNING):
        plans, devices, *_ = existing_plans_and_devices(ns)
    assert list(plans) == ["plan"]
    assert list(devices) == ["motor"]
    assert "'broken'" in caplog.text
    assert "Registered plan 'number' is not found in the namespace or is no plan" in caplog.text
    assert "Registered device 'missing'" in caplog.text
    assert list(plans_from_namespace(ns)) == ["plan", "excluded"]
    assert list(devices_from_namespace(ns)) == ["motor"]


def test_wrappers_of_plans_are_named_as_what_they_are(caplog: pytest.LogCaptureFixture) -> None:
    """``functools.wraps`` makes a function look like the plan that it calls."""

    def plan() -> Any:
        yield

    @functools.wraps(plan)
    def wrapper() -> Any:
        return plan()

    with caplog.at_level(logging.INFO):
        assert list(plans_from_namespace({"plan": plan, "wrapper": wrapper, "other": shape})) == ["plan"]
    assert "wrap one: wrapper. Call them" in caplog.text
