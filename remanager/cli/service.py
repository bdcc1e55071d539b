"""``remanager service``: the daemon as a service of systemd."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from remanager.cli.checks import Finding, Level
from remanager.cli.doctor import examine, print_findings
from remanager.cli.send import ExitStatus, Failure
from remanager.cli.service_files import Installation, is_ours
from remanager.cli.service_unit import INSTRUMENT_NAME, UnitSpec
from remanager.cli.start import parse
from remanager.daemon.settings import SettingsError

BOOTED = Path("/run/systemd/system")
"""Exists where systemd runs."""
MACHINE = Path("/")
"""Root directory of the machine that systemd runs; a different one is that of an image."""

_SHOWN = (
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "MainPID",
    "StatusText",
    "Result",
    "NRestarts",
)
_Command = Callable[..., Any]


def _instrument(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if value and not INSTRUMENT_NAME.fullmatch(value):
        raise click.BadParameter("a name is a letter and up to 19 letters, digits, '-' or '_', in lower case")
    return value


def _place(command: _Command) -> _Command:
    """Add the options that say which service is meant."""
    for option in (
        click.option(
            "--root",
            type=click.Path(path_type=Path, file_okay=False, resolve_path=True),
            default="/",
            help="Where the file system of another machine is seen, such as an image.",
        ),
        click.option(
            "--instrument",
            metavar="NAME",
            default="",
            callback=_instrument,
            help="One of several instruments on this machine.",
        ),
        click.option("--user", is_flag=True, help="A service of this user, not of the system."),
    ):
        command = option(command)
    return command


def _is_image(place: Installation) -> bool:
    return place.root != MACHINE


def _tool(name: str) -> str:
    """Return the path of a program of systemd.

    Raises
    ------
    Failure
        There is none.
    """
    path = shutil.which(name)
    if path is None:
        raise _no_systemd(f"there is no '{name}'")
    return path


def _check_systemd(place: Installation) -> None:
    """Refuse what needs that systemd runs.

    Raises
    ------
    Failure
        It does not run here, or the service is not one of this machine.
    """
    if _is_image(place):
        raise Failure(
            f"{place.root} is not the root directory of this machine: there systemd cannot be asked.",
            ExitStatus.FAILED,
        )
    if not BOOTED.is_dir():
        raise _no_systemd("this machine was not started with it")


def _no_systemd(why: str) -> Failure:
    return Failure(
        f"systemd does not run here: {why}. Start the daemon with 'remanager start'.", ExitStatus.FAILED
    )


def _systemctl(place: Installation, *args: str) -> list[str]:
    """Return a command for the service manager to which the service belongs."""
    return ["systemctl", *(["--user"] if place.user else []), *args]


def _run(place: Installation, command: Sequence[str], check: bool = True) -> str:
    """Run a program of systemd and return what it printed."""
    _check_systemd(place)
    tool, *args = command
    done = subprocess.run(
        [_tool(tool), *args], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if check and done.returncode:
        said = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise Failure(f"{' '.join(command)}: {said}", ExitStatus.FAILED)
    return done.stdout


def _steps(place: Installation, spec: UnitSpec) -> list[list[str]]:
    """Return the commands that make the service known and start it; of an image, with its start."""
    steps = []
    if _is_image(place):
        image = f"--root={place.root}"
        if not place.user:
            steps = [["systemd-sysusers", image], ["systemd-tmpfiles", image, "--create"]]
        return [*steps, _systemctl(place, image, "enable", place.unit)]
    if not place.user:
        steps.append(["systemd-sysusers", str(place.sysusers_path(spec.run_as))])
        steps.append(["systemd-tmpfiles", "--create", str(place.tmpfiles_path)])
    return [*steps, _systemctl(place, "daemon-reload"), _systemctl(place, "enable", "--now", place.unit)]


def _check_install(place: Installation, spec: UnitSpec, now: bool) -> None:
    if now:
        _check_systemd(place)
        _tool("systemctl")
    if spec.options:
        try:
            parse(spec.options, place.environment(os.environ))
        except SettingsError as exc:
            raise Failure(str(exc), ExitStatus.PARAMETERS) from exc
    for path in place.files(spec):
        if path.exists() and not is_ours(path):
            raise Failure(
                f"{path} was not written by this command. Remove it, or change it by hand.", ExitStatus.FAILED
            )


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600 if path.suffix == ".env" else 0o644)
        path.write_text(text)
    except PermissionError as exc:
        remedy = "Run the command as root (sudo), or install a service of your own with --user."
        raise Failure(f"{path} can not be written. {remedy}", ExitStatus.FAILED) from exc
    click.echo(f"written: {path}")


@click.command(context_settings={"ignore_unknown_options": True})
@_place
@click.option("--run-as", metavar="USER", default="", help="User of the service. Default: one of its own.")
@click.option("--dry-run", is_flag=True, help="Print the files and the commands, and do nothing.")
@click.option("--now", is_flag=True, help="Also make the user, enable the service and start it.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS OF START]")
def install(
    user: bool, instrument: str, root: Path, run_as: str, dry_run: bool, now: bool, options: Sequence[str]
) -> None:
    """Write the unit file for this Python and its configuration.

    The configuration is /etc/remanager/remanager.yml, or NAME.yml for one of several instruments; with --user
    it is in ~/.config/remanager. One to begin with is written if there is none. Nothing is started without
    --now; the commands that do it are printed.
    """
    place = Installation.here(os.environ, instrument, user, root)
    command = (sys.executable, "-P", "-m", "remanager")
    spec = UnitSpec(command=command, options=tuple(options), run_as=run_as)
    _check_install(place, spec, now and not dry_run)
    files = place.files(spec)
    files |= {path: text for path, text in place.first_files().items() if not path.exists()}
    steps = _steps(place, spec)
    for path, text in files.items():
        if dry_run:
            click.echo(f"==> {path}\n{text}")
        else:
            _write(path, text)
    if not user and (hidden := _hidden_from_others(Path(sys.prefix))):
        click.echo(f"note: {hidden} can not be entered by other users: is this Python meant for the service?")
    if now and not dry_run:
        for step in steps:
            _run(place, step)
        click.echo(f"{place.unit} is enabled and started")
        return
    start = "To start it with the machine of the image:" if _is_image(place) else "To start it:"
    click.echo("==> commands" if dry_run else start)
    for step in steps:
        click.echo("  " + " ".join(step))


def _hidden_from_others(prefix: Path) -> Path | None:
    """Return the directory on the way to this Python that other users can not enter, if there is one."""
    return next((p for p in reversed([prefix, *prefix.parents]) if not p.stat().st_mode & 0o001), None)


@click.command()
@_place
@click.option("--now", is_flag=True, help="Stop the service, if it runs: plans that run are killed.")
def uninstall(user: bool, instrument: str, root: Path, now: bool) -> None:
    """Remove what 'install' has written.

    Configuration, queue, history and results stay.
    """
    place = Installation.here(os.environ, instrument, user, root)
    runs = BOOTED.is_dir() and not _is_image(place)
    if runs:
        show = _systemctl(place, "show", "--property=ActiveState", "--value", place.unit)
        state = _run(place, show, check=False)
        if state.strip() in ("active", "activating", "reloading") and not now:
            raise Failure(f"{place.unit} runs. Stop it first, or give --now.", ExitStatus.FAILED)
        _run(place, _systemctl(place, "disable", *(["--now"] if now else []), place.unit), check=False)
    removed = list(place.own_files())
    for path in removed:
        try:
            path.unlink()
        except PermissionError as exc:
            raise Failure(f"{path} can not be removed. Run the command as root.", ExitStatus.FAILED) from exc
        click.echo(f"removed: {path}")
    if not removed:
        click.echo("There was nothing to remove.")
    if runs:
        _run(place, _systemctl(place, "daemon-reload"))
    click.echo(f"kept: {place.config_path}, {place.state_directory}")


def _service(place: Installation) -> tuple[dict[str, str], Iterator[Finding]]:
    """Ask systemd for the state of the unit; return its properties and what they mean."""
    names = ",".join(_SHOWN)
    try:
        output = _run(place, _systemctl(place, "show", f"--property={names}", place.unit))
    except Failure as exc:
        return {}, iter([Finding(Level.FAULT, "service", exc.message)])
    shown = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    return shown, _judge(place, shown)


def _judge(place: Installation, shown: dict[str, str]) -> Iterator[Finding]:
    unit, active = place.unit, shown.get("ActiveState", "unknown")
    text = f"{unit} is {active} ({shown.get('SubState', '')}), {shown.get('UnitFileState') or 'not enabled'}"
    if status := shown.get("StatusText"):
        text += f": {status}"
    if shown.get("LoadState") == "not-found":
        yield Finding(Level.FAULT, "service", f"{unit} is not installed", "remanager service install")
    elif active == "failed":
        remedy = "remanager service logs says why."
        yield Finding(Level.FAULT, "service", f"{text}; {shown.get('Result', '')}", remedy)
    elif active in ("active", "reloading"):
        yield Finding(Level.OK, "service", text)
    else:
        remedy = " ".join(_systemctl(place, "start", unit))
        yield Finding(Level.WARNING, "service", text, remedy)
    if shown.get("NRestarts", "0") != "0":
        yield Finding(Level.WARNING, "service", f"systemd has restarted it {shown['NRestarts']} times")


@click.command()
@_place
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def status(user: bool, instrument: str, root: Path, as_json: bool) -> int:
    """Show how the service is: what systemd says, what the daemon answers, and what 'doctor' finds.

    Exit status: 0 nothing is wrong, 5 something is.
    """
    place = Installation.here(os.environ, instrument, user, root)
    shown, judged = _service(place)

    def findings() -> Iterator[Finding]:
        yield from judged
        if place.unit_path.exists():
            options = place.start_options(place.unit_path.read_text())
            yield from examine(options, place.environment(os.environ))

    found = list(findings()) if as_json else print_findings(findings())
    if as_json:
        click.echo(
            json.dumps(
                {"unit": place.unit, "systemd": shown, "findings": [asdict(f) for f in found]}, indent=2
            )
        )
    faulty = any(f.level is Level.FAULT for f in found)
    return ExitStatus.FAILED if faulty else ExitStatus.SUCCESS


@click.command(context_settings={"ignore_unknown_options": True})
@_place
@click.option("-f", "--follow", is_flag=True, help="Go on showing what is written.")
@click.option("-n", "--lines", type=int, default=100, show_default=True, help="Begin so many lines ago.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS OF JOURNALCTL]")
def logs(user: bool, instrument: str, root: Path, follow: bool, lines: int, options: Sequence[str]) -> int:
    """Show the log of the service, and what plans and devices have printed."""
    place = Installation.here(os.environ, instrument, user, root)
    unit = ["--user-unit" if user else "--unit", place.unit]
    flags = ["--follow"] if follow else ["--no-pager"]
    where = [f"--root={place.root}"] if _is_image(place) else []
    command = [_tool("journalctl"), *where, *unit, f"--lines={lines}", *flags, *options]
    try:
        return subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        return ExitStatus.SUCCESS
