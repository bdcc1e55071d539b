"""Holding, preempting, changing and taking up tasks; the cost of it all."""

from __future__ import annotations

import gc

import pytest
from task_queue_bench import Bench, calls_of, spec

from remanager.engine.task_queue.card import PauseReason, Stage
from remanager.engine.task_queue.changes import InterruptKind, Outcome, OutcomeKind
from remanager.engine.task_queue.jobs import job_figures, job_state
from remanager.engine.task_queue.limits import LimitSpec
from remanager.engine.task_queue.scopes import Scope
from remanager.model.errors import InvalidParams, NotFound
from remanager.model.states import TaskState
from remanager.model.task_spec import DependencyPolicy

S = TaskState
CANCEL = InterruptKind.CANCEL


@pytest.fixture
def bench() -> Bench:
    return Bench()


# ---------------------------------------------------------------------------------------------- pausing


def test_a_scope_is_held_at_once_and_its_tasks_follow_in_portions(bench: Bench) -> None:
    bench.submit(*[spec(f"r{i}", group="red") for i in range(5)], spec("b", group="blue"))
    bench.scheduler.pause(Scope.GROUP, "red", bench.now)
    assert bench.dispatch(1) == ["b"]
    assert bench.scheduler.settle(bench.now, 2)
    assert list(bench.stored.values()).count(S.PAUSED) == 0
    bench.take()
    assert list(bench.stored.values()).count(S.PAUSED) == 2
    bench.settle()
    assert list(bench.stored.values()).count(S.PAUSED) == 5
    assert bench.reason("r0") == "held: group"
    bench.scheduler.resume(Scope.GROUP, "red", bench.now)
    bench.settle()
    assert bench.reason("r0") == "no longer held: group"
    assert bench.dispatch() == ["r0", "r1", "r2", "r3", "r4"]


def test_a_task_goes_on_when_no_reason_is_left(bench: Bench) -> None:
    bench.submit(spec("a", group="red"))
    bench.scheduler.pause(Scope.GROUP, "red", bench.now)
    bench.scheduler.pause(None, "a", bench.now)
    bench.settle()
    assert bench.card("a").pause_reasons == {PauseReason.GROUP, PauseReason.OPERATOR}
    bench.tick(5.0)
    bench.scheduler.resume(Scope.GROUP, "red", bench.now)
    bench.settle()
    assert bench.state("a") is S.PAUSED
    assert bench.scheduler.resume(None, "a", bench.now)
    assert not bench.scheduler.resume(None, "a", bench.now)
    bench.take()
    assert (bench.state("a"), bench.card("a").paused_s) == (S.PENDING, 5.0)


def test_running_ones_finish_or_are_interrupted(bench: Bench) -> None:
    bench.run(spec("a"), spec("b", name="other"), spec("c"))
    assert bench.scheduler.pause(Scope.TASK_TYPE, "other", bench.now) == []
    assert bench.scheduler.pause(Scope.TASK_TYPE, "work", bench.now, interrupt=True) == ["a", "c"]
    bench.settle()
    assert bench.interrupted() == [("a", CANCEL), ("c", CANCEL)]
    bench.tick(1000.0)
    assert bench.interrupted() == []  # it only asks
    bench.finish("a", OutcomeKind.CANCELLED)
    assert (bench.state("a"), bench.card("a").attempt) == (S.PAUSED, 0)
    bench.finish("b")
    bench.finish("c")
    assert (bench.state("b"), bench.state("c")) == (S.COMPLETED, S.COMPLETED)
    bench.restart()
    bench.scheduler.resume(Scope.TASK_TYPE, "work", bench.now)
    bench.settle()
    assert bench.dispatch() == ["a"]
    assert bench.card("a").attempt == 1


@pytest.mark.parametrize("restarted", [False, True])
def test_an_interrupted_one_that_does_not_listen_has_no_more_time_than_before(
    bench: Bench, restarted: bool
) -> None:
    bench.run(spec("a", timeout_s=20.0, kill_after_s=5.0))
    bench.scheduler.pause(None, "a", bench.now, interrupt=True)
    bench.take()
    if restarted:
        bench.restart()
        bench.scheduler.started("a", bench.held["a"], bench.now)
    bench.interrupted()
    bench.tick(19.0)
    assert bench.interrupted() == []
    bench.tick(1.0)
    assert bench.interrupted() == [("a", CANCEL)]
    bench.tick(5.0)
    assert bench.interrupted() == [("a", InterruptKind.KILL)]
    bench.finish("a", OutcomeKind.LOST, time_start=bench.now - 25.0)
    assert (bench.state("a"), bench.reason("a")) == (S.TIMED_OUT, "took longer than 20 s")


def test_an_interrupted_one_may_get_more_time(bench: Bench) -> None:
    bench.run(spec("a", timeout_s=20.0))
    bench.scheduler.pause(None, "a", bench.now, interrupt=True)
    bench.scheduler.update("a", bench.now, timeout_s=30.0)
    bench.take()
    bench.interrupted()
    bench.tick(29.0)
    assert bench.interrupted() == []
    bench.tick(1.0)
    assert bench.interrupted() == [("a", CANCEL)]


def test_an_interrupted_one_that_fails_is_tried_again_when_it_goes_on(bench: Bench) -> None:
    bench.run(spec("a", max_retries=1))
    bench.scheduler.pause(None, "a", bench.now, interrupt=True)
    bench.take()
    bench.finish("a", OutcomeKind.LOST)
    assert (bench.state("a"), bench.card("a").attempt) == (S.PAUSED, 1)
    bench.tick(1.0)
    bench.scheduler.resume(None, "a", bench.now)
    assert bench.dispatch() == ["a"]


def test_resuming_before_the_interrupted_one_has_stopped(bench: Bench) -> None:
    bench.run(spec("a"))
    bench.scheduler.pause(None, "a", bench.now, interrupt=True)
    bench.scheduler.resume(None, "a", bench.now)
    bench.take()
    bench.finish("a", OutcomeKind.CANCELLED)
    assert bench.state("a") is S.PENDING


def test_holds_end_at_their_time(bench: Bench) -> None:
    bench.submit(spec("a"), spec("b", group="red"))
    bench.scheduler.pause(None, "a", bench.now, until=bench.now + 10.0)
    bench.scheduler.pause(Scope.GROUP, "red", bench.now, until=bench.now + 20.0)
    bench.settle()
    bench.restart()
    assert bench.scheduler.next_wakeup(bench.now) == bench.now + 10.0
    bench.tick(10.0)
    assert [bench.state(u) for u in "ab"] == [S.PENDING, S.PAUSED]
    assert bench.scheduler.next_wakeup(bench.now) == bench.now + 10.0
    bench.tick(10.0)
    assert bench.state("b") is S.PENDING


def test_a_blocked_task_that_is_held_is_paused_when_it_is_released(bench: Bench) -> None:
    bench.run(spec("a"))
    bench.submit(spec("b", depends_on=("a",)))
    bench.scheduler.pause(None, "b", bench.now)
    bench.finish("a")
    assert bench.state("b") is S.PAUSED


def test_only_what_is_active_can_be_held(bench: Bench) -> None:
    with pytest.raises(NotFound):
        bench.scheduler.pause(None, "a", bench.now)
    with pytest.raises(NotFound):
        bench.scheduler.resume(None, "a", bench.now)
    with pytest.raises(InvalidParams):
        bench.scheduler.pause(Scope.USER, "ann", bench.now)


# -------------------------------------------------------------------------------------------- preemption


def test_an_urgent_task_takes_the_place_of_the_least_urgent() -> None:
    bench = Bench(preempt_at=10)
    bench.run(spec("a", priority=100), spec("b", priority=200), spec("c", priority=5))
    bench.submit(spec("urgent", priority=10), spec("urgent2", priority=10), spec("d", priority=20))
    assert bench.dispatch(0) == []
    assert bench.dispatch(0) == []
    assert bench.interrupted() == [("b", CANCEL)]
    bench.finish("b", OutcomeKind.CANCELLED)
    assert (bench.state("b"), bench.card("b").pause_reasons) == (S.PAUSED, {PauseReason.PREEMPTED})
    assert bench.dispatch(1) == ["urgent"]
    assert bench.interrupted() == [("a", CANCEL)]
    bench.finish("a", OutcomeKind.CANCELLED)
    assert bench.dispatch(1) == ["urgent2"]
    assert bench.dispatch(3) == ["d", "a", "b"]
    assert bench.card("b").attempt == 1


def test_a_preempted_task_that_does_not_listen_is_killed_for_its_time_out() -> None:
    bench = Bench(preempt_at=10)
    bench.run(spec("a", timeout_s=20.0, kill_after_s=5.0, max_retries=1))
    bench.submit(spec("urgent", priority=10))
    bench.dispatch(0)
    assert bench.interrupted() == [("a", CANCEL)]
    bench.tick(20.0)
    bench.tick(5.0)
    assert bench.interrupted() == [("a", CANCEL), ("a", InterruptKind.KILL)]
    bench.finish("a", OutcomeKind.LOST, time_start=bench.now - 25.0)
    assert (bench.state("a"), bench.card("a").attempt) == (S.PAUSED, 1)
    assert bench.dispatch(1) == ["urgent"]
    bench.finish("urgent")
    bench.tick(60.0)
    assert bench.dispatch(1) == ["a"]


def test_without_a_threshold_nothing_is_preempted(bench: Bench) -> None:
    bench.run(spec("a", priority=255))
    bench.submit(spec("urgent", priority=0))
    bench.dispatch(0)
    assert bench.interrupted() == []


def test_preempted_tasks_go_on_when_preemption_is_turned_off() -> None:
    bench = Bench(preempt_at=10)
    bench.run(spec("a"))
    bench.submit(spec("urgent", priority=0))
    bench.dispatch(0)
    bench.finish("a", OutcomeKind.CANCELLED)
    bench.restart()
    bench.scheduler.preempt_at = None
    assert bench.dispatch() == ["urgent", "a"]


def test_a_preempted_task_may_be_cancelled() -> None:
    bench = Bench(preempt_at=10)
    bench.run(spec("a"))
    bench.submit(spec("urgent", priority=0))
    bench.dispatch(0)
    bench.finish("a", OutcomeKind.CANCELLED)
    bench.cancel("a")
    assert bench.state("a") is S.CANCELLED
    assert bench.dispatch() == ["urgent"]
    assert not bench.scheduler._board.preempted


def test_a_parent_that_was_to_be_preempted_is_finished() -> None:
    bench = Bench(preempt_at=10)
    bench.run(spec("p"))
    bench.run(spec("b", parent_uid="p"))
    bench.submit(spec("urgent", priority=0))
    bench.dispatch(0)
    assert bench.interrupted() == [("b", CANCEL)]
    bench.finish("b")
    bench.dispatch(0)
    assert bench.interrupted() == [("p", CANCEL)]
    bench.finish("p", OutcomeKind.PARENT)
    assert bench.dispatch() == ["urgent", "p"]


# ---------------------------------------------------------------------------------------------- changing


def test_changing_a_queued_task(bench: Bench) -> None:
    bench.submit(spec("a"), spec("b"))
    card = bench.scheduler.update("b", bench.now, priority=1, label="new", tags=(("k", "v"),), max_retries=4)
    assert (card.priority, card.spec.label, card.spec.tags) == (1, "new", (("k", "v"),))
    assert card.spec.options.retry.max_retries == 4
    assert bench.take().updated == {"b": card}
    assert bench.dispatch(1) == ["b"]
    bench.scheduler.update("a", bench.now, run_after=bench.now + 5.0, ttl_s=2000.0)
    assert card.expires_at is None
    assert bench.dispatch() == []
    assert bench.card("a").expires_at == 2000.0
    bench.tick(5.0)
    assert bench.dispatch() == ["a"]
    with pytest.raises(InvalidParams):
        bench.scheduler.update("a", bench.now, run_after=bench.now + 5.0)
    with pytest.raises(InvalidParams):
        bench.scheduler.update("a", bench.now, name="other")
    with pytest.raises(NotFound):
        bench.scheduler.update("z", bench.now, priority=1)


def test_a_new_time_to_live_and_time_out(bench: Bench) -> None:
    bench.submit(spec("a", ttl_s=10.0, time_created=bench.now))
    bench.run(spec("b", priority=0, timeout_s=10.0))
    bench.scheduler.update("a", bench.now, ttl_s=None)
    bench.scheduler.update("b", bench.now, timeout_s=20.0)
    bench.tick(15.0)
    assert (bench.state("a"), bench.interrupted()) == (S.PENDING, [])
    bench.tick(5.0)
    assert bench.interrupted() == [("b", CANCEL)]


def test_a_change_of_group_counts_for_limits_and_switches(bench: Bench) -> None:
    bench.scheduler.dispatcher.limits.set(LimitSpec(scope=Scope.GROUP, name="red", max_running=1), bench.now)
    bench.run(spec("a", group="red"))
    bench.submit(spec("b", group="red"), spec("c"))
    bench.scheduler.update("a", bench.now, group="blue")
    bench.take()
    assert bench.dispatch(1) == ["b"]
    bench.scheduler.pause(Scope.GROUP, "green", bench.now)
    bench.scheduler.update("c", bench.now, group="green")
    bench.take()
    assert bench.state("c") is S.PAUSED


# ------------------------------------------------------------------------------------------- taking up


def test_a_restart_changes_nothing_by_itself(bench: Bench) -> None:
    bench.run(spec("a", timeout_s=50.0, resource_lock="disk"))
    bench.submit(
        spec("b", depends_on=("a",)),
        spec("c", key="k", resource_lock="disk"),
        spec("d", run_after=bench.now + 5.0),
        spec("e", ttl_s=20.0, time_created=bench.now),
    )
    bench.scheduler.pause(None, "e", bench.now)
    bench.take()
    before = dict(bench.stored)
    number = bench.card("e").number
    assert not bench.restart()
    bench.settle()
    assert bench.stored == before
    assert bench.dispatch() == []  # the lock is taken
    assert bench.submit(spec("f", key="k"))[0].existing_uid == "c"
    bench.submit(spec("g"))
    assert bench.card("g").number > number
    bench.tick(20.0)
    assert bench.state("e") is S.EXPIRED
    bench.tick(30.0)
    assert bench.interrupted() == [("a", CANCEL)]


def test_a_running_task_that_was_told_to_stop_is_killed_after_a_restart(bench: Bench) -> None:
    bench.run(spec("a"))
    bench.cancel("a")
    bench.interrupted()
    bench.restart()
    bench.tick(10.0)
    assert bench.interrupted() == [("a", InterruptKind.KILL)]
    bench.finish("a", OutcomeKind.LOST)
    assert bench.state("a") is S.CANCELLED


@pytest.mark.parametrize(
    ("state", "policy", "then"),
    [
        (S.COMPLETED, DependencyPolicy.CANCEL, S.PENDING),
        (None, DependencyPolicy.CANCEL, S.PENDING),
        (S.RUNNING, DependencyPolicy.CANCEL, S.BLOCKED),
        (S.FAILED, DependencyPolicy.IGNORE, S.PENDING),
        (S.FAILED, DependencyPolicy.CANCEL, S.DEPENDENCY_FAILED),
    ],
)
def test_a_prerequisite_that_is_gone_at_the_restart(
    bench: Bench, state: TaskState | None, policy: DependencyPolicy, then: TaskState
) -> None:
    bench.run(spec("a"))
    bench.submit(spec("b", depends_on=("a",), on_dependency_failure=policy))
    card = bench.card("b")
    card.unmet = frozenset()
    fresh = Bench()
    fresh.stored["b"] = S.BLOCKED
    fresh.scheduler.restore([card], {"a": state}, fresh.now)
    fresh.take()
    assert fresh.state("b") is then


# -------------------------------------------------------------------------------------------------- cost


def cost_with(queued: int) -> tuple[int, int, int]:
    """Return the cost of submitting, of handing over, and of ending a task beside ``queued`` other ones."""
    bench = Bench(max_active=queued + 100)
    groups = ("red", "blue", "")
    fill = [spec(f"q{i}", group=groups[i % 3], priority=100 + i % 7, key=f"k{i}") for i in range(queued)]
    scheduler = bench.scheduler
    gc.disable()  # so many objects at once make it run again and again
    try:
        scheduler.submit(fill, bench.now, {})
    finally:
        gc.enable()
    scheduler.dispatch(bench.now, {"w1": 1})
    (card,) = scheduler.take_changes().starts
    outcome = Outcome(OutcomeKind.COMPLETED, bench.now, bench.now)
    submit = calls_of(lambda: scheduler.submit([spec("new", priority=0)], bench.now, {}))
    end = calls_of(lambda: scheduler.finish(card.uid, card.lease_epoch, outcome, bench.now))
    dispatch = calls_of(lambda: scheduler.dispatch(bench.now, {"w1": 1}))
    assert [c.uid for c in scheduler.take_changes().starts] == ["new"]
    return submit, dispatch, end


def test_the_cost_of_a_command_does_not_grow_with_the_queue() -> None:
    small, large = cost_with(1_000), cost_with(100_000)
    for few, many in zip(small, large, strict=True):
        assert many <= 1.5 * few + 20


# --------------------------------------------------------------------------------------------------- jobs


@pytest.mark.parametrize(
    ("counts", "state"),
    [
        ({}, None),
        ({S.PENDING: 2, S.BLOCKED: 1}, S.PENDING),
        ({S.PENDING: 1, S.RUNNING: 1}, S.RUNNING),
        ({S.WAITING_CHILDREN: 1}, S.RUNNING),
        ({S.PAUSED: 1, S.FAILED: 1}, S.RUNNING),
        ({S.COMPLETED: 5, S.LOST: 1, S.CANCELLED: 1}, S.FAILED),
        ({S.COMPLETED: 5, S.CANCELLED: 1, S.EXPIRED: 1}, S.CANCELLED),
        ({S.COMPLETED: 5, S.SUPERSEDED: 1}, S.EXPIRED),
        ({S.COMPLETED: 5, S.SKIPPED: 1, S.FAILED: 0}, S.COMPLETED),
    ],
)
def test_state_of_a_job(counts: dict[TaskState, int], state: TaskState | None) -> None:
    assert job_state(counts) is state
    assert job_figures(counts).state is state


def test_figures_of_a_job() -> None:
    counts = {S.COMPLETED: 2, S.FAILED: 1, S.CANCELLED: 1, S.EXPIRED: 1, S.RUNNING: 3}
    figures = job_figures(counts)
    assert (figures.total, figures.done, figures.remaining) == (8, 5, 3)
    assert (figures.succeeded, figures.failed, figures.cancelled, figures.dropped) == (2, 1, 1, 1)
    assert figures.percent == 62
    assert job_figures(counts, done_size=1, total_size=4).percent == 25
    assert job_figures(counts, done_size=9, total_size=4).percent == 99
    assert job_figures({S.COMPLETED: 1}, done_size=1, total_size=4).percent == 100
    assert job_figures({}).percent == 0


def test_the_stage_of_what_does_not_run_is_empty(bench: Bench) -> None:
    bench.run(spec("a"))
    assert bench.card("a").stage is Stage.EXECUTING
    card = bench.card("a")
    bench.finish("a")
    assert card.stage is None
