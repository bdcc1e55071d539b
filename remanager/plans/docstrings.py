"""Summary and parameter descriptions of docstrings in the numpydoc style.

Only what descriptions of plans need is read. The reading rules are those of ``numpydoc``, so texts come out
the same as with that package: a section header is recognised at the start of a paragraph only.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field

_SIGNATURE = re.compile(r"([\w., ]+=)?\s*[\w.]+\(.*\)")


@dataclass(frozen=True, slots=True)
class Docstring:
    """What a docstring says.

    Attributes
    ----------
    summary : str
        First paragraph; empty if there is none.
    parameters : dict
        Description of each documented parameter, by name. Names carry no asterisks.
    """

    summary: str = ""
    parameters: dict[str, str] = field(default_factory=dict)


def parse_docstring(text: str | None) -> Docstring:
    """Read a docstring.

    Parameters
    ----------
    text : str or None
        The docstring as Python stores it.

    Returns
    -------
    Docstring
        Whatever could be understood; a docstring of another style has a summary at the most.
    """
    if not isinstance(text, str) or not text.strip():
        return Docstring()
    lines = _dedented_lines(text.expandtabs())
    summary, position = _read_summary(lines)
    content = next((body for name, body in _sections(lines, position) if name == "Parameters"), [])
    return Docstring("\n".join(summary), _read_parameters(content))


def _dedented_lines(text: str) -> list[str]:
    """Remove the common indentation; the first text counts as indented like the rest."""
    rest = [line for line in text.split("\n")[1:] if line.strip()]
    margin = min((len(line) - len(line.lstrip()) for line in rest), default=0)
    return textwrap.dedent(" " * margin + text.strip()).split("\n")


def _next_text(lines: list[str], position: int) -> int:
    while position < len(lines) and not lines[position].strip():
        position += 1
    return position


def _paragraph_end(lines: list[str], position: int) -> int:
    while position < len(lines) and lines[position].strip():
        position += 1
    return position


def _starts_section(lines: list[str], position: int) -> bool:
    if position >= len(lines):
        return False
    header = lines[position].strip()
    underline = lines[position + 1].strip() if position + 1 < len(lines) else ""
    if header.startswith(".. index::"):
        return True
    return underline.startswith(("-" * len(header), "=" * len(header)))


def _read_summary(lines: list[str]) -> tuple[list[str], int]:
    """Return the summary and where the rest begins; a leading call signature is skipped."""
    position = _next_text(lines, 0)
    if _starts_section(lines, position):
        return [], position
    while True:
        end = _paragraph_end(lines, position)
        summary = lines[position:end]
        position = _next_text(lines, end)
        joined = " ".join(line.strip() for line in summary).strip()
        if _SIGNATURE.fullmatch(joined) and not _starts_section(lines, position):
            continue
        return summary, position


def _sections(lines: list[str], position: int) -> Iterator[tuple[str, list[str]]]:
    """Yield names and contents of the sections; text in front of the first section is skipped."""
    name, start = "", position
    while position < len(lines):
        position = _next_text(lines, position)
        if _starts_section(lines, position):
            yield name, lines[start:position]
            name = " ".join(word.capitalize() for word in lines[position].strip().split(" "))
            start = position + 2
        position = _paragraph_end(lines, position)
    yield name, lines[start:]


def _read_parameters(content: list[str]) -> dict[str, str]:
    lines = textwrap.dedent("\n".join(content)).strip("\n").split("\n")
    parameters: dict[str, str] = {}
    position = 0
    while position < len(lines):
        header = lines[position].strip()
        start = position = position + 1
        while position < len(lines) and (not lines[position].strip() or lines[position][0].isspace()):
            position += 1
        description = textwrap.dedent("\n".join(lines[start:position])).strip("\n")
        for name in header.split(":")[0].split(","):
            if name := name.replace("*", "").strip():
                parameters[name] = description
    return parameters
