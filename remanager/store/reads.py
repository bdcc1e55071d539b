"""Typed reads of the store.

Each uses an index: its cost does not grow with the number of ended tasks that it does not return.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from remanager.model.states import STATES, TaskState
from remanager.store.records import EventRow, QueueEntryRow, Retention, TaskRow, WorkerRow
from remanager.store.statements import query
from remanager.store.task_figures import FigureReads
from remanager.store.task_pages import TaskPages
from remanager.store.task_reads import TaskReads, uids_param

_LARGEST = 2**63 - 1


class Reads:
    """Reads on one read-only connection; they see everything that is committed.

    Parameters
    ----------
    connection : sqlite3.Connection
        Used by one thread at a time.

    Attributes
    ----------
    tasks : TaskReads
        Reads of the task queue.
    pages : TaskPages
        Lists and counts of tasks of all kinds.
    figures : FigureReads
        Numbers and ages of tasks.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.tasks = TaskReads(connection)
        self.pages = TaskPages(connection)
        self.figures = FigureReads(connection)

    def queue(self) -> list[QueueEntryRow]:
        """Return the plan queue in order."""
        return [QueueEntryRow(*row) for row in self.connection.execute(query("queue_all"))]

    def running(self) -> list[TaskRow]:
        """Return what runs outside of the task queue, oldest start first."""
        return [_task_row(row) for row in self.connection.execute(query("task_running"))]

    def task_row(self, uid: str) -> TaskRow | None:
        """Return what is known of a task; None if it is unknown."""
        try:
            row = self.connection.execute(query("task_get"), {"task_uid": uid}).fetchone()
        except UnicodeEncodeError:  # a client's text with a lone surrogate: no uid is such
            return None
        return None if row is None else _task_row(row)

    def has_tasks(self) -> bool:
        """Tell whether anything was ever queued or executed, and is remembered."""
        return bool(self.connection.execute(query("task_exists")).fetchone()[0])

    def task_states(self, uids: Iterable[str]) -> dict[str, TaskState]:
        """Return the states of those tasks that are known."""
        rows = self.connection.execute(query("task_states"), uids_param(uids))
        return {uid: STATES[state] for uid, state in rows}

    def history_page(
        self, limit: int | None = None, before_seq: int | None = None
    ) -> list[tuple[int, str, str | None]]:
        """Return entries of the plan history, oldest first.

        Parameters
        ----------
        limit : int or None
            At most so many, the newest ones; None: all.
        before_seq : int or None
            Only entries older than this place: the first ``history_seq`` of the page after this one.

        Returns
        -------
        list of tuple
            ``(history_seq, body, result)``: the item and its ``result``, both as JSON text.
        """
        params = {
            "limit": -1 if limit is None else max(limit, 0),
            "before_seq": _LARGEST if before_seq is None else before_seq,
        }
        rows: list[tuple[int, str, str | None]] = self.connection.execute(
            query("history_page"), params
        ).fetchall()
        rows.reverse()
        return rows

    def history_place(self, uid: str) -> int:
        """Return the number of entries of the history up to and with a task; 0 if it is not in it."""
        return int(self.connection.execute(query("history_place"), {"task_uid": uid}).fetchone()[0])

    def history_count(self) -> int:
        """Return the number of entries of the plan history. Its cost grows with that number."""
        return int(self.connection.execute(query("history_count")).fetchone()[0])

    def settings(self) -> dict[str, object]:
        """Return all settings."""
        return {key: json.loads(value) for key, value in self.connection.execute(query("setting_all"))}

    def workers(self) -> list[WorkerRow]:
        """Return the recorded worker processes, oldest first."""
        return [WorkerRow(*row) for row in self.connection.execute(query("worker_all"))]

    def events(self, since: int, limit: int) -> list[EventRow]:
        """Return up to ``limit`` journal events with ``seq`` greater than ``since``, in order."""
        rows = self.connection.execute(query("event_page"), {"since": since, "limit": max(limit, 0)})
        return [EventRow(*row) for row in rows]

    def events_matching(
        self, first: int, types: Iterable[str] | None, task_uid: str | None, limit: int
    ) -> list[EventRow]:
        """Return up to ``limit`` journal events from number ``first`` on, in order.

        Its cost grows with the number of events that are looked through.

        Parameters
        ----------
        types : iterable of str or None
            Only events of these types; None: of all types.
        task_uid : str or None
            Only events of this task; None: all.
        """
        params = {
            "first": first,
            "types": None if types is None else json.dumps(list(types)),
            "task_uid": task_uid,
            "limit": max(limit, 0),
        }
        return [EventRow(*row) for row in self.connection.execute(query("event_matching"), params)]

    def event_bounds(self) -> tuple[int, int]:
        """Return the ``seq`` of the oldest and of the newest event kept; ``(0, 0)`` if there is none."""
        oldest, newest = self.connection.execute(query("event_bounds")).fetchone()
        return oldest or 0, newest or 0

    def purge_due(self, now: float, retention: Retention) -> bool:
        """Tell whether anything but records of tasks is older than its retention."""
        (due,) = self.connection.execute(query("purge_due"), retention.limits(now)).fetchone()
        return bool(due)


def _task_row(row: tuple[Any, ...]) -> TaskRow:
    values: dict[str, Any] = dict(zip(TaskRow.__slots__, row, strict=True))
    values["state"] = TaskState(values["state"])
    values["background"] = bool(values["background"])
    values["success"] = None if values["success"] is None else bool(values["success"])
    return TaskRow(**values)
