from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import msgpack
import pytest
import zmq

from remanager.daemon.info import TOPIC_CONSOLE, TOPIC_INFO, InfoPublisher
from remanager.daemon.sockets import AddressError
from remanager.wire.codec import CachedReply, Encoding, Fragment

WAIT_S = 10.0


class Watched:
    """A publisher whose subscriptions can be waited for."""

    def __init__(self, encoding: Encoding, queued_messages: int) -> None:
        self.topics: asyncio.Queue[str] = asyncio.Queue()
        self.publisher = InfoPublisher(
            "tcp://127.0.0.1:*",
            encoding,
            on_subscribe=self.topics.put_nowait,
            queued_messages=queued_messages,
        )

    async def subscribed(self) -> str:
        return await asyncio.wait_for(self.topics.get(), WAIT_S)


@asynccontextmanager
async def publishing(
    encoding: Encoding = Encoding.JSON, queued_messages: int = 1000
) -> AsyncIterator[Watched]:
    watched = Watched(encoding, queued_messages)
    watched.publisher.start()
    try:
        yield watched
    finally:
        await watched.publisher.close(linger_ms=0)


@contextmanager
def subscriber(address: str, *topics: str, hwm: int = 1000) -> Iterator[zmq.Socket[bytes]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.rcvtimeo = int(WAIT_S * 1000)
    socket.rcvhwm = hwm
    for topic in topics:
        socket.subscribe(topic)
    socket.connect(address)
    try:
        yield socket
    finally:
        socket.close(linger=0)
        context.term()


async def receive(socket: zmq.Socket[bytes]) -> tuple[bytes, object]:
    topic, payload = await asyncio.to_thread(socket.recv_multipart)
    return topic, json.loads(payload)


async def test_messages_have_the_form_that_clients_expect() -> None:
    async with publishing() as watched:
        publisher = watched.publisher
        with subscriber(publisher.address, "QS_Console", "QS_Info") as socket:
            assert {await watched.subscribed(), await watched.subscribed()} == {TOPIC_CONSOLE, TOPIC_INFO}
            publisher.publish_console("\x1b[A\r 50%", 12.5)
            publisher.publish_status({"manager_state": "idle"}, 13.5)
            publisher.publish_status(CachedReply({"n": 1}), 14.5)
            publisher.publish_info({"task_event": Fragment(json=b'{"seq": 1}')}, 15.5)
            assert await receive(socket) == (b"QS_Console", {"time": 12.5, "msg": "\x1b[A\r 50%"})
            status = {"status": {"manager_state": "idle"}}
            assert await receive(socket) == (b"QS_Info", {"time": 13.5, "msg": status})
            assert await receive(socket) == (b"QS_Info", {"time": 14.5, "msg": {"status": {"n": 1}}})
            assert await receive(socket) == (b"QS_Info", {"time": 15.5, "msg": {"task_event": {"seq": 1}}})
            publisher.publish_status({"n": 2})
            _, message = await receive(socket)
            assert isinstance(message["time"], float)  # type: ignore[index]


async def test_msgpack_payloads() -> None:
    async with publishing(Encoding.MSGPACK) as watched:
        with subscriber(watched.publisher.address, "") as socket:
            await watched.subscribed()
            watched.publisher.publish_console("text \ud800", 1.0)
            topic, payload = await asyncio.to_thread(socket.recv_multipart)
            assert (topic, msgpack.unpackb(payload)) == (b"QS_Console", {"time": 1.0, "msg": "text \\ud800"})


async def test_nothing_is_encoded_while_nobody_listens() -> None:
    unencodable = {"value": object()}
    async with publishing() as watched:
        publisher = watched.publisher
        assert not publisher.has_subscribers(TOPIC_INFO)
        publisher.publish_status(unencodable)
        with subscriber(publisher.address, "QS_Console"):
            await watched.subscribed()
            assert publisher.has_subscribers(TOPIC_CONSOLE)
            assert not publisher.has_subscribers(TOPIC_INFO)
            publisher.publish_status(unencodable)
        assert publisher.counters.as_dict() == {"published": 0, "skipped": 2, "overflows": 0}


async def test_each_newcomer_is_announced_and_leaving_is_noted() -> None:
    async with publishing() as watched:
        publisher = watched.publisher
        with subscriber(publisher.address, "QS_Info"):
            assert await watched.subscribed() == TOPIC_INFO
            with subscriber(publisher.address, "QS_Info") as late:
                assert await watched.subscribed() == TOPIC_INFO
                publisher.publish_status({}, 1.0)
                assert await receive(late) == (b"QS_Info", {"time": 1.0, "msg": {"status": {}}})
        with subscriber(publisher.address, "QS_Console") as socket:
            assert await watched.subscribed() == TOPIC_CONSOLE
            publisher.publish_console("end", 1.0)
            await receive(socket)
        # Subscriptions arrive in order, so the end of the earlier ones has been seen by now.
        with subscriber(publisher.address, "QS_Console"):
            await watched.subscribed()
            async with asyncio.timeout(WAIT_S):
                while publisher.has_subscribers(TOPIC_INFO):
                    await asyncio.to_thread(lambda: None)


async def test_strange_subscriptions_are_not_kept() -> None:
    async with publishing() as watched:
        publisher = watched.publisher
        with subscriber(publisher.address, *(f"topic {n}" for n in range(100)), "QS_Info"):
            assert await watched.subscribed() == TOPIC_INFO
            assert not publisher.has_subscribers(TOPIC_CONSOLE)
            publisher.publish_console("nobody reads this", 1.0)
            assert publisher.counters.skipped == 1


async def test_a_slow_subscriber_misses_messages_and_the_others_do_not() -> None:
    text = "x" * 60_000
    async with publishing(queued_messages=20) as watched:
        publisher = watched.publisher
        with (
            subscriber(publisher.address, "QS_Console", hwm=1) as slow,
            subscriber(publisher.address, "QS_Console") as quick,
        ):
            await watched.subscribed()
            await watched.subscribed()
            sent = 0
            while publisher.counters.overflows == 0:
                publisher.publish_console(text, float(sent))
                _, message = await receive(quick)
                assert message == {"time": float(sent), "msg": text}
                sent += 1
            assert publisher.counters.published == sent
            assert (await receive(slow))[1] == {"time": 0.0, "msg": text}


async def test_an_info_address_in_use_is_named() -> None:
    async with publishing() as watched:
        with pytest.raises(AddressError, match="--zmq-info-addr"):
            InfoPublisher(watched.publisher.address).start()
