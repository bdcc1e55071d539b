"""What views are made of: tables, bars, marks. HTML and plain text are made from the same blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

MAX_ROWS = 50
"""Rows of a table that are shown."""
MAX_TEXT = 240
"""Characters of a text that are shown."""


class Tone(StrEnum):
    """What a text means, apart from its words."""

    PLAIN = "plain"
    QUIET = "quiet"
    GOOD = "good"
    BUSY = "busy"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Badge:
    """A word that catches the eye, such as a state."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Code:
    """A text in the language of programs; ``full`` is what it stands for, if it is cut."""

    text: str
    full: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """How far something is: a part from 0 to 1 (None: not known), and words."""

    fraction: float | None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Spark:
    """A figure over time, oldest first, and how much of it is bad."""

    values: Sequence[float]
    bad: Sequence[float] = ()


Cell = str | Badge | Code | Bar | Spark


@dataclass(frozen=True, slots=True)
class Pairs:
    """Labels and what they stand for."""

    rows: Sequence[tuple[str, Cell]]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows; ``note`` says what is left out."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Lines:
    """Console output or a traceback, line by line."""

    lines: Sequence[str]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence."""

    text: str
    tone: Tone = Tone.QUIET


Part = Pairs | Table | Lines | Note


@dataclass(frozen=True, slots=True)
class View:
    """A title, marks beside it, and parts below."""

    title: str
    marks: Sequence[Badge] = ()
    parts: Sequence[Part] = ()
