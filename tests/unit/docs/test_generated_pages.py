"""The generated pages of the reference are those that the code makes."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from remanager.cli import commands_page, methods_page, states_page, states_picture
from remanager.cli.task_requests import OPTION_NAMES
from remanager.engine.transitions import TRANSITIONS
from remanager.manager.task_queue.submission import OptionsModel
from remanager.model.states import TaskState, is_terminal
from remanager.verbs.selectors import SelectorModel

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = DOCS / "reference"


def test_methods_page_is_current() -> None:
    assert (REFERENCE / "methods.md").read_text() == methods_page.page(), "run 'make reference'"


def test_methods_page_says_what_options_and_conditions_mean() -> None:
    text = methods_page.page()
    assert "<object" not in text
    assert "<Order" not in text
    rows = dict(re.findall(r"^\| `([\w.]+)` \|(.*)$", text, flags=re.MULTILINE))
    of_selector = {field.alias or name for name, field in SelectorModel.model_fields.items()}
    for name in {
        *OptionsModel.model_fields,
        *of_selector,
        "retry.strategy",
        "recurring.timezone",
        "rate.permits",
    }:
        assert rows[name].split("|")[-2].strip(), name
    for name in ("options", "defaults", "include"):
        assert "required" not in rows[name], name
    assert "`'UTC'`" in rows["recurring.timezone"]
    assert "`'created'`" in rows["order"]


def test_help_names_all_options_of_a_task() -> None:
    assert tuple(OptionsModel.model_fields) == OPTION_NAMES


def test_commands_page_is_current() -> None:
    assert (REFERENCE / "commands.md").read_text() == commands_page.page(), "run 'make reference'"


def test_states_page_is_current() -> None:
    assert (DOCS / "explanation" / "states.md").read_text() == states_page.page(), "run 'make reference'"


def test_picture_is_current_and_shows_every_transition() -> None:
    text = (DOCS / "explanation" / "states.svg").read_text()
    assert text == states_picture.picture(), "run 'make reference'"
    root = ElementTree.fromstring(text)
    names = {t.text for t in root.iter("{http://www.w3.org/2000/svg}text")} - {"active"}
    assert names == {state.value for state in TaskState}
    active = [state.value for state in TaskState if not is_terminal(state)]
    shown: set[tuple[str | None, str]] = set()
    for title in root.findall("{*}path/{*}title"):
        words = str(title.text).split()
        if words[0] == "begins":
            shown.add((None, words[-1]))
        else:
            shown |= {(old, words[-1]) for old in (active if words[0] == "any" else words[:1])}
    assert shown == {(old.value if old else None, new.value) for old, new in TRANSITIONS}
