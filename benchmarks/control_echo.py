"""Requests per second and CPU per request of the control socket with a handler that does nothing.

usage: python benchmarks/control_echo.py [--seconds S]

The clients run in this process, the server in another one.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection

import psutil
from common import awake, closed_loop

from remanager.daemon.control import Answer, ControlServer
from remanager.wire.codec import CachedReply

STATUS = {f"key_{n}": f"6ee2ef51-0000-4000-8000-{n:012}" for n in range(27)}
REQUEST = b'{"method": "status", "params": {}}'


def serve(pipe: Connection, kind: str) -> None:
    """Answer requests until the process is terminated."""
    cached = CachedReply(STATUS)

    async def later() -> Answer:
        return STATUS

    answers: dict[str, Callable[[], Answer | Awaitable[Answer]]] = {
        "cached": lambda: cached,
        "plain": lambda: STATUS,
        "task": later,
    }

    async def main() -> None:
        server = ControlServer("tcp://127.0.0.1:*", lambda _request, _encoding, _principal: answers[kind]())
        server.start()
        pipe.send((server.address, os.getpid()))
        await asyncio.Event().wait()

    asyncio.run(main())


def measure(kind: str, seconds: float) -> None:
    """Print the figures for one kind of handler."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(theirs, kind), daemon=True)
    server.start()
    address, pid = ours.recv()
    process = psutil.Process(pid)
    for clients in (1, 8):
        closed_loop(address, clients, REQUEST, 0.3)
        before = process.cpu_times()
        load = closed_loop(address, clients, REQUEST, seconds)
        after = process.cpu_times()
        number = len(load.latencies)
        user, system = (1e3 * (getattr(after, n) - getattr(before, n)) / number for n in ("user", "system"))
        print(f"{kind:7} x{clients}  {load.rate:7.0f} requests/s  user {user:.3f} ms  system {system:.3f} ms")
    server.terminate()
    server.join()


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0)
    seconds = parser.parse_args().seconds
    multiprocessing.set_start_method("spawn")
    with awake():
        for kind in ("cached", "plain", "task"):
            measure(kind, seconds)


if __name__ == "__main__":
    main()
