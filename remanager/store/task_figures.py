"""Numbers and ages of tasks, from tally and indexes: their cost does not grow with the ended tasks."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from remanager.model.selector import Selector
from remanager.model.states import ItemType, TaskState
from remanager.store import selection
from remanager.store.selection import ACTIVE, INDEX_OF, TALLY
from remanager.store.statements import query

_QUEUED = frozenset({TaskState.PENDING, TaskState.BLOCKED, TaskState.PAUSED})


class TypeCount(NamedTuple):
    """How many tasks of a type are in a state."""

    item_type: str
    name: str
    state: TaskState
    number: int

    @property
    def is_queued(self) -> bool:
        """Whether no worker has them."""
        return _is_queued(self.item_type, self.state)


class PriorityDepth(NamedTuple):
    """Queued tasks of a priority; ``oldest`` is when the first of them was submitted, epoch seconds."""

    priority: int
    queued: int
    oldest: float | None


class Depth(NamedTuple):
    """How many active tasks of a lane are in a state."""

    lane: tuple[str, ...]
    item_type: str
    state: TaskState
    number: int

    @property
    def is_queued(self) -> bool:
        """Whether no worker has them."""
        return _is_queued(self.item_type, self.state)


class FigureReads:
    """Reads on one read-only connection.

    Parameters
    ----------
    connection : sqlite3.Connection
        Used by one thread at a time.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def by_type(self) -> list[TypeCount]:
        """Return the numbers of all tasks by type and state."""
        rows = self._sums([query("figures_by_type"), query("figures_by_type_changes")], {})
        return [TypeCount(kind, name, TaskState(state), n) for (state, kind, name), n in rows.items()]

    def by_priority(self) -> list[PriorityDepth]:
        """Return what is queued in the task queue by priority, the most urgent first."""
        queued: dict[int, int] = {}
        oldest: dict[int, float | None] = {}
        rows = self._sums([query("figures_by_priority"), query("figures_by_priority_changes")], {})
        for (priority, state), n in rows.items():
            found = self._time("figures_oldest_queued", state=state, priority=priority)
            queued[priority] = queued.get(priority, 0) + n
            oldest[priority] = _earlier(oldest.get(priority), found)
        return [PriorityDepth(p, queued[p], oldest[p]) for p in sorted(queued)]

    def oldest_plan(self) -> float | None:
        """Return when the oldest item of the plan queue was added, epoch seconds."""
        return self._time("figures_oldest_plan")

    def depths(self, selector: Selector, columns: Sequence[str], *, now: float) -> list[Depth]:
        """Return the numbers of selected active tasks by lane, kind and state.

        Parameters
        ----------
        columns : sequence of str
            Columns of the tally whose values make a lane.
        """
        made = selection.conditions(selector, now)
        made.states &= ACTIVE
        if not made.states:
            return []
        wanted = ", ".join([*columns, "item_type", "state"])
        if made.by_tally:
            where = " AND ".join([made.state_in(ACTIVE), *made.tallied])
            statements = [
                f"SELECT {wanted}, SUM(n) FROM {part} WHERE {where} GROUP BY {wanted}" for part in TALLY
            ]
        else:
            statements = [
                f"SELECT {wanted}, COUNT(*) FROM task {source.index}"
                f" WHERE {' AND '.join([source.where, *made.all_terms()])} GROUP BY {wanted}"
                for source in selection.sources(made, None)
            ]
        return [
            Depth(tuple(lane), item_type, TaskState(state), n)
            for (*lane, item_type, state), n in self._sums(statements, made.params).items()
        ]

    def oldest_queued(self, selector: Selector, *, now: float) -> float | None:
        """Return when the oldest selected task that is queued was submitted, epoch seconds."""
        made = selection.conditions(selector, now)
        made.states &= _QUEUED
        if not made.states:
            return None
        made.others.append("(task_number IS NOT NULL OR state = 'pending')")  # a paused plan has a worker
        # Within one value of these indexes the active tasks are in the order of their insertion.
        column = next((c for c in INDEX_OF if len(made.columns.get(c, ())) == 1), None)
        oldest: float | None = None
        for source in selection.sources(made, column):
            where = " AND ".join([source.where, *made.all_terms()])
            sql = f"SELECT time_created FROM task {source.index} WHERE {where} ORDER BY id LIMIT 1"
            found = self.connection.execute(sql, made.params).fetchone()
            oldest = _earlier(oldest, found[0] if found else None)
        return oldest

    def oldest(self) -> float | None:
        """Return when the oldest task that is queued was submitted, plans included, epoch seconds."""
        oldest = self.oldest_plan()
        for row in self.by_priority():
            oldest = _earlier(oldest, row.oldest)
        return oldest

    def _sums(self, statements: Sequence[str], params: Mapping[str, object]) -> dict[tuple[Any, ...], int]:
        """Add up the last column of the rows of several statements by the others; without sums of 0."""
        found: dict[tuple[Any, ...], int] = {}
        for sql in statements:
            for *key, n in self.connection.execute(sql, params):
                group = tuple(key)
                found[group] = found.get(group, 0) + n
        return {group: n for group, n in found.items() if n}

    def _time(self, statement: str, **params: object) -> float | None:
        found = self.connection.execute(query(statement), params).fetchone()
        return found[0] if found else None


def _is_queued(item_type: str, state: TaskState) -> bool:
    # A paused plan keeps its worker.
    return state in _QUEUED and not (state is TaskState.PAUSED and item_type == ItemType.PLAN)


def _earlier(first: float | None, second: float | None) -> float | None:
    return min((t for t in (first, second) if t is not None), default=None)
