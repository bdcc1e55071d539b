"""Requests per second of ``ping`` and ``status``, and what they cost the daemon."""

from __future__ import annotations

from collections.abc import Callable

from common import Figures, closed_loop, encode
from daemons import Daemon, Target

SECONDS = 1.0
WARM_UP_S = 0.2


def measure(target: Target, figures: Figures) -> None:
    """Run one repeat."""
    with Daemon(target) as daemon, daemon.opened():
        for method in ("ping", "status"):
            for clients in (1, 8):
                measure_method(daemon.address, daemon.cpu_seconds, figures, method, clients)


def measure_method(
    address: str, cpu_seconds: Callable[[], float], figures: Figures, method: str, clients: int
) -> None:
    """Ask for a time; ``cpu_seconds`` tells the processor time that who answers has used so far (s)."""
    name = f"{method}, {clients} client{'s' if clients > 1 else ''}"
    closed_loop(address, clients, encode(method), WARM_UP_S)
    before = cpu_seconds()
    load = closed_loop(address, clients, encode(method), SECONDS)
    used = cpu_seconds() - before
    figures.note(f"{name}: requests/s", load.rate)
    figures.note(f"{name}: p99 (ms)", load.percentile_ms(99))
    figures.note(f"{name}: daemon CPU per request (ms)", 1e3 * used / len(load.latencies))
