"""Texts of exceptions."""

from __future__ import annotations

import pytest

from remanager.worker.failures import exception_text, shorten, traceback_text


def chained() -> Exception:
    try:
        try:
            raise ValueError("first")
        except ValueError as exc:
            raise RuntimeError("second") from exc
    except RuntimeError as exc:
        return exc


def test_the_message_is_that_of_the_last_exception_only() -> None:
    assert exception_text(chained()) == "second"


def test_the_traceback_holds_the_whole_chain() -> None:
    text = traceback_text(chained())
    assert text.startswith("Traceback (most recent call last):")
    assert "ValueError: first" in text
    assert text.endswith("RuntimeError: second\n")


def test_an_exception_may_bring_its_own_traceback() -> None:
    exc = RuntimeError("x")
    exc.tb = "Traceback: own"  # type: ignore[attr-defined]
    assert traceback_text(exc) == "Traceback: own"


def test_an_exception_without_text_is_named() -> None:
    assert exception_text(KeyError()) == "KeyError"


@pytest.mark.parametrize(("status", "text"), [(None, "SystemExit(None)"), (3, "SystemExit(3)")])
def test_the_end_of_the_process_is_named(status: int | None, text: str) -> None:
    assert exception_text(SystemExit(status)) == text


def test_an_exception_that_cannot_tell_its_text_is_named() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert exception_text(Broken()) == "Broken"
    assert "Broken" in traceback_text(Broken())


def test_texts_are_bounded_and_encodable() -> None:
    text = shorten("a" * 60 + "b" * 60, 100)
    assert text.startswith("a" * 50 + "\n... 20 characters left out ...")
    assert text.endswith("b" * 50)
    assert shorten("\udcff", 10) == "?"
