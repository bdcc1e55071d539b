"""The picture of the states of tasks, from their transitions: ``python -m remanager.cli.states_picture``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from math import hypot

from remanager.engine.transitions import TRANSITIONS
from remanager.model.states import STATE_CLASS, StateClass, TaskState, is_terminal

Point = tuple[float, float]
_S = TaskState

_WIDTH, _HEIGHT = 900, 600
_BOX = (24, 40, 580, 490)
"""Left, top, right and bottom of the frame around the active states."""

_HALF_WIDTH, _HALF_HEIGHT = 72, 16
_PLACES: dict[TaskState, Point] = {
    _S.BLOCKED: (120, 100),
    _S.WAITING_CHILDREN: (475, 100),
    _S.PENDING: (120, 250),
    _S.RUNNING: (475, 250),
    _S.PAUSED: (304, 420),
    # Those that have ended stand in a column, in the order in which fewest lines cross.
    **{
        state: (800, 40 + 42 * row)
        for row, state in enumerate(
            (
                *(_S.DEPENDENCY_FAILED, _S.COMPLETED, _S.SKIPPED, _S.DEAD_LETTER, _S.TIMED_OUT, _S.FAILED),
                *(_S.LOST, _S.STOPPED, _S.ABORTED, _S.HALTED, _S.CANCELLED, _S.EXPIRED, _S.SUPERSEDED),
            )
        )
    },
}
_FILLS = {
    StateClass.ACTIVE: "#dbe9fb",
    StateClass.SUCCESS: "#d9f2dd",
    StateClass.FAILURE: "#fbdcdc",
    StateClass.CANCELLED: "#fdeecf",
    StateClass.DROPPED: "#e8e8e8",
}
_LINES = {
    _S.BLOCKED: "#7a7a7a",
    _S.PENDING: "#2a7f3f",
    _S.RUNNING: "#2158a8",
    _S.WAITING_CHILDREN: "#7d3fa0",
    _S.PAUSED: "#c06a00",
}
_PLAIN, _DARK = "#555555", "#222222"
_TIP = """\
<marker id="tip{number}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">\
<path d="M0,0 L8,4 L0,8 z" fill="#{number}"/></marker>"""
_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"
font-family="DejaVu Sans Mono, monospace" font-size="12">
<title>States of a task</title>
<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>"""


def _from_any() -> list[TaskState]:
    """Return the ends that every active state can have: drawn once, from the frame."""
    active = [state for state in TaskState if not is_terminal(state)]
    return [new for new in TaskState if is_terminal(new) and all((old, new) in TRANSITIONS for old in active)]


def _border(inside: Point, outside: Point) -> Point:
    """Return where the line from the middle of a state leaves it."""
    dx, dy = outside[0] - inside[0], outside[1] - inside[1]
    part = min(_HALF_WIDTH / abs(dx) if dx else 9e9, _HALF_HEIGHT / abs(dy) if dy else 9e9)
    return inside[0] + dx * part, inside[1] + dy * part


def _arrow(start: Point, bend: Point, end: Point, colour: str, title: str) -> str:
    numbers = " ".join(f"{x:.0f},{y:.0f}" for x, y in (bend, end))
    path = f"M{start[0]:.0f},{start[1]:.0f} Q{numbers}"
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" marker-end="url(#tip{colour[1:]})">'
        f"<title>{title}</title></path>"
    )


def _transition(old: TaskState, new: TaskState) -> str:
    """Draw an arrow; it bends to the left, so that one back has a way of its own."""
    (x1, y1), (x2, y2) = _PLACES[old], _PLACES[new]
    title, colour = f"{old} to {new}", _LINES[old]
    if is_terminal(new):
        end = (x2 - _HALF_WIDTH, y2)
        bend = (640.0, y2)
        if new is _S.DEPENDENCY_FAILED:
            return _arrow((x1, y1 - _HALF_HEIGHT), (x1 + 20, 20), (x2 - _HALF_WIDTH, y2 - 6), colour, title)
        return _arrow(_border((x1, y1), bend), bend, end, colour, title)
    length = hypot(x2 - x1, y2 - y1)
    aside = 0.09 * length if (new, old) in TRANSITIONS else 0.0
    bend = ((x1 + x2) / 2 + (y2 - y1) / length * aside, (y1 + y2) / 2 - (x2 - x1) / length * aside)
    return _arrow(_border((x1, y1), bend), bend, _border((x2, y2), bend), colour, title)


def _parts() -> Iterator[str]:
    left, top, right, bottom = _BOX
    yield _HEAD.format(width=_WIDTH, height=_HEIGHT)
    yield from (_TIP.format(number=colour[1:]) for colour in (*_LINES.values(), _PLAIN, _DARK))
    yield (
        f'<rect x="{left}" y="{top}" width="{right - left}" height="{bottom - top}" rx="10" fill="none" '
        'stroke="#555555" stroke-dasharray="5 4"/>'
    )
    yield f'<text x="{left + 12}" y="{bottom - 12}" fill="#555555">active</text>'
    from_any = _from_any()
    for old, new in sorted(TRANSITIONS, key=str):
        if old is None:
            x, y = _PLACES[new]
            yield f'<circle cx="{x - 56}" cy="{y + 44}" r="4" fill="{_DARK}"/>'
            start, end = (x - 56.0, y + 44.0), (x - 56.0, y + _HALF_HEIGHT + 0.0)
            yield _arrow(start, start, end, _DARK, f"begins as {new}")
        elif new not in from_any:
            yield _transition(old, new)
    for new in from_any:
        x, y = _PLACES[new]
        start = (right + 0.0, min(y, bottom - 20.0))
        yield _arrow(start, (right + 60, y), (x - _HALF_WIDTH, y), _PLAIN, f"any active state to {new}")
    for state, (x, y) in _PLACES.items():
        yield (
            f'<rect x="{x - _HALF_WIDTH}" y="{y - _HALF_HEIGHT}" width="{2 * _HALF_WIDTH}" '
            f'height="{2 * _HALF_HEIGHT}" rx="6" fill="{_FILLS[STATE_CLASS[state]]}" stroke="#555555"/>'
        )
        yield f'<text x="{x}" y="{y + 4}" text-anchor="middle" fill="#111111">{state}</text>'
    yield "</svg>"


def picture() -> str:
    """Return the picture as SVG."""
    return "\n".join(_parts()) + "\n"


if __name__ == "__main__":
    sys.stdout.write(picture())
