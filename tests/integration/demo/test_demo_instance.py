"""The daemon of the demonstration is given up in order."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process
from pathlib import Path
from typing import cast

import pytest

from remanager.demo.instance import Instance, _until_it_answers

NOBODY = "tcp://127.0.0.1:9"


class _SilentProcess:
    """A daemon that neither answers nor ends."""

    def __init__(self) -> None:
        self.is_awaited = asyncio.Event()

    async def wait(self) -> None:
        self.is_awaited.set()
        await asyncio.Event().wait()


async def test_interrupted_start_leaves_nothing_behind(tmp_path: Path) -> None:
    instance = Instance(NOBODY, NOBODY, tmp_path / "daemon.log")
    process = _SilentProcess()
    starting = asyncio.ensure_future(_until_it_answers(cast("Process", process), instance))
    await process.is_awaited.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert asyncio.all_tasks() == {asyncio.current_task()}
