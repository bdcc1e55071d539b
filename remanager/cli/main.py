"""The group of commands. A command's module is imported only when it is used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from remanager import __version__

_COMMANDS = {
    "start": ("", "Start the daemon."),
    "demo": ("remanager.cli.demo:demo", "Drive a simulated instrument through about ten plans."),
    "status": ("remanager.cli.status:status", "Show what the manager does."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        place, _ = _COMMANDS[cmd_name]
        if not place:
            return _start
        module, _, attribute = place.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{place} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.command("start", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def _start(ctx: click.Context, args: Sequence[str]) -> None:
    """Hand over to the entry point, which knows supervisor and manager."""
    from remanager.__main__ import main

    ctx.exit(main(["start", *args]))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="remanager")
def group() -> None:
    """Run a laboratory instrument's work: plans, functions, queue and history."""


def run(argv: Sequence[str]) -> int:
    """Run a command.

    Returns
    -------
    int
        Exit status: 0 success, 1 failure, 2 wrong options.
    """
    try:
        result = group.main(args=list(argv), prog_name="remanager", standalone_mode=False)
    except click.Abort:
        sys.stderr.write("interrupted\n")
        return 130
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    return result if isinstance(result, int) else 0
