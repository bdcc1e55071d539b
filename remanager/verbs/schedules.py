"""Schedules: tasks that are submitted again and again, by interval or by cron expression."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from remanager.engine.task_queue.recurrence import MAX_CRON_CHARS, CatchUp, Recurrence, RecurrenceMode
from remanager.manager.items import FUNCTIONS, MISSING, check_form, user_of
from remanager.manager.manager import Manager
from remanager.manager.task_queue.schedules import Order
from remanager.manager.task_queue.submission import Seconds
from remanager.model.principal import asked_by
from remanager.verbs.queue import UserParams
from remanager.verbs.registry import LockParams, LockScope, Params, fixed, verb
from remanager.verbs.selectors import NamedValues, Texts, Uid
from remanager.wire.codec import Reply

AnyCatchUp = Annotated[CatchUp, Field(strict=False)]


class RecurringModel(Params):
    """When a schedule is due: by ``interval_s`` or by ``cron``."""

    interval_s: Seconds | None = None
    initial_delay_s: Seconds = 0.0
    mode: Annotated[RecurrenceMode, Field(strict=False)] = RecurrenceMode.AFTER_COMPLETION
    cron: Annotated[str, Field(max_length=MAX_CRON_CHARS)] | None = None
    timezone: Annotated[str, Field(max_length=100)] = "UTC"
    max_executions: Annotated[int, Field(ge=1)] | None = None
    catch_up: AnyCatchUp = CatchUp.NONE


class AddParams(UserParams):
    """Parameters of ``schedule_add``."""

    item: Any = Field(MISSING, description="the function, as for ``task_submit``")
    recurring: RecurringModel = Field(
        description="``interval_s`` (with ``initial_delay_s`` and ``mode``: ``after_completion`` or "
        "``fixed_rate``) or ``cron`` (with ``timezone``); ``max_executions``; ``catch_up``: ``none`` or "
        "``one`` of what was due while the daemon was down"
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="options of each task, as for ``task_submit``"
    )


class ScheduleSelector(NamedValues):
    """Which schedules: all conditions must hold; of a list, one value."""

    schedule_uid: Texts | None = None
    task_type: Texts | None = None
    domain: Texts | None = None
    group: Texts | None = None
    user: Texts | None = None
    paused: bool | None = None


class ListParams(Params):
    """Parameters of ``schedule_list``."""

    selector: ScheduleSelector | None = Field(
        None,
        description="which ones: ``schedule_uid``, ``task_type``, ``domain``, ``group``, ``user``, "
        "``paused``; default: all",
    )


class ScheduleParams(LockParams):
    """Parameters of methods that name a schedule."""

    schedule_uid: Uid = Field(description="UID of the schedule")


class ResumeParams(ScheduleParams):
    """Parameters of ``schedule_resume``."""

    catch_up: AnyCatchUp | None = Field(
        None, description="of what was due meanwhile, come ``none`` or ``one``; default: as the schedule says"
    )


class CancelParams(ScheduleParams):
    """Parameters of ``schedule_cancel``."""

    cancel_current: bool = Field(False, description="cancel the task that waits or runs at present, too")


_NONE = fixed(schedule=None)


@verb("schedule_add", AddParams, lock=LockScope.QUEUE, fillers=fixed(schedule_uid=None, next_run=None))
async def schedule_add(manager: Manager, params: AddParams) -> Reply:
    """Begin a schedule: an object of its own with a fixed UID, each of whose occurrences is a task.

    Whatever becomes of one occurrence, the schedule goes on. One that is due while the one before it has not
    ended is left out and counted. A schedule that is over is forgotten; its tasks stay.
    """
    item = check_form(params.item, FUNCTIONS)
    user, group = user_of(manager.catalogue, params.user, params.user_group)
    given = params.recurring
    recurrence = Recurrence(
        interval_s=given.interval_s,
        mode=given.mode,
        initial_delay_s=given.initial_delay_s,
        cron=given.cron,
        timezone=given.timezone,
        max_executions=given.max_executions,
    )
    order = Order(item, params.options, user, group, asked_by.get())
    service = manager.controls.schedules
    schedule = await service.add(recurrence, order, given.catch_up)
    return {
        "schedule_uid": schedule.schedule_uid,
        "next_run": schedule.next_run,
        "schedule": service.describe(schedule),
    }


@verb("schedule_list", ListParams, fillers=fixed(schedules=[], next_run_after=None, schedules_uid=None))
def schedule_list(manager: Manager, params: ListParams) -> Reply:
    """Return the schedules: when they are due, how often they were, what became of the last occurrence.

    ``next_run_after`` is when the next one of all schedules is due; ``schedules_uid`` changes whenever a
    schedule does.
    """
    wanted: dict[str, Any] = {}
    for name, value in (params.selector.model_dump(exclude_none=True) if params.selector else {}).items():
        wanted[name] = value if isinstance(value, list) else [value]
    service = manager.controls.schedules
    return {
        "schedules": service.matching(wanted),
        "next_run_after": service.all.next_wakeup(),
        "schedules_uid": manager.state.schedules_uid,
    }


@verb("schedule_pause", ScheduleParams, lock=LockScope.QUEUE, fillers=_NONE)
async def schedule_pause(manager: Manager, params: ScheduleParams) -> Reply:
    """Let no occurrence come until ``schedule_resume``; the present one goes on."""
    service = manager.controls.schedules
    return {"schedule": service.describe(await service.pause(params.schedule_uid))}


@verb("schedule_resume", ResumeParams, lock=LockScope.QUEUE, fillers=_NONE)
async def schedule_resume(manager: Manager, params: ResumeParams) -> Reply:
    """Go on with a schedule that was paused."""
    service = manager.controls.schedules
    return {"schedule": service.describe(await service.resume(params.schedule_uid, params.catch_up))}


@verb("schedule_cancel", CancelParams, lock=LockScope.QUEUE, fillers=_NONE)
async def schedule_cancel(manager: Manager, params: CancelParams) -> Reply:
    """End a schedule for good; ``schedule`` is what it was."""
    service = manager.controls.schedules
    schedule = await service.cancel(params.schedule_uid, cancel_current=params.cancel_current)
    return {"schedule": service.describe(schedule)}
