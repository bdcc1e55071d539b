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
from itertools import islice
from operator import itemgetter

from remanager.model.errors import InvalidParams
from remanager.model.selector import Selector
from remanager.model.states import STATE_CLASS, STATES, TaskState
from remanager.store import page_plan, selection
from remanager.store.page_plan import Order, Sizes
from remanager.store.selection import ACTIVE, ENDED, TALLY, Conditions, Source
from remanager.store.task_rows import JobFigures

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

ANY_SIZE = Sizes(1, 1, {}, 1)
"""Where a few tasks are asked for, the tally need not be read."""

Value = str | int | None


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


_JOB_FIGURES = """state, COUNT(*), MIN(time_created), MIN(time_first_start), MAX(time_stop),
SUM(json_extract(progress, '$.done_size')), SUM(json_extract(progress, '$.total_size'))"""
_ERROR = "COALESCE(error_type, ''), COALESCE(msg, '')"
_FAILED = "state IN ('failed', 'dead_letter', 'dependency_failed', 'timed_out', 'lost')"


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
        size = self._sizes(made)
        if size.matched == 0:
            return Page([], 0, None)
        wanted = offset + limit + 1
        rows = heapq.merge(
            *(
                self._walk(made, source, order, keys, after, wanted)
                for source, keys in page_plan.paging(made, size, order, wanted)
            ),
            key=itemgetter(0, 1),
            reverse=order in {Order.CREATED, Order.FINISHED},
        )
        found = list(islice(rows, offset, wanted))
        total = size.matched if made.by_tally else self.number(made)
        more = len(found) > limit
        found = found[:limit]
        return Page(
            [row[2] for row in found], total, _encode(order, found[-1][:2]) if more and found else None
        )

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

    # ------------------------------------------------------------------------------------------ counts

    def count(self, selector: Selector, *, now: float) -> int:
        """Return the number of selected tasks."""
        return self.number(selection.conditions(selector, now))

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
            elif by.startswith(TAG_GROUP) and by != TAG_GROUP:
                found = self._by_tag(made, by.removeprefix(TAG_GROUP))
            else:
                raise InvalidParams(f"Tasks cannot be grouped by {by!r}")
            if missing := total - sum(found.values()):
                found[None] += missing
        counts = sorted(found.items(), key=lambda item: (-item[1], str(item[0])))
        return GroupCounts(total, counts[:limit], sum(n for _, n in counts[limit:]))

    def _sizes(self, made: Conditions) -> Sizes:
        return ANY_SIZE if made.few is not None else page_plan.sizes(self.connection, made)

    def _tallied(self, made: Conditions) -> int:
        return sum(self._tally(made, "''").values())

    def _tally(self, made: Conditions, column: str) -> Counter[Value]:
        where = " AND ".join([made.any_state(), *made.tallied])
        found: Counter[Value] = Counter()
        for part in TALLY:  # one by one they need no table in between
            sql = f"SELECT {column}, SUM(n) FROM {part} WHERE {where} GROUP BY 1"
            found.update(dict(self.connection.execute(sql, made.params)))
        return Counter({value: n for value, n in found.items() if n})

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
            where = " AND ".join(["job_uid IS NOT NULL", made.any_state(), *made.all_terms()])
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
        if made.few is None:
            # The tags of a key are fewer than the tasks, or hardly more expensive.
            where = " AND ".join([made.any_state(), *made.all_terms()])
            tables = f"{tagged} CROSS JOIN task NOT INDEXED ON id = task_id"
            sql = f"SELECT tag_value, COUNT(*) FROM {tables} WHERE {where} GROUP BY 1"
            return Counter(dict(self.connection.execute(sql, made.params)))
        found: Counter[Value] = Counter()
        for source in page_plan.counting(made, self._sizes(made)):
            where = " AND ".join([source.where, *made.all_terms()])
            tables = f"task {source.index} CROSS JOIN {tagged} ON task_id = id"
            sql = f"SELECT tag_value, COUNT(*) FROM {tables} WHERE {where} GROUP BY 1"
            found.update(dict(self.connection.execute(sql, made.params)))
        return found

    def _grouped(self, made: Conditions, columns: str, group: str) -> Counter[Value]:
        """Add up the rows ``(value, number)``, or the numbers alone, over all parts of the table."""
        found: Counter[Value] = Counter()
        for source in page_plan.counting(made, self._sizes(made)):
            where = " AND ".join([source.where, *made.all_terms()])
            sql = f"SELECT {columns} FROM task {source.index} WHERE {where} {group}"
            for *value, number in self.connection.execute(sql, made.params):
                found[value[0] if value else None] += number
        return found

    # ------------------------------------------------------------------------------------------ jobs

    def job(
        self, selector: Selector, *, now: float, most_errors: int = 10
    ) -> tuple[list[JobFigures], list[tuple[str, str, int]]]:
        """Return figures of the selected tasks by state, and type, message and number of frequent errors.

        A state may have several entries.
        """
        made = selection.conditions(selector, now)
        figures: list[JobFigures] = []
        errors: Counter[tuple[str, str]] = Counter()
        if not made.states:
            return [], []
        for source in page_plan.counting(made, self._sizes(made)):
            where = " AND ".join([source.where, *made.all_terms()])
            sql = f"SELECT {_JOB_FIGURES} FROM task {source.index} WHERE {where} GROUP BY state"
            for state, *values in self.connection.execute(sql, made.params):
                figures.append(JobFigures(STATES[state], *values))
            where += f" AND {_FAILED}"
            sql = f"SELECT {_ERROR}, COUNT(*) FROM task {source.index} WHERE {where} GROUP BY 1, 2"
            for kind, msg, number in self.connection.execute(sql, made.params):
                errors[kind, msg] += number
        return figures, [(*error, number) for error, number in errors.most_common(most_errors)]

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
            where = " AND ".join([made.any_state(), *made.all_terms()])
            sql = f"SELECT tag_key, COUNT(*) FROM {tables} WHERE {where} GROUP BY 1 ORDER BY 1 LIMIT :limit"
        return list(self.connection.execute(sql, {**made.params, "limit": limit}))

    # ------------------------------------------------------------------------------------------ all uids

    def uids(self, selector: Selector, *, now: float, limit: int) -> list[tuple[str, TaskState]]:
        """Return UID and state of up to ``limit`` selected tasks, oldest first."""
        made = selection.conditions(selector, now)
        if not made.states:
            return []
        rows: list[tuple[int, str, str]] = []
        for source in page_plan.counting(made, self._sizes(made)):
            where = " AND ".join([source.where, *made.all_terms()])
            sql = (
                f"SELECT id, task_uid, state FROM task {source.index} WHERE {where} ORDER BY id LIMIT :limit"
            )
            rows += self.connection.execute(sql, {**made.params, "limit": limit})
        return [(uid, STATES[state]) for _, uid, state in sorted(rows)[:limit]]

    def history(
        self, selector: Selector, *, now: float, limit: int, before_seq: int | None
    ) -> tuple[list[tuple[int, str, str | None]], int]:
        """Return a page of the selected entries of the plan history, and the number of all of them.

        Parameters
        ----------
        limit, before_seq : int, int or None
            As for :meth:`remanager.store.reads.Reads.history_page`, whose rows these are.
        """
        made = selection.conditions(selector, now)
        if not made.states:
            return [], 0
        where = " AND ".join(["history_seq IS NOT NULL", made.any_state(), *made.all_terms()])
        count = f"SELECT COUNT(*) FROM task WHERE {where}"
        (total,) = self.connection.execute(count, made.params).fetchone()
        older = "true" if before_seq is None else f"history_seq < {made.param(before_seq)}"
        sql = f"SELECT history_seq, body, result FROM task WHERE {where} AND {older}"
        order = f"ORDER BY history_seq DESC LIMIT {made.param(limit)}"
        return self.connection.execute(f"{sql} {order}", made.params).fetchall()[::-1], total


def _restricted(selector: Selector, order: Order, now: float) -> Conditions:
    made = selection.conditions(selector, now)
    if order is Order.FINISHED:
        made.states &= ENDED
    elif order is Order.DISPATCH:
        made.states &= ACTIVE
    return made


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
