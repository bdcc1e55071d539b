"""Schedules: tasks that are submitted again and again, by interval or by cron expression."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

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


_OF_INTERVAL = frozenset(("initial_delay_s", "mode"))
_OF_CRON = frozenset(("timezone",))


class RecurringModel(Params):
    """When a schedule is due: by ``interval_s`` or by ``cron``."""

    interval_s: Seconds | None = Field(None, description="time between two occurrences (s)")
    initial_delay_s: Seconds = Field(0.0, description="with ``interval_s``: time before the first one (s)")
    mode: Annotated[RecurrenceMode, Field(strict=False)] = Field(
        RecurrenceMode.AFTER_COMPLETION,
        description="the interval counts from the end of an occurrence (``after_completion``), or from when "
        "it was due (``fixed_rate``)",
    )
    cron: Annotated[str, Field(max_length=MAX_CRON_CHARS)] | None = Field(
        None,
        description="in place of ``interval_s``: minute, hour, day of the month, month and day of the week, "
        "in ``timezone``; ``0 3 * * *`` is 3:00 UTC each day",
    )
    timezone: Annotated[str, Field(max_length=100)] = Field(
        "UTC", description="time zone of ``cron``, such as ``Europe/Berlin``"
    )
    max_executions: Annotated[int, Field(ge=1)] | None = Field(
        None, description="the schedule ends after so many occurrences; default: it goes on"
    )
    catch_up: AnyCatchUp = Field(
        CatchUp.NONE,
        description="of what was due while the daemon was down or the schedule was paused, come ``none`` or "
        "``one``",
    )

    @model_validator(mode="after")
    def _has_one_kind(self) -> Self:
        kind, of_other = ("cron", _OF_INTERVAL) if self.cron is not None else ("interval_s", _OF_CRON)
        if stray := sorted(self.model_fields_set & of_other):
            raise ValueError(f"has {', '.join(map(repr, stray))}, which says nothing of '{kind}'")
        return self


class AddParams(UserParams):
    """Parameters of ``schedule_add``."""

    item: Any = Field(MISSING, description="the function, as for ``task_submit``")
    recurring: RecurringModel = Field(
        description="when: ``interval_s``, or ``cron`` (in UTC unless ``timezone`` says otherwise), and "
        "the rest"
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="[options](#options-of-a-task) of each task, but for ``run_after``, ``parent_uid`` and "
        "``depends_on``",
    )


class ScheduleSelector(NamedValues):
    """Which schedules: all conditions must hold; of a list, one value."""

    schedule_uid: Texts | None = Field(None, description="UID of the schedule")
    task_type: Texts | None = Field(None, description="name of the function")
    domain: Texts | None = Field(None, description="domain of its tasks")
    group: Texts | None = Field(None, description="group of its tasks")
    user: Texts | None = Field(None, description="name of the user")
    paused: bool | None = Field(None, description="whether it is paused")


class ListParams(Params):
    """Parameters of ``schedule_list``."""

    selector: ScheduleSelector | None = Field(
        None, description="which ones: all conditions hold, of a list one value; default: all"
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
