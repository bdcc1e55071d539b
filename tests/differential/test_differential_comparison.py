"""How the differential run compares answers, and that its rules name rows of the page."""

from __future__ import annotations

from typing import Any

import pytest
from comparison import ABSENT, Comparison, Mismatch
from rules import PAGE, RULES, Rule, explanation, rows, says_the_same

A, B, C, D = (f"{n}{n}{n}{n}0000-0000-4000-8000-000000000000" for n in "1234")


def paths(theirs: object, ours: object) -> list[str]:
    return [m.path for m in Comparison().compare(theirs, ours)]


@pytest.mark.parametrize(
    ("theirs", "ours", "where"),
    [
        ({"a": 1}, {"a": 1, "more": 2}, []),
        ({"a": 1}, {"b": 1}, ["a"]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, ["a.b.1"]),
        ([1, 2], [1], [""]),
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": 1}, {"a": 1.0}, ["a"]),
        ({"a": None}, {"a": ""}, ["a"]),
        ({"time": 1.5}, {"time": 2}, []),
        ({"time": 1.5}, {"time": None}, ["time"]),
        ({"msg": "RE Manager v0.0.25"}, {"msg": "RE Manager v1.2"}, []),
        ({"msg": "at 11/22/2026 05:41:16"}, {"msg": "at 11/22/2026 05:41:17"}, []),
        ({"value": "<f at 0x7f00aa00>"}, {"value": "<f at 0x7f00bb00>"}, []),
        ({"traceback": "Traceback\n  here\nError: x"}, {"traceback": "Traceback\n  there\nError: x\n"}, []),
        ({"traceback": "Traceback\nError: x"}, {"traceback": "Traceback\nError: y"}, ["traceback"]),
        ({"traceback": ""}, {"traceback": "Traceback\nError: y"}, ["traceback"]),
        ("text", {"msg": "text"}, [""]),
    ],
)
def test_places_that_differ(theirs: object, ours: object, where: list[str]) -> None:
    assert paths(theirs, ours) == where


def test_keys_that_only_we_have_are_remembered() -> None:
    comparison = Comparison()
    assert not comparison.compare({"items": [{"a": 1}, {}]}, {"items": [{"a": 1, "b": 2}, {"b": 3}], "c": 4})
    assert comparison.additions == {"items[].b", "c"}


def test_a_missing_key() -> None:
    assert Comparison().compare({"a": 1}, {}) == [Mismatch("a", 1, ABSENT)]


def test_directories() -> None:
    comparison = Comparison(("/tmp/there", "/tmp/here"))
    assert not comparison.compare({"file": "/tmp/there/x"}, {"file": "/tmp/here/x"})


def differing(*pairs: tuple[Any, Any]) -> list[bool]:
    """Whether a difference is found in each of some pairs of answers."""
    comparison = Comparison()
    return [bool(comparison.compare({"uid": theirs}, {"uid": ours})) for theirs, ours in pairs]


def test_uids_correspond() -> None:
    assert differing((A, C), (A, C), (B, D), (f"no item {B}", f"no item {D}")) == [False] * 4


def test_a_uid_that_stays_here_and_changes_there_is_found_once() -> None:
    assert differing((A, C), (B, C), (B, C)) == [False, True, False]


def test_a_uid_that_changes_here_and_stays_there_is_found_once() -> None:
    assert differing((A, C), (A, D), (A, D)) == [False, True, False]


def test_uids_as_keys() -> None:
    comparison = Comparison()
    assert not comparison.compare({"task_uid": [A]}, {"task_uid": [C]})
    assert not comparison.compare({"status": {A: "completed"}}, {"status": {C: "completed"}})


@pytest.mark.parametrize(
    ("theirs", "ours", "same"),
    [
        ("Error: Unknown user group: 'x' (long)", "Unknown user group: 'x'", True),
        ("Unknown user group: 'x'", "Unknown user group: 'y'", False),
        ("Invalid lock key: \nlocked", "The lock key is wrong", False),
        ("anything", "something else", True),
        ("anything", "", False),
        (None, "something", False),
        ("unsupported parameters: 'a'. Supported parameters: ['b', 'c']", "x", True),
        (
            "API request contains unsupported parameters: 'a'. Supported parameters: ['b', 'c']",
            "API request contains unsupported parameters: 'a'. Supported parameters: ['c', 'b']",
            True,
        ),
    ],
)
def test_texts_that_clients_look_into(theirs: object, ours: object, same: bool) -> None:
    assert says_the_same(theirs, ours) is same


def test_a_rule_looks_at_step_place_and_values() -> None:
    rule = Rule("row", "lists: status*", "*uid", theirs="None")
    assert rule.explains("lists: status later", Mismatch("lock_uid", None, "x"))
    assert not rule.explains("lock: status", Mismatch("lock_uid", None, "x"))
    assert not rule.explains("lists: status", Mismatch("lock", None, "x"))
    assert not rule.explains("lists: status", Mismatch("lock_uid", "y", "x"))


def test_success_is_never_a_matter_of_wording() -> None:
    assert explanation("lists: status", Mismatch("success", True, False)) is None


def test_rules_name_rows_of_the_page() -> None:
    assert {rule.row for rule in RULES} <= rows(), PAGE
