from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator

import pytest
import zmq

from remanager.daemon.sockets import SocketReader, ZmqSocket, raise_descriptor_limit

WAIT_S = 10.0


@pytest.fixture
def pair() -> Iterator[tuple[ZmqSocket, ZmqSocket]]:
    context: zmq.Context[ZmqSocket] = zmq.Context()
    ours, theirs = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    ours.bind("inproc://pair")
    theirs.connect("inproc://pair")
    yield ours, theirs
    ours.close(linger=0)
    theirs.close(linger=0)
    context.term()


async def test_other_tasks_run_between_the_rounds(pair: tuple[ZmqSocket, ZmqSocket]) -> None:
    ours, theirs = pair
    received: list[bytes] = []
    seen: list[int] = []
    done = asyncio.Event()

    def take(frames: list[bytes]) -> None:
        received.extend(frames)
        if len(received) == 100:
            done.set()

    async def watch() -> None:
        while not done.is_set():
            seen.append(len(received))
            await asyncio.sleep(0)

    for n in range(100):
        theirs.send(b"%d" % n)
    reader = SocketReader(ours, take, max_messages=10)
    reader.start()
    await asyncio.wait_for(watch(), WAIT_S)
    reader.stop()
    assert received == [b"%d" % n for n in range(100)]
    assert len(set(seen)) >= 9


async def test_a_failing_callback_does_not_end_the_reading(
    pair: tuple[ZmqSocket, ZmqSocket], caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = pair
    received: asyncio.Queue[list[bytes]] = asyncio.Queue()

    def take(frames: list[bytes]) -> None:
        if frames == [b"bad"]:
            raise ValueError("bad message")
        received.put_nowait(frames)

    reader = SocketReader(ours, take)
    reader.start()
    theirs.send(b"bad")
    theirs.send_multipart([b"good", b"", b"message"])
    assert await asyncio.wait_for(received.get(), WAIT_S) == [b"good", b"", b"message"]
    reader.stop()
    assert "bad message" in caplog.text


async def test_a_callback_may_stop_the_reader(pair: tuple[ZmqSocket, ZmqSocket]) -> None:
    ours, theirs = pair
    stopped = asyncio.Event()
    received: list[list[bytes]] = []

    def take(frames: list[bytes]) -> None:
        received.append(frames)
        reader.stop()
        stopped.set()

    reader = SocketReader(ours, take)
    theirs.send(b"1")
    theirs.send(b"2")
    reader.start()
    await asyncio.wait_for(stopped.wait(), WAIT_S)
    reader.stop()
    reader.kick()
    assert received == [[b"1"]]


async def test_messages_that_arrive_while_sending_are_read(pair: tuple[ZmqSocket, ZmqSocket]) -> None:
    ours, theirs = pair
    received: asyncio.Queue[list[bytes]] = asyncio.Queue()
    reader = SocketReader(ours, received.put_nowait)
    reader.start()
    for n in range(200):
        theirs.send(b"%d" % n)
        ours.getsockopt(zmq.EVENTS)  # swallows the signal, as a send may do
        reader.kick()
        assert await asyncio.wait_for(received.get(), WAIT_S) == [b"%d" % n]
    reader.stop()


def test_the_descriptor_limit_is_raised_to_the_hard_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        assert raise_descriptor_limit() == hard
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
