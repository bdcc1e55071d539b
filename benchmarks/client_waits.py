"""How long after an event the waiting of a client ends: ours and that of bluesky-queueserver-api.

Both wait at the same daemon. A third client makes the change: the time counts from its reply, which comes
when it is on disk, to the return of the waiting. Of tasks and plans it is the time from their ends, as the
worker tells them, to the return of ``await``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from common import Client, client, percentile_ms
from daemons import OURS, Daemon, end_on_sigterm

from remanager_api import BPlan
from remanager_api.zmq import REManagerAPI
from remanager_api.zmq.aio import REManagerAPI as AsyncREManagerAPI

OPTIONS = (
    f"--task-paths={Path(__file__).parent / 'task_modules'}",
    "--task-modules=bench_tasks",
    "--zmq-publish-console=OFF",
)
PLAN = BPlan("count", ["det1", "det2"], num=1)
WAIT_S = 30.0

Wait = Callable[[Callable[[dict[str, Any]], bool]], None]


@contextlib.contextmanager
def ours(address: str) -> Iterator[Wait]:
    """Wait with the client of this project."""
    with REManagerAPI(zmq_control_addr=address) as manager:
        yield lambda condition: manager.wait_for_condition(condition, timeout=WAIT_S)


@contextlib.contextmanager
def stock(address: str) -> Iterator[Wait]:
    """Wait with bluesky-queueserver-api."""
    from bluesky_queueserver_api.zmq import REManagerAPI as StockAPI

    manager = StockAPI(zmq_control_addr=address)
    try:
        yield lambda condition: manager.wait_for_condition(condition, timeout=WAIT_S)
    finally:
        manager.close()


def after_a_change(wait: Wait, other: Client, repeats: int) -> list[float]:
    """Return the times from the reply to a change to the end of the waiting for it (s)."""
    times = []
    for number in range(repeats):
        wanted = number % 2 == 0
        ended: list[float] = []

        def waiting(wanted: bool = wanted, ended: list[float] = ended) -> None:
            wait(lambda status: status["queue_autostart_enabled"] is wanted)
            ended.append(time.perf_counter())

        thread = threading.Thread(target=waiting)
        thread.start()
        time.sleep(0.2 + 0.013 * (number % 7))  # it waits by now, wherever it is between two looks
        other.ok("queue_autostart", enable=wanted)
        replied = time.perf_counter()
        thread.join()
        times.append(max(ended[0] - replied, 0.0))
    return times


async def after_the_end(address: str, repeats: int) -> dict[str, list[float]]:
    """Return the times from the ends of tasks and plans to the return of ``await`` (s)."""
    times: dict[str, list[float]] = {"task": [], "plan": [], "task, submit to result": []}
    async with AsyncREManagerAPI(zmq_control_addr=address) as manager:
        manager.user_group = "root"
        for _ in range(repeats):
            begin = time.perf_counter()
            task = await manager.submit("noop")
            await task
            times["task, submit to result"].append(time.perf_counter() - begin)
            times["task"].append(time.time() - ((await task.outcome()).time_stop or 0.0))
            plan = await manager.submit(PLAN)
            await manager.queue_start()
            result = await plan
            times["plan"].append(time.time() - result.time_stop)
            await manager.wait_for_idle(timeout=WAIT_S)
    return times


def after_a_kill(address: str, daemon: Daemon) -> float:
    """Kill the manager; return the time from the first answer of the next one to the end of a waiting (s)."""
    old = daemon.roles()["manager"]
    with REManagerAPI(zmq_control_addr=address) as manager, client(address) as other:
        known = manager.status(reload=True)["status_uid"].rpartition("-")[0]
        ended: list[float] = []

        def waiting() -> None:
            manager.wait_for_condition(lambda s: s["status_uid"].rpartition("-")[0] != known, timeout=WAIT_S)
            ended.append(time.perf_counter())

        thread = threading.Thread(target=waiting)
        thread.start()
        time.sleep(0.3)
        old.kill()
        old.wait()
        other.call("config_get")
        answered = time.perf_counter()
        thread.join()
        return max(ended[0] - answered, 0.0)


def main() -> None:
    """Run the benchmark and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30)
    repeats = parser.parse_args().repeats
    end_on_sigterm()
    found: dict[str, list[float]] = {}
    with Daemon(OURS, options=OPTIONS) as daemon, daemon.opened() as other:
        for name, kind in (("remanager_api", ours), ("bluesky-queueserver-api", stock)):
            with kind(daemon.address) as wait:
                found[f"{name}, change of the status"] = after_a_change(wait, other, repeats)
        found |= asyncio.run(after_the_end(daemon.address, repeats))
        found["kill -9 of the manager, after its first answer"] = [
            after_a_kill(daemon.address, daemon) for _ in range(3)
        ]
    figures = {
        name: {"p50_ms": round(percentile_ms(sorted(times), 50), 2), "max_ms": round(1e3 * max(times), 2)}
        for name, times in found.items()
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
