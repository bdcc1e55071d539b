"""The note of what a worker has begun."""

from __future__ import annotations

from pathlib import Path

import pytest

from remanager.model import begun as module
from remanager.model.begun import SLOTS, TIMES_AT, Begun
from remanager.worker.pool.begun import BegunNote


def test_the_last_executions_are_known(tmp_path: Path) -> None:
    path = tmp_path / "begun"
    note = BegunNote(str(path))
    assert not Begun.read(path).may_have("a", 1)
    note.put("a", 1, 5.0)
    assert Begun.read(path).may_have("a", 1)
    assert not Begun.read(path).may_have("a", 2)
    for number in range(SLOTS - 1):
        note.put("b", number, 5.0)
    begun = Begun.read(path)
    assert begun.may_have("a", 1)
    assert all(begun.may_have("b", number) for number in range(SLOTS - 1))
    note.put("c", 1, 5.0)
    assert not Begun.read(path).may_have("a", 1)


def test_it_is_known_when_they_began(tmp_path: Path) -> None:
    path = tmp_path / "begun"
    note = BegunNote(str(path))
    note.put("a", 1, 12.5)
    note.put("b", 1, 13.5)
    begun = Begun.read(path)
    assert [begun.time_of(uid, 1) for uid in "abc"] == [12.5, 13.5, None]


def test_a_note_without_times(tmp_path: Path) -> None:
    path = tmp_path / "begun"
    note = BegunNote(str(path))
    note.put("a", 1, 12.5)
    path.write_bytes(path.read_bytes()[:TIMES_AT])
    begun = Begun.read(path)
    assert (begun.may_have("a", 1), begun.time_of("a", 1)) == (True, None)
    assert not begun.may_have("b", 1)


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    assert Begun.read(tmp_path / "begun").may_have("a", 1)
    BegunNote("").put("a", 1, 5.0)


def test_after_a_start_of_the_machine_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "begun"
    BegunNote(str(path))
    assert not Begun.read(path).may_have("a", 1)
    monkeypatch.setattr(module, "boot_id", lambda: b"another" + bytes(9))
    assert Begun.read(path).may_have("a", 1)
