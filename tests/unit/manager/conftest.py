"""A manager on a real store with a worker that the test plays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from manager_rig import TASK_QUEUE, Rig

from remanager.manager import environment, recovery
from remanager.manager.task_queue import pool


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """Return a started manager; nothing is open and nothing queued."""
    monkeypatch.setattr(environment, "DRAIN_S", 0.0)
    monkeypatch.setattr(recovery, "GREETING_TIMEOUT_S", 0.2)
    rig = Rig(tmp_path)
    await rig.start()
    yield rig
    await rig.close()


@pytest.fixture
async def pool_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """Return a started manager with a task queue and one worker of the pool."""
    monkeypatch.setattr(environment, "DRAIN_S", 0.0)
    monkeypatch.setattr(pool, "DRAIN_S", 0.0)
    monkeypatch.setattr(recovery, "GREETING_TIMEOUT_S", 0.2)
    rig = Rig(tmp_path)
    rig.options = rig.with_options(task_queue=TASK_QUEUE)
    await rig.start()
    await rig.pool_worker()
    yield rig
    await rig.close()
