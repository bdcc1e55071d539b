"""An instrument with 200 plans and 500 devices: its lists, and plans checked against them."""

from __future__ import annotations

import json
import time
from pathlib import Path

from common import USER, Client, Figures, encode, open_environment
from common import client as connect
from daemons import OURS, Daemon, Target

PROFILE = Path(__file__).parent / "profile_lists"
CHECKED = 100
REPEATED = 20


def measure(target: Target, figures: Figures) -> None:
    """Run one repeat."""
    with Daemon(target, PROFILE) as daemon, connect(daemon.address) as connection:
        figures.note("200 plans, 500 devices: open the environment (s)", open_environment(connection))
        for method in ("plans_allowed", "devices_allowed"):
            request = encode(method, user_group=USER["user_group"])
            first, *later = (_seconds(connection, request) for _ in range(1 + REPEATED))
            figures.note(f"{method}: first call (ms)", 1e3 * first)
            figures.note(f"{method}: later calls, longest (ms)", 1e3 * max(later))
        if target is OURS:
            request = encode("item_check", items=_plans(), **USER)
            first, *later = (_seconds(connection, request) for _ in range(1 + REPEATED))
            figures.note(f"item_check of {CHECKED} plans: first call (ms)", 1e3 * first)
            figures.note(f"item_check of {CHECKED} plans: later calls, longest (ms)", 1e3 * max(later))


def _plans() -> list[dict[str, object]]:
    """Return a plan of each kind, each with devices of its own."""
    return [
        {
            "item_type": "plan",
            "name": f"plan_{number}",
            "args": [[f"motor_{number}", f"motor_{number + 100}"], f"motor_{number + 200}", -5, 5],
            "kwargs": {"num": 21, "sample": "copper foil"},
        }
        for number in range(CHECKED)
    ]


def _seconds(connection: Client, request: bytes) -> float:
    """Send a request that must succeed; return the time to the reply (s)."""
    start = time.perf_counter()
    connection.send(request)
    reply = connection.receive()
    seconds = time.perf_counter() - start
    if not json.loads(reply)["success"]:
        raise RuntimeError(f"a request was refused: {reply[:500]!r}")
    return seconds
