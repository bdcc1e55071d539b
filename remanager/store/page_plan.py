"""Which way to a page of tasks is the cheapest.

The tally knows how many tasks meet the conditions on its columns and how many each index would lead to. From
that the number of rows that each way reads follows, as if what is wanted were spread evenly.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from enum import StrEnum

from remanager.store import selection
from remanager.store.selection import ACTIVE, ENDED, EVERY_STATE, INDEX_OF, TALLY, Conditions, Source

_MANY_VALUES = 20
"""With more values of a column, the ways of its values are not merged."""
_ENTRY_COST = 0.1
"""Cost of an entry of an index that has all that is needed; a row costs 1."""
_ACTIVE_COST = 50_000.0
"""What the active tasks may cost a walk from the newest task to ended ones."""

NUMBER = "COALESCE(task_number, id - 1099511627776)"
"""Place in the order of dispatch among equal priorities; what is not of the task queue comes first."""

STATES = "states"
TABLE = "table"
NEWEST = "newest"


class Order(StrEnum):
    """Order of a page."""

    DISPATCH = "dispatch"  # active tasks only: by priority, then as submitted
    CREATED = "created"  # newest first
    FINISHED = "finished"  # ended tasks only: last ended first
    PRIORITY = "priority"  # as dispatch, ended tasks too


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of tasks.

    Attributes
    ----------
    matched : int
        Meet the conditions that the tally knows.
    states : int
        Are in the wanted states.
    columns : dict
        The same, and have one of the wanted values of a column.
    table : int
        All tasks, about.
    """

    matched: int
    states: int
    columns: dict[str, int]
    table: int


def sizes(connection: sqlite3.Connection, made: Conditions) -> Sizes:
    """Return the numbers of tasks that the tally knows for some conditions."""
    matched = " AND ".join(made.tallied)
    columns = {name: made.among(name, values) for name, values in made.columns.items()}
    if len(made.tallied) == len(columns) == 1:
        columns = dict.fromkeys(columns, matched)  # the same, so it need not be added up twice
    wanted = list(dict.fromkeys(("", matched, *columns.values())))
    sums = ", ".join(f"TOTAL(n) FILTER (WHERE {terms})" if terms else "TOTAL(n)" for terms in wanted)
    where = made.any_state()
    found = dict.fromkeys(wanted, 0)
    for part in TALLY:  # one by one they need no table in between
        row = connection.execute(f"SELECT {sums} FROM {part} WHERE {where}", made.params).fetchone()
        for terms, n in zip(wanted, row, strict=True):
            found[terms] += int(n)
    (table,) = connection.execute("SELECT COALESCE(MAX(id), 0) FROM task").fetchone()
    return Sizes(found[matched], found[""], {name: found[terms] for name, terms in columns.items()}, table)


def cheapest(costs: dict[str, float]) -> str:
    """Return the name of the way with the least cost."""
    return min(costs, key=costs.__getitem__)


def counting(made: Conditions, size: Sizes) -> list[Source]:
    """Return sources of all tasks that meet the conditions, in no order."""
    if made.few is not None or made.created_after or made.finished_within:
        return selection.sources(made, None)
    costs: dict[str, float] = {name: float(n) for name, n in size.columns.items()}
    # Rows in the order of the table come faster than those that an index picks.
    costs |= {STATES: float(size.states), TABLE: size.table / 4}
    return _sources(made, cheapest(costs))


def paging(made: Conditions, size: Sizes, order: Order, wanted: int) -> list[tuple[Source, str]]:
    """Return sources of the first ``wanted`` tasks in an order, each with its two sort keys.

    The rows of one source are sorted, or it has their order; they are to be merged.
    """
    if made.few is not None:
        return [(source, _keys(order)) for source in selection.sources(made, None)]
    matched = max(size.matched, 1)
    if order is Order.FINISHED:
        # Both ways have the order: what counts is the share of rows that are not wanted.
        costs = {
            name: float(n) for name, n in size.columns.items() if len(made.columns[name]) <= _MANY_VALUES
        }
        return [(source, _keys(order)) for source in _by_end(made, cheapest({**costs, STATES: size.states}))]
    costs = {name: float(n) for name, n in size.columns.items()}
    if order is Order.CREATED:
        costs[STATES] = size.states * (1.0 if made.all_terms() else _ENTRY_COST)
        costs[TABLE] = wanted * size.table / matched + (0.0 if made.states & ACTIVE else _ACTIVE_COST)
        if not made.states & ACTIVE:
            costs[NEWEST] = wanted * size.states / matched
        return [(source, _keys(order)) for source in _sources(made, cheapest(costs))]
    costs[STATES] = min(wanted * size.states / matched, size.states)
    if (way := cheapest(costs)) != STATES:
        return [(source, _keys(order)) for source in _sources(made, way)]
    return _by_priority(made)


def _keys(order: Order) -> str:
    return {Order.CREATED: "id, 0", Order.FINISHED: "time_stop, id"}.get(order, f"priority, {NUMBER}")


def _sources(made: Conditions, way: str) -> list[Source]:
    if way == TABLE:
        return [Source("NOT INDEXED", made.any_state())]
    if way == NEWEST:
        return [
            Source("INDEXED BY task_state", f"state = {made.param(state.value)} AND time_stop IS NOT NULL")
            for state in sorted(made.states)
        ]
    return selection.sources(made, None if way == STATES else way)


def _by_end(made: Conditions, way: str) -> list[Source]:
    """Return sources of ended tasks that have the order of the ends, each for one value."""
    if way != STATES:
        index = f"INDEXED BY {INDEX_OF[way]}"
        some = f" AND {way} <> ''" if way in {"domain", "task_group"} else ""
        where = f"time_stop IS NOT NULL{some} AND {made.any_state(ENDED)}"
        return [Source(index, f"{way} = {made.param(value)} AND {where}") for value in made.columns[way]]
    found = []
    for state in sorted(made.states & ENDED):
        is_state = f"state = {made.param(state.value)}"
        found.append(Source("INDEXED BY task_ended", f"{is_state} AND {selection.ENDED_PART}"))
        found.append(Source("INDEXED BY task_kept", f"{is_state} AND {selection.KEPT_PART}"))
    return found


def _by_priority(made: Conditions) -> list[tuple[Source, str]]:
    """Return sources by priority: active tasks come in the order of dispatch, ended ones are sorted."""
    found = []
    for state in sorted(made.states & ACTIVE):
        where = f"state = {made.param(state.value)} AND {selection.WAITING_PART}"
        found.append((Source("INDEXED BY task_waiting", where), "priority, task_number"))
    if made.states & ACTIVE:
        other = Source("INDEXED BY task_active", f"{selection.OTHER_PART} AND {made.state_in(ACTIVE)}")
        found.append((other, f"priority, {NUMBER}"))
    if made.states & ENDED:
        where = f"time_stop IS NOT NULL AND {made.any_state(EVERY_STATE)}"
        found.append((Source("NOT INDEXED", where), f"priority, {NUMBER}"))
    return found
