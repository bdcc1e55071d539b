"""The tasks of the examples."""

from __future__ import annotations

import asyncio
import os
import time

from remanager.tasks import Context, task

PACE = float(os.environ.get("SEED_TASKS_PACE", "1"))
"""Durations are multiplied by this."""


# ------------------------------------------------------------------------------------------------- MemOS


@task("mem_read", domain="cube_01")
def mem_read(text: str, ctx: Context) -> dict[str, int]:
    """Take memories from a text, slowly."""
    words = text.split()
    for number, _word in enumerate(words, 1):
        ctx.check_cancelled()
        time.sleep(0.2 * PACE)
        ctx.progress(done_count=number, total_count=len(words))
    return {"memories": len(words)}


# ------------------------------------------------------------------------------------------------- sitq


@task(max_retries=0)
async def quick_processing_task(task_id: int) -> str:
    """A task that completes quickly."""
    await asyncio.sleep(0.5 * PACE)
    return f"Quick result {task_id}"


@task(max_retries=0)
async def medium_processing_task(task_id: int) -> str:
    """A task that takes medium time."""
    await asyncio.sleep(2.0 * PACE)
    return f"Medium result {task_id}"


@task(max_retries=0)
async def long_processing_task(task_id: int) -> str:
    """A task that takes a long time."""
    await asyncio.sleep(5.0 * PACE)
    return f"Long result {task_id}"


@task(max_retries=0)
async def failing_task(task_id: int) -> str:
    """A task that fails."""
    raise RuntimeError(f"Task {task_id} has failed")


# ------------------------------------------------------------------------------------------------- taskmill


@task("thumbnail", domain="media")
def thumbnail(path: str, width: int, ctx: Context) -> str:
    """Pretend to make a small picture."""
    size = 100_000
    for done in range(0, size + 1, 10_000):
        ctx.check_cancelled()
        time.sleep(0.02 * PACE)
        ctx.progress(done_size=done, total_size=size)
    ctx.record_io(disk_read=size, disk_write=width * 10)
    if "broken" in path:
        raise ValueError(f"{path} is no picture")
    return f"{path}@{width}"


@task("import_album", domain="ingest")
def import_album(name: str) -> str:
    """Pretend to import an album."""
    return name


@task("index_album", domain="process")
def index_album(name: str) -> str:
    """Pretend to index an album."""
    return name
