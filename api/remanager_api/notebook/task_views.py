"""Views of tasks: of plans, functions, scripts and tasks of the task queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from remanager_api.notebook.blocks import MAX_ROWS, Badge, Bar, Cell, Code, Pairs, Part, Table, Tone, View
from remanager_api.notebook.queue_views import left_out, names, traceback_of
from remanager_api.notebook.reply import TASK_RECORD
from remanager_api.notebook.values import (
    call,
    mapping,
    mappings,
    moment,
    number,
    seconds,
    sequence,
    short,
    state,
    uid,
)

Reply = Mapping[str, Any]
_TIMES = (("time_created", "submitted"), ("time_start", "started"), ("time_stop", "ended"))
_FACTS = (
    "user",
    "group",
    "domain",
    "key",
    "tags",
    "depends_on",
    "wait_reason",
    "state_reason",
    "pause_reasons",
)


def task_bar(progress: Reply) -> Bar | None:
    """Return how far a task is; None if nothing is known."""
    best = number(progress.get("best"))
    done, total = number(progress.get("done_count")), number(progress.get("total_count"))
    words = [] if best is None else [f"{100 * best:.0f} %"]
    if done is not None:
        words.append(f"{done:g}/{total:g}" if total else f"{done:g} done")
    if best != 1.0 and (left := seconds(progress.get("eta_s"))):
        words.append(f"about {left} left")
    if message := short(progress.get("message")):
        words.append(message)
    return Bar(best, ", ".join(words)) if words else None


def why(task: Reply) -> str:
    """Return why a task waits, or how it ended."""
    error = mapping(task.get("last_error"))
    return short(task.get("wait_reason") or error.get("msg") or task.get("state_reason"))


def task_table(tasks: Sequence[Reply], total: int, title: str = "") -> Table:
    """Return records of tasks as a table; ``total`` is the number that there are."""
    rows: list[Sequence[Cell]] = [
        (
            call(task),
            state(task.get("state")),
            (task_bar(mapping(task.get("progress"))) or "") if task.get("state") == "running" else "",
            short(task.get("user")),
            moment(task.get("time_created")),
            seconds(task.get("duration")),
            why(task),
            uid(task.get("task_uid")),
        )
        for task in tasks[:MAX_ROWS]
    ]
    columns = ("task", "state", "progress", "user", "submitted", "took", "why", "UID")
    return Table(columns, rows, title, left_out(len(rows), total))


def _tasks(reply: Reply) -> View:
    tasks = mappings(reply.get("tasks"))
    total = int(number(reply.get("total")) or len(tasks))
    return View("Tasks", [Badge(str(total))], [task_table(tasks, total)] if tasks else [])


def task_parts(task: Reply, progress: Reply) -> list[Part]:
    """Return the parts that show the record of one task."""
    rows: list[tuple[str, Cell]] = [("UID", Code(short(task.get("task_uid"))))]
    bar = task_bar(progress)
    if bar is not None:
        rows.append(("progress", bar))
    rows += [(words, moment(task[key])) for key, words in _TIMES if task.get(key)]
    if task.get("duration") is not None:
        rows.append(("took", seconds(task["duration"])))
    if (number(task.get("attempt")) or 0) > 1:
        rows.append(("attempt", short(task["attempt"])))
    rows += [(key.replace("_", " "), short(task[key])) for key in _FACTS if task.get(key)]
    error = mapping(task.get("last_error"))
    if error:
        rows.append(("error", short(error.get("msg"))))
    return [Pairs(rows), *traceback_of(error)]


def _plain_table(rows: object, title: str) -> list[Part]:
    """Return dictionaries that are alike as a table with their keys as columns."""
    entries = mappings(rows)
    columns = [key for key, value in entries[0].items() if not isinstance(value, Mapping)] if entries else []
    if not columns:
        return []
    cells = [[_plain_cell(key, entry.get(key)) for key in columns] for entry in entries[:MAX_ROWS]]
    return [Table(columns, cells, title, left_out(len(cells), len(entries)))]


def _plain_cell(key: str, value: object) -> Cell:
    if key.endswith("uid"):
        return uid(value)
    return moment(value) if key.startswith("time") else short(value)


def _task(reply: Reply) -> View:
    task = mapping(reply.get("task"))
    if not task:
        return View("Task", [Badge(short(reply.get("location")) or "not found", Tone.WARN)])
    parts = task_parts(task, mapping(reply.get("progress")))
    parts += _result_parts(mapping(reply.get("result")))
    for key in ("attempts", "transitions", "children", "dependents"):
        parts += _plain_table(reply.get(key), key)
    return View(call(task).text, [state(task.get("state"))], parts)


def _record(record: Reply) -> View:
    return _task({**record, "task": record})


def _result_parts(result: Reply) -> list[Part]:
    rows = [("result", Code(short(result["return_value"])))] if result.get("return_value") is not None else []
    if result.get("scan_ids"):
        rows.append(("scans", Code(names(sequence(result["scan_ids"])))))
    if result.get("msg"):
        rows.append(("message", Code(short(result["msg"]))))
    return [*([Pairs(rows)] if rows else []), *traceback_of(result)]


def _result(reply: Reply) -> View:
    result = mapping(reply.get("result"))
    marks = [state(reply.get("state") or reply.get("status"))]
    if "success" in result:
        good = bool(result["success"])
        marks.append(Badge("success" if good else "failure", Tone.GOOD if good else Tone.BAD))
    return View(f"Task {short(reply.get('task_uid'))}", marks, _result_parts(result))


def progress_table(tasks: Sequence[Reply], title: str = "") -> Table:
    """Return how far tasks are as a table."""
    rows = [
        (
            short(task.get("label") or task.get("task_type")),
            task_bar(task) or "",
            seconds(task.get("elapsed_s")),
            uid(task.get("task_uid")),
        )
        for task in tasks[:MAX_ROWS]
    ]
    columns = ("task", "progress", "elapsed", "UID")
    return Table(columns, rows, title, left_out(len(rows), len(tasks)))


def _progress(reply: Reply) -> View:
    tasks = mappings(reply.get("progress"))
    return View("Running tasks", [Badge(str(len(tasks)))], [progress_table(tasks)] if tasks else [])


def _counts(reply: Reply) -> View:
    counts = mappings(reply.get("counts"))
    total = number(reply.get("total")) or 0.0
    rows: list[Sequence[Cell]] = []
    for entry in counts[:MAX_ROWS]:
        count = number(entry.get("count")) or 0.0
        rows.append((state(entry.get("value")), Bar(count / total if total else 0.0, f"{count:g}")))
    parts = [Table(("value", "tasks"), rows, note=left_out(len(rows), len(counts)))] if rows else []
    return View("Tasks", [Badge(f"{total:g}")], parts)


def function_table(functions: Sequence[Reply]) -> Table:
    """Return functions of task modules as a table."""
    rows = [
        (
            Code(short(f.get("name"))),
            names(p.get("name") for p in mappings(f.get("parameters"))),
            short(f.get("module")),
            short(f.get("doc")).strip().partition("\n")[0],
        )
        for f in functions[:MAX_ROWS]
    ]
    columns = ("function", "parameters", "module", "what it does")
    return Table(columns, rows, note=left_out(len(rows), len(functions)))


def _functions(reply: Reply) -> View:
    functions = mappings(reply.get("functions"))
    failed = mapping(reply.get("failed_modules"))
    marks = [Badge(str(len(functions)))] + [Badge(f"{len(failed)} modules failed", Tone.BAD)] * bool(failed)
    parts: list[Part] = [function_table(functions)] if functions else []
    for module, text in list(failed.items())[:5]:
        parts += [Pairs([("failed", Code(str(module)))]), *traceback_of({"traceback": text})]
    return View("Functions of the task modules", marks, parts)


def _submitted(reply: Reply) -> View:
    rows: list[tuple[str, Cell]] = [("UID", Code(short(reply.get("task_uid"))))]
    rows += [(key, short(reply[key])) for key in ("outcome", "held", "msg") if reply.get(key)]
    return View("Task submitted", parts=[Pairs(rows)])


def _job(reply: Reply) -> View:
    if "jobs" in reply:
        jobs = [{"job_uid": key, **mapping(job)} for key, job in mapping(reply["jobs"]).items()]
        return View("Jobs", [Badge(str(len(jobs)))], _plain_table(jobs, ""))
    done, total = number(reply.get("done_tasks_cnt")), number(reply.get("total_tasks_cnt"))
    percent = number(reply.get("percent"))
    bar = Bar(None if percent is None else percent / 100, f"{short(done)} of {short(total)} tasks")
    counts = ("succeeded", "failed", "cancelled", "remaining")
    rows: list[tuple[str, Cell]] = [("progress", bar), *((key, short(reply.get(key))) for key in counts)]
    errors = _plain_table(reply.get("errors"), "errors")
    return View("Job", [state(reply.get("state"))], [Pairs(rows), *errors])


def _listing(title: str, key: str) -> Callable[[Reply], View]:
    def make(reply: Reply) -> View:
        entries = sequence(reply.get(key))
        return View(title, [Badge(str(len(entries)))], _plain_table(entries, ""))

    return make


VIEWS: Mapping[str, Callable[[Reply], View]] = {
    "task_list": _tasks,
    "task_info": _task,
    TASK_RECORD: _record,
    "task_result": _result,
    "task_progress": _progress,
    "task_count": _counts,
    "task_function_list": _functions,
    "task_submit": _submitted,
    "job_status": _job,
    "limit_list": _listing("Limits", "limits"),
    "schedule_list": _listing("Schedules", "schedules"),
    "alert_list": _listing("Alerts", "alerts"),
    "alert_rule_list": _listing("Rules of alerts", "rules"),
}
