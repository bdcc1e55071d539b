"""Worker processes: of the pool that runs tasks, and of the environment."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from remanager.manager.manager import Manager
from remanager.verbs.registry import LockParams, LockScope, Params, fixed, verb
from remanager.verbs.selectors import Uid
from remanager.wire.codec import Reply

Seconds = Annotated[float, Field(ge=0, le=86400.0, allow_inf_nan=False)]


class ListParams(Params):
    """Parameters of ``worker_list``."""

    worker_uid: Uid | None = Field(None, description="only this worker")


class StopParams(LockParams):
    """Parameters of ``worker_stop`` and ``worker_restart``."""

    worker_uid: Uid = Field(description="UID of the worker")
    drain: bool = Field(True, description="let it finish what runs; false: kill it at once")
    timeout_s: Seconds | None = Field(
        None, description="kill it if it has not left then (s); default: wait for ever"
    )


@verb("worker_list", ListParams, fillers=fixed(workers=[]))
def worker_list(manager: Manager, params: ListParams) -> Reply:
    """Return the worker processes: ``kind`` ``pool`` for the task queue, ``environment`` for plans.

    ``running`` has the UIDs of what a worker was handed; ``cpu_s`` is its processor time; ``restarts`` how
    often a worker of the pool ended that had not been told to.
    """
    return {"workers": manager.controls.workers.list(params.worker_uid)}


@verb("worker_stop", StopParams, lock=LockScope.ENVIRONMENT, fillers=fixed(worker=None), journal=True)
async def worker_stop(manager: Manager, params: StopParams) -> Reply:
    """Let a worker leave; ``worker`` is null if it is gone already.

    Another worker of the pool is started when there is work for it. What a killed one ran counts as lost,
    and is tried again if it may be. For the environment's worker this closes the environment, or destroys it.
    """
    worker = await manager.controls.workers.stop(
        params.worker_uid, drain=params.drain, timeout_s=params.timeout_s
    )
    return {"worker": worker}


@verb("worker_restart", StopParams, lock=LockScope.ENVIRONMENT, fillers=fixed(worker=None), journal=True)
async def worker_restart(manager: Manager, params: StopParams) -> Reply:
    """Let a worker leave, and start another one in its place; the environment is opened again.

    With ``drain`` a new worker of the pool takes over while the old one finishes what it runs.
    """
    worker = await manager.controls.workers.restart(
        params.worker_uid, drain=params.drain, timeout_s=params.timeout_s
    )
    return {"worker": worker}
