"""Limits: how many tasks of a scope run at once, how many start per time, and which share is theirs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from remanager.engine.task_queue.limits import LimitSpec, Rate
from remanager.engine.task_queue.scopes import Scope
from remanager.manager.manager import Manager
from remanager.manager.task_queue.submission import Name
from remanager.model.errors import InvalidParams
from remanager.verbs.registry import LockParams, LockScope, Params, fixed, verb
from remanager.wire.codec import Reply

Number = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**9)]
LimitScope = Literal["all", "domain", "task_type", "group", "user"]

_SCOPES = "``all``, ``domain``, ``task_type``, ``group`` or ``user``"


class RateModel(Params):
    """``permits`` starts per ``interval_s``; ``burst`` at once after a pause."""

    permits: Number = Field(description="so many start")
    interval_s: Number = Field(1.0, description="in this time (s)")
    burst: Number | None = Field(
        None, description="so many at once after a pause; default: the permits of one interval"
    )


class SetParams(LockParams):
    """Parameters of ``limit_set``."""

    scope: LimitScope = Field(description=f"which tasks: {_SCOPES}")
    name: Name = Field("", description="name of the domain, type, group or user; none for ``all``")
    max_running: Count | None = Field(None, description="at most so many run at once; null: any number")
    weight: Number = Field(
        1.0,
        description="share of a group or a user, relative to others, which have 1; users come before groups",
    )
    min_slots: Count = Field(0, description="so many tasks of a group start before those of others")
    rate: RateModel | None = Field(
        None, description="how many start per time: ``{permits, interval_s, burst}``"
    )


class RemoveParams(LockParams):
    """Parameters of ``limit_remove``."""

    scope: LimitScope = Field(description=_SCOPES)
    name: Name = Field("", description="name in the scope; none for ``all``")


class ListParams(Params):
    """Parameters of ``limit_list``."""

    scope: LimitScope | None = Field(None, description="only limits of this scope")
    name: Name | None = Field(None, description="only limits with this name")


_NONE = fixed(limits=[], limits_uid=None)


@verb("limit_set", SetParams, lock=LockScope.QUEUE, fillers=_NONE)
async def limit_set(manager: Manager, params: SetParams) -> Reply:
    """Put a limit in force, in place of the one of the same scope and name; it survives a restart.

    A scope that is full does not hold up others. Tasks that run go on, also if there are more than allowed.
    There are no limits by worker: each runs one task at a time, and how many there are is an option.

    The best priority starts first. Among equals the user that has had the least time of the workers by
    ``weight`` starts, then, of this user's tasks, the group: the ``weight`` of a group counts among tasks of
    one user, or of users that have had equally much; where each group has a user of its own, weigh the users.
    Absence earns no credit. Weights below 1e-6 or above 1e6 count as these. A restart of the manager forgets
    what was used; what still runs counts. A group below its ``min_slots`` comes before all. The answer is
    that of ``limit_list``.
    """
    rate = params.rate
    spec = LimitSpec(
        scope=Scope(params.scope),
        name=params.name,
        max_running=params.max_running,
        weight=params.weight,
        min_slots=params.min_slots,
        rate=None if rate is None else Rate(rate.permits, rate.interval_s, rate.burst),
    )
    is_weighed = "weight" in params.model_fields_set and spec.scope in (Scope.GROUP, Scope.USER)
    if not is_weighed and (spec.max_running, spec.min_slots, spec.rate) == (None, 0, None):
        raise InvalidParams(
            "Nothing is limited: give 'max_running', 'min_slots', 'rate' or, for groups and users, 'weight'"
        )
    await manager.controls.limits.set(spec)
    return _answer(manager)


@verb("limit_remove", RemoveParams, lock=LockScope.QUEUE, fillers=_NONE)
async def limit_remove(manager: Manager, params: RemoveParams) -> Reply:
    """Lift a limit. The answer is that of ``limit_list``."""
    await manager.controls.limits.remove(Scope(params.scope), params.name)
    return _answer(manager)


@verb("limit_list", ListParams, fillers=_NONE)
def limit_list(manager: Manager, params: ListParams) -> Reply:
    """Return the limits with what they do: how many tasks run, the tokens left, how often they held back.

    ``allocated_slots`` tells how many workers would fall to a group by weights and minimums of groups alone;
    priorities and shares of users, which come first, are not looked at.
    ``limits_uid`` changes whenever a limit is set or lifted.
    """
    return _answer(manager, None if params.scope is None else Scope(params.scope), params.name)


def _answer(manager: Manager, scope: Scope | None = None, name: str | None = None) -> Reply:
    return {"limits": manager.controls.limits.list(scope, name), "limits_uid": manager.state.limits_uid}
