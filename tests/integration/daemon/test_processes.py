from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from remanager.daemon.processes import Processes, process_start_ticks, watch_pid
from remanager.daemon.supervisor_link import SupervisorLink

WAIT_S = 10.0
SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]
HELLO = {"op": "hello", "restarts": 3, "boot_id": "life", "children": [{"pid": 5, "returncode": -9}]}


class Supervisor:
    """The other end of a link, played by the test."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.fd = theirs.detach()
        self.calls: asyncio.Queue[object] = asyncio.Queue()
        self.link = SupervisorLink(
            self.fd,
            on_stop=lambda number: self.calls.put_nowait(("stop", number)),
            on_lost=lambda: self.calls.put_nowait("lost"),
            on_exit=lambda pid, code: self.calls.put_nowait((pid, code)),
            on_leave=lambda: self.calls.put_nowait("leave"),
        )
        self._socket = ours

    async def meet(self) -> None:
        self._reader, self._writer = await asyncio.open_unix_connection(sock=self._socket)
        self.say(**HELLO)
        await self.link.connect()

    def say(self, **message: object) -> None:
        self._writer.write(json.dumps(message).encode() + b"\n")

    async def hear(self) -> dict[str, Any]:
        line = await asyncio.wait_for(self._reader.readline(), WAIT_S)
        return json.loads(line)  # type: ignore[no-any-return]

    async def call(self) -> object:
        return await asyncio.wait_for(self.calls.get(), WAIT_S)

    async def close(self) -> None:
        await self.link.close()
        self._writer.close()
        await self._writer.wait_closed()


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    supervisor = Supervisor()
    await supervisor.meet()
    yield supervisor
    await supervisor.close()


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that the supervisor does not know."""
    process = subprocess.Popen(SLEEPER, start_new_session=True)
    yield process
    process.kill()
    process.wait()


async def test_the_greeting_is_kept_and_heartbeats_flow(supervisor: Supervisor) -> None:
    assert supervisor.link.info.restarts == 3
    assert supervisor.link.info.boot_id == "life"
    assert supervisor.link.children == {5: -9}
    supervisor.link.start_heartbeats(interval_s=0.01)
    assert [(await supervisor.hear())["op"] for _ in range(3)] == ["heartbeat"] * 3
    supervisor.link.stopping()
    while (message := await supervisor.hear()) == {"op": "heartbeat", "status": ""}:
        continue
    assert message == {"op": "stopping"}


async def test_spawning_by_the_supervisor(supervisor: Supervisor) -> None:
    first = asyncio.create_task(supervisor.link.spawn(["a", "b"], {"X": "1"}, "/dir"))
    request = await supervisor.hear()
    assert request == {"op": "spawn", "id": 1, "argv": ["a", "b"], "env": {"X": "1"}, "cwd": "/dir"}
    second = asyncio.create_task(supervisor.link.spawn(["c"]))
    assert (await supervisor.hear())["id"] == 2
    supervisor.say(op="spawned", id=2, error="FileNotFoundError: c")
    supervisor.say(op="spawned", id=1, pid=77)
    assert await first == 77
    with pytest.raises(OSError, match="FileNotFoundError: c"):
        await second
    assert supervisor.link.children == {5: -9, 77: None}
    supervisor.say(op="exited", pid=77, returncode=1)
    assert await supervisor.call() == (77, 1)
    assert supervisor.link.children == {5: -9, 77: 1}


async def test_requests_of_the_supervisor(supervisor: Supervisor, caplog: pytest.LogCaptureFixture) -> None:
    supervisor.say(op="strange")
    supervisor.say(op="leave")
    supervisor.say(op="stop", signal=15)
    assert await supervisor.call() == "leave"
    assert await supervisor.call() == ("stop", 15)
    assert "Unknown message" in caplog.text


async def test_the_death_of_the_supervisor_is_noticed(supervisor: Supervisor) -> None:
    spawn = asyncio.create_task(supervisor.link.spawn(["a"]))
    await supervisor.hear()
    supervisor._writer.close()
    assert await supervisor.call() == "lost"
    with pytest.raises(ConnectionResetError):
        await spawn


async def test_long_gone_children_are_forgotten(supervisor: Supervisor) -> None:
    for pid in range(100, 200):
        supervisor.say(op="exited", pid=pid, returncode=0)
        assert await supervisor.call() == (pid, 0)
    assert list(supervisor.link.children) == list(range(136, 200))


async def test_a_descriptor_without_a_supervisor_is_refused() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    link = SupervisorLink(reader, on_stop=lambda _: None, on_lost=lambda: None)
    try:
        with pytest.raises(ConnectionError):
            await link.connect()
    finally:
        os.close(reader)
    ours, theirs = socket.socketpair()
    ours.close()
    link = SupervisorLink(theirs.detach(), on_stop=lambda _: None, on_lost=lambda: None)
    with pytest.raises(ConnectionError, match="did not say hello"):
        await link.connect()


async def test_children_are_watched_through_the_supervisor(supervisor: Supervisor) -> None:
    processes = Processes(supervisor.link)
    ended: asyncio.Queue[int | None] = asyncio.Queue()
    spawn = asyncio.create_task(processes.spawn(["a"], None, None))
    await supervisor.hear()
    supervisor.say(op="spawned", id=1, pid=88)
    processes.watch(await spawn, ended.put_nowait)
    supervisor.say(op="exited", pid=88, returncode=-11)
    assert await asyncio.wait_for(ended.get(), WAIT_S) == -11
    # Ended before somebody watched: told at once.
    processes.watch(88, ended.put_nowait)
    processes.watch(5, ended.put_nowait)
    assert await asyncio.wait_for(ended.get(), WAIT_S) == -11
    assert await asyncio.wait_for(ended.get(), WAIT_S) == -9


async def test_strangers_are_watched_by_descriptor_and_killed_by_name(
    supervisor: Supervisor, stranger: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    processes = Processes(supervisor.link)
    ended: asyncio.Queue[int | None] = asyncio.Queue()
    ticks = processes.start_ticks(stranger.pid)
    assert ticks > 0
    assert not processes.is_alive(stranger.pid, ticks + 1)
    processes.watch(stranger.pid, ended.put_nowait)
    processes.kill(stranger.pid)  # its start time is not known: it might be somebody else's
    assert processes.is_alive(stranger.pid, ticks)
    settings = tmp_path / "settings"
    assert not processes.take_over(stranger.pid, ticks, settings)
    settings.write_text("{}")
    assert not processes.take_over(stranger.pid, ticks, settings)
    processes.kill(stranger.pid)  # it is not ours
    assert stranger.poll() is None
    with settings.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert not processes.take_over(stranger.pid, ticks + 1, settings)
        assert processes.take_over(stranger.pid, ticks, settings)
    processes.kill(stranger.pid)
    assert await asyncio.wait_for(ended.get(), WAIT_S) is None
    assert not processes.is_alive(stranger.pid, ticks)
    await asyncio.to_thread(stranger.wait)
    assert processes.start_ticks(stranger.pid) == 0
    processes.watch(stranger.pid, ended.put_nowait)
    assert await asyncio.wait_for(ended.get(), WAIT_S) is None
    processes.close()


async def test_a_child_that_another_manager_started_can_be_killed(
    supervisor: Supervisor, stranger: subprocess.Popen[bytes]
) -> None:
    spawn = asyncio.create_task(Processes(supervisor.link).spawn(["a"], None, None))
    await supervisor.hear()
    supervisor.say(op="spawned", id=1, pid=stranger.pid)
    await spawn
    Processes(supervisor.link).kill(stranger.pid)
    assert await asyncio.to_thread(stranger.wait) == -9


async def test_a_watch_can_be_ended(supervisor: Supervisor, stranger: subprocess.Popen[bytes]) -> None:
    calls: list[int | None] = []
    end = watch_pid(stranger.pid, lambda: calls.append(None))
    processes = Processes(supervisor.link)
    processes.watch(stranger.pid, calls.append)
    processes.close()
    end()
    stranger.send_signal(signal.SIGKILL)
    await asyncio.to_thread(stranger.wait)
    assert calls == []


def test_start_ticks_name_a_process() -> None:
    assert process_start_ticks(os.getpid()) == process_start_ticks(os.getpid()) > 0
    assert process_start_ticks(2**22 + 1) == 0
