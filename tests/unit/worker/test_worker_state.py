"""The worker's state and the uids it accepted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from remanager.model.link import Event, PlanPaused, WorkerState
from remanager.worker.state import AcceptedUids, StateBoard, is_busy

Announced = list[tuple[list[Event], WorkerState | None]]


@pytest.fixture
def announced() -> Announced:
    return []


@pytest.fixture
def board(announced: Announced) -> StateBoard:
    def announce(events: Sequence[Event], state: WorkerState | None) -> None:
        announced.append((list(events), state))

    return StateBoard(announce)


def test_a_change_is_announced_once(board: StateBoard, announced: Announced) -> None:
    board.change(re_state="idle")
    board.change(re_state="idle")
    assert [state.re_state for _, state in announced if state is not None] == ["idle"]
    assert len(announced) == 1


def test_events_go_with_the_change(board: StateBoard, announced: Announced) -> None:
    event = PlanPaused(0, 1.0, "a")
    board.change(events=[event], environment_state="idle")
    assert announced == [([event], board.current)]


def test_events_are_announced_without_a_change(board: StateBoard, announced: Announced) -> None:
    event = PlanPaused(0, 1.0, "a")
    board.change(events=[event])
    assert announced == [([event], None)]


def test_the_revision_follows_the_run_list(board: StateBoard) -> None:
    runs = [{"uid": "a", "scan_id": 1, "is_open": True, "exit_status": None}]
    board.change(run_list=runs)
    board.change(run_list=list(runs))
    assert board.current.run_list_rev == 1
    board.change(run_list=[])
    assert board.current.run_list_rev == 2


def test_background_tasks_are_counted(board: StateBoard) -> None:
    board.change(background=1)
    board.change(background=1)
    board.change(background=-1)
    assert board.current.background_tasks == 1


@pytest.mark.parametrize(
    ("fields", "busy"),
    [
        ({}, False),
        ({"environment_state": "initializing"}, True),
        ({"environment_state": "executing_plan"}, True),
        ({"running_item_uid": "paused"}, True),
        ({"running_task_uid": "a"}, True),
        ({"background_tasks": 1}, True),
    ],
)
def test_is_busy(fields: dict[str, object], busy: bool) -> None:
    idle = WorkerState(environment_state="idle")
    assert is_busy(replace(idle, **fields)) is busy  # type: ignore[arg-type]


def test_ended_uids_are_bounded() -> None:
    uids = AcceptedUids(limit=3)
    for uid in "abcd":
        uids.add(uid)
        uids.ended(uid)
    assert uids.as_list() == ["b", "c", "d"]
    assert "a" not in uids
    assert "d" in uids


def test_what_runs_is_never_forgotten() -> None:
    uids = AcceptedUids(limit=3)
    uids.add("long")
    for number in range(10):
        uids.add(str(number))
        uids.ended(str(number))
    assert "long" in uids
    assert uids.as_list() == ["7", "8", "9", "long"]


def test_at_least_a_thousand_uids_are_remembered() -> None:
    uids = AcceptedUids()
    for number in range(5000):
        uids.add(str(number))
        uids.ended(str(number))
    assert all(str(number) in uids for number in range(4000, 5000))
