from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from remanager.model.errors import InvalidItem, NotFound, NotPermitted
from remanager.plans.annotations import parameter_annotation_decorator
from remanager.plans.namespace import existing_plans_and_devices
from remanager.plans.prepare import prepare_function, prepare_plan
from remanager.plans.registry import clear_registered_items
from remanager.plans.validation import PlanValidator

GROUP = "primary"


class Device:
    name = "device"
    parent = None

    def __init__(self, **components: Any) -> None:
        self.component_names = tuple(components)
        self.__dict__.update(components)

    def read(self) -> None: ...
    def describe(self) -> None: ...


def plain(*args, option=None, **kwargs):  # type: ignore[no-untyped-def]
    yield


def typed(x: str, y: int = 1) -> Any:
    yield


@parameter_annotation_decorator(
    {
        "parameters": {
            "detectors": {
                "annotation": "typing.List[D]",
                "devices": {"D": ["det1", "det2", "stage.x"]},
                "default": ["det1"],
            },
            "mode": {"annotation": "E", "enums": {"E": ["det1", "other"]}},
        }
    }
)
def listed(mode: str = "det1", detectors: Any = None) -> Any:
    yield


@parameter_annotation_decorator(
    {
        "parameters": {
            "plan": {"annotation": "__PLAN__"},
            "device": {"annotation": "__DEVICE__"},
            "kept": {"convert_plan_names": False, "convert_device_names": False},
            "hook": {"annotation": "__CALLABLE__"},
        }
    }
)
def built_in(plan: Any = None, device: Any = None, kept: Any = None, hook: Any = None) -> Any:
    yield


class Instrument:
    def __init__(self) -> None:
        self.det1, self.det2, self.x = Device(), Device(), Device()
        self.stage = Device(x=self.x)
        self.tools = SimpleNamespace(fit=len)
        self.ns: dict[str, Any] = {
            "det1": self.det1,
            "det2": self.det2,
            "stage": self.stage,
            "tools": self.tools,
            "plain": plain,
            "typed": typed,
            "listed": listed,
            "built_in": built_in,
        }
        self.plans, self.devices, *_ = existing_plans_and_devices(self.ns)

    def prepare(self, name: str, *args: Any, **kwargs: Any) -> tuple[list[Any], dict[str, Any]]:
        prepared = self.prepare_item({"name": name, "args": args, "kwargs": kwargs, "user_group": GROUP})
        return prepared["args"], prepared["kwargs"]

    def prepare_item(self, item: dict[str, Any], **changes: Any) -> Any:
        return prepare_plan(
            item,
            **{
                "plans_ns": {k: v for k, v in self.ns.items() if k in self.plans},
                "devices_ns": {k: v for k, v in self.ns.items() if k in self.devices},
                "allowed_plans": {GROUP: self.plans},
                "allowed_devices": {GROUP: self.devices},
                "ns": self.ns,
                **changes,
            },
        )


@pytest.fixture
def lab() -> Iterator[Instrument]:
    clear_registered_items()
    yield Instrument()
    clear_registered_items()


def test_names_in_parameters_without_annotation_become_objects(lab: Instrument) -> None:
    assert lab.prepare(
        "plain", ["det1", "stage.x", "no", ":^det"], 5, option={"a": "typed"}, more="det2"
    ) == (
        [[lab.det1, lab.x, "no", ":^det"], 5],
        {"option": {"a": typed}, "more": lab.det2},
    )


def test_names_in_parameters_of_another_type_stay_text(lab: Instrument) -> None:
    assert lab.prepare("typed", "det1") == (["det1"], {})


def test_listed_names_become_objects_and_enums_stay_text(lab: Instrument) -> None:
    assert lab.prepare("listed", "det1", ["det2", "stage.x"]) == (["det1", [lab.det2, lab.x]], {})


def test_default_of_the_decorator_is_used(lab: Instrument) -> None:
    assert lab.prepare("listed") == ([], {"detectors": [lab.det1]})


def test_built_in_types(lab: Instrument) -> None:
    assert lab.prepare("built_in", "typed", "det1", "det1", "tools.fit") == (
        [typed, lab.det1, "det1", len],
        {},
    )
    assert lab.prepare("built_in", "det1", "typed", None, "tools.missing") == (
        ["det1", "typed", None, "tools.missing"],
        {},
    )
    assert lab.prepare("built_in", hook="len")[1] == {"hook": len}


def test_present_objects_of_the_namespace_are_preferred(lab: Instrument) -> None:
    stale = {"det1": None, "det2": None, "stage": None}
    item = {"name": "plain", "args": ["det1"], "user_group": GROUP}
    assert lab.prepare_item(item, devices_ns=stale)["args"] == [lab.det1]
    del lab.ns["det1"]
    assert lab.prepare_item(item, devices_ns={"det1": lab.det2})["args"] == [lab.det2]


def test_devices_that_are_gone_or_not_allowed_stay_text(lab: Instrument) -> None:
    item = {"name": "plain", "args": ["det1", "stage.x"], "user_group": GROUP}
    assert lab.prepare_item(item, allowed_devices={GROUP: {}})["args"] == ["det1", "stage.x"]
    del lab.stage.x  # type: ignore[attr-defined]
    assert lab.prepare_item(item, devices_ns={"stage": lab.stage})["args"] == ["det1", "stage.x"]


def test_metadata_is_merged_first_wins(lab: Instrument) -> None:
    item = {"name": "plain", "user_group": GROUP}
    assert lab.prepare_item(item)["meta"] == {}
    assert lab.prepare_item({**item, "meta": {"a": 1}})["meta"] == {"a": 1}
    assert lab.prepare_item({**item, "meta": [{"a": 1}, {"a": 2, "b": 3}]})["meta"] == {"a": 1, "b": 3}


def test_item_is_not_changed(lab: Instrument) -> None:
    item = {"name": "plain", "args": [["det1"]], "kwargs": {"option": {"a": "det2"}}, "user_group": GROUP}
    lab.prepare_item(item)
    assert item["args"] == [["det1"]]
    assert item["kwargs"] == {"option": {"a": "det2"}}


def test_validators_are_kept(lab: Instrument) -> None:
    validators: dict[str, PlanValidator] = {}
    item = {"name": "plain", "user_group": GROUP}
    lab.prepare_item(item, validators=validators)
    kept = validators[GROUP]
    lab.prepare_item(item, validators=validators)
    assert validators == {GROUP: kept}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": "unknown"}, "Plan 'unknown' is not in the list of allowed plans"),
        ({"user_group": "other"}, "is not defined for the user group 'other'"),
        ({"args": [1]}, "Plan validation failed"),
        ({"kwargs": {"abc": 1}}, "got an unexpected keyword argument 'abc'"),
    ],
)
def test_wrong_items_are_refused(lab: Instrument, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidItem, match=text):
        lab.prepare_item({"name": "typed", "args": ["a"], "user_group": GROUP, **changes})


def test_group_is_required(lab: Instrument) -> None:
    with pytest.raises(InvalidItem, match="No user group is specified"):
        lab.prepare_item({"name": "plain"})


def test_namespace_that_lost_or_changed_the_plan(lab: Instrument) -> None:
    item = {"name": "typed", "args": ["a"], "user_group": GROUP}
    with pytest.raises(InvalidItem, match="does not exist"):
        lab.prepare_item(item, plans_ns={}, ns={})
    with pytest.raises(InvalidItem, match="has extra parameters"):
        lab.prepare_item(item, ns={**lab.ns, "typed": lambda x: None})
    with pytest.raises(InvalidItem, match="do not fit the plan 'typed'"):
        lab.prepare_item(item, ns={**lab.ns, "typed": lambda x, y, z: None})


PERMISSIONS = {"user_groups": {"root": {"allowed_functions": [None]}, GROUP: {"allowed_functions": [":^f"]}}}


def test_function_call() -> None:
    item = {"name": "f", "args": [1], "kwargs": {"b": "det1"}, "user_group": GROUP}
    prepared = prepare_function(item, {"f": max}, PERMISSIONS)
    assert prepared == {"callable": max, "args": [1], "kwargs": {"b": "det1"}}
    assert prepare_function({"name": "g", "user_group": GROUP}, {"g": max}, None)["args"] == []


@pytest.mark.parametrize(
    ("item", "error", "text"),
    [
        ({"user_group": GROUP}, InvalidItem, "No function name is specified"),
        ({"name": "f"}, InvalidItem, "No user group is specified"),
        ({"name": "f", "user_group": "x"}, NotPermitted, "No permissions are defined for user group 'x'"),
        ({"name": "g", "user_group": GROUP}, NotPermitted, "Function 'g' is not allowed"),
        (
            {"name": "f", "user_group": GROUP},
            NotFound,
            "^Function 'f' is not found in the worker namespace$",
        ),
        ({"name": "f_number", "user_group": GROUP}, InvalidItem, "is not callable"),
        ({"name": "f_plan", "user_group": GROUP}, InvalidItem, "is a generator function"),
    ],
)
def test_wrong_functions_are_refused(item: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        prepare_function(item, {"f_number": 1, "f_plan": plain}, PERMISSIONS)
