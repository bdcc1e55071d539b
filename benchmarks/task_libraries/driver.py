"""Measures one task queue library: driver.py LIBRARY TASKS; prints the figures as JSON.

It runs in the environment of the libraries. A module ``with_LIBRARY.py`` offers ``submit() -> handle``,
``has_ended(handle) -> bool`` (both may be coroutine functions), optionally ``start()``, and ``WORKER``: the
words of the command that starts one worker process.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TIMEOUT_S = 240.0
LATENCIES = 30
PAUSE_S = 0.02
STATUS_S = 1.0


async def value_of(answer: Any) -> Any:
    """Return an answer, or what a coroutine returns."""
    return await answer if inspect.isawaitable(answer) else answer


async def ended(library: Any, handle: Any, period: float) -> float:
    """Wait for the end of a task; return the time."""
    limit = time.perf_counter() + TIMEOUT_S
    while not await value_of(library.has_ended(handle)):
        if time.perf_counter() > limit:
            raise TimeoutError("a task did not end")
        await asyncio.sleep(period)
    return time.perf_counter()


def start_worker(program: str, *words: str) -> None:
    """Start a worker process of the library; whoever started this process ends it."""
    subprocess.Popen(
        [str(Path(sys.executable).parent / program), *words],
        cwd=HERE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(HERE)},
    )


async def measure(library: Any, tasks: int) -> dict[str, float]:
    """Submit tasks, let a worker run them, then ask it for single ones."""
    if hasattr(library, "start"):
        await library.start()
    figures = {}
    begin = time.perf_counter()
    handles = [await value_of(library.submit()) for _ in range(tasks)]
    figures["submits/s, 1 client"] = tasks / (time.perf_counter() - begin)
    start_worker(*library.WORKER)
    # The start of the worker does not count: time runs from the end of the first task.
    first = await ended(library, handles[0], 0.002)
    last = first
    for handle in handles[-50:]:  # tasks may overtake each other
        last = max(last, await ended(library, handle, 0.01))
    figures["tasks/s, 1 worker process"] = (tasks - 1) / (last - first)
    times = []
    for _ in range(LATENCIES):
        await asyncio.sleep(PAUSE_S)
        begin = time.perf_counter()
        handle = await value_of(library.submit())
        times.append(await ended(library, handle, 0.0005) - begin)
    times.sort()
    figures["submit to result, idle: p50 (ms)"] = 1e3 * times[len(times) // 2]
    figures["submit to result, idle: p99 (ms)"] = 1e3 * times[-1]
    begin, asked = time.perf_counter(), 0
    while (now := time.perf_counter()) - begin < STATUS_S:
        await value_of(library.has_ended(handles[asked % tasks]))
        asked += 1
    figures["status queries/s, 1 client"] = asked / (now - begin)
    return figures


def main() -> None:
    """Measure the library that the command line names."""
    name, tasks = sys.argv[1:]
    sys.path.insert(0, str(HERE))
    library = importlib.import_module(f"with_{name}")
    print(json.dumps(asyncio.run(measure(library, int(tasks)))))


if __name__ == "__main__":
    main()
