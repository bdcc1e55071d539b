from __future__ import annotations

import asyncio
import json
import socket as stdlib_socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgpack
import pytest
import zmq

from remanager.daemon.control import Answer, ControlLimits, ControlServer
from remanager.daemon.sockets import AddressError
from remanager.model.errors import Conflict, RemanagerError
from remanager.model.principal import Principal
from remanager.wire.codec import NO_REPLY, CachedReply, Encoding

WAIT_S = 10.0
DISPATCH = Callable[[object, Encoding, Principal], Answer | Awaitable[Answer]]


def echo(request: object, encoding: Encoding, _principal: Principal) -> Answer:
    return {"success": True, "echo": request, "encoding": encoding.value}


@asynccontextmanager
async def serving(dispatch: DISPATCH = echo, **options: object) -> AsyncIterator[ControlServer]:
    server = ControlServer("tcp://127.0.0.1:*", dispatch, **options)  # type: ignore[arg-type]
    server.start()
    try:
        yield server
    finally:
        await asyncio.wait_for(server.close(linger_ms=0), WAIT_S)


class Peer:
    """A blocking client in its own context, used from threads."""

    def __init__(self, address: str, kind: int = zmq.REQ, identity: bytes = b"") -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(kind)
        self.socket.linger = 0
        self.socket.rcvtimeo = self.socket.sndtimeo = int(WAIT_S * 1000)
        self.socket.rcvhwm = 10
        if identity:
            self.socket.setsockopt(zmq.IDENTITY, identity)
        self.socket.connect(address)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close(linger=0)
        self.context.term()

    async def ask(self, frame: bytes) -> dict[str, object]:
        return json.loads(await self.ask_raw(frame))  # type: ignore[no-any-return]

    async def ask_raw(self, frame: bytes) -> bytes:
        return await asyncio.to_thread(self._ask, frame)

    def _ask(self, frame: bytes) -> bytes:
        self.socket.send(frame)
        return self.socket.recv()

    async def receive(self) -> list[bytes]:
        return await asyncio.to_thread(self.socket.recv_multipart)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until a condition holds."""
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.to_thread(threading.Event().wait, 0.001)


async def test_a_req_client_gets_replies_in_its_own_encoding() -> None:
    async with serving() as server:
        with Peer(server.address) as peer:
            assert await peer.ask(b'{"method": "ping"}') == {
                "success": True,
                "echo": {"method": "ping"},
                "encoding": "json",
            }
            raw = await peer.ask_raw(msgpack.packb({"method": "ping"}))
            assert msgpack.unpackb(raw)["encoding"] == "msgpack"
        assert server.counters.received == server.counters.replied == 2


@pytest.mark.parametrize(
    "frame", [b"", b'{"method":', b"\x00\x01", b'{"a": "\xff"}', b"GET / HTTP/1.1\r\n\r\n"]
)
async def test_undecodable_frames_get_an_error(frame: bytes) -> None:
    async with serving() as server:
        with Peer(server.address) as peer:
            reply = await peer.ask(frame)
            assert reply["success"] is False
            assert str(reply["msg"]).startswith("Failed to decode the request: JSON decode error: ")
            assert reply["code"] == "invalid_request"
            assert (await peer.ask(b"{}"))["success"] is True
        assert server.counters.undecodable == 1


async def test_a_msgpack_server_answers_garbage_in_msgpack() -> None:
    async with serving(encoding=Encoding.MSGPACK) as server:
        with Peer(server.address) as peer:
            reply = msgpack.unpackb(await peer.ask_raw(b""))
            assert "MSGPACK decode error: Unpack failed: incomplete input" in reply["msg"]


async def test_dealers_hops_and_malformed_frames() -> None:
    async with serving() as server:
        with Peer(server.address, zmq.DEALER) as peer:
            send = peer.socket.send_multipart
            send([b"no delimiter"])
            send([b"x" * 256, b"", b"{}"])
            send([b"h"] * 9 + [b"", b"{}"])
            send([b"hop 1", b"hop 2", b"", b'{"n": 1}'])
            send([b"", b'{"n": 2}'])
            send([b"", b"{}", b"{}"])
            send([b""])
            replies = [await peer.receive() for _ in range(4)]
            assert replies[0][:3] == [b"hop 1", b"hop 2", b""]
            assert json.loads(replies[0][3])["echo"] == {"n": 1}
            assert json.loads(replies[1][1])["echo"] == {"n": 2}
            assert "one frame, not 2" in json.loads(replies[2][1])["msg"]
            assert "one frame, not 0" in json.loads(replies[3][1])["msg"]
        assert server.counters.dropped_malformed == 3


async def test_eight_clients_at_once() -> None:
    async with serving() as server:

        async def client(number: int) -> None:
            with Peer(server.address) as peer:
                for n in range(50):
                    reply = await peer.ask(json.dumps({"client": number, "n": n}).encode())
                    assert reply["echo"] == {"client": number, "n": n}

        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(client(number))
        assert server.counters.replied == 400


async def test_a_burst_larger_than_one_wake_up_is_answered_in_order() -> None:
    async with serving() as server:
        with Peer(server.address, zmq.DEALER) as peer:
            peer.socket.rcvhwm = 0

            def burst() -> list[object]:
                for n in range(1000):
                    peer.socket.send_multipart([b"", str([n]).encode()])
                return [json.loads(peer.socket.recv_multipart()[1])["echo"] for _ in range(1000)]

            assert await asyncio.to_thread(burst) == [[n] for n in range(1000)]


async def test_a_slow_request_does_not_delay_others() -> None:
    gate = asyncio.Event()

    async def slow() -> Answer:
        await gate.wait()
        return {"slow": True}

    def dispatch(request: object, encoding: Encoding, _principal: Principal) -> Answer | Awaitable[Answer]:
        return slow() if request == ["slow"] else {"fast": True}

    async with serving(dispatch) as server:
        with Peer(server.address) as first, Peer(server.address) as second:
            waiting = asyncio.create_task(first.ask(b'["slow"]'))
            await until(lambda: server.in_flight == 1)
            assert await second.ask(b"{}") == {"fast": True}
            assert not waiting.done()
            gate.set()
            assert await waiting == {"slow": True}
        assert server.in_flight == 0


async def test_futures_and_cached_replies_are_answers() -> None:
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    answers: list[Answer | Awaitable[Answer]] = [future, CachedReply({"n": 2})]
    async with serving(lambda *_: answers.pop(0)) as server:
        with Peer(server.address) as peer:
            waiting = asyncio.create_task(peer.ask(b"{}"))
            await until(lambda: server.in_flight == 1)
            future.set_result({"n": 1})
            assert await waiting == {"n": 1}
            assert await peer.ask(b"{}") == {"n": 2}


async def test_requests_beyond_the_limits_are_refused_at_once() -> None:
    gate = asyncio.Event()

    async def slow() -> Answer:
        await gate.wait()
        return {"success": True}

    limits = ControlLimits(in_flight=3, in_flight_per_client=2)
    async with serving(lambda *_: slow(), limits=limits) as server:
        with Peer(server.address, zmq.DEALER) as greedy, Peer(server.address) as other:
            for _ in range(3):
                greedy.socket.send_multipart([b"", b"{}"])
            refused = json.loads((await greedy.receive())[1])
            assert refused["code"] == "busy"
            assert "of this client" in refused["msg"]
            waiting = asyncio.create_task(other.ask(b"{}"))
            await until(lambda: server.in_flight == 3)
            with Peer(server.address) as late:
                assert "Too many requests are in progress (limit 3)" in str((await late.ask(b"{}"))["msg"])
            gate.set()
            assert (await waiting)["success"] is True
            for _ in range(2):
                assert json.loads((await greedy.receive())[1])["success"] is True
        assert server.counters.busy == 2


async def test_errors_of_handlers_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def fail_later() -> Answer:
        raise ValueError("later")

    async def refuse_later() -> Answer:
        raise Conflict("not now")

    def dispatch(request: object, encoding: Encoding, _principal: Principal) -> Answer | Awaitable[Answer]:
        match request:
            case ["raise"]:
                raise KeyError("now")
            case ["later"]:
                return fail_later()
            case ["refuse"]:
                return refuse_later()
            case ["refuse now"]:
                raise Conflict("not now")
        return {"value": {1, 2}}

    async with serving(dispatch) as server:
        with Peer(server.address) as peer:
            reply = await peer.ask(b'["raise"]')
            assert reply == {
                "success": False,
                "msg": "Internal error of the manager: KeyError: 'now'",
                "code": "internal",
            }
            assert (await peer.ask(b'["later"]'))["code"] == "internal"
            conflict = {"success": False, "msg": "not now", "code": "conflict"}
            assert await peer.ask(b'["refuse"]') == await peer.ask(b'["refuse now"]') == conflict
            reply = await peer.ask(b"[]")
            assert reply["code"] == "internal"
            assert "set is not JSON serializable" in str(reply["msg"])
        assert server.counters.internal_errors == 3
    assert "A request handler failed" in caplog.text


async def test_no_reply_leaves_the_client_alone() -> None:
    answers: list[Answer] = [NO_REPLY, {"success": True}]
    async with serving(lambda *_: answers.pop(0)) as server:
        with Peer(server.address, zmq.DEALER) as peer:
            peer.socket.send_multipart([b"", b"{}"])
            peer.socket.send_multipart([b"", b"{}"])
            assert json.loads((await peer.receive())[1]) == {"success": True}
        assert server.counters.unanswered == 1


async def test_huge_messages_are_refused_undecoded() -> None:
    async with serving() as server:
        with Peer(server.address) as peer:
            reply = await peer.ask(b'{"method": "' + b"x" * 100_000_000)
            assert reply["code"] == "too_large"
            assert "the limit is 67108864 bytes" in str(reply["msg"])
            assert (await peer.ask(b"{}"))["success"] is True
        assert server.counters.too_large == 1


async def test_a_large_reply_arrives_whole() -> None:
    text = "x" * 5_000_000
    async with serving(lambda *_: {"text": text}) as server:
        with Peer(server.address) as peer:
            for _ in range(3):
                assert (await peer.ask(b"{}"))["text"] == text


@pytest.mark.parametrize("size", [1000, 1_000_000], ids=["small", "large"])
async def test_a_client_that_never_reads_is_bounded(size: int) -> None:
    text = "x" * size
    limits = ControlLimits(queued_replies=100, unread_bytes=8_000_000)
    async with serving(lambda *_: {"text": text}, limits=limits) as server:
        with Peer(server.address, zmq.DEALER) as mute, Peer(server.address) as other:

            def flood() -> None:
                while server.counters.dropped_unread == 0:
                    mute.socket.send_multipart([b"", b"{}"])

            await asyncio.wait_for(asyncio.to_thread(flood), WAIT_S)
            assert await other.ask(b"{}") == {"text": text}


async def test_replies_to_vanished_clients_are_dropped() -> None:
    gate = asyncio.Event()

    async def slow() -> Answer:
        await gate.wait()
        return {"success": True}

    def dispatch(request: object, encoding: Encoding, _principal: Principal) -> Answer | Awaitable[Answer]:
        return slow() if request == ["slow"] else {"success": True}

    async with serving(dispatch) as server:
        with Peer(server.address) as peer:
            peer.socket.send(b'["slow"]')
            await until(lambda: server.in_flight == 1)
        with Peer(server.address) as other:
            # The server's end of the old connection is gone once a later one has been served.
            assert (await other.ask(b"{}"))["success"] is True
            gate.set()
            await until(lambda: server.in_flight == 0)
            assert (await other.ask(b"{}"))["success"] is True
        assert server.counters.replied + server.counters.dropped_unreachable == 3


async def test_a_client_with_a_name_may_reconnect() -> None:
    async with serving() as server:
        with Peer(server.address, identity=b"name") as first:
            assert (await first.ask(b"{}"))["success"] is True
            with Peer(server.address, identity=b"name") as second:
                assert (await second.ask(b"{}"))["success"] is True


async def test_bytes_of_a_port_scanner_and_half_open_connections_do_no_harm() -> None:
    async with serving() as server:
        host, port = server.address.removeprefix("tcp://").split(":")

        def connect(data: bytes) -> stdlib_socket.socket:
            raw = stdlib_socket.create_connection((host, int(port)), timeout=WAIT_S)
            raw.sendall(data)
            return raw

        greetings = [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00", b"\xff", b"\x00" * 4096]
        open_connections = [await asyncio.to_thread(connect, data) for data in greetings * 10]
        try:
            with Peer(server.address) as peer:
                assert (await peer.ask(b"{}"))["success"] is True
        finally:
            for raw in open_connections:
                raw.close()
        with Peer(server.address) as peer:
            assert (await peer.ask(b"{}"))["success"] is True


async def test_closing_answers_requests_in_flight() -> None:
    forever = asyncio.Event()

    async def slow() -> Answer:
        await forever.wait()
        return {"success": True}

    server = ControlServer("tcp://127.0.0.1:*", lambda *_: slow())
    server.start()
    with Peer(server.address) as peer:
        waiting = asyncio.create_task(peer.ask(b"{}"))
        await until(lambda: server.in_flight == 1)
        await asyncio.wait_for(server.close(), WAIT_S)
        reply = await waiting
        assert reply["success"] is False
        assert "the manager is stopping" in str(reply["msg"])
    await server.close()


async def test_an_address_in_use_is_named() -> None:
    async with serving() as server:
        with pytest.raises(AddressError, match="in use by another process") as info:
            ControlServer(server.address, echo).start()
        assert server.address in str(info.value)
        assert "--zmq-control-addr" in str(info.value)


async def test_an_ipc_address_is_not_taken_from_its_owner(tmp_path_factory: pytest.TempPathFactory) -> None:
    address = f"ipc://{tmp_path_factory.mktemp('ipc')}/control"
    first = ControlServer(address, echo)
    first.start()
    try:
        with Peer(address) as peer:
            with pytest.raises(AddressError, match="in use by another process"):
                ControlServer(address, echo).start()
            assert (await peer.ask(b"{}"))["success"] is True
    finally:
        await first.close(linger_ms=0)
    second = ControlServer(address, echo)
    second.start()
    await second.close(linger_ms=0)


@pytest.mark.parametrize(
    "address", ["tcp://*:99999999", "nonsense", "tcp://192.0.2.1:5555", "ipc:///no/such/dir/s"]
)
async def test_unusable_addresses_are_named(address: str) -> None:
    with pytest.raises(AddressError, match="can not be used") as info:
        ControlServer(address, echo).start()
    assert address in str(info.value)


@pytest.mark.parametrize("key", ["short", "x" * 41, "\N{GREEK SMALL LETTER ALPHA}" * 40, '"' * 40, "#" * 40])
def test_invalid_private_keys_are_refused(key: str) -> None:
    with pytest.raises(RemanagerError, match="z85-encoded string of 40 characters"):
        ControlServer("tcp://127.0.0.1:*", echo, private_key=key)


async def test_curve_clients_are_served_and_others_are_not() -> None:
    public, secret = zmq.curve_keypair()
    client_public, client_secret = zmq.curve_keypair()
    async with serving(private_key=secret.decode()) as server:
        context = zmq.Context()
        plain, client = context.socket(zmq.REQ), context.socket(zmq.REQ)
        try:
            plain.connect(server.address)
            plain.send(b"{}")
            client.curve_serverkey, client.curve_publickey = public, client_public
            client.curve_secretkey = client_secret
            client.rcvtimeo = int(WAIT_S * 1000)
            client.connect(server.address)
            client.send(b'{"method": "ping"}')
            reply = json.loads(await asyncio.to_thread(client.recv))
            assert reply["echo"] == {"method": "ping"}
            assert plain.poll(0) == 0
        finally:
            plain.close(linger=0)
            client.close(linger=0)
            context.term()
        assert server.counters.received == 1


async def test_a_request_that_was_not_yet_begun_is_answered_when_the_server_closes() -> None:
    arrived = asyncio.Event()

    async def slow() -> Answer:
        raise AssertionError("never begins")

    def dispatch(request: object, encoding: Encoding, _principal: Principal) -> Answer | Awaitable[Answer]:
        arrived.set()
        closing.append(asyncio.ensure_future(server.close()))
        return slow()

    closing: list[asyncio.Future[None]] = []
    server = ControlServer("tcp://127.0.0.1:*", dispatch)
    server.start()
    with Peer(server.address) as peer:
        waiting = asyncio.create_task(peer.ask(b"{}"))
        await asyncio.wait_for(arrived.wait(), WAIT_S)
        reply = await waiting
        assert reply["code"] == "cancelled"
        await closing[0]
