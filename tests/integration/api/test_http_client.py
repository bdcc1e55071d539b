"""The client over HTTP, blocking and asynchronous, against a stand-in for bluesky-httpserver."""

from __future__ import annotations

import asyncio
import getpass
import inspect
import io
import json
import multiprocessing
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_http_server import STATUS, Asked, FakeHTTPServer, Refusal

from remanager_api import BFunc, BPlan, RequestFailedError, RequestParameterError, WaitTimeoutError
from remanager_api.http import REManagerAPI
from remanager_api.http.aio import REManagerAPI as AsyncREManagerAPI


@pytest.fixture
def server() -> Iterator[FakeHTTPServer]:
    with FakeHTTPServer().served() as fake:
        yield fake


async def result_of(method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a method of either kind: a blocking one in a thread."""
    if inspect.iscoroutinefunction(method):
        return await method(*args, **kwargs)
    return await asyncio.to_thread(method, *args, **kwargs)


class Both:
    """A client of either kind; what it returns is awaited where it can be."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    async def do(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return await result_of(getattr(self.client, name), *args, **kwargs)


@pytest.fixture(params=["blocking", "asynchronous"])
async def rm(request: pytest.FixtureRequest, server: FakeHTTPServer) -> AsyncIterator[Both]:
    kind = REManagerAPI if request.param == "blocking" else AsyncREManagerAPI
    both = Both(kind(http_server_uri=server.uri, timeout=20, console_monitor_poll_period=0.01))
    yield both
    await both.do("close")


PLAN = {"item_type": "plan", "name": "count"}


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "endpoint", "body"),
    [
        (
            "item_add",
            (BPlan("count"),),
            {"pos": "front"},
            ("POST", "/api/queue/item/add"),
            {"item": PLAN, "pos": "front"},
        ),
        ("item_add_batch", ([BPlan("count")],), {}, ("POST", "/api/queue/item/add/batch"), {"items": [PLAN]}),
        ("item_get", (), {"pos": 1}, ("GET", "/api/queue/item/get"), {"pos": 1}),
        ("queue_start", (), {"lock_key": "k"}, ("POST", "/api/queue/start"), {"lock_key": "k"}),
        ("queue_mode_set", (), {"loop": True}, ("POST", "/api/queue/mode/set"), {"mode": {"loop": True}}),
        (
            "function_execute",
            (BFunc("f", 1),),
            {"user": "ignored"},
            ("POST", "/api/function/execute"),
            {"item": {"item_type": "function", "name": "f", "args": [1]}},
        ),
        ("lock", ("k",), {"queue": True}, ("POST", "/api/lock"), {"lock_key": "k", "queue": True}),
        ("task_status", (["a"],), {}, ("GET", "/api/task/status"), {"task_uid": ["a"]}),
        ("whoami", (), {}, ("GET", "/api/auth/whoami"), {}),
        ("api_scopes", (), {}, ("GET", "/api/auth/scopes"), {}),
        ("principal_info", (), {}, ("GET", "/api/auth/principal"), {}),
        ("principal_info", (), {"principal_uid": "u"}, ("GET", "/api/auth/principal/u"), {}),
        ("apikey_new", (), {"expires_in": 9.5}, ("POST", "/api/auth/apikey"), {"expires_in": 9}),
        (
            "apikey_new",
            (),
            {"expires_in": 9, "scopes": ("read:status",), "note": "n", "principal_uid": "u"},
            ("POST", "/api/auth/principal/u/apikey"),
            {"expires_in": 9, "scopes": ["read:status"], "note": "n"},
        ),
        (
            "apikey_delete",
            (),
            {"first_eight": "12345678"},
            ("DELETE", "/api/auth/apikey?first_eight=12345678"),
            {},
        ),
        ("session_revoke", (), {"session_uid": "s"}, ("DELETE", "/api/auth/session/revoke/s"), {}),
        (
            "send_request",
            (),
            {"method": ("GET", "/api/mine"), "params": {"a": 1}},
            ("GET", "/api/mine"),
            {"a": 1},
        ),
    ],
)
async def test_what_is_sent(
    rm: Both,
    server: FakeHTTPServer,
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    endpoint: tuple[str, str],
    body: Any,
) -> None:
    assert await rm.do(name, *args, **kwargs) == {"success": True, "msg": ""}
    asked = server.asked[-1]
    assert (asked.endpoint, asked.body, asked.authorization) == (endpoint, body, None)


async def test_the_client_says_how_it_speaks(rm: Both) -> None:
    assert rm.protocol == rm.Protocols.HTTP
    assert (rm.auth_method, rm.auth_key) == (rm.AuthorizationMethods.NONE, None)


async def test_requests_by_key(rm: Both, server: FakeHTTPServer) -> None:
    server.key = "right"
    with pytest.raises(rm.HTTPClientError, match="401: Invalid API key"):
        await rm.do("status")
    rm.set_authorization_key(api_key="right")
    assert (rm.auth_method, rm.auth_key) == (rm.AuthorizationMethods.API_KEY, "right")
    assert (await rm.do("status"))["manager_state"] == "idle"
    with pytest.raises(rm.HTTPClientError, match="401"):
        await rm.do("whoami", api_key="wrong")
    assert server.asked[-1].authorization == "ApiKey wrong"
    await rm.do("whoami", api_key="right")
    await rm.do("logout")
    assert rm.auth_key is None


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"expires_in": "9"}, "'expires_in' is not integer"),
        ({"expires_in": 9, "scopes": "read:status"}, "'scopes' must be a list of strings"),
        ({"expires_in": 9, "scopes": 5}, "'scopes' must be a list of strings"),
        ({"expires_in": 9, "scopes": [5]}, "'scopes' must be a list of strings"),
        ({"expires_in": 9, "note": 5}, "'note' must be a string"),
        ({"expires_in": 9, "principal_uid": 5}, "'principal_uid' must be a string"),
    ],
)
async def test_parameters_of_a_key_are_checked(rm: Both, kwargs: dict[str, Any], text: str) -> None:
    with pytest.raises(RequestParameterError, match=text):
        await rm.do("apikey_new", **kwargs)


def accept_bob(asked: Asked) -> object:
    if asked.body != "username=bob&password=secret":
        raise Refusal(401, "Incorrect username or password")
    return {"access_token": "a", "refresh_token": "r"}


@pytest.mark.parametrize("typed", [(), ("bob",)], ids=["asks for both", "asks for the password"])
async def test_login_asks_for_what_is_missing(
    rm: Both, server: FakeHTTPServer, monkeypatch: pytest.MonkeyPatch, typed: tuple[str, ...]
) -> None:
    monkeypatch.setattr(getpass, "getpass", lambda: "secret")
    monkeypatch.setattr(sys, "stdin", io.StringIO("bob\n"))
    server.answers["POST", "/api/auth/provider/toy/token"] = accept_bob
    assert await rm.do("login", *typed, provider="toy/token") == {"access_token": "a", "refresh_token": "r"}
    assert (rm.auth_method, rm.auth_key) == (rm.AuthorizationMethods.TOKEN, ("a", "r"))
    await rm.do("status")
    assert server.asked[-1].authorization == "Bearer a"


async def test_login_that_fails(rm: Both, server: FakeHTTPServer) -> None:
    server.answers["POST", "/api/auth/provider/toy/token"] = accept_bob
    with pytest.raises(rm.HTTPClientError, match="401: Incorrect username or password"):
        await rm.do("login", "bob", password="wrong", provider="/toy/token")
    with pytest.raises(RequestParameterError, match="Authentication provider is not specified"):
        await rm.do("login", "bob", password="secret")
    with pytest.raises(RequestParameterError, match="'password' is an empty string"):
        await rm.do("login", "bob", password="", provider="/toy/token")
    assert rm.auth_key is None


@pytest.mark.parametrize("kind", [REManagerAPI, AsyncREManagerAPI])
@pytest.mark.parametrize(("provider", "text"), [(10, "must be a string or None"), ("", "is an empty string")])
def test_a_wrong_provider(kind: Any, provider: Any, text: str) -> None:
    with pytest.raises(kind.RequestParameterError, match=text):
        kind(http_auth_provider=provider)


async def test_session_refresh(rm: Both, server: FakeHTTPServer) -> None:
    tokens = {"access_token": "a2", "refresh_token": "r2"}
    server.answers["POST", "/api/auth/session/refresh"] = lambda _: tokens
    for token, text in ((10, "must be a string or None"), (" ", "is an empty string"), (None, "is not set")):
        with pytest.raises(RequestParameterError, match=f"'refresh_token' {text}"):
            await rm.do("session_refresh", refresh_token=token)
    rm.set_authorization_key(refresh_token="r1")
    assert await rm.do("session_refresh") == tokens
    assert server.asked[-1].body == {"refresh_token": "r1"}
    assert rm.auth_key == ("a2", "r2")
    await rm.do("session_refresh", refresh_token="other")
    assert server.asked[-1].body == {"refresh_token": "other"}


async def test_refused_by_the_manager(rm: Both, server: FakeHTTPServer) -> None:
    server.answers["POST", "/api/queue/start"] = lambda _: {"success": False, "msg": "why", "code": "locked"}
    with pytest.raises(RequestFailedError, match="Request failed: why") as caught:
        await rm.do("queue_start")
    assert caught.value.code == "locked"
    assert "lock_info() tells" in caught.value.__notes__[0]
    rm.client.request_fail_exceptions_enabled = False
    assert (await rm.do("queue_start"))["msg"] == "why"
    rm.client.request_fail_exceptions_enabled = True
    server.answers["GET", "/api/auth/whoami"] = lambda _: None
    with pytest.raises(RequestFailedError, match="Request failed: None"):
        await rm.do("whoami")


async def test_a_method_that_the_server_does_not_have(rm: Both, server: FakeHTTPServer) -> None:
    with pytest.raises(
        RequestParameterError, match="Unknown method 'stats': bluesky-httpserver has no endpoint"
    ):
        await rm.do("stats")
    assert not server.asked


async def test_waiting_outlasts_errors_of_the_server(rm: Both, server: FakeHTTPServer) -> None:
    answers = iter(
        [Refusal(500, ""), Refusal(408, "Request timeout"), {**STATUS, "manager_state": "opening"}, STATUS]
    )

    def status(_: Asked) -> object:
        answer = next(answers)
        if isinstance(answer, Refusal):
            raise answer
        return answer

    server.answers["GET", "/api/status"] = status
    await rm.do("wait_for_idle", timeout=30)
    assert next(answers, None) is None


async def test_waiting_without_a_right_ends_with_the_time_out(rm: Both, server: FakeHTTPServer) -> None:
    server.key = "right"
    with pytest.raises(WaitTimeoutError):
        await rm.do("wait_for_idle", timeout=0.1)
    rm.set_authorization_key(api_key="right")
    await rm.do("wait_for_idle", timeout=30)


async def test_a_handle_of_a_plan(rm: Both, server: FakeHTTPServer) -> None:
    item = {**PLAN, "item_uid": "u", "result": {"exit_status": "completed", "run_uids": ["r"], "msg": ""}}
    queues = iter([([item], {}), ([], item)])
    ended: list[Any] = []

    def queue(_: Asked) -> object:
        items, running = next(queues, ([], {}))
        if not items and not running:
            ended.append(item)
        return {"items": items, "running_item": running}

    server.answers["POST", "/api/queue/item/add"] = lambda _: {"success": True, "item": item}
    server.answers["GET", "/api/task/status"] = lambda _: {"success": True, "status": {"u": "not_found"}}
    server.answers["GET", "/api/queue/get"] = queue
    server.answers["GET", "/api/history/get"] = lambda _: {"items": ended}
    handle = await rm.do("submit", BPlan("count"))
    outcome = await result_of(handle.wait, 30)
    assert (handle.task_uid, outcome.state) == ("u", "completed")


async def test_console_output_without_web_sockets(rm: Both, server: FakeHTTPServer) -> None:
    def update(asked: Asked) -> object:
        new = [{"time": 1.0, "msg": "first\nsecond\n"}] if asked.body["last_msg_uid"] == "u1" else []
        number = int(asked.body["last_msg_uid"][1:] or 0)
        return {"success": True, "console_output_msgs": new, "last_msg_uid": f"u{number + 1}"}

    server.answers["GET", "/api/console_output_update"] = update
    rm.console_monitor.enable()
    message = await result_of(rm.console_monitor.next_msg, 20)
    assert message == {"time": 1.0, "msg": "first\nsecond\n"}
    assert await result_of(rm.console_monitor.text) == "first\nsecond"
    rm.console_monitor.disable()


async def test_a_server_that_is_away() -> None:
    with FakeHTTPServer().served() as fake:
        uri = fake.uri
    async with AsyncREManagerAPI(http_server_uri=uri) as client:
        with pytest.raises(
            client.HTTPRequestError, match=f"HTTP request error: All connection .* \\({uri}\\)"
        ):
            await client.status()


def test_the_environment_says_where_the_server_is(
    server: FakeHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QSERVER_HTTP_SERVER_URI", server.uri)
    client = REManagerAPI()
    assert client.status()["manager_state"] == "idle"
    client.close()


def _ask_in_child(client: REManagerAPI, answers: Any) -> None:
    answers.put(client.status(reload=True)["manager_state"])


def test_a_forked_child_uses_connections_of_its_own(server: FakeHTTPServer) -> None:
    client = REManagerAPI(http_server_uri=server.uri)
    client.status()
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    child = fork.Process(target=_ask_in_child, args=(client, answers))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert answers.get() == "idle"
    answers.close()
    assert client.status(reload=True)["manager_state"] == "idle"
    client.close()


WITHOUT = """
import json, sys
sys.modules["httpx"] = None
import remanager_api.zmq
try:
    import remanager_api.http
except ImportError as exc:
    print(json.dumps(str(exc)))
"""


def test_without_the_extra_the_import_says_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True, timeout=60
    )
    assert "pip install 'remanager[http]'" in json.loads(done.stdout)


PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "http.md").read_text()
SAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)


@pytest.mark.parametrize("sample", SAMPLES, ids=range(len(SAMPLES)))
def test_the_samples_of_the_page_run(
    server: FakeHTTPServer, monkeypatch: pytest.MonkeyPatch, sample: str
) -> None:
    monkeypatch.setenv("QSERVER_HTTP_SERVER_URI", server.uri)
    monkeypatch.setattr(getpass, "getpass", lambda: "secret")
    server.answers["POST", "/api/auth/provider/toy/token"] = accept_bob
    server.answers["GET", "/api/auth/whoami"] = lambda _: {"identities": [{"id": "bob"}]}
    server.answers["POST", "/api/auth/apikey"] = lambda _: {"secret": "abc"}
    names: dict[str, Any] = {"REManagerAPI": REManagerAPI}
    exec(compile(sample.replace("http://localhost:60610", server.uri), "http.md", "exec"), names)
    names["RM"].close()
    assert server.asked
