"""The generated pages of the reference are those that the code makes."""

from __future__ import annotations

from pathlib import Path

from remanager.cli.methods_page import page

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"


def test_methods_page_is_current() -> None:
    assert (REFERENCE / "methods.md").read_text() == page(), "run 'make reference'"
