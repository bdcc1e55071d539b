"""What follows when an item ends, and what it looks like then."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from remanager.engine.disposition import (
    NextStep,
    PlanDisposition,
    after_plan,
    next_step,
)
from remanager.engine.item_forms import returned_item, running_item
from remanager.model.states import ExitStatus


@pytest.mark.parametrize(
    ("status", "ignore_failures", "requeue", "requeue_in_loop", "stops"),
    [
        ("completed", False, None, "back", False),
        ("completed", True, None, "back", False),
        ("unknown", False, None, "back", False),
        ("unknown", True, None, "back", False),
        ("failed", False, "front", "front", True),
        ("failed", True, None, "back", False),
        ("stopped", False, None, "back", True),
        ("stopped", True, None, "back", True),
        ("aborted", False, "front", "front", True),
        ("aborted", True, "front", "front", True),
        ("halted", False, "front", "front", True),
        ("halted", True, "front", "front", True),
    ],
)
def test_after_plan(
    status: str, ignore_failures: bool, requeue: Any, requeue_in_loop: Any, stops: bool
) -> None:
    for loop, immediate, stop_queue in product((False, True), repeat=3):
        expected = PlanDisposition(
            requeue=None if immediate else requeue_in_loop if loop else requeue,
            continue_queue=not (stops or immediate or stop_queue),
            autostart_disable=stops,
        )
        assert expected == after_plan(
            ExitStatus(status),
            immediate=immediate,
            loop=loop,
            ignore_failures=ignore_failures,
            stop_queue=stop_queue,
        )


@pytest.mark.parametrize(
    ("stop_pending", "stop_queue", "size", "pause_pending", "expected"),
    [
        (False, False, 2, False, NextStep(True)),
        (True, False, 2, False, NextStep(False, "Queue is stopped.", True)),
        (True, False, 0, True, NextStep(False, "Queue is stopped.", True)),
        (True, True, 2, False, NextStep(False, "Queue is stopped.", True)),
        (False, True, 2, False, NextStep(False, "Queue is stopped.", False)),
        (False, True, 0, False, NextStep(False, "Queue is stopped.", False)),
        (False, False, 0, False, NextStep(False, "Queue is empty.", False)),
        (False, False, 0, True, NextStep(False, "Queue is empty.", False)),
        (
            False,
            False,
            2,
            True,
            NextStep(False, "Queue is stopped due to unresolved outstanding RE pause request.", False),
        ),
    ],
)
def test_next_step(
    stop_pending: bool, stop_queue: bool, size: int, pause_pending: bool, expected: NextStep
) -> None:
    step = next_step(
        queue_stop_pending=stop_pending,
        stop_queue=stop_queue,
        queue_size=size,
        pause_pending=pause_pending,
    )
    assert step == expected


RESULT = {"exit_status": "failed", "run_uids": [], "msg": "x"}


@pytest.mark.parametrize(
    ("properties", "kept"),
    [
        (None, None),
        ({}, None),
        ({"immediate_execution": True}, None),
        ({"time_start": 1.0, "immediate_execution": True}, None),
        ({"time_start": 1.0, "note": 1}, {"note": 1}),
    ],
)
def test_internal_properties_stay_inside(properties: Any, kept: Any) -> None:
    item = {"name": "count", "item_uid": "a"} | ({} if properties is None else {"properties": properties})
    copy = dict(item)
    expected = {"name": "count"} | ({} if kept is None else {"properties": kept})
    assert returned_item(item, "b") == {**expected, "item_uid": "b"}
    assert item == copy


def test_result_of_an_earlier_run_is_dropped() -> None:
    item = {"name": "count", "item_uid": "a", "result": {"exit_status": "aborted"}}
    assert "result" not in returned_item(item, "b")
    assert item["result"] == {"exit_status": "aborted"}


def test_running_item() -> None:
    item = {"name": "count", "item_uid": "a", "properties": {"note": 1, "immediate_execution": True}}
    assert running_item(item, time_start=2.5, immediate=False)["properties"] == {"note": 1, "time_start": 2.5}
    assert running_item({"name": "count"}, time_start=2.5, immediate=True) == {
        "name": "count",
        "properties": {"time_start": 2.5, "immediate_execution": True},
    }
    assert item["properties"] == {"note": 1, "immediate_execution": True}
