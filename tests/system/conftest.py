"""A real daemon on free ports, with its state in a temporary directory."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq

START_TIMEOUT_S = 30.0
USER = {"user": "tester", "user_group": "primary"}


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RawClient:
    """A plain REQ client: one socket a request, so that a lost reply spoils nothing."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._context = zmq.Context()

    def call(self, method: str, timeout: float = 10.0, **params: Any) -> dict[str, Any]:
        """Send a request and return its reply."""
        with self._context.socket(zmq.REQ) as sock:
            sock.linger = 0
            sock.connect(self.address)
            sock.send(json.dumps({"method": method, "params": params}).encode())
            if not sock.poll(int(timeout * 1000)):
                raise TimeoutError(f"{method}: no reply within {timeout} s")
            reply: dict[str, Any] = json.loads(sock.recv())
            return reply

    def ok(self, method: str, **params: Any) -> dict[str, Any]:
        """The same; the reply must not be a refusal."""
        reply = self.call(method, **params)
        assert reply.get("success", True), f"{method}: {reply['msg']}"
        return reply

    def close(self) -> None:
        """End the client."""
        self._context.term()


class StatusWatch:
    """Waits for a status by listening to the info socket: no polling."""

    def __init__(self, address: str, client: RawClient) -> None:
        self._address = address
        self._client = client

    def wait(self, condition: Callable[[dict[str, Any]], bool], timeout: float = 30.0) -> dict[str, Any]:
        """Return the first status that fulfils the condition."""
        context = zmq.Context()
        with context.socket(zmq.SUB) as sub:
            sub.linger = 0
            sub.subscribe(b"QS_Info")
            sub.connect(self._address)
            deadline = time.monotonic() + timeout
            status: dict[str, Any] = {}
            try:
                while (left := deadline - time.monotonic()) > 0:
                    # The daemon repeats the status every second, and sends it at once to a new listener.
                    if not sub.poll(int(left * 1000)):
                        break
                    status = json.loads(sub.recv_multipart()[1])["msg"].get("status", status)
                    if status and condition(status):
                        return status
            finally:
                sub.close()
                context.term()
        raise TimeoutError(f"the status did not come within {timeout} s: {status}")


class Daemon:
    """The daemon under test."""

    def __init__(self, state_dir: Path, *options: str, env: dict[str, str] | None = None) -> None:
        self.state_dir = state_dir
        self.control = f"tcp://127.0.0.1:{free_port()}"
        self.info = f"tcp://127.0.0.1:{free_port()}"
        self.log = state_dir.with_suffix(".log")
        self.options = options
        self.env = env or {}
        self.process: subprocess.Popen[bytes] | None = None
        self.client = RawClient(self.control)
        self.status = StatusWatch(self.info, self.client)

    def command(self, *more: str) -> list[str]:
        """Return the command line."""
        return [
            *(sys.executable, "-m", "remanager", "start"),
            *("--state-dir", str(self.state_dir)),
            *("--zmq-control-addr", self.control, "--zmq-info-addr", self.info, "--zmq-publish-console", "ON"),
            *self.options,
            *more,
        ]

    def start(self, *more: str) -> None:
        """Start and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(*more),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "MPLBACKEND": "agg", **self.env},
                start_new_session=True,
            )
        self.wait_answer()

    def wait_answer(self, timeout: float = START_TIMEOUT_S) -> dict[str, Any]:
        """Wait until the daemon answers; a request waits in the socket until there is one."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                return self.client.call("status", timeout=1.0)
            except TimeoutError:
                assert self.process is not None
                if self.process.poll() is not None:
                    break
        raise TimeoutError("the daemon does not answer:\n" + self.log.read_text()[-4000:])

    def manager(self) -> psutil.Process:
        """The manager's process."""
        assert self.process is not None
        return next(
            p for p in psutil.Process(self.process.pid).children() if "--supervisor-fd" in p.cmdline()
        )

    def worker(self) -> psutil.Process:
        """The environment worker's process."""
        return psutil.Process(self.client.ok("stats", sections=["workers"])["workers"][0]["pid"])

    def open_environment(self) -> None:
        """Open the environment and wait until plans can run."""
        self.client.ok("environment_open")
        status = self.status.wait(lambda s: s["manager_state"] == "idle", 60.0)
        assert status["worker_environment_exists"], self.log.read_text()[-4000:]

    def close_environment(self) -> None:
        """Close the environment and wait for it."""
        self.client.ok("environment_close")
        self.status.wait(lambda s: not s["worker_environment_exists"])

    def wait_idle(self, timeout: float = 60.0) -> dict[str, Any]:
        """Wait until the manager is idle."""
        return self.status.wait(lambda s: s["manager_state"] == "idle", timeout)

    def add_plan(self, name: str, *args: Any, **kwargs: Any) -> str:
        """Add a plan to the queue and return its uid."""
        item = {"item_type": "plan", "name": name, "args": list(args), "kwargs": kwargs}
        uid: str = self.client.ok("queue_item_add", item=item, **USER)["item"]["item_uid"]
        return uid

    def kill_all(self) -> None:
        """SIGKILL for every process of the daemon."""
        assert self.process is not None
        processes = [psutil.Process(self.process.pid)]
        processes += processes[0].children(recursive=True)
        for process in processes:
            process.send_signal(signal.SIGSTOP)  # nobody restarts anybody meanwhile
        for process in processes:
            process.kill()
        self.process.wait(10)
        psutil.wait_procs(processes, 10)

    def stop(self) -> int:
        """Stop in an orderly way and return the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        self.process = None
        return code

    def close(self) -> None:
        """Stop, whatever the state."""
        if self.process is not None:
            self.stop()
        self.client.close()


@pytest.fixture(scope="module")
def make_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Daemon]]:
    """Make daemons that end with the module."""
    made: list[Daemon] = []

    def make(*options: str, env: dict[str, str] | None = None) -> Daemon:
        daemon = Daemon(tmp_path_factory.mktemp("state") / "s", *options, env=env)
        made.append(daemon)
        return daemon

    yield make
    for daemon in made:
        daemon.close()


@pytest.fixture(scope="module")
def daemon(make_daemon: Callable[..., Daemon]) -> Daemon:
    """A running daemon with the simulated instrument, its environment open."""
    made = make_daemon()
    made.start()
    made.open_environment()
    return made
