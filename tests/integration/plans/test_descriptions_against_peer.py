"""Descriptions of plans and devices, and calls made of plan items, must be those of the peer."""

from __future__ import annotations

import collections.abc
import copy
import re
import shutil
import sys
import typing
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remanager.model.errors import InvalidItem
from remanager.model.worker_config import WorkerConfig
from remanager.plans.allowed import allowed_lists
from remanager.plans.descriptions import PlanDescriptionError, describe_plan
from remanager.plans.docstrings import parse_docstring
from remanager.plans.namespace import (
    devices_from_namespace,
    existing_plans_and_devices,
    plans_from_namespace,
)
from remanager.plans.permissions import default_permissions
from remanager.plans.prepare import prepare_plan
from remanager.plans.registry import clear_registered_items, register_device, register_plan
from remanager.worker.compat import modules
from remanager.worker.startup import load_startup

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    peer_package = pytest.importorskip("bluesky_queueserver")
    ophyd = pytest.importorskip("ophyd")
    import bluesky.plans
    import bluesky.protocols as bp
    import numpy as np
    from bluesky_queueserver.manager import profile_ops as peer
    from ophyd.sim import SynAxis

pytestmark = pytest.mark.filterwarnings("ignore")

Namespace = dict[str, Any]

EXTRA_CODE = """
class Hidden(ophyd.Device):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        raise TimeoutError("not connected")

class Half(ophyd.Device):
    good = Cpt(ophyd.Signal, value=1)
    bad = Cpt(Hidden, "", lazy=True)

class Whole(ophyd.Device):
    half = Cpt(Half, "")
    other = Cpt(ophyd.Signal, value=2)

whole = Whole(name="whole")
signal_class = ophyd.Signal
camera = ophyd.areadetector.ADBase(name="camera")
"""


@pytest.fixture(scope="module")
def ns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Namespace]:
    """The peer's simulated profile without its RunEngine, loaded by our loader, and some odd devices."""
    source = Path(peer_package.__file__).parent / "profile_collection_sim"
    profile = tmp_path_factory.mktemp("profile")
    for file in source.glob("*.py"):
        if "run-engine" not in file.name:
            shutil.copy(file, profile)
    (profile / "99-more.py").write_text("import ophyd.areadetector\n" + EXTRA_CODE)
    settings = WorkerConfig("w", "", "", startup_dir=str(profile))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_QSERVER_RE_WORKER_ACTIVE", "")
        patch.setenv("_QSERVER_RUNNING_IPYTHON_KERNEL", "")
        patch.setitem(sys.modules, "__main__", sys.modules["__main__"])
        yield load_startup(settings)
    modules.uninstall()


@pytest.fixture(autouse=True)
def _clean_registry() -> Iterator[None]:
    clear_registered_items()
    yield
    clear_registered_items()


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_profile(ns: Namespace, depth: int) -> None:
    plans, devices, *_ = existing_plans_and_devices(ns, depth)
    peer_plans, peer_devices, in_ns, devices_in_ns = peer.existing_plans_and_devices_from_nspace(
        nspace=ns, max_depth=depth
    )
    assert len(plans) > 30
    assert plans == peer_plans
    assert devices == peer_devices
    assert plans_from_namespace(ns) == in_ns
    assert devices_from_namespace(ns) == devices_in_ns


def test_registered_items(ns: Namespace) -> None:
    for register_a_plan, register_a_device in (
        (register_plan, register_device),
        (peer.register_plan, peer.register_device),
    ):
        register_a_plan("count", exclude=True)
        register_a_plan("missing")
        register_a_device("sim_bundle_A", depth=2)
        register_a_device("camera", depth=2)
        register_a_device("det1", exclude=True)
        plans, devices, *_ = existing_plans_and_devices(ns, 1)
        # Both packages know the registrations only if the peer's functions made them.
        if register_a_plan is peer.register_plan:
            peer_plans, peer_devices, *_ = peer.existing_plans_and_devices_from_nspace(nspace=ns, max_depth=1)
            assert plans == peer_plans
            assert devices == peer_devices
        assert "count" not in plans
        assert "det1" not in devices
        assert devices["camera"]["components"]
        clear_registered_items()


def test_bluesky_plans() -> None:
    space = {name: getattr(bluesky.plans, name) for name in dir(bluesky.plans)}
    plans, *_ = existing_plans_and_devices(space, ignore_invalid_plans=True)
    peer_plans, *_ = peer.existing_plans_and_devices_from_nspace(nspace=space, ignore_invalid_plans=True)
    assert len(plans) > 20
    assert plans == peer_plans


class Custom:
    pass


def annotated(annotation: Any) -> Any:
    def plan(x):  # type: ignore[no-untyped-def]
        yield

    plan.__annotations__ = {"x": annotation}
    return plan


ANNOTATIONS = [
    *(int, float, str, bool, bytes, list, dict, tuple, object, None, type(None), Custom, Path, np.ndarray),
    *(typing.Any, typing.List[int], typing.Dict[str, typing.List[float]], typing.Tuple[int, ...]),  # noqa: UP006
    *(typing.Optional[int], typing.Union[int, str, None], int | None, list[int] | dict[str, int]),  # noqa: UP007, UP045
    *(typing.Literal["a", "b"], typing.Optional[typing.Literal[1]], typing.Annotated[int, 5]),  # noqa: UP045
    *(list[Custom], typing.Optional[Custom], typing.TypeVar("T"), typing.Sequence[int], typing.Iterable),  # noqa: UP045
    *(collections.abc.Iterable, collections.abc.Sequence[int], collections.abc.Mapping, typing.Generator),
    *(collections.abc.Iterable | None, list[collections.abc.Iterable[int]], bluesky.utils.Msg),
    *(bp.Readable, bp.Movable, bp.NamedMovable, bp.Flyable, bp.Locatable, bp.Stageable, bp.Status),
    *(list[bp.Readable], typing.Optional[bp.Movable], dict[str, bp.Flyable], bp.Movable[float]),  # noqa: UP045
    *(bp.Readable | bp.Movable, typing.Sequence[bp.Readable], typing.Mapping[bp.Movable, float]),
    *(
        typing.Callable,
        typing.Callable[[int], str],
        typing.Callable[..., typing.Any],
    ),
    *(
        typing.Callable[[list[int]], int] | None,
        list[collections.abc.Callable[[bp.Readable], None]],
    ),
    *(ophyd.Device, typing.List[ophyd.Device], SynAxis, np.float64, type, type[int], "np.ndarray"),  # noqa: UP006
]


# A bare ``collections.abc.Callable`` is missing on purpose: the peer knows it only with parameters.
@pytest.mark.parametrize("annotation", ANNOTATIONS, ids=repr)
def test_annotations(annotation: Any) -> None:
    plan = annotated(annotation)
    if isinstance(annotation, str):
        annotation = eval(annotation)
    expected = peer._process_plan(annotated(annotation), existing_devices={}, existing_plans=set())
    assert describe_plan(plan, "plan", devices={}, plan_names=()) == expected


DEFAULTS: list[Any] = [
    *(1, -1.5, "a", None, True, (), [1, {"a": (2,)}], {1, 2}, b"x", 1j, ..., Custom, Custom(), len),
    *(float("nan"), float("inf"), np.float64(1), np.array([1]), range(3), frozenset({1})),
]


# A name with an address in it would differ between the processes that run the tests.
@pytest.mark.parametrize("default", DEFAULTS, ids=lambda d: "Custom()" if isinstance(d, Custom) else repr(d))
@pytest.mark.parametrize("in_decorator", [False, True])
def test_defaults(default: Any, in_decorator: bool) -> None:
    def plan(x=5 if in_decorator else default):  # type: ignore[no-untyped-def]
        yield

    if in_decorator:
        plan._custom_parameter_annotation_ = {"parameters": {"x": {"default": default}}}  # type: ignore[attr-defined]
    try:
        expected = peer._process_plan(plan, existing_devices={}, existing_plans=set())
    except ValueError as exc:
        with pytest.raises(PlanDescriptionError, match=f"^{re.escape(str(exc))}$"):
            describe_plan(plan, "plan", devices={}, plan_names=())
    else:
        assert describe_plan(plan, "plan", devices={}, plan_names=()) == expected


LINES = st.sampled_from(
    [
        *("", "", "Text.", "    indented", "        more", "f(x, y=1)", "Parameters", "----------", "======"),
        *(
            "Yields",
            "------",
            "Other Parameters",
            "----------------",
            "x",
            "x : int",
            "*a, **b : list",
            "y :",
        ),
        *(".. index:: a", "x: int", "Notes", "-----", "  two"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(LINES, max_size=16), st.sampled_from(["", "    "]))
def test_docstrings(lines: list[str], indent: str) -> None:
    text = ("\n" + indent).join(lines)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = peer._parse_docstring(text)
    except ValueError:
        # The peer refuses plans for such docstrings.
        parse_docstring(text)
        return
    found = parse_docstring(text)
    assert found.summary == expected.get("description", "")
    parameters = expected.get("parameters", {})
    assert found.parameters == {name: entry["description"] for name, entry in parameters.items()}


ITEMS: list[dict[str, Any]] = [
    {"name": "count", "args": [["det1", "det2"]]},
    {"name": "count", "args": [["det1", "det2"]], "kwargs": {"num": 10, "delay": 1, "md": {"a": "det1"}}},
    {"name": "count", "args": [["sim_bundle_A.dets.det_A", "none", ":det1"]]},
    {"name": "count", "args": [["det1"]], "kwargs": {"per_shot": "ttime.sleep"}},
    {"name": "scan", "args": [["det1"], "motor", -1, 1, 10]},
    {"name": "scan", "args": [["det1"], "motor", -1, 1, "motor1", -2, 2], "kwargs": {"num": 3}},
    {"name": "marked_up_count", "args": [["det1", "no"]], "kwargs": {"md": {"det": "det2"}}},
    {"name": "move_then_count", "args": [["motor1"], ["det1", "det3"]], "kwargs": {"positions": [5, 7]}},
    {"name": "move_then_count", "args": [["motor1"]], "kwargs": {"positions": [5, 7]}},
    {"name": "move_then_count", "args": [["motor1"], ["det4"]], "kwargs": {"positions": [5, 7]}},
    {
        "name": "count_bundle_test",
        "args": [["sim_bundle_A.mtrs.x", "det"]],
        "meta": [{"a": 1}, {"a": 2, "b": 3}],
    },
    {"name": "count_bundle_test", "args": [["sim_bundle_A.mtrs.q"]]},
    {"name": "mv", "args": ["motor1", 3, "motor2", 4]},
    {"name": "unknown"},
    {"name": "count", "args": [["det1"]], "meta": 5},
    {"name": "count", "user_group": "nobody"},
]


@pytest.mark.parametrize("item", ITEMS, ids=str)
@pytest.mark.parametrize("group", ["root", "primary", "test_user"])
def test_prepared_plans(ns: Namespace, item: dict[str, Any], group: str) -> None:
    plans, devices, *_ = existing_plans_and_devices(ns)
    lists = allowed_lists(plans, devices, default_permissions())
    allowed_plans = {name: entry[0] for name, entry in lists.items()}
    allowed_devices = {name: entry[1] for name, entry in lists.items()}
    item = {"user_group": group, **item}

    def prepared() -> Any:
        return prepare_plan(
            copy.deepcopy(item),
            plans_ns=plans_from_namespace(ns),
            devices_ns=devices_from_namespace(ns),
            allowed_plans=allowed_plans,
            allowed_devices=allowed_devices,
            ns=ns,
        )

    try:
        expected = peer.prepare_plan(
            copy.deepcopy(item),
            plans_in_nspace=plans_from_namespace(ns),
            devices_in_nspace=devices_from_namespace(ns),
            allowed_plans=copy.deepcopy(allowed_plans),
            allowed_devices=copy.deepcopy(allowed_devices),
            nspace=ns,
        )
    except (RuntimeError, KeyError):
        with pytest.raises(InvalidItem):
            prepared()
    else:
        assert prepared() == expected
