"""Programs for bluesky-queueserver-api need another import and no more: same names, parameters, defaults."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

pytest.importorskip("bluesky_queueserver_api")

import bluesky_queueserver_api as stock
from bluesky_queueserver_api import console_monitor, item, system_info_monitor
from bluesky_queueserver_api import zmq as stock_zmq
from bluesky_queueserver_api.zmq import aio as stock_aio

import remanager_api
from remanager_api import blocking, monitors
from remanager_api import zmq as own_zmq
from remanager_api.zmq import aio as own_aio

CLASSES = [
    (stock_zmq.REManagerAPI, own_zmq.REManagerAPI),
    (stock_aio.REManagerAPI, own_aio.REManagerAPI),
    (console_monitor.ConsoleMonitor_ZMQ_Threads, blocking.BlockingConsoleMonitor),
    (console_monitor.ConsoleMonitor_ZMQ_Async, monitors.ConsoleMonitor),
    (system_info_monitor.SystemInfoMonitor_ZMQ_Threads, blocking.BlockingMonitor),
    (system_info_monitor.SystemInfoMonitor_ZMQ_Async, monitors.SystemInfoMonitor),
    (stock.WaitMonitor, remanager_api.WaitMonitor),
    *((getattr(item, name), getattr(remanager_api, name)) for name in ("BItem", "BPlan", "BInst", "BFunc")),
]


def _names(cls: type) -> list[str]:
    return [name for name in dir(cls) if not name.startswith("_")]


def _check(theirs: Any, ours: Any) -> None:
    given = inspect.signature(ours).parameters
    for name, parameter in inspect.signature(theirs).parameters.items():
        if name != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            assert name in given, name
            assert given[name].kind is parameter.kind, name
            assert given[name].default == parameter.default, name


@pytest.mark.parametrize("name", ["BFunc", "BInst", "BItem", "BPlan", "WaitMonitor"])
def test_what_is_imported(name: str) -> None:
    assert hasattr(stock, name)
    assert hasattr(remanager_api, name)


@pytest.mark.parametrize(("theirs", "ours"), CLASSES, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_methods_and_properties(theirs: type, ours: type) -> None:
    for name in _names(theirs):
        assert hasattr(ours, name), name
        one, other = getattr(theirs, name), getattr(ours, name)
        assert inspect.isclass(one) == inspect.isclass(other), name
        if not inspect.isclass(one):
            assert callable(one) == callable(other), name
            assert inspect.iscoroutinefunction(one) == inspect.iscoroutinefunction(other), name
            if callable(one):
                _check(one, other)


@pytest.mark.parametrize(("theirs", "ours"), CLASSES[:2])
def test_constructors(theirs: type, ours: type) -> None:
    _check(theirs, ours)


def test_errors_are_of_the_same_kind() -> None:
    for name in ("RequestTimeoutError", "WaitTimeoutError", "WaitCancelError"):
        assert issubclass(getattr(own_zmq.REManagerAPI, name), TimeoutError)
        assert issubclass(getattr(stock_zmq.REManagerAPI, name), TimeoutError)
