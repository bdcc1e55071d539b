"""Figures: how much waits and runs, how fast it goes, what fails."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from remanager.manager.manager import Manager
from remanager.manager.snapshot_view import Part
from remanager.manager.task_queue.history import Metric
from remanager.manager.task_queue.submission import Name
from remanager.model.errors import InvalidParams
from remanager.verbs.registry import Params, fixed, verb
from remanager.verbs.selectors import SelectorModel, Uid, selector_of
from remanager.wire.codec import Reply

Section = Literal["summary", "queue", "rates", "types", "io", "workers", "counters"]
AnyPart = Annotated[Part, Field(strict=False)]
Time = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]


class QueueStatusParams(Params):
    """Parameters of ``queue_status``."""

    selector: SelectorModel | None = Field(
        None, description="which tasks, such as those of a user; default: all"
    )
    group_by: Literal["user", "domain", "task_type", "group"] | None = Field(
        None, description="a lane for each value of this; default: for each user, domain and type"
    )


class StatsParams(Params):
    """Parameters of ``stats``."""

    sections: list[Section] | None = Field(None, description="parts of the answer; all by default")
    worker_uid: Uid | None = Field(None, description="only this worker in ``workers``")
    scope: Literal["local", "leader"] = Field(
        "local", description="there is one manager: both give the same answer"
    )


@verb("queue_status", QueueStatusParams)
async def queue_status(manager: Manager, params: QueueStatusParams) -> Reply:
    """Return how much work waits, is ready and runs, in all and by lane.

    ``queued`` tasks have been accepted and not handed to a worker; of these, ``ready`` could start now and
    ``delayed`` wait for a time. ``unacked`` tasks have been handed over and have not ended. ``plan_queue`` is
    always that of all users. With nothing queued all numbers are zero.
    """
    return await manager.queue_view.status(selector_of(params.selector), params.group_by)


@verb("stats", StatsParams)
async def stats(manager: Manager, params: StatsParams) -> Reply:
    """Return health, depths, rates over 1, 5 and 20 minutes, per-minute windows by type, and counters.

    ``health`` is that of the daemon; what the rules of ``alert_rule_set`` raise does not change it. The type
    of a task is the name of its function or plan. Windows have a number for each of 20 minutes, the oldest
    first; the last one is not over yet. Of a type ``done_tasks_cnt`` has all that have ended,
    ``succeeded_tasks_cnt`` those that succeeded. Rates count successes per second; the error rate is the part
    of failures in failures and successes. Counters are since the start of the manager; those in
    ``since_ever`` survive it, but for what was counted in the last minute before a crash. Beside those of
    tasks are those of the control socket: what it ``received``, ``replied``, refused and dropped, and
    ``internal_errors``.
    """
    return await manager.statistics_view.stats(params.sections, params.worker_uid)


class TypeStatsParams(Params):
    """Parameters of ``type_stats``."""

    task_type: Name | Annotated[list[Name], Field(max_length=100)] = Field(description="a type, or a list")
    since: Time | None = Field(None, description="only tasks that ended then or later (epoch seconds)")
    sample: Annotated[int, Field(ge=1, le=10_000)] = Field(
        500, description="times, bytes and rates are of so many tasks, those that ended last"
    )


class SnapshotParams(Params):
    """Parameters of ``snapshot``."""

    selector: SelectorModel | None = Field(
        None, description="which tasks, such as those of a domain; default: all"
    )
    parts: list[AnyPart] | None = Field(None, description="parts of the answer; all by default")


class HistoryParams(Params):
    """Parameters of ``stats_history``."""

    metric: Annotated[Metric, Field(strict=False)] = Field(
        description=f"one of {', '.join(f'``{m}``' for m in Metric)}"
    )
    task_type: Name | None = Field(None, description="of this type; default: of all")
    begin: Time | None = Field(None, alias="from", description="epoch seconds; default: an hour ago")
    end: Time | None = Field(None, alias="to", description="epoch seconds; default: now")
    step_s: Annotated[int, Field(ge=60, le=10**7, multiple_of=60)] = Field(
        60, description="whole minutes, in s"
    )


@verb("type_stats", TypeStatsParams, fillers=fixed(types={}))
async def type_stats(manager: Manager, params: TypeStatsParams) -> Reply:
    """Return what became of the tasks of a type: how many, how long they took, how often they failed.

    ``count`` and ``count_by_state`` are of all ended tasks that are kept; with ``since``, of the sampled
    ones. Durations and bytes are those of successful tasks. ``failure_rate`` is the part of failures in
    failures and successes, ``retry_rate`` the part of tasks with more than one attempt.
    """
    names = [params.task_type] if isinstance(params.task_type, str) else params.task_type
    return {"types": await manager.statistics_view.type_stats(names, params.since, params.sample)}


@verb("snapshot", SnapshotParams)
async def snapshot(manager: Manager, params: SnapshotParams) -> Reply:
    """Return everything that a dashboard shows.

    ``running`` has the records of what runs (at most 1000), ``counts`` the active tasks by state,
    ``pressure`` how far the most used of ``pressure_sources`` is used up (0 to 1), ``groups`` how the places
    are divided: ``allocated_slots`` by weights and minimums of groups alone, as in ``limit_list``.
    """
    return await manager.snapshot_view.snapshot(selector_of(params.selector), params.parts)


@verb("stats_history", HistoryParams, fillers=fixed(points=[]))
async def stats_history(manager: Manager, params: HistoryParams) -> Reply:
    """Return a figure over time as ``points``: begin of the step (epoch seconds) and value.

    There is one value for each minute that is over. With a longer step counts are added up and other figures
    averaged. Minutes of which nothing is known are left out; of a single type, also those without any.
    """
    now = manager.clock()
    end = now if params.end is None else params.end
    begin = end - 3600.0 if params.begin is None else params.begin
    if begin > end:
        raise InvalidParams("'from' is later than 'to'")
    points = await manager.figures_history.points(
        params.metric, params.task_type or "", begin, end, params.step_s
    )
    return {"points": points}
