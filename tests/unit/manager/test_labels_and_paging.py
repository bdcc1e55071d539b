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


async def test_entries_of_the_history_are_selected(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.ok("queue_mode_set", mode={"ignore_failures": True})
    uids = [await rig.add(name) for name in ("count", "scan", "count", "count")]
    await rig.ok("queue_start")
    for status in ("completed", "failed", "failed", "completed"):
        await rig.settle()
        await worker.finish(exit_status=status)
    await rig.settle()

    async def selected(limit: int = 100, cursor: int | None = None, /, **selector: object) -> list[str]:
        reply = await rig.ok("history_get", selector=selector, limit=limit, cursor=cursor)
        return [item["item_uid"] for item in reply["items"]]

    assert await selected(name="count") == [uids[0], *uids[2:]]
    assert await selected(name="count", state="failed") == [uids[2]]
    assert await selected(state="pending") == await selected(user="Ann") == []
    assert await selected(user="Jo", location="history") == await selected() == uids
    page = await rig.ok("history_get", selector={"name": "count"}, limit=2)
    assert ([i["item_uid"] for i in page["items"]], page["total"]) == (uids[2:], 3)
    assert await selected(2, page["next_cursor"], name="count") == [uids[0]]
    await rig.ok("history_clear")
    assert await selected() == []
    assert "selector" in await rig.refused("history_get", selector={"plan": "count"})
