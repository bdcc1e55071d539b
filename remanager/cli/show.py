"""Replies in a form for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from remanager.cli.show_tasks import TASK_RENDERERS, TREES
from remanager.cli.shown import STYLES, Reply, columns, describe, duration, moment, value
from remanager.model.states import STATE_CLASS, TaskState

_STATUS_ROWS = (
    ("manager", "manager_state"),
    ("environment", "worker_environment_state"),
    ("RunEngine", "re_state"),
    ("running item", "running_item_uid"),
    ("items in queue", "items_in_queue"),
    ("items in history", "items_in_history"),
    ("queue mode", "plan_queue_mode"),
    ("stop pending", "queue_stop_pending"),
    ("pause pending", "pause_pending"),
    ("autostart", "queue_autostart_enabled"),
    ("background tasks", "worker_background_tasks"),
    ("locked", "lock"),
    ("ready", "ready"),
    ("not ready because", "not_ready_reason"),
)
_ABILITIES = (("is_readable", "readable"), ("is_movable", "movable"), ("is_flyable", "flyable"))
_QUIET_KEYS = {"success", "msg"}
_TIMES = {
    *("time", "next_run", "last_run", "next_run_after", "next_wakeup", "run_after", "until", "expires_at"),
    *("result_expires", "lease_expires_at"),
}
"""Values that are epoch seconds, beside those whose names begin with ``time_``."""


def show(method: str, reply: Reply, detail: str | None = None) -> None:
    """Print a reply.

    Parameters
    ----------
    method : str
        Method that was asked for.
    reply : Mapping
        Reply that says success.
    detail : str, optional
        Name of the one plan or device to show.
    """
    shown = render(method, reply, detail)
    console = Console()
    # Without a terminal there is no width to fit into: scripts read whole lines.
    if not console.is_terminal:
        console.width = 200
    console.print(shown, soft_wrap=isinstance(shown, Text))


def render(method: str, reply: Reply, detail: str | None = None) -> RenderableType:
    """Return a reply as something that rich can print; see :func:`show`."""
    if detail is not None:
        return _detail(method, reply, detail)
    return _RENDERERS.get(method, _done)(reply)


# ------------------------------------------------------------------------------------------- values


def _pairs(rows: Sequence[tuple[str, Any]], title: str = "") -> Table:
    table = Table(box=None, show_header=False, title=title or None, title_justify="left", pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, content in rows:
        table.add_row(label, content if isinstance(content, Text) else Text(value(content)))
    return table


# ------------------------------------------------------------------------------------------- replies


def _done(reply: Reply) -> RenderableType:
    """Show a reply that says little more than that it was done."""
    rows: list[tuple[str, Any]] = []
    for key, content in reply.items():
        if key in _QUIET_KEYS or key.endswith("_uid_changed"):
            continue
        if key == "item" and isinstance(content, Mapping) and content:
            rows += [("item", describe(content)), ("item_uid", content.get("item_uid"))]
        elif key == "items":
            rows += [("items", len(content)), *(("item_uid", i.get("item_uid")) for i in content[:20])]
        elif key == "results":
            continue
        else:
            rows.append((key, content))
    text = reply.get("msg") or "Done."
    return _pairs(rows, text) if rows else Text(text)


def _status(reply: Reply) -> RenderableType:
    rows = [(label, reply[key]) for label, key in _STATUS_ROWS if key in reply]
    shown = [row for row in rows if row[0] != "not ready because" or row[1]]
    return _pairs(shown, str(reply.get("msg", "")))


def _ping(reply: Reply) -> RenderableType:
    return Text(f"{reply.get('msg', 'the manager')} answers; it is {reply.get('manager_state', '?')}.")


def _items(items: Sequence[Reply], running: Reply) -> Table:
    table = columns("", "item", "user", "item_uid")
    if running:
        table.add_row(
            Text("run", "cyan"), Text(describe(running)), running.get("user"), running.get("item_uid")
        )
    for number, item in enumerate(items):
        table.add_row(
            str(number), Text(describe(item)), Text(str(item.get("user", ""))), item.get("item_uid")
        )
    return table


def _queue(reply: Reply) -> RenderableType:
    items, running = reply.get("items", []), reply.get("running_item", {})
    if not items and not running:
        return Text("The queue is empty.")
    return _items(items, running)


def history_rows(items: Sequence[Reply]) -> Table:
    """Return items of the history as a table, in the order given."""
    table = columns("ended", "status", "item", "user", "time", "runs", "item_uid")
    for item in items:
        result = item.get("result") or {}
        status = str(result.get("exit_status", "?"))
        table.add_row(
            moment(result.get("time_stop")),
            Text(status, STYLES.get(status, "")),
            Text(describe(item) + (f"\n{result['msg']}" if result.get("msg") else "")),
            Text(_who(item, result)),
            duration(result),
            " ".join(str(uid)[:8] for uid in result.get("run_uids", [])),
            item.get("item_uid"),
        )
    return table


def _who(item: Reply, result: Reply) -> str:
    """Return the user of an item, and the principal who submitted it where clients are identified."""
    user, principal = str(item.get("user", "")), result.get("principal")
    return f"{user} ({principal})" if principal and principal not in {"local", user} else user


def _history(reply: Reply) -> RenderableType:
    items = reply.get("items", [])
    return history_rows(items) if items else Text("The history is empty.")


def _item(reply: Reply) -> RenderableType:
    item = reply.get("item") or {}
    return _pairs([("item", describe(item)), *((k, v) for k, v in item.items() if k != "name")])


def _check(reply: Reply) -> RenderableType:
    """Show what an item would take, and what looks wrong with it."""
    item, estimate = reply.get("item") or {}, reply.get("estimate") or {}
    seconds, devices = estimate.get("duration_s"), ", ".join(estimate.get("devices") or ())
    rows: list[tuple[str, Any]] = [
        ("item", describe(item)),
        ("points", estimate.get("points")),
        ("time", f"about {seconds:.4g} s" if seconds is not None else None),
        ("devices", devices),
    ]
    rows += [("warning", Text(text, "yellow")) for text in reply.get("warnings", ())]
    return Group(Text("The item would be accepted."), _pairs(rows))


def _plans(key: str) -> Callable[[Reply], RenderableType]:
    def render_plans(reply: Reply) -> RenderableType:
        table = columns("plan", "parameters", "description")
        for name, plan in sorted(reply.get(key, {}).items()):
            names = ", ".join(p["name"] for p in plan.get("parameters", []))
            text = str(plan.get("description", "")).partition("\n")[0]
            table.add_row(Text(name), Text(names), Text(text))
        return table

    return render_plans


def _abilities(device: Reply) -> str:
    return ", ".join(word for key, word in _ABILITIES if device.get(key))


def _devices(key: str) -> Callable[[Reply], RenderableType]:
    def render_devices(reply: Reply) -> RenderableType:
        table = columns("device", "class", "abilities", "components")
        for name, device in sorted(reply.get(key, {}).items()):
            parts = ", ".join(device.get("components", {}))
            table.add_row(Text(name), Text(str(device.get("classname", ""))), _abilities(device), Text(parts))
        return table

    return render_devices


def _detail(method: str, reply: Reply, name: str) -> RenderableType:
    """Show one plan or one device."""
    found = reply.get(method, {}).get(name)
    kind = method.partition("_")[0].removesuffix("s")
    if found is None:
        raise click.ClickException(f"there is no {kind} {name!r} in the list")
    if kind == "device":
        return _device(name, found)
    rows = []
    for parameter in found.get("parameters", []):
        annotation = parameter.get("annotation", {}).get("type", "")
        default = f" = {parameter['default']}" if "default" in parameter else ""
        text = Text(f"{annotation}{default}".strip() or "-")
        if parameter.get("description"):
            text.append(f"\n{parameter['description']}", "dim")
        rows.append((parameter["name"], text))
    return _pairs(rows, f"{name}: {found.get('description', '')}".strip(": "))


def _device(name: str, device: Reply) -> Table:
    rows = [(name, f"{device.get('classname', '')}: {_abilities(device)}")]

    def descend(components: Reply, prefix: str) -> None:
        for part, content in components.items():
            path = f"{prefix}.{part}"
            rows.append((path, f"{content.get('classname', '')}: {_abilities(content)}"))
            descend(content.get("components", {}), path)

    descend(device.get("components", {}), name)
    return _pairs(rows)


def _flat(content: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Return nested dictionaries as rows with dotted names."""
    if isinstance(content, Mapping) and content:
        return [row for k, v in content.items() for row in _flat(v, f"{prefix}.{k}" if prefix else str(k))]
    name = prefix.rpartition(".")[2]
    if isinstance(content, float) and (name in _TIMES or name.startswith("time_")):
        return [(prefix, moment(content))]
    return [(prefix, content)]


def _tree(reply: Reply) -> RenderableType:
    return _pairs(_flat({k: v for k, v in reply.items() if k not in _QUIET_KEYS}))


def _permissions(reply: Reply) -> RenderableType:
    import yaml

    text: str = yaml.safe_dump(reply.get("user_group_permissions", {}), sort_keys=False)
    return Text(text.rstrip())


def _runs(reply: Reply) -> RenderableType:
    runs = reply.get("run_list", [])
    if not runs:
        return Text("There are no runs.")
    table = columns("run", "scan", "open", "status")
    for run in runs:
        table.add_row(
            run.get("uid"),
            value(run.get("scan_id")),
            value(run.get("is_open")),
            value(run.get("exit_status")),
        )
    return table


def _events(reply: Reply) -> RenderableType:
    table = columns("seq", "time", "event", "asked by", "task", "data")
    for event in reply.get("events", []):
        data = {k: v for k, v in (event.get("data") or {}).items() if v is not None}
        principal = str(data.pop("principal", ""))
        table.add_row(
            str(event["seq"]),
            moment(event["time"]),
            Text(str(event["type"])),
            Text(principal),
            event.get("task_uid") or "",
            Text(", ".join(f"{k}: {value(v)}" for k, v in data.items())),
        )
    return table


def _autopsies(reply: Reply) -> RenderableType:
    autopsies = reply.get("autopsies", [])
    if not autopsies:
        return Text("No worker has died unexpectedly.")
    return Group(*(_pairs(_flat({**a, "console": Text("\n".join(a.get("console", ())))})) for a in autopsies))


def _task_result(reply: Reply) -> RenderableType:
    result = reply.get("result") or {}
    rows: list[tuple[str, Any]] = [("task_uid", reply.get("task_uid")), ("status", reply.get("status"))]
    state = str(reply.get("state") or "")
    if state:
        rows.append(("state", Text(state, STYLES.get(state, ""))))
    if "success" in result:
        good = bool(result["success"])
        kind = STATE_CLASS[TaskState(state)] if state else "success" if good else "failure"
        rows.append(("outcome", Text(kind, "green" if good else "red")))
        if reply.get("reason") and reply["reason"] != result.get("msg"):
            rows.append(("reason", reply["reason"]))
        rows += [("time", duration(result)), ("return value", result.get("return_value"))]
        rows.append(("asked by", result.get("principal")))
        rows += [(k, result[k]) for k in ("msg", "traceback") if result.get(k)]
    return _pairs(rows)


_RENDERERS: dict[str, Callable[[Reply], RenderableType]] = {
    "ping": _ping,
    "status": _status,
    "config_get": _tree,
    "stats": _tree,
    "queue_status": _tree,
    "queue_get": _queue,
    "queue_item_get": _item,
    "history_get": _history,
    "plans_allowed": _plans("plans_allowed"),
    "plans_existing": _plans("plans_existing"),
    "devices_allowed": _devices("devices_allowed"),
    "devices_existing": _devices("devices_existing"),
    "permissions_get": _permissions,
    "re_runs": _runs,
    "event_list": _events,
    "worker_autopsy_list": _autopsies,
    "item_check": _check,
    "re_metadata": _tree,
    "task_status": _tree,
    "task_result": _task_result,
    "lock": _tree,
    "lock_info": _tree,
    "unlock": _tree,
    **dict.fromkeys(TREES, _tree),
    **TASK_RENDERERS,
}
