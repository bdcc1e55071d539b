"""Every native state has its word in every vocabulary, and every word leads back to states."""

from __future__ import annotations

import pytest

from remanager.model.states import STATE_CLASS, STATUS_WORDS, StateClass, TaskState
from remanager_api.views import cubefs, memos, native, sitq, taskmill

# State, then the words of MemOS, sitq, taskmill, CubeFS (number) and task_status.
TABLE = """
pending              waiting      pending     pending            1  running
blocked              waiting      pending     blocked            1  running
paused               waiting      pending     paused             1  running
running/preparing    in_progress  processing  running            1  running
running/executing    in_progress  processing  running            2  running
running/cancelling   in_progress  processing  running            2  running
running/finishing    in_progress  processing  running            3  running
waiting_children     in_progress  processing  waiting            2  running
completed            completed    completed   completed          4  completed
stopped              completed    completed   completed          4  completed
skipped              completed    completed   completed          5  completed
failed               failed       failed      failed             -  completed
dead_letter          failed       failed      dead_letter        -  completed
dependency_failed    failed       failed      dependency_failed  -  completed
timed_out            failed       failed      failed             -  completed
lost                 failed       failed      failed             -  completed
cancelled            cancelled    failed      cancelled          -  completed
aborted              cancelled    failed      cancelled          -  completed
halted               cancelled    failed      cancelled          -  completed
expired              cancelled    failed      expired            -  completed
superseded           cancelled    failed      superseded         -  completed
"""
ROWS = [tuple(line.split()) for line in TABLE.strip().splitlines()]


def test_the_table_has_every_state() -> None:
    assert {row[0].partition("/")[0] for row in ROWS} == set(TaskState)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_words(row: tuple[str, ...]) -> None:
    state, stage = row[0].partition("/")[::2]
    assert memos.STATUS[state] == row[1]
    assert sitq.STATUS[state] == row[2]
    assert taskmill.STATUS[state] == row[3]
    task = {"state": state, "stage": stage or None, "wait_reason": "run_after"}
    number = cubefs.state_number(task)
    assert ("-" if number is None else str(number)) == row[4]
    assert (number is None) == (state in cubefs.WITHOUT_NUMBER)
    assert STATUS_WORDS[TaskState(state)] == row[5]


def test_no_vocabulary_has_other_states() -> None:
    for table in (memos.STATUS, sitq.STATUS, taskmill.STATUS):
        assert set(table) == set(TaskState)
    assert {s.partition("/")[0] for s in cubefs.STATE} | set(cubefs.WITHOUT_NUMBER) == set(TaskState)


def test_a_ready_task_is_prepared_for_cubefs() -> None:
    for reason in ("slot", "no_worker"):
        assert cubefs.state_number({"state": "pending", "stage": None, "wait_reason": reason}) == 2


def test_words_lead_back_to_states() -> None:
    assert {
        "waiting": ("pending", "blocked", "paused"),
        "in_progress": ("running", "waiting_children"),
        "completed": native.SUCCESS,
        "failed": native.FAILURE,
        "cancelled": (*native.CANCELLED, *native.DROPPED),
    } == memos.STATES
    assert {
        "pending": ("pending", "blocked", "paused"),
        "processing": ("running", "waiting_children"),
        "completed": native.SUCCESS,
        "failed": (*native.FAILURE, *native.CANCELLED, *native.DROPPED),
    } == sitq.STATES
    assert taskmill.STATES["waiting"] == ("waiting_children",)
    assert {s for states in taskmill.STATES.values() for s in states} == set(TaskState)
    assert cubefs.STATES == {
        1: ("pending", "blocked", "paused", "running/preparing"),
        2: ("running/executing", "running/cancelling", "waiting_children"),
        3: ("running/finishing",),
        4: ("completed", "stopped"),
        5: ("skipped",),
    }


def test_the_client_knows_the_classes_of_states() -> None:
    classes = {
        StateClass.ACTIVE: native.ACTIVE,
        StateClass.SUCCESS: native.SUCCESS,
        StateClass.FAILURE: native.FAILURE,
        StateClass.CANCELLED: native.CANCELLED,
        StateClass.DROPPED: native.DROPPED,
    }
    assert {s: kind for kind, states in classes.items() for s in states} == STATE_CLASS
    assert set(native.STATES) == set(TaskState)
