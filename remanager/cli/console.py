"""``remanager console``: the console output of manager and worker, as it comes."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import click

from remanager.cli.send import INFO_OPTION, ExitStatus, Failure, connection, connection_options
from remanager_api import RequestFailedError, RequestTimeoutError
from remanager_api.transport import TOPIC_CONSOLE, TOPIC_INFO
from remanager_api.zmq.aio import REManagerAPI

SILENCE_S = 5.0
"""The manager publishes its status every second: so long a silence means that nobody publishes."""

PERIOD_S = 0.25
"""Time (s) between two questions for new output."""

_PAGE = 1000

Write = Callable[[str], object]


async def follow(api: REManagerAPI, write: Write, warn: Write, *, silence_s: float = SILENCE_S) -> None:
    """Write console output as it is published, without an end.

    Parameters
    ----------
    api : REManagerAPI
        Client.
    write : callable
        Takes each piece of output, with control characters as they were written.
    warn : callable
        Takes a line of text, once, when nothing at all arrives.
    silence_s : float
        Time (s) without any message after which ``warn`` is called.
    """
    messages = api.info_stream([TOPIC_CONSOLE, TOPIC_INFO])
    waiting = asyncio.ensure_future(anext(messages))
    warned = False
    try:
        while True:
            done, _ = await asyncio.wait([waiting], timeout=None if warned else silence_s)
            if not done:
                warned = True
                warn("Nothing is published. Is the daemon running, with --zmq-publish-console ON?")
                continue
            message = waiting.result()
            waiting = asyncio.ensure_future(anext(messages))
            if message.topic == TOPIC_CONSOLE:
                write(str(message.msg))
    finally:
        waiting.cancel()
        await asyncio.wait([waiting])
        await messages.aclose()  # type: ignore[attr-defined]


async def show_output(
    api: REManagerAPI, tail: int, write: Write, warn: Write, *, period_s: float = PERIOD_S
) -> None:
    """Write the last console output and what comes, without an end, whether it is published or not.

    Parameters
    ----------
    api : REManagerAPI
        Client.
    tail : int
        Number of pieces of output from before.
    write, warn : callable
        As for :func:`follow`.
    period_s : float
        Time (s) between two questions for new output.

    Raises
    ------
    RequestTimeoutError
        The manager does not answer the first question.
    """
    try:
        pieces, since = await recent(api, tail)
    except RequestFailedError as exc:
        if exc.code is not None:
            raise
        await follow(api, write, warn)  # of bluesky-queueserver, which keeps no output
        return
    write("".join(pieces))
    answers = True
    while True:
        await asyncio.sleep(period_s)
        try:
            page = await _page(api, since)
        except RequestTimeoutError as exc:  # it may be restarted
            if answers:
                warn(str(exc))
            answers = False
            continue
        answers = True
        if page["gap"]:
            warn("Some output is missing: it is no longer kept.")
        since = page["next_seq"]
        write("".join(line["msg"] for line in page["lines"]))


async def recent(api: REManagerAPI, count: int) -> tuple[list[str], int]:
    """Return the last pieces of console output that the manager still has, and where the next ones start.

    Parameters
    ----------
    api : REManagerAPI
        Client.
    count : int
        Number of pieces.
    """
    kept: deque[str] = deque(maxlen=count)
    since = 0
    while True:
        page = await _page(api, since)
        kept.extend(line["msg"] for line in page["lines"])
        since = page["next_seq"]
        if len(page["lines"]) < _PAGE:
            return list(kept), since


async def _page(api: REManagerAPI, since: int) -> Mapping[str, Any]:
    return await api.send_request(method="console_get", params={"since": since, "limit": _PAGE})


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


@click.command(
    params=[
        *connection_options(),
        INFO_OPTION,
        click.Option(
            ["--tail"],
            type=click.IntRange(min=0),
            default=0,
            metavar="N",
            help="First print the last N pieces of output.",
        ),
    ]
)
def console(tail: int, **options: Any) -> None:
    """Follow the console output of manager and worker, until Ctrl-C."""

    async def run() -> None:
        async with REManagerAPI(**connection(options)) as api:
            await show_output(api, tail, _write, lambda text: click.echo(text, err=True))

    try:
        asyncio.run(run())
    except RequestTimeoutError as exc:
        raise Failure(str(exc), ExitStatus.NO_ANSWER) from exc
    except RequestFailedError as exc:
        raise Failure(str(exc), ExitStatus.REFUSED) from exc
    except KeyboardInterrupt:
        click.echo(err=True)
