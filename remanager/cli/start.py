"""``remanager start``: the options of the daemon.

The parser is :mod:`argparse`, whose rules (``--opt value``, ``--opt=value``, ``--keys K [K ...]``,
unambiguous abbreviations, exit status 2) are those of ``start-re-manager``, and which is quick to import.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from remanager.cli.version import VERSION
from remanager.daemon.journal_stream import say
from remanager.daemon.options import OPTIONS, UNNEEDED, Kind, Option
from remanager.daemon.settings import DEFAULTS, Settings, SettingsError, resolve

_DESCRIPTION = """\
Start the daemon. Each setting is taken from the first of: option, environment variable,
configuration file, default. Without start-up code it offers a simulated instrument.
Encryption is turned on by a private key, given in the environment variable
QSERVER_ZMQ_PRIVATE_KEY_FOR_SERVER or in the configuration file."""


def shown_default(option: Option) -> str:
    """Return the default of an option as the help and the reference page show it; empty if it has none."""
    value = DEFAULTS.get(option.name)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "ON" if value else "OFF"
    if isinstance(value, tuple):
        return " ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _help(option: Option) -> str:
    parts = [option.help]
    if default := shown_default(option):
        parts.append(f"Default: {default}.")
    if option.env:
        parts.append(f"Variable: {option.env[0]}.")
    return " ".join(parts).replace("%", "%%")


def _add(group: argparse._ArgumentGroup, option: Option) -> None:
    settings: dict[str, Any] = {"dest": option.name, "default": argparse.SUPPRESS}
    if option.flags and not option.secret:
        match option.kind:
            case Kind.NAMES | Kind.MODULES:
                settings |= {"nargs": "+", "metavar": "K"}
            case Kind.CHOICE:
                settings |= {"metavar": "|".join(option.choices)}
            case kind:
                settings |= {"metavar": str(kind) if kind is Kind.SWITCH else str(kind).upper()}
        group.add_argument(option.flags[0], help=_help(option), **settings)
        for old in option.flags[1:]:
            group.add_argument(
                old,
                dest=f"old {old}",
                metavar=settings["metavar"],
                default=argparse.SUPPRESS,
                help=f"Old name of {option.flags[0]}.",
            )
    if option.constants:
        exclusive = group.add_mutually_exclusive_group()
        for flag, value in option.constants:
            exclusive.add_argument(
                flag,
                dest=option.name,
                action="store_const",
                const=value,
                default=argparse.SUPPRESS,
                help=f"Log level {value}.",
            )


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the options from their table."""
    parser = argparse.ArgumentParser(
        prog="remanager start",
        usage="remanager start [options]",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=VERSION)
    parser.add_argument("--supervisor-fd", type=int, help=argparse.SUPPRESS)
    parser.add_argument(
        "--config", metavar="PATH", help="YAML file, or directory of files. Variable: QSERVER_CONFIG."
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for option in OPTIONS:
        if option.flags or option.constants:
            group = groups.get(option.group)
            if group is None:
                group = groups[option.group] = parser.add_argument_group(option.group)
            _add(group, option)
    unused = parser.add_argument_group("Accepted, but not needed")
    for unneeded in UNNEEDED:
        action: dict[str, Any] = {"metavar": "TEXT"} if unneeded.takes_value else {"action": "store_true"}
        for flag in unneeded.flags:
            unused.add_argument(
                flag, dest=f"unneeded {flag}", default=argparse.SUPPRESS, help=unneeded.answer, **action
            )
    return parser


def _split(given: Mapping[str, Any]) -> tuple[dict[str, object], dict[str, object], tuple[str, ...]]:
    """Sort parsed options into settings, options not needed, and notices of old names."""
    settings: dict[str, object] = {}
    unneeded: dict[str, object] = {}
    notices = []
    by_old_name = {old: option for option in OPTIONS for old in option.flags[1:]}
    for name, value in given.items():
        word, _, flag = name.partition(" ")
        if not flag:
            settings[name] = value
        elif word == "unneeded":
            unneeded[flag] = value
        else:
            option = by_old_name[flag]
            notices.append(f"{flag} is an old name: use {option.flags[0]}")
            if option.name not in given:
                settings[option.name] = value
    return settings, unneeded, tuple(notices)


def parse(argv: Sequence[str], environ: Mapping[str, str] | None = None) -> tuple[Settings, int | None]:
    """Parse the options and resolve the settings.

    Parameters
    ----------
    argv : sequence of str
        Arguments after ``start``.
    environ : Mapping, optional
        Environment variables; default: those of this process.

    Returns
    -------
    settings : Settings
    supervisor_fd : int or None
        Descriptor of the socket to the supervisor.

    Raises
    ------
    SettingsError
        A setting is wrong.
    SystemExit
        The options cannot be parsed (status 2), or help was asked for (status 0).
    """
    given = vars(build_parser().parse_args(argv))
    supervisor_fd: int | None = given.pop("supervisor_fd")
    config_path: str | None = given.pop("config")
    settings, unneeded, notices = _split(given)
    resolved = resolve(settings, environ, config_path=config_path, unneeded=unneeded, notices=notices)
    return resolved, supervisor_fd


def run(argv: Sequence[str]) -> int:
    """Become the manager, under a supervisor.

    Returns
    -------
    int
        Exit status; 2 if the options are wrong, after which the supervisor does not start the manager again.
    """
    try:
        settings, supervisor_fd = parse(argv)
    except SettingsError as exc:
        say(f"remanager start: {exc}")
        return 2
    if supervisor_fd is None:
        say("remanager start: the manager is started by its supervisor only")
        return 2
    from remanager.daemon.manager import run as run_manager

    return run_manager(settings, supervisor_fd)
