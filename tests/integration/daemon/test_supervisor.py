from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

WAIT_S = 20.0
STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
FAKE = str(Path(__file__).with_name("fake_manager.py"))
DRIVER = """
import json, sys
from remanager.daemon.supervisor import Timing, run
setup = json.loads(sys.argv[1])
sys.exit(run(["--option", "value"], setup["command"], Timing(**setup["timing"])))
"""
PATIENT = {"silence_s": 3600.0, "stop_s": 3600.0, "workers_s": WAIT_S}
"""Waiting times of the supervisor that no test is to see pass, except where it sets them itself."""
SLEEPER = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]


class Manager:
    """One life of the fake manager."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def hear(self) -> dict[str, Any]:
        line = await asyncio.wait_for(self._reader.readline(), WAIT_S)
        assert line, "the fake manager is gone"
        return json.loads(line)  # type: ignore[no-any-return]

    async def last_words(self) -> list[dict[str, Any]]:
        """Wait for its end; return what it still said. It may be killed before it says that it was asked."""
        said = await asyncio.wait_for(self._reader.read(), WAIT_S)
        return [json.loads(line) for line in said.splitlines()]

    async def gone(self) -> bool:
        return await asyncio.wait_for(self._reader.read(), WAIT_S) == b""

    def do(self, **order: object) -> None:
        self._writer.write(json.dumps(order).encode() + b"\n")

    def send(self, op: str, **rest: object) -> None:
        self.do(op=op, **rest)

    async def spawn(self, argv: list[str], **rest: object) -> int:
        self.send("spawn", id=1, argv=argv, **rest)
        answer = await self.hear()
        assert answer["op"] == "spawned", answer
        return int(answer["pid"])

    def close(self) -> None:
        self._writer.close()


class Harness:
    """A real supervisor whose managers are fakes."""

    def __init__(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="rm")
        self.managers: asyncio.Queue[Manager] = asyncio.Queue()
        self.process: asyncio.subprocess.Process | None = None
        self._all: list[Manager] = []

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        manager = Manager(reader, writer)
        self._all.append(manager)
        self.managers.put_nowait(manager)

    async def start(
        self, command: list[str] | None = None, env: dict[str, str] | None = None, **timing: float
    ) -> None:
        path = f"{self.directory}/s"
        self.server = await asyncio.start_unix_server(self._connected, path)
        setup = json.dumps({"command": command or [sys.executable, FAKE], "timing": PATIENT | timing})
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", DRIVER, setup),
            env={**os.environ, "FAKE_MANAGER_SOCKET": path, **(env or {})},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def manager(self) -> tuple[Manager, dict[str, Any], dict[str, Any]]:
        """The next manager that starts, what it says, and the greeting that it got."""
        manager = await asyncio.wait_for(self.managers.get(), WAIT_S)
        return manager, await manager.hear(), await manager.hear()

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def result(self) -> tuple[int, str]:
        """Exit code and what the supervisor said."""
        assert self.process is not None
        _, said = await asyncio.wait_for(self.process.communicate(), WAIT_S)
        assert self.process.returncode is not None
        return self.process.returncode, said.decode()

    async def close(self) -> None:
        if self.process is not None and self.process.returncode is None:
            children = psutil.Process(self.process.pid).children(recursive=True)
            for child in children:
                child.kill()
            self.process.kill()
            await self.process.wait()
        for manager in self._all:
            manager.close()
        self.server.close()
        shutil.rmtree(self.directory)


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    harness = Harness()
    try:
        yield harness
    finally:
        await harness.close()


async def test_orderly_end_of_the_manager_ends_the_daemon(harness: Harness) -> None:
    await harness.start()
    manager, started, hello = await harness.manager()
    assert started["argv"] == ["--option", "value"]
    assert started["session"] is True
    assert hello["op"] == "hello"
    assert hello["restarts"] == 0
    assert hello["children"] == []
    assert len(hello["boot_id"]) == 32
    manager.send("heartbeat")
    manager.send("stopping")
    manager.do(exit=0)
    assert await harness.result() == (0, "")


async def test_a_crashed_manager_is_restarted_and_told_of_the_workers(harness: Harness) -> None:
    await harness.start()
    manager, _, first = await harness.manager()
    manager.send("heartbeat")
    living = await manager.spawn(SLEEPER)
    ended = await manager.spawn([sys.executable, "-c", "raise SystemExit(7)"])
    assert await manager.hear() == {"op": "exited", "pid": ended, "returncode": 7}
    manager.do(abort=True)
    manager, _, second = await harness.manager()
    assert second["restarts"] == 1
    assert second["boot_id"] == first["boot_id"]
    assert second["children"] == [{"pid": living, "returncode": None}, {"pid": ended, "returncode": 7}]
    os.kill(living, signal.SIGKILL)
    assert await manager.hear() == {"op": "exited", "pid": living, "returncode": -9}
    manager.send("heartbeat")
    manager.do(exit=1)
    manager, _, third = await harness.manager()
    assert third["restarts"] == 2
    manager.do(exit=0)
    returncode, said = await harness.result()
    assert returncode == 0
    assert "the manager died of SIGKILL: restart 1 in 0 s" in said
    assert "the manager exited with code 1: restart 2 in 0.5 s" in said


async def test_a_silent_manager_is_killed_and_restarted(harness: Harness) -> None:
    await harness.start(silence_s=0.3)
    manager, started, _ = await harness.manager()
    manager.send("heartbeat")
    manager.do(hang=True)
    manager, restarted, hello = await harness.manager()
    assert hello["restarts"] == 1
    assert not psutil.pid_exists(started["pid"])
    assert restarted["pid"] != started["pid"]
    manager.do(exit=0)
    returncode, said = await harness.result()
    assert returncode == 0
    assert "no heartbeat for 0.3 s: it is killed" in said


async def test_a_manager_that_never_starts_is_given_up(harness: Harness) -> None:
    await harness.start(start_s=0.3)
    returncode, said = await harness.result()
    assert returncode == 1
    assert "did not start within 0.3 s: it is killed" in said
    assert said.count("the manager died of SIGKILL") == 3
    assert "never ran: it is not restarted" in said


async def test_a_manager_that_cannot_be_executed_is_given_up(harness: Harness) -> None:
    await harness.start(["/no/such/command"])
    returncode, said = await harness.result()
    assert returncode == 1
    assert "could not be started" in said


async def test_wrong_options_are_not_tried_again(harness: Harness) -> None:
    await harness.start()
    manager, _, _ = await harness.manager()
    manager.do(exit=2)
    returncode, said = await harness.result()
    assert returncode == 2
    assert said == ""  # the manager has said what is wrong


async def test_an_address_taken_later_does_not_end_the_daemon(harness: Harness) -> None:
    await harness.start()
    manager, _, _ = await harness.manager()
    manager.send("heartbeat")
    manager.do(abort=True)
    manager, _, _ = await harness.manager()
    manager.do(exit=2)
    manager, _, hello = await harness.manager()
    assert hello["restarts"] == 2
    manager.do(exit=0)
    assert (await harness.result())[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_stop_the_manager_in_order_and_take_the_workers_along(
    harness: Harness, number: int
) -> None:
    await harness.start()
    manager, _, _ = await harness.manager()
    manager.send("heartbeat")
    worker = await manager.spawn(SLEEPER)
    harness.signal(number)
    assert await manager.hear() == {"op": "stop", "signal": int(number)}
    # No worker is started any more.
    manager.send("spawn", id=5, argv=SLEEPER)
    assert "stopping" in (await manager.hear())["error"]
    manager.do(exit=0)
    assert (await harness.result())[0] == 0
    assert not psutil.pid_exists(worker)


async def test_a_manager_that_does_not_stop_is_killed_with_its_workers(harness: Harness) -> None:
    await harness.start(stop_s=0.3)
    manager, _, _ = await harness.manager()
    worker = await manager.spawn(SLEEPER)
    harness.signal(signal.SIGTERM)
    assert await manager.last_words() in ([], [{"op": "stop", "signal": signal.SIGTERM}])
    returncode, said = await harness.result()
    assert returncode == 1
    assert "did not stop within 0.3 s" in said
    assert not psutil.pid_exists(worker)


async def test_two_signals_at_the_same_moment_count_once(harness: Harness) -> None:
    await harness.start(again_s=3600.0)
    manager, _, _ = await harness.manager()
    harness.signal(signal.SIGTERM)
    assert (await manager.hear())["op"] == "stop"
    harness.signal(signal.SIGTERM)
    manager.send("spawn", id=1, argv=SLEEPER)
    assert "stopping" in (await manager.hear())["error"]
    manager.do(exit=0)
    returncode, said = await harness.result()
    assert (returncode, said) == (0, "")


async def test_a_second_signal_kills_at_once(harness: Harness) -> None:
    await harness.start(again_s=0.0)
    manager, _, _ = await harness.manager()
    stubborn = "import signal; signal.signal(15, signal.SIG_IGN); signal.pause()"
    worker = await manager.spawn([sys.executable, "-c", stubborn])
    harness.signal(signal.SIGTERM)
    assert (await manager.hear())["op"] == "stop"
    harness.signal(signal.SIGTERM)
    returncode, said = await harness.result()
    assert returncode == 1
    assert "asked to stop again" in said
    assert not psutil.pid_exists(worker)


async def test_workers_that_ignore_sigterm_are_killed_in_the_end(harness: Harness) -> None:
    await harness.start(workers_s=0.3)
    manager, _, _ = await harness.manager()
    stubborn = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    worker = await manager.spawn([sys.executable, "-c", stubborn])
    assert harness.process is not None
    assert harness.process.stdout is not None
    assert await asyncio.wait_for(harness.process.stdout.readline(), WAIT_S) == b"up\n"
    manager.send("stopping")
    manager.do(exit=0)
    assert (await harness.result())[0] == 0
    # The supervisor waits 0.3 s for a killed one, too: it may have ended without having seen its end.
    with suppress(psutil.NoSuchProcess):
        await asyncio.to_thread(psutil.Process(worker).wait, WAIT_S)


async def test_helpers_of_a_killed_worker_go_with_it(harness: Harness) -> None:
    await harness.start()
    manager, _, _ = await harness.manager()
    helper = f"import subprocess, sys; p = subprocess.Popen({SLEEPER!r}); print(p.pid, flush=True); p.wait()"
    worker = await manager.spawn([sys.executable, "-c", helper])
    assert harness.process is not None
    assert harness.process.stdout is not None
    lines = {await asyncio.wait_for(harness.process.stdout.readline(), WAIT_S) for _ in range(2)}
    child = psutil.Process(int(next(line for line in lines if line != b"up\n")))
    os.kill(worker, signal.SIGKILL)
    assert (await manager.hear())["returncode"] == -9
    await asyncio.to_thread(child.wait, WAIT_S)
    manager.do(exit=0)
    assert (await harness.result())[0] == 0


async def test_spawning_with_environment_directory_and_failure(harness: Harness, tmp_path: Path) -> None:
    await harness.start()
    manager, _, _ = await harness.manager()
    manager.send("spawn", id=3, argv=["/no/such/program"])
    answer = await manager.hear()
    assert answer["id"] == 3
    assert "/no/such/program" in answer["error"]
    manager.send("spawn", id=4, argv=5)
    assert "error" in await manager.hear()
    code = "import os; os._exit(0 if os.environ == {'A': 'b', 'LC_CTYPE': 'C.UTF-8'} else 1)"
    await manager.spawn([sys.executable, "-c", code], env={"A": "b", "LC_CTYPE": "C.UTF-8"})
    assert (await manager.hear())["returncode"] == 0
    code = "import os, sys; sys.exit(os.getcwd() != sys.argv[1] or os.getsid(0) != os.getpid())"
    await manager.spawn([sys.executable, "-c", code, str(tmp_path)], cwd=str(tmp_path))
    assert (await manager.hear())["returncode"] == 0
    manager.do(exit=0)
    assert (await harness.result())[0] == 0


async def test_a_hangup_replaces_the_manager_and_spares_the_workers(harness: Harness) -> None:
    await harness.start()
    manager, _, first = await harness.manager()
    manager.send("heartbeat")
    worker = await manager.spawn(SLEEPER)
    harness.signal(signal.SIGHUP)
    assert await manager.hear() == {"op": "leave"}
    manager.send("stopping")
    manager.send("heartbeat")
    manager.do(exit=0)
    manager, _, second = await harness.manager()
    assert (second["restarts"], second["boot_id"]) == (1, first["boot_id"])
    assert second["children"] == [{"pid": worker, "returncode": None}]
    manager.do(exit=0)
    returncode, said = await harness.result()
    assert returncode == 0
    assert re.fullmatch(rf"\[I {STAMP} remanager\.supervisor\] the manager is replaced\n", said)


async def test_a_quiet_supervisor_tells_faults_only(harness: Harness) -> None:
    await harness.start()
    manager, _, _ = await harness.manager()
    manager.send("quiet")
    manager.send("heartbeat")
    harness.signal(signal.SIGHUP)
    assert await manager.hear() == {"op": "leave"}
    manager.do(exit=0)
    manager, _, _ = await harness.manager()
    manager.do(abort=True)
    manager, _, _ = await harness.manager()
    manager.do(exit=0)
    returncode, said = await harness.result()
    assert returncode == 0
    line = rf"\[W {STAMP} remanager\.supervisor\] the manager died of SIGKILL: restart 2 in 0 s\n"
    assert re.fullmatch(line, said), said


async def test_a_manager_that_does_not_leave_is_killed_and_replaced(harness: Harness) -> None:
    await harness.start(stop_s=0.3)
    manager, _, _ = await harness.manager()
    manager.send("heartbeat")
    harness.signal(signal.SIGHUP)
    assert await manager.last_words() in ([], [{"op": "leave"}])
    manager, _, hello = await harness.manager()
    assert hello["restarts"] == 1
    manager.do(exit=0)
    returncode, said = await harness.result()
    assert returncode == 0
    assert "did not stop within 0.3 s: it is killed" in said
    assert "the manager is replaced" in said


async def test_a_manager_that_leaves_can_be_told_to_stop(harness: Harness) -> None:
    await harness.start()
    manager, _, _ = await harness.manager()
    manager.send("heartbeat")
    harness.signal(signal.SIGHUP)
    assert await manager.hear() == {"op": "leave"}
    harness.signal(signal.SIGTERM)
    assert (await manager.hear())["op"] == "stop"
    manager.do(exit=0)
    assert (await harness.result())[0] == 0


async def test_workers_outlive_the_daemon_if_the_manager_said_so(harness: Harness) -> None:
    await harness.start(stop_s=0.3)
    manager, _, _ = await harness.manager()
    manager.send("workers", leave=True)
    # It must not hold the pipes of the test.
    detached = ["sh", "-c", 'exec "$@" >/dev/null 2>&1', "-", *SLEEPER]
    worker = psutil.Process(await manager.spawn(detached))
    harness.signal(signal.SIGTERM)
    assert await manager.last_words() in ([], [{"op": "stop", "signal": signal.SIGTERM}])
    # It hangs: it can not be asked, and what it said before counts.
    returncode, said = await harness.result()
    assert returncode == 1
    assert f"workers go on: {worker.pid}" in said
    assert worker.is_running()
    assert worker.status() != psutil.STATUS_ZOMBIE
    worker.kill()


class NotifySocket:
    """The service manager's end of sd_notify."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)

    async def hear(self) -> list[str]:
        loop = asyncio.get_running_loop()
        return (await asyncio.wait_for(loop.sock_recv(self.socket, 4096), WAIT_S)).decode().splitlines()


@pytest.fixture(params=["path", "abstract"])
def notify_socket(request: pytest.FixtureRequest, harness: Harness) -> Iterator[NotifySocket]:
    path = f"{harness.directory}/notify"
    made = NotifySocket(path if request.param == "path" else f"@{path}")
    yield made
    made.socket.close()


async def test_the_service_manager_is_told(harness: Harness, notify_socket: NotifySocket) -> None:
    await harness.start(env={"NOTIFY_SOCKET": notify_socket.address, "WATCHDOG_USEC": "1000000000"})
    assert harness.process is not None
    manager, _, _ = await harness.manager()
    manager.send("heartbeat", status="idle,\nenvironment closed")
    ready = ["READY=1", f"MAINPID={harness.process.pid}"]
    assert await notify_socket.hear() == ready
    assert await notify_socket.hear() == ["STATUS=idle, environment closed"]
    assert await notify_socket.hear() == ["WATCHDOG=1"]
    manager.send("heartbeat", status="idle, environment closed")  # nothing new, and too early to ping
    manager.send("heartbeat", status="running")
    assert await notify_socket.hear() == ["STATUS=running"]
    harness.signal(signal.SIGHUP)
    reloading, when = await notify_socket.hear()
    assert reloading == "RELOADING=1"
    assert when.startswith("MONOTONIC_USEC=")
    assert await manager.hear() == {"op": "leave"}
    manager.do(exit=0)
    manager, _, _ = await harness.manager()
    manager.send("heartbeat", status="running")
    assert await notify_socket.hear() == ready
    manager.do(abort=True)
    assert await notify_socket.hear() == ["STATUS=the manager died of SIGKILL and is restarted"]
    manager, _, _ = await harness.manager()
    harness.signal(signal.SIGTERM)
    assert await notify_socket.hear() == ["STOPPING=1"]
    manager.do(exit=0)
    assert (await harness.result())[0] == 0


async def test_children_do_not_speak_for_the_service(harness: Harness, notify_socket: NotifySocket) -> None:
    names = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
    await harness.start(env={"NOTIFY_SOCKET": notify_socket.address, names[1]: "1000", names[2]: "1"})
    manager, _, _ = await harness.manager()
    code = f"import os, sys; sys.exit(any(name in os.environ for name in {names!r}))"
    await manager.spawn([sys.executable, "-c", code])
    assert (await manager.hear())["returncode"] == 0
    manager.do(exit=0)
    assert (await harness.result())[0] == 0


async def test_a_hanging_manager_does_not_feed_the_watchdog(
    harness: Harness, notify_socket: NotifySocket
) -> None:
    env = {"NOTIFY_SOCKET": notify_socket.address, "WATCHDOG_USEC": "1"}
    await harness.start(env=env, silence_s=0.3)
    manager, _, _ = await harness.manager()
    # At once: between two heartbeats nobody may take longer than the supervisor waits.
    manager.do(raw='{"op": "heartbeat"}\n' * 2)
    manager.do(hang=True)
    assert (await notify_socket.hear())[0] == "READY=1"
    assert await notify_socket.hear() == ["WATCHDOG=1"]
    assert await notify_socket.hear() == ["WATCHDOG=1"]
    assert await notify_socket.hear() == ["STATUS=the manager died of SIGKILL and is restarted"]
    manager, _, _ = await harness.manager()
    manager.do(exit=0)
    assert (await harness.result())[0] == 0
    with pytest.raises(BlockingIOError):
        notify_socket.socket.recv(4096)


async def test_garbage_is_reported(harness: Harness) -> None:
    await harness.start()
    manager, _, _ = await harness.manager()
    manager.do(raw="garbage\n[1]\n")
    manager.send("dance")
    manager.do(exit=0)
    returncode, said = await harness.result()
    assert returncode == 0
    assert "not a message: b'garbage'" in said
    assert "unknown message 'dance'" in said


async def test_the_manager_notices_the_death_of_the_supervisor(harness: Harness) -> None:
    await harness.start()
    manager, _, _ = await harness.manager()
    harness.signal(signal.SIGKILL)
    assert await manager.gone()
    await harness.result()


async def test_the_supervisor_is_small(harness: Harness) -> None:
    await harness.start()
    manager, _, _ = await harness.manager()
    assert harness.process is not None
    assert psutil.Process(harness.process.pid).memory_full_info().pss < 12e6
    manager.do(exit=0)
    assert (await harness.result())[0] == 0
