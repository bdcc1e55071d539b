"""Tasks of a mixed load."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from remanager.tasks import Context, task


def give(value: Any = None) -> Any:
    """Return what was given."""
    return value


def rest(seconds: float) -> None:
    """Take a while."""
    time.sleep(seconds)


async def rest_gently(seconds: float) -> None:
    """Take a while as a coroutine."""
    await asyncio.sleep(seconds)


@task(max_retries=3, retry={"strategy": "constant", "initial_s": 0.05})
def stumble(ctx: Context, failures: int) -> None:
    """Fail a few times."""
    print(f"attempt {ctx.attempt}")  # noqa: T201 - console output is a part of the load
    if ctx.attempt <= failures:
        raise RuntimeError("not yet")


@task
def step(ctx: Context, steps: int) -> None:
    """Tell how far it is, and keep where it is."""
    for number in range(steps):
        ctx.check_cancelled()
        ctx.checkpoint({"step": number})
        ctx.progress(done_count=number + 1, total_count=steps)


@task
def parent(ctx: Context, children: int) -> None:
    """Submit children."""
    if not ctx.finishing:
        for number in range(children):
            ctx.submit_child("give", number)


give = task(give)
rest = task(rest)
rest_gently = task(rest_gently)
