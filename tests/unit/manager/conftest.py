"""A manager on a real store with a worker that the test plays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from manager_rig import TASK_QUEUE, Rig

from remanager.manager import environment, recovery
from remanager.manager.task_queue import pool, service


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a manager wait for its workers as long as a machine that stalls may need."""
    monkeypatch.setattr(environment, "CLOSE_TIMEOUT_S", 60.0)
    monkeypatch.setattr(environment, "END_TIMEOUT_S", 60.0)
    monkeypatch.setattr(service, "STOP_TIMEOUT_S", 60.0)


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """Return a started manager; nothing is open and nothing queued."""
    be_patient(monkeypatch)
    monkeypatch.setattr(environment, "DRAIN_S", 0.0)
    monkeypatch.setattr(recovery, "GREETING_TIMEOUT_S", 0.2)
    rig = Rig(tmp_path)
    await rig.start()
    yield rig
    await rig.close()


@pytest.fixture
async def pool_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """Return a started manager with a task queue and one worker of the pool."""
    be_patient(monkeypatch)
    monkeypatch.setattr(environment, "DRAIN_S", 0.0)
    monkeypatch.setattr(pool, "DRAIN_S", 0.0)
    # Workers are looked at when the test says so: its clock leaps, and a leap is a long silence.
    monkeypatch.setattr(service, "CHECK_PERIOD_S", 1e6)
    monkeypatch.setattr(recovery, "GREETING_TIMEOUT_S", 0.2)
    rig = Rig(tmp_path)
    rig.options = rig.with_options(task_queue=TASK_QUEUE)
    await rig.start()
    await rig.pool_worker()
    yield rig
    await rig.close()
