"""Views of figures: rates, counters, distributions, what happened minute by minute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from remanager_api.notebook.blocks import (
    MAX_ROWS,
    Badge,
    Bar,
    Cell,
    Code,
    Pairs,
    Part,
    Spark,
    Table,
    View,
)
from remanager_api.notebook.queue_views import left_out, names
from remanager_api.notebook.task_views import task_table
from remanager_api.notebook.values import (
    mapping,
    mappings,
    milliseconds,
    moment,
    number,
    numbers,
    seconds,
    sequence,
    short,
    state,
    uid,
)

Reply = Mapping[str, Any]
_MAX_POINTS = 120


def _count(value: object) -> str:
    return f"{number(value) or 0.0:g}"


def _size(value: object) -> str:
    size = number(value)
    if size is None:
        return ""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _percent(value: object) -> str:
    part = number(value)
    return "" if part is None else f"{100 * part:.3g} %"


def _counts(pairs: Reply) -> str:
    return ", ".join(f"{_count(value)} {short(key)}" for key, value in pairs.items() if number(value))


def _rates(rates: Reply) -> list[Part]:
    rows = [
        (
            short(window),
            f"{(number(mapping(r).get('throughput_per_s')) or 0.0) * 60:.3g}",
            _percent(mapping(r).get("error_rate")),
            milliseconds(mapping(r).get("latency_ms")),
        )
        for window, r in list(rates.items())[:MAX_ROWS]
    ]
    return [Table(("over", "per minute", "errors", "latency"), rows, "rates")] if rows else []


def _types(types: Reply) -> list[Part]:
    rows: list[Sequence[Cell]] = []
    for name, figures in list(types.items())[:MAX_ROWS]:
        entry, minutes = mapping(figures), mapping(mapping(figures).get("per_min"))
        took = mapping(entry.get("duration_ms"))
        active = ("preparing_cnt", "ready_cnt", "worker_doing_cnt", "finishing_cnt")
        rows.append(
            (
                Code(short(name)),
                Spark(
                    numbers(minutes.get("finished"))[-_MAX_POINTS:],
                    numbers(minutes.get("failed"))[-_MAX_POINTS:],
                ),
                _count(sum(number(entry.get(key)) or 0.0 for key in active)),
                _count(entry.get("done_tasks_cnt")),
                _count(entry.get("total_err_cnt")),
                milliseconds(took.get("p50")),
                milliseconds(took.get("p95")),
            )
        )
    columns = ("type", "ended, by minute", "active", "done", "failed", "took (half)", "took (95 %)")
    return [Table(columns, rows, "types", left_out(len(rows), len(types)))] if rows else []


def _workers(workers: object, title: str = "workers") -> list[Part]:
    entries = mappings(workers)
    rows = [
        (
            short(w.get("kind")),
            short(w.get("pid")),
            state(w.get("state")),
            _count(len(sequence(w.get("running")))),
            short(w.get("tasks_done")),
            short(w.get("tasks_failed")),
            _size(w.get("rss_bytes")),
            uid(w.get("worker_uid")),
        )
        for w in entries[:MAX_ROWS]
    ]
    columns = ("worker", "process", "state", "running", "done", "failed", "memory", "UID")
    return [Table(columns, rows, title, left_out(len(rows), len(entries)))] if rows else []


def _stats(reply: Reply) -> View:
    health, queue = mapping(reply.get("health")), mapping(reply.get("queue"))
    summary, counters = mapping(reply.get("summary")), mapping(reply.get("counters"))
    rows: list[tuple[str, Cell]] = [
        ("because", names(sequence(health.get("reasons")))),
        ("running since", moment(reply.get("time_started"))),
        ("queue", _depth(queue) if queue else ""),
        ("active", _counts(mapping(summary.get("live")))),
        ("kept", _counts(mapping(summary.get("retained")))),
        ("counted", _counts(counters)),
    ]
    parts: list[Part] = [Pairs([row for row in rows if row[1]])]
    parts += _rates(mapping(reply.get("rates"))) + _types(mapping(reply.get("types")))
    return View("Figures", [state(health.get("state"))], parts + _workers(reply.get("workers")))


def _depth(queue: Reply) -> str:
    words = f"{_count(queue.get('depth'))} waiting, {_count(queue.get('unacked'))} handed over"
    oldest = seconds(queue.get("oldest_age_s"))
    return f"{words}, the oldest for {oldest}" if oldest else words


def _distributions(reply: Reply) -> View:
    rows: list[Sequence[Cell]] = []
    types = mapping(reply.get("types"))
    for name, figures in list(types.items())[:MAX_ROWS]:
        entry = mapping(figures)
        took = mapping(entry.get("duration_ms"))
        rows.append(
            (
                Code(short(name)),
                _counts(mapping(entry.get("count_by_state"))),
                *(milliseconds(took.get(key)) for key in ("min", "p50", "p95", "max")),
                _percent(entry.get("failure_rate")),
                _percent(entry.get("retry_rate")),
            )
        )
    columns = ("type", "tasks", "shortest", "half", "95 %", "longest", "failed", "retried")
    note = left_out(len(rows), len(types))
    return View("Types of tasks", parts=[Table(columns, rows, note=note)] if rows else [])


def _lanes(reply: Reply) -> View:
    plans, lanes = mapping(reply.get("plan_queue")), mappings(reply.get("lanes"))
    tasks = ("queued", "ready", "delayed", "unacked")
    rows: list[tuple[str, Cell]] = [
        ("plans", f"{_count(plans.get('items_in_queue'))} waiting"),
        ("tasks", ", ".join(f"{_count(reply.get(key))} {key}" for key in tasks)),
    ]
    if number(plans.get("eta_s")):
        rows.append(("plans end in about", seconds(plans["eta_s"])))
    parts: list[Part] = [Pairs(rows)]
    if lanes:
        keys = ("lane", "user", "domain", "task_type", "queued", "unacked")
        cells = [[short(lane.get(key)) for key in keys] for lane in lanes[:MAX_ROWS]]
        parts.append(Table(keys, cells, note=left_out(len(cells), len(lanes))))
    return View("What waits", [state(plans.get("manager_state"))], parts)


def _snapshot(reply: Reply) -> View:
    running = mappings(reply.get("running"))
    pressure = number(reply.get("pressure"))
    rows: list[tuple[str, Cell]] = [("tasks", _counts(mapping(reply.get("counts"))) or "none")]
    if pressure is not None:
        rows.append(("used up", Bar(pressure)))
    parts: list[Part] = [Pairs(rows)]
    if running:
        progress = {p.get("task_uid"): p for p in mappings(reply.get("progress"))}
        tasks = [{**task, "progress": progress.get(task.get("task_uid"))} for task in running[:MAX_ROWS]]
        parts.append(task_table(tasks, len(running), "running"))
    return View("Now", [Badge(f"{len(running)} running")], parts + _workers(reply.get("workers")))


def _over_time(reply: Reply) -> View:
    points = [
        p for p in sequence(reply.get("points"))[-_MAX_POINTS:] if isinstance(p, list | tuple) and len(p) == 2
    ]
    values = numbers([value for _, value in points])
    if not points:
        return View("Figure over time", [Badge("nothing is known")])
    rows: list[tuple[str, Cell]] = [
        ("", Spark(values)),
        ("from", moment(points[0][0])),
        ("to", moment(points[-1][0])),
        ("highest", f"{max(values):g}"),
    ]
    return View("Figure over time", [Badge(f"{len(points)} points")], [Pairs(rows)])


def _worker_list(reply: Reply) -> View:
    workers = sequence(reply.get("workers"))
    return View("Workers", [Badge(str(len(workers)))], _workers(workers, ""))


VIEWS: Mapping[str, Callable[[Reply], View]] = {
    "stats": _stats,
    "type_stats": _distributions,
    "queue_status": _lanes,
    "snapshot": _snapshot,
    "stats_history": _over_time,
    "worker_list": _worker_list,
}
