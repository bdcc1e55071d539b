"""Commands that send one request: made from their table, with the exit statuses of ``qserver``."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import click

from remanager.cli import words
from remanager.cli.requests import Request, Wait
from remanager_api import RequestFailedError, RequestParameterError, RequestTimeoutError, WaitTimeoutError
from remanager_api.errors import refused_items
from remanager_api.zmq import REManagerAPI

Reply = dict[str, Any]

ANSWER_TIMEOUT_S = 5.0
WORKER_ANSWER_TIMEOUT_S = 12.0
"""How long to wait where the manager asks the worker, for whose answer it waits 10 s."""

LONG_ANSWER_TIMEOUT_S = 60.0
"""How long to wait where the request is about any number of tasks."""

_MOST_FAULTS = 20
"""Items of a refused batch that are named."""

_TO_DO = {
    "not_permitted": "'remanager permissions get' shows what user groups may do. The file of permissions "
    "says it, by default user_group_permissions.yaml beside the start-up code; "
    "'remanager permissions reload' reads it again.",
}
"""What to do about a refusal, by its code."""


class ExitStatus(IntEnum):
    """Exit statuses of the commands that talk to the manager."""

    SUCCESS = 0
    PARAMETERS = words.EXIT_PARAMETERS
    REFUSED = 2
    NO_ANSWER = 3
    EXCEPTION = 4
    FAILED = 5


class Failure(click.ClickException):
    """A command that ends with an exit status of its own.

    Parameters
    ----------
    message : str
        What went wrong, and what to do.
    status : ExitStatus
        Exit status.
    """

    def __init__(self, message: str, status: ExitStatus) -> None:
        super().__init__(message)
        self.exit_code = int(status)  # type: ignore[misc]


def client(settings: Mapping[str, Any]) -> REManagerAPI:
    """Make a client that returns refusals as they are.

    Raises
    ------
    Failure
        A key or the encoding makes no sense.
    """
    try:
        return REManagerAPI(**settings, request_fail_exceptions=False)
    except RequestParameterError as exc:
        raise Failure(str(exc), ExitStatus.PARAMETERS) from exc


def login_name() -> str:
    """Return the login name; ``remanager`` for a user without one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "remanager"


def connection_options(timeout_s: float = ANSWER_TIMEOUT_S) -> list[click.Parameter]:
    """Make the options by which a command finds the manager; its answer is awaited ``timeout_s`` (s)."""
    return [
        click.Option(
            ["--address", "-a", "--zmq-control-addr", "address"],
            metavar="ADDR",
            help="Control address. Variable: QSERVER_ZMQ_CONTROL_ADDRESS. Default: tcp://localhost:60615.",
        ),
        click.Option(
            ["--encoding", "--zmq-encoding", "encoding"],
            type=click.Choice(["json", "msgpack"]),
            help="Encoding of requests. Variable: QSERVER_ZMQ_ENCODING. Default: json.",
        ),
        click.Option(
            ["--timeout"],
            type=click.FloatRange(min=0, min_open=True),
            default=timeout_s,
            show_default=True,
            metavar="S",
            help="Time (s) within which the manager must answer.",
        ),
    ]


INFO_OPTION = click.Option(
    ["--info-address", "--zmq-info-addr", "info_address"],
    metavar="ADDR",
    help="Info address. Variable: QSERVER_ZMQ_INFO_ADDRESS. Default: tcp://localhost:60625.",
)
JSON_OPTION = click.Option(["--json", "as_json"], is_flag=True, help="Print the reply as JSON.")


def connection(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the client's parameters that the options of a command stand for."""
    return {
        "zmq_control_addr": options["address"],
        "zmq_info_addr": options.get("info_address"),
        "zmq_encoding": options["encoding"] or os.environ.get("QSERVER_ZMQ_ENCODING") or None,
        "timeout_recv": options["timeout"],
    }


class RequestCommand(click.Command):
    """The command of an entry of the table.

    Parameters
    ----------
    request : Request
        The entry.
    name : str
        Last word of the path.
    """

    def __init__(self, request: Request, name: str) -> None:
        self._request = request
        params: list[click.Parameter] = []
        if request.usage:
            metavar = request.usage
            params.append(click.Argument(["words"], nargs=-1, type=click.UNPROCESSED, metavar=metavar))
        timeout_s = WORKER_ANSWER_TIMEOUT_S if request.asks_worker else ANSWER_TIMEOUT_S
        timeout_s = LONG_ANSWER_TIMEOUT_S if request.is_long else timeout_s
        params += [*connection_options(timeout_s), JSON_OPTION, *_own_options(request)]
        super().__init__(
            name,
            params=params,
            help="\n\n".join(filter(None, (request.help, request.details))),
            short_help=request.help,
            # A negative index is a word, not an option.
            context_settings={"ignore_unknown_options": bool(request.usage)},
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; an unknown long option is an error, whatever words the command takes."""
        rest = super().parse_args(ctx, args)
        for word in ctx.params.get("words", ()):
            if word.startswith("--"):
                raise click.NoSuchOption(word, ctx=ctx)
        return rest

    def invoke(self, ctx: click.Context) -> int:
        """Send the request, show the reply, and return the exit status."""
        options = ctx.params
        method, params, detail = prepare(self._request, options)
        settings = connection(options)
        with client(settings) as api:
            waits = bool(options.get("wait"))
            before = ask(api, "status", {}) if waits and self._request.wait is Wait.QUEUE else {}
            reply = ask(api, method, params)
            success = reply.get("success", True)
            # What a task began with is of no interest to those who wait for its result.
            as_json = options["as_json"] and not (success and waits and self._request.wait is Wait.TASK)
            if as_json:
                click.echo(json.dumps(reply, indent=2))
            if not success:
                if not options["as_json"]:
                    click.echo(refusal(reply), err=True)
                return ExitStatus.REFUSED
            # Nothing is done yet where somebody waits; but an item has a UID.
            if not options["as_json"] and (not waits or self._request.wait is Wait.ITEM):
                from remanager.cli.show import show

                show(method, reply, detail)
            if waits:
                from remanager.cli.wait import wait_for

                return wait_for(api, self._request.wait, method, reply, options, before)
        return ExitStatus.SUCCESS


def _own_options(request: Request) -> list[click.Parameter]:
    options: list[click.Parameter] = []
    if request.locked:
        options.append(
            click.Option(["--lock-key", "-k"], metavar="KEY", help="Key with which the manager is locked.")
        )
    if "user" in request.who:
        options.append(click.Option(["--user"], help="User name. Default: the login name."))
    if "user_group" in request.who:
        options.append(
            click.Option(["--user-group"], default="primary", show_default=True, help="User group.")
        )
    if request.wait:
        options += [
            click.Option(["--wait"], is_flag=True, help=f"Wait {request.wait}; exit status 5 if it failed."),
            click.Option(
                ["--wait-timeout"],
                type=click.FloatRange(min=0),
                metavar="S",
                help="Longest time (s) to wait. Default: no limit.",
            ),
        ]
    return options


def prepare(request: Request, options: Mapping[str, Any]) -> tuple[str, dict[str, Any], str | None]:
    """Make a request from the words and options of a command.

    Returns
    -------
    method : str
        Method on the wire.
    params : dict
        Its parameters.
    detail : str or None
        Name of what is to be shown of the reply; None for all of it.

    Raises
    ------
    ParameterError
        The words make no sense.
    """
    given = options.get("words", ())
    method = request.other.get(given[0]) if len(given) == 1 else None
    if method is not None:
        params: dict[str, Any] = {}
    else:
        method, params = request.method, request.read(given)
        if "user" in request.who:
            params["user"] = options["user"] or login_name()
        if "user_group" in request.who:
            params["user_group"] = options["user_group"]
    if request.locked and options["lock_key"] is not None:
        if not options["lock_key"]:
            raise words.ParameterError("the lock key must not be empty")
        params["lock_key"] = options["lock_key"]
    detail = params.pop(words.DETAIL, None)
    return method, params, detail


def ask(api: REManagerAPI, method: str, params: Mapping[str, Any]) -> Reply:
    """Send a request and return the reply, also that of a refusal.

    Raises
    ------
    Failure
        There was no answer, or none that makes sense.
    """
    try:
        return api.send_request(method=method, params=params)
    except RequestTimeoutError as exc:
        raise Failure(
            f"{exc}. Is the daemon running? 'remanager doctor' looks for what is wrong.", ExitStatus.NO_ANSWER
        ) from exc
    except (RequestFailedError, WaitTimeoutError) as exc:
        raise Failure(str(exc), ExitStatus.NO_ANSWER) from exc


def refusal(reply: Mapping[str, Any]) -> str:
    """Say that and why the manager refused a request; of a batch, also what is wrong with which item."""
    code = f" ({reply['code']})" if reply.get("code") else ""
    lines = [f"Refused{code}: {reply.get('msg') or 'no reason was given'}"]
    refused = refused_items(reply)
    faults = [f"  item {place + 1}: {result.get('msg')}" for place, result in refused.items()]
    lines += faults[:_MOST_FAULTS]
    if len(faults) > _MOST_FAULTS:
        lines.append(f"  and {len(faults) - _MOST_FAULTS} more")
    codes = {reply.get("code"), *(result.get("code") for result in refused.values())}
    lines += [text for code, text in _TO_DO.items() if code in codes]
    return "\n".join(lines)
