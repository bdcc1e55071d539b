"""The manager that the methods work on is the one of the tests of the manager."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "manager"))

if TYPE_CHECKING:
    from manager_rig import Rig


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """Return a started manager; nothing is open and nothing queued."""
    from manager_rig import Rig

    monkeypatch.setattr("remanager.manager.environment.DRAIN_S", 0.0)
    rig = Rig(tmp_path)
    await rig.start()
    yield rig
    await rig.close()
