"""The life of one task: attempts, time-outs, cancellation, expiry."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_queue_bench import BOOM, Bench, spec

from remanager.engine.task_queue.backoff import retry_delay
from remanager.engine.task_queue.card import Stage
from remanager.engine.task_queue.changes import InterruptKind, Outcome, OutcomeKind
from remanager.engine.task_queue.timers import Timers
from remanager.model.states import TaskState
from remanager.model.task_spec import RetryPolicy, RetryStrategy, TtlOrigin, Where

S = TaskState
CANCEL, KILL, LOOK = InterruptKind.CANCEL, InterruptKind.KILL, InterruptKind.LOOK


@pytest.fixture
def bench() -> Bench:
    return Bench()


# ------------------------------------------------------------------------------------------- to the worker


def test_from_submission_to_the_result(bench: Bench) -> None:
    bench.submit(spec("a"))
    bench.tick(2.0)
    bench.dispatch()
    card = bench.card("a")
    assert (card.state, card.stage, card.attempt, card.lease_epoch) == (S.RUNNING, Stage.PREPARING, 1, 1)
    assert (card.worker_uid, card.time_first_start) == ("w1", bench.now)
    assert bench.scheduler.started("a", 1, bench.now + 0.1)
    assert (card.stage, card.time_start) == (Stage.EXECUTING, bench.now + 0.1)
    bench.finish("a", codec="json", payload=b"7")
    assert bench.ended["a"].outcome is not None
    assert bench.ended["a"].outcome.payload == b"7"
    assert [(t.old, t.new, t.attempt, t.worker_uid) for t in bench.log] == [
        (None, S.PENDING, 0, None),
        (S.PENDING, S.RUNNING, 1, "w1"),
        (S.RUNNING, S.COMPLETED, 1, "w1"),
    ]


def test_few_tasks_spread_over_many_workers(bench: Bench) -> None:
    bench.submit(*[spec(str(i)) for i in range(7)])
    bench.scheduler.dispatch(bench.now, {"w1": 2, "w2": 8, "w3": 0, "w4": 3})
    workers = [card.worker_uid for card in bench.take().starts]
    assert workers == ["w2"] * 6 + ["w4"]
    assert bench.dispatch() == []


def test_without_a_place_there_is_nothing_to_wake_up_for(bench: Bench) -> None:
    bench.submit(spec("a", run_after=1010.0))
    bench.tick(10.0)
    assert bench.scheduler.next_wakeup(bench.now) == bench.now
    assert bench.dispatch(0) == []
    assert bench.scheduler.next_wakeup(bench.now) is None


def test_late_reports_change_nothing(bench: Bench) -> None:
    bench.run(spec("a", max_retries=1))
    bench.finish("a", OutcomeKind.LOST)
    late = Outcome(OutcomeKind.COMPLETED, bench.now, bench.now)
    assert not bench.scheduler.finish("a", 1, late, bench.now)
    bench.tick(1.0)
    bench.dispatch()
    assert not bench.scheduler.finish("a", 1, late, bench.now)
    assert not bench.scheduler.started("a", 1, bench.now)
    assert not bench.scheduler.finish("unknown", 1, late, bench.now)
    assert not bench.scheduler.changes


def test_a_hand_over_that_ends_before_it_is_taken_is_none(bench: Bench) -> None:
    bench.submit(spec("a"))
    bench.scheduler.dispatch(bench.now, {"w1": 1})
    bench.scheduler.cancel(["a"], "", bench.now)
    lost = Outcome(OutcomeKind.LOST, bench.now, bench.now)
    bench.scheduler.finish("a", 1, lost, bench.now)
    changes = bench.scheduler.take_changes()
    assert (changes.starts, changes.interrupts) == ([], [])
    assert [e.state for e in changes.ended] == [S.CANCELLED]


# ------------------------------------------------------------------------------------------------ attempts


@pytest.mark.parametrize(
    ("kind", "retries", "state"),
    [
        (OutcomeKind.COMPLETED, 0, S.COMPLETED),
        (OutcomeKind.SKIPPED, 0, S.SKIPPED),
        (OutcomeKind.ERROR, 0, S.FAILED),
        (OutcomeKind.ERROR, 2, S.DEAD_LETTER),
        (OutcomeKind.RETRY, 0, S.DEAD_LETTER),
        (OutcomeKind.RETRY, 2, S.DEAD_LETTER),
        (OutcomeKind.LOST, 0, S.LOST),
        (OutcomeKind.LOST, 2, S.LOST),
        (OutcomeKind.PERMANENT, 0, S.FAILED),
        (OutcomeKind.PERMANENT, 2, S.FAILED),
        (OutcomeKind.CANCELLED, 2, S.CANCELLED),
    ],
)
def test_how_a_task_ends(bench: Bench, kind: OutcomeKind, retries: int, state: TaskState) -> None:
    bench.run(spec("a", max_retries=retries))
    while bench.held:
        bench.finish("a", kind)
        bench.tick(1.0)
        bench.dispatch()
    assert bench.state("a") is state
    tried = kind in (OutcomeKind.ERROR, OutcomeKind.RETRY, OutcomeKind.LOST)
    assert len(bench.starts) == (1 + retries if tried else 1)


def test_a_retry_waits_for_its_delay_and_tells_of_the_error(bench: Bench) -> None:
    bench.run(spec("a", priority=3, max_retries=2))
    bench.finish("a", OutcomeKind.ERROR)
    assert bench.state("a") is S.PENDING
    assert bench.reason("a") == "ValueError: boom; next attempt in 1 s"
    assert bench.log[-1].error == bench.card("a").last_error == BOOM
    assert bench.dispatch() == []
    assert bench.scheduler.wait_reason("a", bench.now) == "backoff"
    bench.tick(1.0)
    assert bench.dispatch() == ["a"]
    assert (bench.card("a").attempt, bench.card("a").priority) == (2, 3)


def test_another_attempt_prefers_another_worker(bench: Bench) -> None:
    free = {"w1": 5, "w2": 2, "w3": 1}
    bench.submit(spec("a", max_retries=3))
    bench.scheduler.dispatch(bench.now, free)
    bench.take()
    bench.finish("a", OutcomeKind.ERROR)
    bench.tick(1.0)
    bench.submit(spec("b"))
    bench.scheduler.dispatch(bench.now, free)
    assert [(c.uid, c.worker_uid) for c in bench.take().starts] == [("a", "w2"), ("b", "w1")]
    bench.finish("a", OutcomeKind.ERROR)
    bench.tick(1.0)
    bench.scheduler.dispatch(bench.now, {"w2": 1, "w4": 0})
    assert [c.worker_uid for c in bench.take().starts] == ["w2"]


def test_a_delay_of_the_task_itself_wins(bench: Bench) -> None:
    bench.run(spec("a", max_retries=1))
    bench.finish("a", OutcomeKind.RETRY, retry_after_s=77.0)
    assert bench.card("a").run_after == bench.now + 77.0


def test_what_is_given_back_costs_nothing_and_keeps_its_place(bench: Bench) -> None:
    bench.run(spec("a"))
    bench.submit(spec("b"))
    for _ in range(20):
        bench.finish("a", OutcomeKind.RETURNED)
        assert bench.card("a").attempt == 0
        assert bench.dispatch(1) == ["a"]
    assert (bench.card("a").attempt, bench.card("a").lease_epoch) == (1, 21)


@given(
    policy=st.builds(
        RetryPolicy,
        strategy=st.sampled_from(RetryStrategy),
        initial_s=st.floats(0, 100),
        max_s=st.floats(0, 1000),
        factor=st.floats(0.5, 1000),
    ),
    failed=st.integers(1, 5000),
)
def test_delays_stay_within_bounds(policy: RetryPolicy, failed: int) -> None:
    assert 0.0 <= retry_delay(policy, failed, random.Random(1)) <= policy.max_s


@pytest.mark.parametrize(
    ("strategy", "delays"),
    [
        (RetryStrategy.CONSTANT, [2, 2, 2, 2]),
        (RetryStrategy.LINEAR, [2, 4, 6, 8]),
        (RetryStrategy.EXPONENTIAL, [2, 6, 10, 10]),
    ],
)
def test_how_delays_grow(strategy: RetryStrategy, delays: list[float]) -> None:
    policy = RetryPolicy(strategy=strategy, initial_s=2.0, factor=3.0, max_s=10.0)
    assert [retry_delay(policy, n, random.Random(1)) for n in (1, 2, 3, 4)] == delays


def test_jitter_is_anything_up_to_the_exponential_delay() -> None:
    policy = RetryPolicy(strategy=RetryStrategy.EXPONENTIAL_JITTER, initial_s=2.0, factor=3.0)
    rng = random.Random(1)
    delays = [retry_delay(policy, 2, rng) for _ in range(1000)]
    assert min(delays) < 0.5
    assert 5.5 < max(delays) <= 6.0


# ------------------------------------------------------------------------------------------------ time-outs


def test_an_execution_that_takes_too_long_is_told_and_then_killed(bench: Bench) -> None:
    bench.run(spec("a", timeout_s=5.0, kill_after_s=2.0))
    bench.tick(4.9)
    assert bench.interrupted() == []
    assert bench.scheduler.next_wakeup(bench.now) == pytest.approx(bench.now + 0.1)
    bench.tick(0.1)
    assert bench.interrupted() == [("a", CANCEL)]
    assert bench.card("a").stage is Stage.CANCELLING
    bench.tick(2.0)
    assert bench.interrupted() == [("a", KILL)]
    bench.finish("a", OutcomeKind.LOST)
    assert bench.state("a") is S.TIMED_OUT
    assert bench.log[-1].error is not None
    assert bench.log[-1].error.type == "TimeoutError"
    assert bench.reason("a") == "took longer than 5 s"


def test_after_a_time_out_there_may_be_another_attempt(bench: Bench) -> None:
    bench.run(spec("a", timeout_s=5.0, max_retries=1))
    bench.tick(5.0)
    bench.finish("a", OutcomeKind.CANCELLED)
    assert bench.state("a") is S.PENDING
    bench.tick(1.0)
    bench.dispatch()
    assert (bench.card("a").attempt, bench.card("a").cancel_state) == (2, None)
    bench.finish("a")
    assert bench.state("a") is S.COMPLETED


@pytest.mark.parametrize(("took", "state"), [(4.0, S.COMPLETED), (6.0, S.TIMED_OUT)])
def test_a_success_counts_if_it_was_in_time(bench: Bench, took: float, state: TaskState) -> None:
    bench.run(spec("a", timeout_s=5.0))
    bench.tick(6.0)
    bench.finish("a", time_start=bench.now - took)
    assert bench.state("a") is state


def test_waiting_in_the_worker_is_not_execution_time(bench: Bench) -> None:
    bench.submit(spec("a", timeout_s=5.0))
    bench.dispatch()
    bench.tick(6.0)
    assert bench.interrupted() == [("a", LOOK)]
    bench.scheduler.started("a", 1, bench.now)
    bench.tick(4.0)
    assert bench.interrupted() == []
    bench.tick(1.0)
    assert bench.interrupted() == [("a", CANCEL)]


def test_an_execution_whose_begin_is_told_late_has_no_more_time(bench: Bench) -> None:
    bench.submit(spec("a", timeout_s=5.0, kill_after_s=2.0))
    bench.dispatch()
    bench.tick(5.0)
    assert bench.interrupted() == [("a", LOOK)]
    bench.scheduler.started("a", 1, bench.now - 5.0)
    bench.tick()
    assert bench.interrupted() == [("a", CANCEL)]
    bench.tick(2.0)
    assert bench.interrupted() == [("a", KILL)]


def test_what_has_not_begun_is_looked_at_again(bench: Bench) -> None:
    bench.submit(spec("a", timeout_s=0.1))
    bench.dispatch()
    bench.tick(0.1)
    bench.tick(0.9)
    assert bench.interrupted() == [("a", LOOK)]
    bench.tick(0.1)
    assert bench.interrupted() == [("a", LOOK)]


def test_the_worker_of_the_environment_is_not_killed_for_a_task(bench: Bench) -> None:
    bench.submit(spec("a", timeout_s=5.0, kill_after_s=2.0, where=Where.ENVIRONMENT))
    bench.scheduler.dispatch(bench.now, {"env": 1}, Where.ENVIRONMENT)
    bench.take()
    bench.scheduler.started("a", 1, bench.now)
    bench.tick(5.0)
    bench.tick(2.0)
    assert bench.interrupted() == [("a", CANCEL)]
    assert bench.reason("a").startswith("not stopped within 2 s: took longer than 5 s")
    assert [t.stage for t in bench.log][-2:] == [Stage.CANCELLING] * 2
    bench.finish("a", time_start=bench.now - 7.0)
    assert bench.state("a") is S.TIMED_OUT


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [(OutcomeKind.ERROR, "failed"), (OutcomeKind.RETRY, "retry"), (OutcomeKind.LOST, "lost")],
)
def test_what_is_tried_again_says_how_it_ended(bench: Bench, kind: OutcomeKind, outcome: str) -> None:
    bench.run(spec("a", max_retries=1))
    bench.finish("a", kind)
    assert (bench.log[-1].new, bench.log[-1].outcome) == (S.PENDING, outcome)


def test_a_time_out_and_a_return_say_so_too(bench: Bench) -> None:
    bench.run(spec("a", timeout_s=5.0, max_retries=1), spec("b"))
    bench.finish("b", OutcomeKind.RETURNED)
    assert (bench.log[-1].new, bench.log[-1].outcome) == (S.PENDING, "returned")
    bench.tick(5.0)
    bench.finish("a", OutcomeKind.CANCELLED)
    assert (bench.log[-1].new, bench.log[-1].outcome) == (S.PENDING, "timed_out")


def test_a_cancellation_is_stronger_than_a_time_out(bench: Bench) -> None:
    bench.run(spec("a", timeout_s=5.0, max_retries=5, key="k"))
    bench.tick(5.0)
    bench.cancel("a")
    assert bench.interrupted() == [("a", CANCEL), ("a", CANCEL)]
    bench.finish("a", OutcomeKind.LOST)
    assert bench.state("a") is S.CANCELLED


# ------------------------------------------------------------------------------------------------- cancel


@pytest.mark.parametrize("kind", list(OutcomeKind))
def test_a_cancelled_execution_ends_as_cancelled_whatever_it_says(bench: Bench, kind: OutcomeKind) -> None:
    bench.run(spec("a", max_retries=3))
    result = bench.cancel("a", kill_after_s=1.5)
    assert (result.cancelled, result.cancelling) == ([], ["a"])
    assert bench.interrupted() == [("a", CANCEL)]
    bench.tick(1.5)
    assert bench.interrupted() == [("a", KILL)]
    bench.finish("a", kind)
    assert bench.state("a") is S.CANCELLED
    assert bench.ended["a"].reason == "no longer needed"


def test_cancelling_again_tells_nothing_new(bench: Bench) -> None:
    bench.run(spec("a"))
    bench.cancel("a")
    bench.interrupted()
    result = bench.cancel("a", "unknown")
    assert (result.cancelling, result.not_active) == (["a"], ["unknown"])
    assert bench.interrupted() == []


def test_what_was_cancelled_with_its_parent_is_told_once(bench: Bench) -> None:
    bench.submit(spec("a"), spec("b", parent_uid="a"), spec("c", depends_on=("a",)))
    result = bench.cancel("a", "b", "b")
    assert (result.cancelled, result.cascaded, result.not_active) == (["a", "b"], [], [])
    assert bench.state("c") is S.DEPENDENCY_FAILED


# ------------------------------------------------------------------------------------------------- expiry


def test_a_task_that_is_not_started_in_time_expires_in_every_state(bench: Bench) -> None:
    ttl = {"ttl_s": 10.0, "time_created": bench.now}
    bench.run(spec("x"))
    bench.submit(
        spec("pending", **ttl),
        spec("blocked", depends_on=("x",), **ttl),
        spec("paused", **ttl),
        spec("needs", depends_on=("pending",)),
    )
    bench.scheduler.pause(None, "paused", bench.now)
    assert bench.scheduler.next_wakeup(bench.now) == bench.now + 10.0
    bench.tick(10.0)
    assert [bench.state(u) for u in ("pending", "blocked", "paused")] == [S.EXPIRED] * 3
    assert bench.state("needs") is S.DEPENDENCY_FAILED


def test_what_has_expired_is_not_started_before_the_tick_either(bench: Bench) -> None:
    bench.submit(spec("a", ttl_s=10.0, time_created=bench.now), spec("b"))
    bench.now += 10.0
    assert bench.dispatch(1) == ["b"]
    assert bench.state("a") is S.EXPIRED


def test_the_time_to_live_counts_between_attempts(bench: Bench) -> None:
    bench.run(spec("a", ttl_s=10.0, time_created=bench.now, max_retries=3))
    assert bench.scheduler.next_wakeup(bench.now) is None
    bench.tick(20.0)
    assert bench.state("a") is S.RUNNING
    bench.finish("a", OutcomeKind.ERROR)
    assert bench.state("a") is S.PENDING
    bench.tick()
    assert bench.state("a") is S.EXPIRED
    assert bench.reason("a") == "not started again within its time to live (after 1 attempt)"


def test_a_time_to_live_from_the_first_attempt_bounds_the_retries(bench: Bench) -> None:
    options = {"ttl_s": 10.0, "ttl_from": TtlOrigin.FIRST_ATTEMPT, "max_retries": 100}
    bench.submit(spec("a", **options))
    bench.tick(1000.0)
    bench.dispatch()
    assert bench.card("a").expires_at == bench.now + 10.0
    bench.finish("a", OutcomeKind.ERROR)
    bench.tick(9.0)
    assert bench.dispatch() == ["a"]
    bench.finish("a", OutcomeKind.ERROR)
    bench.tick(1.0)
    assert bench.state("a") is S.EXPIRED
    assert bench.reason("a") == "not started again within its time to live (after 2 attempts)"


def test_many_expiries_come_in_portions() -> None:
    bench = Bench(max_active=3000)
    bench.submit(*[spec(str(i), ttl_s=5.0, time_created=bench.now) for i in range(2500)])
    bench.now += 5.0
    for left in (1500, 500, 0):
        assert bench.scheduler.next_wakeup(bench.now) is not None
        bench.scheduler.tick(bench.now)
        assert len(bench.scheduler.cards) == left


# ------------------------------------------------------------------------------------------------- timers


@given(st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 20)), max_size=300))
def test_timers_are_due_at_their_latest_time_and_stay_small(steps: list[tuple[int, int | None]]) -> None:
    timers: Timers[int] = Timers()
    expected: dict[int, float] = {}
    for key, time in steps:
        if time is None:
            timers.drop(key)
            expected.pop(key, None)
        else:
            timers.set(key, float(time))
            expected[key] = float(time)
        assert timers.next() == min(expected.values(), default=None)
        assert len(timers) == len(expected)
        assert len(timers._heap) <= 2 * len(expected) + 65
    due = timers.pop_due(10.0, 1000)
    assert set(due) == {key for key, time in expected.items() if time <= 10.0}
    assert [expected[key] for key in due] == sorted(expected[key] for key in due)
    assert len(timers) == len(expected) - len(due)
