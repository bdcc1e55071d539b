"""Views as plain text, for terminals and for notebooks that show no HTML."""

from __future__ import annotations

from collections.abc import Sequence

from remanager_api.notebook.blocks import (
    MAX_TEXT,
    Badge,
    Bar,
    Cell,
    Code,
    Lines,
    Note,
    Pairs,
    Part,
    Spark,
    Table,
    View,
)
from remanager_api.notebook.values import cut, one_line

_LEVELS = "▁▂▃▄▅▆▇█"
_BAR_WIDTH = 20
_MAX_WIDTH = 72
"""Characters of a cell of a table that are shown."""


def to_text(view: View) -> str:
    """Return a view as lines of text."""
    head = one_line("  ".join([view.title, *(f"[{mark.text}]" for mark in view.marks)]))
    return "\n".join([head, *(line for part in view.parts for line in _part(part))])


def _cell(cell: Cell, width: int = MAX_TEXT) -> str:
    match cell:
        case Badge(text) | Code(text):
            shown = one_line(text)
        case Bar():
            shown = _bar(cell)
        case Spark(values):
            shown = _spark(values)
        case _:
            shown = one_line(cell)
    return cut(shown, width)


def _bar(bar: Bar) -> str:
    if bar.fraction is None:
        return one_line(bar.text)
    part = min(max(bar.fraction, 0.0), 1.0)
    done = round(part * _BAR_WIDTH)
    return f"{'█' * done}{'░' * (_BAR_WIDTH - done)} {one_line(bar.text) or f'{100 * part:.0f} %'}"


def _spark(values: Sequence[float]) -> str:
    top = max(values, default=0.0) or 1.0
    return "".join(_LEVELS[round(min(max(v / top, 0.0), 1.0) * (len(_LEVELS) - 1))] for v in values)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _part(part: Part) -> list[str]:
    match part:
        case Pairs(rows):
            return _columns([(one_line(label), _cell(cell)) for label, cell in rows])
        case Table():
            lines = [[one_line(name) for name in part.columns]]
            lines += [[_cell(cell, _MAX_WIDTH) for cell in row] for row in part.rows]
            return [*_heading(part.title), *_columns(lines), *([one_line(part.note)] if part.note else [])]
        case Lines(lines, title):
            return [*_heading(title), *(f"| {one_line(line)}" for line in lines)]
        case Note(text):
            return [one_line(text)]


def _heading(title: str) -> list[str]:
    return ["", one_line(title)] if title else []
