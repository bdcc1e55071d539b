"""Pages, counts and tags of the tasks that a selector speaks of.

Many tasks are not sorted to return a few: a page comes from an index that has their order, or from the
smallest index that leads to them, whichever the tally says is cheaper.
"""

from __future__ import annotations

import base64
import heapq
import json
import math
import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from operator import itemgetter

from remanager.model.errors import InvalidParams
from remanager.model.selector import Selector
from remanager.model.states import STATE_CLASS, TaskState
from remanager.store import selection
from remanager.store.selection import ACTIVE, ENDED, INDEX_OF, Conditions, Source

SORTED_AT_MOST = 10_000
"""With more tasks a page comes from an index that has their order."""

_MANY_VALUES = 20
_NUMBER = "COALESCE(task_number, id - 1099511627776)"
"""Place in the order of dispatch among equal priorities; what is not of the task queue comes first."""

TALLY_GROUPS = {
    "state": "state",
    "class": "state",
    "task_type": "name",
    "name": "name",
    "item_type": "item_type",
    "domain": "domain",
    "group": "task_group",
    "user": "user",
    "priority": "priority",
}
OTHER_GROUPS = {"job_uid": "job_uid", "worker_uid": "worker_uid"}
TAG_GROUP = "tag:"

Value = str | int | None


class Order(StrEnum):
    """Order of a page."""

    DISPATCH = "dispatch"  # active tasks only: by priority, then as submitted
    CREATED = "created"  # newest first
    FINISHED = "finished"  # ended tasks only: last ended first
    PRIORITY = "priority"  # as dispatch, ended tasks too


@dataclass(frozen=True, slots=True)
class Page:
    """A page of tasks.

    Attributes
    ----------
    ids : list of int
        For :meth:`remanager.store.task_reads.TaskReads.records`.
    total : int
        Tasks in all.
    next_cursor : str or None
        Where the next page begins; None after the last one.
    """

    ids: list[int]
    total: int
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """Numbers of tasks by a value; all add up to ``total``.

    Attributes
    ----------
    counts : list of tuple
        Values and their numbers, most frequent first; the value None stands for tasks without one.
    others : int
        Tasks of the values that did not fit.
    """

    total: int
    counts: list[tuple[Value, int]]
    others: int = 0


class TaskPages:
    """Questions about many tasks, on one read-only connection; for a snapshot use ``Store.read_heavy``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    # ------------------------------------------------------------------------------------------ pages

    def page(
        self,
        selector: Selector,
        *,
        now: float,
        order: Order = Order.CREATED,
        limit: int = 100,
        cursor: str | None = None,
        offset: int = 0,
    ) -> Page:
        """Return a page of the selected tasks.

        Parameters
        ----------
        now : float
            Epoch seconds; decides what is ready.
        cursor : str or None
            ``next_cursor`` of the page before, of the same selector and order. New tasks and deleted ones do
            not shift what follows.
        offset : int
            Tasks to skip; the cost grows with it.

        Raises
        ------
        InvalidParams
            The cursor is none of this order.
        """
        made = _restricted(selector, order, now)
        after = _decode(cursor, order)
        if not made.states:
            return Page([], 0, None)
        number = self._tallied(made)
        if number == 0:
            return Page([], 0, None)
        wanted = offset + limit + 1
        rows = heapq.merge(
            *(
                self._walk(made, source, order, keys, after, wanted)
                for source, keys in self._walks(made, order, number)
            ),
            key=itemgetter(0, 1),
            reverse=order in {Order.CREATED, Order.FINISHED},
        )
        found = list(islice(rows, offset, wanted))
        total = number if made.by_tally else self.count(selector, now=now, only=made.states)
        more = len(found) > limit
        found = found[:limit]
        return Page(
            [row[2] for row in found], total, _encode(order, found[-1][:2]) if more and found else None
        )

    def _walks(self, made: Conditions, order: Order, number: int) -> list[tuple[Source, str]]:
        """Return sources whose merged rows have the order, each with its two sort keys."""
        column = self._best_column(made)
        keys = {Order.CREATED: "id, 0", Order.FINISHED: "time_stop, id"}.get(order, f"priority, {_NUMBER}")
        by_index = order is Order.FINISHED and column is None
        if made.few is not None or (number <= SORTED_AT_MOST and not by_index):
            return [(source, keys) for source in selection.sources(made, column)]
        if order is Order.CREATED:
            return [(Source("NOT INDEXED", selection.any_state(made, frozenset(TaskState))), keys)]
        if order is Order.FINISHED:
            return [(source, keys) for source in _by_end(made, column)]
        return [*_by_priority(made), *((source, keys) for source in _ended_sources(made, column))]

    def _walk(
        self,
        made: Conditions,
        source: Source,
        order: Order,
        keys: str,
        after: tuple[float, float] | None,
        limit: int,
    ) -> Iterable[tuple[float, float, int]]:
        params = {**made.params, "limit": limit}
        terms = [source.where, *made.all_terms()]
        newest_first = order in {Order.CREATED, Order.FINISHED}
        if after is not None:
            params |= {"after_0": after[0], "after_1": after[1]}
            compare = "<" if newest_first else ">"
            terms.append(
                "id < :after_0" if order is Order.CREATED else f"({keys}) {compare} (:after_0, :after_1)"
            )
        first, second = keys.split(", ", 1)
        way = " DESC" if newest_first else ""
        by = f"{first}{way}" if order is Order.CREATED else f"{first}{way}, {second}{way}"
        where = " AND ".join(terms)
        sql = f"SELECT {keys}, id FROM task {source.index} WHERE {where} ORDER BY {by} LIMIT :limit"
        return self.connection.execute(sql, params)

    def _best_column(self, made: Conditions) -> str | None:
        """Return the column whose values the fewest tasks have; None if none of them is asked for."""
        if made.few is not None or not made.columns:
            return None
        if len(made.columns) == 1:
            return next(iter(made.columns))
        return min(made.columns, key=lambda column: self._column_tally(column, made.columns[column]))

    def _column_tally(self, column: str, values: tuple[str, ...]) -> int:
        sql = f"SELECT TOTAL(n) FROM task_tally WHERE {column} IN (SELECT value FROM json_each(:values))"
        return int(self.connection.execute(sql, {"values": json.dumps(values)}).fetchone()[0])

    # ------------------------------------------------------------------------------------------ counts

    def count(
        self, selector: Selector, *, now: float, only: frozenset[TaskState] = frozenset(TaskState)
    ) -> int:
        """Return the number of selected tasks, of those in the states ``only``."""
        made = selection.conditions(selector, now)
        made.states &= only
        return self.number(made)

    def number(self, made: Conditions) -> int:
        """Return the number of tasks that meet conditions."""
        if not made.states:
            return 0
        if made.by_tally:
            return self._tallied(made)
        if made.ready_by_tally:
            return self._tallied(made) - self._delayed(made)
        return sum(self._grouped(made, "COUNT(*)", "").values())

    def group(self, selector: Selector, by: str, *, now: float, limit: int = 1000) -> GroupCounts:
        """Return the numbers of selected tasks by a value.

        Parameters
        ----------
        by : str
            A key of :data:`TALLY_GROUPS` or :data:`OTHER_GROUPS`, or ``tag:KEY``.
        limit : int
            Most values to return.

        Raises
        ------
        InvalidParams
            There is no such grouping.
        """
        made = selection.conditions(selector, now)
        if by in TALLY_GROUPS:
            found = self._by_column(made, TALLY_GROUPS[by])
            if by == "class":
                found = _classes(found)
            total = sum(found.values())
        else:
            total = self.number(made)
            if by in OTHER_GROUPS:
                found = self._by_other(made, OTHER_GROUPS[by])
            elif by.startswith(TAG_GROUP):
                found = self._by_tag(made, by.removeprefix(TAG_GROUP))
            else:
                raise InvalidParams(f"Tasks cannot be grouped by {by!r}")
            if missing := total - sum(found.values()):
                found[None] += missing
        counts = sorted(found.items(), key=lambda item: (-item[1], str(item[0])))
        return GroupCounts(total, counts[:limit], sum(n for _, n in counts[limit:]))

    def _tallied(self, made: Conditions) -> int:
        return sum(self._tally(made, "''").values())

    def _tally(self, made: Conditions, column: str) -> Counter[Value]:
        where = " AND ".join([made.state_in(frozenset(TaskState)), *made.tallied])
        sql = f"SELECT {column}, SUM(n) FROM task_tally WHERE {where} GROUP BY 1"
        return Counter({value: n for value, n in self.connection.execute(sql, made.params) if n})

    def _delayed(self, made: Conditions) -> int:
        where = " AND ".join(["state = 'pending'", f"time_stop IS NULL AND {made.later}", *made.tallied])
        sql = f"SELECT COUNT(*) FROM task INDEXED BY task_delayed WHERE {where}"
        return int(self.connection.execute(sql, made.params).fetchone()[0])

    def _by_column(self, made: Conditions, column: str) -> Counter[Value]:
        if not made.states:
            return Counter()
        if made.by_tally:
            return self._tally(made, column)
        return self._grouped(made, f"{column}, COUNT(*)", "GROUP BY 1")

    def _by_other(self, made: Conditions, column: str) -> Counter[Value]:
        if column == "job_uid" and made.few is None:
            # The index of jobs has their order; all rows are read only where there are further conditions.
            where = " AND ".join(["job_uid IS NOT NULL", _any_state(made), *made.all_terms()])
            sql = f"SELECT job_uid, COUNT(*) FROM task INDEXED BY task_job WHERE {where} GROUP BY 1"
            return Counter(dict(self.connection.execute(sql, made.params))) if made.states else Counter()
        return self._grouped(made, f"{column}, COUNT(*)", "GROUP BY 1") if made.states else Counter()

    def _by_tag(self, made: Conditions, key: str) -> Counter[Value]:
        if not made.states:
            return Counter()
        made.params["tag_key"] = selection.text(key)
        if made.is_all:
            sql = "SELECT value, COUNT(*) FROM tag INDEXED BY tag_value WHERE key = :tag_key GROUP BY value"
            return Counter(dict(self.connection.execute(sql, made.params)))
        tagged = "(SELECT task_id, value AS tag_value FROM tag WHERE key = :tag_key) AS tagged"
        if self._tallied(made) > SORTED_AT_MOST and made.few is None:
            where = " AND ".join([_any_state(made), *made.all_terms()])
            tables = f"{tagged} CROSS JOIN task NOT INDEXED ON id = task_id"
            sql = f"SELECT tag_value, COUNT(*) FROM {tables} WHERE {where} GROUP BY 1"
            return Counter(dict(self.connection.execute(sql, made.params)))
        found: Counter[Value] = Counter()
        for source in selection.sources(made, self._best_column(made)):
            where = " AND ".join([source.where, *made.all_terms()])
            tables = f"task {source.index} CROSS JOIN {tagged} ON task_id = id"
            sql = f"SELECT tag_value, COUNT(*) FROM {tables} WHERE {where} GROUP BY 1"
            found.update(dict(self.connection.execute(sql, made.params)))
        return found

    def _grouped(self, made: Conditions, columns: str, group: str) -> Counter[Value]:
        """Add up the rows ``(value, number)``, or the numbers alone, over all parts of the table."""
        found: Counter[Value] = Counter()
        for source in selection.sources(made, self._best_column(made)):
            where = " AND ".join([source.where, *made.all_terms()])
            sql = f"SELECT {columns} FROM task {source.index} WHERE {where} {group}"
            for *value, number in self.connection.execute(sql, made.params):
                found[value[0] if value else None] += number
        return found

    # ------------------------------------------------------------------------------------------ tags

    def tag_keys(
        self, prefix: str, selector: Selector, *, now: float, limit: int = 1000
    ) -> list[tuple[str, int]]:
        """Return keys of tags that begin with ``prefix`` and how many selected tasks have them, sorted."""
        made = selection.conditions(selector, now)
        if not made.states:
            return []
        begins = selection.key_prefix(made, "tag.key", prefix)
        if made.is_all:
            sql = (
                f"SELECT key, COUNT(*) FROM tag INDEXED BY tag_value WHERE {begins} GROUP BY key LIMIT :limit"
            )
        else:
            tagged = f"(SELECT task_id, key AS tag_key FROM tag WHERE {begins}) AS tagged"
            tables = f"{tagged} CROSS JOIN task NOT INDEXED ON id = task_id"
            where = " AND ".join([_any_state(made), *made.all_terms()])
            sql = f"SELECT tag_key, COUNT(*) FROM {tables} WHERE {where} GROUP BY 1 ORDER BY 1 LIMIT :limit"
        return list(self.connection.execute(sql, {**made.params, "limit": limit}))

    # ------------------------------------------------------------------------------------------ all uids

    def uids(self, selector: Selector, *, now: float, limit: int) -> list[tuple[str, TaskState]]:
        """Return UID and state of up to ``limit`` selected tasks, oldest first."""
        made = selection.conditions(selector, now)
        if not made.states:
            return []
        rows: list[tuple[int, str, str]] = []
        for source in selection.sources(made, self._best_column(made)):
            where = " AND ".join([source.where, *made.all_terms()])
            sql = (
                f"SELECT id, task_uid, state FROM task {source.index} WHERE {where} ORDER BY id LIMIT :limit"
            )
            rows += self.connection.execute(sql, {**made.params, "limit": limit})
        return [(uid, TaskState(state)) for _, uid, state in sorted(rows)[:limit]]


def _restricted(selector: Selector, order: Order, now: float) -> Conditions:
    made = selection.conditions(selector, now)
    if order is Order.FINISHED:
        made.states &= ENDED
    elif order is Order.DISPATCH:
        made.states &= ACTIVE
    return made


def _by_end(made: Conditions, column: str | None) -> list[Source]:
    """Return sources of ended tasks that have the order of the ends, each for one value."""
    if column is not None and len(made.columns[column]) <= _MANY_VALUES:
        index = f"INDEXED BY {INDEX_OF[column]}"
        some = f" AND {column} <> ''" if column in {"domain", "task_group"} else ""
        where = f"time_stop IS NOT NULL{some} AND {selection.any_state(made, ENDED)}"
        return [
            Source(index, f"{column} = {made.param(value)} AND {where}") for value in made.columns[column]
        ]
    found = []
    for state in sorted(made.states & ENDED):
        is_state = f"state = {made.param(state.value)}"
        found.append(Source("INDEXED BY task_ended", f"{is_state} AND {selection.ENDED_PART}"))
        found.append(Source("INDEXED BY task_kept", f"{is_state} AND {selection.KEPT_PART}"))
    return found


def _by_priority(made: Conditions) -> list[tuple[Source, str]]:
    """Return sources of active tasks that have the order of dispatch."""
    found = [
        (
            Source(
                "INDEXED BY task_waiting", f"state = {made.param(state.value)} AND {selection.WAITING_PART}"
            ),
            "priority, task_number",
        )
        for state in sorted(made.states & ACTIVE)
    ]
    if made.states & ACTIVE:
        other = Source("INDEXED BY task_active", f"{selection.OTHER_PART} AND {made.state_in(ACTIVE)}")
        found.append((other, f"priority, {_NUMBER}"))
    return found


def _ended_sources(made: Conditions, column: str | None) -> list[Source]:
    ended = made.only(ENDED)
    return selection.sources(ended, column) if ended.states else []


def _any_state(made: Conditions) -> str:
    return selection.any_state(made, frozenset(TaskState))


def _classes(states: Counter[Value]) -> Counter[Value]:
    found: Counter[Value] = Counter()
    for state, number in states.items():
        found[STATE_CLASS[TaskState(str(state))].value] += number
    return found


def _encode(order: Order, keys: tuple[float, ...]) -> str:
    return base64.urlsafe_b64encode(json.dumps([order.value, *keys]).encode()).decode()


def _decode(cursor: str | None, order: Order) -> tuple[float, float] | None:
    if cursor is None:
        return None
    try:
        kind, *keys = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
    except (ValueError, TypeError):
        kind, keys = None, []
    numbers = [
        key for key in keys if isinstance(key, int | float) and math.isfinite(key) and abs(key) < 2**63
    ]
    if kind != order.value or len(keys) != 2 or len(numbers) != 2:
        raise InvalidParams(f"The cursor {cursor!r} is not one of a page in the order {order.value!r}")
    return numbers[0], numbers[1]
