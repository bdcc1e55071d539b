"""The manager's sockets towards the workers, in a private directory."""

from __future__ import annotations

import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import msgpack

from remanager.daemon.frame_server import Disconnected, FrameConnection, FrameServer
from remanager.manager.ports import NotConnected
from remanager.model.errors import RemanagerError
from remanager.model.frames import MAX_FRAME_BYTES
from remanager.model.link import Message, pack, unpack

logger = logging.getLogger(__name__)

# Addresses of Unix sockets have 108 bytes; the names of the sockets follow.
_MAX_DIRECTORY_BYTES = 90
_OTHERS_BITS = stat.S_IRWXG | stat.S_IRWXO
_MAX_UID_BYTES = 255
_WARN_EVERY_S = 60.0
_MAX_CONSOLE_BYTES = 128 << 20

OnMessage = Callable[[str, Message], None]
OnConsole = Callable[[str, float, str | None], None]


def runtime_dir(state_dir: Path) -> Path:
    """Return the directory for the sockets of the manager with this state directory, and make it.

    It is ``run`` in the state directory unless that makes the addresses too long; then it is a directory
    under the temporary directory whose name depends on nothing but the user and the state directory itself:
    a copy has another one, also where it has the path of the original.

    Parameters
    ----------
    state_dir : Path
        The state directory, which exists.

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
    info = os.stat(state_dir)
    directory = parent / f"{info.st_dev:x}-{info.st_ino:x}"
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
        Frames that are no message, or too large for one.
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

    A worker has a connection to each of two Unix sockets. The first frame on that for messages is its UID; a
    worker that connects again under it replaces its former connection.

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

    Attributes
    ----------
    link_address, console_address : str
        Paths of the sockets.
    """

    def __init__(self, directory: Path, on_message: OnMessage, on_console: OnConsole) -> None:
        self.link_address = str(directory / "link")
        self.console_address = str(directory / "console")
        self.counters = WorkerHostCounters()
        self._on_message = on_message
        self._on_console = on_console
        self._workers: dict[str, FrameConnection] = {}
        self._warn_at = 0.0
        self._link = FrameServer(
            self.link_address, self._take_message, self._refuse, self._forget, _MAX_UID_BYTES
        )
        self._console = FrameServer(
            self.console_address, self._take_console, self._refuse, max_bytes=_MAX_CONSOLE_BYTES
        )

    def start(self) -> None:
        """Listen and begin to read, in the running loop.

        Raises
        ------
        AddressError
            An address can not be used.
        """
        self._link.start()
        try:
            self._console.start()
        except BaseException:
            self._link.stop()
            raise

    async def close(self, linger_ms: int = 200) -> None:
        """Close the sockets; messages may take ``linger_ms`` (ms) to leave."""
        self._link.stop()
        await self._console.close(0)
        await self._link.close(linger_ms / 1000)

    # -------------------------------------------------------------------------------------- messages

    def send(self, worker_uid: str, message: Message) -> None:
        """Send a message to a worker.

        Raises
        ------
        NotConnected
            The worker is not connected.
        """
        connection = self._workers.get(worker_uid)
        try:
            if connection is None:
                raise Disconnected
            connection.send(pack(message))
        except Disconnected as exc:
            self.counters.unreachable += 1
            raise NotConnected(worker_uid) from exc
        self.counters.sent += 1

    def _take_message(self, connection: FrameConnection, frame: bytearray) -> None:
        if not connection.name:
            self._greet(connection, frame)
            return
        try:
            message = unpack(frame)
        except ValueError as exc:
            self._refuse(connection, exc)
            return
        self.counters.received += 1
        self._on_message(connection.name, message)

    def _greet(self, connection: FrameConnection, frame: bytearray) -> None:
        try:
            uid = frame.decode()
            if not uid:
                raise ValueError("an empty UID")
        except ValueError as exc:
            self._refuse(connection, exc)
            connection.close()
            return
        connection.name = uid
        connection.allow(MAX_FRAME_BYTES)
        former = self._workers.get(uid)
        self._workers[uid] = connection
        if former is not None:
            former.close()

    def _forget(self, connection: FrameConnection) -> None:
        if self._workers.get(connection.name) is connection:
            del self._workers[connection.name]

    def _refuse(self, connection: FrameConnection, exc: ValueError) -> None:
        self.counters.malformed += 1
        # A worker of another version tries again and again.
        now = time.monotonic()
        if now >= self._warn_at:
            self._warn_at = now + _WARN_EVERY_S
            logger.warning("A worker sent something that is no message: %s", exc)

    def _take_console(self, _connection: FrameConnection, frame: bytearray) -> None:
        try:
            when, text, *rest = msgpack.unpackb(frame)
            (tag,) = rest or (None,)
        except (ValueError, TypeError, msgpack.UnpackException):
            when = text = tag = None
        if not (isinstance(when, float) and isinstance(text, str) and isinstance(tag, str | None)):
            self.counters.malformed += 1
            return
        self.counters.console += 1
        self._on_console(text, when, tag)
