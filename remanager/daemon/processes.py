"""Worker processes as the manager sees them: started by the supervisor, watched whoever started them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from remanager.daemon.scopes import in_scope
from remanager.daemon.supervisor_link import SupervisorLink
from remanager.manager.worker_files import is_held

logger = logging.getLogger(__name__)

OnExit = Callable[[int | None], None]


def process_start_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; 0 if there is none.

    Together with the pid this names a process for good: pids are used again.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    # The name in parentheses may hold anything; the fields after it are plain. The third is the state.
    fields = stat.rpartition(b")")[2].split()
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def watch_pid(pid: int, callback: Callable[[], None]) -> Callable[[], None]:
    """Call back once, in the running loop, when a process ends that need not be a child.

    Returns
    -------
    callable
        Ends the watch before its time.
    """
    loop = asyncio.get_running_loop()
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return loop.call_soon(callback).cancel

    def end() -> None:
        nonlocal fd
        if fd >= 0:
            loop.remove_reader(fd)
            os.close(fd)
            fd = -1

    def ended() -> None:
        end()
        callback()

    loop.add_reader(fd, ended)
    return end


def resident_bytes(pid: int) -> int | None:
    """Return the resident memory of a process in bytes; None if it is gone or may not be looked at."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return None
    return int(pages) * resource.getpagesize()


def cpu_seconds(pid: int) -> float | None:
    """Return the processor time that a process has used, s; None if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return None


class Processes:
    """Starts, watches and kills worker processes.

    Parameters
    ----------
    link : SupervisorLink
        The supervisor; this object listens to its reports of ended workers.
    scope : str
        Scope of systemd for each process, see :func:`remanager.daemon.scopes.in_scope`.
    """

    def __init__(self, link: SupervisorLink, scope: str = "off") -> None:
        self._link = link
        self._scope = scope
        self._callbacks: dict[int, OnExit] = {}
        self._watches: dict[int, Callable[[], None]] = {}
        self._start_ticks: dict[int, int] = {}
        link.on_exit = self._on_exit

    async def spawn(self, argv: Sequence[str], env: Mapping[str, str] | None, cwd: str | None) -> int:
        """Start a process in a session of its own and return its pid.

        Raises
        ------
        OSError
            It could not be started.
        """
        pid = await self._link.spawn(in_scope(argv, self._scope), env, cwd)
        self._start_ticks[pid] = process_start_ticks(pid)
        return pid

    def is_alive(self, pid: int, start_ticks: int) -> bool:
        """Tell whether the process still is the one that was started then."""
        return start_ticks != 0 and process_start_ticks(pid) == start_ticks

    def take_over(self, pid: int, start_ticks: int, settings: Path) -> bool:
        """Take charge of a process if it is alive and a worker of this daemon, started with these settings.

        It is one if it is a child of the supervisor, or holds that file.
        """
        if not (self.is_alive(pid, start_ticks) and (self._is_child(pid) or is_held(settings))):
            return False
        self._start_ticks[pid] = start_ticks
        return True

    def _is_child(self, pid: int) -> bool:
        """Tell whether a process is a child of the supervisor, which has not heard of its end."""
        return self._link.children.get(pid, 0) is None

    def start_ticks(self, pid: int) -> int:
        """Return the start time of a process in clock ticks since boot (0 if it is gone)."""
        return process_start_ticks(pid)

    def watch(self, pid: int, on_exit: OnExit) -> None:
        """Call ``on_exit(returncode)`` once when the process has ended (None: exit code not known)."""
        self._forget(pid)
        children = self._link.children
        if pid not in children:
            # Started by an earlier supervisor: nobody can tell how it ends, but when.
            self._callbacks[pid] = on_exit
            self._watches[pid] = watch_pid(pid, lambda: self._on_exit(pid, None))
            return
        returncode = children[pid]
        if returncode is None:
            self._callbacks[pid] = on_exit
        else:
            asyncio.get_running_loop().call_soon(on_exit, returncode)

    def kill(self, pid: int) -> None:
        """Kill the process and its session at once; nobody's but a worker's of this daemon."""
        if self.is_alive(pid, self._start_ticks.get(pid, 0)) or self._is_child(pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        else:
            logger.info("The process %d, which was to be killed, is gone", pid)

    def close(self) -> None:
        """End all watches."""
        for pid in list(self._callbacks):
            self._forget(pid)

    def _forget(self, pid: int) -> None:
        self._callbacks.pop(pid, None)
        end = self._watches.pop(pid, None)
        if end is not None:
            end()

    def _on_exit(self, pid: int, returncode: int | None) -> None:
        callback = self._callbacks.pop(pid, None)
        self._watches.pop(pid, None)
        self._start_ticks.pop(pid, None)
        if callback is not None:
            callback(returncode)
