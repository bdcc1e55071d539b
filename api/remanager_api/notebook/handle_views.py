"""Views of handles: what was submitted, how far it is, what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remanager_api.notebook.blocks import Cell, Code, Note, Pairs, Part, View
from remanager_api.notebook.queue_views import names, traceback_of
from remanager_api.notebook.render_html import to_html
from remanager_api.notebook.task_views import task_bar
from remanager_api.notebook.values import moment, seconds, short, state

if TYPE_CHECKING:
    from remanager_api.outcomes import Outcome
    from remanager_api.progress import Progress


def handle_html(task_uid: str, name: str, last_state: str) -> str:
    """Return a handle as HTML, by what it knows without asking the manager."""
    parts: list[Part] = [Pairs([("UID", Code(task_uid))]), Note("as last heard")]
    return to_html(View(name or "Task", [state(last_state)], parts))


def progress_html(progress: Progress) -> str:
    """Return as HTML how far something is."""
    told = {name: getattr(progress, name) for name in ("done_count", "total_count", "eta_s", "message")}
    bar = task_bar({**told, "best": progress.fraction})
    rows: list[tuple[str, Cell]] = [("progress", bar)] if bar else []
    if progress.elapsed_s is not None:
        rows.append(("elapsed", seconds(progress.elapsed_s)))
    return to_html(View("Progress", [state(progress.state)], [Pairs(rows)]))


def outcome_html(outcome: Outcome) -> str:
    """Return as HTML what became of something."""
    rows: list[tuple[str, Cell]] = [("UID", Code(outcome.task_uid))]
    if outcome.plan is not None:
        rows.append(("scans", names(outcome.plan.scan_ids)))
        rows.append(("runs", Code(names(outcome.plan.run_uids))))
    if outcome.return_value is not None:
        rows.append(("result", Code(short(outcome.return_value))))
    if outcome.msg:
        rows.append(("message", short(outcome.msg)))
    if outcome.time_start and outcome.time_stop:
        rows.append(("ended", moment(outcome.time_stop)))
        rows.append(("took", seconds(outcome.time_stop - outcome.time_start)))
    parts: list[Part] = [Pairs(rows), *traceback_of({"traceback": outcome.traceback})]
    return to_html(View(outcome.name or "Task", [state(outcome.state)], parts))
