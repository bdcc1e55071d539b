"""What a client costs: ours beside bluesky-queueserver-api, both in Python, at the same daemon.

usage: python benchmarks/client.py [--repeats N] [--seconds S]

Each measurement is a process of its own, and the two clients alternate. The stock client is left out where it
is not installed. How long a waiting takes to end is measured by ``client_waits.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
from common import ITEM, USER, Figures, Load, awake
from compare import print_table
from daemons import OURS, Daemon, end_on_sigterm

LIBRARIES = {"remanager_api": "remanager_api", "stock": "bluesky_queueserver_api"}
REFERENCE = "zmq.asyncio"
WARM_UP = 50


def _note(figures: dict[str, float], name: str, load: Load) -> None:
    figures[f"{name}: requests/s"] = load.rate
    figures[f"{name}: p50 (ms)"] = load.percentile_ms(50)
    figures[f"{name}: p99 (ms)"] = load.percentile_ms(99)


def _loop(call: Callable[[], Any], seconds: float) -> Load:
    """Call one time after the other."""
    for _ in range(WARM_UP):
        call()
    latencies: list[float] = []
    start = last = time.perf_counter()
    while last < start + seconds:
        call()
        now = time.perf_counter()
        latencies.append(now - last)
        last = now
    return Load(latencies, last - start)


def _threads(call: Callable[[], Any], number: int, seconds: float) -> Load:
    """Call in several threads that share a client."""
    loads: list[Load] = []
    threads = [threading.Thread(target=lambda: loads.append(_loop(call, seconds))) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    longest = max(load.seconds for load in loads)
    return Load([latency for load in loads for latency in load.latencies], longest)


async def _async_loop(call: Callable[[], Any], number: int, seconds: float) -> Load:
    """Call in several tasks that share a client."""
    latencies: list[float] = []
    for _ in range(WARM_UP):
        await call()
    start = time.perf_counter()

    async def one() -> None:
        last = time.perf_counter()
        while last < start + seconds:
            await call()
            now = time.perf_counter()
            latencies.append(now - last)
            last = now

    await asyncio.gather(*(one() for _ in range(number)))
    return Load(latencies, time.perf_counter() - start)


def measure_blocking(package: str, address: str, seconds: float) -> dict[str, float]:
    """Measure the blocking client, and the memory of a process that uses it."""
    process, figures = psutil.Process(), {}
    before = process.memory_info().rss
    api = importlib.import_module(f"{package}.zmq").REManagerAPI(zmq_control_addr=address)
    api.status()
    figures["memory of a client, from nothing (MB)"] = (process.memory_info().rss - before) / 1e6
    figures["threads"] = process.num_threads()
    _note(figures, "blocking, ping", _loop(lambda: api.send_request(method="ping"), seconds))
    if package == LIBRARIES["remanager_api"]:
        # Threads that share a stock client spoil each other's requests, and time out or fail.
        _note(
            figures,
            "blocking, ping, 8 threads",
            _threads(lambda: api.send_request(method="ping"), 8, seconds),
        )
    _note(figures, "blocking, status() again", _loop(api.status, seconds))
    params = {"items": [ITEM] * 200, **USER}
    api.send_request(method="queue_item_add_batch", params=params)
    _note(figures, "blocking, queue_get() of 200 items again", _loop(api.queue_get, seconds))
    api.queue_clear()
    api.close()
    return figures


async def measure_async(package: str, address: str, seconds: float) -> dict[str, float]:
    """Measure the asynchronous client."""
    figures: dict[str, float] = {}
    api = importlib.import_module(f"{package}.zmq.aio").REManagerAPI(zmq_control_addr=address)

    async def ping() -> None:
        await api.send_request(method="ping")

    _note(figures, "async, ping", await _async_loop(ping, 1, seconds))
    if package == LIBRARIES["remanager_api"]:
        # Without a connection for each, the stock client sends them one after the other all the same.
        _note(figures, "async, ping, 8 tasks", await _async_loop(ping, 8, seconds))
    await api.close()
    return figures


def _in_process(*arguments: str) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, float] = json.loads(output.splitlines()[-1])
    return figures


def import_seconds(module: str) -> float:
    """Return the processor time of an import (s), the least of five, with bytecode as installed."""
    code = f"import time; t = time.process_time(); import {module}; print(time.process_time() - t)"
    command = [sys.executable, "-c", code]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    outputs = [
        subprocess.run(command, check=True, capture_output=True, env=environment).stdout for _ in range(6)
    ]
    return min(map(float, outputs[1:]))


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="default: 3")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement; default: 1")
    parser.add_argument("--one", nargs=3, metavar=("KIND", "PACKAGE", "ADDRESS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, package, address = options.one
        if kind == "blocking":
            print(json.dumps(measure_blocking(package, address, options.seconds)))
        else:
            print(json.dumps(asyncio.run(measure_async(package, address, options.seconds))))
        return
    end_on_sigterm()
    columns = {name: Figures() for name, package in LIBRARIES.items() if importlib.util.find_spec(package)}
    with awake(), Daemon(OURS) as daemon, daemon.opened():
        for _ in range(options.repeats):
            for name, figures in columns.items():
                for kind in ("blocking", "async"):
                    arguments = (
                        "--one",
                        kind,
                        LIBRARIES[name],
                        daemon.address,
                        f"--seconds={options.seconds}",
                    )
                    for figure, value in _in_process(*arguments).items():
                        figures.note(figure, value)
    for _ in range(options.repeats):
        reference = import_seconds(REFERENCE)
        for name, figures in columns.items():
            for module in ("zmq", "zmq.aio"):
                ratio = import_seconds(f"{LIBRARIES[name]}.{module}") / reference
                figures.note(f"import of .{module}, ratio to that of {REFERENCE}", ratio)
    print_table(columns)


if __name__ == "__main__":
    main()
