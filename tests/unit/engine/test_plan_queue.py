"""The plan queue: each operation, its refusals and their texts."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from remanager.engine.plan_queue import PlanQueue
from remanager.engine.queue_item import BatchRejected, PreparedItem, QueueEntry, prepare_item
from remanager.model.errors import Conflict, InvalidItem, InvalidParams, NotFound


def item(name: str, **extra: Any) -> PreparedItem:
    return prepare_item({"item_type": "plan", "name": name, "item_uid": name * 2, **extra})


def queue_of(names: str) -> PlanQueue:
    queue = PlanQueue()
    queue.add_batch([item(name) for name in names])
    return queue


def names(queue: PlanQueue) -> str:
    return "".join(entry.item["name"] for entry in queue.entries())


def doubled(params: dict[str, Any]) -> dict[str, Any]:
    return {key: value * 2 if key.endswith("uid") else value for key, value in params.items()}


# ------------------------------------------------------------------------------------------ items


def test_prepared_item_keeps_known_keys_and_equals_its_text() -> None:
    prepared = prepare_item(
        {
            "item_uid": "a",
            "name": "count",
            "kwargs": {"1": [2.5, float("inf")]},
            "result": {"x": 1},
            "junk": 0,
        }
    )
    assert prepared.uid == "a"
    assert prepared.item == {"item_uid": "a", "name": "count", "kwargs": {"1": [2.5, float("inf")]}}
    assert json.loads(prepared.text) == prepared.item


def test_prepared_item_unfiltered_keeps_result() -> None:
    prepared = prepare_item({"item_uid": "a", "result": {"msg": ""}}, filter_parameters=False)
    assert prepared.item["result"] == {"msg": ""}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("abc", "Parameter 'item' should be a dictionary: 'abc', (type '<class 'str'>')"),
        ({"name": "a"}, "Item does not have UID."),
        ({"item_uid": 5}, "Item UID must be a string: item_uid=5"),
        ({"item_uid": "a", "args": [b"x"]}, "Object of type bytes is not JSON serializable"),
    ],
)
def test_prepare_item_refuses(value: object, text: str) -> None:
    with pytest.raises(InvalidItem, match=re.escape(text)):
        prepare_item(value)


def test_endlessly_nested_item_is_refused() -> None:
    nested: list[Any] = []
    nested.append(nested)
    with pytest.raises(InvalidItem, match="cannot be written as JSON"):
        prepare_item({"item_uid": "a", "args": nested})


@pytest.mark.parametrize(
    "entries",
    [
        [QueueEntry("a", 1, {}, "{}"), QueueEntry("a", 2, {}, "{}")],
        [QueueEntry("a", 1, {}, "{}"), QueueEntry("b", 1, {}, "{}")],
    ],
)
def test_inconsistent_store_is_refused(entries: list[QueueEntry]) -> None:
    with pytest.raises(ValueError, match="twice"):
        PlanQueue(entries)


def test_entries_are_sorted_by_rank() -> None:
    queue = PlanQueue([QueueEntry("b", 7, {}, "{}"), QueueEntry("a", -3, {}, "{}")])
    assert [entry.uid for entry in queue.entries()] == ["a", "b"]


# ------------------------------------------------------------------------------------------ add


def test_add_positions() -> None:
    queue = PlanQueue()
    for name, pos in [
        ("a", None), ("b", None), ("c", "back"), ("d", "front"), ("e", 0), ("f", 5), ("g", 5), ("h", -1),
        ("i", 3), ("j", 100), ("k", -11), ("l", -11), ("m", -100), ("n", -2),
    ]:  # fmt: skip
        delta = queue.add(item(name), pos=pos)
        assert delta.changed
        assert delta.entry.item["name"] == name
        assert delta.inserted == (delta.entry,)
    assert names(queue) == "mkledaibcgfhnj"
    assert len(queue) == 14


def test_add_next_to_an_item() -> None:
    queue = queue_of("abc")
    queue.add(item("d"), before_uid="bb")
    queue.add(item("e"), after_uid="bb")
    queue.add(item("f"), after_uid="cc")
    queue.add(item("g"), before_uid="aa")
    assert names(queue) == "gadbecf"


def test_add_next_to_the_running_item() -> None:
    queue = queue_of("abc")
    queue.running_uid = queue.pop_front().entry.uid
    queue.add(item("f"), after_uid="aa")
    assert names(queue) == "fbc"
    with pytest.raises(
        Conflict, match="Can not insert a plan in the queue before a currently running plan\\."
    ):
        queue.add(item("g"), before_uid="aa")
    assert names(queue) == "fbc"


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"pos": "something"}, InvalidParams, "Parameter 'pos' has incorrect value: pos='something'"),
        ({"pos": 1.5}, InvalidParams, "Parameter 'pos' has incorrect value"),
        ({"pos": True}, InvalidParams, "Parameter 'pos' has incorrect value"),
        ({"pos": ["front"]}, InvalidParams, "Parameter 'pos' has incorrect value"),
        ({"pos": 5, "before_uid": "aa"}, InvalidParams, "Ambiguous parameters"),
        ({"pos": 5, "after_uid": "aa"}, InvalidParams, "Ambiguous parameters"),
        ({"before_uid": "aa", "after_uid": "aa"}, InvalidParams, "Ambiguous parameters"),
        ({"before_uid": "xx"}, NotFound, "Plan with UID 'xx' is not in the queue."),
        ({"after_uid": ["aa"]}, NotFound, "is not in the queue."),
        ({"after_uid": ""}, NotFound, "is not in the queue."),
    ],
)
def test_add_refuses(params: dict[str, Any], error: type[Exception], text: str) -> None:
    queue = queue_of("abc")
    with pytest.raises(error, match=re.escape(text)):
        queue.add(item("d"), **params)
    assert names(queue) == "abc"


def test_uid_is_unique_over_queue_and_running_item() -> None:
    queue = queue_of("ab")
    queue.running_uid = queue.pop_front().entry.uid
    for name in "ab":
        with pytest.raises(Conflict, match=f"Item with UID {name * 2} is already in the queue"):
            queue.add(item(name))
    queue.running_uid = None
    queue.add(item("a"))
    assert names(queue) == "ba"


# ------------------------------------------------------------------------------------------ add_batch


@pytest.mark.parametrize(
    ("params", "before", "batch", "after"),
    [
        ({}, "", "", ""),
        ({"pos": 5, "after_uid": "x"}, "12", "", "12"),
        ({}, "", "567", "567"),
        ({"pos": "front"}, "", "567", "567"),
        ({}, "1234", "567", "1234567"),
        ({"pos": "front"}, "1234", "567", "5671234"),
        ({"pos": "back"}, "1234", "567", "1234567"),
        ({"pos": 0}, "1234", "567", "5671234"),
        ({"pos": 1}, "1234", "567", "1567234"),
        ({"pos": 2}, "1234", "567", "1256734"),
        ({"pos": 4}, "1234", "567", "1234567"),
        ({"pos": 100}, "1234", "567", "1234567"),
        ({"pos": -1}, "1234", "567", "1234567"),
        ({"pos": -2}, "1234", "567", "1235674"),
        ({"pos": -4}, "1234", "567", "1567234"),
        ({"pos": -5}, "1234", "567", "5671234"),
        ({"pos": -100}, "1234", "567", "5671234"),
        ({"before_uid": "1"}, "1234", "567", "5671234"),
        ({"before_uid": "3"}, "1234", "567", "1256734"),
        ({"after_uid": "1"}, "1234", "567", "1567234"),
        ({"after_uid": "4"}, "1234", "567", "1234567"),
    ],
)
def test_add_batch(params: dict[str, Any], before: str, batch: str, after: str) -> None:
    queue = queue_of(before)
    delta = queue.add_batch([item(name) for name in batch], **doubled(params))
    assert names(queue) == after
    assert "".join(entry.item["name"] for entry in delta.inserted) == batch
    assert delta.changed is bool(batch)


@pytest.mark.parametrize(
    ("params", "batch", "texts"),
    [
        ({}, "eaf", ["", "Item with UID aa is already in the queue", ""]),
        (
            {},
            "ead",
            ["", "Item with UID aa is already in the queue", "Item with UID dd is already in the queue"],
        ),
        ({}, "efe", ["", "", "Item with UID ee is already in the queue"]),
        ({"before_uid": "x"}, "efg", ["Plan with UID 'xx' is not in the queue."] * 3),
        (
            {"after_uid": "x"},
            "efa",
            ["Plan with UID 'xx' is"] * 2 + ["Item with UID aa is already in the queue"],
        ),
        ({"before_uid": "x", "after_uid": "x"}, "efa", ["Ambiguous parameters"] * 3),
        ({"pos": "front", "after_uid": "x"}, "efg", ["Ambiguous parameters"] * 3),
        ({"pos": "x"}, "efg", ["Parameter 'pos' has incorrect value"] * 3),
    ],
)
def test_add_batch_refuses_all(params: dict[str, Any], batch: str, texts: list[str]) -> None:
    queue = queue_of("abcd")
    with pytest.raises(BatchRejected) as caught:
        queue.add_batch([item(name) for name in batch], **doubled(params))
    failed = sum(1 for text in texts if text)
    assert (
        str(caught.value)
        == f"Failed to add all items: validation of {failed} out of 3 submitted items failed"
    )
    for result, text in zip(caught.value.results, texts, strict=True):
        assert result["success"] is (not text)
        assert result["msg"].startswith(f"Failed to add item to queue: {text}") if text else not result["msg"]
    assert names(queue) == "abcd"


# ------------------------------------------------------------------------------------------ get, remove


@pytest.mark.parametrize(
    ("pos", "name"),
    [
        (None, "c"),
        ("front", "a"),
        ("back", "c"),
        (0, "a"),
        (1, "b"),
        (2, "c"),
        (-1, "c"),
        (-2, "b"),
        (-3, "a"),
    ],
)
def test_get_and_remove_by_position(pos: object, name: str) -> None:
    queue = queue_of("abc")
    assert queue.get(pos=pos).item["name"] == name
    delta = queue.remove(pos=pos)
    assert delta.entry.item["name"] == name
    assert delta.removed == (name * 2,)
    assert names(queue) == "abc".replace(name, "")
    queue.add(item(name))


@pytest.mark.parametrize("pos", [3, 100, -4, -100])
def test_get_and_remove_refuse_positions_out_of_range(pos: int) -> None:
    queue = queue_of("abc")
    text = re.escape(f"Index '{pos}' is out of range (parameter pos = '{pos}')")
    with pytest.raises(NotFound, match=text):
        queue.get(pos=pos)
    with pytest.raises(NotFound, match=text):
        queue.remove(pos=pos)
    assert names(queue) == "abc"


@pytest.mark.parametrize("pos", ["some", 1.5, False, {}])
def test_get_and_remove_refuse_what_is_no_position(pos: object) -> None:
    queue = queue_of("abc")
    with pytest.raises(InvalidParams, match="Parameter 'pos' has incorrect type"):
        queue.get(pos=pos)
    with pytest.raises(InvalidParams, match="Parameter 'pos' has incorrect value"):
        queue.remove(pos=pos)


@pytest.mark.parametrize("pos", [None, "front", "back", 0, -1])
def test_empty_queue(pos: object) -> None:
    queue = PlanQueue()
    with pytest.raises(NotFound, match="out of range"):
        queue.get(pos=pos)
    with pytest.raises(NotFound, match="Queue is empty"):
        queue.remove(pos=pos)
    with pytest.raises(NotFound, match="Queue is empty"):
        queue.pop_front()


def test_get_and_remove_by_uid() -> None:
    queue = queue_of("abc")
    queue.running_uid = queue.pop_front().entry.uid
    assert queue.get(uid="bb").item["name"] == "b"
    with pytest.raises(Conflict, match="The item with UID 'aa' is currently running\\."):
        queue.get(uid="aa")
    with pytest.raises(Conflict, match="Can not remove an item which is currently running\\."):
        queue.remove(uid="aa")
    for uid in ("xx", "", ["bb"], 3):
        with pytest.raises(NotFound, match=re.escape(f"Item with UID '{uid}' is not in the queue.")):
            queue.get(uid=uid)
        with pytest.raises(NotFound, match=re.escape(f"Plan with UID '{uid}' is not in the queue.")):
            queue.remove(uid=uid)
    for method in (queue.get, queue.remove):
        with pytest.raises(InvalidParams, match="Ambiguous parameters: plan position and UID is specified"):
            method(pos=5, uid="bb")
    assert queue.remove(uid="bb").removed == ("bb",)
    assert names(queue) == "c"
    assert "bb" not in queue
    assert "cc" in queue


@pytest.mark.parametrize(
    ("ignore_missing", "selection", "removed", "after"),
    [
        (True, "", "", "0123456"),
        (True, "32", "32", "01456"),
        (True, "06", "06", "12345"),
        (True, "2893", "23", "01456"),
        (True, "2443", "243", "0156"),
        (True, "0123456", "0123456", ""),
        (False, "", "", "0123456"),
        (False, "63", "63", "01245"),
    ],
)
def test_remove_batch(ignore_missing: bool, selection: str, removed: str, after: str) -> None:
    queue = queue_of("0123456")
    delta = queue.remove_batch([name * 2 for name in selection], ignore_missing=ignore_missing)
    assert "".join(entry.item["name"] for entry in delta.entries) == removed
    assert delta.removed == tuple(name * 2 for name in removed)
    assert delta.changed is bool(removed)
    assert names(queue) == after


@pytest.mark.parametrize(
    ("uids", "error", "text"),
    [
        (None, InvalidParams, "Request does not contain the list of UIDs"),
        ("00", InvalidParams, "Parameter 'uids' must be a list: type(uids) = <class 'str'>"),
        ([["00"]], InvalidParams, "must be a list of strings"),
        (["22", "44", "44", "33"], InvalidParams, "The list of contains repeated UIDs (1 UIDs)"),
        (["22", "88", "88"], InvalidParams, "The list of contains repeated UIDs (1 UIDs)"),
        (
            ["22", "77", "88"],
            NotFound,
            "The queue does not contain items with the following UIDs: ['77', '88']",
        ),
        (["22", "rr"], Conflict, "Can not remove an item which is currently running."),
    ],
)
def test_remove_batch_refuses(uids: object, error: type[Exception], text: str) -> None:
    queue = queue_of("0123456")
    queue.running_uid = "rr"
    with pytest.raises(error, match=re.escape(text)):
        queue.remove_batch(uids, ignore_missing=False)
    assert names(queue) == "0123456"


def test_remove_batch_skips_the_running_item() -> None:
    queue = queue_of("01")
    queue.running_uid = "rr"
    assert queue.remove_batch(["rr", "00"]).removed == ("00",)


def test_clear() -> None:
    queue = queue_of("abc")
    queue.running_uid = queue.pop_front().entry.uid
    delta = queue.clear()
    assert (delta.cleared, delta.changed) == (True, True)
    assert len(queue) == 0
    assert queue.running_uid == "aa"
    assert not queue.clear().changed
    queue.add(item("b"))


# ------------------------------------------------------------------------------------------ replace


@pytest.mark.parametrize("new_uid", ["bb", "new"])
def test_replace(new_uid: str) -> None:
    queue = queue_of("abc")
    rank = queue.get(uid="bb").rank
    delta = queue.replace(prepare_item({"item_uid": new_uid, "name": "x", "result": {}}), item_uid="bb")
    assert names(queue) == "axc"
    assert delta.entry.item == {"item_uid": new_uid, "name": "x"}
    assert delta.replaced == (("bb", delta.entry),)
    assert delta.entry.rank == rank
    assert queue.get(uid=new_uid) is delta.entry
    assert ("bb" in queue) is (new_uid == "bb")
    if new_uid != "bb":
        queue.add(item("b"))


def test_replace_by_the_same_changes_nothing() -> None:
    queue = queue_of("a")
    queue.add(prepare_item({"item_uid": "r", "name": "r", "result": {"msg": "m"}}, filter_parameters=False))
    for submitted in ({"item_uid": "r", "name": "r"}, {"name": "r", "result": {"msg": "m"}, "item_uid": "r"}):
        delta = queue.replace(prepare_item(submitted), item_uid="r")
        assert not delta.changed
        assert delta.entry.item["result"] == {"msg": "m"}


@pytest.mark.parametrize(
    ("new_uid", "old_uid", "error", "text"),
    [
        ("aa", "aa", Conflict, "Failed to replace item: Item with UID 'aa' is currently running"),
        ("zz", "xx", NotFound, "Failed to replace item: Item with UID 'xx' is not in the queue"),
        ("zz", None, NotFound, "Failed to replace item: Item with UID 'None' is not in the queue"),
        ("zz", ["bb"], NotFound, "is not in the queue"),
        ("bb", "cc", Conflict, "Item with UID bb is already in the queue"),
        ("aa", "cc", Conflict, "Item with UID aa is already in the queue"),
    ],
)
def test_replace_refuses(new_uid: str, old_uid: object, error: type[Exception], text: str) -> None:
    queue = queue_of("abc")
    queue.running_uid = queue.pop_front().entry.uid
    with pytest.raises(error) as caught:
        queue.replace(prepare_item({"item_uid": new_uid, "name": "h"}), item_uid=old_uid)
    assert text in str(caught.value)
    assert names(queue) == "bc"


# ------------------------------------------------------------------------------------------ move


@pytest.mark.parametrize(
    ("params", "source", "after"),
    [
        ({"pos": 1, "pos_dest": 1}, "b", "abcde"),
        ({"pos": "front", "pos_dest": "front"}, "a", "abcde"),
        ({"pos": "back", "pos_dest": "back"}, "e", "abcde"),
        ({"pos": "front", "pos_dest": "back"}, "a", "bcdea"),
        ({"pos": "back", "pos_dest": "front"}, "e", "eabcd"),
        ({"pos": 1, "pos_dest": 2}, "b", "acbde"),
        ({"pos": 2, "pos_dest": 1}, "c", "acbde"),
        ({"pos": 0, "pos_dest": 4}, "a", "bcdea"),
        ({"pos": 4, "pos_dest": 0}, "e", "eabcd"),
        ({"pos": 3, "pos_dest": "front"}, "d", "dabce"),
        ({"pos": 2, "pos_dest": "back"}, "c", "abdec"),
        ({"pos": -1, "pos_dest": 1}, "e", "aebcd"),
        ({"pos": -2, "pos_dest": -5}, "d", "dabce"),
        ({"pos": -2, "pos_dest": -3}, "d", "abdce"),
        ({"pos": -4, "pos_dest": -2}, "b", "acdbe"),
        ({"pos": -2, "pos_dest": -2}, "d", "abcde"),
        ({"uid": "c", "after_uid": "c"}, "c", "abcde"),
        ({"uid": "a", "before_uid": "b"}, "a", "abcde"),
        ({"uid": "b", "after_uid": "a"}, "b", "abcde"),
        ({"uid": "a", "after_uid": "b"}, "a", "bacde"),
        ({"uid": "b", "pos_dest": "front"}, "b", "bacde"),
        ({"uid": "b", "pos_dest": "back"}, "b", "acdeb"),
        ({"pos": 1, "after_uid": "d"}, "b", "acdbe"),
        ({"pos": "front", "after_uid": "d"}, "a", "bcdae"),
        ({"pos": 3, "after_uid": "a"}, "d", "adbce"),
        ({"pos": "back", "after_uid": "a"}, "e", "aebcd"),
        ({"pos": 1, "before_uid": "d"}, "b", "acbde"),
        ({"pos": "front", "before_uid": "d"}, "a", "bcade"),
        ({"pos": "back", "before_uid": "a"}, "e", "eabcd"),
        ({"pos": "back", "after_uid": "e"}, "e", "abcde"),
    ],
)
def test_move(params: dict[str, Any], source: str, after: str) -> None:
    queue = queue_of("abcde")
    delta = queue.move(**doubled(params))
    assert delta.entry.item["name"] == source
    assert names(queue) == after
    assert delta.changed is (after != "abcde")
    assert len(delta.moved) == (1 if delta.changed else 0)


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"pos": 50, "before_uid": "a"}, NotFound, "Source plan (position 50) was not found"),
        ({"uid": "x", "before_uid": "a"}, NotFound, "Source plan (UID 'xx') was not found"),
        (
            {"uid": "r", "before_uid": "a"},
            Conflict,
            "Source plan (UID 'rr') was not found: The item with UID 'rr'",
        ),
        ({"pos": "x", "before_uid": "a"}, InvalidParams, "Source plan (position x) was not found"),
        ({"pos": 3, "pos_dest": 50}, NotFound, "Destination plan (position 50) was not found"),
        ({"pos": 3, "pos_dest": -6}, NotFound, "Destination plan (position -6) was not found"),
        ({"uid": "a", "before_uid": "x"}, NotFound, "Destination plan (UID 'xx') was not found"),
        ({"uid": "a", "after_uid": "r"}, Conflict, "Destination plan (UID 'rr') was not found"),
        ({"before_uid": "a"}, InvalidParams, "Source position or UID is not specified."),
        ({"pos": 3}, InvalidParams, "Destination position or UID is not specified."),
        ({"pos": 1, "uid": "a", "before_uid": "d"}, InvalidParams, "Ambiguous parameters"),
        ({"pos": 1, "pos_dest": 4, "before_uid": "d"}, InvalidParams, "Ambiguous parameters"),
        ({"pos": 1, "after_uid": "d", "before_uid": "d"}, InvalidParams, "Ambiguous parameters"),
    ],
)
def test_move_refuses(params: dict[str, Any], error: type[Exception], text: str) -> None:
    queue = queue_of("abcde")
    queue.running_uid = "rr"
    with pytest.raises(error, match=re.escape(text)):
        queue.move(**doubled(params))
    assert names(queue) == "abcde"


def test_refusals_of_a_move_are_single_sentences() -> None:
    with pytest.raises(NotFound) as caught:
        queue_of("a").move(uid="x", pos_dest=0)
    assert str(caught.value) == "Source plan (UID 'x') was not found: Item with UID 'x' is not in the queue."


# ------------------------------------------------------------------------------------------ move_batch


@pytest.mark.parametrize(
    ("params", "selection", "moved", "after"),
    [
        ({"pos_dest": "front"}, "23", "23", "2301456"),
        ({"before_uid": "0"}, "23", "23", "2301456"),
        ({"pos_dest": "back"}, "23", "23", "0145623"),
        ({"after_uid": "6"}, "23", "23", "0145623"),
        ({"before_uid": "5"}, "23", "23", "0142356"),
        ({"after_uid": "5"}, "23", "23", "0145236"),
        ({"pos_dest": 0}, "23", "23", "2301456"),
        ({"pos_dest": -7}, "23", "23", "2301456"),
        ({"pos_dest": 1}, "23", "23", "0231456"),
        ({"pos_dest": -6}, "23", "23", "0231456"),
        ({"pos_dest": 5}, "23", "23", "0145236"),
        ({"pos_dest": -2}, "23", "23", "0145236"),
        ({"pos_dest": 6}, "23", "23", "0145623"),
        ({"pos_dest": -1}, "23", "23", "0145623"),
        ({"pos_dest": 3}, "23", "23", "0123456"),
        ({"after_uid": "5"}, "023", "023", "1450236"),
        ({"after_uid": "5"}, "203", "203", "1452036"),
        ({"after_uid": "5", "reorder": False}, "302", "302", "1453026"),
        ({"after_uid": "5", "reorder": True}, "302", "023", "1450236"),
        ({"pos_dest": "front"}, "", "", "0123456"),
        ({"after_uid": "9"}, "", "", "0123456"),
        ({"pos_dest": "front"}, "01", "01", "0123456"),
        ({"pos_dest": "back"}, "56", "56", "0123456"),
        ({"pos_dest": "front"}, "10", "10", "1023456"),
        ({"pos_dest": "back"}, "65", "65", "0123465"),
        ({"pos_dest": "front", "reorder": True}, "10", "01", "0123456"),
        ({"pos_dest": "back"}, "0123456", "0123456", "0123456"),
    ],
)
def test_move_batch(params: dict[str, Any], selection: str, moved: str, after: str) -> None:
    queue = queue_of("0123456")
    delta = queue.move_batch([name * 2 for name in selection], **doubled(params))
    assert "".join(entry.item["name"] for entry in delta.entries) == moved
    assert names(queue) == after
    assert delta.changed is (after != "0123456")


@pytest.mark.parametrize(
    ("params", "selection", "error", "text"),
    [
        ({}, "23", InvalidParams, "Destination for the batch is not specified"),
        ({"pos_dest": "front", "before_uid": "5"}, "23", InvalidParams, "more than one mutually exclusive"),
        (
            {"after_uid": "3"},
            "023",
            InvalidParams,
            "Parameter 'after_uid': item with UID '33' is in the batch",
        ),
        ({"before_uid": "3"}, "023", InvalidParams, "Parameter 'before_uid': item with UID '33' is in the"),
        ({"after_uid": "5"}, "0789", NotFound, "following UIDs: ['77', '88', '99']"),
        ({"after_uid": "5"}, "0223", InvalidParams, "The list of contains repeated UIDs (1 UIDs)"),
        ({"after_uid": "8"}, "02", NotFound, "Destination plan (UID '88') was not found"),
        ({"pos_dest": 7}, "02", NotFound, "Destination plan (position 7) was not found"),
        ({"after_uid": "5"}, "2r", Conflict, "Source plan (UID 'rr') was not found"),
        ({"after_uid": "r"}, "2", Conflict, "Destination plan (UID 'rr') was not found"),
    ],
)
def test_move_batch_refuses(
    params: dict[str, Any], selection: str, error: type[Exception], text: str
) -> None:
    queue = queue_of("0123456")
    queue.running_uid = "rr"
    with pytest.raises(error, match=re.escape(text)):
        queue.move_batch([name * 2 for name in selection], **doubled(params))
    assert names(queue) == "0123456"


# ------------------------------------------------------------------------------------------ texts, ranks


def test_texts_and_items_are_cached_until_a_change() -> None:
    queue = queue_of("abc")
    texts, items = queue.texts(), queue.items()
    queue.move(pos=0, pos_dest=0)
    queue.remove_batch(["unknown"])
    assert queue.texts() is texts
    assert queue.items() is items
    queue.move(pos=0, pos_dest=2)
    assert [json.loads(text)["name"] for text in queue.texts()] == ["b", "c", "a"]
    assert [value["name"] for value in queue.items()] == ["b", "c", "a"]


def test_insertion_at_one_place_rewrites_ranks_rarely_and_few() -> None:
    queue = PlanQueue()
    queue.add_batch([prepare_item({"item_uid": f"u{i}", "name": "a"}) for i in range(1000)])
    written = 0
    for i in range(1000):
        delta = queue.add(prepare_item({"item_uid": f"v{i}", "name": "b"}), after_uid="u500")
        written += len(delta.moved)
        assert len(delta.moved) < 500
    assert written < 20_000
    ranks = [entry.rank for entry in queue.entries()]
    assert ranks == sorted(set(ranks))
    assert queue.get(pos=501).uid == "v999"
