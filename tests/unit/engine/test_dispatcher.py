"""The dispatcher: which task is chosen, what holds others back, and what a choice costs."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from task_queue_bench import calls_of

from remanager.engine.task_queue.card import Card
from remanager.engine.task_queue.dispatcher import DUE_PORTION, Dispatcher
from remanager.engine.task_queue.limits import LimitSpec, Rate
from remanager.engine.task_queue.scopes import Scope
from remanager.engine.task_queue.shares import Aging
from remanager.model.states import TaskState
from remanager.model.task_spec import TaskOptions, TaskSpec, Where

T0 = 1_700_000_000.0

_numbers = count(1)


def card(
    name: str = "work", user: str = "ann", priority: int = 128, run_after: float | None = None, **spec: Any
) -> Card:
    number = next(_numbers)
    made = TaskSpec(
        task_uid=f"t{number}",
        name=name,
        user=user,
        user_group="",
        body="",
        time_created=T0,
        priority=priority,
        **spec,
    )
    return Card(made, number, TaskState.PENDING, priority, run_after=run_after)


def filled(*cards: Card, aging: Aging | None = None) -> Dispatcher:
    dispatcher = Dispatcher(aging=aging)
    for each in cards:
        dispatcher.add(each, T0)
    return dispatcher


def test_order_is_by_priority_then_by_submission() -> None:
    late, first, second = card(priority=200), card(), card()
    urgent = card(priority=0)
    assert filled(late, second, first, urgent).pick(T0, 9) == [urgent, first, second, late]


def test_a_capped_group_in_front_delays_no_other() -> None:
    dispatcher = filled(*[card(group="capped", user=f"u{n % 7}") for n in range(1000)])
    dispatcher.limits.set(LimitSpec(scope=Scope.GROUP, name="capped", max_running=1), T0)
    [running] = dispatcher.pick(T0, 9)
    others = [card(group="free") for _ in range(3)]
    for each in others:
        dispatcher.add(each, T0)
    assert calls_of(lambda: dispatcher.pick(T0, 0)) < 100
    assert dispatcher.pick(T0, 9) == others
    dispatcher.release(running, T0)
    assert len(dispatcher.pick(T0, 9)) == 1


@pytest.mark.parametrize("held", [LimitSpec(scope=Scope.GROUP, name="g", max_running=1), None])
def test_cost_of_a_choice_does_not_grow_with_the_queue(held: LimitSpec | None) -> None:
    def cost(length: int) -> int:
        dispatcher = Dispatcher(aging=Aging())
        if held:
            dispatcher.limits.set(held, T0)
        for n in range(length):
            dispatcher.add(card(name=f"type{n % 5}", user=f"u{n % 11}", group="g" if n % 2 else ""), T0)
        worst = 0
        running: list[Card] = []

        def step() -> None:
            running.extend(dispatcher.pick(T0, 1))
            if len(running) > 4:
                dispatcher.release(running.pop(0), T0)

        for _ in range(50):
            worst = max(worst, calls_of(step))
        return worst

    cost(200)
    assert cost(20_000) <= 2 * cost(200)


def test_many_locks_and_users_cost_no_more() -> None:
    def cost(length: int) -> int:
        dispatcher = Dispatcher()
        for n in range(length):
            options = TaskOptions(resource_lock=f"volume{n // 2}")
            dispatcher.add(card(user=f"u{n // 3}", options=options), T0)
        dispatcher.pick(T0, 1)
        return max(calls_of(lambda: dispatcher.pick(T0, 1)) for _ in range(50))

    assert cost(9000) <= 2 * cost(300)


@pytest.mark.parametrize("users", [1, 2, 1000])
@pytest.mark.parametrize("minimum", [0, 2])
def test_many_groups_and_users_cost_no_more(users: int, minimum: int) -> None:
    def cost(length: int) -> int:
        dispatcher = Dispatcher()
        if minimum:
            dispatcher.limits.set(LimitSpec(scope=Scope.GROUP, name="g1", min_slots=minimum), T0)
        for n in range(length):
            user = f"u{n % min(users, length)}"
            dispatcher.add(card(user=user, group=f"g{n}"), T0)
            dispatcher.add(card(user=user, group="g1"), T0)
        running = dispatcher.pick(T0, 10)
        costs = []

        def step() -> None:
            card = running.pop(0)
            dispatcher.begun(card, dispatcher._now)
            dispatcher.release(card, dispatcher._now + 1, used_s=1.0)
            running.extend(dispatcher.pick(dispatcher._now, 1))

        for _ in range(200):
            costs.append(calls_of(step))
        return sum(costs)

    assert cost(3000) <= 1.6 * cost(150)


def test_weights_and_limits_of_users_are_changed_without_a_look_at_others() -> None:
    dispatcher = filled(*[card(user=f"u{n}", group=f"g{n}") for n in range(3000)])
    dispatcher.pick(T0, 1)
    for spec in (
        LimitSpec(scope=Scope.USER, name="u7", weight=2.0),
        LimitSpec(scope=Scope.USER, name="u8", max_running=0),
        LimitSpec(scope=Scope.GROUP, name="g9", weight=0.5),
    ):
        dispatcher.limits.set(spec, T0)
        assert calls_of(lambda: dispatcher.pick(T0, 1)) < 200
    dispatcher.limits.remove(Scope.USER, "u8")
    assert calls_of(lambda: dispatcher.pick(T0, 1)) < 200
    assert len(dispatcher.pick(T0, 5000)) == 3000 - 5


def test_a_user_whose_limit_is_lifted_starts_again() -> None:
    held, other = card(user="held"), card(user="other")
    dispatcher = filled(held, other)
    dispatcher.limits.set(LimitSpec(scope=Scope.USER, name="held", max_running=0), T0)
    assert dispatcher.pick(T0, 5) == [other]
    dispatcher.limits.set(LimitSpec(scope=Scope.USER, name="held", weight=2.0), T0)
    assert dispatcher.pick(T0, 5) == [held]


def test_priorities_of_a_user_are_put_in_order_when_their_turn_comes() -> None:
    dispatcher = filled(*[card(priority=n % 250, user=f"u{n // 250 % 2}") for n in range(2000)])
    picked = dispatcher.pick(T0, 2)
    assert {(c.spec.user, c.priority) for c in picked} == {("u0", 0), ("u1", 0)}
    started = calls_of(lambda: picked.extend(dispatcher.pick(T0, 1)))
    ended = calls_of(lambda: dispatcher.release(picked[0], T0))
    assert max(started, ended) < 200


def test_discarded_tasks_leave_nothing_behind() -> None:
    dispatcher = filled(card(priority=0))
    dispatcher.limits.set(LimitSpec(scope=Scope.ALL, max_running=0), T0)
    for _ in range(5000):
        queued, delayed = card(), card(run_after=T0 + 9)
        dispatcher.add(queued, T0)
        dispatcher.add(delayed, T0)
        dispatcher.pick(T0, 1)
        dispatcher.discard(queued)
        dispatcher.discard(delayed)
    assert len(dispatcher) == 1
    assert calls_of(lambda: dispatcher.pick(T0, 1)) < 100
    assert len(dispatcher._delayed) < 30
    assert len(list(dispatcher._all_lanes())) == 1


def test_only_what_waits_for_a_slot_is_due() -> None:
    dispatcher = filled(card(run_after=T0 + 9))
    assert not dispatcher.is_due(T0, Where.POOL)
    assert dispatcher.is_due(T0 + 9, Where.POOL)
    assert not dispatcher.is_due(T0 + 9, Where.ENVIRONMENT)
    dispatcher.limits.set(LimitSpec(scope=Scope.ALL, max_running=0), T0)
    assert dispatcher.is_due(T0 + 9, Where.POOL)  # a limit may let it start without being asked
    dispatcher.limits.set(LimitSpec(scope=Scope.ALL, max_running=1), T0)
    dispatcher.pick(T0 + 9, 1)
    assert not dispatcher.is_due(T0 + 9, Where.POOL)


def test_a_task_is_not_added_twice_and_discarded_without_harm() -> None:
    once = card()
    dispatcher = filled(once)
    with pytest.raises(ValueError, match="pending already"):
        dispatcher.add(once, T0)
    dispatcher.discard(once)
    dispatcher.discard(once)
    dispatcher.release(once, T0)
    assert dispatcher.pick(T0, 1) == []
    assert dispatcher.wait_reason(once, T0) == ""


def test_a_task_waits_for_its_time() -> None:
    later = card(run_after=T0 + 5)
    dispatcher = filled(later)
    assert dispatcher.pick(T0 + 4, 1) == []
    assert dispatcher.wait_reason(later, T0 + 4) == "run_after"
    later.attempt = 1
    assert dispatcher.wait_reason(later, T0 + 4) == "backoff"
    assert dispatcher.next_wakeup(T0 + 4) == T0 + 5
    assert dispatcher.pick(T0 + 5, 1) == [later]
    assert dispatcher.next_wakeup(T0 + 5) is None


def test_many_tasks_due_at_once_come_in_portions() -> None:
    dispatcher = filled(*[card(run_after=T0 + 1) for _ in range(DUE_PORTION + 5)])
    assert len(dispatcher.pick(T0 + 2, 2 * DUE_PORTION)) == DUE_PORTION
    assert dispatcher.next_wakeup(T0 + 2) == T0 + 2
    assert len(dispatcher.pick(T0 + 2, 2 * DUE_PORTION)) == 5


def test_tokens_are_taken_from_all_buckets_or_none() -> None:
    dispatcher = filled(*[card(group="g") for _ in range(5)])
    dispatcher.limits.set(LimitSpec(scope=Scope.TASK_TYPE, name="work", rate=Rate(1, 1, 3)), T0)
    dispatcher.limits.set(LimitSpec(scope=Scope.GROUP, name="g", rate=Rate(1, 100, 1)), T0)
    [first] = dispatcher.pick(T0, 9)
    tokens = {f.spec.scope: (f.available_tokens, f.denied_count) for f in dispatcher.limits.list(T0)}
    assert tokens == {Scope.TASK_TYPE: (2, 0), Scope.GROUP: (0, 1)}
    assert dispatcher.wait_reason(card(), T0) == ""
    waiting = next(iter(dispatcher._tickets.values())).card
    assert dispatcher.wait_reason(waiting, T0) == "rate_limit"
    assert dispatcher.next_wakeup(T0) == T0 + 100
    dispatcher.release(first, T0, refund=True)
    assert len(dispatcher.pick(T0, 9)) == 1


def test_what_is_limited_comes_back_at_the_refill() -> None:
    dispatcher = filled(*[card() for _ in range(4)])
    dispatcher.limits.set(LimitSpec(scope=Scope.ALL, rate=Rate(1, 3, 1)), T0)
    now, starts = T0, []
    while len(starts) < 4:
        starts += [(c, now) for c in dispatcher.pick(now, 9)]
        wakeup = dispatcher.next_wakeup(now)
        now = wakeup if wakeup is not None else now
    assert [at - T0 for _, at in starts] == pytest.approx([0, 3, 6, 9], abs=1e-3)


def test_one_task_per_resource() -> None:
    lock = TaskOptions(resource_lock="volume 7")
    first, second, third = card(options=lock), card(name="other", options=lock), card(priority=200)
    dispatcher = filled(first, second, third)
    assert dispatcher.pick(T0, 9) == [first, third]
    assert dispatcher.wait_reason(second, T0) == "resource_lock:volume 7"
    dispatcher.discard(second)
    dispatcher.add(second, T0)
    assert dispatcher.pick(T0, 9) == []
    dispatcher.release(first, T0)
    assert dispatcher.pick(T0, 9) == [second]


def test_tasks_that_run_after_a_restart_count() -> None:
    lock = TaskOptions(resource_lock="r")
    running, waiting = card(group="g", options=lock), card(options=lock)
    capped = card(group="g")
    dispatcher = filled(waiting, capped)
    dispatcher.limits.set(LimitSpec(scope=Scope.GROUP, name="g", max_running=1), T0)
    dispatcher.adopt(running, T0)
    assert dispatcher.pick(T0, 9) == []
    assert dispatcher.wait_reason(capped, T0) == "limit:group/g"
    dispatcher.release(running, T0)
    assert dispatcher.pick(T0, 9) == [waiting, capped]


def test_a_switch_holds_at_once_and_lets_go() -> None:
    held, free = card(group="g"), card()
    dispatcher = filled(held, free)
    dispatcher.switches.set(Scope.GROUP, "g", now=T0, until=T0 + 60)
    assert dispatcher.pick(T0, 9) == [free]
    assert dispatcher.wait_reason(held, T0) == "paused"
    assert dispatcher.next_wakeup(T0) == T0 + 60
    dispatcher.switches.clear(Scope.GROUP, "g")
    assert dispatcher.pick(T0, 9) == [held]


def test_pools_are_apart_but_share_limits() -> None:
    there, here = card(options=TaskOptions(where=Where.ENVIRONMENT)), card()
    dispatcher = filled(there, here)
    dispatcher.limits.set(LimitSpec(scope=Scope.ALL, max_running=1), T0)
    assert dispatcher.pick(T0, 9, Where.ENVIRONMENT) == [there]
    assert dispatcher.pick(T0, 9) == []
    dispatcher.release(there, T0)
    assert dispatcher.pick(T0, 9) == [here]


def test_users_share_by_weight() -> None:
    dispatcher = filled(*[card(user=user) for user in ("ann", "bob") for _ in range(30)])
    dispatcher.limits.set(LimitSpec(scope=Scope.USER, name="ann", weight=2), T0)
    running = [c.spec.user for c in dispatcher.pick(T0, 12)]
    assert running.count("ann") == 8
    assert running.count("bob") == 4


def test_a_flood_of_one_user_does_not_delay_another() -> None:
    dispatcher = filled(*[card(user="ann") for _ in range(500)])
    dispatcher.pick(T0, 4)
    late = card(user="bob")
    dispatcher.add(late, T0)
    assert dispatcher.pick(T0, 1) == [late]


def test_groups_share_by_weight_and_get_their_minimum_first() -> None:
    cards = [card(group=group) for group in ("a", "b") for _ in range(30)]
    small = [card(group="small", priority=255) for _ in range(3)]
    dispatcher = filled(*cards, *small)
    dispatcher.limits.set(LimitSpec(scope=Scope.GROUP, name="a", weight=3), T0)
    dispatcher.limits.set(LimitSpec(scope=Scope.GROUP, name="small", min_slots=2), T0)
    groups = [c.spec.group for c in dispatcher.pick(T0, 10)]
    assert groups[:2] == ["small", "small"]
    assert sorted(groups[2:]) == ["a"] * 6 + ["b"] * 2


def test_users_come_before_the_weights_of_groups() -> None:
    cards = [
        card(user=user, group=group) for user, group in (("ann", "ga"), ("bob", "gb")) for _ in range(30)
    ]
    dispatcher = filled(*cards)
    dispatcher.limits.set(LimitSpec(scope=Scope.GROUP, name="gb", weight=3), T0)
    groups = [c.spec.group for c in dispatcher.pick(T0, 8)]
    assert (groups.count("ga"), groups.count("gb")) == (4, 4)
    dispatcher = filled(*cards)
    dispatcher.limits.set(LimitSpec(scope=Scope.USER, name="bob", weight=3), T0)
    groups = [c.spec.group for c in dispatcher.pick(T0, 8)]
    assert (groups.count("ga"), groups.count("gb")) == (2, 6)


def test_waiting_makes_a_task_better() -> None:
    old = card(priority=200)
    dispatcher = filled(old, aging=Aging(grace_s=300, interval_s=60, ceiling=64))
    now = T0 + 300 + 60 * 73
    fresh = card(priority=128)
    fresh.time_ready = now
    dispatcher.add(fresh, now)
    assert dispatcher.effective_priority(old, now) == 127
    assert dispatcher.peek(now) is old
    assert dispatcher.pick(now, 2) == [old, fresh]
    assert old.priority == 200


def test_without_aging_nothing_gets_better() -> None:
    old = card(priority=200)
    assert filled(old).effective_priority(old, T0 + 1e6) == 200


def test_aging_looks_at_first_tasks_only() -> None:
    dispatcher = filled(*[card(priority=200) for _ in range(20_000)], aging=Aging())
    assert calls_of(lambda: dispatcher.peek(T0 + 86400)) < 500


def test_a_task_that_comes_back_is_in_front_again() -> None:
    first, second, third = card(name="a"), card(name="b"), card(name="a")
    dispatcher = filled(first, second, third)
    assert dispatcher.pick(T0, 1) == [first]
    dispatcher.release(first, T0)
    dispatcher.add(first, T0)
    assert dispatcher.pick(T0, 3) == [first, second, third]


def test_a_young_task_does_not_inherit_the_age_of_the_one_before_it() -> None:
    now = T0 + 300 + 60 * 100
    old, young, between = card(priority=200), card(priority=200), card(user="bob", priority=150)
    young.time_ready = between.time_ready = now
    dispatcher = filled(old, young, between, aging=Aging())
    assert dispatcher.pick(now, 3) == [old, between, young]


def test_a_user_who_is_held_back_is_asked_about_once() -> None:
    dispatcher = filled(card(), card())
    dispatcher.limits.set(LimitSpec(scope=Scope.USER, name="ann", max_running=1), T0)
    [running] = dispatcher.pick(T0, 9)
    for n in range(5):
        dispatcher.add(card(priority=n), T0)
        assert dispatcher.pick(T0, 9) == []
    assert [figures.denied_count for figures in dispatcher.limits.list(T0)] == [1]
    dispatcher.release(running, T0)
    assert len(dispatcher.pick(T0, 9)) == 1
