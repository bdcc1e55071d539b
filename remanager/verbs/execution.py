"""Running the queue and steering the running plan."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from remanager.manager.items import MISSING, check_form, prepare, user_of
from remanager.manager.manager import Manager
from remanager.model.errors import InvalidParams, RemanagerError
from remanager.verbs.queue import UserParams, submitted_item
from remanager.verbs.registry import LockParams, LockScope, NoParams, Params, Refusal, fixed, verb
from remanager.wire.codec import Fragment, Reply

RUN_OPTIONS = ("active", "open", "closed")


class AutostartParams(LockParams):
    """Parameters of ``queue_autostart``."""

    enable: Any = Field(MISSING, description="true: start the queue whenever it can run; false: do not")


class PauseParams(LockParams):
    """Parameters of ``re_pause``."""

    option: Any = Field("deferred", description="``deferred`` (at the next checkpoint) or ``immediate``")


class RunsParams(Params):
    """Parameters of ``re_runs``."""

    option: Any = Field("active", description="``active`` (all of the running plan), ``open`` or ``closed``")


class ExecuteParams(UserParams):
    """Parameters of ``queue_item_execute``."""

    item: Any = Field(MISSING, description="plan or instruction to execute now")


@verb("queue_start", LockParams, lock=LockScope.ENVIRONMENT, plain=True)
async def queue_start(manager: Manager, _params: LockParams) -> Reply:
    """Start to execute the queue."""
    await manager.execution.queue_start()
    return {}


@verb("queue_stop", LockParams, lock=LockScope.ENVIRONMENT, plain=True)
async def queue_stop(manager: Manager, _params: LockParams) -> Reply:
    """Stop the queue when the running plan has ended."""
    await manager.execution.queue_stop()
    return {}


@verb("queue_stop_cancel", LockParams, lock=LockScope.ENVIRONMENT)
async def queue_stop_cancel(manager: Manager, _params: LockParams) -> Reply:
    """Take a ``queue_stop`` back."""
    await manager.execution.set_stop_pending(False)
    return {}


@verb("queue_autostart", AutostartParams, lock=LockScope.ENVIRONMENT)
async def queue_autostart(manager: Manager, params: AutostartParams) -> Reply:
    """Switch autostart on or off."""
    if params.enable is MISSING:
        raise InvalidParams("Required 'enable' parameter is missing in 'queue_autostart' API call.")
    if not isinstance(params.enable, bool):
        raise InvalidParams(
            f"Required 'enable' parameter must be boolean: type(enable)={type(params.enable)}."
        )
    await manager.execution.set_autostart(params.enable)
    return {}


@verb(
    "queue_item_execute",
    ExecuteParams,
    lock=LockScope.ENVIRONMENT,
    prefix="Failed to start execution of the item: ",
    fillers=submitted_item,
)
async def queue_item_execute(manager: Manager, params: ExecuteParams) -> Reply:
    """Execute an item at once, beside the queue. It never enters the queue."""
    item = check_form(params.item)
    user, group = user_of(manager.catalogue, params.user, params.user_group)
    item = prepare(manager.catalogue, item, user, group)
    try:
        item = await manager.execution.execute_now(item)
    except RemanagerError as exc:
        raise Refusal(exc, item=item) from exc
    return {"qsize": manager.queue.size, "item": item}


@verb("re_pause", PauseParams, lock=LockScope.ENVIRONMENT, plain=True, journal=True)
async def re_pause(manager: Manager, params: PauseParams) -> Reply:
    """Pause the running plan: at its next checkpoint, or immediately (back to the last checkpoint)."""
    await manager.execution.pause(params.option)
    return {}


@verb("re_resume", LockParams, lock=LockScope.ENVIRONMENT, plain=True, journal=True)
async def re_resume(manager: Manager, _params: LockParams) -> Reply:
    """Go on with the paused plan."""
    await manager.execution.go_on("resume")
    return {}


@verb("re_stop", LockParams, lock=LockScope.ENVIRONMENT, plain=True, journal=True)
async def re_stop(manager: Manager, _params: LockParams) -> Reply:
    """End the paused plan; its runs count as successful."""
    await manager.execution.go_on("stop")
    return {}


@verb("re_abort", LockParams, lock=LockScope.ENVIRONMENT, plain=True, journal=True)
async def re_abort(manager: Manager, _params: LockParams) -> Reply:
    """End the paused plan; its runs are marked as aborted."""
    await manager.execution.go_on("abort")
    return {}


@verb("re_halt", LockParams, lock=LockScope.ENVIRONMENT, plain=True, journal=True)
async def re_halt(manager: Manager, _params: LockParams) -> Reply:
    """End the paused plan at once, without its clean-up."""
    await manager.execution.go_on("halt")
    return {}


@verb("re_runs", RunsParams, fillers=fixed(run_list=[], run_list_uid=""))
def re_runs(manager: Manager, params: RunsParams) -> Reply:
    """Return the runs of the running plan."""
    if params.option not in RUN_OPTIONS:
        raise InvalidParams(f"Option '{params.option}' is not supported. Available options: {RUN_OPTIONS}")
    worker = manager.state.worker_state
    runs = list(worker.run_list) if worker else []
    if params.option != "active":
        runs = [r for r in runs if r["is_open"] == (params.option == "open")]
    return {"run_list": runs, "run_list_uid": manager.state.run_list_uid}


@verb("re_metadata", plain=True, fillers=fixed(re_metadata={}))
async def re_metadata(manager: Manager, _params: NoParams) -> Reply:
    """Return the metadata dictionary of the RunEngine."""
    text = await manager.run_engine_metadata()
    return {"re_metadata": Fragment(json=text.encode())}


class InterruptParams(LockParams):
    """Parameters of ``kernel_interrupt``."""

    interrupt_task: Any = Field(False, description="interrupt a running foreground task")
    interrupt_plan: Any = Field(False, description="interrupt a running plan")


@verb(
    "kernel_interrupt",
    InterruptParams,
    lock=LockScope.ENVIRONMENT,
    journal=True,
    prefix="Failed to interrupt IPython kernel: ",
)
async def kernel_interrupt(manager: Manager, params: InterruptParams) -> Reply:
    """Interrupt the IPython kernel of the worker."""
    await manager.interrupt_kernel(task=bool(params.interrupt_task), plan=bool(params.interrupt_plan))
    return {}
