"""Figures in the text format of Prometheus (version 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class FamilyKind(StrEnum):
    """What the figures of a family are."""

    COUNTER = "counter"
    GAUGE = "gauge"
    SUMMARY = "summary"


@dataclass(frozen=True, slots=True)
class Sample:
    """A figure.

    Attributes
    ----------
    value : float
        Finite.
    labels : mapping of str to str
        What it is about.
    suffix : str
        Appended to the name of the family: ``_sum`` or ``_count`` of a summary.
    """

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """Figures of one name. The names of counters end with ``_total``."""

    name: str
    kind: FamilyKind
    help: str
    samples: list[Sample] = field(default_factory=list)

    def add(self, value: float, suffix: str = "", **labels: str) -> None:
        """Add a figure."""
        self.samples.append(Sample(value, labels, suffix))

    def as_dict(self) -> dict[str, object]:
        """Return everything as JSON values."""
        samples = [
            {"name": self.name + s.suffix, "labels": dict(s.labels), "value": s.value} for s in self.samples
        ]
        return {"name": self.name, "type": self.kind.value, "help": self.help, "samples": samples}


def to_text(families: Iterable[Family]) -> str:
    """Return families as text; those without figures are left out."""
    lines: list[str] = []
    for family in families:
        if not family.samples:
            continue
        lines.append(f"# HELP {family.name} {_escaped(family.help)}")
        lines.append(f"# TYPE {family.name} {family.kind.value}")
        lines += [f"{family.name}{s.suffix}{_labels(s.labels)} {_number(s.value)}" for s in family.samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_quoted(value)}"' for name, value in labels.items())
    return f"{{{','.join(pairs)}}}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
