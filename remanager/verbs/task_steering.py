"""Steering tasks: cancelling, retrying, changing, holding and deleting them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from remanager.engine.task_queue.scopes import Scope
from remanager.manager.manager import Manager
from remanager.manager.task_queue.cancelling import refuse_single
from remanager.manager.task_queue.holding import Held
from remanager.manager.task_queue.submission import MAX_TAGS, Name, Positive, TagKey, TagValue
from remanager.model.errors import Conflict, InvalidParams, NotFound
from remanager.model.selector import Selector
from remanager.model.task_spec import YEAR_S
from remanager.verbs.registry import LockParams, LockScope, Params, fixed, verb
from remanager.verbs.selectors import SelectorModel, Uid, selector_of
from remanager.verbs.task_questions import Uids
from remanager.wire.codec import Reply

MAX_LISTED = 10_000
"""UIDs of each kind that an answer lists; ``counts`` has the numbers of all."""

Reason = Annotated[str, Field(max_length=500)]
Patience = Annotated[float, Field(ge=0, le=YEAR_S, allow_inf_nan=False)]


Time = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]
PauseScope = Literal["all", "domain", "task_type", "group", "schedule", "task"]


class CancelParams(LockParams):
    """Parameters of ``task_cancel``."""

    task_uid: Uids | None = Field(None, description="UID of a task, or a list")
    selector: SelectorModel | None = Field(None, description="in place of it: which tasks")
    reason: Reason = Field("cancelled", description="words for the record")
    cascade: bool = Field(True, description="cancel their children, and the children of these, too")
    kill_after_s: Patience | None = Field(
        None,
        description="kill a worker of the pool that has not stopped it then (s); default: as the task says",
    )
    dry_run: bool = Field(False, description="only tell what would happen")


class RetryParams(LockParams):
    """Parameters of ``task_retry``."""

    task_uid: Uids | None = Field(None, description="UID of an ended task, or a list")
    selector: SelectorModel | None = Field(
        None, description="in place of it: which tasks; those that failed, unless it names states"
    )
    reset_attempts: bool = Field(
        True, description="they may be retried as often as at first; false: as often as was left"
    )
    again: bool = Field(False, description="also those that were retried before")


class ChangesModel(Params):
    """What may be changed of an active task; null takes a time away."""

    priority: Annotated[int, Field(ge=0, le=255)] = 0
    group: Name = ""
    tags: Annotated[dict[TagKey, TagValue], Field(max_length=MAX_TAGS)] = Field(default_factory=dict)
    label: Annotated[str, Field(max_length=1000)] = ""
    run_after: Time | None = None
    ttl_s: Positive | None = None
    timeout_s: Positive | None = None
    max_retries: Annotated[int, Field(ge=0, le=1000)] = 0


class UpdateParams(LockParams):
    """Parameters of ``task_update``."""

    task_uid: Uid = Field(description="UID of an active task")
    changes: ChangesModel = Field(
        description="some of ``priority``, ``group``, ``tags`` (all of them), ``label``, ``run_after``, "
        "``ttl_s``, ``timeout_s``, ``max_retries``"
    )


class ResumeParams(LockParams):
    """Parameters of ``task_resume``."""

    scope: PauseScope = Field(
        description="``all``, ``domain``, ``task_type``, ``group``, ``schedule``, or ``task``"
    )
    name: Name = Field("", description="name in the scope, UID of the schedule or task; none for ``all``")


class PauseParams(ResumeParams):
    """Parameters of ``task_pause``."""

    until: Time | None = Field(None, description="go on by itself at this time (epoch seconds)")
    running: Literal["finish", "interrupt"] = Field(
        "finish", description="what runs may ``finish``, or is told to stop and waits (``interrupt``)"
    )
    reason: Reason = Field("", description="words for the record")


class PruneParams(LockParams):
    """Parameters of ``task_prune``."""

    keep: Annotated[int, Field(ge=0)] | None = Field(None, description="so many stay: those that ended last")
    max_age_s: Patience | None = Field(None, description="only those that ended so long ago (s)")
    selector: SelectorModel | None = Field(None, description="which tasks; default: all that have ended")
    dry_run: bool = Field(False, description="only tell how many it would be")


async def _chosen(
    params: CancelParams | RetryParams, select: Callable[[Selector], Awaitable[Sequence[str]]]
) -> Sequence[str]:
    """Return the UIDs of the tasks that are named, or selected."""
    if (params.task_uid is None) == (params.selector is None):
        raise InvalidParams("Give either 'task_uid' or 'selector'")
    if params.selector is not None:
        return await select(selector_of(params.selector, must_say=True))
    return [params.task_uid] if isinstance(params.task_uid, str) else list(params.task_uid or ())


@verb("task_cancel", CancelParams, lock=LockScope.QUEUE, fillers=fixed(cancelled=[], cancelling=[]))
async def task_cancel(manager: Manager, params: CancelParams) -> Reply:
    """Cancel tasks: those that wait end at once, those that run are told to stop and may be killed later.

    ``cancelled`` has the UIDs of those that have ended, ``cancelling`` of those that are being stopped,
    ``already_terminal`` and ``not_found`` of those that had ended before or are not known, ``cascaded`` of
    descendants that were stopped along with them. Each list has 10 000 UIDs at most, ``counts`` the numbers
    of all. Items of the plan queue are removed from it. What can't be
    cancelled (the running plan, what the environment executes) is in ``refused`` with the reason; a single
    one is refused altogether. With ``kill_after_s`` 0 a running task is killed with its worker.
    """
    canceller = manager.controls.canceller
    uids = await _chosen(params, canceller.select)
    told = await canceller.cancel(
        uids,
        params.reason or "cancelled",
        cascade=params.cascade,
        kill_after_s=params.kill_after_s,
        dry_run=params.dry_run,
    )
    if isinstance(params.task_uid, str):
        refuse_single(told)
    lists: dict[str, Any] = {
        "cancelled": told.cancelled,
        "cancelling": told.cancelling,
        "already_terminal": told.already_terminal,
        "not_found": told.not_found,
        "cascaded": told.cascaded,
    }
    return {
        **{name: found[:MAX_LISTED] for name, found in lists.items()},
        "refused": told.refused,
        "counts": {name: len(found) for name, found in lists.items()},
        "dry_run": params.dry_run,
    }


@verb("task_retry", RetryParams, lock=LockScope.QUEUE, fillers=fixed(resubmitted={}, skipped={}))
async def task_retry(manager: Manager, params: RetryParams) -> Reply:
    """Submit tasks anew that have ended without success; the new ones have the old one as ``origin_uid``.

    ``resubmitted`` has the new UID by the old one, ``skipped`` why others were not: a single one is refused
    altogether. What was retried before is skipped unless ``again`` is true; its record names the newest one
    (``retried_as``). So is what has the key of an active task, whatever its ``on_duplicate`` says. Tasks that
    are retried together need each other as before. ``resubmitted`` and ``skipped`` have 10 000 tasks at most,
    ``counts`` the numbers of all.
    """
    retries = manager.controls.retries
    uids = await _chosen(params, retries.select)
    told = await retries.retry(uids, reset_attempts=params.reset_attempts, again=params.again)
    if isinstance(params.task_uid, str) and told.skipped:
        text = f"The task '{params.task_uid}' is not retried: {told.skipped[params.task_uid]}"
        raise NotFound(text) if told.not_found else Conflict(text)
    return {
        "resubmitted": dict(list(told.resubmitted.items())[:MAX_LISTED]),
        "skipped": dict(list(told.skipped.items())[:MAX_LISTED]),
        "counts": {"resubmitted": len(told.resubmitted), "skipped": len(told.skipped)},
    }


@verb("task_update", UpdateParams, lock=LockScope.QUEUE, fillers=fixed(task=None))
async def task_update(manager: Manager, params: UpdateParams) -> Reply:
    """Change an active task; ``task`` is its record afterwards.

    A running task can have another priority only for its next attempt, and cannot be delayed.
    """
    changes = params.changes.model_dump(exclude_unset=True)
    if not changes:
        raise InvalidParams("'changes' is empty")
    await manager.controls.edits.update(params.task_uid, changes)
    found = await manager.questions.info(params.task_uid, ())
    return {"task": found["task"]}


_HELD = fixed(scope=None, name=None, held_count=0, interrupted=[], resumed_count=0)


def _scope(params: ResumeParams) -> Scope | None:
    if (params.scope == "all") == bool(params.name):
        raise InvalidParams("Give a 'name' for each scope but 'all', which has none")
    return None if params.scope == "task" else Scope(params.scope)


def _require_schedule(manager: Manager, uid: str) -> None:
    """Refuse what is no schedule, and was not one of which tasks are left: nothing would end such a pause."""
    cards = manager.task_queue.scheduler.cards.values()
    if not any(card.spec.schedule_uid == uid for card in cards):
        manager.controls.schedules.all.get(uid)


def _told(params: ResumeParams, held: Held) -> Reply:
    return {
        "scope": params.scope,
        "name": params.name,
        "held_count": held.held_count,
        "interrupted": held.interrupted,
        "resumed_count": held.resumed_count,
    }


@verb("task_pause", PauseParams, lock=LockScope.QUEUE, fillers=_HELD)
async def task_pause(manager: Manager, params: PauseParams) -> Reply:
    """Hold the tasks of a scope, also those that are yet to be submitted, or a single task.

    It takes effect at once and survives a restart. A task goes on when nothing holds it any more; its
    ``pause_reasons`` say what does. Its time to live goes on meanwhile. ``held_count`` is the number of tasks
    that wait and are held, ``interrupted`` has the UIDs of running ones that are told to stop. One that does
    not listen goes on to its end or its time-out.
    """
    scope = _scope(params)
    if scope is Scope.SCHEDULE:
        _require_schedule(manager, params.name)
    held = await manager.controls.holds.pause(
        scope,
        params.name,
        until=params.until,
        interrupt=params.running == "interrupt",
        reason=params.reason,
    )
    return _told(params, held)


@verb("task_resume", ResumeParams, lock=LockScope.QUEUE, fillers=_HELD)
async def task_resume(manager: Manager, params: ResumeParams) -> Reply:
    """Undo ``task_pause`` of the same scope; ``resumed_count`` is the number of tasks that go on.

    Without such a pause nothing happens.
    """
    return _told(params, await manager.controls.holds.resume(_scope(params), params.name))


@verb("task_prune", PruneParams, lock=LockScope.QUEUE, fillers=fixed(deleted=0, archived=0))
async def task_prune(manager: Manager, params: PruneParams) -> Reply:
    """Delete tasks that have ended, with their results; with an archive, they are written to it before.

    Plans of the history stay until that is cleared. The newest task of all may stay as well.
    """
    if params.keep is None and params.max_age_s is None and params.selector is None:
        raise InvalidParams("Give 'keep', 'max_age_s' or 'selector'")
    selector = selector_of(params.selector, must_say=params.keep is None and params.max_age_s is None)
    pruned = await manager.controls.keeper.prune(
        selector, keep=params.keep, max_age_s=params.max_age_s, dry_run=params.dry_run
    )
    return {"deleted": pruned.deleted, "archived": pruned.archived, "dry_run": params.dry_run}
