"""Fair shares by slot time: simulations of a pool, with a clock of their own."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager.engine.task_queue.card import Card
from remanager.engine.task_queue.dispatcher import Dispatcher
from remanager.engine.task_queue.limits import Limits, LimitSpec
from remanager.engine.task_queue.scopes import Scope
from remanager.engine.task_queue.slot_time import MEMORY_S, SlotTime, SlotTimes
from remanager.model.states import TaskState
from remanager.model.task_spec import TaskSpec

T0 = 1_700_000_000.0
SHORT_S = 0.06


class Pool:
    """Workers that run what a dispatcher gives them.

    Attributes
    ----------
    starts : list of str
        Users, or groups of the one user, in the order of their starts.
    slot_time : defaultdict of str to float
        Time of ended executions by the same names, s.
    """

    def __init__(
        self, slots: int, weights: Mapping[str, float] | None = None, *, groups: bool = False
    ) -> None:
        self.now = T0
        self.dispatcher = Dispatcher()
        self.starts: list[str] = []
        self.slot_time: defaultdict[str, float] = defaultdict(float)
        self._slots = slots
        self._groups = groups
        self._running: list[tuple[float, int, float, Card]] = []
        self._durations: dict[str, float] = {}
        self._numbers = count(1)
        for name, weight in (weights or {}).items():
            scope = Scope.GROUP if groups else Scope.USER
            self.dispatcher.limits.set(LimitSpec(scope=scope, name=name, weight=weight), self.now)

    def submit(
        self, name: str, tasks: int, duration: float = SHORT_S, priority: int = 128, group: str = ""
    ) -> None:
        """Submit tasks of a user, or of a group."""
        for _ in range(tasks):
            number = next(self._numbers)
            spec = TaskSpec(
                task_uid=f"t{number}",
                name="work",
                user="ann" if self._groups else name,
                group=name if self._groups else group,
                user_group="",
                body="",
                time_created=self.now,
                priority=priority,
            )
            self._durations[spec.task_uid] = duration
            self.dispatcher.add(Card(spec, number, TaskState.PENDING, priority), self.now)

    def dispatch(self) -> None:
        """Fill the slots; nothing may wait beside a free one."""
        free = self._slots - len(self._running)
        picked = self.dispatcher.pick(self.now, free)
        for card in picked:
            self.starts.append(self._name(card))
            end = self.now + self._durations[card.uid]
            heappush(self._running, (end, card.number, self.now, card))
            self.dispatcher.begun(card, self.now)
        assert len(picked) == free or not len(self.dispatcher)

    def step(self) -> None:
        """Go on to the next end."""
        self.now, _, begun, card = heappop(self._running)
        self.slot_time[self._name(card)] += self.now - begun
        self.dispatcher.release(card, self.now, used_s=self.now - begun)

    def run(self, until: Callable[[], bool] = lambda: False) -> list[str]:
        """Run until then, or until all tasks have ended; return the starts of all time."""
        self.dispatch()
        while self._running and not until():
            self.step()
            self.dispatch()
        return self.starts

    def had(self, name: str) -> float:
        """Return the time of ended executions and of those that run, s."""
        running = (self.now - begun for _, _, begun, card in self._running if self._name(card) == name)
        return self.slot_time[name] + sum(running)

    def _name(self, card: Card) -> str:
        return card.spec.group if self._groups else card.spec.user


@pytest.mark.parametrize("slots", [1, 2, 10])
@pytest.mark.parametrize("groups", [False, True])
def test_starts_are_as_the_weights(slots: int, groups: bool) -> None:
    pool = Pool(slots, {"a": 3}, groups=groups)
    pool.submit("a", 400)
    pool.submit("b", 400)
    starts = pool.run()[:400]
    assert starts.count("a") == pytest.approx(300, rel=0.1)
    assert starts.count("b") == pytest.approx(100, rel=0.1)
    assert all("b" in starts[n : n + 4 + 2 * slots] for n in range(370))


@pytest.mark.parametrize("slots", [1, 2, 10])
@pytest.mark.parametrize("groups", [False, True])
def test_nobody_waits_for_others_to_be_done(slots: int, groups: bool) -> None:
    pool = Pool(slots, groups=groups)
    for name in "abc":
        pool.submit(name, 100)
    starts = pool.run()
    for name in "abc":
        assert all(name in starts[n : n + 3 + slots] for n in range(280))


def test_long_and_short_executions_share_the_slots() -> None:
    pool = Pool(10)
    pool.submit("long", 100, 3600.0)
    pool.submit("short", 100_000, 1.0)
    pool.run(lambda: pool.now >= T0 + 3599)
    assert pool.starts.count("long") == 5
    pool.run(lambda: pool.now >= T0 + 3 * 3600)
    long, short = pool.had("long"), pool.had("short")
    assert long == pytest.approx(short, rel=0.1)


def test_first_durations_count_at_once() -> None:
    times = SlotTime(lambda _name: 1.0)
    times.wait("a", 128)
    for expected in (1.0, 0.02):  # before the first end nothing is known
        use = times.start("a", 128)
        assert use.reserved == pytest.approx(expected)
        times.now += 0.02
        times.end("a", use, 0.02)


def test_one_slot_goes_to_long_and_short_executions_by_time() -> None:
    pool = Pool(1)
    pool.submit("long", 10, 10.0)
    pool.submit("short", 200, 1.0)
    pool.run(lambda: pool.now >= T0 + 100)
    assert pool.slot_time["long"] == pytest.approx(pool.slot_time["short"], abs=10)


def test_absence_earns_nothing() -> None:
    pool = Pool(2)
    pool.submit("late", 2)
    pool.submit("busy", 2000)
    pool.run(lambda: len(pool.starts) > 1000)
    pool.submit("late", 100)
    begin = len(pool.starts)
    starts = pool.run(lambda: len(pool.starts) > begin + 60)[begin:]
    assert starts[0] == "late"
    assert starts.count("late") == pytest.approx(30, abs=3)


def test_someone_who_runs_but_has_nothing_waiting_earns_nothing() -> None:
    pool = Pool(10)
    pool.submit("late", 1, 100.0)
    pool.submit("busy", 20_000, 0.1)
    pool.run(lambda: pool.now > T0 + 50)
    pool.submit("late", 1000, 0.1)
    begin = len(pool.starts)
    starts = pool.run(lambda: len(pool.starts) > begin + 200)[begin:]
    assert starts.count("busy") > 80


def test_who_submits_one_by_one_has_no_more_than_the_share() -> None:
    pool = Pool(1)
    pool.submit("flood", 400, 1.0)
    ended = -1.0
    while pool.now < T0 + 200:
        if pool.slot_time["single"] != ended:
            ended = pool.slot_time["single"]
            pool.submit("single", 1, 10.0)
        begin = len(pool.starts)
        pool.run(lambda begin=begin: len(pool.starts) > begin)  # type: ignore[misc]
    assert pool.slot_time["single"] == pytest.approx(100, abs=11)


def test_what_priorities_held_back_is_caught_up_on_in_part() -> None:
    pool = Pool(10)
    pool.submit("low", 10_000, 10.0)
    pool.submit("high", 10_000, 10.0, priority=1)
    pool.run(lambda: len(pool.starts) >= 10_000)
    pool.submit("high", 1000, 10.0)
    begin = len(pool.starts)
    starts = pool.run(lambda: len(pool.starts) > begin + 1000)[begin:]
    assert starts.index("high") <= MEMORY_S / 10 + 10
    assert starts[400:].count("high") == pytest.approx(300, rel=0.1)


@pytest.mark.parametrize("step_s", [-3600.0, -0.5, 0.5, 3600.0])
def test_a_clock_that_is_set_changes_no_order(step_s: float) -> None:
    pool = Pool(2)
    for name in "ab":
        pool.submit(name, 100)
    pool.run(lambda: len(pool.starts) > 50)
    if abs(step_s) > 1:  # smaller steps are not told
        pool.dispatcher.clock_set(step_s)
    pool.now += step_s
    pool._running = [(end + step_s, n, begun + step_s, card) for end, n, begun, card in pool._running]
    starts = pool.run()[50:190]
    assert starts.count("a") == pytest.approx(70, abs=10)


def test_what_ran_before_a_restart_counts() -> None:
    pool = Pool(2)
    pool.submit("a", 1)
    [running] = pool.dispatcher.pick(pool.now, 1)
    running.begun = True
    restarted = Pool(1)
    restarted.submit("a", 2)
    restarted.submit("b", 2)
    restarted.dispatcher.adopt(running, restarted.now)
    assert [card.spec.user for card in restarted.dispatcher.pick(restarted.now, 2)] == ["b", "a"]
    restarted.dispatcher.release(running, restarted.now + 1, used_s=1e6)  # no more than since the restart
    assert {card.spec.user for card in restarted.dispatcher.pick(restarted.now + 1, 9)} == {"a", "b"}


def test_a_change_of_weight_counts_from_then_on() -> None:
    pool = Pool(1)
    for name in "ab":
        pool.submit(name, 1000)
    pool.run(lambda: len(pool.starts) > 500)
    pool.dispatcher.limits.set(LimitSpec(scope=Scope.USER, name="a", weight=3), pool.now)
    starts = pool.run(lambda: len(pool.starts) > 700)[500:600]
    assert starts.count("a") == pytest.approx(75, abs=3)


def test_memory_is_bounded() -> None:
    slots = SlotTime(lambda _name: 1.0)
    slots.wait("always", 128)
    for n in range(5000):
        name = f"u{n}"
        slots.wait(name, 128)
        use = slots.start(name, 128)
        slots.wait_no_more(name)
        slots.now += 1.0
        slots.end(name, use, 1.0)
    assert len(slots) < 300
    assert len(slots._heap) < 30
    slots.wait_no_more("always")
    assert len(slots) == 0


def test_the_only_one_in_turn_goes_on_as_time_passes() -> None:
    pool = Pool(2)
    pool.submit("a", 3)
    [first] = pool.dispatcher.pick(pool.now, 1)
    pool.dispatcher.peek(pool.now)
    pool.submit("a", 1, priority=200)
    pool.dispatcher.begun(first, pool.now)
    assert pool.dispatcher.peek(pool.now + 5) is not None


@pytest.mark.parametrize("time", [math.nan, math.inf, T0 + 3600.0])
def test_a_wrong_time_of_a_begin_does_no_harm(time: float) -> None:
    slots = SlotTimes(Limits())
    slots.set_time(T0)
    slots.wait("a", "", 128)
    uses = slots.start("a", "", 128)
    before = slots.users.key("a")
    slots.begin(uses, time)
    assert slots.users.key("a") == before
    slots.set_time(T0 + 10)
    assert slots.users.key("a") == before + 10


@pytest.mark.parametrize("weight", [1e-15, 1e-308, 5e-324, 1e300])
def test_absurd_weights_leave_the_keys_of_others_exact(weight: float) -> None:
    slots = SlotTime(lambda name: weight if name == "a" else 1.0)
    for _ in range(3):
        slots.wait("a", 128)
        uses = [slots.start("a", 128) for _ in range(3)]
        slots.now += 3600.0
        for use in uses[:2]:
            slots.end("a", use, 3600.0)
        slots.wait_no_more("a")
        slots.wait("a", 128)
        slots.wait("b", 128)
        assert math.isfinite(slots.key("a"))
        before = slots.key("b")
        use = slots.start("b", 128)
        slots.now += SHORT_S
        slots.end("b", use, SHORT_S)
        assert slots.key("b") == pytest.approx(before + SHORT_S, abs=1e-4)
        slots.wait_no_more("a")
        slots.wait_no_more("b")
        slots.end("a", uses[2], 3600.0)


@pytest.mark.parametrize("reported_s", [0.0, -5.0, math.nan, -math.inf])
@pytest.mark.parametrize("told", [False, True])
def test_an_execution_without_a_sensible_duration_is_not_free(reported_s: float, told: bool) -> None:
    slots = SlotTime(lambda _name: 1.0)
    slots.wait("a", 128)
    before = slots.key("a")
    use = slots.start("a", 128)
    slots.now += 2.0
    if told:
        slots.begin("a", use, 1.0)
    slots.now += 3.0
    slots.end("a", use, reported_s)
    assert slots.key("a") == before + (4.0 if told else 5.0)
    given_back = slots.start("a", 128)
    slots.now += 2.0
    slots.end("a", given_back, None)
    assert slots.key("a") == before + (4.0 if told else 5.0)


def test_of_many_whom_priorities_held_back_each_catches_up_in_part() -> None:
    pool = Pool(10)
    low = [f"low{n}" for n in range(10)]
    for name in low:
        pool.submit(name, 2000, 10.0)
    pool.submit("high", 10_000, 10.0, priority=1)
    pool.run(lambda: len(pool.starts) >= 10_000)
    for name in ("high", "new"):
        pool.submit(name, 1000, 10.0)
    begin = len(pool.starts)
    most = round((len(low) + 1) * MEMORY_S / 10)  # "new" catches up on "high", too
    starts = pool.run(lambda: len(pool.starts) > begin + most + 600)[begin:]
    assert starts.index("new") <= 20
    assert starts.index("high") <= most + 150
    counts = [starts.count(name) for name in low]
    assert max(counts) - min(counts) <= 10


@pytest.mark.parametrize("others", [1, 5])
@pytest.mark.parametrize("groups", [False, True])
def test_who_comes_after_urgent_work_of_somebody_else_need_not_wait(others: int, groups: bool) -> None:
    pool = Pool(1, groups=groups)
    names = [f"low{n}" for n in range(others)]
    for name in names:
        pool.submit(name, 2000, 10.0)
    pool.submit("urgent", 360, 10.0, priority=10)
    pool.run(lambda: pool.now >= T0 + 3600)
    pool.submit("new", 3, 10.0)
    begin = len(pool.starts)
    starts = pool.run(lambda: len(pool.starts) > begin + 50)[begin:]
    assert starts.index("new") <= others + 1


def test_who_comes_while_somebody_is_below_the_minimum_of_slots_need_not_wait() -> None:
    pool = Pool(2)
    pool.dispatcher.limits.set(LimitSpec(scope=Scope.GROUP, name="live", min_slots=1), pool.now)
    pool.submit("a", 2000, 1.0)
    pool.submit("b", 2000, 1.0, group="live")
    pool.run(lambda: pool.now >= T0 + 300)
    pool.submit("new", 3, 1.0)
    begin = len(pool.starts)
    starts = pool.run(lambda: len(pool.starts) > begin + 20)[begin:]
    assert starts.index("new") <= 5


def test_who_comes_while_somebody_is_held_back_does_not_pass_the_others() -> None:
    pool = Pool(1)
    pool.dispatcher.limits.set(LimitSpec(scope=Scope.USER, name="held", max_running=0), pool.now)
    pool.submit("held", 1, 1.0)
    pool.submit("a", 2000, 1.0)
    pool.run(lambda: pool.now >= T0 + 300)
    pool.submit("new", 2000, 1.0)
    begin = len(pool.starts)
    starts = pool.run(lambda: len(pool.starts) > begin + 100)[begin:]
    assert starts.count("a") == pytest.approx(50, abs=3)


tasks = st.tuples(st.sampled_from("abcd"), st.integers(1, 9), st.sampled_from([0.0, 0.06, 1.0, 30.0]))


@given(
    slots=st.integers(1, 4),
    weights=st.dictionaries(st.sampled_from("abcd"), st.sampled_from([0.1, 2.0, 7.0])),
    groups=st.booleans(),
    batches=st.lists(st.lists(tasks, max_size=4), min_size=1, max_size=5),
)
def test_no_slot_is_free_beside_a_waiting_task(
    slots: int, weights: dict[str, float], groups: bool, batches: list[list[tuple[str, int, float]]]
) -> None:
    def simulate() -> list[str]:
        pool = Pool(slots, weights, groups=groups)
        for batch in batches:
            for name, n, duration in batch:
                pool.submit(name, n, duration)
            begin = len(pool.starts)
            pool.run(lambda begin=begin: len(pool.starts) > begin + 5)  # type: ignore[misc]
        return pool.run()

    starts = simulate()
    assert len(starts) == sum(n for batch in batches for _, n, _ in batch)
    assert simulate() == starts
