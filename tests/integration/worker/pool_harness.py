"""A worker process of the pool and the manager that it belongs to."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker_harness import FakeManager

from remanager.model.begun import Begun
from remanager.model.link import Message, Welcome
from remanager.model.pool_messages import CancelTask, PoolHello, PoolReady, RunTasks, TasksEnded, TasksStarted
from remanager.model.pool_worker_config import PoolWorkerConfig
from remanager.wire.values import unpack_value


@dataclass(frozen=True)
class End:
    """A row of ``TasksEnded``."""

    task_uid: str
    lease_epoch: int
    kind: str
    time_start: float
    time_stop: float
    reason: str
    error: list[str] | None
    retry_after_s: float | None
    codec: str | None
    payload: bytes | None
    report: dict[str, Any] | None

    @property
    def value(self) -> Any:
        assert self.codec is not None
        assert self.payload is not None
        return unpack_value(self.payload) if self.codec == "msgpack" else json.loads(self.payload)


class PoolManager(FakeManager):
    """Plays the manager of one worker of the pool."""

    manager_uid = "manager"

    def _take(self, message: Message) -> None:
        super()._take(message)
        if isinstance(message, PoolHello):
            self.answer(Welcome(self.manager_uid, self.acked, {}))

    def ends(self) -> list[End]:
        """Return all ends that were told, each once however often it was sent."""
        events = {m.seq: m for m in self.of(TasksEnded)}
        return [End(*row) for seq in sorted(events) for row in events[seq].outcomes]

    def restart(self, manager_uid: str) -> None:
        """Be gone for a moment and come back as another manager, which knows what is on disk."""
        self.unbind()
        self.manager_uid = manager_uid
        self.bind()


class PoolWorker:
    """A worker process."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.directory = directory
        self.manager = PoolManager(directory)
        config = PoolWorkerConfig(
            **{
                "worker_uid": "pool-1",
                "link_address": self.manager.link_address,
                "console_address": self.manager.console_address,
                "task_modules": ["lab_tasks"],
                "module_paths": [str(directory)],
                "begun_path": str(directory / "begun"),
                "give_back_after_s": 3600.0,  # however slow the machine is
                **settings,
            }
        )
        path = directory / "config.json"
        path.write_text(config.to_json())
        self.process = subprocess.Popen(
            [sys.executable, "-m", "remanager.worker.pool", "--config", str(path)], stdin=subprocess.DEVNULL
        )
        self.manager.alive = lambda: self.process.poll() is None
        self._numbers = itertools.count(1)

    def ready(self) -> PoolReady:
        """Wait until the modules are imported."""
        return self.manager.expect(PoolReady)

    def hand_over(self, *rows: list[Any]) -> None:
        """Hand tasks over."""
        self.manager.send(RunTasks(list(rows)))

    def row(
        self,
        name: str,
        *args: Any,
        epoch: int = 1,
        attempt: int = 1,
        timeout_s: float | None = None,
        checkpoint: bytes | None = None,
        finishing: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """Return a row of ``RunTasks``."""
        number = next(self._numbers)
        uid = f"task-{number}"
        item = {"item_type": "function", "name": name, "args": args, "kwargs": kwargs, "item_uid": uid}
        return [uid, epoch, attempt, json.dumps(item), timeout_s, checkpoint, finishing]

    def start(self, name: str, *args: Any, **options: Any) -> str:
        """Hand one task over; return its UID."""
        row = self.row(name, *args, **options)
        self.hand_over(row)
        return str(row[0])

    def end_of(self, uid: str) -> End:
        """Wait for the end of a task."""
        return self.manager.until(lambda: next((e for e in self.manager.ends() if e.task_uid == uid), None))

    def begun(self, uid: str) -> None:
        """Wait until a task is told to have begun."""
        self.manager.until(
            lambda: any(uid == row[0] for m in self.manager.of(TasksStarted) for row in m.tasks)
        )

    def run(self, name: str, *args: Any, **options: Any) -> End:
        """Run one task to its end."""
        return self.end_of(self.start(name, *args, **options))

    def cancel(self, uid: str, reason: str = "stop it", epoch: int = 1) -> None:
        """Tell the worker to stop a task."""
        self.manager.send(CancelTask(uid, epoch, reason))

    def may_have_begun(self, *rows: list[Any]) -> list[bool]:
        """What the worker's note says of tasks."""
        begun = Begun.read(self.directory / "begun")
        return [begun.may_have(uid, epoch) for uid, epoch, *_ in rows]

    def wait_exit(self) -> int:
        """Wait for the end of the process, receiving meanwhile; return its exit code."""
        self.manager.alive = lambda: True
        self.manager.until(lambda: self.process.poll() is not None)
        return self.process.returncode

    def kill(self) -> int:
        """Kill the process; return its exit code."""
        os.kill(self.process.pid, signal.SIGKILL)
        return self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.manager.close()
