"""Submitting to the task queue: duplicates, prerequisites, batches, bounds."""

from __future__ import annotations

import pytest
from task_queue_bench import Bench, spec

from remanager.engine.task_queue.card import PauseReason, Stage
from remanager.engine.task_queue.changes import InterruptKind, OutcomeKind
from remanager.engine.task_queue.checks import depth_first
from remanager.engine.task_queue.scopes import Scope
from remanager.engine.task_queue.submission import SubmitOutcome
from remanager.model.errors import Busy, Conflict, InvalidParams, NotFound
from remanager.model.states import TaskState
from remanager.model.task_spec import DependencyPolicy, DuplicatePolicy, TtlOrigin

S = TaskState
MERGE, SUPERSEDE, REJECT = DuplicatePolicy.MERGE, DuplicatePolicy.SUPERSEDE, DuplicatePolicy.REJECT
IGNORE = DependencyPolicy.IGNORE


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_new_task_is_pending_and_numbered_in_order(bench: Bench) -> None:
    answers = bench.submit(spec("a"), spec("b"))
    assert [(a.outcome, a.task_uid, a.existing_uid) for a in answers] == [
        (SubmitOutcome.INSERTED, "a", None),
        (SubmitOutcome.INSERTED, "b", None),
    ]
    assert bench.card("b").number == bench.card("a").number + 1
    assert bench.card("a").time_ready == bench.now
    assert bench.scheduler.wait_reason("a", bench.now) == "slot"
    assert bench.scheduler.wait_reason("z", bench.now) == ""


def test_a_delayed_task_becomes_ready_at_its_time(bench: Bench) -> None:
    bench.submit(spec("a", run_after=1010.0))
    assert bench.dispatch() == []
    assert bench.card("a").time_ready == 1010.0
    assert bench.scheduler.next_wakeup(bench.now) == 1010.0
    bench.tick(10.0)
    assert bench.dispatch() == ["a"]


# --------------------------------------------------------------------------------------------- duplicates


def test_skip_leaves_the_queued_one_as_it_is(bench: Bench) -> None:
    bench.submit(spec("a", key="k"))
    (answer,) = bench.submit(spec("b", key="k", priority=0))
    assert (answer.outcome, answer.task_uid, answer.existing_uid) == (SubmitOutcome.DUPLICATE, "a", "a")
    assert bench.card("a").priority == 128


def test_of_a_batch_the_key_goes_to_what_is_inserted_first(bench: Bench) -> None:
    # "b" is inserted before "a", which needs it: then "a" is the duplicate.
    answers = bench.submit(
        spec("a", key="k", on_duplicate=REJECT, depends_on=("b",)), spec("b", key="k"), atomic=False
    )
    assert [a.outcome for a in answers] == [SubmitOutcome.REJECTED, SubmitOutcome.INSERTED]
    assert isinstance(answers[0].error, Conflict)


def test_the_same_key_of_another_type_is_no_duplicate(bench: Bench) -> None:
    bench.submit(spec("a", key="k"))
    assert bench.submit(spec("b", key="k", name="other"))[0].outcome is SubmitOutcome.INSERTED


def test_a_key_is_free_after_the_end(bench: Bench) -> None:
    bench.run(spec("a", key="k"))
    bench.finish("a")
    assert bench.submit(spec("b", key="k"))[0].outcome is SubmitOutcome.INSERTED


def test_merge_raises_the_priority_of_a_queued_one(bench: Bench) -> None:
    bench.submit(spec("x", priority=100), spec("a", key="k"))
    assert bench.submit(spec("b", key="k", on_duplicate=MERGE, priority=50))[0].outcome == "upgraded"
    assert bench.submit(spec("c", key="k", on_duplicate=MERGE, priority=60))[0].outcome == "duplicate"
    assert bench.card("a").priority == 50
    assert bench.dispatch(1) == ["a"]


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        (OutcomeKind.COMPLETED, "completed"),
        (OutcomeKind.ERROR, "failed"),
        (OutcomeKind.PERMANENT, "failed"),
        (OutcomeKind.LOST, "lost"),
        (OutcomeKind.CANCELLED, "cancelled"),
    ],
)
def test_merge_asks_a_running_one_for_one_more_run(bench: Bench, kind: OutcomeKind, first: str) -> None:
    bench.run(spec("a", key="k"))
    assert bench.submit(spec("b", key="k", on_duplicate=MERGE))[0].outcome is SubmitOutcome.REQUEUED
    assert bench.submit(spec("c", key="k", on_duplicate=MERGE))[0].outcome is SubmitOutcome.DUPLICATE
    bench.finish("a", kind)
    assert bench.reason("a") == f"{first}; a duplicate asked for another run"
    assert bench.dispatch() == ["a"]
    assert bench.card("a").attempt == 1
    bench.finish("a")
    assert bench.state("a") is S.COMPLETED
    assert bench.scheduler.cards == {}


def test_a_rerun_does_not_survive_a_cancellation(bench: Bench) -> None:
    bench.run(spec("a", key="k"))
    bench.submit(spec("b", key="k", on_duplicate=MERGE))
    bench.cancel("a")
    bench.finish("a")
    assert bench.state("a") is S.CANCELLED


def test_a_retry_is_the_rerun_that_was_asked_for(bench: Bench) -> None:
    bench.run(spec("a", key="k", max_retries=1))
    bench.submit(spec("b", key="k", on_duplicate=MERGE))
    bench.finish("a", OutcomeKind.ERROR)
    assert bench.state("a") is S.PENDING
    assert (bench.card("a").attempt, bench.card("a").rerun) == (0, False)


def test_what_is_given_back_before_it_began_runs_only_once(bench: Bench) -> None:
    bench.run(spec("a", key="k"))
    assert bench.submit(spec("b", key="k", on_duplicate=MERGE))[0].outcome is SubmitOutcome.REQUEUED
    bench.finish("a", OutcomeKind.RETURNED)
    assert bench.dispatch() == ["a"]
    bench.finish("a")
    assert bench.state("a") is S.COMPLETED


@pytest.mark.parametrize("kind", [OutcomeKind.RETURNED, OutcomeKind.ERROR])
def test_a_finishing_that_is_repeated_is_not_the_rerun_that_was_asked_for(
    bench: Bench, kind: OutcomeKind
) -> None:
    bench.run(spec("a", key="k", max_retries=1))
    bench.run(spec("child", parent_uid="a"))
    bench.finish("a")
    bench.finish("child")
    assert bench.dispatch() == ["a"]
    bench.submit(spec("b", key="k", on_duplicate=MERGE))
    bench.finish("a", kind)
    bench.tick(60.0)
    assert bench.dispatch() == ["a"]
    assert bench.card("a").stage is Stage.FINISHING
    bench.finish("a")
    assert bench.dispatch() == ["a"]
    assert (bench.card("a").stage, bench.card("a").attempt) == (Stage.PREPARING, 1)
    bench.finish("a")
    assert bench.state("a") is S.COMPLETED


def test_a_rerun_has_its_own_time_to_live(bench: Bench) -> None:
    bench.run(
        spec("a", key="k", ttl_s=5000.0), spec("b", key="l", ttl_s=50.0, ttl_from=TtlOrigin.FIRST_ATTEMPT)
    )
    bench.submit(spec("c", key="k", on_duplicate=MERGE), spec("d", key="l", on_duplicate=MERGE))
    bench.tick(100.0)
    bench.finish("a")
    bench.finish("b")
    assert bench.card("a").expires_at == bench.now + 5000.0
    assert bench.card("b").expires_at is None
    bench.dispatch()
    assert bench.card("b").expires_at == bench.now + 50.0


def test_supersede_replaces_a_queued_one_at_once(bench: Bench) -> None:
    bench.submit(spec("a", key="k"))
    (answer,) = bench.submit(spec("b", key="k", on_duplicate=SUPERSEDE))
    assert (answer.outcome, answer.task_uid, answer.existing_uid) == (SubmitOutcome.SUPERSEDED, "b", "a")
    assert bench.state("a") is S.SUPERSEDED
    assert bench.dispatch() == ["b"]


@pytest.mark.parametrize("needed", ["a", "child"])
def test_supersede_of_what_is_needed_is_refused(bench: Bench, needed: str) -> None:
    bench.run(spec("a", key="k"))
    bench.submit(spec("child", parent_uid="a"))
    (answer,) = bench.submit(spec("b", key="k", on_duplicate=SUPERSEDE, depends_on=(needed,)))
    assert isinstance(answer.error, Conflict)
    assert f"needs '{needed}' to succeed" in str(answer.error)
    assert (bench.state("a"), bench.state("child")) == (S.RUNNING, S.PENDING)
    (answer,) = bench.submit(
        spec("c", key="k", on_duplicate=SUPERSEDE, depends_on=(needed,), on_dependency_failure=IGNORE)
    )
    assert answer.outcome is SubmitOutcome.SUPERSEDED


def test_supersede_of_a_running_one_waits_for_its_end(bench: Bench) -> None:
    bench.run(spec("a", key="k"))
    bench.submit(spec("b", key="k", on_duplicate=SUPERSEDE))
    assert bench.interrupted() == [("a", InterruptKind.CANCEL)]
    bench.submit(spec("c", key="k", on_duplicate=SUPERSEDE))
    assert (bench.state("b"), bench.state("c")) == (S.SUPERSEDED, S.BLOCKED)
    assert bench.dispatch() == []
    bench.finish("a")
    assert bench.state("a") is S.SUPERSEDED
    assert bench.dispatch() == ["c"]


def test_what_is_being_cancelled_does_not_stand_for_its_key(bench: Bench) -> None:
    bench.run(spec("a", key="k"))
    bench.cancel("a")
    assert bench.submit(spec("b", key="k"))[0].outcome is SubmitOutcome.INSERTED
    bench.restart()
    assert bench.state("b") is S.BLOCKED
    bench.finish("a", OutcomeKind.CANCELLED)
    assert bench.dispatch() == ["b"]


def test_reject_names_the_other(bench: Bench) -> None:
    bench.submit(spec("a", key="k"))
    (answer,) = bench.submit(spec("b", key="k", on_duplicate=REJECT))
    assert (answer.outcome, answer.task_uid, answer.existing_uid) == (SubmitOutcome.REJECTED, None, "a")
    assert isinstance(answer.error, Conflict)
    assert "('a')" in str(answer.error)


def test_duplicates_inside_a_batch(bench: Bench) -> None:
    answers = bench.submit(
        spec("a", key="k"),
        spec("b", key="k"),
        spec("c", depends_on=("b",)),
        spec("d", key="k", on_duplicate=REJECT),
        atomic=False,
    )
    assert [a.outcome for a in answers] == ["inserted", "duplicate", "inserted", "rejected"]
    assert bench.card("c").spec.depends_on == ("a",)
    assert bench.state("c") is S.BLOCKED


def test_a_child_does_not_supersede_its_ancestor(bench: Bench) -> None:
    bench.run(spec("a", key="k"))
    bench.submit(spec("b", parent_uid="a"))
    (answer,) = bench.submit(spec("c", key="k", on_duplicate=SUPERSEDE, parent_uid="b"))
    assert "ancestor" in str(answer.error)
    assert bench.state("a") is S.RUNNING


def test_a_child_of_a_parent_superseded_by_its_batch_is_cancelled(bench: Bench) -> None:
    bench.run(spec("a", key="k"))
    answers = bench.submit(spec("b", key="k", on_duplicate=SUPERSEDE), spec("c", parent_uid="a"))
    assert [a.error for a in answers] == [None, None]
    assert bench.state("c") is S.CANCELLED


# -------------------------------------------------------------------------------------------- dependencies


def test_a_task_waits_for_all_its_prerequisites_in_any_order(bench: Bench) -> None:
    bench.run(spec("a"), spec("b"))
    bench.submit(spec("c", depends_on=("a", "b")))
    assert bench.scheduler.wait_reason("c", bench.now) == "dependencies"
    bench.finish("b")
    assert bench.state("c") is S.BLOCKED
    bench.finish("a", OutcomeKind.SKIPPED)
    assert bench.dispatch() == ["c"]


def test_a_failed_prerequisite_cascades(bench: Bench) -> None:
    bench.run(spec("a"))
    bench.submit(
        spec("b", depends_on=("a",)),
        spec("c", depends_on=("b",)),
        spec("d", depends_on=("c",), on_dependency_failure=IGNORE),
    )
    bench.finish("a", OutcomeKind.ERROR)
    assert [bench.state(u) for u in "abcd"] == [S.FAILED, S.DEPENDENCY_FAILED, S.DEPENDENCY_FAILED, S.PENDING]
    assert bench.reason("c") == "prerequisite b ended as dependency_failed"


def test_a_long_chain_falls_without_recursion() -> None:
    bench = Bench(max_active=10_000)
    chain = [spec("0")] + [spec(str(i), depends_on=(str(i - 1),)) for i in range(1, 5000)]
    bench.submit(*chain)
    bench.cancel("0")
    assert set(bench.stored.values()) == {S.CANCELLED, S.DEPENDENCY_FAILED}


def test_prerequisites_that_have_ended_before(bench: Bench) -> None:
    bench.run(spec("good"), spec("bad"))
    bench.finish("good")
    bench.finish("bad", OutcomeKind.ERROR)
    bench.submit(
        spec("a", depends_on=("good",)),
        spec("b", depends_on=("good", "bad")),
        spec("c", depends_on=("bad",), on_dependency_failure=IGNORE),
    )
    assert [bench.state(u) for u in "abc"] == [S.PENDING, S.DEPENDENCY_FAILED, S.PENDING]


def test_a_prerequisite_outside_of_the_queue(bench: Bench) -> None:
    bench.stored["plan"] = S.RUNNING  # a plan of the plan queue
    bench.scheduler.submit([spec("a", depends_on=("plan",))], bench.now, {"plan": S.RUNNING})
    assert bench.scheduler.cards["a"].state is S.BLOCKED
    bench.scheduler.ended_elsewhere("plan", S.STOPPED, bench.now)
    assert bench.scheduler.cards["a"].state is S.PENDING


def test_what_has_just_ended_is_known_without_being_asked_for(bench: Bench) -> None:
    bench.run(spec("a"))
    bench.finish("a")
    assert bench.scheduler.recent_state("a") is S.COMPLETED
    (answer,) = bench.scheduler.submit([spec("b", depends_on=("a",))], bench.now, {"a": S.RUNNING})
    assert answer.error is None
    assert bench.scheduler.cards["b"].state is S.PENDING


def test_an_unknown_prerequisite_is_refused(bench: Bench) -> None:
    (answer,) = bench.submit(spec("a", depends_on=("nobody",)))
    assert isinstance(answer.error, NotFound)
    assert bench.stored == {}


def test_cycles_are_refused_with_what_needs_them(bench: Bench) -> None:
    answers = bench.submit(
        spec("a", depends_on=("b",)),
        spec("b", depends_on=("a",)),
        spec("c", depends_on=("b",)),
        spec("d", depends_on=("d",)),
        spec("e"),
        atomic=False,
    )
    kinds = [type(a.error) for a in answers]
    assert kinds == [InvalidParams, InvalidParams, NotFound, InvalidParams, type(None)]
    assert list(bench.stored) == ["e"]


def test_what_comes_later_in_a_batch_may_be_needed(bench: Bench) -> None:
    bench.submit(spec("a", depends_on=("b",)), spec("b", depends_on=("c",)), spec("c"))
    assert [bench.card(u).number for u in "abc"] == [1, 2, 3]
    assert [bench.state(u) for u in "abc"] == [S.BLOCKED, S.BLOCKED, S.PENDING]


@pytest.mark.parametrize("through", ["a", "x"])
def test_a_child_can_not_wait_for_its_parent(bench: Bench, through: str) -> None:
    bench.run(spec("a"))
    bench.submit(spec("x", depends_on=("a",)))
    (answer,) = bench.submit(spec("b", parent_uid="a", depends_on=(through,)))
    assert isinstance(answer.error, InvalidParams)
    assert "cycle" in str(answer.error)


def test_a_child_can_not_wait_for_a_duplicate_that_its_parent_stands_for(bench: Bench) -> None:
    bench.run(spec("x", key="k"))
    batch = [spec("again", key="k"), spec("b", parent_uid="x", depends_on=("again",))]
    answers = bench.submit(*batch)
    assert [type(a.error) for a in answers] == [Conflict, InvalidParams]
    assert list(bench.stored) == ["x"]
    answers = bench.submit(*batch, atomic=False)
    assert [(a.task_uid, type(a.error)) for a in answers] == [("x", type(None)), (None, InvalidParams)]
    bench.finish("x")
    assert bench.state("x") is S.COMPLETED


def test_a_child_of_a_duplicate_can_not_wait_for_what_stands_for_it(bench: Bench) -> None:
    bench.run(spec("x", key="k"))
    batch = [spec("again", key="k", on_duplicate=MERGE), spec("b", parent_uid="again", depends_on=("x",))]
    assert [type(a.error) for a in bench.submit(*batch)] == [Conflict, InvalidParams]
    (again, child) = bench.submit(batch[0], spec("c", parent_uid="again"))
    assert (again.task_uid, child.error, bench.card("c").spec.parent_uid) == ("x", None, "x")


@pytest.mark.parametrize("policy", [DuplicatePolicy.SKIP, SUPERSEDE])
def test_duplicates_of_the_same_batch_do_not_let_it_wait_for_itself(
    bench: Bench, policy: DuplicatePolicy
) -> None:
    answers = bench.submit(
        spec("a", key="k"),
        spec("a2", key="k", on_duplicate=policy),
        spec("b", parent_uid="a", depends_on=("a2",)),
        atomic=False,
    )
    # What was replaced takes its child with it.
    refused = InvalidParams if policy is DuplicatePolicy.SKIP else type(None)
    assert type(answers[2].error) is refused
    bench.dispatch()
    for uid in list(bench.held):
        bench.finish(uid)
    assert bench.scheduler.cards == {}


def test_a_child_may_wait_for_its_sibling(bench: Bench) -> None:
    bench.run(spec("a"))
    answers = bench.submit(spec("b", parent_uid="a"), spec("c", parent_uid="a", depends_on=("b",)))
    assert [a.error for a in answers] == [None, None]


def test_depth_first_of_a_graph_with_a_cycle_off_the_path() -> None:
    graph = {"a": "b", "b": "cd", "c": "b", "d": ""}
    order, cyclic = depth_first("a", lambda n: graph[n])
    assert (order, cyclic) == (["c", "d", "b", "a"], {"b", "c"})


# ------------------------------------------------------------------------------------- batches and bounds


def test_an_atomic_batch_is_accepted_as_a_whole_or_not_at_all(bench: Bench) -> None:
    answers = bench.submit(spec("a"), spec("b", depends_on=("nobody",)))
    assert [a.outcome for a in answers] == [SubmitOutcome.REJECTED, SubmitOutcome.REJECTED]
    assert [type(a.error) for a in answers] == [Conflict, NotFound]
    assert bench.stored == {}
    assert not bench.scheduler.changes


def test_a_uid_is_used_once(bench: Bench) -> None:
    bench.submit(spec("a"))
    answers = bench.submit(spec("a"), spec("b"), spec("b"), atomic=False)
    assert [type(a.error) for a in answers] == [Conflict, type(None), Conflict]


def test_the_number_of_active_tasks_is_bounded() -> None:
    bench = Bench(max_active=2)
    answers = bench.submit(spec("a", key="k"), spec("b", key="k"), spec("c"), spec("d"), atomic=False)
    assert [type(a.error) for a in answers] == [type(None)] * 3 + [Busy]
    assert answers[3].error is not None
    assert answers[3].error.code == "busy"


def test_the_depth_of_children_is_bounded() -> None:
    bench = Bench(max_depth=2)
    answers = bench.submit(
        spec("a"),
        spec("b", parent_uid="a"),
        spec("c", parent_uid="b"),
        spec("d", parent_uid="c"),
        atomic=False,
    )
    assert [type(a.error) for a in answers] == [type(None)] * 3 + [InvalidParams]


def test_parents_that_can_not_have_children(bench: Bench) -> None:
    bench.run(spec("ended"), spec("leaving"))
    bench.finish("ended")
    bench.cancel("leaving")
    answers = bench.submit(
        spec("a", parent_uid="nobody"),
        spec("b", parent_uid="ended"),
        spec("c", parent_uid="leaving"),
        atomic=False,
    )
    assert [type(a.error) for a in answers] == [NotFound, Conflict, Conflict]


def test_a_task_submitted_to_a_scope_that_is_held_says_so(bench: Bench) -> None:
    bench.scheduler.pause(Scope.TASK_TYPE, "work", bench.now)
    (answer,) = bench.submit(spec("a"))
    assert answer.held == (PauseReason.TASK_TYPE,)
    assert bench.state("a") is S.PAUSED
    assert bench.scheduler.wait_reason("a", bench.now) == "paused"
