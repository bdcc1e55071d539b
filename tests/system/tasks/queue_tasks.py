"""Tasks for the tests of the task queue. Those that wait do so for a pipe."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
from pathlib import Path
from typing import Any

from remanager.tasks import Context, Retry, Skip, task


@task
def add(first: float, second: float = 1.0) -> float:
    """Return a sum."""
    return first + second


@task
def give_back(*values: Any) -> list[Any]:
    """Return what it was given, and the types of that."""
    return [*values, [type(value).__name__ for value in values]]


@task
def fail(text: str) -> None:
    """Raise an exception."""
    raise ValueError(text)


@task
def skip(reason: str) -> None:
    """Find that there is nothing to do."""
    raise Skip(reason)


@task(max_retries=2)
def third_time(notes: str, ctx: Context) -> list[Any]:
    """Succeed at the third attempt, and say what the checkpoints were."""
    seen = [*(ctx.last_checkpoint or []), ctx.attempt]
    with Path(notes).open("a") as file:
        file.write(f"{ctx.attempt}\n")
    ctx.checkpoint(seen)
    if ctx.attempt < 3:
        raise Retry(after_s=0.0)
    return seen


@task
def hold(pipe: str, ctx: Context) -> str:
    """Report progress, then return what is written to a pipe."""
    ctx.progress(done_count=1, total_count=4, message="holding")
    text = Path(pipe).read_text()
    ctx.progress(done_count=4, total_count=4, done_size=100)
    ctx.record_io(disk_read=100)
    return text


@task
async def obedient(pipe: str, ctx: Context) -> None:
    """Say that it runs, then wait until it is cancelled."""
    await asyncio.to_thread(Path(pipe).write_text, "running")
    await asyncio.Event().wait()


@task
def stubborn(pipe: str) -> None:
    """Say that it runs, then wait for a signal that never comes, whatever it is told."""
    Path(pipe).write_text("running")
    while True:
        signal.pause()


@task
def die() -> None:
    """End the worker."""
    os._exit(3)


@task
def family(number: int, ctx: Context) -> str:
    """Have children; end when they have."""
    if not ctx.finishing:
        for n in range(number):
            ctx.submit_child("add", n)
    return "done"


@task
def keep_the_lock(seconds: int) -> None:
    """Be in code that keeps the interpreter's lock, so that no other thread runs."""
    ctypes.PyDLL(None).sleep(seconds)
