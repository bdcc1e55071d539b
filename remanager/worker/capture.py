"""Capture of everything the process and its children print, and its way to the manager."""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import fcntl
import io
import os
import sys
import threading
from typing import Any

import msgpack
import zmq

from remanager.worker.console import ConsoleBuffer, ConsoleStream
from remanager.worker.wakeup import WakeUp

PIPE_SIZE = 1024 * 1024
READ_SIZE = 65536
RECONNECT_MS = 20
RECONNECT_MAX_MS = 200
LINGER_MS = 500
GATHER_S = 0.01


class ConsoleCapture:
    """Redirects the console of this process to the manager's ``PULL`` socket.

    ``sys.stdout`` and ``sys.stderr`` become :class:`~remanager.worker.console.ConsoleStream` objects. File
    descriptors 1 and 2 become the write end of a pipe, so that output of C code and of subprocesses takes
    the same way. A thread owns the socket; it sends each message as one msgpack frame ``[time, text]``, or
    ``[time, text, tag]`` where a tag is given.

    Code that holds the interpreter's lock while it prints more than the pipe takes (1 MiB) would block.

    Parameters
    ----------
    address : str
        Address of the manager's socket.
    tag : str, optional
        Goes with each message and tells which process it comes from.
    """

    def __init__(self, address: str, tag: str | None = None) -> None:
        self._address = address
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
        sys.stdout = sys.__stdout__ = ConsoleStream(self._buffer.put, "<stdout>", 1)  # type: ignore
        sys.stderr = sys.__stderr__ = ConsoleStream(self._buffer.put, "<stderr>", 2)  # type: ignore
        os.register_at_fork(after_in_child=_use_descriptors)
        self._thread.start()

    def close(self, timeout: float) -> None:
        """Send what is buffered, waiting at most ``timeout`` (s), and end the thread."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout)

    # -------------------------------------------------------------------------- only the console's thread

    def _run(self) -> None:
        context = zmq.Context()
        socket = context.socket(zmq.PUSH)
        # Without a connection the messages stay in the bounded buffer.
        socket.setsockopt(zmq.IMMEDIATE, 1)
        socket.setsockopt(zmq.LINGER, LINGER_MS)
        socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
        socket.connect(self._address)
        try:
            self._loop(socket)
        finally:
            socket.close()
            context.term()

    def _loop(self, socket: zmq.Socket[bytes]) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        poller = zmq.Poller()
        poller.register(self._wake.fd, zmq.POLLIN)
        poller.register(self._pipe, zmq.POLLIN)
        while True:
            ready = dict(poller.poll())
            if self._wake.fd in ready:
                self._wake.clear()
            closing = self._closing.is_set()
            if self._pipe in ready or closing:
                self._read_pipe(decoder)
            if self._send_buffer(socket):
                poller.register(socket, zmq.POLLOUT)
            else:
                if socket in poller:
                    poller.unregister(socket)
                if closing:
                    return
            # Code that prints a lot should not have to hand over to this thread at each line.
            self._closing.wait(GATHER_S)

    def _read_pipe(self, decoder: codecs.IncrementalDecoder) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._pipe, READ_SIZE):
                self._buffer.put(decoder.decode(data))
                if len(data) < READ_SIZE:
                    return

    def _send_buffer(self, socket: zmq.Socket[bytes]) -> bool:
        """Send what is buffered; return True if the socket takes no more for now."""
        while (message := self._buffer.pop()) is not None:
            try:
                socket.send(msgpack.packb((*message, *self._tag), unicode_errors="replace"), zmq.NOBLOCK)
            except zmq.Again:
                self._buffer.push_back(message)
                return True
        return False


def _use_descriptors() -> None:
    """Give a forked child plain streams: the thread that sends the messages exists only in the parent."""
    for name, fd in (("stdout", 1), ("stderr", 2)):
        raw = io.FileIO(fd, "w", closefd=False)
        stream = io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "replace", write_through=True)
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
