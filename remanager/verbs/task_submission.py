"""Submitting tasks to the task queue."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field

from remanager.engine.task_queue.submission import OTHERS_REFUSED, SubmitOutcome, Submitted
from remanager.manager.items import FUNCTIONS, MISSING, check_form, prepare, user_of
from remanager.manager.manager import Manager
from remanager.manager.state import new_uid
from remanager.manager.task_queue.submission import MAX_PREREQUISITES
from remanager.model.errors import InvalidParams, RemanagerError
from remanager.model.task_spec import TaskSpec
from remanager.verbs.queue import UserParams, submitted_item
from remanager.verbs.registry import LockScope, NoParams, Refusal, fixed, verb
from remanager.wire.codec import Reply

MAX_BATCH = 20_000
SLICE = 100
"""Tasks of a batch that are checked in one go; other requests are answered in between."""

_QUOTED = re.compile("'([^']*)'")

Options = dict[str, Any]


class SubmitParams(UserParams):
    """Parameters of ``task_submit``."""

    item: Any = Field(
        MISSING, description="the function: ``item_type`` ``function``, name, args, kwargs, meta"
    )
    options: Options = Field(
        default_factory=dict, description="how it is treated: [options](#options-of-a-task)"
    )


class SubmitBatchParams(UserParams):
    """Parameters of ``task_submit_batch``."""

    items: Annotated[list[dict[str, Any]], Field(max_length=MAX_BATCH)] = Field(
        description="list of ``{item, options}``; the [options](#options-of-a-task) may be left out"
    )
    defaults: Options = Field(default_factory=dict, description="options of all that do not say otherwise")
    atomic: bool = Field(True, description="submit all or none")
    job_uid: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        None, description="the job that the tasks belong to; default: a new one"
    )


@verb("task_submit", SubmitParams, lock=LockScope.QUEUE, fillers=submitted_item)
async def task_submit(manager: Manager, params: SubmitParams) -> Reply:
    """Submit a task: a function of the task modules, run by a worker of the pool when its turn comes.

    ``outcome`` is ``inserted``, or what became of a duplicate: ``duplicate`` (an active task with the same
    key stays as it is), ``upgraded`` (its priority was raised), ``requeued`` (it will run once more),
    ``superseded`` (it was replaced) or ``rejected``. ``held`` tells the reasons for which the task is paused.
    """
    item = check_form(params.item, FUNCTIONS)
    user, group = user_of(manager.catalogue, params.user, params.user_group)
    queue = manager.task_queue
    await queue.need_functions()
    item = prepare(manager.catalogue, item, user, group)
    spec = queue.specs.make(item, params.options, manager.clock())
    (result,) = await queue.submit([spec])
    if result.error is not None:
        raise Refusal(result.error, item=item, outcome=result.outcome, existing_task_uid=result.existing_uid)
    return {**_told(result, {}), "item": item, "qsize": queue.size}


@verb(
    "task_submit_batch",
    SubmitBatchParams,
    lock=LockScope.QUEUE,
    fillers=fixed(job_uid=None, results=[], qsize=None),
)
async def task_submit_batch(manager: Manager, params: SubmitBatchParams) -> Reply:
    """Submit many tasks as one job; all in one transaction.

    ``results`` tells for each task ``success``, ``msg``, ``task_uid`` and ``outcome``, in order; ``counts``
    how often each outcome occurred. If one is refused, none is submitted, unless ``atomic`` is false.
    In ``depends_on`` a number stands for the task at this place of ``items``, counted from 0; tasks that
    would wait for each other are refused.
    """
    user, group = user_of(manager.catalogue, params.user, params.user_group)
    queue, job_uid, now = manager.task_queue, params.job_uid or new_uid(), manager.clock()
    await queue.need_functions()
    specs: dict[int, TaskSpec] = {}
    links: dict[int, list[int]] = {}
    refused: dict[int, RemanagerError] = {}
    for place, entry in enumerate(params.items):
        if place % SLICE == SLICE - 1:
            await asyncio.sleep(0)
        try:
            item, options = _entry(entry, params.defaults)
            item = prepare(manager.catalogue, check_form(item, FUNCTIONS), user, group)
            options, needs = _without_places(options)
            specs[place] = queue.specs.make(item, options, now, job_uid=job_uid)
            if needs:
                links[place] = needs
        except RemanagerError as exc:
            refused[place] = exc
    _link(specs, links)
    submitted: list[Submitted] = []
    if specs and not (refused and params.atomic):
        submitted = await queue.submit(list(specs.values()), atomic=params.atomic)
    return _batch_reply(params, job_uid, refused, submitted, queue.size, _Names(specs))


def _entry(entry: Mapping[str, Any], defaults: Options) -> tuple[object, Options]:
    if "item" not in entry or len(entry) > 1 + ("options" in entry):
        raise InvalidParams(f"Each of 'items' must be {{item, options}}: it has {sorted(entry)}")
    options = entry.get("options")
    if not options:
        return entry["item"], defaults
    if not isinstance(options, dict):
        raise InvalidParams(f"The 'options' of a task must be a dictionary: {type(options)}")
    return entry["item"], {**defaults, **options} if defaults else options


def _without_places(options: Options) -> tuple[Options, list[int]]:
    """Take the places of other tasks of the batch out of ``depends_on``."""
    needs = options.get("depends_on")
    if not isinstance(needs, list) or len(needs) > MAX_PREREQUISITES:
        return options, []
    places = [n for n in needs if type(n) is int]
    if not places:
        return options, places
    return {**options, "depends_on": [n for n in needs if type(n) is not int]}, places


def _link(specs: dict[int, TaskSpec], links: Mapping[int, list[int]]) -> None:
    """Let tasks of a batch depend on others of it, given by their places."""
    for place, needs in links.items():
        # What is not there is refused under this name.
        uids = [specs[n].task_uid if n in specs else f"items[{n}]" for n in needs]
        depends_on = dict.fromkeys((*specs[place].depends_on, *uids))
        specs[place] = replace(specs[place], depends_on=tuple(depends_on))


class _Names:
    """Names tasks of a batch by their places: nobody has seen the UIDs of those that are refused."""

    def __init__(self, specs: Mapping[int, TaskSpec]) -> None:
        self._specs = specs

    @cached_property
    def _by_uid(self) -> dict[str, str]:
        names: dict[str, str] = {}
        for place, spec in self._specs.items():
            more = f" (key {spec.key!r})" if spec.key else f" (label {spec.label!r})" if spec.label else ""
            names[spec.task_uid] = f"items[{place}]{more}"
        return names

    def put_into(self, text: str) -> str:
        """Return a text with names in place of UIDs in quotes."""
        return _QUOTED.sub(lambda found: self._by_uid.get(found[1], found[0]), text)


_REFUSED = {"success": False, "task_uid": None, "outcome": SubmitOutcome.REJECTED}


def _batch_reply(
    params: SubmitBatchParams,
    job_uid: str,
    refused: Mapping[int, RemanagerError],
    submitted: list[Submitted],
    size: int,
    names: _Names,
) -> Reply:
    left = iter(submitted)
    results: list[dict[str, object]] = []
    faults = 0
    for place in range(len(params.items)):
        error = refused.get(place)
        result = next(left, None) if error is None else None
        if error is None and result is not None:
            error = result.error
        if error is not None and error is not OTHERS_REFUSED:
            faults += 1
            results.append({**_REFUSED, "msg": names.put_into(str(error)), "code": error.code})
        elif result is None or error is OTHERS_REFUSED:
            results.append({**_REFUSED, "msg": "another task of the batch was refused"})
        else:
            results.append(_told(result, {"success": True, "msg": ""}))
    whole = not (faults and params.atomic)
    return {
        "success": whole,
        "msg": "" if whole else f"{faults} of {len(results)} tasks were refused; none is submitted",
        **({} if whole else {"code": "invalid_params"}),
        "job_uid": job_uid if whole else None,
        "results": results,
        "counts": dict(Counter(str(r["outcome"]) for r in results)),
        "qsize": size,
    }


def _told(result: Submitted, told: dict[str, object]) -> dict[str, object]:
    """Add to a dictionary what became of a task; return it."""
    told["task_uid"] = result.task_uid
    told["outcome"] = result.outcome
    if result.existing_uid is not None:
        told["existing_task_uid"] = result.existing_uid
    if result.held:
        told["held"] = [r.value for r in result.held]
    return told


@verb("task_function_list", fillers=fixed(functions=[]))
async def task_function_list(manager: Manager, _params: NoParams) -> Reply:
    """Return the functions that tasks can run, with their parameters and default options.

    ``failed_modules`` has the traceback of each task module that could not be imported.
    """
    await manager.task_queue.need_functions()
    functions = manager.task_queue.functions
    return {"functions": functions.describe(), "failed_modules": dict(functions.failures)}
