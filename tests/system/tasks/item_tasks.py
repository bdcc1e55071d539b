"""Tasks for the tests of single questions: they wait for files, fail, skip, report and have children."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from remanager.tasks import Context, Permanent, Skip, task


@task
def give(value: Any = None) -> Any:
    """Return what was given."""
    return value


@task("shrink", domain="media")
def shrink(gate: str, ctx: Context) -> int:
    """Wait for a file, in a domain; tell how far it is."""
    return gated(gate, size=1000, ctx=ctx)


@task
def broken(text: str) -> None:
    """Raise what may be tried again."""
    raise ValueError(text)


@task
def hopeless(text: str) -> None:
    """Raise what is for good."""
    raise Permanent(text)


@task
def needless(reason: str) -> None:
    """Find that there is nothing to do."""
    raise Skip(reason)


@task
def gated(gate: str, size: int = 0, *, ctx: Context) -> int:
    """Report progress, then wait for a file."""
    if size:
        ctx.progress(done_size=size // 4, total_size=size, done_count=1, total_count=4)
    while not os.path.exists(gate):
        ctx.check_cancelled()
        time.sleep(0.01)
    if size:
        ctx.progress(done_size=size, total_size=size, done_count=4, total_count=4)
        ctx.record_io(disk_read=size, disk_write=2 * size)
    return os.getpid()


@task(fail_fast=False)
def family(gate: str, number: int, ctx: Context) -> str:
    """Have children that wait for a file, each with a child of its own."""
    if not ctx.finishing:
        for n in range(number):
            ctx.submit_child("parent", gate, options={"label": f"child {n}"})
    return "done"


@task
def parent(gate: str, ctx: Context) -> str:
    """Have one child in another domain."""
    if not ctx.finishing:
        ctx.submit_child("gated", gate, options={"domain": "other"})
    return "done"


@task
def sponsor(text: str, ctx: Context) -> str:
    """Have one child, which fails."""
    if not ctx.finishing:
        ctx.submit_child("hopeless", text)
    return "done"


@task
def touch(path: str) -> None:
    """Make a file."""
    Path(path).touch()
