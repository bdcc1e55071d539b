from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgpack
import pytest
import zmq

from remanager.daemon.worker_host import WorkerHost, runtime_dir
from remanager.manager.ports import NotConnected
from remanager.model.errors import RemanagerError
from remanager.model.link import Ack, Heartbeat, Message, pack, unpack

WAIT_S = 10.0


@pytest.fixture
def short_dir() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="rm"))
    yield directory
    shutil.rmtree(directory)


class Worker:
    """The sockets of a worker."""

    def __init__(self, host: WorkerHost, uid: str) -> None:
        self.context = zmq.Context()
        self.link = self.context.socket(zmq.DEALER)
        self.link.setsockopt(zmq.IDENTITY, uid.encode())
        self.link.rcvtimeo = int(WAIT_S * 1000)
        self.link.connect(host.link_address)
        self.console = self.context.socket(zmq.PUSH)
        self.console.connect(host.console_address)

    async def receive(self) -> Message:
        return unpack(await asyncio.to_thread(self.link.recv))

    def close(self) -> None:
        self.link.close(linger=0)
        self.console.close(linger=0)
        self.context.term()


class Desk:
    """A host whose messages can be waited for."""

    def __init__(self, directory: Path) -> None:
        self.messages: asyncio.Queue[tuple[str, Message]] = asyncio.Queue()
        self.console: asyncio.Queue[tuple[str, float, str | None]] = asyncio.Queue()
        self.host = WorkerHost(
            directory,
            lambda uid, message: self.messages.put_nowait((uid, message)),
            lambda *piece: self.console.put_nowait(piece),
        )

    async def message(self) -> tuple[str, Message]:
        return await asyncio.wait_for(self.messages.get(), WAIT_S)

    async def output(self) -> tuple[str, float, str | None]:
        return await asyncio.wait_for(self.console.get(), WAIT_S)


@pytest.fixture
async def desk(short_dir: Path) -> AsyncIterator[Desk]:
    desk = Desk(short_dir)
    desk.host.start()
    yield desk
    await desk.host.close(linger_ms=0)


async def test_messages_go_both_ways(desk: Desk) -> None:
    first, second = Worker(desk.host, "first"), Worker(desk.host, "second")
    try:
        for name, worker in (("first", first), ("second", second)):
            worker.link.send(pack(Heartbeat(1.5)))
            assert await desk.message() == (name, Heartbeat(1.5))
        desk.host.send("second", Ack(2))
        desk.host.send("first", Ack(1))
        assert await first.receive() == Ack(1)
        assert await second.receive() == Ack(2)
        assert desk.host.counters.received == desk.host.counters.sent == 2
    finally:
        first.close()
        second.close()


async def test_console_output_arrives_in_order(desk: Desk) -> None:
    worker = Worker(desk.host, "w")
    try:
        texts = [f"\r{n} \x1b[A" for n in range(500)]
        for n, text in enumerate(texts):
            worker.console.send(msgpack.packb([float(n), text]))
        expected = [(text, float(n), None) for n, text in enumerate(texts)]
        assert [await desk.output() for _ in texts] == expected
        worker.console.send(msgpack.packb([1.0, "of a task", "w"]))
        assert await desk.output() == ("of a task", 1.0, "w")
    finally:
        worker.close()


async def test_sending_to_a_worker_that_is_not_there_raises(desk: Desk) -> None:
    with pytest.raises(NotConnected):
        desk.host.send("nobody", Ack(1))
    assert desk.host.counters.unreachable == 1
    closed = WorkerHost(Path("/nowhere"), lambda *_: None, lambda *_: None)
    with pytest.raises(NotConnected):
        closed.send("nobody", Ack(1))


async def test_malformed_frames_are_counted(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(desk.host, "w")
    try:
        wrong = [
            b"",
            b"nonsense",
            msgpack.packb(["Unknown"]),
            msgpack.packb(["Heartbeat"]),
            msgpack.packb({}),
        ]
        for frame in wrong:
            worker.link.send(frame)
        worker.link.send_multipart([b"two", b"frames"])
        worker.link.send(pack(Heartbeat(1.0)))
        assert await desk.message() == ("w", Heartbeat(1.0))
        packed = map(msgpack.packb, ([1.0], ["1.0", "x"], 1, [1.0, "x", 2], [1.0, "x", "w", "more"]))
        for frame in (b"", b"nonsense", *packed):
            worker.console.send(frame)
        worker.console.send(msgpack.packb([1.0, "good"]))
        assert await desk.output() == ("good", 1.0, None)
        assert desk.host.counters.malformed == 13
    finally:
        worker.close()
    assert "no message" in caplog.text


async def test_a_worker_meets_the_next_manager_at_the_same_address(short_dir: Path) -> None:
    before, after = Desk(short_dir), Desk(short_dir)
    before.host.start()
    worker = Worker(before.host, "w")
    try:
        worker.link.send(pack(Heartbeat(1.0)))
        assert await before.message() == ("w", Heartbeat(1.0))
        await before.host.close(linger_ms=0)
        after.host.start()
        worker.link.send(pack(Heartbeat(2.0)))
        assert await after.message() == ("w", Heartbeat(2.0))
        after.host.send("w", Ack(7))
        assert await worker.receive() == Ack(7)
    finally:
        worker.close()
        await after.host.close(linger_ms=0)


async def test_sockets_left_by_a_crash_are_replaced(short_dir: Path) -> None:
    (short_dir / "link").touch()
    (short_dir / "console").touch()
    desk = Desk(short_dir)
    desk.host.start()
    await desk.host.close()


async def test_an_address_in_use_is_refused(desk: Desk, short_dir: Path) -> None:
    with pytest.raises(RemanagerError, match="in use"):
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
    long = tmp_path / ("x" * 100)
    directory = runtime_dir(long)
    assert directory == runtime_dir(long) != runtime_dir(tmp_path / ("y" * 100))
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
