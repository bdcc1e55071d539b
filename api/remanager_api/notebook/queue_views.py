"""Views of the manager, the queue, its history, and of plans and devices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from remanager_api.notebook.blocks import (
    MAX_ROWS,
    Badge,
    Bar,
    Cell,
    Code,
    Lines,
    Note,
    Pairs,
    Part,
    Table,
    Tone,
    View,
)
from remanager_api.notebook.values import (
    call,
    cut,
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
_ABILITIES = (("is_readable", "readable"), ("is_movable", "movable"), ("is_flyable", "flyable"))
_SHOWN_NAMES = 12


def left_out(shown: int, total: int, what: str = "more") -> str:
    """Return the note below a table that does not show everything."""
    return f"... and {total - shown} {what}" if total > shown else ""


def plan_bar(progress: Reply) -> Bar | None:
    """Return how far the running plan is; None if nothing is known."""
    done, total = number(progress.get("done_count")), number(progress.get("total_count"))
    if done is None:
        return None
    words = [f"{done:g}/{total:g} points" if total else f"{done:g} points"]
    if left := seconds(progress.get("eta_s")):
        words.append(f"about {left} left")
    return Bar(done / total if total else None, ", ".join(words))


def status_marks(status: Reply) -> list[Badge]:
    """Return what catches the eye of a status."""
    marks = [state(status.get("manager_state"))]
    pending = (("queue_stop_pending", "stop pending"), ("pause_pending", "pause pending"))
    marks += [Badge(words, Tone.WARN) for key, words in pending if status.get(key)]
    if status.get("queue_autostart_enabled"):
        marks.append(Badge("autostart", Tone.BUSY))
    if any(mapping(status.get("lock")).values()):
        marks.append(Badge("locked", Tone.WARN))
    if alerts := number(status.get("alerts_active")):
        marks.append(Badge(f"{alerts:g} alerts", Tone.BAD))
    return marks


def _flags(value: object) -> str:
    return ", ".join(key for key, on in mapping(value).items() if on)


def _status(reply: Reply) -> View:
    environment = (
        reply.get("worker_environment_state") if reply.get("worker_environment_exists") else "closed"
    )
    tasks = [
        f"{number(reply.get(f'tasks_{kind}')) or 0:g} {kind}"
        for kind in ("queued", "running", "held")
        if f"tasks_{kind}" in reply
    ]
    background = number(reply.get("worker_background_tasks"))
    rows: list[tuple[str, Cell | None]] = [
        ("environment", state(environment)),
        ("RunEngine", state(reply["re_state"]) if reply.get("re_state") else None),
        ("running item", Code(short(reply.get("running_item_uid")))),
        ("progress", plan_bar(mapping(reply.get("progress")))),
        ("queue", f"{short(reply.get('items_in_queue'))} items"),
        ("history", f"{short(reply.get('items_in_history'))} items"),
        ("queue mode", _flags(reply.get("plan_queue_mode"))),
        ("locked", _flags(reply.get("lock"))),
        ("tasks", ", ".join(tasks)),
        ("background tasks", f"{background:g}" if background else None),
        ("not ready because", short(reply.get("not_ready_reason"))),
    ]
    shown = [(label, cell) for label, cell in rows if cell and cell != Code("")]
    return View(short(reply.get("msg")) or "Manager", status_marks(reply), [Pairs(shown)])


def _queue(reply: Reply) -> View:
    items, running = mappings(reply.get("items")), mapping(reply.get("running_item"))
    total = len(sequence(reply.get("items")))
    rows: list[Sequence[Cell]] = []
    if running:
        rows.append(
            (Badge("running", Tone.BUSY), call(running), short(running.get("user")), _uid_of(running))
        )
    rows += [(str(n), call(i), short(i.get("user")), _uid_of(i)) for n, i in enumerate(items[:MAX_ROWS])]
    marks = [Badge(f"{total} waiting" if total else "empty", Tone.PLAIN if total else Tone.QUIET)]
    note = left_out(min(total, MAX_ROWS), total)
    parts: list[Part] = [Table(("", "item", "user", "UID"), rows, note=note)] if rows else []
    return View("Queue", marks, parts)


def _uid_of(item: Reply) -> Code:
    return uid(item.get("item_uid"))


def history_table(items: Sequence[Reply], total: int, title: str = "") -> Table:
    """Return ended items as a table, in the order given; ``total`` is the number that there are."""
    rows: list[Sequence[Cell]] = []
    for item in items:
        result = mapping(item.get("result"))
        start, stop = number(result.get("time_start")), number(result.get("time_stop"))
        rows.append(
            (
                moment(stop),
                state(result.get("exit_status")),
                call(item),
                short(item.get("user")),
                seconds(stop - start) if start and stop else "",
                ", ".join(map(short, sequence(result.get("scan_ids"))[:_SHOWN_NAMES])),
                short(result.get("msg")),
                _uid_of(item),
            )
        )
    columns = ("ended", "status", "item", "user", "took", "scans", "message", "UID")
    return Table(columns, rows, title, left_out(len(rows), total, "older ones"))


def _history(reply: Reply) -> View:
    items = sequence(reply.get("items"))
    newest = mappings(items[: -MAX_ROWS - 1 : -1])
    failed = sum(mapping(mapping(i).get("result")).get("exit_status") == "failed" for i in items)
    marks = [Badge(f"{len(items)} items")] + ([Badge(f"{failed} failed", Tone.BAD)] if failed else [])
    return View("History", marks, [history_table(newest, len(items))] if newest else [])


def item_parts(item: Reply) -> list[Part]:
    """Return the parts that show one item."""
    result = mapping(item.get("result"))
    rows: list[tuple[str, Cell]] = [("item", call(item)), ("UID", Code(short(item.get("item_uid"))))]
    rows += [(key, short(item[key])) for key in ("user", "user_group", "meta") if item.get(key)]
    if result:
        rows.append(("status", state(result.get("exit_status"))))
    parts: list[Part] = [Pairs(rows)]
    return parts + traceback_of(result)


def traceback_of(result: Reply) -> list[Part]:
    """Return the end of the traceback of a result, if it has one."""
    text = result.get("traceback")
    return (
        [Lines(text.rstrip()[-8000:].split("\n")[-40:], "traceback")]
        if isinstance(text, str) and text
        else []
    )


def _item(reply: Reply) -> View:
    item = mapping(reply.get("item"))
    length = number(reply.get("qsize"))
    marks = [] if length is None else [Badge(f"{length:g} in the queue")]
    return View("Item of the queue" if item else "No item", marks, item_parts(item) if item else [])


def abilities(device: Reply) -> str:
    """Return what a device can do: ``readable, movable``."""
    return ", ".join(word for key, word in _ABILITIES if device.get(key))


def names(values: Iterable[object]) -> str:
    """Return some names, not too many."""
    texts = [short(value) for value in values]
    return ", ".join(texts[:_SHOWN_NAMES]) + (" ..." if len(texts) > _SHOWN_NAMES else "")


def device_table(devices: Reply) -> Table:
    """Return descriptions of devices as a table."""
    rows = [
        (
            Code(cut(str(name))),
            short(mapping(device).get("classname")),
            abilities(mapping(device)),
            names(mapping(mapping(device).get("components"))),
        )
        for name, device in list(devices.items())[:MAX_ROWS]
    ]
    note = left_out(len(rows), len(devices))
    return Table(("device", "class", "it is", "components"), rows, note=note)


def plan_table(plans: Reply) -> Table:
    """Return descriptions of plans as a table."""
    rows = [
        (
            Code(cut(str(name))),
            names(p.get("name") for p in mappings(mapping(plan).get("parameters"))),
            short(mapping(plan).get("description")).partition("\n")[0],
        )
        for name, plan in list(plans.items())[:MAX_ROWS]
    ]
    return Table(("plan", "parameters", "what it does"), rows, note=left_out(len(rows), len(plans)))


def _list_view(title: str, key: str, table: Callable[[Reply], Table]) -> Callable[[Reply], View]:
    def make(reply: Reply) -> View:
        entries = mapping(reply.get(key))
        return View(title, [Badge(str(len(entries)))], [table(entries)] if entries else [])

    return make


def _runs(reply: Reply) -> View:
    runs = mappings(reply.get("run_list"))
    rows = [
        (
            Code(short(r.get("uid"))),
            short(r.get("scan_id")),
            short(r.get("is_open")),
            state(r.get("exit_status")),
        )
        for r in runs[:MAX_ROWS]
    ]
    table = Table(("run", "scan", "open", "status"), rows, note=left_out(len(rows), len(runs)))
    return View("Runs", [Badge(str(len(runs)))], [table] if rows else [])


def _events(reply: Reply) -> View:
    events = mappings(reply.get("events"))
    rows = [
        (
            short(e.get("seq")),
            moment(e.get("time")),
            short(e.get("type")),
            uid(e.get("task_uid")),
            ", ".join(f"{k}: {short(v)}" for k, v in mapping(e.get("data")).items() if v is not None)[:400],
        )
        for e in events[-MAX_ROWS:]
    ]
    parts: list[Part] = []
    if reply.get("gap"):
        parts.append(Note("some of what was asked for is no longer kept", Tone.WARN))
    if rows:
        note = left_out(len(rows), len(events), "older ones")
        parts.append(Table(("number", "time", "event", "task", "data"), rows, note=note))
    return View("Events", [Badge(str(len(events)))], parts)


VIEWS: Mapping[str, Callable[[Reply], View]] = {
    "ping": _status,
    "status": _status,
    "queue_get": _queue,
    "history_get": _history,
    "queue_item_add": _item,
    "queue_item_get": _item,
    "queue_item_update": _item,
    "queue_item_remove": _item,
    "queue_item_move": _item,
    "queue_item_execute": _item,
    "plans_allowed": _list_view("Plans", "plans_allowed", plan_table),
    "plans_existing": _list_view("Plans", "plans_existing", plan_table),
    "devices_allowed": _list_view("Devices", "devices_allowed", device_table),
    "devices_existing": _list_view("Devices", "devices_existing", device_table),
    "re_runs": _runs,
    "event_list": _events,
}
