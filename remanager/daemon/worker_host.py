"""The manager's sockets towards the workers, in a private directory."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import msgpack
import zmq

from remanager.daemon.sockets import NOBLOCK, NOBLOCK_SNDMORE, SocketReader, ZmqContext, ZmqSocket, bind
from remanager.manager.ports import NotConnected
from remanager.model.errors import RemanagerError
from remanager.model.link import Message, pack, unpack

logger = logging.getLogger(__name__)

# Addresses of Unix sockets have 108 bytes; the names of the sockets follow.
_MAX_DIRECTORY_BYTES = 90
_OTHERS_BITS = stat.S_IRWXG | stat.S_IRWXO

OnMessage = Callable[[str, Message], None]
OnConsole = Callable[[str, float, str | None], None]


def runtime_dir(state_dir: Path) -> Path:
    """Return the directory for the sockets of the manager with this state directory, and make it.

    It is ``run`` in the state directory unless that makes the addresses too long; then it is a directory
    under the temporary directory whose name depends on nothing but the user and the state directory.

    Raises
    ------
    RemanagerError
        The directory belongs to somebody else or is a symbolic link.
    """
    state_dir = Path(os.path.abspath(state_dir))
    directory = state_dir / "run"
    if len(os.fsencode(directory)) <= _MAX_DIRECTORY_BYTES:
        _make_private(directory)
        return directory
    parent = Path(tempfile.gettempdir()) / f"remanager-{os.getuid()}"
    directory = parent / hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:16]
    _make_private(parent)
    _make_private(directory)
    return directory


def _make_private(directory: Path) -> None:
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700, parents=True)
    info = os.lstat(directory)
    if not stat.S_ISDIR(info.st_mode):
        raise RemanagerError(f"{directory} must be a directory, not a link or a file. Remove it.")
    if info.st_uid != os.getuid():
        raise RemanagerError(
            f"{directory} belongs to another user. Remove it, or use another state directory."
        )
    if info.st_mode & _OTHERS_BITS:
        directory.chmod(0o700)


@dataclass(slots=True)
class WorkerHostCounters:
    """What happened on the sockets towards the workers.

    Attributes
    ----------
    received, sent, console : int
        Messages from workers, to workers, and pieces of console output.
    malformed : int
        Frames that are no message.
    unreachable : int
        Messages for workers that are not connected or do not read.
    """

    received: int = 0
    sent: int = 0
    console: int = 0
    malformed: int = 0
    unreachable: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counters by name."""
        return asdict(self)


class WorkerHost:
    """Exchanges messages with workers and takes their console output.

    Parameters
    ----------
    directory : Path
        Private directory, see :func:`runtime_dir`. The caller holds the lock of the instance: sockets that
        are there belong to a manager that is gone.
    on_message : callable
        Called with ``worker_uid`` and each message of a worker.
    on_console : callable
        Called with text, time (epoch seconds) and tag of each piece of console output. The tag is the UID of
        a worker of the pool; the environment worker gives none.
    context : zmq.Context, optional
        Context to use; without it the host makes and ends its own.
    """

    def __init__(
        self,
        directory: Path,
        on_message: OnMessage,
        on_console: OnConsole,
        *,
        context: ZmqContext | None = None,
    ) -> None:
        self.link_address = f"ipc://{directory}/link"
        self.console_address = f"ipc://{directory}/console"
        self.counters = WorkerHostCounters()
        self._on_message = on_message
        self._on_console = on_console
        self._context = context
        self._own_context: ZmqContext | None = None
        self._link: ZmqSocket | None = None
        self._sockets: list[ZmqSocket] = []
        self._readers: list[SocketReader] = []

    def start(self) -> None:
        """Bind the sockets and begin to read, in the running loop.

        Raises
        ------
        AddressError
            An address can not be used.
        """
        if self._context is None:
            self._context = self._own_context = zmq.Context()
        try:
            link = self._bind(zmq.ROUTER, self.link_address)
            console = self._bind(zmq.PULL, self.console_address)
        except BaseException:
            self._close_sockets(linger_ms=0)
            raise
        self._link = link
        self._readers = [SocketReader(link, self._take_message), SocketReader(console, self._take_console)]
        for reader in self._readers:
            reader.start()

    def _bind(self, kind: int, address: str) -> ZmqSocket:
        assert self._context is not None
        socket = self._context.socket(kind)
        self._sockets.append(socket)
        if kind == zmq.ROUTER:
            socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
            # A worker that lost its connection comes back under the same name.
            socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
            socket.setsockopt(zmq.SNDHWM, 10_000)
        bind(socket, address, what="worker", remedy="Is another manager using this state directory?")
        return socket

    async def close(self, linger_ms: int = 200) -> None:
        """Close the sockets; messages may take ``linger_ms`` (ms) to leave."""
        for reader in self._readers:
            reader.stop()
        self._readers.clear()
        await asyncio.to_thread(self._close_sockets, linger_ms)

    def _close_sockets(self, linger_ms: int) -> None:
        self._link = None
        while self._sockets:
            self._sockets.pop().close(linger=linger_ms)
        if self._own_context is not None:
            self._own_context.term()
            self._context = self._own_context = None

    # -------------------------------------------------------------------------------------- messages

    def send(self, worker_uid: str, message: Message) -> None:
        """Send a message to a worker.

        Raises
        ------
        NotConnected
            The worker is not connected.
        """
        if self._link is None:
            raise NotConnected(worker_uid)
        data = pack(message)
        try:
            self._link.send(worker_uid.encode(), NOBLOCK_SNDMORE)
            self._link.send(data, NOBLOCK)
        except zmq.ZMQError as exc:
            if exc.errno not in (errno.EHOSTUNREACH, errno.EAGAIN):
                raise
            self.counters.unreachable += 1
            raise NotConnected(worker_uid) from exc
        self.counters.sent += 1
        self._readers[0].kick()

    def _take_message(self, frames: list[bytes]) -> None:
        try:
            identity, data = frames
            worker_uid, message = identity.decode(), unpack(data)
        except ValueError as exc:
            self.counters.malformed += 1
            logger.warning("A worker sent something that is no message: %s", exc)
            return
        self.counters.received += 1
        self._on_message(worker_uid, message)

    def _take_console(self, frames: list[bytes]) -> None:
        try:
            (frame,) = frames
            when, text, *rest = msgpack.unpackb(frame)
            (tag,) = rest or (None,)
        except (ValueError, TypeError, msgpack.UnpackException):
            when = text = tag = None
        if not (isinstance(when, float) and isinstance(text, str) and isinstance(tag, str | None)):
            self.counters.malformed += 1
            return
        self.counters.console += 1
        self._on_console(text, when, tag)
