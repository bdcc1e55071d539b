"""Asking how the manager is: ``ping``, ``status``, ``config_get``."""

from __future__ import annotations

from remanager.manager.manager import Manager
from remanager.verbs.registry import NoParams, fixed, verb
from remanager.wire.codec import Reply


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
