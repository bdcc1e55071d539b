"""Numbering, acknowledgement and replay of events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from remanager.model.link import PlanPaused
from remanager.worker.outbox import Outbox


def event(uid: str = "a") -> PlanPaused:
    return PlanPaused(0, 1.0, uid)


def test_events_are_numbered_from_one() -> None:
    outbox = Outbox()
    assert [outbox.add(event()).seq for _ in range(3)] == [1, 2, 3]
    assert outbox.last_seq == 3


def test_acknowledged_events_are_forgotten() -> None:
    outbox = Outbox()
    for uid in "abc":
        outbox.add(event(uid))
    outbox.ack(2)
    assert [e.item_uid for e in outbox.unacknowledged() if isinstance(e, PlanPaused)] == ["c"]


def test_an_older_acknowledgement_changes_nothing() -> None:
    outbox = Outbox()
    for uid in "abc":
        outbox.add(event(uid))
    outbox.ack(3)
    outbox.ack(1)
    assert outbox.acked_seq == 3
    assert outbox.unacknowledged() == []


def test_an_acknowledgement_from_the_future_does_not_cover_later_events() -> None:
    outbox = Outbox()
    outbox.add(event())
    outbox.ack(100)
    outbox.add(event("later"))
    assert [e.seq for e in outbox.unacknowledged()] == [2]


@given(st.lists(st.one_of(st.none(), st.integers(-5, 60)), max_size=60))
def test_exactly_the_unacknowledged_events_are_replayed_in_order(steps: list[int | None]) -> None:
    """None adds an event, a number acknowledges."""
    outbox = Outbox()
    added = acked = 0
    for step in steps:
        if step is None:
            added += 1
            assert outbox.add(event()).seq == added
        else:
            outbox.ack(step)
            acked = max(acked, min(step, added))
        assert [e.seq for e in outbox.unacknowledged()] == list(range(acked + 1, added + 1))
    assert (outbox.last_seq, outbox.acked_seq) == (added, acked)
