"""Items of the queue."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager_api import BFunc, BInst, BItem, BPlan

scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=3), scalars, max_size=3)
arguments = st.lists(values, max_size=3)
keywords = st.dictionaries(st.text(min_size=1, max_size=3), values, max_size=3)


def test_constructor() -> None:
    item = BPlan("count", ["det1"], num=5)
    assert item.to_dict() == {"item_type": "plan", "name": "count", "args": [["det1"]], "kwargs": {"num": 5}}
    assert BItem("plan", "count", ["det1"], num=5) == item
    assert BInst("queue_stop").to_dict() == {"item_type": "instruction", "name": "queue_stop"}
    assert BFunc("f").item_type == "function"
    assert str(item) == repr(item) == str(item.to_dict())


@given(arguments, keywords, keywords)
def test_copies_are_equal_and_independent(args: list[Any], kwargs: dict[str, Any], meta: Any) -> None:
    item = BItem({"item_type": "plan", "name": "p", "args": args, "kwargs": kwargs, "meta": meta, "extra": 1})
    copied = BPlan(item)
    assert copied.to_dict() == item.to_dict()
    copied.args.append("more")
    copied.kwargs["more"] = 1
    assert item.args == args
    assert item.kwargs == kwargs
    assert BItem(item.to_dict()) == item


def test_empty_parts_are_not_sent() -> None:
    item = BItem({"item_type": "plan", "name": "p", "args": (), "kwargs": {}})
    assert item.to_dict() == {"item_type": "plan", "name": "p"}
    assert (item.args, item.kwargs, item.meta, item.item_uid) == ([], {}, {}, None)


def test_metadata_may_be_a_list() -> None:
    item = BPlan("count")
    item.meta = [{"a": 1}, {"b": 2}]
    assert item.to_dict()["meta"] == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (BItem, KeyError, "'item_type' and 'item_name' are missing"),
        (BPlan, KeyError, "'item_name' is missing"),
        (lambda: BItem("plam", "count"), ValueError, "Unsupported item type: 'plam'"),
        (lambda: BPlan(5), TypeError, "Item name 5 is not a string"),
        (lambda: BPlan(""), ValueError, "Item name is an empty string"),
        (lambda: BPlan({"item_type": "function", "name": "f"}), ValueError, "can not be initialized"),
        (lambda: BPlan({"name": "f"}), KeyError, "'item_type' key is not found"),
        (lambda: BItem({"item_type": "plan", "name": "p", "args": "abc"}), TypeError, "must be iterable"),
        (lambda: BItem({"item_type": "plan", "name": "p", "kwargs": []}), TypeError, "must be a mapping"),
        (lambda: BItem({"item_type": "plan", "name": "p", "meta": [1]}), TypeError, "not a mapping"),
        (lambda: BItem({"item_type": "plan", "name": "p", "item_uid": ""}), ValueError, "UID is an empty"),
    ],
)
def test_wrong_items(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


def test_failed_change_leaves_the_item() -> None:
    item = BPlan("count", num=5)
    with pytest.raises(TypeError):
        item.from_dict({"item_type": "plan", "name": "scan", "kwargs": 5})
    assert item == BPlan("count", num=5)
