"""What the tasks are asked for: values of another type never count as a wish."""

from __future__ import annotations

import math

from remanager.tasks import Permanent


def check_truths(**values: object) -> None:
    """Refuse what is neither true nor false: a null must not delete what a dry run would only tell.

    Raises
    ------
    Permanent
        One of them is no truth value.
    """
    for name, value in values.items():
        if not isinstance(value, bool):
            raise Permanent(f"'{name}' must be true or false, not {value!r}")


def check_number(name: str, value: object, *, most: float = math.inf) -> None:
    """Refuse what is no number from 0 to ``most``.

    Raises
    ------
    Permanent
        It is no number, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        upper = "" if math.isinf(most) else f" and at most {most:g}"
        raise Permanent(f"'{name}' must be a number of at least 0{upper}, not {value!r}")
