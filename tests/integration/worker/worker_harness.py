"""A manager's end of the link, and an environment worker process that talks to it."""

from __future__ import annotations

import itertools
import json
import os
import selectors
import socket
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgpack

from remanager.model.frames import FrameReader, frame
from remanager.model.link import (
    Ack,
    CloseEnvironment,
    Command,
    EnvironmentReady,
    Heartbeat,
    Hello,
    Message,
    PlanFinished,
    Reply,
    RunPlan,
    RunTask,
    TaskFinished,
    Welcome,
    pack,
    unpack,
)
from remanager.model.worker_config import WorkerConfig

TIMEOUT_S = 20.0
T = TypeVar("T")
PERMISSIONS = {
    "user_groups": {
        "root": {
            "allowed_plans": [None],
            "allowed_devices": [None],
            "allowed_functions": [None],
        },
        "primary": {
            "allowed_plans": [":.*"],
            "allowed_devices": [":?.*:depth=5"],
            "allowed_functions": [":.*"],
        },
    }
}


class Peer:
    """A connection that the fake manager has accepted."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.reader = FrameReader()
        self.uid = ""


class FakeManager:
    """Plays the manager on real sockets; everything happens in the calling thread."""

    def __init__(self, directory: Path) -> None:
        self.link_address = str(directory / "link")
        self.console_address = str(directory / "console")
        self.messages: list[Message] = []
        self.replies: dict[int, Reply] = {}
        self.console: list[str] = []
        self.acknowledge = True
        self.acked = 0
        self.alive: Callable[[], bool] = lambda: True
        self.permissions: dict[str, Any] = PERMISSIONS
        self._ids = itertools.count(1)
        self._taken = 0
        self._worker: Peer | None = None
        self._muted: list[selectors.SelectorKey] = []
        self.bind()

    def bind(self) -> None:
        self.selector = selectors.DefaultSelector()
        for address, take in (
            (self.link_address, self._take_frame),
            (self.console_address, self._take_output),
        ):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(address)
            listener.listen()
            self.selector.register(listener, selectors.EVENT_READ, partial(self._accept, take))

    def unbind(self) -> None:
        self.hear_console()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self.selector.close()
        os.unlink(self.link_address)
        os.unlink(self.console_address)

    def close(self) -> None:
        self.unbind()

    # ---------------------------------------------------------------------------------- receiving

    def receive(self, timeout_s: float) -> bool:
        ready = self.selector.select(timeout_s)
        for key, _ in ready:
            key.data(key.fileobj)
        return bool(ready)

    def _accept(self, take: Callable[[Peer, bytearray], None], listener: socket.socket) -> None:
        peer = Peer(listener.accept()[0])
        self.selector.register(peer.connection, selectors.EVENT_READ, partial(self._read, peer, take))

    def _read(self, peer: Peer, take: Callable[[Peer, bytearray], None], connection: socket.socket) -> None:
        try:
            data = connection.recv(65536)
        except ConnectionResetError:  # the worker went without reading all that it was sent
            data = b""
        if not data:
            self.selector.unregister(connection)
            connection.close()
            return
        peer.reader.feed(data)
        while (content := peer.reader.next()) is not None:
            take(peer, content)

    def mute_console(self) -> None:
        """Read no console output for now."""
        keys = self.selector.get_map().values()
        self._muted = [k for k in keys if k.data.func == self._read and k.data.args[1] == self._take_output]
        for key in self._muted:
            self.selector.unregister(key.fileobj)

    def hear_console(self) -> None:
        """Read console output again."""
        for key in self._muted:
            self.selector.register(key.fileobj, key.events, key.data)
        self._muted.clear()

    def _take_output(self, _peer: Peer, content: bytearray) -> None:
        self.console.append(msgpack.unpackb(content)[1])

    def _take_frame(self, peer: Peer, content: bytearray) -> None:
        if not peer.uid:
            peer.uid = content.decode()
            self._worker = peer
        else:
            self._take(unpack(content))

    def _take(self, message: Message) -> None:
        self.messages.append(message)
        if isinstance(message, Reply):
            self.replies[message.id] = message
        seq = getattr(message, "seq", None)
        if isinstance(message, Hello):
            self.answer(Welcome("manager", self.acked, self.permissions))
        elif self.acknowledge and seq is not None:
            self.acked = max(self.acked, seq)
            self.answer(Ack(self.acked))
        elif isinstance(message, Heartbeat):
            self.answer(Ack(self.acked))

    def until(self, condition: Callable[[], T], timeout_s: float = TIMEOUT_S) -> T:
        """Receive until the condition gives something true."""
        end = time.monotonic() + timeout_s
        while not (found := condition()):
            left = end - time.monotonic()
            # A worker that has ended meanwhile may have told something before.
            if left <= 0 or not (self.receive(min(left, 0.1)) or self.alive() or self.receive(0)):
                raise AssertionError(
                    f"Not in time, or the worker ended; got {self.messages[-10:]}, {self.text()[-2000:]}"
                )
        return found

    def expect(self, kind: type[T], **fields: Any) -> T:
        """Wait for a message of a kind with these values; messages before it are passed over."""

        def find() -> T | None:
            while self._taken < len(self.messages):
                message = self.messages[self._taken]
                self._taken += 1
                if isinstance(message, kind) and all(getattr(message, k) == v for k, v in fields.items()):
                    return message
            return None

        return self.until(find)  # type: ignore[return-value]

    def expect_state(self, **fields: Any) -> Message:
        """Wait until the worker told a state with these values."""

        def find() -> Message | None:
            while self._taken < len(self.messages):
                message = self.messages[self._taken]
                self._taken += 1
                state = getattr(message, "state", None)
                if state is not None and all(getattr(state, k) == v for k, v in fields.items()):
                    return message
            return None

        return self.until(find)  # type: ignore[return-value]

    def of(self, kind: type[T]) -> list[T]:
        return [m for m in self.messages if isinstance(m, kind)]

    def text(self) -> str:
        return "".join(self.console)

    # ---------------------------------------------------------------------------------- sending

    def send(self, message: Message) -> None:
        assert self._worker is not None
        self._worker.connection.sendall(frame(pack(message)))

    def answer(self, message: Message) -> None:
        """Answer a message of a worker, which may have gone since."""
        with suppress(BrokenPipeError):
            self.send(message)

    def command(self, make: Callable[[int], Command]) -> Reply:
        """Send a command and wait for its reply; messages that come before it can still be expected."""
        number = next(self._ids)
        self.send(make(number))

        def find() -> Reply | None:
            return self.replies.get(number)

        return self.until(find)  # type: ignore[return-value]


class Worker:
    """A worker process and the manager that it belongs to."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.directory = directory
        self.manager = FakeManager(directory)
        config = WorkerConfig(
            worker_uid="worker-1",
            link_address=self.manager.link_address,
            console_address=self.manager.console_address,
            permissions=PERMISSIONS,
        )
        path = directory / "config.json"
        path.write_text(replace(config, **settings).to_json())
        env = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "remanager.worker", "--config", str(path)],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=env,
        )
        self.manager.alive = lambda: self.process.poll() is None

    def wait_exit(self) -> int:
        """Wait for the end of the process, receiving meanwhile; return its exit code."""
        self.manager.alive = lambda: True
        self.manager.until(lambda: self.process.poll() is not None)
        return self.process.returncode

    def open(self) -> Worker:
        """Wait until the environment is open."""
        self.manager.expect(EnvironmentReady)
        self.manager.expect_state(environment_state="idle")
        return self

    def leave(self) -> int:
        """Close the environment; return the exit code."""
        assert self.manager.command(CloseEnvironment).success
        return self.wait_exit()

    # ---------------------------------------------------------------------------------- plans and tasks

    def start_plan(self, name: str, *args: Any, meta: Any = None, **kwargs: Any) -> str:
        uid = str(uuid.uuid4())
        item = {"name": name, "args": args, "kwargs": kwargs, "user": "u", "user_group": "primary"}
        body = json.dumps({**item, "item_uid": uid, "item_type": "plan", "meta": meta or {}})
        reply = self.manager.command(lambda i: RunPlan(i, uid, body, 2, "ann"))
        assert reply.success, reply.msg
        return uid

    def run_plan(self, name: str, *args: Any, **kwargs: Any) -> PlanFinished:
        uid = self.start_plan(name, *args, **kwargs)
        return self.manager.expect(PlanFinished, item_uid=uid)

    def start_task(self, kind: str, body: dict[str, Any], *, background: bool = False) -> str:
        uid = str(uuid.uuid4())
        reply = self.manager.command(lambda i: RunTask(i, uid, kind, json.dumps(body), background))
        assert reply.success, reply.msg
        return uid

    def start_function(self, name: str, *args: Any, background: bool = False) -> str:
        body = {"name": name, "args": args, "item_type": "function", "user_group": "primary"}
        return self.start_task("function", body, background=background)

    def call(self, name: str, *args: Any, background: bool = False) -> TaskFinished:
        return self._end_of_task(self.start_function(name, *args, background=background), background)

    def script(
        self, text: str, *, update_lists: bool = True, update_re: bool = False, background: bool = False
    ) -> TaskFinished:
        body = {"script": textwrap.dedent(text), "update_lists": update_lists, "update_re": update_re}
        return self._end_of_task(self.start_task("script", body, background=background), background)

    def end_of_task(self, uid: str) -> TaskFinished:
        """Wait for the end of a task; messages that come before it can still be expected."""
        manager = self.manager
        return manager.until(lambda: next((m for m in manager.of(TaskFinished) if m.task_uid == uid), None))  # type: ignore[return-value]

    def _end_of_task(self, uid: str, background: bool) -> TaskFinished:
        # What a task in the background sets off may be told before the end of the task.
        return self.end_of_task(uid) if background else self.manager.expect(TaskFinished, task_uid=uid)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.manager.close()
