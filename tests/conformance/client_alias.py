"""Plugin of pytest: the tests of bluesky_queueserver_api meet the client of this project, also over HTTP.

The conformance suite itself exchanges the classes over ZeroMQ (``run.sh --client remanager_api``). This
plugin exchanges the rest; it is named behind ``--`` and found by ``PYTHONPATH``::

    PYTHONPATH=tests/conformance:api run.sh --client remanager_api --files 'test_api.py' -- -p client_alias
"""

from __future__ import annotations

from importlib import import_module

import pytest

PEER = "bluesky_queueserver_api"
CLASSES = {
    "tests.common": {
        "REManagerAPI_http_threads": "remanager_api.http:REManagerAPI",
        "REManagerAPI_http_async": "remanager_api.http.aio:REManagerAPI",
    },
    "comm_threads": {
        "ReManagerComm_ZMQ_Threads": "remanager_api.zmq:REManagerAPI",
        "ReManagerComm_HTTP_Threads": "remanager_api.http:REManagerAPI",
    },
    "comm_async": {
        "ReManagerComm_ZMQ_Async": "remanager_api.zmq.aio:REManagerAPI",
        "ReManagerComm_HTTP_Async": "remanager_api.http.aio:REManagerAPI",
    },
    "comm_base": {"RequestParameterError": "remanager_api:RequestParameterError"},
}


def _source(client: object) -> object:
    """Return the asynchronous client behind a blocking one, or the client itself."""
    return getattr(client, "_source", client)


def _show_time_outs() -> None:
    """Let two tests see the time-outs of a client under the private names that the peer gives them."""
    blocking = import_module("remanager_api.http").REManagerAPI
    blocking._timeout_login = property(lambda client: _source(client)._timeout_login)
    for kind in (blocking, import_module("remanager_api.http.aio").REManagerAPI):
        kind._timeout = property(lambda client: _source(client)._transport.timeout)


def pytest_configure(config: pytest.Config) -> None:
    """Put the classes of this project where the tests look for those of the peer."""
    # Whatever of the peer uses its own classes has to have taken them before.
    modules = {name: import_module(f"{PEER}.{name}") for name in CLASSES}
    for name, exchanged in CLASSES.items():
        for attribute, place in exchanged.items():
            module, _, ours = place.partition(":")
            setattr(modules[name], attribute, getattr(import_module(module), ours))
    _show_time_outs()
