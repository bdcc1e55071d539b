"""The generated pages of the reference are those that the code makes."""

from __future__ import annotations

from pathlib import Path

from remanager.cli import commands_page, methods_page, states_page

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = DOCS / "reference"


def test_methods_page_is_current() -> None:
    assert (REFERENCE / "methods.md").read_text() == methods_page.page(), "run 'make reference'"


def test_commands_page_is_current() -> None:
    assert (REFERENCE / "commands.md").read_text() == commands_page.page(), "run 'make reference'"


def test_states_page_is_current() -> None:
    assert (DOCS / "explanation" / "states.md").read_text() == states_page.page(), "run 'make reference'"
