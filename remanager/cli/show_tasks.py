"""Replies about tasks in a form for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from remanager.cli.shown import STYLES, Reply, columns, describe, moment, value

Row = Sequence[Any]


def _table(names: Sequence[str], rows: Sequence[Row], empty: str) -> RenderableType:
    if not rows:
        return Text(empty)
    table: Table = columns(*names)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(value(cell)) for cell in row))
    return table


def _state(task: Reply) -> Text:
    state = str(task.get("state", ""))
    return Text(state, style=STYLES.get(state, ""))


def _seconds(duration: float | None) -> str:
    return "" if duration is None else f"{duration:.2f} s"


def _why(task: Reply) -> str:
    """Return why a task waits, or how it ended."""
    error = task.get("last_error") or {}
    return str(task.get("wait_reason") or error.get("msg") or task.get("state_reason") or "")[:200]


def _tasks(reply: Reply) -> RenderableType:
    tasks = reply["tasks"]
    rows = [
        (
            t.get("task_uid"),
            describe(t),
            _state(t),
            t.get("priority"),
            t.get("user"),
            moment(t.get("time_created")),
            _seconds(t.get("duration")),
            _why(t),
        )
        for t in tasks
    ]
    names = ("UID", "task", "state", "priority", "user", "submitted", "took", "why")
    parts: list[RenderableType] = [_table(names, rows, "no tasks")]
    if reply.get("next_cursor"):
        parts.append(Text(f"{len(tasks)} of {reply['total']}; go on with cursor={reply['next_cursor']}"))
    return Group(*parts)


def _counts(reply: Reply) -> RenderableType:
    rows = [(c["value"], c["count"]) for c in reply["counts"]]
    return _table(("value", "tasks"), [*rows, ("total", reply["total"])], "")


def _progress(reply: Reply) -> RenderableType:
    rows = [
        (
            p["task_uid"],
            p["label"] or p["task_type"],
            None if p.get("percent") is None else f"{p['percent']} %",
            _seconds(p.get("elapsed_s")),
            _seconds(p.get("eta_s")),
            p.get("message"),
        )
        for p in reply["progress"]
    ]
    return _table(("UID", "task", "done", "elapsed", "left", "message"), rows, "no task is running")


def _workers(reply: Reply) -> RenderableType:
    names = ("worker_uid", "kind", "pid", "state", "tasks_done", "tasks_failed", "rss_bytes")
    rows = [[w.get(n) for n in names] + [len(w.get("running") or ())] for w in reply["workers"]]
    return _table((*names, "running"), rows, "no workers")


def _plain(key: str, empty: str, *names: str) -> Callable[[Reply], RenderableType]:
    """Make the renderer of a list of dictionaries."""

    def render(reply: Reply) -> RenderableType:
        return _table(names, [[row.get(n) for n in names] for row in reply[key]], empty)

    return render


def _schedules(reply: Reply) -> RenderableType:
    rows = [
        (
            s["schedule_uid"],
            s.get("label") or s["task_type"],
            moment(s.get("next_run")),
            moment(s.get("last_run")),
            s.get("last_state"),
            s.get("execution_count"),
            s.get("paused"),
        )
        for s in reply["schedules"]
    ]
    names = ("UID", "task", "next run", "last run", "last state", "runs", "paused")
    return _table(names, rows, "no schedules")


def _metrics(reply: Reply) -> RenderableType:
    return Text(reply["text"]) if "text" in reply else Text(value(reply["metrics"]))


def _functions(reply: Reply) -> RenderableType:
    rows = []
    for function in reply["functions"]:
        names = [p["name"] for p in function["parameters"]]
        first_line = (function.get("doc") or "").strip().partition("\n")[0]
        rows.append((function["name"], ", ".join(names), function["module"], first_line))
    parts: list[RenderableType] = [
        _table(("function", "parameters", "module", ""), rows, "the task modules offer no functions")
    ]
    parts += [
        Text(f"{name} could not be imported:\n{text}") for name, text in reply["failed_modules"].items()
    ]
    return Group(*parts)


TASK_RENDERERS: Mapping[str, Callable[[Reply], RenderableType]] = {
    "task_list": _tasks,
    "task_count": _counts,
    "task_progress": _progress,
    "task_function_list": _functions,
    "worker_list": _workers,
    "limit_list": _plain(
        "limits", "no limits", "scope", "name", "max_running", "running", "rate", "available_tokens"
    ),
    "schedule_list": _schedules,
    "alert_list": _plain("alerts", "no alerts", "name", "level", "value", "threshold", "acked_by"),
    "alert_rule_list": _plain("rules", "no rules", "name", "metric", "op", "warn", "critical", "enabled"),
    "metrics_get": _metrics,
}
TREES = (
    *("task_submit", "task_submit_batch", "task_info", "task_wait", "task_result_batch", "job_status"),
    *("task_cancel", "task_retry", "task_update", "task_pause", "task_resume", "task_prune", "tag_list"),
    *("type_stats", "snapshot", "stats_history", "limit_set", "limit_remove", "schedule_add"),
    *("schedule_pause", "schedule_resume", "schedule_cancel", "worker_stop", "worker_restart"),
    *("alert_ack", "alert_rule_set", "alert_rule_remove"),
)
"""Methods whose answers are shown as they are."""
