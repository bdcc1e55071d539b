"""``remanager console``: the console output of manager and worker, as it comes."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import click

from remanager.cli.send import INFO_OPTION, ExitStatus, Failure, connection, connection_options
from remanager_api import RequestFailedError, RequestTimeoutError
from remanager_api.transport import TOPIC_CONSOLE, TOPIC_INFO
from remanager_api.zmq.aio import REManagerAPI

SILENCE_S = 5.0
"""The manager publishes its status every second: so long a silence means that nobody publishes."""

_PAGE = 1000

Write = Callable[[str], object]


async def follow(api: REManagerAPI, write: Write, warn: Write, *, silence_s: float = SILENCE_S) -> None:
    """Write console output as it comes, without an end.

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


async def recent(api: REManagerAPI, count: int) -> list[str]:
    """Return the last pieces of console output that the manager still has.

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
        page = await api.send_request(method="console_get", params={"since": since, "limit": _PAGE})
        kept.extend(line["msg"] for line in page["lines"])
        if len(page["lines"]) < _PAGE:
            return list(kept)
        since = page["next_seq"]


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
    """Follow the console output of manager and worker, until Ctrl-C.

    The daemon must publish it: remanager start --zmq-publish-console ON.
    """

    async def run() -> None:
        async with REManagerAPI(**connection(options)) as api:
            if tail:
                _write("".join(await recent(api, tail)))
            await follow(api, _write, lambda text: click.echo(text, err=True))

    try:
        asyncio.run(run())
    except RequestTimeoutError as exc:
        raise Failure(str(exc), ExitStatus.NO_ANSWER) from exc
    except RequestFailedError as exc:
        raise Failure(str(exc), ExitStatus.REFUSED) from exc
    except KeyboardInterrupt:
        click.echo(err=True)
