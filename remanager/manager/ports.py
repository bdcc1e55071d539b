"""What the manager needs from outside: workers, processes, publishing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from remanager.model.link import Message

Clock = Callable[[], float]
"""Wall clock: seconds since the epoch."""


class ConsoleLine(Protocol):
    """A piece of console output; ``time`` in epoch seconds."""

    @property
    def seq(self) -> int: ...

    @property
    def time(self) -> float: ...

    @property
    def text(self) -> str: ...

    @property
    def worker_uid(self) -> str | None: ...


class ConsolePage(Protocol):
    """Pieces of console output and where to go on.

    ``gap`` says that pieces that were asked for are no longer kept.
    """

    @property
    def messages(self) -> Sequence[ConsoleLine]: ...

    @property
    def next_seq(self) -> int: ...

    @property
    def oldest_seq(self) -> int: ...

    @property
    def gap(self) -> bool: ...


ReadConsole = Callable[[int, int], ConsolePage]
"""``read(since, limit)``: up to ``limit`` pieces of console output from number ``since`` on."""


@dataclass(frozen=True, slots=True)
class NoConsole:
    """A console to which nothing is written."""

    messages: Sequence[ConsoleLine] = ()
    next_seq: int = 1
    oldest_seq: int = 1
    gap: bool = False

    def __call__(self, _since: int, _limit: int) -> ConsolePage:
        """Return an empty page."""
        return self


NO_CONSOLE = NoConsole()

ReadMemory = Callable[[int], int | None]
"""``read(pid)``: resident memory of a process in bytes; None if it is not known."""

ReadCpu = Callable[[int], float | None]
"""``read(pid)``: processor time that a process has used, s; None if it is not known."""


class NotConnected(Exception):
    """The worker has no connection at present."""


class WorkerPort(Protocol):
    """The sockets towards the workers."""

    link_address: str
    console_address: str

    def send(self, worker_uid: str, message: Message) -> None:
        """Send a message.

        Raises
        ------
        NotConnected
            The worker is not connected.
        """
        ...


class ProcessPort(Protocol):
    """Starting and watching worker processes."""

    async def spawn(self, argv: Sequence[str], env: Mapping[str, str] | None, cwd: str | None) -> int:
        """Start a process in a session of its own and return its pid."""
        ...

    def is_alive(self, pid: int, start_ticks: int) -> bool:
        """Tell whether the process still is the one that was started then."""
        ...

    def take_over(self, pid: int, start_ticks: int, settings: Path) -> bool:
        """Take charge of a process if it is alive and a worker of this daemon, started with these settings.

        What the store says does not tell: the store may be a copy, and the worker that of the original.
        """
        ...

    def start_ticks(self, pid: int) -> int:
        """Return the start time of a process in clock ticks since boot (0 if it is gone)."""
        ...

    def watch(self, pid: int, on_exit: Callable[[int | None], None]) -> None:
        """Call ``on_exit(returncode)`` once when the process has ended (None: exit code not known)."""
        ...

    def kill(self, pid: int) -> None:
        """Kill the process and its session at once."""
        ...
