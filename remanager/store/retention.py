"""Which ended tasks are due for deletion, and their deletion: archived first, in short transactions."""

from __future__ import annotations

import heapq
import json
from dataclasses import dataclass
from itertools import islice

from remanager.model.selector import Selector
from remanager.model.states import StateClass
from remanager.store import selection
from remanager.store.archive import Archive, archive_line
from remanager.store.reads import Reads
from remanager.store.records import Retention
from remanager.store.selection import ENDED, Conditions
from remanager.store.transitions import transitions_of

_UNEXPIRED = "(return_value IS NULL OR result_expires IS NULL OR result_expires <= :now)"


@dataclass(frozen=True, slots=True)
class Victim:
    """An ended task to be deleted."""

    time_stop: float
    id: int
    task_uid: str


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a deletion on request did, or would do."""

    deleted: int
    archived: int


def due(reads: Reads, now: float, retention: Retention, chunk: int) -> list[Victim]:
    """Return up to ``chunk`` tasks that are older than their class is kept, or more than are kept of it.

    A task stays until its return value expires, unless there are too many.
    """
    found: list[Victim] = []
    for kind in StateClass:
        if kind is StateClass.ACTIVE or len(found) >= chunk:
            continue
        keep = retention.keep(kind)
        made = selection.conditions(Selector(state_class=(kind,)), now)
        room = chunk - len(found)
        aged: list[Victim] = []
        if keep.retain_s is not None:
            made.params |= {"now": now, "before": now - keep.retain_s}
            aged = oldest(reads, made, f"time_stop <= :before AND {_UNEXPIRED}", room)
        if keep.retain_count is not None and (excess := _excess(reads, made, keep.retain_count)) > len(aged):
            room = min(room, excess)
            aged = oldest(reads, made, "true", room)
        found += aged
    return found


def prunable(
    reads: Reads,
    selector: Selector,
    now: float,
    *,
    keep: int | None,
    max_age_s: float | None,
) -> tuple[Conditions, int]:
    """Return the conditions of the ended tasks that a request may delete, and how many of the oldest.

    Parameters
    ----------
    keep : int or None
        So many of the last ended ones stay.
    max_age_s : float or None
        Only tasks that ended so long ago, s.
    """
    made = selection.conditions(selector, now)
    made.states &= ENDED
    made.others.append("history_seq IS NULL")
    if max_age_s is not None:
        made.others.append(f"time_stop <= {made.param(now - max_age_s)}")
    return made, max(reads.pages.number(made) - (keep or 0), 0)


def oldest(
    reads: Reads, made: Conditions, where: str, limit: int, after: Victim | None = None
) -> list[Victim]:
    """Return up to ``limit`` ended tasks that are not in the plan history, those that ended first.

    Parameters
    ----------
    where : str
        A further condition on their parameters.
    after : Victim or None
        Only those that come later.
    """
    terms = [selection.ENDED_PART, where, *made.all_terms()]
    params = {**made.params, "limit": limit}
    if after is not None:
        terms.append("(time_stop, id) > (:after_stop, :after_id)")
        params |= {"after_stop": after.time_stop, "after_id": after.id}
    index = "NOT INDEXED" if made.few else "INDEXED BY task_ended"
    sql = (
        f"SELECT time_stop, id, task_uid FROM task {index} WHERE state = :state AND {' AND '.join(terms)}"
        " ORDER BY time_stop, id LIMIT :limit"
    )
    rows = [reads.connection.execute(sql, {**params, "state": state.value}) for state in made.states & ENDED]
    return [Victim(*row) for row in islice(heapq.merge(*rows), limit)]


def retire(reads: Reads, victims: list[Victim], archive: Archive) -> None:
    """Append tasks to the archive; they are on disk when it returns.

    Raises
    ------
    OSError
        The archive could not be written.
    """
    ids = [victim.id for victim in victims]
    tags, tasks = reads.tasks.tags(ids), reads.tasks
    archive.append(
        archive_line(record, tags.get(record.id, {}), transitions_of(record, tasks.log(record.task_uid)))
        for record in tasks.records(ids)
    )


def _excess(reads: Reads, made: Conditions, count: int) -> int:
    """Return how many tasks there are beyond ``count``, without those of the plan history."""
    states = json.dumps([state.value for state in made.states])
    sql = (
        "SELECT COUNT(*) FROM task INDEXED BY task_kept"
        f" WHERE {selection.KEPT_PART} AND state IN (SELECT value FROM json_each(:states))"
    )
    in_history: int = reads.connection.execute(sql, {"states": states}).fetchone()[0]
    return reads.pages.number(made) - in_history - count
