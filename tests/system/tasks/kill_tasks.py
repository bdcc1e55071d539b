"""Tasks that write down what they do, for the tests that kill processes.

Each line of the file ``runs`` in the directory ``KILL_TASKS_DIR`` says ``begin`` or ``end``, and which
execution of which task it was. Lines are appended whole and in the order in which they happen. ``overlap``
is written by an execution that begins while another one of the same task goes on: the kernel knows, as each
holds the lock of a file, and loses it when its process dies.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from remanager.tasks import Context, Permanent, Retry, Skip, task

DIRECTORY = Path(os.environ["KILL_TASKS_DIR"])
RETRY = {"max_retries": 40, "retry": {"strategy": "constant", "initial_s": 0.02}}


def note(what: str, ctx: Context) -> None:
    """Append a line."""
    line = {
        "what": what,
        "uid": ctx.task_uid,
        "epoch": getattr(ctx, "_lease_epoch", None),
        "attempt": ctx.attempt,
        "finishing": ctx.finishing,
    }
    fd = os.open(DIRECTORY / "runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, (json.dumps(line) + "\n").encode())
    finally:
        os.close(fd)


@contextmanager
def noted(ctx: Context) -> Iterator[None]:
    """Note begin and end of an execution, and whether another one of the task goes on."""
    with (DIRECTORY / ctx.task_uid).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note("overlap", ctx)
        note("begin", ctx)
        print(f"begin {ctx.task_uid}")  # noqa: T201 - the test waits for output
        try:
            yield
        finally:
            note("end", ctx)


@task(**RETRY)
def steady(ctx: Context, seconds: float) -> str:
    """Take a while; succeed."""
    with noted(ctx):
        time.sleep(seconds)
    return ctx.task_uid


@task(**RETRY)
async def gentle(ctx: Context, seconds: float) -> str:
    """The same as a coroutine."""
    with noted(ctx):
        await asyncio.sleep(seconds)
    return ctx.task_uid


@task(**RETRY)
def flaky(ctx: Context, failures: int) -> int:
    """Fail a few times, in different ways."""
    with noted(ctx):
        if ctx.attempt <= failures:
            if ctx.attempt % 2:
                raise RuntimeError("not yet")
            raise Retry(after_s=0.01)
    return ctx.attempt


@task
def once(ctx: Context, seconds: float) -> None:
    """Have no second attempt."""
    with noted(ctx):
        time.sleep(seconds)


@task(max_retries=2, retry={"strategy": "constant", "initial_s": 0.01})
def hopeless(ctx: Context) -> None:
    """Fail always."""
    with noted(ctx):
        raise RuntimeError("never")


@task(**RETRY)
def broken(ctx: Context) -> None:
    """Fail for good."""
    with noted(ctx):
        raise Permanent("it is broken")


@task(**RETRY)
def nothing_to_do(ctx: Context) -> None:
    """Leave it out."""
    with noted(ctx):
        raise Skip("nothing to do")


@task(**RETRY)
def family(ctx: Context, children: list[list[Any]]) -> int:
    """Submit children; succeed when they have."""
    with noted(ctx):
        if not ctx.finishing:
            for name, *args in children:
                ctx.submit_child(name, *args, options={"label": f"child {name}"})
    return len(children)
