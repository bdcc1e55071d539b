"""The HTTP transport against answers from a function, and against a real web socket server."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_http_server import FakeHTTPServer
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from remanager_api.errors import RequestFailedError, RequestParameterError, RequestTimeoutError
from remanager_api.http.authorization import Authorization
from remanager_api.http.errors import HTTPClientError, HTTPRequestError, HTTPServerError
from remanager_api.http.transport import HTTPTransport
from remanager_api.transport import InfoMessage

PERIODS = {"QS_Console": 0.01, "QS_Info": 0.01}

Handler = Callable[[httpx.Request], httpx.Response]


@asynccontextmanager
async def transport(handler: Handler, uri: str = "http://host") -> AsyncIterator[HTTPTransport]:
    made = HTTPTransport(
        server_uri=uri, timeout=5, poll_periods=PERIODS, backend=httpx.MockTransport(handler)
    )
    try:
        yield made
    finally:
        await made.close()


def answer(request: httpx.Request) -> httpx.Response:
    """Answer with what was sent."""
    return httpx.Response(
        200,
        json={
            "verb": request.method,
            "url": str(request.url),
            "body": request.content.decode(),
            "authorization": request.headers.get("authorization"),
            "timeout": request.extensions["timeout"]["read"],
        },
    )


async def test_what_is_sent() -> None:
    async with transport(answer) as http:
        assert await http.request("status") == {
            "verb": "GET",
            "url": "http://host/api/status",
            "body": "{}",
            "authorization": None,
            "timeout": 5,
        }
        http.authorization = Authorization(api_key="key")
        reply = await http.request("queue_item_get", {"pos": 1}, 3)
        assert json.loads(reply["body"]) == {"pos": 1}
        assert (reply["authorization"], reply["timeout"]) == ("ApiKey key", 3)
        reply = await http.request(("DELETE", "/api/x"), timeout=0, url_params={"a": "b"}, headers={"X": "y"})
        assert (reply["verb"], reply["url"]) == ("DELETE", "http://host/api/x?a=b")
        assert (reply["authorization"], reply["timeout"]) == (None, None)
        reply = await http.request(("POST", "/api/x"), data={"username": "bob"})
        assert reply["body"] == "username=bob"


async def test_the_server_may_have_a_path() -> None:
    async with transport(answer, "https://host/lab/") as http:
        assert (await http.request("status"))["url"] == "https://host/lab/api/status"


async def test_a_method_without_endpoint_is_not_sent() -> None:
    async with transport(answer) as http:
        with pytest.raises(RequestParameterError, match="Unknown method 'task_submit'"):
            await http.request("task_submit")


def fails(request: httpx.Request) -> httpx.Response:
    match request.url.path:
        case "/timeout":
            raise httpx.ReadTimeout("", request=request)
        case "/away":
            raise httpx.ConnectError("All connection attempts failed", request=request)
        case "/text":
            return httpx.Response(200, text="<html>")
        case path:
            return httpx.Response(int(path[1:]), json={"detail": "why"})


@pytest.mark.parametrize(
    ("path", "error", "text"),
    [
        ("/timeout", RequestTimeoutError, "Request timeout: no answer from http://host in 5 s"),
        ("/away", HTTPRequestError, r"HTTP request error: All connection attempts failed \(http://host\)"),
        ("/text", RequestFailedError, "Request failed: the reply cannot be decoded"),
        ("/401", HTTPClientError, "401: why http://host/401"),
        ("/307", HTTPClientError, "307: why http://host/307"),
        ("/500", HTTPServerError, "Server error '500 Internal Server Error'"),
    ],
)
async def test_how_requests_fail(path: str, error: type[Exception], text: str) -> None:
    async with transport(fails) as http:
        with pytest.raises(error, match=text):
            await http.request(("GET", path))


async def test_a_closed_transport_sends_nothing() -> None:
    async with transport(answer) as http:
        await http.close()
        with pytest.raises(RuntimeError, match="the client is closed"):
            await http.request("status")


async def test_closing_ends_requests_in_flight() -> None:
    asked = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        writer.close()

    async with asyncio.timeout(20), await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        http = HTTPTransport(server_uri=f"http://127.0.0.1:{port}", timeout=0, poll_periods=PERIODS)
        request = asyncio.create_task(http.request("status"))
        await asked.wait()
        await http.close()
        with pytest.raises(HTTPRequestError, match="HTTP request error"):
            await request


def test_it_begins_anew_in_another_event_loop() -> None:
    http = HTTPTransport(
        server_uri="http://host", timeout=5, poll_periods=PERIODS, backend=httpx.MockTransport(answer)
    )
    for _ in range(2):
        assert asyncio.run(http.request("status"))["verb"] == "GET"
    asyncio.run(http.close())


# --------------------------------------------------------------------------------------------- sessions


class Sessions:
    """A server whose access tokens are numbers, of which only the last one counts."""

    def __init__(self, *, refreshes: bool = True) -> None:
        self.valid = 1
        self.refreshed = 0
        self.refreshes = refreshes

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/auth/session/refresh":
            if not self.refreshes:
                return httpx.Response(401, json={"detail": "Session has expired. Please re-authenticate."})
            assert json.loads(request.content) == {"refresh_token": f"r{self.refreshed}"}
            self.refreshed += 1
            tokens = {"access_token": str(self.valid), "refresh_token": f"r{self.refreshed}"}
            return httpx.Response(200, json=tokens)
        if request.headers["authorization"] != f"Bearer {self.valid}":
            return httpx.Response(401, json={"detail": "Access token has expired. Refresh token."})
        return httpx.Response(200, json={"success": True})


async def test_an_expired_token_is_replaced_once_for_all_requests() -> None:
    server = Sessions()
    async with transport(server) as http:
        http.authorization = Authorization(token="0", refresh_token="r0")
        assert await asyncio.gather(*(http.request("status") for _ in range(5))) == [{"success": True}] * 5
        assert server.refreshed == 1
        assert http.authorization.key == ("1", "r1")


@pytest.mark.parametrize(
    ("authorization", "refresh"),
    [
        (Authorization(token="0"), True),
        (Authorization(token="0", refresh_token="r0"), False),
        (Authorization(api_key="0"), True),
    ],
)
async def test_when_an_expired_token_is_not_replaced(authorization: Authorization, refresh: bool) -> None:
    server = Sessions()
    async with transport(server) as http:
        http.authorization = authorization
        with pytest.raises(HTTPClientError, match="401: Access token has expired"):
            await http.request("status", auto_refresh_session=refresh)
        assert server.refreshed == 0


async def test_an_ended_session(caplog: pytest.LogCaptureFixture) -> None:
    async with transport(Sessions(refreshes=False)) as http:
        http.authorization = Authorization(token="0", refresh_token="r0")
        with pytest.raises(HTTPClientError, match="401: Access token has expired"):
            await http.request("status")
    assert "cannot be refreshed: 401: Session has expired" in caplog.text


# --------------------------------------------------------------------------------------------- streams


class Publisher:
    """A web socket server that sends to each connection what the path says."""

    def __init__(self) -> None:
        self.keys: list[str | None] = []
        self.refuse: set[str] = set()
        self.lives = 0

    async def handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.keys.append(connection.request.headers.get("Authorization"))
        self.lives += 1
        text = f"{connection.request.path} {self.lives}"
        await connection.send(json.dumps({"time": self.lives, "msg": text}))

    def process(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path in self.refuse:
            return connection.respond(HTTPStatus.FORBIDDEN, "no")
        return None

    @asynccontextmanager
    async def served(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        async with serve(self.handle, "127.0.0.1", 0, process_request=self.process, ssl=tls) as server:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{port_of(server)}"


def port_of(server: Server) -> int:
    port: int = next(iter(server.sockets)).getsockname()[1]
    return port


async def take(http: HTTPTransport, topics: list[str], number: int) -> list[InfoMessage]:
    async with asyncio.timeout(20), aclosing(http.info(topics)) as messages:
        return [await anext(messages) for _ in range(number)]


async def test_a_lost_web_socket_is_connected_again() -> None:
    publisher = Publisher()
    async with publisher.served() as uri, transport(answer, uri) as http:
        http.authorization = Authorization(api_key="key")
        assert await take(http, ["QS_Info"], 3) == [
            InfoMessage("QS_Info", n, f"/api/info/ws {n}") for n in (1, 2, 3)
        ]
        assert publisher.keys[:3] == ["ApiKey key"] * 3


async def test_several_topics_at_once() -> None:
    publisher = Publisher()
    async with publisher.served() as uri, transport(answer, uri) as http:
        heard = await take(http, ["QS_Info", "QS_Console"], 2)
        while len({message.topic for message in heard}) < 2:
            heard += await take(http, ["QS_Info", "QS_Console"], 2)
        assert all(
            m.msg.startswith({"QS_Info": "/api/info/ws"}.get(m.topic, "/api/console_output/ws"))
            for m in heard
        )
        assert publisher.keys[0] is None


async def test_tokens_are_exchanged_for_a_key() -> None:
    requests: list[tuple[str, str]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append((request.method, str(request.url.raw_path.decode())))
        return httpx.Response(200, json={"secret": "temporary", "first_eight": "temporar"})

    publisher = Publisher()
    async with publisher.served() as uri, transport(handler, uri) as http:
        http.authorization = Authorization(token="t")
        await take(http, ["QS_Info"], 1)
    assert publisher.keys[0] == "ApiKey temporary"
    assert requests[:2] == [("POST", "/api/auth/apikey"), ("DELETE", "/api/auth/apikey?first_eight=temporar")]


async def test_console_output_is_asked_for_where_web_sockets_are_refused() -> None:
    asked: list[Any] = []

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/api/console_output_update"
        asked.append(json.loads(request.content)["last_msg_uid"])
        messages = [{"time": len(asked), "msg": "text"}] if asked[-1] else []
        return httpx.Response(200, json={"last_msg_uid": f"u{len(asked)}", "console_output_msgs": messages})

    publisher = Publisher()
    publisher.refuse.add("/api/console_output/ws")
    async with publisher.served() as uri, transport(handler, uri) as http:
        assert await take(http, ["QS_Console"], 2) == [InfoMessage("QS_Console", n, "text") for n in (2, 3)]
    assert asked[:3] == ["", "u1", "u2"]


async def test_a_stream_says_once_why_nothing_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    publisher = Publisher()
    refused = asyncio.Event()

    def process(connection: ServerConnection, request: Request) -> Response | None:
        publisher.lives += 1
        if publisher.lives == 3:
            refused.set()
        return connection.respond(HTTPStatus.FORBIDDEN, "no")

    publisher.process = process  # type: ignore[method-assign]
    caplog.set_level(logging.WARNING, "remanager_api")
    async with publisher.served() as uri, transport(answer, uri) as http:
        listening = asyncio.create_task(take(http, ["QS_Info"], 1))
        async with asyncio.timeout(20):
            await refused.wait()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    assert caplog.text.count("Nothing is heard of QS_Info") == 1


# --------------------------------------------------------------------------------------------- TLS

MAKE_CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem "
    "-days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    directory = tmp_path_factory.mktemp("certificate")
    subprocess.run(MAKE_CERTIFICATE.split(), cwd=directory, check=True, capture_output=True, timeout=60)
    return directory


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return context


async def test_requests_over_tls(
    certificate: Path, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeHTTPServer().served(tls) as server:
        http = HTTPTransport(server_uri=server.uri, timeout=20, poll_periods=PERIODS)
        with pytest.raises(HTTPRequestError, match="CERTIFICATE_VERIFY_FAILED"):
            await http.request("status")
        await http.close()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
        http = HTTPTransport(server_uri=server.uri, timeout=20, poll_periods=PERIODS)
        assert (await http.request("status"))["manager_state"] == "idle"
        await http.close()


async def test_web_sockets_over_tls(
    certificate: Path, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    async with Publisher().served(tls) as uri, transport(answer, uri) as http:
        assert await take(http, ["QS_Info"], 1) == [InfoMessage("QS_Info", 1, "/api/info/ws 1")]
