"""Requests per second and CPU per request of the control socket with a handler that does nothing.

usage: python benchmarks/control_echo.py [--seconds S]

The clients run in this process, the server in another one. On a virtual machine a halted core takes long to
wake, so two processes of idle priority keep the cores awake meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import time
from multiprocessing.connection import Connection

import psutil
import zmq

from remanager.daemon.control import Answer, ControlServer
from remanager.wire.codec import CachedReply

STATUS = {f"key_{n}": f"6ee2ef51-0000-4000-8000-{n:012}" for n in range(27)}
REQUEST = b'{"method": "status", "params": {}}'


def serve(pipe: Connection, kind: str) -> None:
    """Answer requests until the process is terminated."""
    cached = CachedReply(STATUS)

    async def later() -> Answer:
        return STATUS

    answers = {"cached": lambda: cached, "plain": lambda: STATUS, "task": later}

    async def main() -> None:
        server = ControlServer("tcp://127.0.0.1:*", lambda _request, _encoding: answers[kind]())
        server.start()
        pipe.send((server.address, os.getpid()))
        await asyncio.Event().wait()

    asyncio.run(main())


def keep_awake() -> None:
    """Use otherwise idle time of one core."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while True:
        pass


def load(address: str, clients: int, seconds: float) -> int:
    """Run clients with one request outstanding each; return the number of replies."""
    context = zmq.Context()
    sockets = [context.socket(zmq.REQ) for _ in range(clients)]
    poller = zmq.Poller()
    for socket in sockets:
        socket.connect(address)
        poller.register(socket, zmq.POLLIN)
        socket.send(REQUEST)
    replies, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        if clients == 1:
            sockets[0].recv()
            sockets[0].send(REQUEST)
            replies += 1
            continue
        for socket, _ in poller.poll():
            socket.recv()
            socket.send(REQUEST)
            replies += 1
    context.destroy(linger=0)
    return replies


def measure(kind: str, seconds: float) -> None:
    """Print the figures for one kind of handler."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(theirs, kind), daemon=True)
    server.start()
    address, pid = ours.recv()
    process = psutil.Process(pid)
    for clients in (1, 8):
        load(address, clients, 0.3)
        before = process.cpu_times()
        replies = load(address, clients, seconds)
        after = process.cpu_times()
        user, system = (1e3 * (getattr(after, n) - getattr(before, n)) / replies for n in ("user", "system"))
        rate = replies / seconds
        print(f"{kind:7} x{clients}  {rate:7.0f} requests/s  user {user:.3f} ms  system {system:.3f} ms")
    server.terminate()
    server.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    seconds = parser.parse_args().seconds
    multiprocessing.set_start_method("spawn")
    spinners = [multiprocessing.Process(target=keep_awake, daemon=True) for _ in range(os.cpu_count() or 1)]
    for spinner in spinners:
        spinner.start()
    try:
        for kind in ("cached", "plain", "task"):
            measure(kind, seconds)
    finally:
        for spinner in spinners:
            spinner.terminate()


if __name__ == "__main__":
    main()
