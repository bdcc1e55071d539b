"""Checks of numbers in argument values against the limits in parameter descriptions."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from remanager.plans.value_types import shorten


@dataclass(frozen=True, slots=True)
class ValueRange:
    """Limits on every number in the value of a parameter, in the units of the parameter; None: no limit."""

    minimum: float | None = None
    maximum: float | None = None

    def first_outside(self, value: object) -> float | None:
        """Return the first number outside the range, or None.

        The elements of lists and the values of dictionaries are searched, the upper levels first.
        """
        pending = deque([value])
        while pending:
            current = pending.popleft()
            if isinstance(current, int | float):
                if self._is_outside(current):
                    return current
            elif isinstance(current, Mapping):
                pending.extend(current.values())
            elif isinstance(current, Iterable) and not isinstance(current, str | bytes):
                pending.extend(current)
        return None

    def _is_outside(self, number: float) -> bool:
        below = self.minimum is not None and number < self.minimum
        above = self.maximum is not None and number > self.maximum
        return below or above

    def __str__(self) -> str:
        """Return the range as ``[minimum, maximum]``."""
        minimum = "-inf" if self.minimum is None else self.minimum
        maximum = "inf" if self.maximum is None else self.maximum
        return f"[{minimum}, {maximum}]"


def range_of(parameter: Mapping[str, Any]) -> ValueRange | None:
    """Return the range that a parameter description gives, or None.

    Raises
    ------
    ValueError
        A limit is not a number.
    """
    minimum, maximum = parameter.get("min"), parameter.get("max")
    if minimum is None and maximum is None:
        return None
    return ValueRange(_limit(minimum), _limit(maximum))


def _limit(text: object) -> float | None:
    if text is None:
        return None
    if not isinstance(text, str | int | float):
        raise ValueError(f"Failed to interpret the value {text!r} as integer or float number")
    try:
        number = float(text)
    except ValueError as exc:
        raise ValueError(f"Failed to interpret the value {text!r} as integer or float number: {exc}") from exc
    return int(number) if math.isfinite(number) and number.is_integer() else number


def check_ranges(arguments: Mapping[str, Any], ranges: Mapping[str, ValueRange]) -> None:
    """Check bound arguments of a plan.

    Raises
    ------
    ValueError
        One or more values are out of range; the text names them.
    """
    refusals: list[str] = []
    for name, allowed in ranges.items():
        outside = allowed.first_outside(arguments[name]) if name in arguments else None
        if outside is not None:
            refusals.append(
                f"Parameter value is out of range: key='{name}', value='{shorten(arguments[name])}': "
                f"Value {outside} is out of range {allowed}"
            )
    if refusals:
        raise ValueError("Argument values are out of range: " + "\n".join(refusals))
