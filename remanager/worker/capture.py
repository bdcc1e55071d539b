"""Capture of everything the process and its children print, and its way to the manager."""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import fcntl
import math
import os
import select
import sys
import threading
from typing import Any

import msgpack

from remanager.worker.console import ConsoleBuffer, ConsoleStream
from remanager.worker.stream import Lost, ManagerStream
from remanager.worker.wakeup import WakeUp

PIPE_SIZE = 1024 * 1024
READ_SIZE = 65536
GATHER_S = 0.01


class ConsoleCapture:
    """Redirects the console of this process to the manager's socket for it.

    ``sys.stdout`` and ``sys.stderr`` become :class:`~remanager.worker.console.ConsoleStream` objects. File
    descriptors 1 and 2 become the write end of a pipe, so that output of C code and of subprocesses takes
    the same way. A thread owns the socket; it sends each message as one msgpack frame ``[time, text]``, or
    ``[time, text, tag]`` where a tag is given. While there is no connection, or the manager does not read,
    the messages stay in a bounded buffer.

    Code that holds the interpreter's lock while it prints more than the pipe takes (1 MiB) would block.

    Parameters
    ----------
    address : str
        Path of the manager's socket.
    tag : str, optional
        Goes with each message and tells which process it comes from.
    """

    def __init__(self, address: str, tag: str | None = None) -> None:
        self._stream = ManagerStream(address)
        self._begun: tuple[float, str] | None = None
        self._tag = () if tag is None else (tag,)
        self._wake = WakeUp()
        self._buffer = ConsoleBuffer(self._wake.set)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="remanager-console", daemon=True)
        self._pipe = -1
        self.original_stderr = -1

    def start(self) -> None:
        """Redirect the streams and descriptors and start the thread."""
        _disable_colorama()
        sys.stdout.flush()
        sys.stderr.flush()
        self.original_stderr = os.dup(2)
        self._pipe, write_end = os.pipe()
        os.set_blocking(self._pipe, False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            # An unprivileged process may be refused; the default size works, too.
            with contextlib.suppress(OSError):
                fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        os.dup2(write_end, 1)
        os.dup2(write_end, 2)
        os.close(write_end)
        _flush_c_output_by_lines()
        put = self._buffer.put
        streams = {"stdout": ConsoleStream(put, "<stdout>", 1), "stderr": ConsoleStream(put, "<stderr>", 2)}
        _use(streams)
        os.register_at_fork(after_in_child=lambda: _use_descriptors(streams))
        self._thread.start()

    def close(self, timeout: float) -> None:
        """Send what is buffered, waiting at most ``timeout`` (s), and end the thread."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout)

    # -------------------------------------------------------------------------- only the console's thread

    def _run(self) -> None:
        try:
            self._loop()
        finally:
            self._stream.close()

    def _loop(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        stream = self._stream
        while True:
            ready = self._wait()
            if self._wake.fd in ready:
                self._wake.clear()
            closing = self._closing.is_set()
            if self._pipe in ready or closing:
                self._read_pipe(decoder)
            try:
                if stream.fd in ready:
                    stream.receive()
                stream.connect()
                sent = stream.fd >= 0 and self._send_buffer()
            except Lost:
                self._disconnect()
                continue
            if closing and sent:
                return
            # Code that prints a lot should not have to hand over to this thread at each line.
            self._closing.wait(GATHER_S)

    def _wait(self) -> set[int]:
        """Wait until there is something to do; return the descriptors that are ready."""
        stream, poller = self._stream, select.poll()
        poller.register(self._wake.fd, select.POLLIN)
        poller.register(self._pipe, select.POLLIN)
        if stream.fd < 0:
            return {fd for fd, _ in poller.poll(math.ceil(stream.connect_in_s * 1000))}
        poller.register(stream.fd, select.POLLIN | (select.POLLOUT if stream.is_blocked else 0))
        return {fd for fd, _ in poller.poll()}

    def _read_pipe(self, decoder: codecs.IncrementalDecoder) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._pipe, READ_SIZE):
                self._buffer.put(decoder.decode(data))
                if len(data) < READ_SIZE:
                    return

    def _send_buffer(self) -> bool:
        """Send what is buffered; return False if the socket takes no more for now."""
        while self._stream.send_rest():
            self._begun = message = self._buffer.pop()
            if message is None:
                return True
            self._stream.send(msgpack.packb((*message, *self._tag), unicode_errors="replace"))
        return False

    def _disconnect(self) -> None:
        self._stream.close()
        if self._begun is not None:  # of which the manager has not got all
            self._buffer.push_back(self._begun)
            self._begun = None


def _use_descriptors(streams: dict[str, ConsoleStream]) -> None:
    """Let a forked child print to the pipe: the thread that sends the messages exists only in the parent."""
    for stream in streams.values():
        stream.use_descriptor()  # handlers of logs and others hold it, too
    _use(streams)


def _use(streams: dict[str, ConsoleStream]) -> None:
    for name, stream in streams.items():
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _flush_c_output_by_lines() -> None:
    """Make the C library write its ``stdout`` by lines: it would keep back blocks, as it goes to a pipe."""
    line_buffered = 1  # _IOLBF
    with contextlib.suppress(OSError, ValueError, AttributeError):
        libc: Any = ctypes.CDLL(None)
        libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, line_buffered, ctypes.c_size_t(0))


def _disable_colorama() -> None:
    """Keep colorama, which bluesky starts where it is installed, from replacing the streams."""
    try:
        import colorama  # type: ignore[import-untyped]
    except ImportError:
        return
    colorama.init = colorama.reinit = lambda *_args, **_options: None
