"""Values from the wire as short texts, whatever they are."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from reprlib import Repr
from typing import Any

from remanager_api.notebook.blocks import MAX_TEXT, Badge, Code, Tone
from remanager_api.states import CANCELLED, FAILURE, SUCCESS, UNDER_WAY

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_DAY_S = 86400.0

_STATES = {
    Tone.GOOD: (*SUCCESS, "idle", "ok", "success"),
    Tone.BAD: (*FAILURE, "critical", "error"),
    Tone.WARN: (*CANCELLED, "unknown", "paused", "blocked", "warn", "expired", "degraded"),
    Tone.BUSY: (*UNDER_WAY, "executing_queue", "executing_plan", "executing_task"),
}
_TONES = {state: tone for tone, states in _STATES.items() for state in states}


class _Short(Repr):
    """``repr`` that looks at no more than it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 12
        self.maxstring = self.maxother = self.maxlong = 60
        self.maxlevel = 4


_SHORT = _Short()


def clean(text: str) -> str:
    """Return a text without the characters that steer a terminal."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def one_line(text: str) -> str:
    """Return a text in one line, without the characters that steer a terminal."""
    return clean(text).replace("\n", " ")


def cut(text: str, width: int = MAX_TEXT) -> str:
    """Return no more than so many characters of a text."""
    return text if len(text) <= width else text[: width - 1] + "…"


def short(value: object) -> str:
    """Return a value as a text of bounded length; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, str):
        return cut(value)
    return cut(_SHORT.repr(value))


def mapping(value: object) -> Mapping[str, Any]:
    """Return a mapping; an empty one in place of anything else."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> Sequence[Any]:
    """Return a list; an empty one in place of anything else."""
    return value if isinstance(value, list | tuple) else []


def mappings(value: object) -> list[Mapping[str, Any]]:
    """Return the mappings of a list."""
    return [entry for entry in sequence(value) if isinstance(entry, Mapping)]


def number(value: object) -> float | None:
    """Return a finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def numbers(value: object) -> list[float]:
    """Return the numbers of a list, 0 for what is none."""
    return [number(entry) or 0.0 for entry in sequence(value)]


def moment(value: object) -> str:
    """Return a time (epoch seconds) as local time; with the date if it is not near."""
    time = number(value)
    if time is None:
        return ""
    try:
        then = datetime.fromtimestamp(time)
    except (OverflowError, OSError, ValueError):
        return short(value)
    near = abs((datetime.now() - then).total_seconds()) < _DAY_S / 2
    return then.strftime("%H:%M:%S" if near else "%Y-%m-%d %H:%M")


def seconds(value: object) -> str:
    """Return a duration (s)."""
    duration = number(value)
    if duration is None:
        return ""
    if duration < 100:
        return f"{1000 * duration:.3g} ms" if duration < 0.1 else f"{duration:.3g} s"
    minutes, rest = divmod(round(duration), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def milliseconds(value: object) -> str:
    """Return a duration (ms)."""
    duration = number(value)
    return "" if duration is None else seconds(duration / 1000)


def call(item: Mapping[str, Any]) -> Code:
    """Return an item as a call: ``scan(['diode'], 'theta', -5, 5)``."""
    args = [_SHORT.repr(arg) for arg in sequence(item.get("args"))[:12]]
    args += [f"{key}={_SHORT.repr(value)}" for key, value in list(mapping(item.get("kwargs")).items())[:12]]
    return Code(cut(f"{item.get('name', '?')}({', '.join(args)})"))


def uid(value: object) -> Code:
    """Return the beginning of a UID."""
    text = value if isinstance(value, str) else ""
    return Code(text[:8], cut(text))


def state(value: object) -> Badge:
    """Return a state; its tone says whether it is good."""
    text = short(value)
    return Badge(text, _TONES.get(text, Tone.PLAIN))
