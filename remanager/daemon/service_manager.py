"""What systemd knows of this process: the unit that it belongs to, and whether that is restarted."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

QUESTION_TIMEOUT_S = 2.0
_RESTARTS = frozenset({"restart", "try-restart"})


@dataclass(frozen=True, slots=True)
class Unit:
    """A service of systemd.

    Attributes
    ----------
    name : str
        Such as ``remanager.service``.
    user : bool
        Whether it belongs to a user's service manager.
    """

    name: str
    user: bool


def unit_of(cgroups: str) -> Unit | None:
    """Return the service to which a process with this content of ``/proc/PID/cgroup`` belongs."""
    for line in cgroups.splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers in ("", "name=systemd"):
            names = [part for part in path.split("/") if part.endswith(".service")]
            if names:
                name = names[-1]
                return None if name.startswith("user@") else Unit(name, user="/user@" in path)
    return None


def own_unit() -> Unit | None:
    """Return the service to which this process belongs."""
    try:
        return unit_of(Path("/proc/self/cgroup").read_text())
    except OSError:
        return None


async def is_restarting(unit: Unit) -> bool | None:
    """Tell whether a stop of the unit is the first half of a restart; None if systemd does not answer."""
    command = [
        "systemctl",
        *(["--user"] if unit.user else []),
        "list-jobs",
        "--no-legend",
        "--plain",
        "--full",
    ]
    try:
        async with asyncio.timeout(QUESTION_TIMEOUT_S):
            process = await asyncio.create_subprocess_exec(
                *command,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={**os.environ, "LC_ALL": "C"},
            )
            try:
                output, _ = await process.communicate()
            except asyncio.CancelledError:
                process.kill()
                await process.wait()
                raise
    except (OSError, TimeoutError) as exc:
        logger.warning("systemd can not be asked what becomes of %s: %s", unit.name, exc or "no answer")
        return None
    if process.returncode:
        return None
    # Job, unit, type, state.
    jobs = [line.split() for line in output.decode("utf-8", "replace").splitlines()]
    return any(words[2] in _RESTARTS for words in jobs if len(words) > 3 and words[1] == unit.name)


async def workers_outlive(on_stop: str) -> bool:
    """Decide whether workers go on after a request of the service manager to stop.

    Parameters
    ----------
    on_stop : str
        ``close``, ``leave-workers``, or ``leave-on-restart``. If systemd does not say which it is, a stop
        counts as a restart: a plan that goes on can still be stopped, one that was killed is lost.
    """
    if on_stop != "leave-on-restart":
        return on_stop == "leave-workers"
    unit = own_unit()
    return unit is not None and await is_restarting(unit) is not False
