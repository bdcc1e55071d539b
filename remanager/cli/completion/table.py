"""What can be typed where: made from the commands themselves."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from remanager.cli.main import LazyGroup, group
from remanager.cli.requests import BY_PATH
from remanager.cli.start import build_parser

FILE, DIRECTORY, ANYTHING = "@file", "@directory", "@anything"
"""Kinds of values of which the words are not known."""

_WORD = re.compile(r"(?<![\w=])[a-z][a-z_-]*(?![\w=])")


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a command.

    Attributes
    ----------
    flags : tuple of str
        Its spellings.
    help : str
        One line.
    values : str
        Words between spaces, or a kind of values; empty for a flag without one.
    """

    flags: tuple[str, ...]
    help: str
    values: str


@dataclass(frozen=True, slots=True)
class Place:
    """A command or a group of commands.

    Attributes
    ----------
    path : str
        All words up to here, ``remanager`` included.
    words : tuple of (str, str)
        Words that may follow, with their help; :data:`FILE` for names of files.
    options : tuple of Option
        Its options.
    """

    path: str
    words: tuple[tuple[str, str], ...]
    options: tuple[Option, ...]


def places() -> list[Place]:
    """Return everything that can be typed."""
    return list(_below(group, "remanager", click.Context(group)))


def _below(parent: LazyGroup, path: str, context: click.Context) -> Iterator[Place]:
    commands = {name: parent.get_command(context, name) for name in parent.list_commands(context)}
    words = tuple((name, c.get_short_help_str(100)) for name, c in commands.items() if c)
    yield Place(path, words, tuple(_options(parent)))
    for name, command in commands.items():
        below = f"{path} {name}"
        if isinstance(command, LazyGroup):
            yield from _below(command, below, context)
        elif below == "remanager start":
            yield Place(below, (), tuple(_start_options()))
        elif command is not None:
            usage = _usage(below, command)
            found = [*dict.fromkeys(_WORD.findall(usage)), *([FILE] if "FILE" in usage else [])]
            yield Place(below, tuple((word, "") for word in found), tuple(_options(command)))


def _usage(path: str, command: click.Command) -> str:
    """Return how the words of a command are written: ``[front|back] FILE``."""
    request = BY_PATH.get(path.removeprefix("remanager "))
    if request is not None:
        return request.usage
    arguments = (p for p in command.params if isinstance(p, click.Argument))
    return " ".join("|".join(a.type.choices) for a in arguments if isinstance(a.type, click.Choice))


def _options(command: click.Command) -> Iterator[Option]:
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            flags = tuple(option.opts + option.secondary_opts)
            yield Option(flags, _line(option.help), "" if option.is_flag else _values(option.type))
    yield Option(("--help",), "Show what it does and takes.", "")


def _values(kind: click.ParamType[Any]) -> str:
    if isinstance(kind, click.Choice):
        return " ".join(kind.choices)
    if isinstance(kind, click.Path):
        return FILE if kind.file_okay else DIRECTORY
    return FILE if isinstance(kind, click.File) else ANYTHING


def _start_options() -> Iterator[Option]:
    for action in build_parser()._actions:
        if action.option_strings and action.help != argparse.SUPPRESS:
            yield Option(tuple(action.option_strings), _line(action.help), _start_values(action))


def _start_values(action: argparse.Action) -> str:
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    if action.nargs == 0:
        return ""
    if "|" in metavar:
        return metavar.replace("|", " ")
    if metavar == "PATH":
        return FILE
    return ANYTHING


def _line(text: str | None) -> str:
    return re.split(r"(?<=\.)\s", " ".join((text or "").split()), maxsplit=1)[0]
