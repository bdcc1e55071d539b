"""A stand-in for bluesky-httpserver: answers from a table, and remembers what was asked.

bluesky-httpserver itself brings 16 packages (SQLAlchemy, FastAPI, LDAP, PAM, ...), not needed for this.
The tests of bluesky_queueserver_api run through it: see tests/conformance/client_alias.py.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Asked"], object]

STATUS = {
    "manager_state": "idle",
    "worker_environment_exists": False,
    "plans_allowed_uid": "p1",
    "plan_queue_uid": "q1",
    "lock_info_uid": "l1",
    "success": True,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: verb and path, what it says, and by whose authority."""

    endpoint: tuple[str, str]
    body: Any
    authorization: str | None


class Refusal(Exception):
    """Answer with a status and a detail."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


@dataclass
class FakeHTTPServer:
    """Answers by ``answers`` (verb, path), with the reply ``{"success": True}`` where there is none."""

    uri: str = ""
    key: str | None = None
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.answers["GET", "/api/status"] = lambda _: STATUS

    def answer(self, asked: Asked) -> tuple[int, object]:
        """Return status and body."""
        self.asked.append(asked)
        try:
            if asked.endpoint[1].endswith("/ws"):
                raise Refusal(403, "no web sockets here")
            if self.key and asked.authorization != f"ApiKey {self.key}":
                raise Refusal(401, "Invalid API key")
            return 200, self.answers.get(asked.endpoint, lambda _: {"success": True, "msg": ""})(asked)
        except Refusal as exc:
            return exc.status, {"detail": str(exc)}

    @contextmanager
    def served(self, tls: ssl.SSLContext | None = None) -> Iterator[FakeHTTPServer]:
        """Answer on a free port of the loopback."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        server.daemon_threads = False
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        self.uri = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def _handler(fake) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Nagle's algorithm would hold back the body until the header is confirmed.
            disable_nagle_algorithm = True

            def _answer(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                form = "form" in self.headers.get("Content-Type", "")
                body = content.decode() if form else json.loads(content or b"null")
                asked = Asked((self.command, self.path), body, self.headers.get("Authorization"))
                status, reply = fake.answer(asked)
                encoded = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            do_GET = do_POST = do_DELETE = _answer

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        return Handler
