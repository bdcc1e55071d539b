"""The note of what a worker has begun."""

from __future__ import annotations

from pathlib import Path

import pytest

from remanager.model import begun as module
from remanager.model.begun import SLOTS, Begun
from remanager.worker.pool.begun import BegunNote


def test_the_last_executions_are_known(tmp_path: Path) -> None:
    path = tmp_path / "begun"
    note = BegunNote(str(path))
    assert not Begun.read(path).may_have("a", 1)
    note.put("a", 1)
    assert Begun.read(path).may_have("a", 1)
    assert not Begun.read(path).may_have("a", 2)
    for number in range(SLOTS - 1):
        note.put("b", number)
    begun = Begun.read(path)
    assert begun.may_have("a", 1)
    assert all(begun.may_have("b", number) for number in range(SLOTS - 1))
    note.put("c", 1)
    assert not Begun.read(path).may_have("a", 1)


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    assert Begun.read(tmp_path / "begun").may_have("a", 1)
    BegunNote("").put("a", 1)


def test_after_a_start_of_the_machine_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "begun"
    BegunNote(str(path))
    assert not Begun.read(path).may_have("a", 1)
    monkeypatch.setattr(module, "boot_id", lambda: b"another" + bytes(9))
    assert Begun.read(path).may_have("a", 1)
