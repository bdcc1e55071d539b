"""What libzmq, SQLite and the disk alone cost: a server that answers the same requests and checks nothing.

It decodes and encodes JSON, has one table and one journal, and commits once for all requests that wait, with
``synchronous=FULL`` as the daemon does. There is no event loop, no validation, no permission and no other
process: what a daemon reaches on the same machine is below these figures.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import zmq
from common import Figures
from queue_ops import measure_adding
from rpc import measure_method

NAME = "bare server"
SUITES = ("rpc", "queue_ops")
STATUS = {f"key_{n}": f"6ee2ef51-0000-4000-8000-{n:012}" for n in range(27)}

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE task (id INTEGER PRIMARY KEY, uid TEXT UNIQUE, state TEXT, body TEXT);
CREATE TABLE event (seq INTEGER PRIMARY KEY, type TEXT, uid TEXT);
"""


class _Server:
    """Answers what arrives; ``queue_item_add`` when it is on disk."""

    def __init__(self, directory: Path) -> None:
        self._database = sqlite3.connect(directory / "bare.sqlite", isolation_level=None)
        self._database.executescript(_SCHEMA)
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
        self._socket.bind("tcp://127.0.0.1:*")
        self._size = 0

    @property
    def address(self) -> str:
        return self._socket.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()  # type: ignore[union-attr]

    def run(self) -> None:
        """Serve until the process is terminated."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        while True:
            poller.poll()
            self._add(list(self._receive()))

    def _receive(self) -> Iterator[tuple[list[bytes], dict[str, Any]]]:
        """Answer at once what changes nothing; return the rest."""
        with contextlib.suppress(zmq.Again):
            while True:
                *envelope, body = self._socket.recv_multipart(zmq.NOBLOCK)
                request = json.loads(body)
                if request["method"] == "queue_item_add":
                    yield envelope, request["params"]
                else:
                    self._reply(envelope, STATUS)

    def _add(self, requests: list[tuple[list[bytes], dict[str, Any]]]) -> None:
        if not requests:
            return
        execute = self._database.execute
        replies = []
        execute("BEGIN IMMEDIATE")
        for envelope, params in requests:
            uid = str(uuid.uuid4())
            item = {**params["item"], "item_uid": uid}
            execute("INSERT INTO task (uid, state, body) VALUES (?, 'pending', ?)", (uid, json.dumps(item)))
            execute("INSERT INTO event (type, uid) VALUES ('queue_item_added', ?)", (uid,))
            self._size += 1
            replies.append((envelope, {"success": True, "msg": "", "qsize": self._size, "item": item}))
        execute("COMMIT")
        for envelope, reply in replies:
            self._reply(envelope, reply)

    def _reply(self, envelope: list[bytes], reply: object) -> None:
        self._socket.send_multipart([*envelope, json.dumps(reply).encode()])


def _serve(pipe: Connection, directory: str) -> None:
    server = _Server(Path(directory))
    pipe.send(server.address)
    server.run()


def measure(suite: str, figures: Figures) -> None:
    """Run one repeat of a suite, under the names of the daemons' figures."""
    ours, theirs = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        server = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(theirs, directory), daemon=True
        )
        server.start()
        try:
            address = ours.recv()
            if suite == "rpc":
                times = psutil.Process(server.pid).cpu_times
                for clients in (1, 8):
                    measure_method(address, lambda: sum(times()[:2]), figures, "status", clients)
            else:
                measure_adding(address, figures, 0)
        finally:
            server.terminate()
            server.join()
