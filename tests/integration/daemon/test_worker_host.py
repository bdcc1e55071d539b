from __future__ import annotations

import asyncio
import logging
import os
import resource
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgpack
import pytest

from remanager.daemon import frame_server
from remanager.daemon.worker_host import WorkerHost, runtime_dir
from remanager.manager.ports import NotConnected
from remanager.model.errors import RemanagerError
from remanager.model.frames import FrameReader, frame
from remanager.model.link import Ack, Heartbeat, Message, Reply, pack, unpack

WAIT_S = 10.0
LARGE = "x" * (8 << 20)


@pytest.fixture
def short_dir() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="rm"))
    yield directory
    shutil.rmtree(directory)


def connect(address: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(WAIT_S)
    connection.connect(address)
    return connection


class Worker:
    """The sockets of a worker."""

    def __init__(self, host: WorkerHost, uid: str) -> None:
        self.link = connect(host.link_address)
        self.link.sendall(frame(uid.encode()))
        self.console = connect(host.console_address)
        self._reader = FrameReader()

    async def say(self, *messages: Message) -> None:
        await asyncio.to_thread(self.link.sendall, b"".join(frame(pack(m)) for m in messages))

    async def receive(self) -> Message:
        while (content := self._reader.next()) is None:
            data = await asyncio.to_thread(self.link.recv, 1 << 20)
            assert data, "the connection was closed"
            self._reader.feed(data)
        return unpack(content)

    async def is_closed(self) -> bool:
        """Wait until the host closes the connection."""
        try:
            while await asyncio.to_thread(self.link.recv, 1 << 20):
                pass
        except ConnectionResetError:
            pass
        return True

    def close(self) -> None:
        self.link.close()
        self.console.close()


class Desk:
    """A host whose messages can be waited for, and its workers."""

    def __init__(self, directory: Path) -> None:
        self.messages: asyncio.Queue[tuple[str, Message]] = asyncio.Queue()
        self.console: asyncio.Queue[tuple[str, float, str | None]] = asyncio.Queue()
        self.workers: list[Worker] = []
        self.host = WorkerHost(
            directory,
            lambda uid, message: self.messages.put_nowait((uid, message)),
            lambda *piece: self.console.put_nowait(piece),
        )

    def worker(self, uid: str) -> Worker:
        worker = Worker(self.host, uid)
        self.workers.append(worker)
        return worker

    async def greeted(self, uid: str) -> Worker:
        """Return a worker that can be sent messages."""
        worker = self.worker(uid)
        await worker.say(Heartbeat(0.5))
        assert await self.message() == (uid, Heartbeat(0.5))
        return worker

    async def message(self) -> tuple[str, Message]:
        return await asyncio.wait_for(self.messages.get(), WAIT_S)

    async def output(self) -> tuple[str, float, str | None]:
        return await asyncio.wait_for(self.console.get(), WAIT_S)

    async def close(self) -> None:
        for worker in self.workers:
            worker.close()
        await self.host.close(linger_ms=0)


@pytest.fixture
async def desk(short_dir: Path) -> AsyncIterator[Desk]:
    desk = Desk(short_dir)
    desk.host.start()
    yield desk
    await desk.close()


async def test_messages_go_both_ways(desk: Desk) -> None:
    first, second = await desk.greeted("first"), await desk.greeted("second")
    desk.host.send("second", Ack(2))
    desk.host.send("first", Ack(1))
    assert await first.receive() == Ack(1)
    assert await second.receive() == Ack(2)
    assert desk.host.counters.received == desk.host.counters.sent == 2


async def test_large_messages_go_both_ways(desk: Desk) -> None:
    worker = await desk.greeted("w")
    await worker.say(Reply(1, True, LARGE), Heartbeat(2.0))
    assert await desk.message() == ("w", Reply(1, True, LARGE))
    assert await desk.message() == ("w", Heartbeat(2.0))
    desk.host.send("w", Reply(2, True, LARGE))
    desk.host.send("w", Ack(3))
    assert await worker.receive() == Reply(2, True, LARGE)
    assert await worker.receive() == Ack(3)


async def test_the_order_is_kept_under_load(desk: Desk) -> None:
    workers = [await desk.greeted(name) for name in ("first", "second")]
    count = 5000
    await asyncio.gather(*(w.say(*(Heartbeat(float(n)) for n in range(count))) for w in workers))
    came: dict[str, list[Message]] = {"first": [], "second": []}
    for _ in range(2 * count):
        uid, message = await desk.message()
        came[uid].append(message)
    assert came["first"] == came["second"] == [Heartbeat(float(n)) for n in range(count)]
    for n in range(count):
        desk.host.send("first", Reply(n, True, "x" * 200))  # more than the system takes at once
    assert [m.id async for m in first_of(workers[0], count)] == list(range(count))


async def first_of(worker: Worker, count: int) -> AsyncIterator[Reply]:
    for _ in range(count):
        message = await worker.receive()
        assert isinstance(message, Reply)
        yield message


async def test_a_message_in_many_pieces(desk: Desk) -> None:
    worker = desk.worker("")
    link = connect(desk.host.link_address)
    worker.link.close()
    worker.link = link
    data = frame(b"w") + frame(pack(Heartbeat(1.0))) + frame(pack(Heartbeat(2.0)))
    for n in range(len(data)):
        link.sendall(data[n : n + 1])
        await asyncio.sleep(0)  # so that the host gets it alone
    assert await desk.message() == ("w", Heartbeat(1.0))
    assert await desk.message() == ("w", Heartbeat(2.0))


async def test_a_flood_leaves_turns_of_the_loop_to_others(desk: Desk) -> None:
    worker = await desk.greeted("w")
    others = [await desk.greeted(f"w{n}") for n in range(3)]
    sending = asyncio.create_task(worker.say(*(Heartbeat(float(n)) for n in range(10_000))))
    most = taken = 0
    while taken < 10_000:
        await asyncio.sleep(0)
        came = desk.host.counters.received - len(others) - 1
        most, taken = max(most, came - taken), came
    await sending
    assert most <= 200


async def test_console_output_arrives_in_order(desk: Desk) -> None:
    worker = desk.worker("w")
    texts = [f"\r{n} \x1b[A" for n in range(500)]
    data = b"".join(frame(msgpack.packb([float(n), text])) for n, text in enumerate(texts))
    await asyncio.to_thread(worker.console.sendall, data)
    expected = [(text, float(n), None) for n, text in enumerate(texts)]
    assert [await desk.output() for _ in texts] == expected
    worker.console.sendall(frame(msgpack.packb([1.0, "of a task", "w"])))
    assert await desk.output() == ("of a task", 1.0, "w")


async def test_sending_to_a_worker_that_is_not_there_raises(desk: Desk) -> None:
    with pytest.raises(NotConnected):
        desk.host.send("nobody", Ack(1))
    assert desk.host.counters.unreachable == 1
    closed = WorkerHost(Path("/nowhere"), lambda *_: None, lambda *_: None)
    with pytest.raises(NotConnected):
        closed.send("nobody", Ack(1))


async def test_what_a_worker_sent_before_its_end_arrives(desk: Desk) -> None:
    worker = await desk.greeted("w")
    desk.host.send("w", Ack(1))  # it goes without reading this
    worker.link.sendall(b"".join(frame(pack(Heartbeat(float(n)))) for n in range(300)))
    worker.close()
    for _ in range(2):
        with pytest.raises(NotConnected):
            desk.host.send("w", Ack(2))
    assert [await desk.message() for _ in range(300)] == [("w", Heartbeat(float(n))) for n in range(300)]
    assert desk.host.counters.unreachable == 2


async def test_a_worker_that_ends_while_messages_wait_for_it(desk: Desk) -> None:
    worker = await desk.greeted("w")
    desk.host.send("w", Reply(1, True, LARGE))
    worker.close()
    again = await desk.greeted("w")
    desk.host.send("w", Ack(2))
    assert await again.receive() == Ack(2)


async def test_a_worker_that_never_reads_is_disconnected(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(frame_server, "MAX_WAITING_BYTES", 1 << 20)
    monkeypatch.setattr(frame_server, "STALLED_S", 0.0)
    worker, other = await desk.greeted("w"), await desk.greeted("other")
    sent = 0
    with pytest.raises(NotConnected):  # noqa: PT012
        while sent < 1000:
            desk.host.send("w", Reply(1, True, "x" * 10_000))
            sent += 1
    assert 100 < sent < 1000
    assert desk.host.counters.unreachable == 1
    with pytest.raises(NotConnected):
        desk.host.send("w", Ack(1))
    assert "does not read" in caplog.text
    desk.host.send("other", Ack(2))
    assert await other.receive() == Ack(2)
    assert await worker.is_closed()
    again = await desk.greeted("w")
    desk.host.send("w", Ack(3))
    assert await again.receive() == Ack(3)


async def test_a_worker_that_reads_may_be_sent_much(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_server, "MAX_WAITING_BYTES", 1 << 20)
    worker = await desk.greeted("w")
    large = Reply(1, True, "x" * (4 << 20))
    desk.host.send("w", large)
    desk.host.send("w", Ack(1))  # while most of the large one waits
    assert await worker.receive() == large
    assert await worker.receive() == Ack(1)


async def test_what_comes_again_and_again_is_not_logged_each_time(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1, 4):
        worker = desk.worker("")
        assert await worker.is_closed()
        assert desk.host.counters.malformed == number
    assert caplog.text.count("no message") == 1


async def test_malformed_frames_are_counted(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    worker = desk.worker("w")
    wrong = [
        b"",
        b"nonsense",
        msgpack.packb(["Unknown"]),
        msgpack.packb(["Heartbeat"]),
        msgpack.packb({}),
    ]
    worker.link.sendall(b"".join(map(frame, wrong)))
    await worker.say(Heartbeat(1.0))
    assert await desk.message() == ("w", Heartbeat(1.0))
    packed = map(msgpack.packb, ([1.0], ["1.0", "x"], 1, [1.0, "x", 2], [1.0, "x", "w", "more"]))
    for content in (b"", b"nonsense", *packed):
        worker.console.sendall(frame(content))
    worker.console.sendall(frame(msgpack.packb([1.0, "good"])))
    assert await desk.output() == ("good", 1.0, None)
    assert desk.host.counters.malformed == 12
    assert "no message" in caplog.text


@pytest.mark.parametrize(
    "greeting",
    [b"GET / HTTP/1.1\r\n\r\n", b"\xff\0\0\0\0\0\0\0\1\x7f", frame(b""), frame(b"\xff"), frame(b"u" * 256)],
)
async def test_who_does_not_give_a_name_is_disconnected(desk: Desk, greeting: bytes) -> None:
    worker, other = desk.worker(""), await desk.greeted("other")
    assert await worker.is_closed()
    worker.link.close()
    worker.link = connect(desk.host.link_address)
    worker.link.sendall(greeting)
    assert await worker.is_closed()
    assert desk.host.counters.malformed == 2
    desk.host.send("other", Ack(1))
    assert await other.receive() == Ack(1)


async def test_a_frame_that_is_too_large_ends_the_connection(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    worker, other = await desk.greeted("w"), await desk.greeted("other")
    worker.link.sendall(frame(pack(Heartbeat(1.0))) + b"\xff" * 1000)
    assert await desk.message() == ("w", Heartbeat(1.0))
    assert await worker.is_closed()
    assert "no message" in caplog.text
    assert desk.host.counters.malformed == 1
    worker.console.sendall(b"\x7f" * 1000)
    worker.link.close()
    worker.link = worker.console
    assert await worker.is_closed()
    await other.say(Heartbeat(2.0))
    assert await desk.message() == ("other", Heartbeat(2.0))
    assert desk.host.counters.malformed == 2


async def test_who_says_nothing_is_in_nobodys_way(desk: Desk) -> None:
    silent = [connect(desk.host.link_address) for _ in range(20)]
    silent.append(connect(desk.host.console_address))
    silent[0].sendall(b"\0\0")
    worker = await desk.greeted("w")
    desk.host.send("w", Ack(1))
    assert await worker.receive() == Ack(1)
    await desk.host.close()
    for connection in silent:
        with connection:
            assert connection.recv(1) == b""


async def test_a_worker_that_connects_again_replaces_its_former_connection(desk: Desk) -> None:
    former, latter = await desk.greeted("w"), await desk.greeted("w")
    assert await former.is_closed()
    desk.host.send("w", Ack(1))
    assert await latter.receive() == Ack(1)
    with pytest.raises(BrokenPipeError):
        former.link.sendall(frame(pack(Heartbeat(1.0))))
    await latter.say(Heartbeat(2.0))
    assert await desk.message() == ("w", Heartbeat(2.0))


async def test_a_fault_of_the_handler_is_logged(short_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(short_dir)

    def fail(uid: str, message: Message) -> None:
        desk.messages.put_nowait((uid, message))
        if message == Heartbeat(1.0):
            raise RuntimeError("a fault of the handler")

    desk.host = WorkerHost(short_dir, fail, lambda *_: None)
    desk.host.start()
    worker = desk.worker("w")
    await worker.say(Heartbeat(1.0), Heartbeat(2.0))
    assert [await desk.message() for _ in range(2)] == [("w", Heartbeat(1.0)), ("w", Heartbeat(2.0))]
    assert "a fault of the handler" in caplog.text
    await desk.close()


async def test_a_connection_of_another_user_is_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    worker = desk.worker("w")
    assert await worker.is_closed()
    assert "another user" in caplog.text
    monkeypatch.undo()
    await desk.greeted("w")


async def test_connections_wait_while_there_is_no_descriptor_left(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_server, "_ACCEPT_RETRY_S", 0.01)
    refused = asyncio.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "can not be taken" in record.getMessage():
                refused.set()

    listener = Listener()
    logging.getLogger(frame_server.__name__).addHandler(listener)
    worker = desk.worker("w")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        await asyncio.wait_for(refused.wait(), WAIT_S)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        logging.getLogger(frame_server.__name__).removeHandler(listener)
    await worker.say(Heartbeat(1.0))
    assert await desk.message() == ("w", Heartbeat(1.0))


async def test_what_was_sent_leaves_before_the_end(short_dir: Path) -> None:
    desk = Desk(short_dir)
    desk.host.start()
    reading, deaf = await desk.greeted("reading"), await desk.greeted("deaf")
    desk.host.send("reading", Reply(1, True, LARGE))
    received = asyncio.create_task(reading.receive())
    await desk.host.close(linger_ms=10_000)
    assert await received == Reply(1, True, LARGE)
    deaf.close()
    reading.close()


async def test_the_end_does_not_wait_for_who_does_not_read(short_dir: Path) -> None:
    desk = Desk(short_dir)
    desk.host.start()
    deaf = await desk.greeted("deaf")
    desk.host.send("deaf", Reply(1, True, LARGE))
    await desk.host.close(linger_ms=10)
    with pytest.raises(NotConnected):
        desk.host.send("deaf", Ack(1))
    assert not (short_dir / "link").exists()
    deaf.close()


async def test_a_worker_meets_the_next_manager_at_the_same_address(short_dir: Path) -> None:
    before, after = Desk(short_dir), Desk(short_dir)
    before.host.start()
    worker = await before.greeted("w")
    await before.host.close(linger_ms=0)
    assert await worker.is_closed()
    after.host.start()
    again = await after.greeted("w")
    after.host.send("w", Ack(7))
    assert await again.receive() == Ack(7)
    await before.close()
    await after.close()


async def test_sockets_left_by_a_crash_are_replaced(short_dir: Path) -> None:
    (short_dir / "link").touch()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(short_dir / "console"))
    desk = Desk(short_dir)
    desk.host.start()
    await desk.greeted("w")
    await desk.close()


async def test_an_address_in_use_is_refused(desk: Desk, short_dir: Path) -> None:
    with pytest.raises(RemanagerError, match="in use"):
        Desk(short_dir).host.start()
    (short_dir / "link").unlink()
    with pytest.raises(RemanagerError, match="in use"):
        Desk(short_dir).host.start()
    assert not (short_dir / "link").exists()  # half a host does not listen


async def test_an_address_that_can_not_be_used_is_refused(short_dir: Path) -> None:
    (short_dir / "link").mkdir()
    with pytest.raises(RemanagerError, match="can not be used: Is a directory"):
        Desk(short_dir).host.start()


def test_the_runtime_directory_is_private(short_dir: Path) -> None:
    directory = runtime_dir(short_dir)
    assert directory == short_dir / "run"
    assert directory.stat().st_mode & 0o777 == 0o700
    directory.chmod(0o755)
    assert runtime_dir(short_dir) == directory
    assert directory.stat().st_mode & 0o777 == 0o700


def test_long_paths_get_a_short_directory(
    short_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(short_dir))
    long, moved = tmp_path / ("x" * 100), tmp_path / ("y" * 100)
    long.mkdir()
    directory = runtime_dir(long)
    assert directory == runtime_dir(long)
    long.rename(moved)
    shutil.copytree(moved, long)
    assert directory == runtime_dir(moved) != runtime_dir(long)
    assert directory.parent == short_dir / f"remanager-{os.getuid()}"
    assert directory.parent.stat().st_mode & 0o777 == 0o700


def test_links_files_and_directories_of_others_are_refused(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (short_dir / "elsewhere").mkdir()
    (short_dir / "run").symlink_to(short_dir / "elsewhere")
    with pytest.raises(RemanagerError, match="not a link"):
        runtime_dir(short_dir)
    (short_dir / "run").unlink()
    (short_dir / "run").touch()
    with pytest.raises(RemanagerError, match="not a link"):
        runtime_dir(short_dir)
    (short_dir / "run").unlink()
    runtime_dir(short_dir)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(RemanagerError, match="another user"):
        runtime_dir(short_dir)
