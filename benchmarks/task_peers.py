"""Other task queues beside this one: installed apart, each measured by a process in that environment."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from common import Figures
from daemons import free_ports, redis_server

ENVIRONMENT = Path(os.environ.get("BENCH_TASKS_VENV", Path(__file__).parent.parent / "build" / "bench-tasks"))
"""Virtual environment of the libraries; it is made if it does not exist."""

DRIVER = Path(__file__).parent / "task_libraries" / "driver.py"
TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Library:
    """A task queue that can be measured.

    Attributes
    ----------
    title : str
        Heading of its column.
    packages : tuple of str
        What is installed.
    redis : bool
        Whether it needs a Redis server, which keeps nothing on disk.
    part : int
        It runs so many times fewer tasks, as it would take minutes for all.
    """

    title: str
    packages: tuple[str, ...]
    redis: bool = True
    part: int = 1


LIBRARIES = {
    "huey": Library("huey (SQLite)", ("huey",), redis=False),
    "rq": Library("RQ", ("rq",), part=10),
    "celery": Library("Celery", ("celery[redis]",)),
    "taskiq": Library("taskiq", ("taskiq", "taskiq-redis")),
    "dramatiq": Library("dramatiq", ("dramatiq[redis]",)),
}


class PeerBench:
    """Measures libraries.

    Parameters
    ----------
    names : list of str
        Keys of :data:`LIBRARIES`; what they need is installed.

    Raises
    ------
    SystemExit
        There is no ``redis-server``.
    """

    def __init__(self, names: list[str]) -> None:
        if any(LIBRARIES[n].redis for n in names) and shutil.which("redis-server") is None:
            raise SystemExit("these libraries need redis-server: install it, for example from your system")
        self._python = ENVIRONMENT / "bin" / "python"
        if not self._python.exists() and names:
            subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        for name in names:
            mark = ENVIRONMENT / f".{name}-installed"
            if not mark.exists():
                print(f"installing {name} in {ENVIRONMENT} ...", file=sys.stderr, flush=True)
                install = [str(self._python), "-m", "pip", "install", "--quiet", *LIBRARIES[name].packages]
                subprocess.run(install, check=True)
                mark.touch()

    def measure(self, name: str, figures: Figures, tasks: int) -> None:
        """Run one repeat with a library."""
        (port,) = free_ports(1)
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            variables = {"BENCH_DIRECTORY": directory, "BENCH_REDIS": f"redis://127.0.0.1:{port}"}
            command = [str(self._python), str(DRIVER), name, str(tasks // LIBRARIES[name].part)]
            if LIBRARIES[name].redis:
                with redis_server(port):
                    done = _run(command, variables)
            else:
                done = _run(command, variables)
        for figure, value in json.loads(done).items():
            figures.note(figure, value)


def _run(command: list[str], variables: dict[str, str]) -> str:
    # Modules of this project must not reach the other environment.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    driver = subprocess.Popen(
        command,
        env={**environment, **variables},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        figures, _ = driver.communicate(timeout=TIMEOUT_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)  # and the worker that it started
        driver.wait()
    if driver.returncode:
        raise RuntimeError(f"{' '.join(command)} failed")
    return figures
