"""The blocking client offers what the asynchronous one does."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest

import remanager_api
from remanager_api import http
from remanager_api.blocking import BlockingClient, BlockingConsoleMonitor, BlockingMonitor
from remanager_api.client import AsyncClient
from remanager_api.http import aio as http_aio
from remanager_api.monitors import ConsoleMonitor, SystemInfoMonitor
from remanager_api.zmq import REManagerAPI
from remanager_api.zmq.aio import REManagerAPI as AsyncREManagerAPI

FACES = [
    (BlockingClient, AsyncClient),
    (REManagerAPI, AsyncREManagerAPI),
    (http.REManagerAPI, http_aio.REManagerAPI),
    (BlockingMonitor, SystemInfoMonitor),
    (BlockingConsoleMonitor, ConsoleMonitor),
]


def public(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


def test_names() -> None:
    assert sorted(remanager_api.__all__) == remanager_api.__all__
    assert all(hasattr(remanager_api, name) for name in remanager_api.__all__)


@pytest.mark.parametrize(("face", "source"), FACES)
def test_everything_is_offered(face: type, source: type) -> None:
    assert public(face) == public(source)


@pytest.mark.parametrize(("face", "source"), FACES)
def test_methods_have_the_same_signature(face: Any, source: Any) -> None:
    for name in public(source):
        method, other = getattr(source, name), getattr(face, name)
        if inspect.isclass(method) or name == "close":
            continue
        if callable(method):
            assert inspect.getdoc(other) == inspect.getdoc(method)
            assert list(inspect.signature(other).parameters) == list(inspect.signature(method).parameters)
            assert not inspect.iscoroutinefunction(other)
        elif not name.endswith("_monitor"):
            assert inspect.getdoc(other) == inspect.getdoc(method)


def test_the_constructor_says_what_it_takes() -> None:
    own = set(inspect.signature(REManagerAPI).parameters)
    assert own == set(inspect.signature(AsyncREManagerAPI).parameters) - {"loop"}


def test_the_client_is_light() -> None:
    modules = "click httpx msgpack pydantic rich uuid hashlib zmq.asyncio websockets"
    code = "import sys, remanager_api.zmq; print(*(m for m in sys.argv[1].split() if m in sys.modules))"
    command = [sys.executable, "-c", code, modules]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == ""
