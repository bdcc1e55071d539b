"""A selector as SQL: conditions, and the indexes that may lead to the tasks.

Values are only ever parameters. The forms are plain and name their index, so that the cost of a question does
not depend on what the query planner believes of the data.

The table has four parts, each with indexes of its own: active tasks of the task queue, other active ones,
ended ones, and ended ones that the plan history keeps.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from remanager.model.selector import Location, Selector, TimeRange
from remanager.model.states import STATE_CLASS, StateClass, TaskState

ACTIVE = frozenset(state for state in TaskState if STATE_CLASS[state] is StateClass.ACTIVE)
EVERY_STATE = frozenset(TaskState)
ENDED = EVERY_STATE - ACTIVE
_QUEUED = frozenset({TaskState.PENDING, TaskState.BLOCKED, TaskState.PAUSED})

WAITING_PART = "time_stop IS NULL AND task_number IS NOT NULL"
OTHER_PART = "time_stop IS NULL AND task_number IS NULL"
ENDED_PART = "time_stop IS NOT NULL AND history_seq IS NULL"
KEPT_PART = "time_stop IS NOT NULL AND history_seq IS NOT NULL"

TALLY = ("tally_sum", "tally_change")
"""The parts of the tally."""

# Fields of the selector and their columns; those of the tally first.
_TALLIED = {
    "name": "name",
    "user": "user",
    "domain": "domain",
    "group": "task_group",
    "item_type": "item_type",
}
_COLUMNS = {"user_group": "user_group", "worker_uid": "worker_uid"}
_FEW = ("task_uid", "key", "parent_uid", "schedule_uid", "job_uid")
"""Fields with few tasks for each value: if one of them is given, it leads to the tasks."""
_FEW_INDEX = {
    "task_uid": "",
    "key": "INDEXED BY task_key",
    "parent_uid": "INDEXED BY task_parent",
    "schedule_uid": "INDEXED BY task_schedule",
    "job_uid": "INDEXED BY task_job",
}
INDEX_OF = {"name": "task_name", "user": "task_user", "domain": "task_domain", "task_group": "task_group"}
"""Indexes of columns with many tasks for each value, in the order of the ends."""


@dataclass(frozen=True, slots=True)
class Source:
    """A part of the table and the way to it; together with the conditions it gives tasks."""

    index: str
    where: str


@dataclass(slots=True)
class Conditions:
    """What a selector asks for.

    Attributes
    ----------
    states : frozenset of TaskState
        States that a task may have.
    tallied : list of str
        Conditions on columns of the tally, but for the state.
    others : list of str
        Conditions on other columns.
    few : str or None
        A condition that leads to the tasks by itself.
    columns : dict
        Values of the columns of :data:`INDEX_OF` that are asked for; each value has an index entry.
    later : str or None
        Condition of a time to wait for that lies in the future, where the selector asks for what is ready.
    created_after, finished_within : bool
        Only tasks created or ended after some time are asked for: an index has these.
    """

    states: frozenset[TaskState]
    tallied: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    few: str | None = None
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    later: str | None = None
    created_after: bool = False
    finished_within: bool = False
    params: dict[str, object] = field(default_factory=dict)

    @property
    def by_tally(self) -> bool:
        """Tell whether the tally knows how many tasks there are."""
        return self.few is None and not self.others

    @property
    def ready_by_tally(self) -> bool:
        """Tell whether the tally knows it but for the delayed ones, which an index knows."""
        return self.later is not None and self.few is None and len(self.others) == 1

    def param(self, value: object) -> str:
        """Return the placeholder of a new parameter."""
        name = f"p{len(self.params)}"
        self.params[name] = value
        return f":{name}"

    def among(self, column: str, values: Iterable[str]) -> str:
        """Return the condition that a column has one of these texts."""
        wanted = list(values)
        if len(wanted) == 1 and _storable(wanted[0]):
            return f"{column} = {self.param(wanted[0])}"
        value = "value"
        if any("\0" in text for text in wanted):  # where SQLite ends the texts of an array
            wanted = [text.replace("%", "%1").replace("\0", "%0") for text in wanted]
            value = "REPLACE(REPLACE(value, '%0', CHAR(0)), '%1', '%')"
        return f"{column} IN (SELECT {value} FROM json_each({self.param(json.dumps(wanted))}))"

    def state_in(self, part: frozenset[TaskState]) -> str:
        """Return the condition that the state is one of those of a part that are asked for."""
        return self.among("state", sorted(state.value for state in self.states & part))

    @property
    def is_all(self) -> bool:
        """Tell whether every task is asked for."""
        return self.states == EVERY_STATE and not self.all_terms()

    def any_state(self, part: frozenset[TaskState] = EVERY_STATE) -> str:
        """Return the condition on the state within a part; where all are wanted it needs no row."""
        return "true" if self.states >= part else self.state_in(part)

    def all_terms(self) -> list[str]:
        """Return all conditions but that on the state."""
        return [*([self.few] if self.few else []), *self.tallied, *self.others]


def conditions(selector: Selector, now: float) -> Conditions:
    """Return what a selector asks for at the time ``now`` (epoch seconds)."""
    made = Conditions(_states(selector))
    for name, column in _TALLIED.items():
        if values := getattr(selector, name):
            made.tallied.append(made.among(column, values))
            if column in INDEX_OF and all(map(_storable, values)) and "" not in values:
                made.columns[column] = values
    for bound, operator in ((selector.priority.min, ">="), (selector.priority.max, "<=")):
        if bound is not None:
            made.tallied.append(f"priority {operator} {made.param(bound)}")
    _few(made, selector)
    for name, column in _COLUMNS.items():
        if values := getattr(selector, name):
            made.others.append(made.among(column, values))
    _times(
        made,
        {"time_created": selector.created, "time_start": selector.started, "time_stop": selector.finished},
    )
    made.created_after = selector.created.after is not None
    made.finished_within = selector.finished.after is not None
    if selector.pause_reason:
        among = made.among("value", selector.pause_reason)
        made.others.append(f"EXISTS (SELECT 1 FROM json_each(pause_reasons) WHERE {among})")
    if selector.ready is not None:
        later = f"run_after > {made.param(now)}"
        if selector.ready:
            made.later = later
            made.others.append(f"(run_after IS NULL OR NOT {later})")
        else:
            made.others.append(f"(state <> 'pending' OR {later})")
            made.others.append("NOT (state = 'paused' AND item_type = 'plan')")  # its worker keeps it
    return made


def _states(selector: Selector) -> frozenset[TaskState]:
    if selector.is_empty:
        return frozenset()
    found = frozenset(selector.state) if selector.state else frozenset(TaskState)
    if selector.state_class:
        found &= {state for state in found if STATE_CLASS[state] in selector.state_class}
    if selector.location is not Location.ANY:
        found &= ACTIVE if selector.location is Location.ACTIVE else ENDED
    if selector.finished != TimeRange():
        found &= ENDED
    if selector.pause_reason:
        found &= ACTIVE
    if selector.ready is not None:
        found &= {TaskState.PENDING} if selector.ready else _QUEUED
    return found


def _few(made: Conditions, selector: Selector) -> None:
    """Add the conditions on uids, keys and tags; the first one leads to the tasks."""
    for name in _FEW:
        values: tuple[str, ...] = getattr(selector, name)
        if not values:
            continue
        term = made.among(name, values) + (" AND key <> ''" if name == "key" and "" not in values else "")
        if made.few is None and "" not in values:
            made.few = f"id IN (SELECT id FROM task {_FEW_INDEX[name]} WHERE {term})"
        else:
            made.others.append(term)
    for tag in selector.tags:
        term = f"tag.key = {made.param(text(tag.key))}"
        if tag.values:
            term += f" AND {made.among('tag.value', tag.values)}"
        if made.few is None and tag.values:
            made.few = f"id IN (SELECT tag.task_id FROM tag INDEXED BY tag_value WHERE {term})"
        else:
            made.others.append(f"EXISTS (SELECT 1 FROM tag WHERE tag.task_id = task.id AND {term})")
    if selector.tag_key_prefix is not None:
        term = key_prefix(made, "tag.key", selector.tag_key_prefix)
        made.others.append(f"EXISTS (SELECT 1 FROM tag WHERE tag.task_id = task.id AND {term})")


def key_prefix(made: Conditions, column: str, prefix: str) -> str:
    """Return the condition that a text begins with ``prefix``, literally."""
    if not _storable(prefix):
        return "false"
    first, begin = made.param(prefix), made.param(prefix.encode())
    # In bytes: LENGTH and SUBSTR of a text end at NUL.
    return f"{column} >= {first} AND SUBSTR(CAST({column} AS BLOB), 1, LENGTH({begin})) = {begin}"


def _times(made: Conditions, ranges: Mapping[str, TimeRange]) -> None:
    for column, times in ranges.items():
        for bound, operator in ((times.after, ">"), (times.before, "<=")):
            if bound is not None:
                made.others.append(f"{column} {operator} {made.param(bound)}")


def sources(made: Conditions, column: str | None) -> list[Source]:
    """Return the parts of the table that can hold tasks of the wanted states.

    Parameters
    ----------
    column : str or None
        A column of :data:`INDEX_OF` whose values are asked for: its index leads to the tasks. None: the
        state does.
    """
    if made.few is not None:
        return [Source("NOT INDEXED", made.any_state())]
    found = []
    active, ended = made.states & ACTIVE, made.states & ENDED
    if active:
        found.append(Source("INDEXED BY task_active", f"{OTHER_PART} AND {made.state_in(ACTIVE)}"))
    if column is None and made.created_after:
        index = "INDEXED BY task_created"
        if active:
            found.append(Source(index, f"{WAITING_PART} AND {made.state_in(ACTIVE)}"))
        if ended:
            found.append(Source(index, f"time_stop IS NOT NULL AND {made.state_in(ENDED)}"))
    elif column is None:
        if active:
            found.append(Source("INDEXED BY task_waiting", f"{WAITING_PART} AND {made.state_in(ACTIVE)}"))
        if ended:
            found.append(Source("INDEXED BY task_ended", f"{ENDED_PART} AND {made.state_in(ENDED)}"))
            found.append(Source("INDEXED BY task_kept", f"{KEPT_PART} AND {made.state_in(ENDED)}"))
    else:
        index = f"INDEXED BY {INDEX_OF[column]}"
        some = f" AND {column} <> ''" if column in {"domain", "task_group"} else ""
        if active:
            found.append(Source(index, f"{WAITING_PART}{some} AND {made.any_state(ACTIVE)}"))
        if ended:
            found.append(Source(index, f"time_stop IS NOT NULL{some} AND {made.any_state(ENDED)}"))
    return found


def _storable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def text(value: str) -> str | None:
    """Return a text as a parameter; NULL, to which nothing is equal, if nothing stored can be it."""
    return value if _storable(value) else None
