"""What happened: console output, events, and what is known of workers that died."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Annotated

from pydantic import Field

from remanager.manager.journal import EventFilter
from remanager.manager.manager import Manager
from remanager.manager.ports import ConsoleLine
from remanager.manager.rows import column
from remanager.model.errors import InvalidParams
from remanager.model.event_types import EVENT_TYPES
from remanager.model.selector import ALL
from remanager.store.records import EventRow
from remanager.verbs.registry import NoParams, Params, fixed, verb
from remanager.verbs.selectors import SelectorModel, selector_of
from remanager.wire.codec import Fragment, Reply

TOLD = {
    **{"task_uid": "", "name": "task_type", "state": "to"},
    **{name: name for name in ("user", "domain", "group", "key", "job_uid", "parent_uid", "schedule_uid")},
    "worker_uid": "worker_uid",
}
"""Conditions of a selector that events can be asked by, and what their data calls it."""

Since = Annotated[int, Field(ge=0, le=2**62)]
Limit = Annotated[int, Field(ge=1, le=10_000)]
MAX_WAIT_S = 30.0


class ConsoleParams(Params):
    """Parameters of ``console_get``."""

    since: Since = Field(0, description="``next_seq`` of the answer before; 0: all that is kept")
    limit: Limit = Field(1000, description="return at most this many pieces")


class EventParams(Params):
    """Parameters of ``event_list``."""

    since: Since = Field(0, description="``next_seq`` of the answer before; 0: all that is kept")
    types: Annotated[list[str], Field(max_length=100)] | None = Field(
        None, description=f"only events of these types: {', '.join(f'``{t}``' for t in EVENT_TYPES)}"
    )
    task_uid: str | None = Field(None, description="only events of this task")
    selector: SelectorModel | None = Field(
        None,
        description="only events of tasks with these properties, as far as the events tell them: "
        f"{', '.join(f'``{n}``' for n in TOLD)} and ``tags``; ``state`` is the one that the task went to",
    )
    limit: Limit = Field(1000, description="return at most this many events")
    timeout: Annotated[float, Field(ge=0, le=MAX_WAIT_S)] = Field(
        0.0, description="wait so long for an event if there is none (s, at most 30)"
    )


@verb("console_get", ConsoleParams, fillers=fixed(lines=[]))
def console_get(manager: Manager, params: ConsoleParams) -> Reply:
    """Return console output of manager and worker, in the pieces in which it was written.

    Each of the ``lines`` has ``seq``, ``time`` and ``msg``, control characters included, and ``worker_uid``
    where a worker of the task queue wrote it.
    Ask again with ``next_seq`` as ``since`` to go on. ``gap`` says that some of what was asked for is no
    longer kept: the oldest output goes when there is too much, and all of it when the manager is restarted.
    Numbers grow, also over restarts, and are no times.
    """
    page = manager.read_console(params.since, params.limit)
    return {
        "lines": [_line(m) for m in page.messages],
        "next_seq": page.next_seq,
        "oldest_seq": page.oldest_seq,
        "gap": page.gap,
    }


@verb("event_list", EventParams, fillers=fixed(events=[]))
async def event_list(manager: Manager, params: EventParams) -> Reply:
    """Return events of the journal: every change of queue, plans, tasks, environment and settings.

    An event has ``seq``, ``time``, ``type``, ``task_uid`` (null if it concerns no task) and ``data``.
    Ask again with ``next_seq`` as ``since`` to go on; nothing is missed as long as ``gap`` is false. With a
    ``timeout`` the answer comes with the first event. ``gap`` is true where events that were asked for are no
    longer kept, or where ``since`` lies in the future: then this is not the journal that it was taken from.
    """
    page = await manager.journal.page(params.since, event_filter(params), params.limit, params.timeout)
    return {
        "events": Fragment.of_json_texts(map(_event_text, page.events)),
        "next_seq": page.next_seq,
        "oldest_seq": page.oldest_seq,
        "gap": page.gap,
    }


def event_filter(params: EventParams) -> EventFilter:
    """Return which events a request asks for.

    Raises
    ------
    InvalidParams
        It asks for a type that does not exist, or by something that events do not tell.
    """
    if unknown := sorted(set(params.types or ()).difference(EVENT_TYPES)):
        raise InvalidParams(f"There are no events of the types {unknown}, only of {', '.join(EVENT_TYPES)}")
    selector = selector_of(params.selector)
    asked = {f.name for f in fields(selector) if getattr(selector, f.name) != getattr(ALL, f.name)}
    if untold := sorted(asked - {*TOLD, "tags"}):
        raise InvalidParams(f"Events cannot be selected by {untold}, only by {[*TOLD, 'tags']}")
    conditions = {word: getattr(selector, name) for name, word in TOLD.items() if word}
    return EventFilter(
        types=None if params.types is None else frozenset(params.types),
        task_uid=None if params.task_uid is None else column(params.task_uid),
        task_uids=None if selector.task_uid is None else frozenset(selector.task_uid),
        said={word: frozenset(values) for word, values in conditions.items() if values is not None},
        tags=selector.tags,
    )


@verb("worker_autopsy_list", fillers=fixed(autopsies=[]))
def worker_autopsy_list(manager: Manager, _params: NoParams) -> Reply:
    """Return what is known of the last workers that died, newest first.

    Each has the exit code or signal, the stacks of its threads if it crashed (``traceback``), the last lines
    of the console since it was started, what ran and how far it was, the runs that were open, and the memory
    at the last sign of life.
    """
    return {"autopsies": manager.autopsies.all()}


def _line(message: ConsoleLine) -> dict[str, object]:
    line: dict[str, object] = {"seq": message.seq, "time": message.time, "msg": message.text}
    if message.worker_uid is not None:
        line["worker_uid"] = message.worker_uid
    return line


def _event_text(row: EventRow) -> str:
    """Return an event as JSON text; its data is JSON text already."""
    head = json.dumps({"seq": row.seq, "time": row.time, "type": row.type, "task_uid": row.task_uid})
    return f'{head[:-1]}, "data": {row.data}}}'
