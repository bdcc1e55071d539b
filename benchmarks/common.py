"""What the suites share: a client, closed-loop load, figures, and a machine that is kept awake."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import zmq

USER = {"user": "bench", "user_group": "primary"}
ITEM = {"item_type": "plan", "name": "count", "args": [["det1", "det2"]], "kwargs": {"num": 1}}
BATCH = 1000
"""Items in one request where a queue is filled."""

LONG_WAIT_S = 600.0


class Client:
    """A client without library code between the benchmark and the socket.

    Parameters
    ----------
    address : str
        Control address.
    timeout_s : float
        How long a reply may take.
    """

    def __init__(self, address: str, timeout_s: float = LONG_WAIT_S) -> None:
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SNDHWM, 0)
        self.socket.setsockopt(zmq.RECONNECT_IVL, 5)
        self.socket.setsockopt(zmq.RECONNECT_IVL_MAX, 20)
        self.socket.setsockopt(zmq.RCVTIMEO, int(timeout_s * 1e3))
        self.socket.connect(address)

    def send(self, request: bytes) -> None:
        """Send an encoded request."""
        self.socket.send(b"", zmq.SNDMORE)
        self.socket.send(request)

    def receive(self) -> bytes:
        """Wait for the next reply; return it as it came."""
        self.socket.recv()
        reply: bytes = self.socket.recv()
        return reply

    def reply(self) -> dict[str, Any]:
        """Wait for the next reply."""
        reply: dict[str, Any] = json.loads(self.receive())
        return reply

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a request and return the reply.

        Raises
        ------
        zmq.Again
            No reply came in time.
        """
        self.send(encode(method, **params))
        return self.reply()

    def ok(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a request that must succeed and return the reply."""
        reply = self.call(method, **params)
        if reply.get("success") is False:
            raise RuntimeError(f"{method}: {reply.get('msg')}")
        return reply

    def until(
        self, condition: Callable[[dict[str, Any]], bool], timeout_s: float = 120.0, period_s: float = 0.002
    ) -> float:
        """Ask for the status until it meets a condition; return the time that it took (s)."""
        start = time.perf_counter()
        while not condition(status := self.call("status")):
            if time.perf_counter() - start > timeout_s:
                raise TimeoutError(f"the expected status did not come: {status}")
            time.sleep(period_s)
        return time.perf_counter() - start

    def close(self) -> None:
        self.socket.close()


@contextlib.contextmanager
def client(address: str, timeout_s: float = LONG_WAIT_S) -> Iterator[Client]:
    """Connect a client for the time of a block."""
    connection = Client(address, timeout_s)
    try:
        yield connection
    finally:
        connection.close()


def encode(method: str, **params: Any) -> bytes:
    """Encode a request."""
    return json.dumps({"method": method, "params": params}).encode()


def open_environment(connection: Client) -> float:
    """Open the environment; return the time that it took (s)."""
    start = time.perf_counter()
    connection.ok("environment_open")
    connection.until(lambda s: s["worker_environment_exists"] and s["manager_state"] == "idle")
    return time.perf_counter() - start


def fill_queue(connection: Client, size: int) -> None:
    """Bring the queue to a number of items."""
    present = connection.call("status")["items_in_queue"]
    if present > size:
        connection.ok("queue_clear")
        present = 0
    for first in range(present, size, BATCH):
        connection.ok("queue_item_add_batch", items=[ITEM] * min(BATCH, size - first), **USER)


class Load:
    """Outcome of a closed loop.

    Attributes
    ----------
    latencies : list of float
        Time from request to reply (s), in increasing order.
    seconds : float
        Duration of the loop (s).
    """

    def __init__(self, latencies: Iterable[float], seconds: float) -> None:
        self.latencies = sorted(latencies)
        self.seconds = seconds

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latencies) / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the latencies (ms)."""
        return percentile_ms(self.latencies, percent)


def percentile_ms(increasing: Sequence[float], percent: float) -> float:
    """Return a percentile (ms) of times (s) in increasing order."""
    return 1e3 * increasing[min(len(increasing) - 1, int(len(increasing) * percent / 100))]


def closed_loop(
    address: str, clients: int, requests: bytes | Iterable[bytes], seconds: float, at_least: int = 10
) -> Load:
    """Let clients send one request after the other, each with one outstanding.

    Parameters
    ----------
    clients : int
        Number of connections, all driven by this thread.
    requests : bytes or iterable of bytes
        One request for all, or the requests in order; the loop ends when they are used up.
    seconds : float
        Duration of the loop.
    at_least : int
        Number of requests that are made however long they take.
    """
    following = itertools.repeat(requests) if isinstance(requests, bytes) else iter(requests)
    connections = [Client(address) for _ in range(clients)]
    latencies: list[float] = []
    try:
        start = time.perf_counter()
        drive = _ping_pong if clients == 1 else _by_turns
        last = drive(connections, following, latencies, start + seconds, at_least)
        elapsed = time.perf_counter() - start
    finally:
        for connection in connections:
            connection.close()
    reply = json.loads(last)
    if reply.get("success") is False:
        raise RuntimeError(f"a request was refused: {reply.get('msg')}")
    return Load(latencies, elapsed)


def _ping_pong(
    connections: list[Client], requests: Iterator[bytes], latencies: list[float], end: float, at_least: int
) -> bytes:
    now, connection, reply = time.perf_counter, connections[0], b"{}"
    for request in requests:
        sent = now()
        connection.send(request)
        reply = connection.receive()
        received = now()
        latencies.append(received - sent)
        if received > end and len(latencies) >= at_least:
            break
    return reply


def _by_turns(
    connections: list[Client], requests: Iterator[bytes], latencies: list[float], end: float, at_least: int
) -> bytes:
    now, poller, reply = time.perf_counter, zmq.Poller(), b"{}"
    by_socket = {connection.socket: connection for connection in connections}
    sent: dict[Any, float] = {}
    for connection, request in zip(connections, requests, strict=False):
        poller.register(connection.socket, zmq.POLLIN)
        sent[connection.socket] = now()
        connection.send(request)
    while sent:
        for socket, _ in poller.poll():
            reply = by_socket[socket].receive()
            received = now()
            latencies.append(received - sent.pop(socket))
            going_on = received < end or len(latencies) < at_least
            following = next(requests, None) if going_on else None
            if following is not None:
                sent[socket] = received
                by_socket[socket].send(following)
    return reply


class Figures(dict[str, list[float]]):
    """Measured values by name, one for each repeat."""

    def note(self, name: str, value: float) -> None:
        """Add the value of one repeat."""
        self.setdefault(name, []).append(value)

    def medians(self) -> dict[str, float]:
        """Return the median of each figure."""
        return {name: statistics.median(values) for name, values in self.items()}


_SPINNER = """
import os, sys, time
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
os.sched_setaffinity(0, {int(sys.argv[1])})
parent = os.getppid()
while os.path.exists("/proc/self/autogroup"):
    try:
        with open("/proc/self/autogroup", "w") as autogroup:
            autogroup.write("19")
        break
    except BlockingIOError:  # the kernel does this ten times per second for ordinary users
        time.sleep(0.1)
while os.getppid() == parent:
    for _ in range(100_000):
        pass
"""


@contextlib.contextmanager
def awake() -> Iterator[None]:
    """Keep cores from halting.

    A halted core of a virtual machine takes 0.1 to 1 ms to wake, at random: a request and its reply would
    measure the hypervisor. One process for each core uses its idle time; being of the class ``SCHED_IDLE``
    it gives way to every other process at once. It does so only within its scheduling group, which on many
    systems is the session (``sched_autogroup``): so it has a session of its own, of the least weight.
    Otherwise a daemon that is in another session than the benchmark waits 4 ms for the processor at random.

    Not for what waits for the disk: the disk of a virtual machine is served by a thread of the host, which
    gets little time while the cores are busy (a write takes up to 7 ms).
    """
    command = [sys.executable, "-S", "-c", _SPINNER]
    cores = sorted(os.sched_getaffinity(0))
    spinners = [subprocess.Popen([*command, str(core)], start_new_session=True) for core in cores]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()
