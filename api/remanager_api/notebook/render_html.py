"""Views as HTML: no script, nothing from elsewhere, at home on light and dark backgrounds."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from remanager_api.notebook.blocks import (
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
from remanager_api.notebook.values import clean

# Text has the colour of the page; tints are transparent, so that they suit any background.
_TINTS = {"good": "46,158,91", "busy": "61,133,216", "warn": "214,150,0", "bad": "220,60,70"}
_STYLE = (
    "div.remanager{font-size:13px;line-height:1.45;overflow-x:auto}"
    "div.remanager .rm-title{margin:2px 0 4px}"
    "div.remanager .rm-part{margin:8px 0 2px;font-weight:600}"
    "div.remanager table{border-collapse:collapse;border:none;margin:0;table-layout:auto}"
    "div.remanager th,div.remanager td{text-align:left;vertical-align:top;padding:2px 14px 2px 0;border:none;"
    "max-width:52em;white-space:normal;overflow-wrap:anywhere}"
    "div.remanager tr{background:none;border-bottom:1px solid rgba(128,128,128,.22)}"
    "div.remanager thead th,div.remanager .rm-quiet,div.remanager tbody th{font-weight:400;opacity:.68}"
    "div.remanager code{background:none;font-size:12px}"
    "div.remanager .rm-badge{border-radius:8px;padding:0 7px;margin-right:5px;"
    "background:rgba(128,128,128,.2)}"
    + "".join(
        f"div.remanager .rm-{tone}{{background:rgba({rgb},.28)}}"
        f"div.remanager rect.rm-{tone}{{fill:rgb({rgb})}}"
        for tone, rgb in _TINTS.items()
    )
    + "div.remanager .rm-bar{display:inline-block;width:140px;height:9px;border-radius:5px;margin-right:7px;"
    "background:rgba(128,128,128,.25);overflow:hidden}"
    "div.remanager .rm-bar span{display:block;height:100%;background:rgb(61,133,216)}"
    "div.remanager pre{margin:0;padding:5px 8px;font-size:12px;background:rgba(128,128,128,.1);"
    "color:inherit;white-space:pre-wrap;overflow-wrap:anywhere}"
)
_BAR_PX, _HEIGHT_PX = 5, 18


def to_html(view: View) -> str:
    """Return a view as HTML; every text in it is escaped."""
    marks = "".join(_badge(mark) for mark in view.marks)
    head = f'<div class="rm-title"><b>{_text(view.title)}</b> {marks}</div>'
    return f'<div class="remanager"><style>{_STYLE}</style>{head}{"".join(map(_part, view.parts))}</div>'


def _text(text: str) -> str:
    return escape(clean(text), quote=True)


def _badge(badge: Badge) -> str:
    return f'<span class="rm-badge rm-{badge.tone.value}">{_text(badge.text)}</span>'


def _cell(cell: Cell) -> str:
    match cell:
        case Badge():
            return _badge(cell) if cell.text else ""
        case Code(text, full):
            title = f' title="{_text(full)}"' if full else ""
            return f"<code{title}>{_text(text)}</code>" if text else ""
        case Bar():
            return _bar(cell)
        case Spark(values, bad):
            return _spark(values, bad)
    return _text(cell)


def _bar(bar: Bar) -> str:
    if bar.fraction is None:
        return _text(bar.text)
    percent = 100 * min(max(bar.fraction, 0.0), 1.0)
    words = _text(bar.text or f"{percent:.0f} %")
    return (
        f'<span class="rm-bar" role="img" aria-label="{percent:.0f} %">'
        f'<span style="width:{percent:.1f}%"></span></span>{words}'
    )


def _spark(values: Sequence[float], bad: Sequence[float]) -> str:
    top = max(values, default=0.0) or 1.0
    rects = []
    for index, value in enumerate(values):
        left = index * (_BAR_PX + 1)
        height = max(value / top, 0.0) * (_HEIGHT_PX - 1) + 1
        below = min(max(bad[index] / top, 0.0) * (_HEIGHT_PX - 1), height) if index < len(bad) else 0.0
        rects.append(_rect(left, _HEIGHT_PX - height, height, "busy"))
        if below > 0:
            rects.append(_rect(left, _HEIGHT_PX - below, below, "bad"))
    words = escape(" ".join(f"{value:g}" for value in values))
    width = len(values) * (_BAR_PX + 1)
    return (
        f'<svg width="{width}" height="{_HEIGHT_PX}" viewBox="0 0 {width} {_HEIGHT_PX}" role="img" '
        f'aria-label="{words}"><title>{words}</title>{"".join(rects)}</svg>'
    )


def _rect(left: int, top: float, height: float, tone: str) -> str:
    # The fill is repeated where style sheets are taken away, as on the pages of code hosts.
    return (
        f'<rect class="rm-{tone}" x="{left}" y="{top:.1f}" width="{_BAR_PX}" height="{height:.1f}" '
        f'fill="rgb({_TINTS[tone]})"/>'
    )


def _part(part: Part) -> str:
    match part:
        case Pairs(rows):
            body = "".join(f"<tr><th>{_text(k)}</th><td>{_cell(v)}</td></tr>" for k, v in rows)
            return f"<table><tbody>{body}</tbody></table>" if rows else ""
        case Table():
            return _table(part)
        case Lines(lines, title):
            return f"{_heading(title)}<pre>{_text(chr(10).join(lines))}</pre>" if lines else ""
        case Note(text, tone):
            return f'<div><span class="rm-{tone.value}">{_text(text)}</span></div>'


def _heading(title: str) -> str:
    return f'<div class="rm-part">{_text(title)}</div>' if title else ""


def _table(table: Table) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in table.columns)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(c)}</td>' for c in row)}</tr>" for row in table.rows)
    note = f'<div class="rm-quiet">{_text(table.note)}</div>' if table.note else ""
    whole = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"{_heading(table.title)}{whole}{note}"
