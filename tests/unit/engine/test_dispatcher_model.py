"""The dispatcher against a naive one that looks at every task for every choice."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from remanager.engine.task_queue.card import Card
from remanager.engine.task_queue.dispatcher import Dispatcher
from remanager.engine.task_queue.limits import LimitSpec, Rate
from remanager.engine.task_queue.scopes import Scope, ScopeKey, scope_keys
from remanager.engine.task_queue.shares import Aging
from remanager.engine.task_queue.slot_time import SlotTime
from remanager.model.states import TaskState
from remanager.model.task_spec import TaskOptions, TaskSpec, Where

T0 = 1_700_000_000.0

names = st.sampled_from(["", "a", "b"])
some = st.sampled_from(["a", "b"])
limit_scopes = st.sampled_from([Scope.ALL, Scope.DOMAIN, Scope.TASK_TYPE, Scope.GROUP, Scope.USER])
switch_scopes = st.sampled_from([Scope.ALL, Scope.DOMAIN, Scope.TASK_TYPE, Scope.GROUP, Scope.SCHEDULE])
# Powers of two, so that the naive bucket computes exactly the same.
rates = st.builds(Rate, st.sampled_from([0.25, 0.5, 2.0]), st.just(1.0), st.sampled_from([1.0, 2.0]))
# Mostly one of them: what is to be shown is how tasks get in each other's way.
pools = st.sampled_from([Where.POOL, Where.POOL, Where.POOL, Where.ENVIRONMENT])


@st.composite
def keys(draw: st.DrawFn, scopes: st.SearchStrategy[Scope]) -> ScopeKey:
    scope = draw(scopes)
    return scope, "" if scope is Scope.ALL else draw(some)


@st.composite
def specs_of(draw: st.DrawFn) -> LimitSpec:
    scope, name = draw(keys(limit_scopes))
    return LimitSpec(
        scope=scope,
        name=name,
        max_running=draw(st.sampled_from([None, 0, 1, 1, 2])),
        weight=draw(st.sampled_from([1.0, 2.0])) if scope in (Scope.GROUP, Scope.USER) else 1.0,
        min_slots=draw(st.integers(0, 2)) if scope is Scope.GROUP else 0,
        rate=draw(st.one_of(st.none(), st.none(), rates)),
    )


specs = specs_of()
changes = st.one_of(
    specs,
    st.tuples(keys(limit_scopes), st.just("unlimit")),
    st.tuples(keys(switch_scopes), st.sampled_from(["off", "on", "on"])),
)


@dataclass
class Naive:
    """Does what the dispatcher is to do, in the plainest way."""

    aging: Aging | None
    pending: dict[str, Card] = field(default_factory=dict)
    running: dict[str, Card] = field(default_factory=dict)
    adopted: set[str] = field(default_factory=set)
    limits: dict[ScopeKey, LimitSpec] = field(default_factory=dict)
    tokens: dict[ScopeKey, tuple[float, float]] = field(default_factory=dict)
    paid: dict[str, list[ScopeKey]] = field(default_factory=dict)
    off: set[ScopeKey] = field(default_factory=set)
    users: SlotTime = field(default_factory=lambda: SlotTime(lambda _name: 1.0))
    groups: SlotTime = field(default_factory=lambda: SlotTime(lambda _name: 1.0))

    def count(self, key: ScopeKey) -> int:
        return sum(key in scope_keys(card.spec) for card in self.running.values())

    def take_keys(self, dispatcher: Dispatcher, now: float) -> None:
        """Begin with the keys of the moment: how they come about is tested elsewhere."""
        dispatcher.is_due(now, Where.POOL)
        self.users, self.groups = copy.deepcopy((dispatcher._slots.users, dispatcher._slots.groups))

    def available(self, key: ScopeKey, now: float) -> float:
        rate, (tokens, time) = self.limits[key].rate, self.tokens[key]
        assert rate is not None
        return min(rate.capacity, tokens + (now - time) * rate.per_second)

    def admits(self, card: Card, now: float) -> bool:
        if card.run_after is not None and card.run_after > now:
            return False
        lock = card.spec.options.resource_lock
        if lock and any(c.spec.options.resource_lock == lock for c in self.running.values()):
            return False
        for key in scope_keys(card.spec):
            limit = self.limits.get(key)
            if key in self.off or (
                limit and limit.max_running is not None and self.count(key) >= limit.max_running
            ):
                return False
            if limit and limit.rate and self.available(key, now) < 1 - 1e-6:
                return False
        return True

    def priority(self, card: Card, now: float) -> int:
        return self.aging.effective(card, now) if self.aging else card.priority

    def next(self, now: float, where: Where) -> Card | None:
        ready = [c for c in self.pending.values() if c.spec.options.where is where and self.admits(c, now)]

        def order(card: Card) -> tuple[bool, int, float, float, int]:
            group = (Scope.GROUP, card.spec.group)
            limit = self.limits.get(group)
            starving = limit is not None and self.count(group) < limit.min_slots
            user, share = self.users.key(card.spec.user), self.groups.key(card.spec.group)
            return not starving, self.priority(card, now), user, share, card.number

        return min(ready, key=order, default=None)

    def pick(self, now: float, slots: int, where: Where) -> list[Card]:
        picked: list[Card] = []
        while len(picked) < slots and (card := self.next(now, where)):
            del self.pending[card.uid]
            self.running[card.uid] = card
            self.users.start(card.spec.user, card.priority)
            self.groups.start(card.spec.group, card.priority)
            self.paid[card.uid] = [k for k in scope_keys(card.spec) if k in self.tokens]
            for key in self.paid[card.uid]:
                self.tokens[key] = (self.available(key, now) - 1, now)
            picked.append(card)
        return picked


class DispatcherMachine(RuleBasedStateMachine):
    """Commands in any order; each choice must be the naive one."""

    @initialize(
        aging=st.sampled_from([None, Aging(grace_s=4, interval_s=2, ceiling=1)]),
        specs=st.lists(specs, max_size=3),
    )
    def begin(self, aging: Aging | None, specs: list[LimitSpec]) -> None:
        self.now = T0
        self.number = 0
        self.dispatcher = Dispatcher(aging=aging)
        self.naive = Naive(aging)
        for spec in specs:
            self.limit(spec)

    def card(self, index: int, cards: dict[str, Card]) -> Card | None:
        return list(cards.values())[index % len(cards)] if cards else None

    @rule(
        n=st.integers(1, 4),
        name=some,
        user=some,
        group=names,
        domain=names,
        lock=st.sampled_from([None, None, "x", "y"]),
        schedule=st.sampled_from([None, None, "a"]),
        priority=st.integers(0, 3),
        delay=st.sampled_from([None, None, 1.0, 3.0]),
        where=pools,
    )
    def add(
        self,
        n: int,
        name: str,
        user: str,
        group: str,
        domain: str,
        lock: str | None,
        schedule: str | None,
        priority: int,
        delay: float | None,
        where: Where,
    ) -> None:
        for _ in range(n):
            self.number += 1
            spec = TaskSpec(
                task_uid=f"t{self.number}",
                name=name,
                user=user,
                user_group="",
                body="",
                time_created=self.now,
                domain=domain,
                group=group,
                priority=priority,
                schedule_uid=schedule,
                options=TaskOptions(resource_lock=lock, where=where),
            )
            card = Card(spec, self.number, TaskState.PENDING, priority)
            card.run_after = None if delay is None else self.now + delay
            self.naive.pending[card.uid] = card
            self.dispatcher.add(card, self.now)

    @rule(index=st.integers(0, 99))
    def discard(self, index: int) -> None:
        if card := self.card(index, self.naive.pending):
            del self.naive.pending[card.uid]
            self.dispatcher.discard(card)

    @rule(index=st.integers(0, 99), priority=st.integers(0, 3), delay=st.sampled_from([None, 0.0, 2.0]))
    def change(self, index: int, priority: int, delay: float | None) -> None:
        if card := self.card(index, self.naive.pending):
            card.priority = priority
            card.run_after = None if delay is None else self.now + delay
            self.dispatcher.changed(card, self.now)

    @rule(slots=st.integers(0, 5), where=pools)
    def pick(self, slots: int, where: Where) -> None:
        self.naive.take_keys(self.dispatcher, self.now)
        expected = self.naive.pick(self.now, slots, where)
        assert self.dispatcher.pick(self.now, slots, where) == expected

    @rule(where=pools)
    def peek(self, where: Where) -> None:
        self.naive.take_keys(self.dispatcher, self.now)
        assert self.dispatcher.peek(self.now, where) is self.naive.next(self.now, where)

    @rule(index=st.integers(0, 99))
    def begun(self, index: int) -> None:
        if card := self.card(index, self.naive.running):
            self.dispatcher.begun(card, self.now)

    @rule(index=st.integers(0, 99), refund=st.booleans(), again=st.booleans())
    def release(self, index: int, refund: bool, again: bool) -> None:
        if card := self.card(index, self.naive.running):
            del self.naive.running[card.uid]
            for key in self.naive.paid.pop(card.uid, []):
                if refund and key in self.naive.tokens:
                    tokens, time = self.naive.tokens[key]
                    rate = self.naive.limits[key].rate
                    assert rate is not None
                    self.naive.tokens[key] = (min(rate.capacity, tokens + 1), time)
            self.dispatcher.release(card, self.now, used_s=0.0 if refund else 3.0, refund=refund)
            if again:
                self.naive.pending[card.uid] = card
                self.dispatcher.add(card, self.now)

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 2.0, 8.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        moves=st.lists(st.tuples(st.integers(0, 99), st.booleans(), st.integers(0, 2)), max_size=9),
        where=pools,
    )
    def churn(self, moves: list[tuple[int, bool, int]], where: Where) -> None:
        """A stretch of work in which nobody changes a limit."""
        for index, again, slots in moves:
            self.pick(slots, where)
            self.release(index, False, again)

    @rule(change=changes)
    def configure(self, change: LimitSpec | tuple[ScopeKey, str]) -> None:
        if isinstance(change, LimitSpec):
            self.limit(change)
        elif change[1] == "unlimit":
            self.unlimit(change[0])
        else:
            self.switch(change[0], off=change[1] == "off")

    def limit(self, spec: LimitSpec) -> None:
        tokens = self.naive.available(spec.key, self.now) if spec.key in self.naive.tokens else None
        self.naive.limits[spec.key] = spec
        rate = spec.rate
        if rate is None:
            self.naive.tokens.pop(spec.key, None)
        else:
            kept = rate.capacity if tokens is None else min(tokens, rate.capacity)
            self.naive.tokens[spec.key] = (kept, self.now)
            if tokens is None:
                self.forget_payments(spec.key)
        self.dispatcher.limits.set(spec, self.now)

    def forget_payments(self, key: ScopeKey) -> None:
        """A bucket that is new is not given back what an older one was paid."""
        for keys in self.naive.paid.values():
            if key in keys:
                keys.remove(key)

    def unlimit(self, key: ScopeKey) -> None:
        assert self.dispatcher.limits.remove(*key) == (key in self.naive.limits)
        self.naive.limits.pop(key, None)
        if self.naive.tokens.pop(key, None):
            self.forget_payments(key)

    def switch(self, key: ScopeKey, *, off: bool) -> None:
        if off:
            self.dispatcher.switches.set(*key, now=self.now)
            self.naive.off.add(key)
        else:
            assert (self.dispatcher.switches.clear(*key) is not None) == (key in self.naive.off)
            self.naive.off.discard(key)

    @rule(where=pools)
    def wake_up_when_told(self, where: Where) -> None:
        """Without any event, nothing can start earlier than at the time of the wake-up."""
        self.pick(99, where)
        wakeup = self.dispatcher.next_wakeup(self.now)
        if wakeup is None:
            assert self.naive.next(self.now + 1e6, where) is None
        elif wakeup > self.now:
            assert self.naive.next(wakeup - 1e-3, where) is None
            self.now = wakeup
            self.pick(99, where)

    @rule()
    def restart(self) -> None:
        """Pending and running tasks go into a new dispatcher; limits and switches with them."""
        old = self.dispatcher
        self.dispatcher = Dispatcher(aging=self.naive.aging)
        self.dispatcher.limits.load(old.limits.to_json(), self.now)
        self.dispatcher.switches.load(old.switches.to_json())
        for key in self.naive.tokens:
            rate = self.naive.limits[key].rate
            assert rate is not None
            self.naive.tokens[key] = (rate.capacity, self.now)
        self.naive.paid.clear()
        for card in self.naive.running.values():
            self.dispatcher.adopt(card, self.now)
        for card in self.naive.pending.values():
            self.dispatcher.add(card, self.now)

    @invariant()
    def same_counts(self) -> None:
        if not hasattr(self, "naive"):
            return
        assert len(self.dispatcher) == len(self.naive.pending)
        for figures in self.dispatcher.limits.list(self.now):
            assert figures.running == self.naive.count(figures.spec.key)
            if figures.available_tokens is not None:
                assert figures.available_tokens == pytest.approx(
                    self.naive.available(figures.spec.key, self.now)
                )

    @invariant()
    def reasons_agree_with_what_can_start(self) -> None:
        if not hasattr(self, "naive"):
            return
        for card in self.naive.pending.values():
            reason = self.dispatcher.wait_reason(card, self.now)
            assert (reason == "slot") == self.naive.admits(card, self.now)


TestDispatcher = DispatcherMachine.TestCase
TestDispatcher.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
