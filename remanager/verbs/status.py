"""Asking how the manager is: ``ping``, ``status``, ``status_wait``, ``config_get``."""

from __future__ import annotations

from pydantic import Field

from remanager.manager.manager import Manager
from remanager.verbs.registry import NoParams, Params, fixed, verb
from remanager.verbs.tasks import Wait
from remanager.wire.codec import Reply


class StatusWaitParams(Params):
    """Parameters of ``status_wait``."""

    status_uid: str | None = Field(
        None, description="``status_uid`` of the status that is known; without it the answer comes at once"
    )
    timeout: Wait = Field(10.0, description="how long to wait (s, at most 60)")


@verb("ping", lenient=True)
def ping(manager: Manager, _params: object) -> Reply:
    """Answer with the status: shows that the manager is there."""
    return manager.status.reply()


@verb("status", lenient=True)
def status(manager: Manager, _params: object) -> Reply:
    """Return the status of the manager.

    ``time`` is that of the last change of the status, not that of the reply. ``ready`` tells whether plans
    can run, at once or after the one that runs; if not, ``not_ready_reason`` says why, also if the worker has
    gone silent or a plan is paused. Whether anything runs now is in ``manager_state``.
    """
    return manager.status.reply()


@verb("status_wait", StatusWaitParams)
async def status_wait(manager: Manager, params: StatusWaitParams) -> Reply:
    """Return the status as soon as it has changed, or when the time is over.

    Ask again with the ``status_uid`` of the answer to go on: no change is missed, though changes in quick
    succession are seen as one.
    """
    return await manager.status.changed(params.status_uid, params.timeout)


@verb("config_get", fillers=fixed(config={}))
async def config_get(manager: Manager, _params: NoParams) -> Reply:
    """Return configuration that clients need, such as how to connect to an IPython kernel."""
    return {"config": await manager.client_config()}
