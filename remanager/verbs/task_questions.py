"""Questions about tasks of all kinds: plans, functions, scripts, and tasks of the task queue."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from remanager.manager.manager import Manager
from remanager.manager.task_queue.questions import TaskQuestions
from remanager.manager.task_queue.record import FIELDS
from remanager.model.errors import InvalidParams, NotFound
from remanager.model.states import NOT_FOUND
from remanager.store.page_plan import Order
from remanager.verbs.registry import Params, fixed, verb
from remanager.verbs.selectors import SelectorModel, Uid, selector_of
from remanager.verbs.tasks import MAX_UIDS, Wait
from remanager.wire.codec import Reply

Uids = Uid | Annotated[list[Uid], Field(max_length=MAX_UIDS)]
Part = Literal["transitions", "attempts", "dependents", "children", "result"]


class InfoParams(Params):
    """Parameters of ``task_info``."""

    task_uid: Uid | None = Field(None, description="UID of the task")
    task_type: str | None = Field(None, description="in place of the UID: the type, together with ``key``")
    key: str | None = Field(None, description="key of the task; the newest one counts")
    include: list[Part] = Field(
        default_factory=list,
        description="further parts: ``transitions``, ``attempts``, ``dependents``, ``children``, ``result``",
    )


class ListParams(Params):
    """Parameters of ``task_list``."""

    selector: SelectorModel | None = Field(None, description="which tasks; default: all")
    order: Annotated[Order, Field(strict=False)] = Field(
        Order.CREATED,
        description="``created`` (newest first), ``finished``, ``dispatch`` or ``priority``",
    )
    limit: Annotated[int, Field(ge=1, le=1000)] = Field(100, description="at most so many")
    cursor: Annotated[str, Field(max_length=1000)] | None = Field(
        None, description="``next_cursor`` of the page before"
    )
    offset: Annotated[int, Field(ge=0, le=10**9)] = Field(0, description="skip so many; slower than a cursor")
    fields: Annotated[list[str], Field(max_length=100)] | None = Field(
        None, description="only these keys of each task"
    )


class CountParams(Params):
    """Parameters of ``task_count``."""

    selector: SelectorModel | None = Field(None, description="which tasks; default: all")
    group_by: Annotated[str, Field(max_length=200)] | None = Field(
        None,
        description="count by ``state``, ``class``, ``task_type``, ``domain``, ``group``, ``user``, "
        "``priority``, ``item_type``, ``job_uid``, ``worker_uid`` or ``tag:KEY``",
    )


class WaitParams(Params):
    """Parameters of ``task_wait``."""

    task_uid: Uids | None = Field(None, description="UIDs to wait for")
    job_uid: Uid | None = Field(None, description="the tasks of this job")
    selector: SelectorModel | None = Field(None, description="the tasks that are selected now")
    until: Literal["any", "all", "idle"] = Field(
        "all", description="``any``, ``all``, or ``idle``: none that is selected is active, new ones neither"
    )
    timeout: Wait = Field(10.0, description="how long to wait (s, at most 60)")


class ResultsParams(Params):
    """Parameters of ``task_result_batch``."""

    task_uid: Annotated[list[Uid], Field(max_length=1000)] = Field(description="UIDs of tasks")
    fields: list[str] | None = Field(None, description="only these keys of each result")


class JobParams(Params):
    """Parameters of ``job_status``."""

    job_uid: Uids | None = Field(None, description="UID of a job, or a list")
    selector: SelectorModel | None = Field(None, description="in place of it: tasks that are seen as one")


class TagParams(Params):
    """Parameters of ``tag_list``."""

    prefix: str | None = Field(None, description="keys of tags that begin so; default: all keys")
    key: str | None = Field(None, description="the values of this key instead")
    selector: SelectorModel | None = Field(None, description="of which tasks; default: all")


class ProgressParams(Params):
    """Parameters of ``task_progress``."""

    selector: SelectorModel | None = Field(None, description="which tasks; default: all that run")


@verb("task_info", InfoParams, fillers=fixed(location=NOT_FOUND, task=None))
async def task_info(manager: Manager, params: InfoParams) -> Reply:
    """Return everything that is known of a task.

    ``location`` is ``active``, ``history`` (it has ended) or ``not_found``; ``task`` is its record and
    ``progress`` how far it is. Of the record, ``worker_uid`` is the worker to which it was assigned,
    ``lease_expires_at`` when that one loses it if it stays silent, ``resource_lock`` what it needs for
    itself, and ``attempt`` how often it was tried. ``retry`` and ``kill_after_s`` are null for plans and
    what else the task queue does not run.
    """
    uid = params.task_uid
    if (uid is None) == (params.key is None) or (params.key is None) != (params.task_type is None):
        raise InvalidParams("Give either 'task_uid', or 'task_type' and 'key'")
    if uid is None:
        uid = await manager.questions.uid_of_key(str(params.task_type), str(params.key))
    if uid is None:
        return {"location": NOT_FOUND, "task": None, "progress": None}
    try:
        found = await manager.questions.info(uid, params.include)
    except NotFound:
        return {"location": NOT_FOUND, "task": None, "progress": None}
    if "result" in params.include:
        found["result"] = (await manager.tasks.result(uid))["result"]
    return found


@verb("task_list", ListParams, fillers=fixed(tasks=[], total=0, next_cursor=None))
async def task_list(manager: Manager, params: ListParams) -> Reply:
    """Return the records of tasks, a page at a time.

    ``total`` is the number of selected tasks. ``next_cursor`` leads to the next page, also while tasks come
    and go; it is null after the last one. A page ends before its ``limit`` when the items of its tasks have
    more than 16 million characters. ``task_list_uid`` changes whenever a task of the queue does.
    """
    if unknown := sorted(set(params.fields or ()).difference(FIELDS)):
        raise InvalidParams(f"The records of tasks have no {unknown}, only {', '.join(FIELDS)}")
    tasks, page = await manager.questions.page(
        selector_of(params.selector),
        order=params.order,
        limit=params.limit,
        cursor=params.cursor,
        offset=params.offset,
        fields=params.fields,
    )
    return {
        "tasks": tasks,
        "total": page.total,
        "next_cursor": page.next_cursor,
        "task_list_uid": manager.state.task_list_uid,
    }


@verb("task_count", CountParams, fillers=fixed(total=0, counts=[]))
async def task_count(manager: Manager, params: CountParams) -> Reply:
    """Return the number of tasks; with ``group_by`` also by a value, the most frequent first.

    All numbers are of the same moment: they add up to ``total``.
    """
    found = await manager.questions.count(selector_of(params.selector), params.group_by)
    counts = [{"value": value, "count": number} for value, number in found.counts]
    return {"total": found.total, "counts": counts, "others": found.others}


@verb("task_wait", WaitParams, fillers=fixed(done={}, active=[], not_found=[]))
async def task_wait(manager: Manager, params: WaitParams) -> Reply:
    """Wait until tasks have ended; the answer comes at once when they have.

    ``done`` has the states of those that have ended, ``active`` the UIDs of the others, ``not_found`` those
    that nobody knows, also that of a job without any task: these are never waited for. With ``timed_out``
    true the time was over. ``any`` and ``all`` are refused where more than 20 000 tasks are selected;
    ``idle`` waits for any number of them, with at most so many in ``active`` and none in ``done``.
    """
    begin, questions = manager.clock(), manager.questions
    given = [params.task_uid, params.job_uid, params.selector]
    if sum(g is not None for g in given) != 1:
        raise InvalidParams("Give one of 'task_uid', 'job_uid' and 'selector'")
    done: dict[str, Any] = {}
    named = [params.task_uid] if isinstance(params.task_uid, str) else params.task_uid or []
    if params.until == "idle":
        active = await questions.wait_idle(_waited_for(params), params.timeout)
        unknown = questions.unknown(named)
    else:
        uids = await questions.to_wait_for(_waited_for(params)) if params.task_uid is None else named
        waited = await questions.wait(uids, params.until, params.timeout)
        done, active, unknown = dict(waited.done), waited.active, waited.not_found
    if params.job_uid is not None and not (done or active or await _has_tasks(questions, params)):
        unknown = [params.job_uid]
    over = not active or (params.until == "any" and bool(done))
    return {
        "done": done,
        "active": active,
        "not_found": unknown,
        "timed_out": not over,
        "waited_s": manager.clock() - begin,
    }


async def _has_tasks(questions: TaskQuestions, params: WaitParams) -> bool:
    return bool(await questions.uids(_waited_for(params), 1))


def _waited_for(params: WaitParams) -> Any:
    model = params.selector
    if params.job_uid is not None:
        model = SelectorModel.model_validate({"job_uid": params.job_uid})
    elif params.task_uid is not None:
        model = SelectorModel.model_validate({"task_uid": params.task_uid})
    return selector_of(model)


@verb("task_result_batch", ResultsParams, fillers=fixed(results={}))
async def task_result_batch(manager: Manager, params: ResultsParams) -> Reply:
    """Return ``status``, ``state`` and ``result`` of several tasks, as ``task_result`` does for one.

    Return values of more than 32 MiB together are refused: ask for fewer tasks at once.
    """
    results: dict[str, Any] = {}
    for uid, found in (await manager.tasks.results(params.task_uid)).items():
        result = found["result"]
        if params.fields is not None and isinstance(result, dict):
            found["result"] = {k: v for k, v in result.items() if k in params.fields}
        results[uid] = {"success": True, "msg": "", **found}
    return {"results": results}


@verb("job_status", JobParams, fillers=fixed(state=None))
async def job_status(manager: Manager, params: JobParams) -> Reply:
    """Return how far a job is: the tasks that were submitted with the same ``job_uid``.

    For a list of jobs, ``jobs`` has the answer for each, null for one that is not known. With a ``selector``
    the selected tasks are seen as one job.
    """
    if (params.job_uid is None) == (params.selector is None):
        raise InvalidParams("Give either 'job_uid' or 'selector'")
    if params.selector is not None:
        return await manager.questions.selected_job(selector_of(params.selector))
    if isinstance(params.job_uid, str):
        return await manager.questions.job(params.job_uid)
    jobs: dict[str, Any] = {}
    for uid in params.job_uid or ():
        try:
            jobs[uid] = await manager.questions.job(uid)
        except NotFound:
            jobs[uid] = None
    return {"jobs": jobs}


@verb("tag_list", TagParams, fillers=fixed(keys=[]))
async def tag_list(manager: Manager, params: TagParams) -> Reply:
    """Return the keys of tags, or the values of one key, with the number of tasks that have them."""
    if params.prefix is not None and params.key is not None:
        raise InvalidParams("Give 'prefix' or 'key', not both")
    selector = selector_of(params.selector)
    if params.key is not None:
        found = await manager.questions.count(selector, f"tag:{params.key}")
        return {"values": [{"value": v, "count": n} for v, n in found.counts if v is not None]}
    keys = await manager.questions.tag_keys(params.prefix or "", selector)
    return {"keys": [{"key": key, "count": number} for key, number in keys]}


@verb("task_progress", ProgressParams, fillers=fixed(progress=[]))
async def task_progress(manager: Manager, params: ProgressParams) -> Reply:
    """Return how far running tasks are: by what they report, and by how long their type takes.

    ``best`` is the best guess (0 to 1, null if nothing is known), ``percent`` the same as a whole number.
    """
    model = params.selector or SelectorModel.model_validate({"state": "running"})
    tasks, _page = await manager.questions.page(
        selector_of(model), order=Order.PRIORITY, limit=1000, cursor=None, offset=0, fields=None
    )
    keys = ("task_uid", "domain", "task_type", "label", "attempt")
    return {"progress": [{**{k: t[k] for k in keys}, **(t["progress"] or {})} for t in tasks]}
