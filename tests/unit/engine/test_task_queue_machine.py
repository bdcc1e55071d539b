"""The scheduler under any order of commands, beside naive rules."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from task_queue_bench import Bench, spec

from remanager.engine.task_queue.card import PauseReason, Stage
from remanager.engine.task_queue.changes import OutcomeKind
from remanager.engine.task_queue.scopes import Scope
from remanager.engine.task_queue.submission import SubmitOutcome
from remanager.model.states import STATE_CLASS, StateClass, TaskState, is_terminal
from remanager.model.task_spec import DependencyPolicy, DuplicatePolicy, TaskSpec, TtlOrigin

S = TaskState
SUCCESS = (OutcomeKind.COMPLETED, OutcomeKind.SKIPPED)
NEVER_PUT_BACK = (S.CANCELLED, S.EXPIRED, S.SUPERSEDED)
KINDS = st.sampled_from(sorted(OutcomeKind))
PICK = st.integers(0, 1000)

OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "on_duplicate": st.sampled_from(DuplicatePolicy),
        "on_dependency_failure": st.sampled_from(DependencyPolicy),
        "fail_fast": st.booleans(),
        "ttl_s": st.sampled_from([5.0, 50.0]),
        "ttl_from": st.sampled_from(TtlOrigin),
        "timeout_s": st.sampled_from([3.0, 20.0]),
        "max_retries": st.integers(0, 2),
        "resource_lock": st.sampled_from(["disk", "tape"]),
        "key": st.sampled_from(["k1", "k2"]),
        "group": st.sampled_from(["red", "blue"]),
        "priority": st.sampled_from([0, 128, 200]),
        "run_after": st.sampled_from([1010.0, 1100.0]),
    },
)


class TaskQueueMachine(RuleBasedStateMachine):
    """Commands in any order; :class:`Bench` checks after each what must always hold."""

    @initialize(preempt_at=st.sampled_from([None, 64]))
    def begin(self, preempt_at: int | None) -> None:
        self.bench = Bench(preempt_at=preempt_at)
        self.count = 0
        self.stand_ins: dict[str, str] = {}

    def _pick(self, uids: list[str], choice: int) -> str:
        return uids[choice % len(uids)]

    def _new(self, options: dict, prerequisites: tuple[str, ...], parent: str | None) -> TaskSpec:
        self.count += 1
        return spec(
            f"t{self.count}",
            depends_on=prerequisites,
            parent_uid=parent,
            time_created=self.bench.now,
            **options,
        )

    @rule(options=OPTIONS, needs=st.lists(PICK, max_size=2), parent=st.none() | PICK)
    def submit(self, options: dict, needs: list[int], parent: int | None) -> None:
        bench = self.bench
        everybody = sorted(bench.stored)
        active = sorted(bench.scheduler.cards)
        needed = tuple({self._pick(everybody, n) for n in needs}) if everybody else ()
        parent_uid = self._pick(active, parent) if active and parent is not None else None
        new = self._new(options, needed, parent_uid)
        (answer,) = bench.submit(new)
        assert (answer.outcome is SubmitOutcome.REJECTED) is (answer.error is not None)
        fresh = answer.outcome in (SubmitOutcome.INSERTED, SubmitOutcome.SUPERSEDED)
        assert fresh is (new.task_uid in bench.stored)
        if answer.outcome is SubmitOutcome.SUPERSEDED:
            assert answer.existing_uid is not None
            card = bench.scheduler.cards.get(answer.existing_uid)
            assert card is None or card.stage is Stage.CANCELLING

    @rule(options=st.lists(OPTIONS, min_size=2, max_size=4), needs=st.lists(PICK, min_size=4, max_size=4))
    def submit_batch(self, options: list[dict], needs: list[int]) -> None:
        first = self.count + 1
        batch = [f"t{first + i}" for i in range(len(options))]
        new = [
            self._new(o, (self._pick(batch, n),) if n % 3 else (), None)
            for o, n in zip(options, needs, strict=False)
        ]
        before = set(self.bench.stored)
        answers = self.bench.submit(*new, atomic=needs[0] % 2 == 0)
        if needs[0] % 2 == 0 and any(a.error for a in answers):
            assert set(self.bench.stored) == before
        for answer in answers:
            assert (answer.task_uid is None) is (answer.error is not None)

    @rule(places=st.integers(1, 4))
    def dispatch(self, places: int) -> None:
        bench = self.bench
        covered = {
            uid: bench.scheduler.dispatcher.switches.covering(card)
            for uid, card in bench.scheduler.cards.items()
        }
        free = max(places - len(bench.held), 0)
        started = bench.dispatch(free)
        assert len(started) <= free
        for uid in started:
            assert not covered[uid]
            self._check_may_run(uid)

    def _check_may_run(self, uid: str) -> None:
        bench = self.bench
        card = bench.card(uid)
        for needed in card.spec.depends_on:
            state = bench.stored[needed]
            ignores = card.spec.options.on_dependency_failure is DependencyPolicy.IGNORE
            assert is_terminal(state)
            assert ignores or STATE_CLASS[state] is StateClass.SUCCESS
        others = [bench.card(other) for other in bench.held if other != uid]
        if card.spec.key:
            assert all(c.spec.key != card.spec.key for c in others)
        if card.spec.options.resource_lock:
            assert all(c.spec.options.resource_lock != card.spec.options.resource_lock for c in others)
        assert not card.pause_reasons

    @precondition(lambda self: self.bench.held)
    @rule(choice=PICK)
    def started(self, choice: int) -> None:
        uid = self._pick(sorted(self.bench.held), choice)
        assert self.bench.scheduler.started(uid, self.bench.held[uid], self.bench.now)
        assert not self.bench.scheduler.started(uid, self.bench.held[uid] - 1, self.bench.now)
        self.bench.take()

    @precondition(lambda self: self.bench.held)
    @rule(choice=PICK, kind=KINDS)
    def finish(self, choice: int, kind: OutcomeKind) -> None:
        bench = self.bench
        uid = self._pick(sorted(bench.held), choice)
        expected = self._expected(uid, kind)
        bench.finish(uid, kind, time_start=bench.now - 5.0)
        assert bench.state(uid) in expected, (bench.state(uid), expected)
        assert not bench.scheduler.finish(uid, bench.epochs[uid] - 1, None, bench.now)  # type: ignore[arg-type]

    def _expected(self, uid: str, kind: OutcomeKind) -> set[TaskState]:
        """Return what may become of a task, by the naive rules."""
        card = self.bench.card(uid)
        again = {S.PENDING, S.PAUSED}
        if card.cancel_state in NEVER_PUT_BACK:
            return {card.cancel_state}
        late = card.cancel_state is S.TIMED_OUT
        limit = card.spec.options.timeout_s
        in_time = limit is None or limit >= 5.0
        retries = card.spec.options.retry.max_retries
        if kind is OutcomeKind.RETURNED:
            return again
        if kind in (*SUCCESS, OutcomeKind.PARENT) and not (late and not in_time):
            return self._expected_of_success(uid, kind)
        if late:
            last = S.TIMED_OUT
        elif kind is OutcomeKind.CANCELLED:
            return again if card.rerun or card.cancel_state is S.PAUSED else {S.CANCELLED}
        elif kind is OutcomeKind.PERMANENT:
            return again if card.rerun else {S.FAILED}
        elif kind is OutcomeKind.LOST:
            last = S.LOST
        else:
            last = S.DEAD_LETTER if retries or kind is OutcomeKind.RETRY else S.FAILED
        return again if card.rerun or card.attempt <= retries else {last}

    def _expected_of_success(self, uid: str, kind: OutcomeKind) -> set[TaskState]:
        card = self.bench.card(uid)
        again = {S.PENDING, S.PAUSED}
        if card.failed_child and card.spec.options.fail_fast:
            return again if card.rerun else {S.FAILED}
        children = [c for c in self.bench.scheduler.children(uid) if c in self.bench.scheduler.cards]
        if children or kind is OutcomeKind.PARENT:
            return {S.WAITING_CHILDREN}
        return again if card.rerun else {S.SKIPPED if kind is OutcomeKind.SKIPPED else S.COMPLETED}

    @precondition(lambda self: self.bench.scheduler.cards)
    @rule(choice=PICK, cascade=st.booleans())
    def cancel(self, choice: int, cascade: bool) -> None:
        bench = self.bench
        uid = self._pick(sorted(bench.scheduler.cards), choice)
        family = self._family(uid) if cascade else {uid}
        result = bench.cancel(uid, cascade=cascade)
        assert [*result.cancelled, *result.cancelling] == [uid]
        for member in family:
            if member in bench.scheduler.cards:  # only what a worker has to stop first is left
                assert bench.card(member).state is S.RUNNING
                assert bench.card(member).cancel_state in NEVER_PUT_BACK
        assert bench.cancel(uid).cancelled == []

    def _family(self, root: str) -> set[str]:
        found, rest = set(), [root]
        while rest:
            uid = rest.pop()
            found.add(uid)
            rest += self.bench.scheduler.children(uid)
        return found

    @rule(seconds=st.sampled_from([0.5, 4.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.bench.tick(seconds)
        for card in self.bench.scheduler.cards.values():
            if card.state in (S.PENDING, S.BLOCKED, S.PAUSED) and card.expires_at is not None:
                assert card.expires_at > self.bench.now

    @rule(
        scope=st.sampled_from([(Scope.ALL, ""), (Scope.GROUP, "red"), (Scope.TASK_TYPE, "work")]),
        until=st.sampled_from([None, 10.0]),
        interrupt=st.booleans(),
    )
    def pause(self, scope: tuple[Scope, str], until: float | None, interrupt: bool) -> None:
        end = None if until is None else self.bench.now + until
        self.bench.scheduler.pause(*scope, self.bench.now, until=end, interrupt=interrupt)
        self.bench.settle()
        for card in self.bench.scheduler.cards.values():
            if card.state is S.PENDING:
                assert not self.bench.scheduler.dispatcher.switches.covering(card)

    @rule(scope=st.sampled_from([(Scope.ALL, ""), (Scope.GROUP, "red"), (Scope.TASK_TYPE, "work")]))
    def resume(self, scope: tuple[Scope, str]) -> None:
        self.bench.scheduler.resume(*scope, self.bench.now)
        self.bench.settle()
        for card in self.bench.scheduler.cards.values():
            assert card.state is not S.PAUSED or card.pause_reasons

    @precondition(lambda self: self.bench.scheduler.cards)
    @rule(choice=PICK, interrupt=st.booleans(), resume=st.booleans())
    def hold_one(self, choice: int, interrupt: bool, resume: bool) -> None:
        uid = self._pick(sorted(self.bench.scheduler.cards), choice)
        if resume:
            self.bench.scheduler.resume(None, uid, self.bench.now)
            assert PauseReason.OPERATOR not in self.bench.card(uid).pause_reasons
        else:
            self.bench.scheduler.pause(None, uid, self.bench.now, interrupt=interrupt)
            assert self.bench.card(uid).state is not S.PENDING
        self.bench.take()

    @precondition(lambda self: self.bench.scheduler.cards)
    @rule(choice=PICK, priority=st.integers(0, 255), group=st.sampled_from(["", "red", "blue"]))
    def update(self, choice: int, priority: int, group: str) -> None:
        uid = self._pick(sorted(self.bench.scheduler.cards), choice)
        card = self.bench.scheduler.update(uid, self.bench.now, priority=priority, group=group)
        assert (card.priority, card.spec.group) == (priority, group)
        self.bench.take()

    @rule()
    def restart(self) -> None:
        self.bench.restart()
        self.bench.settle()

    @invariant()
    def no_child_is_left_by_a_parent_that_has_ended(self) -> None:
        bench = self.bench
        for card in bench.scheduler.cards.values():
            if card.state is S.WAITING_CHILDREN:
                waits = [c for c in bench.scheduler.children(card.uid) if c in bench.scheduler.cards]
                assert waits or card.finishing
                assert len(waits) == card.open_children

    def teardown(self) -> None:
        """Let everything go on: nothing may be stuck."""
        if not hasattr(self, "bench"):
            return
        bench = self.bench
        for switch in bench.scheduler.dispatcher.switches.list():
            bench.scheduler.resume(switch.scope, switch.name, bench.now)
        bench.settle()
        for uid in list(bench.scheduler.cards):
            bench.scheduler.resume(None, uid, bench.now)
        for _ in range(20 * self.count + 20):
            bench.take()
            if not bench.scheduler.cards:
                break
            if not bench.dispatch(3 - len(bench.held)) and not bench.held:
                wakeup = bench.scheduler.next_wakeup(bench.now)
                assert wakeup is not None, list(bench.scheduler.cards.values())
                bench.tick(max(wakeup - bench.now, 0.0))
            for uid in list(bench.held):
                bench.finish(uid)
        assert not bench.scheduler.cards
        assert not bench.held
        board = bench.scheduler._board
        for index in (board.running, board.preempted, board.holders, board.leaving, board.dependents):
            assert not index
        assert not board.children
        assert not len(board.timers)
        assert not len(board.dispatcher)


TestTaskQueueMachine = TaskQueueMachine.TestCase
TestTaskQueueMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
