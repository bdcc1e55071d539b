"""Figures: how much waits and runs, how fast it goes, what fails."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from remanager.manager.manager import Manager
from remanager.verbs.registry import Params, verb
from remanager.verbs.selectors import SelectorModel, selector_of
from remanager.wire.codec import Reply

Section = Literal["summary", "queue", "rates", "types", "io", "workers", "counters"]
Uid = Annotated[str, Field(min_length=1, max_length=200)]


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

    The type of a task is the name of its function or plan. Windows have a number for each of 20 minutes, the
    oldest first; the last one is not over yet. Rates count successes per second; the error rate is the part of
    failures in failures and successes. Counters are since the start of the manager; ``since_ever`` survives it.
    """
    return await manager.statistics_view.stats(params.sections, params.worker_uid)
