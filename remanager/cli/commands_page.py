"""The reference page of the commands, made from their table: ``python -m remanager.cli.commands_page``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from remanager.cli.main import LazyGroup, group
from remanager.cli.requests import BY_PATH

_INTRODUCTION = """\
# Commands

`remanager COMMAND --help` shows the options of a command. Commands that send a request take `--address`,
`--encoding`, `--timeout` and `--json`, which prints the whole reply. All words that `qserver` takes name the
same requests here. Options stand behind the command. `remanager completion --help` says how a shell learns to
complete them.

| exit status | |
|---|---|
| 0 | success |
| 1 | wrong parameters |
| 2 | refused by the manager |
| 3 | no answer |
| 4 | exception |
| 5 | operation failed: what `--wait` waited for, or what `doctor` found |

| variable | |
|---|---|
| `QSERVER_ZMQ_CONTROL_ADDRESS` | control address; default `tcp://localhost:60615` |
| `QSERVER_ZMQ_INFO_ADDRESS` | info address; default `tcp://localhost:60625` |
| `QSERVER_ZMQ_ENCODING` | encoding of requests; default `json` |
| `QSERVER_ZMQ_PUBLIC_KEY` | public key of the server; turns encryption on |
| `REMANAGER_CLIENT_PRIVATE_KEY` | the client's own key |
"""


def _commands(parent: LazyGroup, context: click.Context, path: str) -> Iterator[tuple[str, click.Command]]:
    for name in parent.list_commands(context):
        command = parent.get_command(context, name)
        full = f"{path} {name}".strip()
        if isinstance(command, LazyGroup):
            yield from _commands(command, context, full)
        elif command is not None:
            yield full, command


def _row(path: str, command: click.Command) -> str:
    request = BY_PATH.get(path)
    usage = f" {request.usage}" if request and request.usage else ""
    method = f"`{request.method}`" if request else ""
    text = command.get_short_help_str(200) if path != "start" else "Start the daemon."
    cells = (f"`remanager {path}{usage}`".replace("|", "\\|"), method, text)
    return f"| {' | '.join(cells)} |"


def page() -> str:
    """Return the page in Markdown."""
    lines = [_INTRODUCTION, "| command | method | |", "|---|---|---|"]
    lines += [_row(path, command) for path, command in _commands(group, click.Context(group), "")]
    others = [(other, r.path) for other, r in BY_PATH.items() if other != r.path]
    lines += ["", "| also | for |", "|---|---|"]
    lines += [f"| `{other}` | `{path}` |" for other, path in others]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
