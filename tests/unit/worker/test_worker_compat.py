from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from remanager.plans import registry
from remanager.plans.annotations import parameter_annotation_decorator
from remanager.worker import compat
from remanager.worker.compat import environment, modules
from remanager.worker.compat.happi import load_devices_from_happi
from remanager.worker.compat.user_namespace import global_user_namespace, set_user_ns

PACKAGE = "bluesky_queueserver"


@pytest.fixture(autouse=True)
def _restored_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("_QSERVER_RE_WORKER_ACTIVE", "_QSERVER_RUNNING_IPYTHON_KERNEL"):
        monkeypatch.setenv(name, "")
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == PACKAGE}
    for name in before:
        del sys.modules[name]
    yield
    modules.uninstall()
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]
    sys.modules.update(before)


@pytest.fixture
def without_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide an installed package of that name."""
    finders = [SimpleNamespace(find_spec=_hide(finder)) for finder in sys.meta_path]
    monkeypatch.setattr(sys, "meta_path", finders)


def _hide(finder: Any) -> Any:
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        return None if name.split(".", maxsplit=1)[0] == PACKAGE else finder.find_spec(name, path, target)

    return find_spec


@pytest.mark.usefixtures("without_peer")
def test_substitutes_are_served_where_the_package_is_absent() -> None:
    compat.install()
    compat.install()
    package = importlib.import_module(PACKAGE)
    manager = importlib.import_module(f"{PACKAGE}.manager")
    tools = importlib.import_module(f"{PACKAGE}.manager.profile_tools")
    decorators = importlib.import_module(f"{PACKAGE}.manager.annotation_decorator")
    operations = importlib.import_module(f"{PACKAGE}.manager.profile_ops")
    assert package.manager is manager
    assert package.parameter_annotation_decorator is parameter_annotation_decorator
    assert decorators.parameter_annotation_decorator is parameter_annotation_decorator
    assert package.register_plan is operations.register_plan is registry.register_plan
    assert package.is_re_worker_active is tools.is_re_worker_active
    assert tools.global_user_namespace is global_user_namespace
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{PACKAGE}.manager.worker")


def test_installed_package_wins_and_learns_the_namespace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / PACKAGE / "manager"
    package.mkdir(parents=True)
    (tmp_path / PACKAGE / "__init__.py").write_text("mark = 1")
    (package / "__init__.py").write_text("")
    (package / "profile_tools.py").write_text(
        "class N:\n"
        "    def set_user_namespace(self, *, user_ns, use_ipython):\n"
        "        self.seen = user_ns, use_ipython\n"
        "global_user_namespace = N()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    compat.install()
    first: dict[str, Any] = {"first": 1}
    compat.set_user_namespace(first)
    assert importlib.import_module(PACKAGE).mark == 1
    tools = importlib.import_module(f"{PACKAGE}.manager.profile_tools")
    assert tools.global_user_namespace.seen == (first, False)
    second: dict[str, Any] = {"second": 2}
    compat.set_user_namespace(second, use_ipython=True)
    assert tools.global_user_namespace.seen == (second, True)
    compat.set_user_namespace({})


def test_questions() -> None:
    environment.clear_re_worker_active()
    environment.clear_ipython_mode()
    assert not environment.is_re_worker_active()
    assert not environment.is_ipython_mode()
    compat.set_worker_environment(ipython_kernel=True)
    assert environment.is_re_worker_active()
    assert environment.is_ipython_mode()
    compat.set_worker_environment(ipython_kernel=False)
    assert not environment.is_ipython_mode()


def test_question_without_ipython(monkeypatch: pytest.MonkeyPatch) -> None:
    environment.clear_re_worker_active()
    monkeypatch.setitem(sys.modules, "IPython", None)
    assert not environment.is_ipython_mode()


def test_functions_get_the_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    @set_user_ns
    def function(x: int, *, user_ns: dict[str, Any], ipython: Any = 0) -> Any:
        return x, user_ns, ipython

    @set_user_ns
    def plan(*, user_ns: dict[str, Any]) -> Any:
        yield user_ns

    ns = {"a": 1}
    compat.set_user_namespace(ns)
    assert function(3) == (3, ns, None)
    assert list(plan()) == [ns]
    assert inspect.isgeneratorfunction(plan)
    assert list(inspect.signature(function).parameters) == ["x"]

    shell = SimpleNamespace(user_ns={"b": 2})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    compat.set_user_namespace(ns, use_ipython=True)
    assert function(3) == (3, {"b": 2}, shell)
    monkeypatch.setitem(sys.modules, "IPython", None)
    assert function(3) == (3, ns, None)
    compat.set_user_namespace({})


def test_namespace_must_be_a_dictionary() -> None:
    with pytest.raises(TypeError, match="'user_ns' must be of type 'dict'"):
        global_user_namespace.set_user_namespace(user_ns=[])  # type: ignore[arg-type]


class Item:
    def __init__(self, name: str) -> None:
        self.item = SimpleNamespace(name=name)
        self.metadata = {"name": name}


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> list[Item]:
    items = [Item("det"), Item("lab_motor"), Item("twin"), Item("twin")]
    client = SimpleNamespace(search=lambda name, **other: [i for i in items if i.item.name == name])
    happi = SimpleNamespace(
        Client=SimpleNamespace(from_config=lambda: client),
        load_devices=lambda *found: SimpleNamespace(**{item.name: item for item in found}),
    )
    monkeypatch.setitem(sys.modules, "happi", happi)
    return items


def test_devices_are_loaded_from_happi(database: list[Item]) -> None:
    ns: dict[str, Any] = {}
    assert load_devices_from_happi(["det", ("lab_motor", "motor")], namespace=ns, beamline="x") == [
        "det",
        "motor",
    ]
    assert ns == {"det": database[0].item, "motor": database[1].item}
    assert database[1].metadata["name"] == "motor"


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("names", "error", "text"),
    [
        ("det", TypeError, "must be a tuple or a list"),
        ([5], TypeError, "element #0 must be str, tuple or list"),
        ([("a",)], TypeError, "expected to be in the form"),
        ([("a", "B")], TypeError, "can not be renamed"),
        (["none"], RuntimeError, "No devices with name 'none'"),
        (["twin"], RuntimeError, "Multiple devices with name 'twin'"),
    ],
)
def test_wrong_requests_to_happi(names: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        load_devices_from_happi(names, namespace={})


def test_happi_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "happi", None)
    with pytest.raises(ImportError, match="needs the package 'happi'"):
        load_devices_from_happi(["det"], namespace={})
    with pytest.raises(TypeError, match="'namespace' must be a dictionary"):
        load_devices_from_happi(["det"], namespace=[])  # type: ignore[arg-type]
