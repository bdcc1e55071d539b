"""``remanager doctor``: what is wrong with a set-up, and what to do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict

import click
from rich.console import Console
from rich.text import Text

from remanager.cli.checks import (
    CHECKS,
    Finding,
    Level,
    client_address,
    control_address,
    holder,
    server_public_key,
)
from remanager.cli.send import ExitStatus
from remanager.cli.start import parse
from remanager.daemon.settings import Settings, SettingsError
from remanager.model.errors import RemanagerError
from remanager_api import RequestFailedError, RequestTimeoutError
from remanager_api.zmq import REManagerAPI

ANSWER_TIMEOUT_S = 5.0
_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.FAULT: "red"}


def answer(settings: Settings) -> Iterator[Finding]:
    """Look whether a running daemon answers, and how it is."""
    if holder(settings) is None:
        return
    address = client_address(control_address(settings))
    try:
        public = server_public_key(settings)
    except RemanagerError:
        return  # said elsewhere
    try:
        with REManagerAPI(
            zmq_control_addr=address, zmq_public_key=public, timeout_recv=ANSWER_TIMEOUT_S
        ) as api:
            status = api.status()
            health = api.send_request(method="stats", params={"sections": []}).get("health", {})
    except (RequestTimeoutError, RequestFailedError) as exc:
        remedy = "Was it started with other options? Give doctor the same; else look at the daemon's log."
        yield Finding(Level.FAULT, "answer", str(exc), remedy)
        return
    text = f"{status['msg']} on {address}: {status['manager_state']}"
    if status.get("not_ready_reason"):
        text += f"; not ready: {status['not_ready_reason']}"
    yield Finding(Level.OK, "answer", text)
    level = Level.FAULT if health.get("state") == "bad" else Level.WARNING
    for reason in health.get("reasons", ()):
        remedy = "The daemon's log and 'remanager stats' say more."
        if reason.startswith("the environment worker"):
            remedy = "If it hangs: remanager environment destroy."
        yield Finding(level, "health", reason, remedy)


def examine(argv: Sequence[str], environ: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """Look at everything.

    Parameters
    ----------
    argv : sequence of str
        Options of ``remanager start``.
    environ : Mapping, optional
        Environment variables of the daemon; default: those of this process.

    Yields
    ------
    Finding
    """
    try:
        settings, _ = parse(argv, environ)
    except SettingsError as exc:
        remedy = "Correct the option, variable or configuration file; 'remanager start --help' lists them."
        yield Finding(Level.FAULT, "settings", str(exc), remedy)
        return
    yield Finding(Level.OK, "settings", "make sense")
    for notice in settings.notices:
        yield Finding(Level.WARNING, "settings", notice)
    for check in CHECKS:
        yield from check(settings)
    yield from answer(settings)


def print_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Print findings as they come and return them."""
    console, shown = Console(), []
    for finding in findings:
        shown.append(finding)
        mark = f"{finding.level:7}"
        line = Text.assemble((mark, _STYLES[finding.level]), f"  {finding.topic}: {finding.text}")
        console.print(line, soft_wrap=True, highlight=False)
        if finding.remedy:
            console.print(Text(f"         -> {finding.remedy}", "bold"), soft_wrap=True, highlight=False)
    return shown


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS OF START]")
def doctor(as_json: bool, options: Sequence[str]) -> int:
    """Find out what is wrong with a set-up and what to do.

    It takes the options of 'remanager start' and looks at what they, the environment variables and the
    configuration file say: state directory and its owner, database, addresses, keys, permissions, start-up
    code, the worker's Python, and whether a running daemon answers. It changes nothing.

    Exit status: 0 nothing is wrong, 1 wrong options, 5 something is.
    """
    try:
        findings = list(examine(options)) if as_json else print_findings(examine(options))
    except SystemExit as exc:
        # The parser of start has said what is wrong with the options.
        return ExitStatus.PARAMETERS if exc.code else ExitStatus.SUCCESS
    if as_json:
        click.echo(json.dumps([asdict(f) for f in findings], indent=2))
    faulty = any(f.level is Level.FAULT for f in findings)
    return ExitStatus.FAILED if faulty else ExitStatus.SUCCESS
