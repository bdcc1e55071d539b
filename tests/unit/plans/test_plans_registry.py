from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from remanager.plans.registry import (
    RegisteredDevice,
    RegisteredPlan,
    clear_registered_items,
    register_device,
    register_plan,
    registered_devices,
    registered_plans,
)


@pytest.fixture(autouse=True)
def _clean_registry() -> Iterator[None]:
    clear_registered_items()
    yield
    clear_registered_items()


def test_registered_items_are_listed() -> None:
    register_plan("p")
    register_plan("q", exclude=True)
    register_device("d")
    register_device("e", depth=0, exclude=True)
    assert registered_plans() == {"p": RegisteredPlan(False), "q": RegisteredPlan(True)}
    assert registered_devices() == {"d": RegisteredDevice(1, False), "e": RegisteredDevice(0, True)}


@pytest.mark.parametrize(
    ("name", "error"),
    [(5, TypeError), ("", ValueError), ("det.val", ValueError), ("9a", ValueError), ("a\n", ValueError)],
)
def test_bad_names_are_refused(name: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="Plan name"):
        register_plan(name)
    with pytest.raises(error, match="Device name"):
        register_device(name)


@pytest.mark.parametrize(("depth", "error"), [("1", TypeError), (1.5, TypeError), (-1, ValueError)])
def test_bad_depths_are_refused(depth: int, error: type[Exception]) -> None:
    with pytest.raises(error, match="Depth must be"):
        register_device("d", depth=depth)


def test_registration_with_the_peer_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    items = SimpleNamespace(
        reg_plans={"p": {"obj": None, "exclude": True}},
        reg_devices={"d": {"obj": None, "depth": 3, "exclude": False}},
    )
    module = SimpleNamespace(reg_ns_items=items)
    monkeypatch.setitem(sys.modules, "bluesky_queueserver.manager.profile_ops", module)
    assert registered_plans() == {"p": RegisteredPlan(True)}
    assert registered_devices() == {"d": RegisteredDevice(3, False)}
    clear_registered_items()
    assert registered_plans() == {}
    assert registered_devices() == {}
