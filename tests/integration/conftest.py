"""A manager that answers from a table, in a thread of its own: for the client and the command line."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest
import zmq

Handler = Callable[[dict[str, Any]], Any]
SILENCE = object()


class FakeManager:
    """Answers requests on loopback; a handler may return :data:`SILENCE`."""

    def __init__(
        self, encoding: str = "json", secret_key: bytes | None = None, address: str = "tcp://127.0.0.1:*"
    ) -> None:
        unknown = {"success": False, "msg": "Unknown method 'status_wait'"}
        self.handlers: dict[str, Handler] = {"status_wait": lambda _: unknown}
        self.requests: list[dict[str, Any]] = []
        self.encoding = encoding
        self.context = zmq.Context()
        self.control = self.context.socket(zmq.ROUTER)
        if secret_key:
            self.control.curve_server = True
            self.control.curve_secretkey = secret_key
        self.control.linger = 0
        self.control.bind(address)
        self.address = self.control.last_endpoint.decode()
        self.info = self.context.socket(zmq.XPUB)
        self.info.linger = 0
        self.info_address = f"tcp://127.0.0.1:{self.info.bind_to_random_port('tcp://127.0.0.1')}"
        self.stop_out = self.context.socket(zmq.PAIR)
        self.stop_out.bind("inproc://stop")
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def dumps(self, value: object) -> bytes:
        return json.dumps(value).encode() if self.encoding == "json" else msgpack.packb(value)

    def loads(self, frame: bytes) -> Any:
        return json.loads(frame) if self.encoding == "json" else msgpack.unpackb(frame)

    def _run(self) -> None:
        stop = self.context.socket(zmq.PAIR)
        stop.connect("inproc://stop")
        poller = zmq.Poller()
        poller.register(stop, zmq.POLLIN)
        poller.register(self.control, zmq.POLLIN)
        while stop not in (ready := dict(poller.poll())):
            if self.control in ready:
                *envelope, frame = self.control.recv_multipart()
                request = self.loads(frame)
                self.requests.append(request)
                handler = self.handlers.get(request["method"], lambda r: {"success": True, "msg": ""} | r)
                reply = handler(request)
                if reply is not SILENCE:
                    frame = reply if isinstance(reply, bytes) else self.dumps(reply)
                    self.control.send_multipart([*envelope, frame])
        stop.close(0)

    def publish(self, topic: str, msg: object) -> None:
        self.info.send_multipart([topic.encode(), self.dumps({"time": 1.0, "msg": msg})])

    def wait_for_subscription(self) -> bytes:
        assert self.info.poll(20_000)
        return self.info.recv()

    def close(self) -> None:
        if self.context.closed:
            return
        self.stop_out.send(b"")
        self.thread.join()
        self.context.destroy(0)


@pytest.fixture
def make_manager() -> Iterator[Callable[..., FakeManager]]:
    made: list[FakeManager] = []

    def make(**kwargs: Any) -> FakeManager:
        made.append(FakeManager(**kwargs))
        return made[-1]

    yield make
    for manager in made:
        manager.close()


@pytest.fixture
def manager(make_manager: Callable[..., FakeManager]) -> FakeManager:
    return make_manager()


@pytest.fixture
def silence() -> object:
    return SILENCE
