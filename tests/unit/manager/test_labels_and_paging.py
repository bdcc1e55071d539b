"""What people write on items, and reading the queue in pages."""

from __future__ import annotations

import pytest
from manager_rig import Rig, plan, user


async def test_label_and_tags_stay_with_the_item(rig: Rig) -> None:
    marks = {"label": "first light", "tags": {"sample": "A1", "proposal": "42"}}
    uid = await rig.add("count", item=plan(**marks, other="dropped"))
    (item,) = (await rig.ok("queue_get"))["items"]
    assert item["label"] == marks["label"]
    assert item["tags"] == marks["tags"]
    assert "other" not in item
    worker = await rig.open_environment()
    await rig.ok("queue_start")
    await rig.settle()
    assert (await rig.ok("queue_get"))["running_item"]["tags"] == marks["tags"]
    await worker.finish(uid, "failed")
    await rig.settle()
    assert (await rig.history())[0]["label"] == marks["label"]
    (returned,) = (await rig.ok("queue_get"))["items"]
    assert returned["tags"] == marks["tags"]


@pytest.mark.parametrize(
    "marks",
    [
        {"label": 1},
        {"label": "x" * 1001},
        {"tags": ["a"]},
        {"tags": {"a": 1}},
        {"tags": {"a": "x" * 1001}},
        {"tags": {str(n): "" for n in range(101)}},
    ],
)
async def test_bad_labels_and_tags_are_refused(rig: Rig, marks: dict[str, object]) -> None:
    reply = await rig.call("queue_item_add", item=plan(**marks), **user())
    assert reply["code"] == "invalid_item"
    assert str(next(iter(marks))) in reply["msg"]
    assert await rig.queue() == []


async def test_queue_is_read_in_pages(rig: Rig) -> None:
    uids = [await rig.add() for _ in range(5)]
    first = await rig.ok("queue_get", limit=2)
    assert [i["item_uid"] for i in first["items"]] == uids[:2]
    assert first["total"] == 5
    await rig.ok("queue_item_remove", uid=uids[1])  # the cursor stays valid
    second = await rig.ok("queue_get", limit=2, cursor=first["next_cursor"])
    assert [i["item_uid"] for i in second["items"]] == uids[2:4]
    assert second["plan_queue_uid"] != first["plan_queue_uid"]
    last = await rig.ok("queue_get", cursor=second["next_cursor"])
    assert [i["item_uid"] for i in last["items"]] == uids[4:]
    assert last["next_cursor"] is None
    exact = await rig.ok("queue_get", limit=4)
    assert len(exact["items"]) == 4
    assert exact["next_cursor"] is None


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": "1"}, {"limit": 10_001}, {"cursor": 1.5}])
async def test_bad_pages_are_refused(rig: Rig, params: dict[str, object]) -> None:
    reply = await rig.call("queue_get", **params)
    assert reply["code"] == "invalid_params"
    assert reply["items"] == []
