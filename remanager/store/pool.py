"""A few threads for reads that take more than the event loop can spare."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from remanager.store.reads import Reads

T = TypeVar("T")


class ReadPool:
    """Threads with a read-only connection each; threads and connections are made on demand.

    Parameters
    ----------
    connect : callable
        Opens a read-only connection that may be closed by another thread.
    threads : int
        Most reads at the same time.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], threads: int = 2) -> None:
        self._connect = connect
        self._connections: list[sqlite3.Connection] = []
        self._local = threading.local()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="store-read")

    async def run(self, fn: Callable[[Reads], T]) -> T:
        """Call ``fn`` in a thread of the pool; all it reads comes from one snapshot."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._call, fn)

    def _call(self, fn: Callable[[Reads], T]) -> T:
        reads: Reads | None = getattr(self._local, "reads", None)
        if reads is None:
            connection = self._connect()
            self._connections.append(connection)
            reads = self._local.reads = Reads(connection)
        reads.connection.execute("BEGIN")
        try:
            return fn(reads)
        finally:
            reads.connection.rollback()

    def close(self) -> None:
        """Wait for the reads under way, then end threads and connections."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        for connection in self._connections:
            connection.close()
