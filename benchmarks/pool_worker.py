"""Tasks per second through one worker of the pool, and the time from hand-over to end when it is idle.

usage: python benchmarks/pool_worker.py [--tasks N]

The manager's end is a socket in this process that keeps a number of tasks with the worker and acknowledges
what the worker tells.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import psutil
from common import awake, percentile_ms

from remanager.model.frames import RECEIVE_BYTES, FrameReader, frame
from remanager.model.link import Ack, Heartbeat, Message, Welcome, pack, unpack
from remanager.model.pool_messages import Drain, PoolHello, PoolReady, RunTasks, TasksEnded
from remanager.model.pool_worker_config import PoolWorkerConfig

MODULE = """
def nothing():
    pass

async def nothing_async():
    pass

def add(a, b):
    return a + b

def tell(ctx):
    ctx.progress(done_count=1, total_count=1)
"""
SINGLE = 500


class Manager:
    """The manager's end of the link."""

    def __init__(self, directory: Path) -> None:
        (directory / "bench_tasks.py").write_text(MODULE)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(directory / "link"))
        listener.listen()
        config = PoolWorkerConfig(
            worker_uid="worker",
            link_address=str(directory / "link"),
            console_address=str(directory / "console"),
            task_modules=["bench_tasks"],
            module_paths=[str(directory)],
        )
        path = directory / "config.json"
        path.write_text(config.to_json())
        start = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "remanager.worker.pool", "--config", str(path)]
        )
        self.connection, _ = listener.accept()
        self.reader = FrameReader()
        self.next_frame()  # the name of the worker
        while not isinstance(self.receive(), PoolReady):
            pass
        print(f"start of the process to ready: {time.perf_counter() - start:.3f} s")

    def send(self, message: Message) -> None:
        self.connection.sendall(frame(pack(message)))

    def next_frame(self) -> bytearray:
        """Return the next frame.

        Raises
        ------
        EOFError
            The worker has ended.
        """
        while (content := self.reader.next()) is None:
            data = self.connection.recv(RECEIVE_BYTES)
            if not data:
                raise EOFError
            self.reader.feed(data)
        return content

    def receive(self) -> Message:
        """Return the next message, answered."""
        message = unpack(self.next_frame())
        if isinstance(message, PoolHello):
            self.send(Welcome("bench", 0, {}))
        elif isinstance(message, Heartbeat):
            self.send(Ack(0))
        elif hasattr(message, "seq"):
            self.send(Ack(message.seq))
        return message

    def drain(self) -> None:
        self.send(Drain())
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                self.receive()
        self.process.wait()


def make_row(name: str, args: list[Any]) -> list[Any]:
    """Return a row of a hand-over."""
    uid = str(uuid.uuid4())
    item = {"item_type": "function", "name": name, "args": args, "kwargs": {}, "meta": {}, "item_uid": uid}
    return [uid, 1, 1, json.dumps({**item, "user": "bench", "user_group": "primary"}), None, None]


def throughput(manager: Manager, name: str, args: list[Any], count: int, batch: int) -> None:
    """Keep two batches with the worker until all tasks have ended; print the rate."""
    rows = [make_row(name, args) for _ in range(count)]
    batches = iter([rows[first : first + batch] for first in range(0, count, batch)])
    process = psutil.Process(manager.process.pid)
    before = process.cpu_times()
    start = time.perf_counter()
    for following in itertools.islice(batches, 2):
        manager.send(RunTasks(following))
    ended, told, messages = 0, 0, 0
    while ended < count:
        message = manager.receive()
        if not isinstance(message, TasksEnded):
            continue
        messages += 1
        for outcome in message.outcomes:
            if outcome[2] == "returned":
                raise RuntimeError("a task was given back: the machine is too busy for this")
        ended += len(message.outcomes)
        while told + batch <= ended:
            told += batch
            following = next(batches, None)  # type: ignore[assignment]
            if following:
                manager.send(RunTasks(following))
    seconds = time.perf_counter() - start
    after = process.cpu_times()
    cpu_us = 1e6 * (after.user + after.system - before.user - before.system) / count
    print(
        f"{name:14} batches of {batch:4}: {count / seconds:8.0f} tasks/s, "
        f"{count / messages:6.1f} per message, {cpu_us:5.1f} us of processor time each"
    )


def latency(manager: Manager) -> None:
    """Print the time from the hand-over of one task to its end."""
    times = []
    for _ in range(SINGLE):
        row = make_row("nothing", [])
        start = time.perf_counter()
        manager.send(RunTasks([row]))
        while not isinstance(manager.receive(), TasksEnded):
            pass
        times.append(time.perf_counter() - start)
    times.sort()
    print(f"one at a time: p50 {percentile_ms(times, 50):.3f} ms, p99 {percentile_ms(times, 99):.3f} ms")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=20_000)
    count = parser.parse_args().tasks
    with tempfile.TemporaryDirectory(prefix="rm") as directory, awake():
        manager = Manager(Path(directory))
        latency(manager)
        for batch in (10, 100):
            throughput(manager, "nothing", [], count, batch)
        throughput(manager, "add", [1, 2], count, 100)
        throughput(manager, "tell", [], count, 100)
        throughput(manager, "nothing_async", [], count, 100)
        manager.drain()


if __name__ == "__main__":
    main()
