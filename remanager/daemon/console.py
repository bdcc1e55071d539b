"""Console output of manager and worker: terminal, info socket, and a numbered memory for late readers."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import threading
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol

from remanager.daemon.info import InfoPublisher

_MIB = 1 << 20
_MAX_PIECE_CHARS = 64 << 10
_MESSAGE_OVERHEAD_BYTES = 100


class ConsoleMessage(NamedTuple):
    """One piece of console output: what was written at once, control characters included.

    Attributes
    ----------
    worker_uid : str or None
        The worker of the pool that wrote it; None for manager and environment worker.
    """

    seq: int
    time: float
    text: str
    worker_uid: str | None = None


@dataclass(frozen=True, slots=True)
class ConsolePage:
    """Answer to the question what was written since some message.

    Attributes
    ----------
    messages : list of ConsoleMessage
        In the order in which they were written.
    next_seq : int
        Where the next page starts.
    oldest_seq : int
        The oldest message that is still kept; ``next_seq`` if there is none.
    gap : bool
        Messages that were asked for are no longer kept.
    """

    messages: list[ConsoleMessage]
    next_seq: int
    oldest_seq: int
    gap: bool


class OutputWriter:
    """Writes text to a file descriptor from a thread of its own, so that a blocked terminal blocks nobody.

    Parameters
    ----------
    fd : int
        Descriptor to write to; it is duplicated.
    max_bytes : int
        Bytes that may wait. Further text is dropped and its amount noted in the output later.
    """

    def __init__(self, fd: int, max_bytes: int = 4 * _MIB) -> None:
        self.dropped_bytes = 0
        self._fd = os.dup(fd)
        self._max_bytes = max_bytes
        self._queue: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._unreported_bytes = 0
        self._closing = False
        self._give_up = threading.Event()
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="console-output", daemon=True)
        self._thread.start()

    def write(self, text: str, _source: str | None = None) -> None:
        """Queue text for writing, whoever it is from; never blocks."""
        self.put(text.encode("utf-8", "backslashreplace"))

    def put(self, data: bytes) -> None:
        """Queue bytes for writing; never blocks."""
        with self._condition:
            if self._closing or self._waiting_bytes + len(data) > self._max_bytes:
                self.dropped_bytes += len(data)
                self._unreported_bytes += len(data)
                return
            self._queue.append(data)
            self._waiting_bytes += len(data)
            self._condition.notify()

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what is queued, but for no longer than ``timeout_s`` (s), and end the thread."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join(timeout_s)
        self._give_up.set()
        self._thread.join()
        os.close(self._fd)

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._queue and not self._closing:
                    self._condition.wait()
                if not self._queue:
                    return
                pieces = list(self._queue)
                self._queue.clear()
                lost, self._unreported_bytes = self._unreported_bytes, 0
            if not self._deliver(pieces):
                self._discard()
                return
            if lost:
                self._deliver([self._loss_note(lost)])
            with self._condition:
                self._waiting_bytes -= sum(map(len, pieces))

    def _discard(self) -> None:
        """Accept no further text: nobody is there to read it."""
        with self._condition:
            self._closing = True
            self._queue.clear()

    def _deliver(self, pieces: list[bytes]) -> bool:
        return self._write(b"".join(pieces))

    def _loss_note(self, lost: int) -> bytes:
        return f"\n[{lost} bytes of console output are not shown here]\n".encode()

    def _write(self, data: bytes, at_once: int = select.PIPE_BUF) -> bool:
        """Write all bytes, ``at_once`` at a time; False if the reader is gone or there is no more time."""
        view = memoryview(data)
        ready = select.poll()
        ready.register(self._fd, select.POLLOUT)
        while view:
            try:
                # A write of up to PIPE_BUF bytes to a descriptor that is ready never blocks.
                if not ready.poll(200):
                    if self._give_up.is_set():
                        return False
                    continue
                view = view[os.write(self._fd, view[:at_once]) :]
            except BlockingIOError:
                continue
            except OSError:
                return False
        return True


class ConsoleWriter(Protocol):
    """Where the daemon's own output goes."""

    def write(self, text: str, source: str | None, /) -> None:
        """Take text of manager and environment worker (None), or of a worker of the pool (its UID)."""
        ...

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what is left, but for no longer than ``timeout_s`` (s)."""
        ...


class ConsoleHub:
    """Takes all console output and hands it on. Used in the event loop's thread only.

    Parameters
    ----------
    publisher : InfoPublisher, optional
        Where messages are published.
    writer : ConsoleWriter, optional
        The daemon's own standard output.
    max_bytes : int
        Memory for messages that late readers may ask for; the oldest ones go first.
    first_seq : int
        Number of the first message.
    """

    def __init__(
        self,
        publisher: InfoPublisher | None = None,
        writer: ConsoleWriter | None = None,
        *,
        max_bytes: int = 4 * _MIB,
        first_seq: int = 1,
    ) -> None:
        self._publisher = publisher
        self._writer = writer
        self._max_bytes = max_bytes
        self._messages: deque[ConsoleMessage] = deque()
        self._bytes = 0
        self._next_seq = first_seq

    def feed(self, text: str, when: float, worker_uid: str | None = None) -> None:
        """Take console output of ``when`` (epoch seconds), and which worker of the pool wrote it, if one."""
        for start in range(0, len(text), _MAX_PIECE_CHARS):
            self._feed_piece(text[start : start + _MAX_PIECE_CHARS], when, worker_uid)

    def _feed_piece(self, text: str, when: float, worker_uid: str | None) -> None:
        if self._writer is not None:
            self._writer.write(text, worker_uid)
        if self._publisher is not None:
            self._publisher.publish_console(text, when)
        self._messages.append(ConsoleMessage(self._next_seq, when, text, worker_uid))
        self._next_seq += 1
        self._bytes += _size(text)
        while self._bytes > self._max_bytes and len(self._messages) > 1:
            self._bytes -= _size(self._messages.popleft().text)

    def since(self, seq: int, limit: int = 1000) -> ConsolePage:
        """Return up to ``limit`` messages from number ``seq`` on; 0 asks for the oldest that are kept."""
        oldest = self._messages[0].seq if self._messages else self._next_seq
        start = min(max(seq, oldest), self._next_seq)
        messages = list(islice(self._messages, start - oldest, start - oldest + max(limit, 0)))
        return ConsolePage(messages, start + len(messages), oldest, gap=0 < seq < oldest)


def _size(text: str) -> int:
    return len(text) + _MESSAGE_OVERHEAD_BYTES


class HubLogHandler(logging.Handler):
    """Feeds log records, from whatever thread they come, to the console hub.

    Parameters
    ----------
    hub : ConsoleHub
        Where the text goes.
    loop : asyncio.AbstractEventLoop
        The loop in whose thread the hub lives.
    """

    def __init__(self, hub: ConsoleHub, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._hub = hub
        self._loop = loop
        self._loop_thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Format a record and pass it on; after the end of the loop it is lost."""
        try:
            text = self.format(record) + "\n"
            if threading.get_ident() == self._loop_thread:
                self._hub.feed(text, record.created)
            elif not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._hub.feed, text, record.created)
        except Exception:  # noqa: BLE001 - as in the standard library: logging must not break its caller
            self.handleError(record)
