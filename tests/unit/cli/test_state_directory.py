"""Commands find the state directory where the daemon does."""

from __future__ import annotations

from pathlib import Path

import pytest

from remanager.cli.state_directory import state_directory
from remanager.daemon.sources import absolute

WRITTEN = ("~/lab", "lab/../state", "/data/link/../state", "/data/state")


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("REMANAGER_STATE_DIR", raising=False)


@pytest.mark.parametrize("written", WRITTEN)
def test_paths_are_read_as_the_daemon_reads_them(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert state_directory(Path(written)) == absolute(written)
    assert state_directory(None, written) == absolute(written)
    monkeypatch.setenv("REMANAGER_STATE_DIR", written)
    assert state_directory(None, "/elsewhere") == absolute(written)
