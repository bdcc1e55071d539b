"""What a plan will take: its number of points from its arguments, its duration from plans that ran before.

Items name their devices by text, so a text among the arguments of a scan is a motor.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

RUNS_KEPT = 20
"""Runs of a plan from which its duration is estimated."""

PLANS_KEPT = 1000
"""Plans whose runs are kept; those that ran last."""

MAX_POINTS = 1 << 53
"""A larger number of points counts as unknown: it is no estimate."""

_NUM = ("detectors", "num")
_AXES = ("detectors", "*args")
_LOG = ("detectors", "motor", "start", "stop", "num")
_SQUARE = ("detectors", "x_motor", "y_motor", "x_center", "y_center", "x_range", "y_range", "x_num", "y_num")
_REL_SQUARE = ("detectors", "x_motor", "y_motor", "x_range", "y_range", "x_num", "y_num")


class _Arguments:
    """Arguments of a plan by the names of its parameters."""

    def __init__(self, parameters: Sequence[str], item: Mapping[str, Any]) -> None:
        args, kwargs = item.get("args") or (), item.get("kwargs") or {}
        self.rest: Sequence[Any] = ()
        self.named: dict[str, Any] = dict(kwargs) if isinstance(kwargs, Mapping) else {}
        if not isinstance(args, list | tuple):
            return
        for number, name in enumerate(parameters):
            if name == "*args":
                self.rest = args[number:]
            elif number < len(args):
                self.named[name] = args[number]

    def count(self, name: str) -> int | None:
        """Return an argument that is a number of points."""
        return _count(self.named.get(name))

    def axes(self) -> Iterator[Sequence[Any]]:
        """Yield what stands behind each motor of the variable arguments."""
        starts = [i for i, value in enumerate(self.rest) if isinstance(value, str)]
        for start, stop in pairwise([*starts, len(self.rest)]):
            yield self.rest[start + 1 : stop]


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if 0 <= value <= MAX_POINTS and value == value // 1 else None


def _num(arguments: _Arguments) -> int | None:
    return arguments.count("num")


def _shots(arguments: _Arguments) -> int | None:
    return arguments.count("num") if "num" in arguments.named else 1


def _line(arguments: _Arguments) -> int | None:
    if arguments.named.get("num") is not None:
        return arguments.count("num")
    # Without a keyword the number of points stands at the end.
    return _count(arguments.rest[-1]) if len(arguments.rest) % 3 == 1 else None


def _list(arguments: _Arguments) -> int | None:
    return next(_lengths(arguments), None)


def _list_grid(arguments: _Arguments) -> int | None:
    return _product(_lengths(arguments))


def _lengths(arguments: _Arguments) -> Iterator[int | None]:
    return (len(axis[0]) if axis and isinstance(axis[0], list | tuple) else None for axis in arguments.axes())


def _grid(arguments: _Arguments) -> int | None:
    return _product(_count(axis[2]) if len(axis) >= 3 else None for axis in arguments.axes())


def _square(arguments: _Arguments) -> int | None:
    return _product([arguments.count("x_num"), arguments.count("y_num")])


def _product(counts: Iterable[int | None]) -> int | None:
    """Return the product of all counts; None if one is not known, or none is given."""
    counts = list(counts)
    known = [n for n in counts if n is not None]
    if not known or len(known) < len(counts):
        return None
    product = math.prod(known)
    return product if product <= MAX_POINTS else None


_Rule = tuple[Sequence[str], Callable[[_Arguments], int | None]]

_RULES: dict[str, _Rule] = {
    "count": (_NUM, _shots),
    **dict.fromkeys(("scan", "rel_scan", "relative_scan"), (_AXES, _line)),
    **dict.fromkeys(("log_scan", "rel_log_scan", "relative_log_scan"), (_LOG, _num)),
    **dict.fromkeys(("inner_product_scan", "relative_inner_product_scan"), (_NUM, _num)),
    **dict.fromkeys(("list_scan", "rel_list_scan", "relative_list_scan"), (_AXES, _list)),
    **dict.fromkeys(("list_grid_scan", "rel_list_grid_scan"), (_AXES, _list_grid)),
    **dict.fromkeys(("grid_scan", "rel_grid_scan"), (_AXES, _grid)),
    **dict.fromkeys(("outer_product_scan", "relative_outer_product_scan"), (_AXES, _grid)),
    "x2x_scan": (("detectors", "motor1", "motor2", "start", "stop", "num"), _num),
    "spiral_square": (_SQUARE, _square),
    **dict.fromkeys(("rel_spiral_square", "relative_spiral_square"), (_REL_SQUARE, _square)),
}


def point_count(item: Mapping[str, Any]) -> int | None:
    """Return the number of points that a plan will take.

    Parameters
    ----------
    item : mapping
        A plan item: ``name``, ``args``, ``kwargs``.

    Returns
    -------
    int or None
        None for a plan that is not one of the well-known ones (``count``, the families of ``scan``,
        ``list_scan``, ``grid_scan``, ``spiral_square``), or whose end is open.
    """
    name = item.get("name")
    rule = _RULES.get(name) if isinstance(name, str) else None
    if rule is None:
        return None
    parameters, points = rule
    return points(_Arguments(parameters, item))


class DurationEstimator:
    """Estimates how long plans take from completed ones of the same name."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, deque[tuple[float, int | None]]] = OrderedDict()

    def add(self, item: Mapping[str, Any], duration_s: float) -> None:
        """Take note of a completed plan and its duration (s)."""
        name = item.get("name")
        if not isinstance(name, str) or not duration_s >= 0:
            return
        runs = self._runs.setdefault(name, deque(maxlen=RUNS_KEPT))
        self._runs.move_to_end(name)
        runs.append((duration_s, point_count(item)))
        if len(self._runs) > PLANS_KEPT:
            self._runs.popitem(last=False)

    def estimate(self, item: Mapping[str, Any], points: int | None) -> float | None:
        """Return the expected duration of a plan.

        Parameters
        ----------
        item : mapping
            A plan item.
        points : int or None
            Its number of points, if known.

        Returns
        -------
        float or None
            Seconds: the median of what the last runs took per point, times ``points``; without numbers of
            points, the median of what they took. None if no such plan was completed yet.
        """
        name = item.get("name")
        runs = self._runs.get(name) if isinstance(name, str) else None
        if not runs:
            return None
        if points is not None:
            per_point = [duration / n for duration, n in runs if n]
            if per_point:
                return median(per_point) * points
        return median(duration for duration, _ in runs)


def texts_in(value: object) -> set[str]:
    """Return all texts in nested lists and values of dictionaries."""
    found: set[str] = set()
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            found.add(value)
        elif isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)
    return found
