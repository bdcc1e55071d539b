"""The group of commands. A command's module is imported only when it is used."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Sequence

import click

from remanager.cli.requests import BY_PATH, GROUPS, HIDDEN_GROUPS, REQUESTS
from remanager.cli.version import VERSION

EXIT_PARAMETERS = 1
EXIT_EXCEPTION = 4
EXIT_INTERRUPTED = 130

_MODULES = {
    "start": ("", "Start the daemon."),
    "demo": ("remanager.cli.demo:demo", "Drive a simulated instrument through about ten plans."),
    "monitor": ("remanager.cli.monitor:monitor", "Watch the manager live: plan, queue, history, console."),
    "console": ("remanager.cli.console:console", "Follow the console output of manager and worker."),
    "doctor": ("remanager.cli.doctor:doctor", "Find out what is wrong with a set-up."),
    "completion": ("remanager.cli.completion:completion", "Print completions for a shell."),
    "import-redis": (
        "remanager.cli.import_redis:import_redis",
        "Take over what bluesky-queueserver has in Redis.",
    ),
    "backup": ("remanager.cli.backup:backup", "Copy the state while the daemon runs."),
    "service install": ("remanager.cli.service:install", "Write the unit file of a service of systemd."),
    "service uninstall": ("remanager.cli.service:uninstall", "Remove what install has written."),
    "service status": ("remanager.cli.service:status", "Show what systemd, the daemon and doctor say."),
    "service logs": ("remanager.cli.service:logs", "Show the log of the service."),
    "keys add": ("remanager.cli.keys:add", "Make a key for a client."),
    "keys list": ("remanager.cli.keys:show", "Show who may talk to the daemon."),
    "keys revoke": ("remanager.cli.keys:revoke", "Take the key of a client back."),
    "keys legacy": ("remanager.cli.keys:legacy", "Set what clients without a key of their own may do."),
    "keys server": ("remanager.cli.keys:server", "Show the key of the server; with --make, make one."),
}
_HELP = {path: text for path, (_, text) in _MODULES.items()} | {r.path: r.help for r in REQUESTS} | GROUPS
_EPILOG = """\
Addresses are taken from --address and --info-address, else from the variables QSERVER_ZMQ_CONTROL_ADDRESS
and QSERVER_ZMQ_INFO_ADDRESS. With encryption, QSERVER_ZMQ_PUBLIC_KEY holds the server's public key, and
REMANAGER_CLIENT_PRIVATE_KEY the client's own key.

Exit status: 0 success, 1 wrong parameters, 2 refused by the manager, 3 no answer, 4 exception,
5 operation failed.
"""


class LazyGroup(click.Group):
    """A group whose commands are made when they are used.

    Parameters
    ----------
    path : str
        Words that name the group; empty for all commands.
    help : str
        What the group is for.
    """

    def __init__(self, path: str, help: str, **settings: object) -> None:
        super().__init__(path.rpartition(" ")[2] or "remanager", help=help, **settings)  # type: ignore[arg-type]
        self._prefix = f"{path} " if path else ""

    def _children(self) -> dict[str, str]:
        """Return the help of the commands that the group shows, by name."""
        found: dict[str, str] = {}
        for path, text in _HELP.items():
            name = path.removeprefix(self._prefix)
            if path.startswith(self._prefix) and " " not in name and path not in HIDDEN_GROUPS:
                found[name] = text
        return found

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(self._children()) or self._hidden()

    def _hidden(self) -> list[str]:
        paths = (p.removeprefix(self._prefix) for p in BY_PATH if p.startswith(self._prefix))
        return [p for p in paths if " " not in p]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Make a command or a group."""
        path = self._prefix + cmd_name
        if path in GROUPS:
            return LazyGroup(path, GROUPS[path], no_args_is_help=True)
        if path in BY_PATH:
            from remanager.cli.send import RequestCommand

            return RequestCommand(BY_PATH[path], cmd_name)
        if path not in _MODULES:
            return None
        place, _ = _MODULES[path]
        if not place:
            return _start
        module, _, attribute = place.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{place} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the commands without importing their modules."""
        shown = self._children()
        groups = {n: t for n, t in shown.items() if self._prefix + n in GROUPS}
        rows = {n: t for n, t in shown.items() if n not in groups}
        rows = rows or {n: BY_PATH[self._prefix + n].help for n in self._hidden()}
        for title, content in (("Commands", rows), ("Groups of commands", groups)):
            if content:
                with formatter.section(title):
                    formatter.write_dl(list(content.items()))


@click.command("start", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def _start(ctx: click.Context, args: Sequence[str]) -> None:
    """Hand over to the entry point, which knows supervisor and manager."""
    from remanager.__main__ import main

    ctx.exit(main(["start", *args]))


group = LazyGroup(
    "",
    "Run a laboratory instrument's work: plans, functions, queue and history.",
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
)
click.version_option(VERSION, message="%(version)s")(group)


def run(argv: Sequence[str]) -> int:
    """Run a command.

    Returns
    -------
    int
        Exit status, as that of ``qserver``: 0 success, 1 wrong parameters, 2 refused by the manager, 3 no
        answer, 4 exception, 5 operation failed.
    """
    try:
        result = group.main(args=list(argv), prog_name="remanager", standalone_mode=False)
    except click.Abort:
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED
    except click.UsageError as exc:
        exc.show()
        return EXIT_PARAMETERS
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except BrokenPipeError:
        # The reader of the output has seen enough.
        sys.stderr.close()
        return 0
    except Exception:  # noqa: BLE001 - shown, with a status that scripts can tell
        traceback.print_exc()
        return EXIT_EXCEPTION
    return result if isinstance(result, int) else 0
