"""The demonstration's pictures, and the comparison of its outcome."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from remanager.demo.drive import Picture, Task, compare
from remanager.demo.view import LiveView, PlainView, describe, draw, history_table
from remanager.demo.work import STEPS


def ended(step: Any, **changes: Any) -> dict[str, Any]:
    result = {
        "exit_status": step.expected,
        "time_start": 10.0,
        "time_stop": 11.5,
        "run_uids": ["a" * 36],
        "msg": "",
    }
    return step.item.to_dict() | {"result": result | changes}


def in_the_middle() -> Picture:
    running = STEPS[1].item.to_dict() | {"properties": {"time_start": 5.0}}
    return Picture(
        phase="running the queue",
        status={"progress": {"done_count": 3, "total_count": 21}},
        running=running,
        queue=[step.item.to_dict() for step in STEPS[2:]],
        history=[ended(STEPS[0])],
    )


def text_of(renderable: Any) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_expected_outcome() -> None:
    picture = Picture(history=[ended(step) for step in STEPS])
    compare(picture)
    assert picture.problems == []


def test_unexpected_outcomes() -> None:
    history = [ended(step) for step in STEPS]
    history[0] = ended(STEPS[0], exit_status="failed", msg="no beam")
    history[1] = ended(STEPS[2])
    history[3] = ended(STEPS[3], run_uids=[])
    picture = Picture(history=history[:-1])
    compare(picture)
    assert picture.problems == [
        f"the history has {len(STEPS) - 1} items, expected {len(STEPS)}",
        "count: failed, expected completed: no beam",
        "rel_scan ran where scan was expected",
        "grid_scan: no run",
    ]


def test_progress() -> None:
    assert in_the_middle().progress() == (3, 21)
    assert Picture().progress() is None
    assert Picture(status={"progress": None}).progress() is None


def test_live_picture() -> None:
    picture = in_the_middle()
    picture.console.extend(["[not markup]", "Run 1 begins"])
    text = text_of(draw(picture))
    for part in ("running the queue", "completed", "running", "waiting", "3/21 points", "[not markup]"):
        assert part in text
    assert text_of(draw(Picture()))
    with LiveView(Console(file=io.StringIO(), force_terminal=True)) as view:
        view.show(picture)


def test_plain_lines() -> None:
    console = Console(file=io.StringIO(), width=80)
    picture = in_the_middle()
    with PlainView(console) as view:
        view.show(picture)
        view.show(picture)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[0] == "running the queue"
    assert lines[1].split() == f"1/{len(STEPS)} completed 1.50 s {describe(picture.history[0])}".split()
    assert len(lines) == 2


def test_history() -> None:
    tasks = [Task("function set_sample", "calls a function", "completed", 0.25)]
    text = text_of(history_table(Picture(history=[ended(step) for step in STEPS], tasks=tasks)))
    assert "fails on purpose" in text
    assert "a" * 36 in text
    assert "function set_sample" in text
    assert "0.25 s" in text


@pytest.mark.parametrize("width", [50, 80])
def test_history_in_a_narrow_terminal(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    console.print(history_table(Picture(history=[ended(step) for step in STEPS])))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert ("a" * 36 in text) is (width == 80)
    assert text.count("completed") == sum(step.expected == "completed" for step in STEPS)
    assert text.count("1.50 s") == len(STEPS)
