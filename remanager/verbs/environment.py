"""Opening, closing, destroying and updating the environment."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from remanager.manager.manager import Manager
from remanager.verbs.registry import LockParams, LockScope, fixed, verb
from remanager.wire.codec import Reply


class UpdateParams(LockParams):
    """Parameters of ``environment_update``."""

    run_in_background: Any = Field(False, description="do it beside plans and other tasks")


@verb("environment_open", LockParams, lock=LockScope.ENVIRONMENT, plain=True, journal=True)
async def environment_open(manager: Manager, _params: LockParams) -> Reply:
    """Begin to open the environment: start a worker process that loads the start-up code."""
    await manager.environment.open()
    return {}


@verb("environment_close", LockParams, lock=LockScope.ENVIRONMENT, plain=True, journal=True)
async def environment_close(manager: Manager, _params: LockParams) -> Reply:
    """Begin to close the environment in an orderly way; refused while anything runs.

    Functions and scripts in the background end with it. Tasks of the task queue do not: they must have ended.
    """
    await manager.environment.close()
    return {}


@verb("environment_destroy", LockParams, lock=LockScope.ENVIRONMENT, plain=True, journal=True)
async def environment_destroy(manager: Manager, _params: LockParams) -> Reply:
    """Kill the worker process, whatever it does."""
    await manager.environment.destroy()
    return {}


@verb(
    "environment_update", UpdateParams, lock=LockScope.ENVIRONMENT, fillers=fixed(task_uid=None), plain=True
)
async def environment_update(manager: Manager, params: UpdateParams) -> Reply:
    """Make the lists of plans and devices anew from what is in the worker's namespace now."""
    uid = await manager.tasks.load_script(
        "", update_lists=True, update_re=True, background=bool(params.run_in_background)
    )
    return {"task_uid": uid}
