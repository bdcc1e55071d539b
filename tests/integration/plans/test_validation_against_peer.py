"""The verdict on an item must be the peer's, for its own simulated profile and for hand-made descriptions."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remanager.model.errors import InvalidItem
from remanager.plans.allowed import allowed_lists
from remanager.plans.lists_file import read_lists
from remanager.plans.permissions import default_permissions
from remanager.plans.validation import PlanValidator

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    peer_package = pytest.importorskip("bluesky_queueserver")
    from bluesky_queueserver.manager import profile_ops as peer

pytestmark = pytest.mark.filterwarnings("ignore")

LISTS = read_lists(
    Path(peer_package.__file__).parent / "profile_collection_sim" / "existing_plans_and_devices.yaml"
)
ALLOWED = allowed_lists(LISTS.plans, LISTS.devices, default_permissions())
VALIDATORS = {group: PlanValidator(*lists) for group, lists in ALLOWED.items()}


def peer_verdict(item: dict[str, Any], plans: dict[str, Any], devices: dict[str, Any]) -> tuple[bool, str]:
    return peer.validate_plan(item, allowed_plans=plans, allowed_devices=devices)


def our_verdict(validator: PlanValidator, item: dict[str, Any]) -> tuple[bool, str]:
    try:
        validator.validate(item)
    except InvalidItem as exc:
        return False, str(exc)
    return True, ""


def assert_same(item: dict[str, Any], group: str = "primary") -> tuple[str, str]:
    accepted, peer_text = peer_verdict(item, *ALLOWED[group])
    ours, text = our_verdict(VALIDATORS[group], item)
    assert ours == accepted, f"peer: {peer_text!r}, ours: {text!r}"
    return text, peer_text


DETECTORS = ["det1", "det2"]

# Items on which the whole text of the refusal is the peer's.
SAME_TEXT: list[dict[str, Any]] = [
    {"name": "count", "args": [DETECTORS], "kwargs": {"num": 5, "delay": 1}},
    {"name": "count", "args": [DETECTORS]},
    {"name": "count", "kwargs": {"detectors": DETECTORS}},
    {"name": "count", "args": (DETECTORS,), "kwargs": {"delay": [1, 2.5]}},
    {"name": "count", "args": [DETECTORS], "meta": {"a": 1}},
    {"name": "count", "args": [DETECTORS], "meta": [{"a": 1}, {"b": 2}]},
    {"name": "count", "args": [DETECTORS], "meta": []},
    {"name": "count", "args": [DETECTORS], "meta": "text"},
    {"name": "count", "args": [DETECTORS], "meta": None},
    {"name": "count", "args": [DETECTORS], "meta": [{"a": 1}, 2]},
    {"name": "count"},
    {"name": "count", "args": [DETECTORS], "kwargs": {"abc": 1}},
    {"name": "count", "args": [DETECTORS], "kwargs": {"detectors": DETECTORS}},
    {"name": "count", "args": [DETECTORS, 1, 1, 1, 1, 1]},
    {"name": "count", "args": [DETECTORS], "kwargs": {"num": "5"}},
    {"name": "count", "args": [DETECTORS], "kwargs": {"num": 5.0}},
    {"name": "count", "args": [DETECTORS], "kwargs": {"num": True}},
    {"name": "count", "args": ["det1"]},
    {"name": "count", "args": [{"det1": 1}]},
    {"name": "no_such_plan"},
    {"name": "scan", "args": [DETECTORS, "motor", -1, 1, 10]},
    {"name": "scan", "args": [DETECTORS, "motor", -1, 1], "kwargs": {"num": 10}},
    {"name": "scan", "args": [DETECTORS, "motor", -1, 1], "kwargs": {"num": None}},
    {"name": "scan", "args": []},
    {"name": "grid_scan", "args": [DETECTORS, "motor1", -1, 1, 3, "motor2", -1, 1, 3]},
    {"name": "grid_scan", "args": [DETECTORS], "kwargs": {"snake_axes": True}},
    {"name": "rel_scan", "args": [DETECTORS, "motor", -1, 1, 10]},
    {"name": "list_scan", "args": [DETECTORS, ["motor", [1, 2, 3]]]},
    {"name": "rel_list_scan", "args": [DETECTORS, "motor", [1, 2, 3]]},
    {"name": "move_then_count", "args": [["motor1", "motor2"], DETECTORS, [10, 20.5]]},
    {"name": "move_then_count", "args": [["motor1"], ["det1"]], "kwargs": {"positions": [1]}},
    {"name": "move_then_count", "args": [["motor1"], ["det1"]], "kwargs": {"positions": ["1"]}},
    {"name": "count_bundle_test", "args": [["sim_bundle_A.dets.det_A", "sim_bundle_A.dets.det_B"]]},
    {"name": "count_bundle_test", "args": [[]], "kwargs": {"num": 1, "delay": 1}},
]

# Items that both refuse or both accept.
SAME_VERDICT: list[dict[str, Any]] = [
    {},
    {"name": None},
    {"name": ["count"]},
    {"name": "count", "args": 5},
    {"name": "count", "args": None},
    {"name": "count", "args": {}, "kwargs": {"detectors": DETECTORS}},
    {"name": "count", "args": [DETECTORS], "kwargs": []},
    {"name": "count", "args": [DETECTORS], "kwargs": [1]},
    {"name": "count", "args": [DETECTORS], "kwargs": None},
    {"name": "count", "args": [5]},
    {"name": "count", "args": [[5]]},
    {"name": "count", "args": [DETECTORS], "kwargs": {"num": "x"}},
    {"name": "count", "args": [DETECTORS], "kwargs": {"md": {"a": 1}}},
    {"name": "count", "args": [DETECTORS], "kwargs": {"md": 1}},
    {"name": "move_then_count", "args": [["motor1", "no_motor"], DETECTORS, [10, 20.5]]},
    {"name": "move_then_count", "args": ["motor1", DETECTORS, [10, 20.5]]},
    {"name": "move_then_count", "args": [[0], DETECTORS, [10, 20.5]]},
    {"name": "move_then_count", "args": [["motor1"], DETECTORS, 10]},
    {"name": "count_bundle_test", "args": [["sim_bundle_A.dets.det_A", "sim_bundle_B.dets.det_B"]]},
    {"name": "count_bundle_test", "kwargs": {"detectors": ["sim_bundle_A.dets.det_A", "sim_bundle_B"]}},
    {"name": "count_bundle_test", "args": [["sim_bundle_A.no.such"]]},
]


@pytest.mark.parametrize("group", ["root", "primary", "test_user"])
@pytest.mark.parametrize("item", SAME_TEXT)
def test_verdict_and_text(item: dict[str, Any], group: str) -> None:
    text, peer_text = assert_same(item, group)
    if "validation error" not in peer_text:
        assert peer_text.startswith(text)


@pytest.mark.parametrize("group", ["root", "primary", "test_user"])
@pytest.mark.parametrize("item", SAME_VERDICT)
def test_verdict(item: dict[str, Any], group: str) -> None:
    assert_same(item, group)


@pytest.mark.parametrize("name", sorted(LISTS.plans))
def test_every_plan_of_the_profile_can_be_checked(name: str) -> None:
    assert_same({"name": name}, "root")
    assert_same({"name": name, "args": [DETECTORS]}, "root")
    assert_same({"name": name, "args": [DETECTORS, "motor1", 1, 2]}, "root")
    assert_same({"name": name, "args": ["motor1", 1, 2, 3]}, "root")
    assert_same({"name": name, "kwargs": {"detectors": DETECTORS, "num": 3, "motors": ["motor1"]}}, "root")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False)
    | st.sampled_from(["det1", "det2", "motor1", "sim_bundle_A.dets.det_A", "", "5", "1.5", "true", "count"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(
        ["count", "scan", "grid_scan", "move_then_count", "count_bundle_test", "mv", "sleep", "ramp_plan"]
    ),
    args=st.lists(VALUES | st.just(DETECTORS), max_size=4),
    kwargs=st.dictionaries(
        st.sampled_from(["detectors", "motors", "positions", "num", "delay", "md", "per_step"]),
        VALUES,
        max_size=3,
    ),
)
def test_generated_arguments(name: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    assert_same({"name": name, "args": args, "kwargs": kwargs}, "root")


def describe(*annotations: dict[str, Any] | None, **extra: Any) -> dict[str, Any]:
    """Return the description of a plan with the parameters p0, p1, ... of the given annotations."""
    parameters: list[dict[str, Any]] = []
    for number, annotation in enumerate(annotations):
        parameter: dict[str, Any] = {
            "name": f"p{number}",
            "kind": {"name": "POSITIONAL_OR_KEYWORD", "value": 1},
            **extra,
        }
        if annotation is not None:
            parameter["annotation"] = annotation
        parameters.append(parameter)
    return {"name": "plan", "properties": {"is_generator": True}, "parameters": parameters}


def assert_same_for(description: dict[str, Any], item: dict[str, Any]) -> str:
    plans, devices = {"plan": description, "count": LISTS.plans["count"]}, LISTS.devices
    accepted, peer_text = peer_verdict(item, plans, devices)
    ours, text = our_verdict(PlanValidator(plans, devices), item)
    assert ours == accepted, f"peer: {peer_text!r}, ours: {text!r}"
    return text


TYPES = [
    "int", "float", "str", "bool", "bytes", "complex", "list", "dict", "tuple", "set", "object", "NoneType",
    "typing.Any", "typing.List", "typing.List[int]", "list[float]", "typing.Sequence[str]",
    "collections.abc.Sequence[__READABLE__]", "collections.abc.Iterable[typing.Any]",
    "collections.abc.Iterable[int]", "typing.Iterable[float]", "typing.Generator[int, None, None]",
    "typing.Dict[str, float]", "dict[str, typing.Any]", "dict[str, list[int]]", "typing.Mapping[str, int]",
    "typing.Tuple[int, str]", "tuple[int, ...]", "tuple[()]", "typing.Tuple[__MOVABLE__, float]", "set[int]",
    "typing.Optional[int]", "typing.Union[int, str]", "typing.Union[float, str]", "int | None",
    "typing.Union[list[int], int, None]", "float | list[float]", "typing.Literal['a', -1, 2.5]",
    "typing.Literal['a']", "typing.Annotated[int, 5]", "typing.Optional[collections.abc.Hashable]",
    "collections.OrderedDict[str, int]", "collections.deque", "typing.Callable",
    "typing.Callable[[int], str]",
    "__PLAN__", "__DEVICE__", "__PLAN_OR_DEVICE__", "__READABLE__", "__MOVABLE__", "__FLYABLE__",
    "__CALLABLE__",
    "typing.List[__DEVICE__]", "typing.Union[typing.List[__PLAN__], __DEVICE__]", "typing.List['int']",
    "'int'",
    "type", "typing.Type[int]", "range", "typing.Iterator[int]", "callable", "List[int]", "typing.list[int]",
    "unknown", "unknown-type", "__PLAN__x", "1", "typing", "typing.Optional", "dict[str]", "int(5)",
    "", "int,", "enum.Enum",
]  # fmt: skip
SAMPLES: list[Any] = [
    None, True, 0, 1, -1, 5, 1.0, 1.5, "a", "5", "det1", [], [1], [1, "a"], ["1"], [1.5, 2], ["motor", 1.5],
    [[1], [2]], {}, {"a": 1}, {"a": "1"}, {"a": [1, 2]}, {"a": ["1"]}, b"x", 1 << 70, float("nan"),
]  # fmt: skip


@pytest.mark.parametrize("text", TYPES)
def test_types(text: str) -> None:
    for value in SAMPLES:
        assert_same_for(describe({"type": text}), {"name": "plan", "args": [value]})


NAMES = {
    "type": "typing.List[Dets]",
    "devices": {"Dets": ["det1", "det2", "no_device", "sim_bundle_A.dets.det_A"]},
}
ANNOTATIONS: list[dict[str, Any]] = [
    NAMES,
    {"type": "typing.List[Dets]", "devices": {"Dets": []}},
    {"type": "Dets", "devices": {"Dets": ("det1",)}},
    {"type": "typing.Union[typing.List[A], B]", "devices": {"A": ["det1"], "B": ["det2", "motor"]}},
    {"type": "typing.Union[A, Plans]", "devices": {"A": ["det1"]}, "plans": {"Plans": ["count", "scan"]}},
    {"type": "typing.Dict[str, typing.Union[E, int]]", "enums": {"E": ["a", "5"]}},
    {"type": "typing.List[__DEVICE__]", "devices": {"__DEVICE__": ["det1"]}},
    {"type": "A", "devices": {"A": None}},
    {"type": "int", "devices": {"A": []}},
    {"type": "typing.List[A]", "unknown": {"A": []}},
    {"type": "typing.Union[A, C]", "devices": {"A": ["det1"]}},
    {"type": "typing", "devices": {"typing": ["det1"]}},
    {"devices": {"A": []}},
]
NAME_SAMPLES: list[Any] = [
    "det1", "det2", "motor", "count", "scan", "no_device", "sim_bundle_A.dets.det_A", "", 5, None,
    ["det1"], ["det1", "det2"], ["no_device"], ["sim_bundle_A.dets.det_A"], ["motor"], [5], [], {"x": "a"},
    {"x": "5"}, {"x": 5}, {"x": "b"},
]  # fmt: skip


@pytest.mark.parametrize("annotation", ANNOTATIONS)
def test_lists_of_names(annotation: dict[str, Any]) -> None:
    for value in NAME_SAMPLES:
        assert_same_for(describe(annotation), {"name": "plan", "args": [value]})


@pytest.mark.parametrize("limits", [{"min": "5", "max": "15"}, {"min": "5.5"}, {"max": "1e1"}, {"min": "x"}])
@pytest.mark.parametrize(
    "value",
    [
        4,
        5,
        15,
        16,
        5.5,
        10.0,
        True,
        "a",
        None,
        [10, 3],
        [10, "90", [50, 4]],
        {"v": 10, "w": {"x": 99}},
        float("nan"),
    ],
)
def test_ranges(limits: dict[str, str], value: Any) -> None:
    description = describe(None, **limits)
    text = assert_same_for(description, {"name": "plan", "args": [value]})
    peer_text = peer_verdict({"name": "plan", "args": [value]}, {"plan": description}, {})[1]
    assert peer_text.startswith(text)


def _a(a, b, c): ...
def _b(*args, **kwargs): ...
def _c(a, b, *args, c, d): ...
def _d(a, b=5, *args, c, d=4): ...
def _e(a, /, b, *, c=None): ...


@settings(max_examples=200, deadline=None)
@given(
    function=st.sampled_from([_a, _b, _c, _d, _e]),
    text=st.sampled_from([None, "int", "typing.Optional[float]"]),
    args=st.lists(st.sampled_from([1, "1", 2.5, None]), max_size=5),
    kwargs=st.dictionaries(st.sampled_from("abcde"), st.sampled_from([1, "1", 2.5, None]), max_size=4),
)
def test_signatures(function: Any, text: str | None, args: list[Any], kwargs: dict[str, Any]) -> None:
    parameters: list[dict[str, Any]] = []
    for parameter in inspect.signature(function).parameters.values():
        entry: dict[str, Any] = {
            "name": parameter.name,
            "kind": {"name": parameter.kind.name, "value": parameter.kind.value},
        }
        if parameter.default is not inspect.Parameter.empty:
            entry["default"] = repr(parameter.default)
        if text is not None:
            entry["annotation"] = {"type": text}
        parameters.append(entry)
    description = {"name": "plan", "properties": {}, "parameters": parameters}
    item = {"name": "plan", "args": args, "kwargs": kwargs}
    ours = assert_same_for(description, item)
    peer_text = peer_verdict(item, {"plan": description}, {})[1]
    if "validation error" not in peer_text:
        assert peer_text.startswith(ours)


@pytest.mark.parametrize(
    "parameter",
    [
        {"name": "p0", "kind": {"value": 1}, "default": "int(5)"},
        {"name": "p0", "kind": {"value": 1}, "default": "text"},
        {"name": "p0", "kind": {"value": 9}},
        {"name": "p0"},
        {"kind": {"value": 1}},
    ],
)
def test_damaged_descriptions(parameter: dict[str, Any]) -> None:
    assert assert_same_for({"name": "plan", "parameters": [parameter]}, {"name": "plan", "args": [1]})


@pytest.mark.parametrize(("plans", "accepted"), [(None, True), ({}, False)])
def test_without_lists(plans: dict[str, Any] | None, accepted: bool) -> None:
    assert peer.validate_plan({}, allowed_plans=plans, allowed_devices=None)[0] is accepted
    assert our_verdict(PlanValidator(plans, None), {})[0] is accepted
