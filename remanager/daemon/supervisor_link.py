"""The manager's side of the connection to its supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
SPAWN_TIMEOUT_S = 10.0
_MAX_LINE_BYTES = 8 << 20
_ENDED_CHILDREN_KEPT = 64


@dataclass(frozen=True, slots=True)
class SupervisorInfo:
    """What the supervisor says first.

    Attributes
    ----------
    boot_id : str
        Identifies the life of the supervisor.
    restarts : int
        How many managers this one has had before; 0 in the first.
    """

    boot_id: str = ""
    restarts: int = 0


class SupervisorLink:
    """Sends heartbeats to the supervisor, has it start workers, and hears of their ends.

    Parameters
    ----------
    fd : int
        The inherited descriptor (``--supervisor-fd``).
    on_stop : callable
        Called with the number of the signal that asks for an orderly end.
    on_lost : callable
        Called when the supervisor is gone.
    on_exit : callable, optional
        Called with pid and return code of each worker that ended.
    on_leave : callable, optional
        Called when this manager is to be replaced.

    Attributes
    ----------
    info : SupervisorInfo
        What the supervisor said first.
    children : dict
        Workers started in the supervisor's life, by pid: return code, None while alive. Those that ended long
        ago are forgotten.
    """

    def __init__(
        self,
        fd: int,
        *,
        on_stop: Callable[[int], None],
        on_lost: Callable[[], None],
        on_exit: Callable[[int, int], None] | None = None,
        on_leave: Callable[[], None] | None = None,
    ) -> None:
        self.info = SupervisorInfo()
        self.children: dict[int, int | None] = {}
        self.on_exit = on_exit
        self._fd = fd
        self._on_stop = on_stop
        self._on_lost = on_lost
        self._on_leave = on_leave
        self._writer: asyncio.StreamWriter | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._ids = itertools.count(1)
        self._spawns: dict[int, asyncio.Future[int]] = {}

    async def connect(self, timeout_s: float = 5.0) -> SupervisorInfo:
        """Take the connection over and wait for the supervisor's greeting.

        Raises
        ------
        ConnectionError
            There is no supervisor at the other end.
        """
        try:
            connection = socket.socket(fileno=self._fd)
        except OSError as exc:
            raise ConnectionError(f"descriptor {self._fd} is no socket to a supervisor: {exc}") from exc
        # Workers and other children must not hold the manager's end.
        connection.set_inheritable(False)
        reader, self._writer = await asyncio.open_unix_connection(sock=connection, limit=_MAX_LINE_BYTES)
        try:
            line = await asyncio.wait_for(reader.readline(), timeout_s)
            hello = json.loads(line)
            self.children = {c["pid"]: c["returncode"] for c in hello["children"]}
            self.info = SupervisorInfo(hello["boot_id"], hello["restarts"])
        except (TimeoutError, ValueError, KeyError, TypeError) as exc:
            await self.close()
            raise ConnectionError("the supervisor did not say hello") from exc
        self._tasks.append(asyncio.create_task(self._read(reader), name="supervisor messages"))
        return self.info

    def start_heartbeats(self, describe: Callable[[], str] = str, interval_s: float = HEARTBEAT_S) -> None:
        """Send a heartbeat now and then every ``interval_s`` (s): from now on silence means death.

        Parameters
        ----------
        describe : callable
            Returns the state of the daemon as a line of text.
        interval_s : float
            From one heartbeat to the next, s.
        """
        self._tasks.append(asyncio.create_task(self._beat(describe, interval_s), name="supervisor heartbeat"))

    def heartbeat(self, status: str = "") -> None:
        """Send one heartbeat."""
        self._send({"op": "heartbeat", "status": status})

    def leave_workers(self, leave: bool) -> None:
        """Tell whether workers shall outlive the daemon, also if this process can not be asked any more."""
        self._send({"op": "workers", "leave": leave})

    def be_quiet(self) -> None:
        """Have the supervisor write nothing but what goes wrong."""
        self._send({"op": "quiet"})

    def stopping(self) -> None:
        """Announce that the end of this process is intended."""
        self._send({"op": "stopping"})

    async def spawn(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None, cwd: str | None = None
    ) -> int:
        """Have a process started in a session of its own.

        Parameters
        ----------
        argv : sequence of str
            Command and arguments.
        env : mapping, optional
            The whole environment; default: the supervisor's.
        cwd : str, optional
            Working directory; default: the supervisor's.

        Returns
        -------
        int
            Process id.

        Raises
        ------
        OSError
            It could not be started.
        """
        number = next(self._ids)
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._spawns[number] = future
        try:
            self._send(
                {
                    "op": "spawn",
                    "id": number,
                    "argv": list(argv),
                    "env": None if env is None else dict(env),
                    "cwd": cwd,
                }
            )
            return await asyncio.wait_for(future, SPAWN_TIMEOUT_S)
        finally:
            self._spawns.pop(number, None)

    async def close(self) -> None:
        """Close the connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()
            self._writer = None

    # -------------------------------------------------------------------------------------- inside

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def _beat(self, describe: Callable[[], str], interval_s: float) -> None:
        while True:
            self.heartbeat(describe())
            await asyncio.sleep(interval_s)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._handle(line)
        except ConnectionError:
            pass
        error = ConnectionResetError("the supervisor is gone")
        for future in self._spawns.values():
            if not future.done():
                future.set_exception(error)
        self._on_lost()

    def _handle(self, line: bytes) -> None:
        try:
            self._on_message(json.loads(line))
        except Exception:
            logger.exception("A message of the supervisor could not be handled: %r", line[:200])

    def _on_message(self, message: dict[str, Any]) -> None:
        match message:
            case {"op": "spawned", "id": number, "pid": int(pid)}:
                self.children[pid] = None
                future = self._spawns.get(number)
                if future is not None and not future.done():
                    future.set_result(pid)
            case {"op": "spawned", "id": number, "error": str(error)}:
                future = self._spawns.get(number)
                if future is not None and not future.done():
                    future.set_exception(OSError(error))
            case {"op": "exited", "pid": int(pid), "returncode": int(returncode)}:
                self.children[pid] = returncode
                ended = [p for p, code in self.children.items() if code is not None]
                for old in ended[:-_ENDED_CHILDREN_KEPT]:
                    del self.children[old]
                if self.on_exit is not None:
                    self.on_exit(pid, returncode)
            case {"op": "stop", "signal": int(number)}:
                self._on_stop(number)
            case {"op": "leave"}:
                if self._on_leave is not None:
                    self._on_leave()
            case _:
                logger.warning("Unknown message of the supervisor: %r", message)
