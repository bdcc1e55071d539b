"""The table of commands beside the registry of methods; help texts."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from remanager.cli.main import LazyGroup, group
from remanager.cli.requests import GROUPS, REQUESTS, Request
from remanager.verbs import load
from remanager.verbs.registry import REGISTRY

OTHERWISE = {"console_get", "status_wait"}
"""Methods that are not in the table: what commands do with them is more than one request, or nothing."""


def commands(
    parent: LazyGroup, context: click.Context, path: str = ""
) -> Iterator[tuple[str, click.Command]]:
    for name in parent.list_commands(context):
        command = parent.get_command(context, name)
        assert command is not None
        full = f"{path} {name}".strip()
        yield full, command
        if isinstance(command, LazyGroup):
            yield from commands(command, context, full)


ALL = dict(commands(group, click.Context(group)))


def test_every_method_has_a_command() -> None:
    load()
    methods = {r.method for r in REQUESTS} | {m for r in REQUESTS for m in r.other.values()}
    assert methods <= set(REGISTRY)
    assert set(REGISTRY) - methods == OTHERWISE


@pytest.mark.parametrize("entry", REQUESTS, ids=lambda r: r.path)
def test_options_fit_the_method(entry: Request) -> None:
    load()
    names = REGISTRY[entry.method].names
    assert set(entry.who) <= set(names)
    if entry.method not in {"ping", "status"}:
        assert entry.locked == ("lock_key" in names)
        assert ("user_group" in entry.who) == ("user_group" in names)


@pytest.mark.parametrize("path", sorted(ALL), ids=str)
def test_help(path: str) -> None:
    if path == "start":
        return
    result = CliRunner().invoke(group, [*path.split(), "--help"], prog_name="remanager")
    assert result.exit_code == 0, result.output
    assert f"Usage: remanager {path}" in result.output
    command = ALL[path]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path}: {parameter.name}"


def test_every_group_is_shown_or_has_commands() -> None:
    for path in GROUPS:
        context = click.Context(group)
        parent: click.Command | None = group
        for word in path.split():
            assert isinstance(parent, LazyGroup)
            parent = parent.get_command(context, word)
        assert isinstance(parent, LazyGroup)
        assert parent.list_commands(context)


def test_unknown_command() -> None:
    result = CliRunner().invoke(group, ["queue", "dance"])
    assert "No such command" in result.output
