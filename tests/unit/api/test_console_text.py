"""The text that a terminal would show of console output."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager_api.monitors.console import ConsoleText


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ([], ""),
        (["a\nb"], "a\nb"),
        (["a\n", "b\n"], "a\nb"),
        (["a", "b", "\n\nc\n"], "ab\n\nc"),
        (["50 %\r100 %\n"], "100 %"),
        (["long line\rX"], "Xong line"),
        (["One two three four five\nOne two three four five\rSix \x1b[Asix\n\n"],
         "One six three four five\nSix two three four five"),
        (["a\nb\n\x1b[A\x1b[Ax\n"], "x\nb"),
        (["\x1b[A\x1b[Aa\n"], "a"),
        (["ab\n\x1b[A\n"], "ab"),
        (["\nabc\x1b[Ad"], "   d\nabc"),
    ],
)  # fmt: skip
def test_text(output: list[str], shown: str) -> None:
    console = ConsoleText(100)
    for piece in output:
        console.write(piece)
    assert console.text() == shown


@pytest.mark.parametrize("end", ["", "\n"])
def test_last_lines(end: str) -> None:
    console = ConsoleText(100)
    console.write("a\nb\nc" + end)
    assert console.text(2) == "b\nc"
    assert console.text(10) == "a\nb\nc"
    assert console.text(0) == console.text(-1) == ""


def test_number_of_lines() -> None:
    console = ConsoleText(3)
    console.write("1\n2\n3\n4\n")
    assert console.text() == "2\n3\n4"
    console.write("5\r")
    assert console.text() == "3\n4\n5"
    console.max_lines = 1
    assert console.text() == "5"
    console.write("6\n")
    assert console.text() == "6"
    console.max_lines = -1
    assert console.max_lines == 0
    assert console.text() == ""
    console.write("7\n")
    assert console.text() == ""


def test_uid_changes_with_the_text() -> None:
    console, other = ConsoleText(3), ConsoleText(3)
    seen = {console.uid, other.uid}
    console.write("a")
    seen.add(console.uid)
    console.clear()
    seen.add(console.uid)
    assert console.text() == ""
    assert len(seen) == 4


@given(st.lists(st.text(alphabet="ab\n\r", max_size=20)), st.integers(1, 5))
def test_never_more_lines_than_allowed(output: list[str], limit: int) -> None:
    console = ConsoleText(limit)
    for piece in output:
        console.write(piece)
        assert len(console.text().split("\n")) <= limit
