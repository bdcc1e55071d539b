"""Schedules: occurrences, what is skipped, and that nothing ends them by accident."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager.engine.task_queue.recurrence import CatchUp, Recurrence, RecurrenceMode
from remanager.engine.task_queue.schedules import Schedule, Schedules
from remanager.model.errors import Conflict, NotFound
from remanager.model.states import TaskState

T0 = 1_700_000_000.0
FIXED = RecurrenceMode.FIXED_RATE


def made(uid: str = "s", catch_up: CatchUp = CatchUp.NONE, **recurrence: object) -> Schedule:
    schedule = Schedule(
        schedule_uid=uid,
        recurrence=Recurrence(**recurrence),  # type: ignore[arg-type]
        time_created=T0,
        catch_up=catch_up,
        task={"name": "sweep"},
    )
    schedule.begin()
    return schedule


def run(schedule: Schedule, now: float, state: TaskState = TaskState.COMPLETED) -> bool:
    """Run what is due, to its end."""
    occurrence = schedule.due(now)
    if occurrence is None:
        return False
    schedule.submitted(f"task {occurrence.number}")
    return schedule.ended(f"task {occurrence.number}", state, now)


def test_after_completion_counts_from_the_end() -> None:
    schedule = made(interval_s=10, initial_delay_s=5)
    assert schedule.due(T0 + 4) is None
    occurrence = schedule.due(T0 + 5)
    assert occurrence is not None
    assert (occurrence.schedule_uid, occurrence.number, occurrence.time_due) == ("s", 1, T0 + 5)
    assert occurrence.task == {"name": "sweep"}
    schedule.submitted("a")
    assert schedule.next_run is None
    assert schedule.due(T0 + 500) is None
    assert schedule.ended("a", TaskState.FAILED, T0 + 600)
    assert schedule.next_run == T0 + 610
    assert schedule.last_state is TaskState.FAILED
    assert schedule.skipped_count == 0


def test_fixed_rate_skips_while_the_last_one_runs() -> None:
    schedule = made(interval_s=10, mode=FIXED)
    assert schedule.due(T0) is not None
    schedule.submitted("a")
    for second in (10, 20, 30):
        assert schedule.due(T0 + second) is None
    assert schedule.skipped_count == 3
    schedule.ended("a", TaskState.COMPLETED, T0 + 31)
    assert schedule.next_run == T0 + 40
    assert run(schedule, T0 + 40.5)
    assert schedule.next_run == T0 + 50
    assert schedule.execution_count == 2


def test_a_late_look_runs_once_and_counts_the_others() -> None:
    schedule = made(interval_s=10, mode=FIXED)
    assert run(schedule, T0 + 35)
    assert (schedule.execution_count, schedule.skipped_count, schedule.next_run) == (1, 3, T0 + 40)


@pytest.mark.parametrize("mode", list(RecurrenceMode))
def test_it_ends_after_the_executions_asked_for(mode: RecurrenceMode) -> None:
    schedule = made(interval_s=1, mode=mode, max_executions=2)
    assert schedule.remaining == 2
    assert run(schedule, T0)
    assert run(schedule, T0 + 1)
    assert not run(schedule, T0 + 99)
    assert (schedule.remaining, schedule.next_run, schedule.is_over) == (0, None, True)


@pytest.mark.parametrize("state", [TaskState.FAILED, TaskState.CANCELLED, TaskState.EXPIRED, TaskState.LOST])
@pytest.mark.parametrize("mode", list(RecurrenceMode))
def test_no_end_of_an_occurrence_ends_the_schedule(mode: RecurrenceMode, state: TaskState) -> None:
    schedule = made(interval_s=10, mode=mode)
    for n in range(5):
        assert run(schedule, T0 + 10 * n, state)
    assert not schedule.is_over
    assert schedule.next_run == T0 + 50
    assert schedule.schedule_uid == "s"


def test_an_occurrence_that_could_not_be_submitted_changes_nothing_else() -> None:
    schedule = made(interval_s=10)
    assert schedule.due(T0) is not None
    assert schedule.ended(None, TaskState.FAILED, T0)
    assert schedule.next_run == T0 + 10


def test_the_end_of_another_task_is_none_of_its_business() -> None:
    schedule = made(interval_s=10, mode=FIXED)
    schedule.due(T0)
    schedule.submitted("a")
    assert not schedule.ended("b", TaskState.COMPLETED, T0 + 1)
    assert schedule.current_task_uid == "a"


@pytest.mark.parametrize(
    ("policy", "runs", "next_run"), [(CatchUp.NONE, False, T0 + 50), (CatchUp.ONE, True, T0 + 50)]
)
@pytest.mark.parametrize("how", ["resume", "restart"])
def test_catching_up(how: str, policy: CatchUp, runs: bool, next_run: float) -> None:
    schedule = made(catch_up=policy, interval_s=10, mode=FIXED)
    run(schedule, T0)
    if how == "resume":
        schedule.pause()
        assert not run(schedule, T0 + 45)
        schedule.resume(T0 + 45)
    else:
        kept = Schedules()
        kept.restore(Schedule.from_json(schedule.to_json()), T0 + 45)
        schedule = kept.get("s")
    assert run(schedule, T0 + 45) is runs
    assert schedule.next_run == next_run
    assert schedule.skipped_count == (3 if runs else 4)


def test_catching_up_after_completion() -> None:
    for policy, next_run in ((CatchUp.NONE, T0 + 109), (CatchUp.ONE, T0)):
        schedule = made(interval_s=10)
        schedule.pause()
        schedule.resume(T0 + 99, policy)
        assert schedule.next_run == next_run


def test_a_pause_during_an_occurrence_keeps_the_schedule() -> None:
    schedule = made(interval_s=10)
    schedule.due(T0)
    schedule.submitted("a")
    schedule.pause()
    assert schedule.ended("a", TaskState.COMPLETED, T0 + 1)
    assert schedule.due(T0 + 50) is None
    schedule.resume(T0 + 50, CatchUp.ONE)
    assert schedule.due(T0 + 50) is not None


def test_a_cron_schedule_goes_on() -> None:
    schedule = made(cron="0 12 * * *", timezone="Europe/Berlin")
    assert schedule.next_run is not None
    assert schedule.next_run > T0
    assert run(schedule, schedule.next_run)
    assert not schedule.is_over


def test_collection() -> None:
    schedules = Schedules()
    first, second = made("a", interval_s=10, initial_delay_s=7), made("b", interval_s=10, initial_delay_s=3)
    schedules.add(first)
    schedules.add(second)
    with pytest.raises(Conflict, match="exists already"):
        schedules.add(first)
    assert schedules.next_wakeup() == T0 + 3
    [(schedule, occurrence)] = schedules.due(T0 + 3)
    assert schedule is second
    assert occurrence is not None
    schedule.submitted("t")
    assert schedules.next_wakeup() == T0 + 7
    first.pause()
    assert schedules.next_wakeup() is None
    assert schedules.remove("a") is first
    assert len(schedules) == 1
    with pytest.raises(NotFound, match="'a' is not found"):
        schedules.get("a")


moves = st.lists(
    st.tuples(st.floats(0, 30), st.sampled_from(["look", "end", "fail", "pause", "resume", "restart"])),
    max_size=60,
)


@given(
    moves, st.sampled_from(list(RecurrenceMode)), st.sampled_from(list(CatchUp)), st.sampled_from([None, 3])
)
def test_counts_hold_whatever_happens(
    steps: list[tuple[float, str]], mode: RecurrenceMode, policy: CatchUp, most: int | None
) -> None:
    schedule = made(catch_up=policy, interval_s=10, mode=mode, max_executions=most)
    now, seen = T0, 0
    for wait, move in steps:
        now += wait
        if move == "look":
            was_running = schedule.current_task_uid is not None
            occurrence = schedule.due(now)
            if occurrence:
                assert not was_running
                assert not schedule.paused
                seen += 1
                schedule.submitted(f"t{seen}")
        elif move in ("end", "fail") and schedule.current_task_uid:
            state = TaskState.COMPLETED if move == "end" else TaskState.FAILED
            assert schedule.ended(schedule.current_task_uid, state, now)
        elif move == "pause":
            schedule.pause()
        elif move == "resume":
            schedule.resume(now)
        elif move == "restart":
            kept = Schedules()
            kept.restore(Schedule.from_json(schedule.to_json()), now)
            schedule = kept.get("s")
        assert schedule.execution_count == seen
        assert most is None or seen <= most
        if mode is FIXED and schedule.next_run is not None:
            # Every time of the raster that has passed is accounted for.
            assert (schedule.next_run - T0) / 10 == seen + schedule.skipped_count
        if not schedule.is_over and not schedule.paused and schedule.current_task_uid is None:
            assert schedule.next_run is not None
