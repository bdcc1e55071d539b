"""The tables of what can be typed, in the languages of the shells."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from remanager.cli.completion.table import Place

Described = Sequence[tuple[str, str]]


def _options(place: Place) -> Described:
    return [(flag, option.help) for option in place.options for flag in option.flags if flag.startswith("--")]


def _values(places: Iterable[Place]) -> dict[str, str]:
    """Return what stands behind an option, by place and option."""
    return {
        f"{place.path} {flag}": option.values
        for place in places
        for option in place.options
        if option.values
        for flag in option.flags
    }


def bash(places: Iterable[Place]) -> str:
    """Return the tables for bash: associative arrays of words between spaces."""
    places = list(places)
    tables: dict[str, Mapping[str, str]] = {
        "words": {p.path: " ".join(word for word, _ in p.words) for p in places},
        "options": {p.path: " ".join(flag for flag, _ in _options(p)) for p in places},
        "values": _values(places),
    }
    lines = []
    for name, table in tables.items():
        lines.append(f"declare -gA _remanager_{name}=(")
        lines += [f"    [{shlex.quote(key)}]={shlex.quote(text)}" for key, text in table.items()]
        lines.append(")")
    return "\n".join(lines)


def zsh(places: Iterable[Place]) -> str:
    """Return the tables for zsh: associative arrays of lines ``word:help``."""
    places = list(places)
    tables: dict[str, Mapping[str, str]] = {
        "words": {p.path: _lines(p.words) for p in places},
        "options": {p.path: _lines(_options(p)) for p in places},
        "values": _values(places),
    }
    lines = []
    for name, table in tables.items():
        lines += [f"typeset -gA _remanager_{name}", f"_remanager_{name}=("]
        lines += [f"    {shlex.quote(key)} {shlex.quote(text)}" for key, text in table.items()]
        lines.append(")")
    return "\n".join(lines)


def _lines(described: Described) -> str:
    return "\n".join(f"{word}:{text}" if text else word for word, text in described)


def fish(places: Iterable[Place]) -> str:
    """Return the tables for fish: functions that print lines of a word, a tabulator and its help."""
    places = list(places)
    paths = " ".join(_fish_quote(p.path) for p in places)
    return "\n".join(
        (
            f"set -g __remanager_places {paths}",
            _fish_switch("words", {p.path: _fish_lines(p.words) for p in places}),
            _fish_switch("options", {p.path: _fish_lines(_options(p)) for p in places}),
            _fish_switch("values", {key: f"echo {_fish_quote(v)}" for key, v in _values(places).items()}),
        )
    )


def _fish_switch(name: str, cases: Mapping[str, str]) -> str:
    lines = [f"function __remanager_{name}", "    switch $argv[1]"]
    for key, command in cases.items():
        if command:
            lines += [f"        case {_fish_quote(key)}", f"            {command}"]
    return "\n".join((*lines, "    end", "end"))


def _fish_lines(described: Described) -> str:
    words = " ".join(f"{_fish_quote(word)} {_fish_quote(text)}" for word, text in described)
    return f"printf '%s\\t%s\\n' {words}" if words else ""


def _fish_quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


RENDERERS: dict[str, Callable[[Iterable[Place]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
