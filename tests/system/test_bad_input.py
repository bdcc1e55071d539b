"""Whatever arrives on a socket gets a clear answer or is dropped, and the daemon is well afterwards."""

from __future__ import annotations

import json
import math
import random
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import msgpack
import psutil
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from system_harness import USER, Daemon, plan

from remanager.verbs import load
from remanager.verbs.registry import REGISTRY

pytest.importorskip("bluesky")

load()

TIMEOUT_MS = 20_000
MIB = 1 << 20


def nested(depth: int, value: Any = 1) -> Any:
    for _ in range(depth):
        value = [value]
    return value


PLAIN_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63 - 1, -(2**63), 2**64 - 1),
    *(0.5, 1e308, -1e308, math.nan, math.inf, -math.inf),
    *(
        "",
        " ",
        "x" * 1000,
        "front",
        "\x00",
        "\ufffe",
        "é\U0001f916",
        "../../etc/passwd",
        "'; DROP TABLE tasks; --",
    ),
    *([], {}, [[]], [None], ["x"], [1, "x", None], {"a": [1]}, {"": {}}, nested(100), {"item_type": "plan"}),
)
JSON_VALUES = (
    *PLAIN_VALUES,
    2**70,
    -(2**70),
    10**400,
    "\ud800",
    ["\udfff"],
    {"\ud800": "\ud800"},
    nested(400),
)
MSGPACK_VALUES = (*PLAIN_VALUES, b"", b"\xff\x00", [b"x"], msgpack.ExtType(5, b"x"), msgpack.Timestamp(1, 2))

COUNT = plan("count", ["diode"], num=1)
FUNCTION = {"item_type": "function", "name": "give", "args": [1], "kwargs": {}}
ITEM_KEYS = (
    "item_type",
    "name",
    "args",
    "kwargs",
    "meta",
    "user",
    "user_group",
    "item_uid",
    "properties",
    "result",
    "x",
)

BASES: dict[str, dict[str, Any]] = {
    "queue_item_add": {"item": COUNT, **USER},
    "queue_item_add_batch": {"items": [COUNT, COUNT], **USER},
    "queue_item_update": {"item": {**COUNT, "item_uid": "unknown"}, **USER},
    "queue_item_execute": {"item": COUNT, **USER},
    "queue_item_move": {"pos": "front", "pos_dest": "back"},
    "queue_item_move_batch": {"uids": ["unknown"], "pos_dest": "front"},
    "queue_item_remove_batch": {"uids": ["unknown"]},
    "queue_mode_set": {"mode": {"loop": False}},
    "queue_autostart": {"enable": False},
    "function_execute": {"item": FUNCTION, **USER},
    "script_upload": {"script": "1"},
    "task_status": {"task_uid": "unknown"},
    "task_result": {"task_uid": "unknown"},
    "lock": {"lock_key": "key", "user": "tester"},
    "unlock": {"lock_key": "key"},
    "history_get": {"limit": 1},
    "manager_stop": {"option": "no such option"},
}
STOPS = "manager_stop"


class Wire:
    """A client that sends what it likes and insists on an answer."""

    def __init__(self, daemon: Daemon) -> None:
        self._socket = daemon.client.context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(daemon.control)

    def send(self, frame: bytes) -> None:
        self._socket.send_multipart([b"", frame])

    def receive(self, what: object) -> bytes:
        assert self._socket.poll(TIMEOUT_MS), f"no reply to {what!r:.300}"
        delimiter, reply = self._socket.recv_multipart()
        assert delimiter == b""
        return reply

    def exchange(self, frame: bytes) -> bytes:
        self.send(frame)
        return self.receive(frame[:300])

    def json(self, request: object) -> Any:
        return json.loads(self.exchange(json.dumps(request).encode()))

    def msgpack(self, request: object) -> Any:
        frame = msgpack.packb(request, unicode_errors="surrogatepass")
        return msgpack.unpackb(self.exchange(frame), strict_map_key=False)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def wire(daemon: Daemon) -> Iterator[Wire]:
    client = Wire(daemon)
    yield client
    client.close()


@pytest.fixture(autouse=True)
def well(daemon: Daemon) -> Iterator[None]:
    """The daemon must be well after each test: the same manager, no internal error, plans run."""
    manager = daemon.manager().pid
    yield
    client = daemon.client
    assert daemon.manager().pid == manager, daemon.log_tail()
    client.call("unlock", lock_key="key")
    status = daemon.wait(lambda s: s["manager_state"] in ("idle", "paused"))
    assert status["manager_state"] == "idle"
    client.ok("queue_mode_set", mode="default")
    client.ok("queue_autostart", enable=False)
    client.ok("queue_clear")
    client.ok("permissions_reload")
    if not status["worker_environment_exists"]:
        daemon.open_environment()
    assert "Traceback (most recent call last)" not in internal_errors(daemon)


def internal_errors(daemon: Daemon) -> str:
    """What the manager logged as an error of its own."""
    text = daemon.log.read_text()
    start = text.find("[E ")
    while start >= 0:
        line = text[start : text.find("\n", start)]
        if "The method" in line or "could not be encoded" in line or "handler failed" in line:
            return text[start : start + 4000]
        start = text.find("[E ", start + 1)
    return ""


def check(reply: Any, request: object, *, refused: bool | None = None) -> None:
    """A reply must be a dictionary that says whether it worked, and if not, why."""
    what = f"{request!r:.500}: {reply!r:.1000}"
    assert isinstance(reply, dict), what
    if "success" not in reply:
        assert "manager_state" in reply, what
        return
    assert reply["success"] in (True, False), what
    assert isinstance(reply["msg"], str), what
    if not reply["success"]:
        assert reply["msg"], what
        assert isinstance(reply["code"], str), what
        assert reply["code"] != "internal", what
    if refused is not None:
        assert reply["success"] is not refused, what


# ------------------------------------------------------------------------------------ frames


BAD_FRAMES = [
    b"",
    b" ",
    b"\x00",
    b"\xff" * 100,
    b"{",
    b"[",
    b"{]",
    b'{"method": "status"',
    b'{"method": "status"}}',
    b'{"method": "status", "params": {"a": 1e999999}} trailing',
    b'{"method": "\xff\xfe"}',
    b"{'method': 'status'}",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"null",
    b"1",
    b'"status"',
    b"[1, 2]",
    b"{}",
    b'{"met": "status"}',
    b'{"params": {}}',
    b'{"method": null}',
    b'{"method": 1}',
    b'{"method": ["status"]}',
    b'{"method": {"a": 1}}',
    b'{"method": "no_such_method"}',
    b'{"method": "__init__"}',
    b'{"method": "STATUS"}',
    b'{"method": ""}',
    b'{"method": "\\ud800"}',
    b'{"method": "queue_get", "params": []}',
    b'{"method": "queue_get", "params": "x"}',
    b'{"method": "queue_get", "params": 5}',
    b'{"method": "queue_get", "params": {"no": 1}}',
    b'{"method": "queue_get", "params": {"\\ud800": 1}}',
    b'{"method": "queue_get", "params": {}, "id": 5}',
    b'{"method": "queue_get", "\\ud800": {}}',
    b'{"method": "queue_item_add", "params": {"item": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    b'{"method": "queue_item_get", "params": {"pos": ' + b"9" * 5000 + b"}}",
    b"\x81",
    b"\x81\xa6method",
    b"\x81\xa6method\xa6status\x00",
    b"\xdf\xff\xff\xff\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\xc1",
    b"\x81\x01\x02",
    b"\x82\xa6method\xa9queue_get\xa6params\xc7\x05\x01hello",
    b"\x81\xa6method" + b"\x91" * 10_000 + b"\x01",
]


@pytest.mark.parametrize("frame", BAD_FRAMES, ids=lambda f: repr(f[:40]))
def test_frames_that_are_no_request(wire: Wire, frame: bytes) -> None:
    reply = wire.exchange(frame)
    content = msgpack.unpackb(reply) if reply[:1] not in b"{[" else json.loads(reply)
    check(content, frame, refused=True)
    assert content["code"] in ("invalid_request", "unknown_method", "invalid_params")


def test_frames_of_rubbish(wire: Wire) -> None:
    rng = random.Random(7)
    frames = [rng.randbytes(rng.randrange(1, 200)) for _ in range(500)]
    for frame in frames:
        wire.send(frame)
    for frame in frames:
        reply = wire.receive(frame)
        check(json.loads(reply) if reply[:1] in b"{[" else msgpack.unpackb(reply), frame)


def test_truncated_and_mutated_requests(wire: Wire) -> None:
    rng = random.Random(8)
    request = {"method": "queue_item_add", "params": {"item": COUNT, **USER}}
    for whole in (json.dumps(request).encode(), msgpack.packb(request)):
        for _ in range(300):
            frame = bytearray(whole)
            for _ in range(rng.randrange(1, 4)):
                frame[rng.randrange(len(frame))] = rng.randrange(256)
            del frame[rng.randrange(len(frame) // 2, len(frame) + 1) :]
            reply = wire.exchange(bytes(frame))
            check(json.loads(reply) if reply[:1] in b"{[" else msgpack.unpackb(reply), frame)


def test_messages_of_another_form(daemon: Daemon, wire: Wire) -> None:
    """Frames without a delimiter are dropped and counted; a request of several frames is answered."""
    before = counters(daemon)["dropped_malformed"]
    with daemon.client.context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(daemon.control)
        dealer.send(b'{"method": "status"}')
        dealer.send_multipart([b"", b'{"method": "status"}', b"more"])
        dealer.send_multipart([b""])
        dealer.send_multipart([b"hop"] * 50 + [b"", b'{"method": "status"}'])
        dealer.send_multipart([b"h" * 1000, b"", b'{"method": "status"}'])
        dealer.send_multipart([b"", b'{"method": "status"}'])
        replies = []
        for _ in range(3):
            assert dealer.poll(TIMEOUT_MS)
            replies.append(json.loads(dealer.recv_multipart()[-1]))
    assert [reply.get("code") for reply in replies] == ["invalid_request", "invalid_request", None]
    assert "manager_state" in replies[-1]
    assert counters(daemon)["dropped_malformed"] == before + 3
    check(wire.json({"method": "status"}), "status")


# ------------------------------------------------------------------------------------ parameters


def variations(method: str, values: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    """Parameters with one wrong value each."""
    verb = REGISTRY[method]
    base = BASES.get(method, {})
    names = [*verb.names, *(["request_id"] if "request_id" not in verb.names else [])]
    for name in names:
        for value in values:
            if method == STOPS and name == "option" and value is None:
                continue
            yield {**base, name: value}
            if name in base and method != STOPS:
                yield {name: value}
    for key in ("item", "items"):
        if key not in base:
            continue
        item = base[key] if key == "item" else base[key][0]
        for name in ITEM_KEYS:
            for value in values:
                wrong = {**item, name: value}
                yield {**base, key: wrong if key == "item" else [item, wrong]}


METHODS = sorted(REGISTRY)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("method", METHODS)
def test_wrong_values(daemon: Daemon, wire: Wire, method: str) -> None:
    for params in variations(method, JSON_VALUES):
        request = {"method": method, "params": params}
        check(wire.json(request), request)
        if params.get("enable") is True:
            wire.json({"method": "queue_autostart", "params": {"enable": False}})
        if method == "lock":
            wire.json({"method": "unlock", "params": {"lock_key": params.get("lock_key")}})
    for params in variations(method, MSGPACK_VALUES):
        request = {"method": method, "params": params}
        check(wire.msgpack(request), request)
        if method == "lock":
            wire.msgpack({"method": "unlock", "params": {"lock_key": params.get("lock_key")}})


@pytest.mark.parametrize("method", METHODS)
def test_unknown_parameters(wire: Wire, method: str) -> None:
    request: dict[str, Any] = {"method": method, "params": {**BASES.get(method, {}), "no_such_parameter": 1}}
    reply = wire.json(request)
    if REGISTRY[method].lenient:
        check(reply, request)
    else:
        check(reply, request, refused=True)
        assert "no_such_parameter" in reply["msg"]
    check(wire.json({**request, "jsonrpc": "2.0"}), request, refused=True)


# ------------------------------------------------------------------------------------ size and number


@pytest.mark.timeout(120)
def test_huge_message(daemon: Daemon, wire: Wire) -> None:
    for frame in (
        b'{"method": "status", "params": {"x": "' + b"x" * (100 * MIB) + b'"}}',
        b"\x00" * (100 * MIB),
    ):
        wire.send(frame)
        assert daemon.client.call("status")["manager_state"] == "idle"
        content = json.loads(wire.receive(frame[:50]))
        check(content, frame[:50], refused=True)
        assert content["code"] == "too_large"


def test_large_item(wire: Wire) -> None:
    item = plan("count", ["diode"], md={"text": "x" * (8 * MIB)})
    reply = wire.json({"method": "queue_item_add", "params": {"item": item, **USER}})
    check(reply, "large item")
    check(wire.json({"method": "queue_get"}), "queue_get", refused=False)


@pytest.mark.parametrize("depth", [*range(195, 202), 600, 969, 972])
@pytest.mark.parametrize("method", ["queue_item_add", "queue_item_execute", "function_execute"])
def test_deep_items(daemon: Daemon, wire: Wire, method: str, depth: int) -> None:
    """What is nested too deeply is refused and changes nothing; what is accepted, every client can read."""
    item = FUNCTION if method == "function_execute" else COUNT
    request = {"method": method, "params": {"item": {**item, "meta": {"a": "VALUE"}}, **USER}}
    before = daemon.client.call("status")
    reply = json.loads(
        wire.exchange(json.dumps(request).encode().replace(b'"VALUE"', b"[" * depth + b"]" * depth))
    )
    check(reply, depth)
    refused = depth > 196  # four dictionaries are around it
    assert (reply.get("code") == "invalid_request") is refused, reply
    if refused:
        assert daemon.client.call("status")["plan_queue_uid"] == before["plan_queue_uid"]
        assert daemon.client.call("status")["task_list_uid"] == before["task_list_uid"]
    else:
        assert reply["success"], reply
        daemon.wait_idle()
    for ask in ({"method": "queue_get"}, {"method": "task_list"}, {"method": "history_get"}):
        check(wire.json(ask), ask, refused=False)
        check(wire.msgpack(ask), ask, refused=False)


SCANS = [
    b"",
    b"\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"SSH-2.0-scanner\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(32)),
    b"\xff" + b"\x00" * 8 + b"\x01\x7f",
    b"\xff" + b"\x00" * 8 + b"\x7f\x03\x00NULL" + b"\x00" * 48 + b"\x04\xff\xff\xff\xff",
    b"\xff" + b"\x00" * 8 + b"\x7f\x03\x00NULL" + b"\x00" * 48 + b"\x06" + b"\xff" * 8 + b"x",
    b"\x00" * 100_000,
]


@pytest.mark.parametrize("scan", SCANS, ids=lambda s: repr(s[:20]))
@pytest.mark.parametrize("port", ["control", "info"])
def test_bytes_of_a_port_scanner(daemon: Daemon, scan: bytes, port: str) -> None:
    for _ in range(5):
        with connect(getattr(daemon, port)) as peer:
            peer.settimeout(5)
            try:
                peer.sendall(scan)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(4096):
                    pass
            except (ConnectionError, BrokenPipeError, OSError):
                pass  # sent away
    assert daemon.client.call("status")["manager_state"] == "idle"


def connect(address: str) -> socket.socket:
    # A daemon that stands still while many come lets the rest of them try again, after 1, 3 and 7 s.
    parts = urlsplit(address)
    return socket.create_connection((parts.hostname, parts.port or 0), timeout=TIMEOUT_MS / 1000)


def test_idle_connections(daemon: Daemon) -> None:
    peers = [connect(daemon.control) for _ in range(200)]
    dealers = []
    try:
        for _ in range(50):
            dealer = daemon.client.context.socket(zmq.DEALER)
            dealer.linger = 0
            dealer.connect(daemon.control)
            dealers.append(dealer)
        assert daemon.client.call("status")["manager_state"] == "idle"
        daemon.add(COUNT)
        for dealer in dealers:
            dealer.send_multipart([b"", b'{"method": "ping"}'])
        for dealer in dealers:
            assert dealer.poll(TIMEOUT_MS)
    finally:
        for peer in [*peers, *dealers]:
            peer.close()


@pytest.mark.timeout(120)
def test_client_that_never_reads(daemon: Daemon) -> None:
    daemon.client.ok("queue_item_add_batch", items=[COUNT] * 2000, **USER)
    manager = daemon.manager()
    before, received = manager.memory_info().rss, counters(daemon)["received"]
    with daemon.client.context.socket(zmq.DEALER) as silent:
        silent.linger = 0
        silent.rcvhwm = 1
        silent.sndhwm = 0
        silent.setsockopt(zmq.RCVBUF, 4096)
        silent.connect(daemon.control)
        for _ in range(2000):
            silent.send_multipart([b"", b'{"method": "queue_get"}'])
        while counters(daemon)["received"] < received + 2000:
            assert daemon.client.call("status")["items_in_queue"] == 2000
        assert counters(daemon)["dropped_unread"] > 0
        assert len(daemon.client.ok("queue_get")["items"]) == 2000
        assert manager.memory_info().rss - before < 400 * MIB
    assert daemon.client.call("status")["manager_state"] == "idle"


def counters(daemon: Daemon) -> dict[str, int]:
    """What happened on the control socket."""
    found: dict[str, int] = daemon.client.ok("stats", sections=["counters"])["counters"]
    return found


def test_item_of_one_client_can_be_read_by_all(wire: Wire) -> None:
    """JSON has numbers and texts that msgpack has not."""
    md = {"number": 2**70, "text": "\ud800", "nan": math.nan}
    reply = wire.json(
        {"method": "queue_item_add", "params": {"item": plan("count", ["diode"], md=md), **USER}}
    )
    check(reply, md, refused=False)
    for answer in (wire.json({"method": "queue_get"}), wire.msgpack({"method": "queue_get"})):
        check(answer, "queue_get", refused=False)
        assert len(answer["items"]) == 1
    packed = {
        "method": "queue_item_add",
        "params": {"item": plan("count", ["diode"], md={"b": b"\xff"}), **USER},
    }
    check(wire.msgpack(packed), packed, refused=True)


def test_client_that_leaves_before_the_reply(daemon: Daemon) -> None:
    for _ in range(200):
        with daemon.client.context.socket(zmq.DEALER) as dealer:
            dealer.linger = 100
            dealer.connect(daemon.control)
            dealer.send_multipart([b"", json.dumps({"method": "queue_get"}).encode()])
    assert daemon.client.call("status")["manager_state"] == "idle"


def test_subscriber_that_never_reads(daemon: Daemon) -> None:
    with daemon.client.context.socket(zmq.SUB) as silent:
        silent.linger = 0
        silent.rcvhwm = 1
        silent.subscribe(b"")
        silent.connect(daemon.info)
        script = "for n in range(20000):\n    print('x' * 200)"
        uid = daemon.client.ok("script_upload", script=script, update_lists=False)["task_uid"]
        assert daemon.wait_task(uid)["success"]
    assert psutil.pid_exists(daemon.manager().pid)


# ------------------------------------------------------------------------------------ at random


KEPT_OUT = {
    "manager_stop",
    "manager_kill",
    "environment_open",
    "environment_close",
    "environment_destroy",
    "lock",
}
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["front", "back", "plan"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(sorted({n for verb in REGISTRY.values() for n in verb.names} | {"request_id"}))
requests = st.fixed_dictionaries(
    {"method": st.sampled_from(sorted(set(METHODS) - KEPT_OUT)) | st.text(max_size=10)},
    optional={"params": st.dictionaries(names | st.text(max_size=5), values, max_size=4) | values},
)
items = st.fixed_dictionaries(
    {},
    optional={
        "item_type": st.sampled_from(["plan", "instruction", "function"]) | values,
        "name": st.sampled_from(["count", "scan", "queue_stop", "align"]) | values,
        "args": st.lists(values, max_size=4) | values,
        "kwargs": st.dictionaries(st.sampled_from(["num", "delay", "md"]) | st.text(), values, max_size=3)
        | values,
        "meta": values,
        "item_uid": values,
    },
)


@pytest.mark.timeout(120)
@settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
@given(request=requests, packed=st.booleans())
def test_random_requests(wire: Wire, request: dict[str, Any], packed: bool) -> None:
    if not (packed and send_packed(wire, request)):
        check(wire.json(request), request)


@pytest.mark.timeout(120)
@settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
@given(item=items, packed=st.booleans(), method=st.sampled_from(["queue_item_add", "queue_item_update"]))
def test_random_items(wire: Wire, item: dict[str, Any], packed: bool, method: str) -> None:
    request = {"method": method, "params": {"item": item, **USER}}
    if not (packed and send_packed(wire, request)):
        check(wire.json(request), request)


def send_packed(wire: Wire, request: dict[str, Any]) -> bool:
    """Send in msgpack, if that can express it."""
    try:
        frame = msgpack.packb(request, unicode_errors="surrogatepass")
    except (OverflowError, ValueError):
        return False
    check(msgpack.unpackb(wire.exchange(frame), strict_map_key=False), request)
    return True
