"""A real daemon on free ports, with its state in a temporary directory, and plain sockets to talk to it."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import pytest
import zmq

from remanager.demo import PROFILE_DIR

START_TIMEOUT_S = 30.0
USER = {"user": "tester", "user_group": "primary"}
ROOT = {"user": "tester", "user_group": "root"}
Status = dict[str, Any]
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_ports = list(range(20_000 + _WORKER, 32_768, _WORKERS))
random.shuffle(_ports)


def free_port() -> int:
    """Return a port that is free now and was not returned before: a daemon takes its ports later.

    Each process of pytest has ports of its own, below those that connections are given by the kernel.
    """
    while True:
        port = _ports.pop()
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _is_manager(process: psutil.Process) -> bool:
    try:
        return "--supervisor-fd" in process.cmdline()
    except psutil.NoSuchProcess:  # a worker that has just ended
        return False


def make_profile(directory: Path) -> Path:
    """Make a start-up directory: the simulated instrument, and the plans and functions of these tests."""
    shutil.copytree(PROFILE_DIR, directory, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(Path(__file__).parent / "profile", directory, dirs_exist_ok=True)
    return directory


def plan(name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return a plan item."""
    return {"item_type": "plan", "name": name, "args": list(args), "kwargs": kwargs}


def function(name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return a function item."""
    return {"item_type": "function", "name": name, "args": list(args), "kwargs": kwargs}


class RawClient:
    """A plain REQ client: one socket a request, so that a lost reply spoils nothing."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.context = zmq.Context()

    def send_raw(self, frame: bytes, timeout: float = 10.0) -> bytes:
        """Send a frame and return the frame that comes back."""
        with self.context.socket(zmq.REQ) as sock:
            sock.linger = 0
            sock.connect(self.address)
            sock.send(frame)
            if not sock.poll(int(timeout * 1000)):
                raise TimeoutError(f"no reply within {timeout} s to {frame[:200]!r}")
            return sock.recv()

    def call(self, method: str, timeout: float = 10.0, **params: Any) -> dict[str, Any]:
        """Send a request and return its reply."""
        reply = self.send_raw(json.dumps({"method": method, "params": params}).encode(), timeout)
        content: dict[str, Any] = json.loads(reply)
        return content

    def ok(self, method: str, **params: Any) -> dict[str, Any]:
        """The same; the reply must not be a refusal."""
        reply = self.call(method, **params)
        assert reply.get("success", True), f"{method}: {reply['msg']}"
        return reply

    def refused(self, method: str, **params: Any) -> dict[str, Any]:
        """The same; the reply must be a refusal."""
        reply = self.call(method, **params)
        assert reply["success"] is False, f"{method}: {reply}"
        return reply

    def long(self, method: str, *, timeout: float = 30.0, **params: Any) -> dict[str, Any]:
        """Send a request that the daemon may take so long to answer (s); the reply must not be a refusal."""
        frame = json.dumps({"method": method, "params": {**params, "timeout": timeout}}).encode()
        reply: dict[str, Any] = json.loads(self.send_raw(frame, timeout + 10.0))
        assert reply["success"], f"{method}: {reply['msg']}"
        return reply

    def close(self) -> None:
        """End the client."""
        self.context.term()


class Listener:
    """Hears the info socket from now on: nothing is polled, nothing that happens later is missed."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str, timeout: float = 30.0) -> None:
        self.status: Status = {}
        self.text = ""
        self._sub = context.socket(zmq.SUB)
        self._sub.linger = 0
        self._sub.rcvhwm = 0
        self._sub.connect(address)
        # The daemon sends the status to a new listener at once: then the first subscription is there, too.
        self._sub.subscribe(b"QS_Console")
        self._sub.subscribe(b"QS_Info")
        try:
            self.wait_status(lambda _s: True, timeout)
        except TimeoutError:
            self._sub.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._sub.close()

    def _receive(self, deadline: float) -> bool:
        left = deadline - time.monotonic()
        if left <= 0 or not self._sub.poll(int(left * 1000)):
            return False
        topic, payload = self._sub.recv_multipart()
        message = json.loads(payload)["msg"]
        if topic == b"QS_Console":
            self.text += message
        else:
            self.status = message.get("status", self.status)
        return True

    def wait_status(self, condition: Callable[[Status], bool], timeout: float = 30.0) -> Status:
        """Return the first status that fulfils the condition, the last one received included."""
        deadline = time.monotonic() + timeout
        while not (self.status and condition(self.status)):
            if not self._receive(deadline):
                raise TimeoutError(f"the status did not come within {timeout} s: {self.status}")
        return self.status

    def wait_messages(self, number: int, timeout: float = 30.0) -> None:
        """Wait for so many messages, whatever they say."""
        deadline = time.monotonic() + timeout
        for _ in range(number):
            if not self._receive(deadline):
                raise TimeoutError(f"fewer than {number} messages within {timeout} s")

    def wait_text(self, pattern: str, timeout: float = 30.0) -> re.Match[str]:
        """Return the first match in the console output that was received."""
        deadline = time.monotonic() + timeout
        while (match := re.search(pattern, self.text)) is None:
            if not self._receive(deadline):
                raise TimeoutError(f"{pattern!r} was not written within {timeout} s: {self.text[-2000:]}")
        return match


class Daemon:
    """The daemon under test."""

    def __init__(self, state_dir: Path, *options: str, env: dict[str, str] | None = None) -> None:
        self.state_dir = state_dir
        self.control = f"tcp://127.0.0.1:{free_port()}"
        self.info = f"tcp://127.0.0.1:{free_port()}"
        self.log = state_dir.with_suffix(".log")
        self.options = options
        self.env = env or {}
        self.without_addresses = False
        self.process: subprocess.Popen[bytes] | None = None
        self.client = RawClient(self.control)

    # -------------------------------------------------------------------------------- process

    def command(self, *more: str) -> list[str]:
        """Return the command line."""
        return [
            *(sys.executable, "-m", "remanager", "start"),
            *("--state-dir", str(self.state_dir)),
            *(
                "--zmq-control-addr",
                self.control,
                "--zmq-info-addr",
                self.info,
                "--zmq-publish-console",
                "ON",
            ),
            *self.options,
            *more,
        ]

    def environ(self) -> dict[str, str]:
        """Return the environment variables."""
        return {**os.environ, "MPLBACKEND": "agg", **self.env}

    def launch(self, *more: str) -> None:
        """Start the processes."""
        assert self.process is None
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(*more),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self.environ(),
                start_new_session=True,
            )

    def start(self, *more: str) -> None:
        """Start and wait until it answers."""
        self.launch(*more)
        self.wait_answer()

    def run_to_end(self, *more: str) -> tuple[int, str]:
        """Start a daemon that must leave by itself; return its exit code and what it wrote."""
        done = subprocess.run(
            self.command(*more),
            capture_output=True,
            text=True,
            check=False,
            env=self.environ(),
            timeout=START_TIMEOUT_S,
        )
        return done.returncode, done.stdout + done.stderr

    def wait_answer(self, timeout: float = START_TIMEOUT_S) -> Status:
        """Wait until the manager has started; a request waits in the socket until there is one."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                self.client.call("config_get", timeout=1.0)
                return self.client.call("status", timeout=1.0)
            except TimeoutError:
                if self.process is not None and self.process.poll() is not None:
                    break
        raise TimeoutError("the daemon does not answer:\n" + self.log_tail())

    def log_tail(self) -> str:
        """Return the end of what the daemon wrote."""
        return self.log.read_text()[-4000:]

    def console(self) -> str:
        """Return what manager and workers have written; the log of the processes is written later."""
        lines: list[dict[str, Any]] = self.client.ok("console_get", limit=10_000)["lines"]
        return "".join(line["msg"] for line in lines)

    def manager(self) -> psutil.Process:
        """The manager's process."""
        assert self.process is not None
        return next(filter(_is_manager, psutil.Process(self.process.pid).children()))

    def worker(self) -> psutil.Process:
        """The environment worker's process."""
        return psutil.Process(self.client.ok("stats", sections=["workers"])["workers"][0]["pid"])

    def processes(self) -> list[psutil.Process]:
        """Every process that belongs to the state directory, whosever child it is."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if process.pid != os.getpid() and any(str(self.state_dir) in word for word in words):
                found.append(process)
        return found

    def kill_manager(self) -> None:
        """SIGKILL for the manager, and wait until its successor answers."""
        old = self.manager()
        old.kill()
        psutil.wait_procs([old], 10)
        self.wait_answer()
        assert self.manager().pid != old.pid

    def kill_worker(self) -> None:
        """SIGKILL for the worker."""
        worker = self.worker()
        worker.kill()
        psutil.wait_procs([worker], 10)

    def kill_all(self) -> None:
        """SIGKILL for every process of the daemon."""
        assert self.process is not None
        suspended: set[psutil.Process] = set()
        while more := set(self.processes()) - suspended:  # they may have started some meanwhile
            for process in more:
                with suppress(psutil.NoSuchProcess):
                    process.suspend()  # nobody restarts anybody meanwhile
            suspended |= more
        assert self.process.pid in {p.pid for p in suspended}
        for process in suspended:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(10)
        self.process = None
        assert not psutil.wait_procs(list(suspended), 10)[1]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop in an orderly way and return the exit code; no process may stay."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(20)
        self.process = None
        left = self.processes()
        assert not left, left
        return code

    def close(self) -> None:
        """Stop, whatever the state."""
        try:
            if self.process is not None:
                self.stop()
        finally:
            for process in self.processes():
                with suppress(psutil.NoSuchProcess):  # it was about to end
                    process.kill()
            if not self.client.context.closed:
                self.client.close()

    # -------------------------------------------------------------------------------- waiting

    @contextmanager
    def listen(self) -> Iterator[Listener]:
        """Hear the info socket."""
        with Listener(self.client.context, self.info) as listener:
            yield listener

    def wait(self, condition: Callable[[Status], bool], timeout: float = 30.0) -> Status:
        """Wait for a status."""
        with self.listen() as listener:
            return listener.wait_status(condition, timeout)

    def wait_idle(self, timeout: float = 30.0) -> Status:
        """Wait until the manager is idle."""
        return self.wait(lambda s: s["manager_state"] == "idle", timeout)

    def wait_task(self, uid: str, timeout: float = 30.0) -> dict[str, Any]:
        """Wait until a task has ended and return its result."""
        self.wait(lambda _s: self.client.ok("task_status", task_uid=uid)["status"] == "completed", timeout)
        result: dict[str, Any] = self.client.ok("task_result", task_uid=uid)["result"]
        return result

    # -------------------------------------------------------------------------------- work

    def open_environment(self) -> None:
        """Open the environment and wait until plans can run."""
        self.client.ok("environment_open")
        status = self.wait_idle(40.0)
        assert status["worker_environment_exists"], self.log_tail()

    def close_environment(self) -> None:
        """Close the environment and wait for it."""
        self.client.ok("environment_close")
        self.wait(lambda s: not s["worker_environment_exists"] and s["manager_state"] == "idle")

    def add(self, item: dict[str, Any], **params: Any) -> str:
        """Add an item to the queue and return its uid."""
        uid: str = self.client.ok("queue_item_add", item=item, **USER, **params)["item"]["item_uid"]
        return uid

    def execute(self, item: dict[str, Any], *, background: bool = False) -> str:
        """Start a function and return its uid."""
        reply = self.client.ok("function_execute", item=item, run_in_background=background, **USER)
        uid: str = reply["task_uid"]
        return uid

    def submit(self, item: dict[str, Any], who: dict[str, str] = ROOT, **options: Any) -> str:
        """Submit a task to the task queue and return its uid."""
        uid: str = self.client.ok("task_submit", item=item, options=options, **who)["task_uid"]
        return uid

    def wait_ended(self, uid: str) -> dict[str, Any]:
        """Wait until a task of the task queue has ended and return what is known of it."""
        waited = self.client.long("task_wait", task_uid=uid)
        assert not waited["timed_out"], waited
        return self.client.ok("task_info", task_uid=uid, include=["result", "attempts", "transitions"])

    def queue(self) -> list[str]:
        """Uids of the items in the queue."""
        return [i["item_uid"] for i in self.client.ok("queue_get")["items"]]

    def history_size(self) -> int:
        """Number of entries of the history."""
        size: int = self.client.call("status")["items_in_history"]
        return size

    def history(self) -> list[dict[str, Any]]:
        """The history, oldest entry first."""
        items: list[dict[str, Any]] = self.client.ok("history_get")["items"]
        return items


class Gate:
    """Files by which plans and functions of the tests' profile say where they are, and are let go."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.notes = directory / "notes"
        self.file = directory / "gate"
        self.pipe = directory / "pipe"
        os.mkfifo(self.pipe)

    def held_plan(self, line: str = "held") -> dict[str, Any]:
        """Item of a plan that waits until :meth:`release`."""
        return plan("held", str(self.notes), str(self.file), line)

    def note_plan(self, line: str) -> dict[str, Any]:
        """Item of a plan that notes a line."""
        return plan("note", str(self.notes), line)

    def held_function(self, line: str = "hold") -> dict[str, Any]:
        """Item of a function that waits until :meth:`answer`."""
        return function("hold", str(self.notes), str(self.pipe), line)

    def steps_plan(self, line: str) -> dict[str, Any]:
        """Item of a plan that notes its beginning and its end, and takes a few steps between."""
        return plan("steps", str(self.notes), line)

    def release(self) -> None:
        """Let the plan go on."""
        self.file.touch()

    def answer(self, text: str) -> None:
        """Let the function return a text."""
        self.pipe.write_text(text)

    def lines(self) -> list[str]:
        """What was noted."""
        return self.notes.read_text().splitlines() if self.notes.exists() else []

    def wait_lines(self, worker: psutil.Process, number: int) -> None:
        """Wait for notes of a plan that has nobody to report to; its worker must live."""
        while len(self.lines()) < number:
            with pytest.raises(psutil.TimeoutExpired):
                worker.wait(0.02)


def start_held(daemon: Daemon, gate: Gate) -> tuple[str, str]:
    """Start a queue of two plans and wait until the first one is held; return their uids."""
    held, note = daemon.add(gate.held_plan()), daemon.add(gate.note_plan("after"))
    with daemon.listen() as listener:
        daemon.client.ok("queue_start")
        listener.wait_text("the plan is held")
    return held, note
