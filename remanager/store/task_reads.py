"""Reads of the task queue: the active tasks at a start, single tasks, families, jobs, types."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from remanager.model.states import STATE_CLASS, STATES, StateClass, TaskState
from remanager.store.statements import query
from remanager.store.task_rows import EndedSample, ScheduleRow, TaskRecord, TaskResult

_COMPUTED = {"has_result": "return_value IS NOT NULL"}
_COLUMNS = ", ".join(_COMPUTED.get(name, name) for name in TaskRecord._fields)
_WITHOUT_BODY = _COLUMNS.removesuffix("body") + "''"
_STATE = TaskRecord._fields.index("state")
_ACTIVE = [state for state in TaskState if STATE_CLASS[state] is StateClass.ACTIVE]

Tags = dict[str, str]


class TaskReads:
    """Reads on one read-only connection; they see everything that is committed.

    Parameters
    ----------
    connection : sqlite3.Connection
        Used by one thread at a time.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    # ------------------------------------------------------------------------------------ at the start

    def active(self, *, bodies: bool = True) -> Iterator[tuple[TaskRecord, Tags]]:
        """Return the active tasks of the task queue with their tags, in no particular order.

        Parameters
        ----------
        bodies : bool
            False leaves ``body`` empty: :meth:`bodies` has them when they are needed.
        """
        columns = _COLUMNS if bodies else _WITHOUT_BODY
        sql = (
            f"SELECT {columns} FROM task INDEXED BY task_waiting"
            " WHERE state = :state AND time_stop IS NULL AND task_number IS NOT NULL"
        )
        for state in _ACTIVE:
            params = {"state": state.value}
            tags = _tags(self.connection.execute(query("tags_of_active"), params))
            for row in self.connection.execute(sql, params):
                yield _record(row), tags.get(row[0], {})

    def last_number(self) -> int:
        """Return the highest ``task_number`` that was ever stored; 0 if there was none."""
        return int(self.connection.execute(query("task_number_last")).fetchone()[0])

    def schedules(self) -> list[ScheduleRow]:
        """Return all schedules, oldest first."""
        return [ScheduleRow(*row) for row in self.connection.execute(query("schedule_all"))]

    # ------------------------------------------------------------------------------------ single tasks

    def record(self, uid: str) -> TaskRecord | None:
        """Return what is known of a task; None if it is unknown."""
        found = self._one(f"SELECT {_COLUMNS} FROM task WHERE task_uid = :uid", {"uid": uid})
        return None if found is None else _record(found)

    def record_of_key(self, name: str, key: str) -> TaskRecord | None:
        """Return the newest task of a type with a key; None if there is none."""
        found = self._one(query("task_id_of_key"), {"name": name, "key": key})
        return None if found is None else self.records(found)[0]

    def records(self, ids: Sequence[int], *, bodies: bool = True) -> list[TaskRecord]:
        """Return tasks by their ``id``, in that order; those that are gone are left out."""
        columns = _COLUMNS if bodies else _WITHOUT_BODY
        sql = f"SELECT {columns} FROM task WHERE id IN (SELECT value FROM json_each(:ids))"
        rows = {row[0]: row for row in self.connection.execute(sql, {"ids": json.dumps(list(ids))})}
        return [_record(rows[i]) for i in ids if i in rows]

    def tags(self, ids: Sequence[int]) -> dict[int, Tags]:
        """Return the tags of tasks by their ``id``; tasks without tags are left out."""
        return _tags(self.connection.execute(query("tags_of_tasks"), {"task_ids": json.dumps(list(ids))}))

    def log(self, uid: str) -> list[dict[str, Any]]:
        """Return the transitions of a task, oldest first."""
        found = self._one(query("task_log"), {"task_uid": uid})
        return [json.loads(line) for line in found[0].splitlines()] if found else []

    def results(self, uids: Iterable[str]) -> dict[str, TaskResult]:
        """Return how those tasks ended that are known, with their return values."""
        rows = self.connection.execute(query("task_results"), uids_param(uids))
        return {uid: TaskResult(uid, STATES[state], *rest) for uid, state, *rest in rows}

    def result_bytes(self, uids: Iterable[str]) -> int:
        """Return the size of the return values of tasks together."""
        return int(self.connection.execute(query("result_bytes"), uids_param(uids)).fetchone()[0])

    def body_sizes(self, ids: Sequence[int]) -> list[int]:
        """Return the lengths of the items of tasks by their ``id``, in that order."""
        sizes = dict(self.connection.execute(query("body_sizes"), {"ids": json.dumps(list(ids))}))
        return [sizes.get(i, 0) for i in ids]

    def bodies(self, uids: Iterable[str]) -> dict[str, str]:
        """Return the items (JSON text) of those tasks that are known."""
        return dict(self.connection.execute(query("task_bodies"), uids_param(uids)))

    def checkpoints(self, uids: Iterable[str]) -> dict[str, bytes]:
        """Return the checkpoints of those tasks that have one."""
        return dict(self.connection.execute(query("task_checkpoints"), uids_param(uids)))

    # ------------------------------------------------------------------------------------ families

    def children(self, uid: str, limit: int = -1) -> list[tuple[str, TaskState]]:
        """Return UID and state of a task's children, oldest first; at most ``limit`` unless negative."""
        return self._states("task_children", uid, limit)

    def dependents(self, uid: str, limit: int = -1) -> list[tuple[str, TaskState]]:
        """Return UID and state of the tasks that need a task; at most ``limit`` unless negative."""
        return self._states("task_dependents", uid, limit)

    # ------------------------------------------------------------------------------------ types

    def type_sample(self, name: str, limit: int) -> list[EndedSample]:
        """Return the last ended tasks of a type, newest first."""
        rows = self._all(query("type_sample"), {"name": name, "limit": max(limit, 0)})
        return [EndedSample(STATES[row[0]], *row[1:]) for row in rows]

    def samples(
        self, metric: str, task_type: str, first: int, last: int, limit: int
    ) -> list[tuple[int, float]]:
        """Return the figures of a metric as (minute since the epoch, value), oldest first."""
        params = {"metric": metric, "task_type": task_type, "first": first, "last": last, "limit": limit}
        return self._all(query("sample_series"), params)

    # ------------------------------------------------------------------------------------ inside

    def _states(self, statement: str, uid: str, limit: int) -> list[tuple[str, TaskState]]:
        rows = self._all(query(statement), {"task_uid": uid, "limit": limit})
        return [(found, STATES[state]) for found, state in rows]

    def _one(self, sql: str, params: dict[str, Any]) -> Any:
        rows = self._all(sql, params)
        return rows[0] if rows else None

    def _all(self, sql: str, params: dict[str, Any]) -> list[Any]:
        try:
            return self.connection.execute(sql, params).fetchall()
        except UnicodeEncodeError:  # a client's text with a lone surrogate: nothing stored is such
            return []


def _record(row: tuple[Any, ...]) -> TaskRecord:
    return TaskRecord._make((*row[:_STATE], STATES[row[_STATE]], *row[_STATE + 1 :]))


def uids_param(uids: Iterable[str]) -> dict[str, str]:
    """Return the parameter of statements that ask for tasks by their UIDs."""
    # JSON text as the only parameter: there is no limit on the number of uids. No UID has a NUL, at which
    # SQLite would end the text.
    return {"task_uids": json.dumps([uid for uid in uids if "\0" not in uid])}


def _tags(rows: Iterable[tuple[int, str, str]]) -> dict[int, Tags]:
    found: dict[int, Tags] = {}
    for task_id, key, value in rows:
        found.setdefault(task_id, {})[key] = value
    return found
