"""The tasks that a worker of the pool holds: what is told when."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager.engine.task_queue.changes import OutcomeKind
from remanager.worker.pool import assignments as module
from remanager.worker.pool.assignments import Assignment, Assignments, Collected, Outcome

DONE = Outcome(OutcomeKind.COMPLETED, codec="json", payload=b"1")


class Desk:
    """Assignments with a clock that stands still, and a count of the wake-ups."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch | None = None, give_back_after_s: float = 0.25
    ) -> None:
        self.wakes = 0
        self.begun: list[tuple[str, int]] = []
        self.now = 100.0
        self.all = Assignments(
            give_back_after_s, self.wake, lambda uid, epoch, _time: self.begun.append((uid, epoch))
        )
        if monkeypatch is not None:
            monkeypatch.setattr(module.time, "monotonic", lambda: self.now)

    def wake(self) -> None:
        self.wakes += 1

    def hand_over(self, *uids: str) -> bool:
        return self.all.accept([[uid, 1, 1, "{}", None, None, False] for uid in uids])

    def next(self) -> Assignment:
        found = self.all.next()
        assert found is not None
        return found


def kinds(collected: Collected) -> list[tuple[str, str]]:
    return [(row[0], row[2]) for row in collected.ended]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(monkeypatch)


def test_a_short_task_is_told_by_its_end_alone(desk: Desk) -> None:
    desk.hand_over("a")
    assert desk.all.collect().wait_s == pytest.approx(0.01)
    assignment = desk.next()
    assert desk.begun == [("a", 1)]
    collected = desk.all.collect()
    assert (collected.started, collected.ended) == ([], [])
    assert collected.wait_s == pytest.approx(0.01)
    desk.all.end(assignment, DONE)
    assert desk.wakes == 1
    assert desk.all.busy
    collected = desk.all.collect()
    ((uid, epoch, kind, start, stop, reason, error, retry, codec, payload, _report),) = collected.ended
    assert (uid, epoch, kind, reason, error, retry, codec, payload) == (
        *("a", 1, "completed", "", None, None, "json", b"1"),
    )
    assert start == stop == assignment.time_start
    assert collected.wait_s is None
    assert not desk.all.busy


def test_ends_gather_while_short_tasks_wait(desk: Desk) -> None:
    desk.hand_over("a", "b", "c", "d")
    desk.all.collect()
    desk.all.end(desk.next(), DONE)
    assert desk.wakes == 0
    desk.now += 1.5 * module.GATHER_S
    desk.all.end(desk.next(), DONE)
    assert desk.wakes == 1
    assert kinds(desk.all.collect()) == [("a", "completed"), ("b", "completed")]
    long = desk.next()
    desk.now += 0.02
    assert desk.all.collect().started
    desk.all.end(long, DONE)  # nobody looks soon: it was announced
    assert desk.wakes == 2
    desk.all.end(desk.next(), DONE)  # the last one
    assert desk.wakes == 3


def test_a_long_task_is_announced_once(desk: Desk) -> None:
    desk.hand_over("a")
    assignment = desk.next()
    desk.now += 0.02
    collected = desk.all.collect()
    assert collected.started == [["a", 1, assignment.time_start]]
    assert collected.wait_s is None
    assert desk.all.collect().started == []


def test_what_waits_behind_a_long_task_is_given_back(desk: Desk) -> None:
    desk.hand_over("a", "b", "c")
    assignment = desk.next()
    desk.now += 0.1
    collected = desk.all.collect()
    assert collected.ended == []
    assert collected.wait_s == pytest.approx(0.15)
    desk.now += 0.15
    assert kinds(desk.all.collect()) == [("b", "returned"), ("c", "returned")]
    assert desk.all.held() == [["a", 1, assignment.time_start]]
    desk.hand_over("d")
    assert kinds(desk.all.collect()) == [("d", "returned")]


def test_an_end_is_held_until_it_is_collected(desk: Desk) -> None:
    desk.hand_over("a")
    assignment = desk.next()
    desk.all.end(assignment, DONE)
    assert desk.all.held() == [["a", 1, assignment.time_start]]
    desk.all.collect()
    assert desk.all.held() == []


def test_cancelling(desk: Desk) -> None:
    desk.hand_over("a", "b")
    told: list[str] = []
    assignment = desk.next()
    desk.all.cancel("a", 1, "early")  # before the execution can hear it
    desk.all.attach(assignment, told.append)
    assert told == ["early"]
    desk.all.cancel("a", 1, "later")
    desk.all.cancel("a", 1, "later")  # said again: it may be cleaning up already
    assert told == ["early", "later"]
    desk.all.cancel("b", 2, "another hand-over")
    desk.all.cancel("b", 1, "not needed")
    ((uid, _epoch, kind, _start, _stop, reason, *_),) = desk.all.collect().ended
    assert (uid, kind, reason) == ("b", "returned", "not needed")
    desk.all.end(assignment, DONE)
    desk.all.cancel("a", 1, "too late")
    assert told == ["early", "later"]


def test_the_same_hand_over_is_accepted_once(desk: Desk) -> None:
    desk.hand_over("a")
    desk.hand_over("a")
    assert len(desk.all.held()) == 1


def test_another_hand_over_of_the_same_task_is_another_one(desk: Desk) -> None:
    desk.all.accept([["a", 1, 1, "{}", None, None], ["a", 2, 1, "{}", None, None]])
    assert [(uid, epoch) for uid, epoch, _ in desk.all.held()] == [("a", 1), ("a", 2)]


def test_stopping(desk: Desk) -> None:
    assert desk.hand_over("a", "b")
    assignment = desk.next()
    desk.all.stop()
    assert not desk.hand_over("c")
    assert kinds(desk.all.collect()) == [("b", "returned"), ("c", "returned")]
    assert not desk.all.wait_collected(0.0)
    desk.all.end(assignment, DONE)
    assert desk.all.next() is None
    desk.all.collect()
    assert desk.all.wait_collected(0.0)


def test_stopping_wakes_the_one_who_waits() -> None:
    desk = Desk()
    thread = threading.Thread(target=desk.all.next)
    thread.start()
    desk.all.stop()
    thread.join(10)
    assert not thread.is_alive()


STEPS = st.one_of(
    st.tuples(st.just("hand over"), st.integers(1, 3)),
    st.tuples(st.just("begin")),
    st.tuples(st.just("end")),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("pass"), st.sampled_from([0.005, 0.02, 0.3])),
    st.tuples(st.just("collect")),
)


@given(st.lists(STEPS, max_size=60))
def test_each_hand_over_ends_once(steps: list[tuple[Any, ...]]) -> None:
    """Whatever happens, each task is held or has ended once, in the order of the ends."""
    with pytest.MonkeyPatch.context() as patch:
        desk = Desk(patch)
        given_uids: list[str] = []
        begun: list[str] = []
        ended: list[tuple[str, str]] = []
        running: Assignment | None = None
        for step in steps:
            match step:
                case ("hand over", count):
                    uids = [str(len(given_uids) + n) for n in range(count)]
                    given_uids += uids
                    desk.hand_over(*uids)
                case ("begin",) if running is None and desk.all._queue:
                    running = desk.next()
                    begun.append(running.task_uid)
                case ("end",) if running is not None:
                    desk.all.end(running, DONE)
                    running = None
                case ("cancel", uid):
                    desk.all.cancel(str(uid), 1, "")
                case ("pass", seconds):
                    desk.now += seconds
                case ("collect",):
                    ended += kinds(desk.all.collect())
            held = [uid for uid, _, _ in desk.all.held()]
            assert sorted([*held, *(uid for uid, _ in ended)], key=int) == given_uids
        desk.all.stop()
        if running is not None:
            desk.all.end(running, DONE)
        ended += kinds(desk.all.collect())
        assert sorted((uid for uid, _ in ended), key=int) == given_uids
        assert [uid for uid, kind in ended if kind == "completed"] == begun
