"""The plan queue against a list: order, refusals, and deltas that lead the store to the same queue."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from remanager.engine.plan_queue import PlanQueue
from remanager.engine.queue_item import PreparedItem, QueueDelta, QueueEntry, prepare_item
from remanager.engine.ranks import place
from remanager.model.errors import Conflict, InvalidParams, NotFound

positions = st.one_of(st.sampled_from(["front", "back"]), st.integers(-12, 12))
REFUSED = (InvalidParams, NotFound, Conflict)


class Shadow:
    """What a store that writes the deltas would hold: ranks and texts by UID."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[int, str]] = {}

    def write(self, delta: QueueDelta) -> None:
        if delta.cleared:
            self.rows.clear()
        for uid in delta.removed:
            del self.rows[uid]
        moved = [(uid, rank, self.rows.pop(uid)[1]) for uid, rank in delta.moved]
        for uid, rank, text in moved:
            self._put(uid, rank, text)
        for old_uid, entry in delta.replaced:
            del self.rows[old_uid]
            self._put(entry.uid, entry.rank, entry.text)
        for entry in delta.inserted:
            self._put(entry.uid, entry.rank, entry.text)

    def _put(self, uid: str, rank: int, text: str) -> None:
        assert uid not in self.rows
        assert rank not in {other for other, _ in self.rows.values()}, "two items share a rank"
        self.rows[uid] = (rank, text)

    def entries(self) -> list[QueueEntry]:
        return [QueueEntry(uid, rank, json.loads(text), text) for uid, (rank, text) in self.rows.items()]


class QueueMachine(RuleBasedStateMachine):
    """Does the same to a PlanQueue and to a list of UIDs."""

    uids = Bundle("uids")

    def __init__(self) -> None:
        super().__init__()
        self.queue = PlanQueue()
        self.shadow = Shadow()
        self.model: list[str] = []
        self.running: str | None = None
        self.made = 0

    def new_item(self) -> PreparedItem:
        self.made += 1
        return prepare_item({"item_uid": f"u{self.made}", "name": "count", "kwargs": {"num": self.made}})

    def done(self, delta: QueueDelta, before: list[str], expected: list[str]) -> None:
        self.shadow.write(delta)
        self.model = expected
        if not delta.replaced:
            assert delta.changed is (before != expected)

    def index(self, pos: Any) -> int:
        """Index in the model of a position, or IndexError."""
        index = {"front": 0, "back": -1}.get(pos, pos)
        index = index + len(self.model) if index < 0 else index
        if not 0 <= index < len(self.model):
            raise IndexError
        return index

    # -------------------------------------------------------------------------------- adding

    @rule(target=uids, pos=positions)
    def add_at(self, pos: Any) -> str:
        item, before = self.new_item(), list(self.model)
        expected = list(before)
        if pos == "back":
            expected.append(item.uid)
        elif pos == "front" or pos < -len(before):
            expected.insert(0, item.uid)
        else:
            expected.insert(pos if pos >= 0 else len(before) + pos + 1, item.uid)
        self.done(self.queue.add(item, pos=pos), before, expected)
        return item.uid

    @rule(target=uids, other=uids, after=st.booleans(), count=st.integers(1, 4))
    def add_batch_next_to(self, other: str, after: bool, count: int) -> Any:
        items, before = [self.new_item() for _ in range(count)], list(self.model)
        place = {"after_uid" if after else "before_uid": other}
        if other in before:
            at = before.index(other) + after
        elif other == self.running and after:
            at = 0
        else:
            with pytest.raises(InvalidParams):
                self.queue.add_batch(items, **place)
            return multiple()
        new = [item.uid for item in items]
        self.done(self.queue.add_batch(items, **place), before, before[:at] + new + before[at:])
        return multiple(*new)

    @rule(uid=uids)
    def add_again(self, uid: str) -> None:
        if uid in self.model or uid == self.running:
            with pytest.raises(Conflict):
                self.queue.add(prepare_item({"item_uid": uid}))

    # -------------------------------------------------------------------------------- removing

    @rule(pos=positions)
    def remove_at(self, pos: Any) -> None:
        before = list(self.model)
        try:
            index = self.index(pos)
        except IndexError:
            with pytest.raises(NotFound):
                self.queue.remove(pos=pos)
            return
        delta = self.queue.remove(pos=pos)
        assert delta.entry.uid == before[index]
        self.done(delta, before, before[:index] + before[index + 1 :])

    @rule(batch=st.lists(uids, max_size=5), ignore_missing=st.booleans())
    def remove_batch(self, batch: list[str], ignore_missing: bool) -> None:
        before = list(self.model)
        if not ignore_missing and (len(set(batch)) != len(batch) or not set(batch) <= set(before)):
            with pytest.raises(REFUSED):
                self.queue.remove_batch(batch, ignore_missing=False)
            return
        delta = self.queue.remove_batch(batch, ignore_missing=ignore_missing)
        self.done(delta, before, [uid for uid in before if uid not in batch])

    @rule()
    def start_next(self) -> None:
        before = list(self.model)
        if before:
            delta = self.queue.pop_front()
            self.queue.running_uid = self.running = delta.entry.uid
            self.done(delta, before, before[1:])

    @rule(target=uids, front=st.booleans())
    def running_item_returns(self, front: bool) -> Any:
        if self.running is None:
            return multiple()
        self.queue.running_uid = self.running = None
        item, before = self.new_item(), list(self.model)
        delta = self.queue.add(item, pos="front" if front else "back")
        self.done(delta, before, [item.uid, *before] if front else [*before, item.uid])
        return item.uid

    @rule(sure=st.sampled_from([False, False, False, True]))
    def clear(self, sure: bool) -> None:
        if sure:
            self.done(self.queue.clear(), list(self.model), [])

    # -------------------------------------------------------------------------------- moving, replacing

    @rule(target=uids, uid=uids, keep=st.booleans())
    def replace(self, uid: str, keep: bool) -> Any:
        new = self.new_item()
        item = prepare_item({**new.item, "item_uid": uid}) if keep else new
        before = list(self.model)
        if uid not in before:
            with pytest.raises((Conflict, NotFound)):
                self.queue.replace(item, item_uid=uid)
            return multiple()
        delta = self.queue.replace(item, item_uid=uid)
        assert delta.changed
        self.done(delta, before, [item.uid if other == uid else other for other in before])
        return multiple() if keep else item.uid

    @rule(source=positions, dest=positions)
    def move_by_position(self, source: Any, dest: Any) -> None:
        before = list(self.model)
        try:
            start, end = self.index(source), self.index(dest)
        except IndexError:
            with pytest.raises(NotFound):
                self.queue.move(pos=source, pos_dest=dest)
            return
        expected = list(before)
        expected.insert(end, expected.pop(start))
        self.done(self.queue.move(pos=source, pos_dest=dest), before, expected)

    @rule(uid=uids, other=uids, after=st.booleans())
    def move_next_to(self, uid: str, other: str, after: bool) -> None:
        before, place = list(self.model), {"after_uid" if after else "before_uid": other}
        if uid not in before or other not in before:
            with pytest.raises((Conflict, NotFound)):
                self.queue.move(uid=uid, **place)
            return
        expected = list(before)
        if uid != other:
            expected.remove(uid)
            expected.insert(expected.index(other) + after, uid)
        self.done(self.queue.move(uid=uid, **place), before, expected)

    @rule(
        indices=st.lists(st.integers(0, 11), max_size=5, unique=True),
        stray=st.one_of(st.none(), st.none(), uids),
        dest=positions,
        reorder=st.booleans(),
    )
    def move_batch(self, indices: list[int], stray: str | None, dest: Any, reorder: bool) -> None:
        before = list(self.model)
        batch = [before[index] for index in indices if index < len(before)]
        if stray is not None:
            batch.append(stray)
        try:
            end = self.index(dest) if batch else 0
        except IndexError:
            end = None
        if end is None or not set(batch) <= set(before) or len(set(batch)) != len(batch):
            with pytest.raises(REFUSED):
                self.queue.move_batch(batch, pos_dest=dest, reorder=reorder)
            return
        order = sorted(batch, key=before.index) if reorder else batch
        # One after another, as the definition has it.
        expected = list(before)
        for n, uid in enumerate(order):
            expected.remove(uid)
            expected.insert(end if n == 0 else expected.index(order[n - 1]) + 1, uid)
        delta = self.queue.move_batch(batch, pos_dest=dest, reorder=reorder)
        assert [entry.uid for entry in delta.entries] == order
        self.done(delta, before, expected)

    # -------------------------------------------------------------------------------- always

    @invariant()
    def memory_is_the_model(self) -> None:
        assert [entry.uid for entry in self.queue.entries()] == self.model
        assert [item["item_uid"] for item in self.queue.items()] == self.model
        assert len(self.queue) == len(self.model)
        for uid in self.model:
            assert self.queue.get(uid=uid).uid == uid

    @invariant()
    def store_is_memory(self) -> None:
        stored = PlanQueue(self.shadow.entries())
        assert stored.entries() == self.queue.entries()
        assert stored.texts() == self.queue.texts()


class CrowdedQueueMachine(QueueMachine):
    """The same with neighbours so close that ranks run out at once."""

    def __init__(self) -> None:
        super().__init__()
        items = [self.new_item() for _ in range(8)]
        entries = [QueueEntry(item.uid, rank, item.item, item.text) for rank, item in enumerate(items)]
        self.queue = PlanQueue(entries)
        self.shadow.rows = {entry.uid: (entry.rank, entry.text) for entry in entries}
        self.model = [entry.uid for entry in entries]

    @rule(target=QueueMachine.uids, index=st.integers(0, 7))
    def name_an_item(self, index: int) -> Any:
        return self.model[index] if index < len(self.model) else multiple()


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestCrowdedQueue = CrowdedQueueMachine.TestCase
TestCrowdedQueue.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("count", [1, 7, 5000])
@pytest.mark.parametrize("index", [0, 1, 50, 99, 100])
@pytest.mark.parametrize("gap", [1, 2, 3, 1000, 1 << 20])
def test_place_keeps_the_order(gap: int, index: int, count: int) -> None:
    ranks = [gap * i for i in range(100)]
    placement = place(ranks.__getitem__, 100, index, count)
    after = ranks[: index - placement.left] + placement.ranks + ranks[index + placement.right :]
    assert len(after) == 100 + count
    assert after == sorted(set(after))
    if index in {0, 100} or gap > count:
        assert placement.left == placement.right == 0
