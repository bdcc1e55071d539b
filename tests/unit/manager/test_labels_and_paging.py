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
