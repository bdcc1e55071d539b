"""How values, items and tables look to people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.table import Table

Reply = Mapping[str, Any]

STYLES = {
    "completed": "green",
    "stopped": "yellow",
    "aborted": "yellow",
    "halted": "yellow",
    "failed": "red",
    "running": "cyan",
    "unknown": "yellow",
}


def value(content: Any) -> str:
    """Return a value as text for a table."""
    if isinstance(content, bool):
        return "yes" if content else "no"
    if isinstance(content, Mapping) and content and all(isinstance(v, bool) for v in content.values()):
        return ", ".join(k for k, v in content.items() if v) or "-"
    if content is None or content == "":
        return "-"
    if isinstance(content, float):
        return f"{content:.0f}" if 1e4 <= abs(content) < 1e15 else f"{content:.4g}"
    return content if isinstance(content, str) else json.dumps(content, default=str)


def describe(item: Reply) -> str:
    """Return an item as a call: ``scan(['diode'], 'theta', -5, 5)``."""
    args = [repr(a) for a in item.get("args") or []]
    args += [f"{k}={v!r}" for k, v in (item.get("kwargs") or {}).items()]
    return f"{item.get('name', '?')}({', '.join(args)})"


def duration(result: Reply) -> str:
    """Return how long something took, from the times in its result."""
    start, stop = result.get("time_start"), result.get("time_stop")
    return f"{stop - start:.2f} s" if start and stop else ""


def moment(time: float | None) -> str:
    """Return a time (epoch seconds) as local date and time."""
    return datetime.fromtimestamp(time).strftime("%Y-%m-%d %H:%M:%S") if time else ""


def columns(*names: str) -> Table:
    """Return an empty table with these columns."""
    table = Table(pad_edge=False, box=None, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    return table
