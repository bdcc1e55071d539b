"""Start, cost at rest, and recovery after ``kill -9``."""

from __future__ import annotations

import time

from common import Client, Figures, client, open_environment
from daemons import Daemon, Target, first_ping

IDLE_S = 15.0
SETTLE_S = 1.0
NOTICE_LIMIT_S = 20.0


def measure(target: Target, figures: Figures) -> None:
    """Run one repeat, after a start that leaves the bytecode and the caches of an installed program."""
    with Daemon(target) as daemon, client(daemon.address) as connection:
        open_environment(connection)
    with Daemon(target) as daemon:
        figures.note("start to first ping (s)", daemon.seconds_to_ping)
        with client(daemon.address) as connection:
            figures.note("environment_open (s)", open_environment(connection))
        time.sleep(SETTLE_S)
        _rest(daemon, figures)
        _kill_manager(daemon, figures)
        time.sleep(SETTLE_S)
        _kill_worker(daemon, figures)


def _rest(daemon: Daemon, figures: Figures) -> None:
    """Look at processor time and memory while the environment is open and nothing happens."""
    before, start = daemon.cpu_seconds(), time.perf_counter()
    time.sleep(IDLE_S)
    used = daemon.cpu_seconds() - before
    figures.note("idle, environment open: CPU (% of a core)", 100 * used / (time.perf_counter() - start))
    sizes = {role: process.memory_full_info().pss / 1e6 for role, process in daemon.roles().items()}
    figures.note("manager and supervisor: PSS (MB)", sizes["manager"] + sizes.get("supervisor", 0.0))
    if daemon.redis is not None:
        sizes["redis"] = daemon.redis.memory_full_info().pss / 1e6
    figures.note("all processes: PSS (MB)", sum(sizes.values()))


def _kill_manager(daemon: Daemon, figures: Figures) -> None:
    manager = daemon.roles()["manager"]
    start = time.perf_counter()
    manager.kill()
    first_ping(daemon.address, alive=lambda: True)
    figures.note("manager killed, to an answer (s)", time.perf_counter() - start)
    with client(daemon.address) as connection:
        connection.until(lambda s: s["manager_state"] == "idle")
        kept = connection.ok("status")["worker_environment_exists"]
        figures.note("manager killed: environment kept (1: yes)", float(kept))


def _kill_worker(daemon: Daemon, figures: Figures) -> None:
    worker = daemon.roles()["worker"]
    with client(daemon.address) as connection:
        start = time.perf_counter()
        worker.kill()
        figures.note("worker killed, to a status that says so (s)", _noticed(connection, start))


def _noticed(connection: Client, start: float) -> float:
    """Return the time until the status shows no environment (s), infinite if it does not come to that."""
    try:
        connection.until(lambda s: not s["worker_environment_exists"], NOTICE_LIMIT_S)
    except TimeoutError:
        return float("inf")
    return time.perf_counter() - start
