"""What the tests of data movement share."""

from __future__ import annotations

from pathlib import Path

import pytest

from remanager.data_movement.places import ROOTS


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the one directory that may be touched."""
    root = tmp_path / "disks"
    root.mkdir()
    monkeypatch.setenv(ROOTS, str(root))
    return root
