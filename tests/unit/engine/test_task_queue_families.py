"""Parents and children in the task queue."""

from __future__ import annotations

import pytest
from task_queue_bench import Bench, spec

from remanager.engine.task_queue.card import Stage
from remanager.engine.task_queue.changes import InterruptKind, OutcomeKind
from remanager.model.errors import Conflict
from remanager.model.states import TaskState, is_terminal
from remanager.model.task_spec import DuplicatePolicy

S = TaskState
CANCEL = InterruptKind.CANCEL


@pytest.fixture
def bench() -> Bench:
    return Bench()


def with_children(bench: Bench, *, fail_fast: bool = True, **options: object) -> None:
    """Let p run with the children b, which runs too, and c, which is queued."""
    bench.run(spec("p", fail_fast=fail_fast, **options))
    bench.run(spec("b", parent_uid="p"))
    bench.submit(spec("c", parent_uid="p"))


def test_a_parent_waits_for_its_children_and_is_handed_over_to_finish(bench: Bench) -> None:
    with_children(bench, timeout_s=100.0)
    bench.finish("p")
    assert bench.state("p") is S.WAITING_CHILDREN
    assert bench.scheduler.wait_reason("p", bench.now) == "children"
    assert bench.dispatch() == ["c"]
    bench.finish("c")
    bench.finish("b", OutcomeKind.SKIPPED)
    assert bench.state("p") is S.WAITING_CHILDREN
    assert bench.scheduler.wait_reason("p", bench.now) == "slot"
    assert bench.dispatch() == ["p"]
    card = bench.card("p")
    assert (card.stage, card.finishing, card.attempt, card.lease_epoch) == (Stage.FINISHING, True, 1, 2)
    bench.finish("p")
    assert bench.state("p") is S.COMPLETED
    assert len([e for e in bench.ended.values() if e.card.uid == "p"]) == 1


def test_a_parent_whose_children_were_quicker_is_finished_all_the_same(bench: Bench) -> None:
    bench.run(spec("p"))
    bench.run(spec("b", parent_uid="p"))
    bench.finish("b")
    bench.finish("p", OutcomeKind.PARENT)
    assert bench.dispatch() == ["p"]
    bench.finish("p")
    assert bench.state("p") is S.COMPLETED


def test_a_failed_child_fails_its_parent_and_stops_its_siblings(bench: Bench) -> None:
    with_children(bench)
    bench.run(spec("d", parent_uid="b", priority=0))
    bench.finish("p")
    bench.run(spec("e", parent_uid="p", priority=0))
    bench.finish("e", OutcomeKind.PERMANENT)
    assert [bench.state(u) for u in "pbcd"] == [S.FAILED, S.RUNNING, S.CANCELLED, S.RUNNING]
    assert bench.reason("p") == "child e ended as failed"
    assert sorted(bench.interrupted()) == [("b", CANCEL), ("d", CANCEL)]
    bench.finish("b")
    bench.finish("d", OutcomeKind.CANCELLED)
    assert [bench.state(u) for u in "bd"] == [S.CANCELLED, S.CANCELLED]


def test_a_parent_that_still_runs_fails_when_its_execution_ends(bench: Bench) -> None:
    with_children(bench)
    bench.finish("b", OutcomeKind.ERROR)
    assert [bench.state(u) for u in "pc"] == [S.RUNNING, S.CANCELLED]
    (answer,) = bench.submit(spec("d", parent_uid="p"))
    assert isinstance(answer.error, Conflict)
    bench.finish("p")
    assert bench.state("p") is S.FAILED


def test_a_new_attempt_of_a_parent_forgets_the_failed_child(bench: Bench) -> None:
    bench.run(spec("p", max_retries=1))
    bench.run(spec("b", parent_uid="p"), spec("c", parent_uid="p"))
    bench.finish("b", OutcomeKind.ERROR)
    bench.finish("p", OutcomeKind.ERROR)
    bench.tick(1.0)
    assert bench.dispatch() == ["p"]
    bench.finish("c", OutcomeKind.CANCELLED)  # stopped with the first attempt
    bench.finish("p")
    assert bench.state("p") is S.COMPLETED


def test_without_fail_fast_the_parent_finishes(bench: Bench) -> None:
    with_children(bench, fail_fast=False)
    bench.finish("p")
    bench.finish("b", OutcomeKind.ERROR)
    assert bench.dispatch() == ["c"]
    bench.finish("c")
    assert bench.dispatch() == ["p"]
    assert bench.card("p").failed_child == "b"
    bench.finish("p")
    assert bench.state("p") is S.COMPLETED


def test_an_error_while_finishing_repeats_the_finishing(bench: Bench) -> None:
    bench.run(spec("p", max_retries=1))
    bench.run(spec("b", parent_uid="p"))
    bench.finish("p")
    bench.finish("b")
    bench.dispatch()
    bench.finish("p", OutcomeKind.ERROR)
    bench.restart()
    bench.tick(1.0)
    assert bench.dispatch() == ["p"]
    assert (bench.card("p").stage, bench.card("p").attempt) == (Stage.FINISHING, 2)
    bench.finish("p", OutcomeKind.RETURNED)
    assert bench.dispatch() == ["p"]
    assert (bench.card("p").stage, bench.card("p").attempt) == (Stage.FINISHING, 2)


def test_a_parent_that_fails_takes_its_children_with_it(bench: Bench) -> None:
    with_children(bench)
    bench.finish("p", OutcomeKind.PERMANENT)
    assert [bench.state(u) for u in "pbc"] == [S.FAILED, S.RUNNING, S.CANCELLED]
    assert bench.interrupted() == [("b", CANCEL)]


def test_children_outlive_an_attempt_of_their_parent(bench: Bench) -> None:
    with_children(bench, max_retries=1)
    bench.finish("p", OutcomeKind.LOST)
    assert [bench.state(u) for u in "pbc"] == [S.PENDING, S.RUNNING, S.PENDING]
    bench.tick(1.0)
    assert "p" in bench.dispatch()
    bench.finish("p")
    assert bench.state("p") is S.WAITING_CHILDREN


def test_cancelling_a_tree_in_all_states(bench: Bench) -> None:
    bench.run(spec("root"))
    bench.run(spec("run", parent_uid="root"), spec("wait", parent_uid="root"))
    bench.run(spec("run1", parent_uid="run"), spec("wait1", parent_uid="wait"))
    bench.finish("wait")
    bench.finish("root")
    bench.submit(
        spec("pending", parent_uid="wait"),
        spec("blocked", parent_uid="run", depends_on=("run1",)),
        spec("paused", parent_uid="run"),
        spec("after", depends_on=("wait1",)),
    )
    bench.scheduler.pause(None, "paused", bench.now)
    bench.take()
    result = bench.cancel("root")
    assert (result.cancelled, result.cancelling) == (["root"], [])
    members = ["run", "wait", "run1", "wait1", "pending", "blocked", "paused"]
    assert sorted(result.cascaded) == sorted(members)
    running = {"run", "run1", "wait1"}
    assert {u for u in members if bench.state(u) is S.RUNNING} == running
    assert {u for u, kind in bench.interrupted() if kind is CANCEL} == running
    assert bench.state("after") is S.BLOCKED
    for uid in sorted(running):
        bench.finish(uid)
    assert {bench.state(u) for u in ["root", *members]} == {S.CANCELLED}
    assert bench.state("after") is S.DEPENDENCY_FAILED
    assert bench.scheduler.cards == {}


def test_children_may_be_spared(bench: Bench) -> None:
    with_children(bench)
    result = bench.cancel("p", cascade=False)
    assert (result.cancelling, result.cascaded) == (["p"], [])
    bench.finish("p")
    assert [bench.state(u) for u in "pbc"] == [S.CANCELLED, S.RUNNING, S.PENDING]
    bench.finish("b", OutcomeKind.ERROR)
    assert bench.state("c") is S.PENDING


def test_children_expire_with_their_parent(bench: Bench) -> None:
    bench.submit(spec("p", ttl_s=10.0, time_created=bench.now), spec("b", parent_uid="p"))
    bench.tick(11.0)
    assert [bench.state(u) for u in "pb"] == [S.EXPIRED, S.EXPIRED]


def test_a_rerun_of_a_parent_has_children_of_its_own(bench: Bench) -> None:
    bench.run(spec("p", key="k"))
    bench.run(spec("b", parent_uid="p"), spec("c", parent_uid="p"))
    bench.finish("p")
    bench.submit(spec("again", key="k", on_duplicate=DuplicatePolicy.MERGE))
    bench.finish("b", OutcomeKind.ERROR)
    assert bench.state("p") is S.PENDING
    assert bench.dispatch() == ["p"]
    assert bench.card("p").stage is Stage.PREPARING
    bench.finish("c")
    bench.finish("p")
    assert [bench.state(u) for u in "pc"] == [S.COMPLETED, S.CANCELLED]


@pytest.mark.parametrize("before", [True, False])
def test_a_held_parent_is_finished_when_it_goes_on(bench: Bench, before: bool) -> None:
    bench.run(spec("p"))
    bench.run(spec("b", parent_uid="p"))
    bench.finish("p")
    if before:
        bench.scheduler.pause(None, "p", bench.now)
    bench.finish("b")
    bench.scheduler.pause(None, "p", bench.now)
    assert bench.dispatch() == []
    assert bench.scheduler.resume(None, "p", bench.now)
    assert bench.dispatch() == ["p"]


def test_a_failed_child_fails_its_parent_after_a_restart(bench: Bench) -> None:
    with_children(bench)
    bench.dispatch()
    bench.finish("b", OutcomeKind.ERROR)
    bench.restart()
    assert bench.card("p").failed_child == "b"
    bench.finish("p")
    assert bench.state("p") is S.FAILED
    assert bench.reason("p") == "child b did not succeed"


def test_children_that_were_spared_are_so_after_a_restart(bench: Bench) -> None:
    with_children(bench)
    bench.cancel("p", cascade=False)
    bench.restart()
    bench.finish("p")
    assert [bench.state(u) for u in "pbc"] == [S.CANCELLED, S.RUNNING, S.PENDING]


def test_a_child_of_the_run_before_means_nothing_to_the_next_one_after_a_restart(bench: Bench) -> None:
    bench.run(spec("p", key="k"))
    bench.run(spec("b", parent_uid="p"))
    bench.submit(spec("again", key="k", on_duplicate=DuplicatePolicy.MERGE))
    bench.finish("p", OutcomeKind.PERMANENT)
    assert bench.dispatch() == ["p"]
    bench.run(spec("c", parent_uid="p"))
    bench.restart()
    bench.finish("b", OutcomeKind.CANCELLED)
    assert (bench.card("p").failed_child, bench.card("p").open_children) == (None, 1)
    bench.finish("p")
    bench.finish("c")
    assert bench.dispatch() == ["p"]
    bench.finish("p")
    assert [bench.state(u) for u in "pbc"] == [S.COMPLETED, S.CANCELLED, S.COMPLETED]


def test_a_child_of_a_failed_attempt_means_nothing_to_the_next_one_after_a_restart(bench: Bench) -> None:
    with_children(bench, max_retries=1)
    bench.run(spec("d", parent_uid="p", priority=1))
    bench.finish("b", OutcomeKind.ERROR)
    bench.finish("p", OutcomeKind.ERROR)
    bench.restart()
    bench.finish("d", OutcomeKind.CANCELLED)
    assert bench.card("p").failed_child is None
    bench.tick(60.0)
    assert bench.dispatch() == ["p"]
    bench.finish("p")
    assert bench.state("p") is S.COMPLETED


def test_families_after_a_restart(bench: Bench) -> None:
    with_children(bench)
    bench.finish("p")
    assert not bench.restart()
    bench.dispatch()
    bench.finish("b")
    bench.finish("c")
    bench.restart()
    assert bench.dispatch() == ["p"]
    bench.finish("p")
    assert all(is_terminal(state) for state in bench.stored.values())
