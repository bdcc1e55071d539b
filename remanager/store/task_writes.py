"""Typed factories of the writes of the task queue.

A write that refers to an active task fails with :class:`~remanager.store.errors.StaleWrite` if the task has
ended: nothing of its submission is stored then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import cast

from remanager.model.states import TaskState, is_terminal
from remanager.store.records import Kind, Write
from remanager.store.statements import of_rows, parameters
from remanager.store.task_rows import ProgressPut, SamplePut, TaskEdit, TaskEnd, TaskInsert, TaskUpdate

_Params = Sequence[dict[str, object]]
_TERMINAL = frozenset(state.value for state in TaskState if is_terminal(state))

_AT_ONCE = (25, 5, 1)
"""How many tasks one statement stores."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """A statement for new tasks that have some of the columns.

    Attributes
    ----------
    keys : frozenset of str
        What the rows may have.
    values : callable
        Returns the values of a row in the order of the statement.
    """

    statement: str
    keys: frozenset[str]
    values: Callable[[Mapping[str, object]], tuple[object, ...]]


def _shape(statement: str, *stored_apart: str) -> _Shape:
    names = parameters(statement)
    return _Shape(statement, frozenset((*names, *stored_apart)), itemgetter(*names))


# A column costs half a microsecond, and most tasks have few.
_PLAIN = _shape("tasks_insert_plain")
_USUAL = _shape("tasks_insert_usual", "tags")
_FULL = _shape("tasks_insert", "tags", "depends_on")
_number = itemgetter("task_number")
_DEFAULTS: dict[str, object] = {
    **dict.fromkeys(_FULL.keys),
    **dict.fromkeys(("domain", "task_group", "label", "key", "state_reason"), ""),
    "lease_epoch": 0,
}


def tasks_insert(rows: Sequence[TaskInsert]) -> list[Write]:
    """Insert tasks, their tags and their dependencies."""
    if not rows:
        return []
    last = max(map(_number, rows))
    rich = [row for row in rows if len(row) > len(_PLAIN.keys)]
    found = [*_inserts(rows), Write("task_number_reached", {"task_number": last}, expect=1)]
    tags = [_tag(row["task_uid"], key, value) for row in rich for key, value in row.get("tags", ())]
    needs = [
        {"task_uid": row["task_uid"], "needs_uid": uid} for row in rich for uid in row.get("depends_on", ())
    ]
    if tags:
        found.append(Write("tags_insert", tags, expect=len(tags)))
    if needs:
        found.append(Write("dependencies_insert", needs))
    return found


def _inserts(rows: Sequence[TaskInsert]) -> list[Write]:
    """Return the writes of the rows of tasks, many with one statement."""
    found: list[tuple[str, list[list[object]], list[Kind]]] = []
    for some in _portions(rows):
        shape, made = _PLAIN, cast(_Params, some)
        if any(len(row) > len(_PLAIN.keys) for row in some):
            keys = frozenset().union(*some)
            shape = _USUAL if keys <= _USUAL.keys else _FULL
            made = [_with_defaults(row) for row in some]
        statement = of_rows(shape.statement, len(some))
        if not found or found[-1][0] != statement:
            found.append((statement, [], []))
        found[-1][1].append(list(chain.from_iterable(map(shape.values, made))))
        found[-1][2].extend(map(_kind, some))
    return [Write(statement, params, new=kinds) for statement, params, kinds in found]


def _kind(row: TaskInsert) -> Kind:
    domain, group = row.get("domain", ""), row.get("task_group", "")
    return row["state"], row["item_type"], row["name"], domain, group, row["user"], row["priority"]


def _portions(rows: Sequence[TaskInsert]) -> Iterator[Sequence[TaskInsert]]:
    """Cut rows into portions of few sizes: there is a statement for each."""
    start = 0
    for size in _AT_ONCE:
        while start + size <= len(rows):
            yield rows[start : start + size]
            start += size


def _with_defaults(row: TaskInsert) -> dict[str, object]:
    needs = row.get("depends_on")
    return {**_DEFAULTS, **row, "depends": json.dumps(list(needs)) if needs else None}


def tasks_update(rows: Sequence[TaskUpdate]) -> Write:
    """Store the present state of active tasks; append to their logs."""
    return _changes("tasks_update", cast(_Params, rows))


def tasks_edit(rows: Sequence[TaskEdit]) -> Write:
    """Store what a person changed of active tasks."""
    return Write("tasks_edit", cast(_Params, rows), expect=len(rows))


def tasks_end(rows: Sequence[TaskEnd]) -> Write:
    """Write terminal records.

    Raises
    ------
    ValueError
        A state is not a terminal one.
    """
    for row in rows:
        if row["state"] not in _TERMINAL:
            raise ValueError(f"{row['state']!r} is not a terminal state")
    return _changes("tasks_end", cast(_Params, rows))


def _changes(statement: str, rows: _Params) -> Write:
    """Return the write of rows each of which must be found, many with one statement."""
    names = parameters(statement)
    size = min((n for n in _AT_ONCE if n >= len(rows)), default=max(_AT_ONCE))
    values: list[object] = [value for row in rows for value in map(row.__getitem__, names)]
    step = size * len(names)
    values += [None] * (-len(values) % step)
    params = [values[start : start + step] for start in range(0, len(values), step)]
    return Write(of_rows(statement, size), params, expect=len(rows))


def tasks_retried(pairs: Mapping[str, str]) -> Write:
    """Note that tasks (UIDs of ended ones) were submitted anew: as which."""
    return Write("tasks_retried", [{"task_uid": old, "retried_as": new} for old, new in pairs.items()])


def tasks_parted(numbers: Mapping[str, int]) -> Write:
    """Note from which number on (by UID) the children of active tasks still concern them."""
    return Write("tasks_parted", [{"task_uid": uid, "number": n} for uid, n in numbers.items()])


def tasks_delete(uids: Sequence[str]) -> Write:
    """Delete ended tasks; active ones and those of the plan history stay."""
    return Write("tasks_delete", [{"task_uid": uid} for uid in uids])


def progress_put(rows: Sequence[ProgressPut]) -> Write:
    """Store how far tasks are; for a task that has ended or was handed over again nothing changes."""
    return Write("tasks_progress", cast(_Params, rows))


def checkpoint_put(uid: str, lease_epoch: int, checkpoint: bytes | None) -> Write:
    """Store a value for the next attempt of a task, or drop it; an older hand-over changes nothing."""
    return Write("tasks_checkpoint", {"task_uid": uid, "lease_epoch": lease_epoch, "checkpoint": checkpoint})


def tags_set(uid: str, tags: Sequence[tuple[str, str]]) -> list[Write]:
    """Replace the tags of a task."""
    return [
        Write("tags_delete", {"task_uid": uid}),
        Write("tags_insert", [_tag(uid, key, value) for key, value in tags], expect=len(tags)),
    ]


def schedule_put(uid: str, time_created: float, body: object) -> Write:
    """Store a schedule (any JSON value), or replace it."""
    return Write(
        "schedule_put",
        {"schedule_uid": uid, "time_created": time_created, "body": json.dumps(body)},
        expect=1,
    )


def schedule_delete(uid: str) -> Write:
    """Forget a schedule; its tasks stay."""
    return Write("schedule_delete", {"schedule_uid": uid})


def samples_put(rows: Sequence[SamplePut]) -> Write:
    """Store figures of minutes, or replace them."""
    return Write("sample_put", cast(_Params, rows))


def _tag(uid: str, key: str, value: str) -> dict[str, object]:
    return {"task_uid": uid, "key": key, "value": value}
