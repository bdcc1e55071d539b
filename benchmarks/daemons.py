"""The daemons that are compared: how each is installed, started, watched and stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil
import zmq
from common import USER, Client, client, encode, open_environment

PROFILE = Path(__file__).parent / "profile"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
RETRY_S = 0.25
"""A ping that is not answered in this time is sent again over a new connection."""


@dataclass(frozen=True)
class Target:
    """A daemon that can be started.

    Attributes
    ----------
    name : str
        Heading of its column.
    command : tuple of str
        Command and options; ``{directory}`` and ``{redis}`` stand for a directory of its own and for the
        port of a Redis server.
    redis : bool
        Whether it needs a Redis server.
    """

    name: str
    command: tuple[str, ...]
    redis: bool = False


OURS = Target("remanager", (sys.executable, "-m", "remanager", "start", "--state-dir={directory}/state"))


PEER_ENVIRONMENT = Path(__file__).parent.parent / "build" / "bench-peer"
"""Where bluesky-queueserver is installed unless told otherwise."""


def peer(environment: Path) -> Target:
    """Return bluesky-queueserver as installed in a virtual environment; install it if it is not.

    Raises
    ------
    SystemExit
        There is no ``redis-server``.
    """
    if shutil.which("redis-server") is None:
        raise SystemExit("bluesky-queueserver needs redis-server: install it, for example from your system")
    program = environment / "bin" / "start-re-manager"
    if not program.exists():
        print(f"installing bluesky-queueserver in {environment} ...", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        install = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, "bluesky-queueserver", "ophyd", "matplotlib"], check=True)
    return Target("bluesky-queueserver", (str(program), "--redis-addr=127.0.0.1:{redis}"), redis=True)


def end_on_sigterm() -> None:
    """Leave the blocks in which daemons run when told to end, so that none is left behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))


def free_ports(count: int) -> list[int]:
    """Find free ports on loopback, all held until the last is found."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


class Daemon:
    """A daemon with a directory, ports and, if it needs one, a Redis server of its own.

    Parameters
    ----------
    target : Target
        What is started when the block is entered; everything is gone when it is left.
    profile : Path
        Directory of the start-up code; the daemon gets a copy.
    options : sequence of str
        Further options.
    variables : mapping
        Further environment variables.

    Attributes
    ----------
    address : str
        Control address.
    profile : Path
        The daemon's copy of the start-up code.
    seconds_to_ping : float
        Time from the start of the process to the first answer (s).
    redis : psutil.Process or None
        The Redis server.
    """

    def __init__(
        self,
        target: Target,
        profile: Path = PROFILE,
        options: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._target = target
        self.profile = profile
        self._options = options
        self._variables = variables or {}
        self._stack = contextlib.ExitStack()
        self.redis: psutil.Process | None = None

    def __enter__(self) -> Daemon:
        with contextlib.ExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
            control, info, redis = free_ports(3)
            if self._target.redis:
                self.redis = stack.enter_context(redis_server(redis))
            self.address = f"tcp://127.0.0.1:{control}"
            self.profile = shutil.copytree(self.profile, Path(directory) / "profile_instrument" / "startup")
            command = [word.format(directory=directory, redis=redis) for word in self._target.command]
            command += [
                f"--startup-dir={self.profile}",
                f"--zmq-control-addr={self.address}",
                f"--zmq-info-addr=tcp://127.0.0.1:{info}",
                *self._options,
            ]
            # A set-up of the user's own must not reach the benchmarks, nor must a variable that has the
            # program compiled at each start.
            environment = {
                k: v
                for k, v in os.environ.items()
                if not k.startswith(("QSERVER_", "REMANAGER_")) and k != "PYTHONDONTWRITEBYTECODE"
            }
            log_path = Path(directory) / "log"
            log = stack.enter_context(log_path.open("wb"))
            start = time.perf_counter()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=directory,
                env={**environment, "MPLBACKEND": "agg", **self._variables},
            )
            stack.callback(self._stop)
            try:
                first_ping(self.address, lambda: self._process.poll() is None)
            except TimeoutError as exc:
                raise RuntimeError(f"{self._target.name} did not start:\n{log_path.read_text()}") from exc
            self.seconds_to_ping = time.perf_counter() - start
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def opened(self) -> Iterator[Client]:
        """Connect a client and open the environment."""
        with client(self.address) as connection:
            open_environment(connection)
            # A daemon may say that it is idle a moment before it knows the plans.
            while not connection.ok("plans_allowed", user_group=USER["user_group"])["plans_allowed"]:
                time.sleep(0.05)
            yield connection

    def processes(self) -> list[psutil.Process]:
        """Return every process of the daemon, without Redis."""
        root = psutil.Process(self._process.pid)
        return [root, *root.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """Return the processor time used so far by all processes, Redis included (s)."""
        total = 0.0
        for process in [*self.processes(), *([self.redis] if self.redis else [])]:
            times = process.cpu_times()
            total += times.user + times.system
        return total

    def roles(self) -> dict[str, psutil.Process]:
        """Return the processes by what they do: ``manager``, ``supervisor``, ``worker``, ``helper``."""
        port = int(self.address.rsplit(":", 1)[1])
        processes = self.processes()
        manager = [p for p in processes if _listens(p, port)][-1]
        roles = {"manager": manager}
        if manager.pid != processes[0].pid:
            roles["supervisor"] = processes[0]
        known = {process.pid for process in roles.values()}
        for process in processes:
            if process.pid not in known:
                command = " ".join(process.cmdline())
                role = "helper" if "resource_tracker" in command or "forkserver" in command else "worker"
                roles[role] = process
        return roles

    def _stop(self) -> None:
        processes = self.processes() if self._process.poll() is None else []
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT_S)
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()


def _listens(process: psutil.Process, port: int) -> bool:
    connections = process.net_connections("tcp")
    return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections)


@contextlib.contextmanager
def redis_server(port: int) -> Iterator[psutil.Process]:
    """Run a Redis server that keeps nothing on disk."""
    options = ("--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no")
    process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + START_TIMEOUT_S
        while not _accepts(port):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("redis-server did not start")
            time.sleep(0.02)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def _accepts(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def first_ping(address: str, alive: Callable[[], bool], timeout_s: float = START_TIMEOUT_S) -> float:
    """Ping until an answer comes; return the time that it took (s).

    Raises
    ------
    TimeoutError
        None came in time, or the daemon is not alive.
    """
    start = time.perf_counter()
    while time.perf_counter() - start < timeout_s and alive():
        with contextlib.suppress(zmq.Again), client(address, RETRY_S) as connection:
            connection.send(encode("ping"))
            connection.receive()  # whatever its encoding
            return time.perf_counter() - start
    raise TimeoutError("no answer to ping")
