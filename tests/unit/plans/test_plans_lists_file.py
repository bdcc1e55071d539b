from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from remanager.plans.lists_file import ExistingLists, read_lists, same_content, update_lists, write_lists

LISTS = ExistingLists(
    plans={"count": {"name": "count", "description": "Zähle\n  now", "parameters": []}},
    devices={"det": {"is_readable": True, "components": {"val": {}}}},
)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "existing_plans_and_devices.yaml"
    write_lists(path, LISTS)
    assert read_lists(path) == LISTS
    assert path.read_text().startswith("# ")
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("content", [None, "", "a: [", "- 1", "existing_plans: 5"])
def test_damaged_file_gives_empty_lists_and_a_warning(
    tmp_path: Path, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "lists.yaml"
    if content is not None:
        path.write_text(content)
    with caplog.at_level(logging.WARNING):
        assert read_lists(path) == ExistingLists()
    assert str(path) in caplog.text


def test_file_is_written_only_when_content_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "lists.yaml"
    assert update_lists(path, LISTS)
    assert not caplog.text  # there is no file before the environment is opened first
    before = path.stat().st_ino
    assert not update_lists(path, LISTS)
    assert not update_lists(path, LISTS, known=LISTS)
    assert path.stat().st_ino == before
    changed = ExistingLists(LISTS.plans, {})
    assert not same_content(changed, LISTS)
    assert update_lists(path, changed, known=LISTS)
    assert read_lists(path) == changed


def test_link_is_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target.yaml", tmp_path / "link.yaml"
    target.write_text("")
    link.symlink_to(target)
    write_lists(link, LISTS)
    assert link.is_symlink()
    assert read_lists(target) == LISTS


def test_old_file_survives_content_that_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "lists.yaml"
    write_lists(path, LISTS)
    with pytest.raises(ValueError, match="cannot be written"):
        write_lists(path, ExistingLists({"p": object()}, {}))
    assert read_lists(path) == LISTS
    assert os.listdir(tmp_path) == [path.name]


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_lists(tmp_path / "none" / "lists.yaml", LISTS)
