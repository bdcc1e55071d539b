"""Asking how the manager is: ``ping``, ``status``, ``config_get``, ``queue_status``, ``stats``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from remanager.manager.manager import Manager
from remanager.verbs.registry import NoParams, Params, fixed, verb
from remanager.wire.codec import Reply

Section = Literal["summary", "queue", "rates", "types", "workers", "counters"]


class StatsParams(Params):
    """Parameters of ``stats``."""

    sections: list[Section] | None = Field(None, description="parts of the answer; all by default")


@verb("ping", lenient=True)
def ping(manager: Manager, _params: object) -> Reply:
    """Answer with the status: shows that the manager is there."""
    return manager.status.reply()


@verb("status", lenient=True)
def status(manager: Manager, _params: object) -> Reply:
    """Return the status of the manager."""
    return manager.status.reply()


@verb("config_get", fillers=fixed(config={}))
async def config_get(manager: Manager, _params: NoParams) -> Reply:
    """Return configuration that clients need, such as how to connect to an IPython kernel."""
    return {"config": await manager.client_config()}


@verb("queue_status")
def queue_status(manager: Manager, _params: NoParams) -> Reply:
    """Return how much work waits, is ready and runs, in all and by lane (user and type)."""
    return manager.statistics_view.queue_status()


@verb("stats", StatsParams)
def stats(manager: Manager, params: StatsParams) -> Reply:
    """Return health, depths, rates over 1, 5 and 20 minutes, per-minute windows by type, and counters."""
    return manager.statistics_view.stats(params.sections)
