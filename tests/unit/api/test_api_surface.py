"""The blocking client offers what the asynchronous one does."""

from __future__ import annotations

import inspect

import remanager_api
from remanager_api.blocking import BlockingClient
from remanager_api.client import AsyncClient
from remanager_api.zmq import REManagerAPI
from remanager_api.zmq.aio import REManagerAPI as AsyncREManagerAPI


def public(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


def test_names() -> None:
    assert REManagerAPI is BlockingClient
    assert AsyncREManagerAPI is AsyncClient
    assert sorted(remanager_api.__all__) == remanager_api.__all__
    assert all(hasattr(remanager_api, name) for name in remanager_api.__all__)
    instance_only = {"user", "user_group", "request_fail_exceptions_enabled"}
    assert public(BlockingClient) == (public(AsyncClient) | instance_only) - {"info_stream"}


def test_methods_have_the_same_signature() -> None:
    for name, method in inspect.getmembers(AsyncClient, inspect.iscoroutinefunction):
        if not name.startswith("_"):
            other = getattr(BlockingClient, name)
            assert inspect.getdoc(other) == inspect.getdoc(method)
            assert list(inspect.signature(other).parameters) == list(inspect.signature(method).parameters)
            assert not inspect.iscoroutinefunction(other)
