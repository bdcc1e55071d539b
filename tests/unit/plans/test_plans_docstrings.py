from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager.plans.docstrings import Docstring, parse_docstring

SUMMARY_ON_THE_FIRST_LINE = """Count.

    Parameters
    ----------
    detectors : list
        Devices.
    num, delay : int
        Numbers.

        And more.
    *args :
        The rest.

    Yields
    ------
    msg : Msg
    """

DEEPLY_INDENTED = """
            Count.

            Extended text.

            Parameters
            ==========
            x : float
                Text.
            """


def test_parameters_and_summary_are_read() -> None:
    assert parse_docstring(SUMMARY_ON_THE_FIRST_LINE) == Docstring(
        "Count.",
        {
            "detectors": "Devices.",
            "num": "Numbers.\n\nAnd more.",
            "delay": "Numbers.\n\nAnd more.",
            "args": "The rest.",
        },
    )


def test_indentation_of_the_docstring_does_not_matter() -> None:
    assert parse_docstring(DEEPLY_INDENTED) == Docstring("Count.", {"x": "Text."})


def test_signature_in_front_of_the_summary_is_skipped() -> None:
    assert parse_docstring("count(detectors, num=1)\n\nCount.\n").summary == "Count."


def test_section_without_a_summary() -> None:
    text = "\nParameters\n----------\nx\n    Text.\n"
    assert parse_docstring(text) == Docstring("", {"x": "Text."})


def test_first_of_repeated_sections_wins() -> None:
    text = "S.\n\nParameters\n----------\nx\n    One.\n\nParameters\n----------\ny\n    Two.\n"
    assert parse_docstring(text).parameters == {"x": "One."}


@pytest.mark.parametrize("text", [None, "", "   \n  ", 5])
def test_nothing_to_read(text: str | None) -> None:
    assert parse_docstring(text) == Docstring()


@given(st.text(alphabet="ab :-=*,.\n\t", max_size=200))
def test_any_text_is_survived(text: str) -> None:
    parse_docstring(text)
