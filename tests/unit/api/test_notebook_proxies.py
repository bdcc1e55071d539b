"""Plans, devices and functions as objects."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from typing import Any

import msgpack
import pytest

from remanager_api import BFunc, BPlan
from remanager_api.notebook.proxies import Devices, Functions, Names, Plans


def parameter(name: str, kind: str = "POSITIONAL_OR_KEYWORD", **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": {"name": kind, "value": 1}, **more}


DETECTORS = parameter("detectors", annotation={"type": "collections.abc.Sequence[__READABLE__]"})
COUNT = {
    "name": "count",
    "description": "Take readings.",
    "parameters": [
        DETECTORS,
        parameter("num", default="1", annotation={"type": "int | None"}, min="1", description="How many."),
        parameter("delay", default="0.0"),
        parameter("md", "KEYWORD_ONLY", default="None", annotation={"type": "dict[str, typing.Any] | None"}),
    ],
}
SCAN = {"parameters": [DETECTORS, parameter("args", "VAR_POSITIONAL"), parameter("more", "VAR_KEYWORD")]}
ALIGN = {
    "parameters": [
        parameter("axis", annotation={"type": "Axes", "devices": {"Axes": ["theta", "stage.x"]}}),
        parameter("odd", default="<what is this>"),
        parameter("late"),
    ]
}
SIGNAL = {"is_readable": True, "is_movable": True, "is_flyable": False, "classname": "Signal"}
DEVICES = {
    "diode": {"is_readable": True, "is_movable": False, "is_flyable": False, "classname": "Detector"},
    "stage": {"is_readable": True, "classname": "Stage", "components": {"x": SIGNAL, "title": SIGNAL}},
}


@pytest.fixture
def plans() -> Plans:
    return Plans.of({"plans_allowed": {"count": COUNT, "scan": SCAN, "align": ALIGN, "my-plan": SCAN}})


@pytest.fixture
def devices() -> Devices:
    return Devices.of({"devices_allowed": DEVICES})


def test_a_call_makes_an_item(plans: Plans, devices: Devices) -> None:
    item = plans.count([devices.diode], num=5)
    assert isinstance(item, BPlan)
    assert item.to_dict() == BPlan("count", ["diode"], num=5).to_dict()
    item = plans.scan((devices.diode,), devices.stage.x, -1, 1, inner={"plan": plans.count})
    assert item.to_dict() == BPlan("scan", ["diode"], "stage.x", -1, 1, inner={"plan": "count"}).to_dict()
    assert plans["my-plan"]([]).name == "my-plan"


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((), {}, "missing a required argument: 'detectors'"),
        ((["diode"],), {"nmu": 3}, "unexpected keyword argument 'nmu'"),
        ((["diode"], 1, 2, 3), {}, "too many positional arguments"),
        ((["diode"],), {"detectors": []}, "multiple values for argument 'detectors'"),
    ],
)
def test_wrong_arguments_are_told_at_once(
    plans: Plans, args: tuple[Any, ...], kwargs: dict[str, Any], words: str
) -> None:
    with pytest.raises(TypeError, match=words) as caught:
        plans.count(*args, **kwargs)
    assert str(caught.value).startswith("count(detectors: Sequence[Readable], num")


def test_the_signature_is_that_of_the_plan(plans: Plans) -> None:
    assert str(inspect.signature(plans.count)) == (
        "(detectors: Sequence[Readable], num: int | None = 1, delay=0.0, *, md: dict[str, Any] | None = None)"
    )
    assert str(inspect.signature(plans.scan)) == "(detectors: Sequence[Readable], *args, **more)"
    # A decorator gave a default value to the second parameter, and none to the third.
    assert str(inspect.signature(plans.align)) == "(axis: Axes, odd=<what is this>, late)"
    with pytest.raises(TypeError, match="late"):
        plans.align("theta")
    assert plans.align("theta", late=1).kwargs == {"late": 1}


def test_the_docstring_is_made_of_the_description(plans: Plans) -> None:
    lines = inspect.getdoc(plans.count).splitlines()  # type: ignore[union-attr]
    assert lines[0] == "Take readings."
    assert lines[lines.index("num : int | None, default 1, min 1") + 1] == "    How many."
    assert "    Axes: theta, stage.x" in (inspect.getdoc(plans.align) or "").splitlines()


def test_completion_knows_the_names(plans: Plans, devices: Devices) -> None:
    assert dir(plans) == ["align", "count", "scan"]
    assert list(plans) == ["count", "scan", "align", "my-plan"]
    assert plans._ipython_key_completions_() == list(plans)
    assert "x" in dir(devices.stage)
    assert "upper" not in dir(devices.stage)
    assert len(plans) == 4
    assert "count" in plans


def test_completion_of_ipython(plans: Plans, devices: Devices) -> None:
    from IPython.core.completer import IPCompleter, provisionalcompleter

    completer = IPCompleter(namespace={"plans": plans, "devices": devices}, global_namespace={})
    for text, expected in (("plans.c", "count"), ("devices.stage.", "title"), ("plans['my", "my-plan")):
        with provisionalcompleter():
            found = [completion.text for completion in completer.completions(text, len(text))]
        assert expected in found, text


@pytest.mark.parametrize("name", ["cuont", "_secret", "__len"])
def test_an_unknown_name(plans: Plans, name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(plans, name)
    with pytest.raises(KeyError, match=name):
        plans[name]


def test_devices_are_names_with_components(devices: Devices) -> None:
    assert devices.stage.x == devices["stage"]["x"] == "stage.x"
    assert devices.stage.title == "stage.title"  # not the method of texts
    assert repr(devices.diode) == "<diode: Detector, readable>"
    with pytest.raises(AttributeError, match="z"):
        _ = devices.stage.z
    with pytest.raises(KeyError, match="no component 'z'"):
        devices.stage["z"]


def test_devices_are_sent_and_kept_as_plain_texts(devices: Devices) -> None:
    axis = devices.stage.x
    assert json.dumps([axis]) == '["stage.x"]'
    assert msgpack.unpackb(msgpack.packb([axis])) == ["stage.x"]
    for other in (pickle.loads(pickle.dumps(axis)), copy.deepcopy(axis)):
        assert type(other) is str
        assert other == "stage.x"
    assert type(BPlan("count", [axis]).args[0][0]) is str


def test_functions_of_task_modules() -> None:
    parameters = [
        {"name": "source", "kind": "POSITIONAL_OR_KEYWORD", "required": True},
        {"name": "verify", "kind": "KEYWORD_ONLY", "required": False},
    ]
    entry = {"name": "copy_run", "doc": "Copy a run.\n\n    More.", "parameters": parameters, "module": "m"}
    functions = Functions.of({"functions": [entry]})
    assert str(inspect.signature(functions.copy_run)) == "(source, *, verify=...)"
    assert inspect.getdoc(functions.copy_run) == "Copy a run.\n\nMore."
    item = functions.copy_run("/a", verify=False)
    assert isinstance(item, BFunc)
    assert item.kwargs == {"verify": False}
    with pytest.raises(TypeError, match="source"):
        functions.copy_run()


def test_lists_show_themselves(plans: Plans, devices: Devices) -> None:
    shown: list[Names[Any]] = [plans, devices, Functions.of({})]
    for names, word in zip(shown, ("Take readings.", "Stage", "Functions"), strict=True):
        assert word in repr(names)
        assert word in names._repr_html_()
    assert "Take readings." in plans.count._repr_html_()
    assert "title" in devices.stage._repr_html_()


def test_a_description_that_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        Plans.of({"plans_allowed": {"odd": {"parameters": [{"name": "a", "kind": {"name": "WHAT"}}]}}})
