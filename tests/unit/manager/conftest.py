"""A manager on a real store with a worker that the test plays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from manager_rig import Rig

from remanager.manager import environment, recovery


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """Return a started manager; nothing is open and nothing queued."""
    monkeypatch.setattr(environment, "DRAIN_S", 0.0)
    monkeypatch.setattr(recovery, "GREETING_TIMEOUT_S", 0.2)
    rig = Rig(tmp_path)
    await rig.start()
    yield rig
    await rig.close()
