"""Status board, ledger, background work, lock, catalogue, queue and history."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from manager_rig import DEVICES, PERMISSIONS, PLANS, TIMEOUT_S, Rig, hop, plan, plan_description, user

from remanager.manager import catalogue
from remanager.manager.background import Background
from remanager.manager.status import StatusBoard
from remanager.model.link import PlanFinished, SetPermissions
from remanager.store import Store
from remanager.store.errors import StaleWrite, StoreFailed
from remanager.store.writes import task_start

# ------------------------------------------------------------------------------------------ status


def make_board(*, wanted: bool = True) -> tuple[StatusBoard, dict[str, Any], list[Any]]:
    """Return a board, what it shows, and what it published."""
    values: dict[str, Any] = {"n": 0}
    published: list[Any] = []
    board = StatusBoard(lambda: {"msg": "hello", **values}, published.append, lambda: wanted)
    return board, values, published


async def test_changes_in_one_turn_of_the_loop_make_one_status() -> None:
    board, values, published = make_board()
    for n in range(5):
        values["n"] = n
        board.touch()
    assert published == []
    await hop()
    assert len(published) == 1
    assert board.status["n"] == 4
    assert board.status["seq"] == 1


async def test_status_is_published_before_a_request_sees_it() -> None:
    board, values, published = make_board()
    values["n"] = 7
    board.touch()
    reply = board.reply()
    assert published == [reply]
    await hop()
    assert published == [reply]
    assert board.reply() is reply


async def test_sequence_grows_and_uid_changes_with_each_status() -> None:
    board, _, published = make_board()
    seen = []
    for _ in range(3):
        board.touch()
        seen.append((board.status["seq"], board.status["status_uid"]))
    assert [seq for seq, _ in seen] == [1, 2, 3]
    assert len({uid for _, uid in seen}) == 3
    assert len(published) == 3
    await hop()


async def test_status_without_listeners_is_made_on_demand() -> None:
    board, _, published = make_board(wanted=False)
    board.touch()
    await hop()
    assert published == []
    assert board.status["seq"] == 1


async def test_who_waits_for_a_status_needs_no_listener() -> None:
    board, values, _ = make_board(wanted=False)
    known = board.status["status_uid"]
    waiting = [asyncio.ensure_future(board.changed(known, 30.0)) for _ in range(3)]
    await hop()
    values["n"] = 8
    board.touch()
    assert {id(await w) for w in waiting} == {id(board.reply())}
    assert board.status["n"] == 8
    assert await board.changed(known, 30.0) is board.reply()
    assert await board.changed(None, 30.0) is board.reply()
    assert await board.changed(board.status["status_uid"], 0.0) is board.reply()


async def test_status_has_all_keys_of_the_protocol(rig: Rig) -> None:
    keys = set(rig.status)
    assert keys >= {
        *("msg", "items_in_queue", "items_in_history", "running_item_uid", "manager_state"),
        *("queue_stop_pending", "queue_autostart_enabled", "worker_environment_exists"),
        *("worker_environment_state", "worker_background_tasks", "re_state", "ip_kernel_state"),
        *("ip_kernel_captured", "pause_pending", "run_list_uid", "plan_queue_uid", "plan_history_uid"),
        *("devices_existing_uid", "plans_existing_uid", "devices_allowed_uid", "plans_allowed_uid"),
        *("plan_queue_mode", "task_results_uid", "lock_info_uid", "lock", "time", "status_uid"),
        *("ready", "not_ready_reason", "seq", "progress"),
    }
    assert "success" not in keys


# ------------------------------------------------------------------------------------------ ledger


async def test_transaction_that_fails_ends_the_process(rig: Rig) -> None:
    batch = rig.manager.ledger.batch()
    batch.write(task_start("nobody", time=1.0, worker_uid=None))
    called: list[int] = []
    batch.after(lambda: called.append(1))
    with pytest.raises(StaleWrite):
        await rig.manager.ledger.commit(batch)
    assert called == []
    assert [type(f) for f in rig.faults] == [StaleWrite]
    rig.faults.clear()


async def test_effect_that_fails_ends_the_process(rig: Rig) -> None:
    batch = rig.manager.ledger.batch()
    batch.after(lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    await rig.manager.ledger.commit(batch)
    assert [type(f) for f in rig.faults] == [ZeroDivisionError]
    rig.faults.clear()


async def test_store_that_takes_no_more_ends_the_process(rig: Rig) -> None:
    await asyncio.to_thread(rig.gate.close)
    reply = await rig.call("queue_mode_set", mode={"loop": True})
    assert reply["code"] == "storage"
    assert [type(f) for f in rig.faults] == [StoreFailed]
    rig.faults.clear()


async def test_effects_are_called_though_nobody_waits(rig: Rig) -> None:
    called: list[int] = []
    batch = rig.manager.ledger.batch()
    batch.event("request")
    batch.after(lambda: called.append(1))
    waiting = rig.manager.ledger.commit(batch)
    waiting.cancel()
    await rig.manager.ledger.flush()
    assert called == [1]


async def test_journal_numbers_grow(rig: Rig) -> None:
    for _ in range(5):
        await rig.add()
    seqs = [e.seq for e in rig.events()]
    assert seqs == sorted(set(seqs))


async def test_background_reports_faults_and_not_cancellations() -> None:
    faults: list[BaseException] = []
    background = Background(faults.append)

    async def fail() -> None:
        raise ValueError("no")

    async def wait() -> None:
        await asyncio.Event().wait()

    background.spawn(fail(), "fail")
    background.spawn(wait(), "wait")
    await hop()
    await hop()
    assert [str(f) for f in faults] == ["no"]
    await background.close()
    assert len(faults) == 1


# ------------------------------------------------------------------------------------------ lock


async def test_lock_keeps_others_out(rig: Rig) -> None:
    uid = rig.status["lock_info_uid"]
    reply = await rig.ok("lock", environment=True, lock_key="k", user="Jo", note="mine")
    assert reply["lock_info_uid"] == rig.status["lock_info_uid"] != uid
    assert rig.status["lock"] == {"environment": True, "queue": False}
    assert reply["lock_info"]["user"] == "Jo"
    assert reply["lock_info"]["time_str"]
    assert reply["lock_info"]["emergency_lock_key_is_set"] is True
    msg = await rig.refused("environment_open")
    assert "Invalid lock key" in msg
    assert "mine" in msg
    assert "k" not in msg.split("Note:")[0].replace("Invalid lock key", "").split("'")[1::2]
    assert "Invalid lock key" in await rig.refused("environment_open", lock_key="wrong")
    await rig.add()  # the queue is not locked
    await rig.ok("lock", queue=True, environment=True, lock_key="k", user="Jo")
    assert "Invalid lock key" in await rig.refused("queue_clear")
    await rig.ok("queue_clear", lock_key="k")
    assert "different key" in await rig.refused("lock", queue=True, lock_key="other", user="Jo")


async def test_lock_is_checked_before_anything_else(rig: Rig) -> None:
    await rig.ok("lock", queue=True, environment=True, lock_key="k", user="Jo")
    for method in ("queue_start", "environment_close", "re_resume", "queue_item_add", "function_execute"):
        reply = await rig.call(method)
        assert reply["code"] == "locked", method
    assert "must be a non-empty string or None" in await rig.refused("queue_start", lock_key=5)


async def test_unlock(rig: Rig) -> None:
    uid = (await rig.ok("unlock", lock_key="any"))["lock_info_uid"]  # it is open
    assert uid == rig.status["lock_info_uid"]
    await rig.ok("lock", queue=True, lock_key="k", user="Jo")
    assert "Invalid lock key" in await rig.refused("unlock", lock_key="wrong")
    assert "Invalid lock key" in await rig.refused("lock_info", lock_key="emergency")
    await rig.ok("lock_info", lock_key="k")
    await rig.ok("unlock", lock_key="emergency")
    assert rig.status["lock"] == {"environment": False, "queue": False}
    info = (await rig.ok("lock_info"))["lock_info"]
    assert (info["user"], info["note"], info["time"], info["time_str"]) == (None, None, None, "")


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"lock_key": "k", "user": "Jo"}, "environment and/or queue must be selected"),
        ({"lock_key": "k", "queue": True}, "User name is not specified"),
        ({"lock_key": "k", "queue": True, "user": ""}, "User name must be a non-empty string"),
        ({"user": "Jo", "queue": True}, "Lock key is not specified"),
        ({"user": "Jo", "queue": True, "lock_key": ""}, "Lock key must be a non-empty string"),
        ({"user": "Jo", "queue": True, "lock_key": "k", "note": 1}, "Note must be a string or None"),
    ],
)
async def test_lock_with_wrong_parameters(rig: Rig, params: dict[str, Any], text: str) -> None:
    reply = await rig.call("lock", **params)
    assert text in reply["msg"]
    assert (reply["lock_info"], reply["lock_info_uid"]) == ({}, None)
    assert rig.status["lock"] == {"environment": False, "queue": False}


# ------------------------------------------------------------------------------------------ catalogue

UIDS = ("plans_existing_uid", "devices_existing_uid", "plans_allowed_uid", "devices_allowed_uid")


def uids(rig: Rig) -> dict[str, str]:
    """Return the uids of the lists."""
    return {name: rig.status[name] for name in UIDS}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Return the names of the lists whose uids differ."""
    return {name.removesuffix("_uid") for name in UIDS if before[name] != after[name]}


async def test_uids_of_lists_change_exactly_when_the_lists_do(rig: Rig) -> None:
    worker = await rig.open_environment()
    before = uids(rig)
    await worker.lists_changed(PLANS, DEVICES)
    assert uids(rig) == before
    await worker.lists_changed({**PLANS, "new": plan_description("new")}, DEVICES)
    assert changed(before, uids(rig)) == {"plans_existing", "plans_allowed"}
    before = uids(rig)
    await worker.lists_changed({**PLANS, "new": plan_description("new")}, {})
    assert changed(before, uids(rig)) == {"devices_existing", "devices_allowed"}


async def test_replies_carry_the_uids_of_their_content(rig: Rig) -> None:
    worker = await rig.open_environment()
    await worker.lists_changed({"only": plan_description("only")}, DEVICES)
    existing = await rig.ok("plans_existing")
    assert list(existing["plans_existing"]) == ["only"]
    assert existing["plans_existing_uid"] == rig.status["plans_existing_uid"]
    allowed = await rig.ok("plans_allowed", user_group="primary")
    assert list(allowed["plans_allowed"]) == ["only"]
    assert allowed["plans_allowed_uid"] == rig.status["plans_allowed_uid"]
    assert list((await rig.ok("devices_allowed", user_group="root"))["devices_allowed"]) == ["det"]
    assert list((await rig.ok("devices_existing"))["devices_existing"]) == ["det"]
    assert "Unknown user group" in await rig.refused("plans_allowed", user_group="nobody")
    assert "user group is not specified" in await rig.refused("devices_allowed")


async def test_permissions_set(rig: Rig) -> None:
    worker = await rig.open_environment()
    before = uids(rig)
    await rig.ok("permissions_set", user_group_permissions=PERMISSIONS)
    assert uids(rig) == before
    only_scan = {
        "user_groups": {"root": {"allowed_plans": [None]}, "primary": {"allowed_plans": ["scan"]}},
    }
    await rig.ok("permissions_set", user_group_permissions=only_scan)
    assert changed(before, uids(rig)) == {"plans_allowed", "devices_allowed"}
    assert list((await rig.ok("plans_allowed", user_group="primary"))["plans_allowed"]) == ["scan"]

    assert worker.commands(SetPermissions)[-1].permissions == only_scan
    assert "not in the list of allowed plans" in await rig.refused("queue_item_add", item=plan(), **user())


@pytest.mark.parametrize(
    ("permissions", "text"),
    [
        ({}, "'user_groups' is a required property"),
        ({"user_groups": {"primary": {}}}, "Missing required user group: 'root'"),
        ("x", ""),
        (None, ""),
    ],
)
async def test_permissions_that_are_wrong_change_nothing(rig: Rig, permissions: Any, text: str) -> None:
    before = uids(rig)
    assert text in await rig.refused("permissions_set", user_group_permissions=permissions)
    assert uids(rig) == before
    assert (await rig.ok("permissions_get"))["user_group_permissions"] == PERMISSIONS


async def test_permissions_reload(rig: Rig) -> None:
    before = uids(rig)
    await rig.ok("permissions_reload")
    assert changed(before, uids(rig)) == {"plans_allowed", "devices_allowed"}
    before = uids(rig)
    await rig.ok("permissions_reload", restore_plans_devices=True)
    assert changed(before, uids(rig)) == {n.removesuffix("_uid") for n in UIDS}
    rig.options = rig.with_options(permissions_reload="NEVER")
    await rig.restart()
    before = uids(rig)
    assert "user_group_permissions_reload='NEVER'" in await rig.refused("permissions_reload")
    assert uids(rig) == before
    await rig.ok("permissions_reload", restore_permissions=False)
    assert changed(before, uids(rig)) == {"plans_allowed", "devices_allowed"}


async def test_permissions_file_that_cannot_be_read_leaves_them_as_they_are(rig: Rig) -> None:
    (rig.path / "permissions.yaml").write_text("user_groups: [")
    assert "permissions.yaml" in await rig.refused("permissions_reload")
    assert (await rig.ok("permissions_get"))["user_group_permissions"] == PERMISSIONS
    (rig.path / "permissions.yaml").unlink()
    await rig.ok("permissions_reload")
    assert (await rig.ok("permissions_get"))["user_group_permissions"] == PERMISSIONS


async def test_nobody_may_do_anything_while_the_first_permissions_cannot_be_read(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    (tmp_path / "permissions.yaml").write_text("user_groups: [")
    await rig.start()
    assert "permissions.yaml" in rig.status["not_ready_reason"]
    assert "Unknown user group" in await rig.refused("queue_item_add", item=plan(), **user())
    await rig.refused("queue_item_add", item=plan(), user="Jo", user_group="root")
    (tmp_path / "permissions.yaml").write_text(json.dumps(PERMISSIONS))
    await rig.ok("permissions_reload")
    assert "permissions" not in rig.status["not_ready_reason"]
    await rig.add()
    await rig.close()


@pytest.mark.parametrize(
    ("option", "opened", "changed_later"),
    [("NEVER", False, False), ("ENVIRONMENT_OPEN", True, False), ("ALWAYS", True, True)],
)
async def test_when_the_lists_file_is_written(
    rig: Rig, option: str, opened: bool, changed_later: bool
) -> None:
    rig.options = rig.with_options(lists_update=option)
    await rig.restart()
    path = rig.path / "lists.yaml"
    path.unlink()
    worker = await rig.open_environment()
    await rig.manager.catalogue.write_lists()
    assert path.exists() is opened
    path.unlink(missing_ok=True)
    await worker.lists_changed({"new": plan_description("new")}, {})
    await rig.manager.catalogue.write_lists()
    assert path.exists() is changed_later


async def test_lists_that_no_file_takes(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.options = rig.with_options(lists_update="ALWAYS")
    await rig.restart()
    worker = await rig.open_environment()
    await worker.lists_changed({"new": plan_description("new") | {"description": "\udce9"}}, {})
    await rig.manager.catalogue.write_lists()
    assert "cannot be written" in caplog.text
    assert list((await rig.ok("plans_existing"))["plans_existing"]) == ["new"]


@pytest.fixture
async def slow_file(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An open environment with a new list of plans, whose file is written when the event is set."""
    go_on, real = threading.Event(), catalogue.update_lists
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    def update_lists(path: Any, lists: Any) -> bool:
        loop.call_soon_threadsafe(began.set)
        go_on.wait(TIMEOUT_S)
        return real(path, lists)

    rig.options = rig.with_options(lists_update="ALWAYS")
    await rig.restart()
    monkeypatch.setattr(catalogue, "update_lists", update_lists)
    worker = await rig.open_environment()
    await worker.lists_changed({"new": plan_description("new")}, {})
    await began.wait()
    return go_on


async def test_lists_that_are_not_in_their_file_yet_are_not_lost(
    rig: Rig, slow_file: threading.Event
) -> None:
    reloading = asyncio.ensure_future(rig.call("permissions_reload", restore_plans_devices=True))
    await rig.settle()
    assert not reloading.done()
    slow_file.set()
    assert (await reloading)["success"]
    assert list((await rig.ok("plans_existing"))["plans_existing"]) == ["new"]


async def test_manager_that_leaves_writes_the_lists_before(rig: Rig, slow_file: threading.Event) -> None:
    leaving = asyncio.ensure_future(rig.manager.leave())
    await rig.settle()
    assert not leaving.done()
    slow_file.set()
    await leaving
    assert "new:" in (rig.path / "lists.yaml").read_text()


async def test_lists_file_that_cannot_be_written_is_no_fault(rig: Rig) -> None:
    rig.options = rig.with_options(lists_path=rig.path / "nowhere" / "lists.yaml")
    (rig.path / "nowhere").write_text("a file")
    await rig.restart()
    await rig.open_environment()
    assert rig.status["ready"] is True


async def test_last_permissions_win(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists that were begun with older permissions do not replace those of newer ones."""
    slow, real = threading.Event(), catalogue.allowed_lists
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    def allowed_lists(plans: Any, devices: Any, permissions: Any) -> Any:
        if permissions == PERMISSIONS:
            loop.call_soon_threadsafe(began.set)
            slow.wait(TIMEOUT_S)
        return real(plans, devices, permissions)

    monkeypatch.setattr(catalogue, "allowed_lists", allowed_lists)
    reloading = asyncio.ensure_future(rig.call("permissions_reload"))
    await began.wait()
    nothing = {"user_groups": {"root": {}, "primary": {}}}
    setting = asyncio.ensure_future(rig.call("permissions_set", user_group_permissions=nothing))
    await rig.settle()
    slow.set()
    assert (await setting)["success"]
    assert (await reloading)["success"]
    assert (await rig.ok("plans_allowed", user_group="primary"))["plans_allowed"] == {}


async def test_group_that_vanishes_while_a_batch_is_checked(rig: Rig) -> None:
    adding = asyncio.ensure_future(rig.call("queue_item_add_batch", items=[plan()] * 100, **user()))
    await hop()
    rig.manager.catalogue._allowed.clear()
    reply = await adding
    assert reply["success"] is False
    assert reply["code"] == "invalid_item"
    assert "Unknown user group" in reply["results"][-1]["msg"]
    assert rig.status["items_in_queue"] == 0


# ------------------------------------------------------------------------------------------ queue, history


async def test_queue_uid_changes_exactly_when_the_queue_does(rig: Rig) -> None:
    first, second = await rig.add(), await rig.add()

    async def changes(method: str, **params: Any) -> bool:
        before = rig.status["plan_queue_uid"]
        await rig.ok(method, **params)
        return rig.status["plan_queue_uid"] != before

    assert not await changes("queue_item_move", pos=1, pos_dest=1)
    assert await changes("queue_item_move", pos=1, pos_dest=0)
    assert await rig.queue() == [second, first]
    assert not await changes("queue_item_remove_batch", uids=["nobody"])
    assert not await changes("queue_item_add_batch", items=[], **user())
    same = (await rig.ok("queue_item_get", uid=first))["item"]
    assert not await changes("queue_item_update", item=same, **user())
    assert await changes("queue_item_update", item={**same, "kwargs": {"num": 2}}, **user())
    assert await changes("queue_clear")
    assert not await changes("queue_clear")


async def test_queue_in_memory_is_the_one_on_disk(rig: Rig) -> None:
    batch = await rig.ok("queue_item_add_batch", items=[plan()] * 5, **user())
    in_order = [i["item_uid"] for i in batch["items"]]
    await rig.ok("queue_item_move_batch", uids=[in_order[3], in_order[1]], pos_dest="front")
    await rig.ok("queue_item_remove", pos="back")
    item = {**batch["items"][0], "kwargs": {"num": 3}}
    replaced = (await rig.ok("queue_item_update", item=item, replace=True, **user()))["item"]["item_uid"]
    assert replaced != in_order[0]
    expected = [in_order[3], in_order[1], replaced, in_order[2]]
    before = (await rig.ok("queue_get"))["items"]
    assert [i["item_uid"] for i in before] == expected
    await rig.restart()
    assert (await rig.ok("queue_get"))["items"] == before
    states = (await rig.ok("task_status", task_uid=[in_order[0], in_order[4]]))["state"]
    assert states == {in_order[0]: "superseded", in_order[4]: "cancelled"}


async def fill_history(rig: Rig, count: int) -> list[str]:
    """Run plans to their ends."""
    worker = rig.worker or await rig.open_environment()
    ended = [await rig.add() for _ in range(count)]
    await rig.ok("queue_start")
    for _ in range(count):
        await rig.settle()
        await worker.finish()
    await rig.settle()
    return ended


async def test_history_pages(rig: Rig) -> None:
    ended = await fill_history(rig, 5)
    page = await rig.ok("history_get", limit=2)
    assert [i["item_uid"] for i in page["items"]] == ended[3:]
    assert page["total"] == 5
    seen = [i["item_uid"] for i in page["items"]]
    while page["next_cursor"] is not None:
        page = await rig.ok("history_get", limit=2, cursor=page["next_cursor"])
        seen = [i["item_uid"] for i in page["items"]] + seen
    assert seen == ended
    assert (await rig.refused("history_get", limit=0)).startswith("Error: parameter 'limit'")
    await rig.refused("history_get", cursor="x")


async def test_cursor_is_stable_while_the_history_grows(rig: Rig) -> None:
    ended = await fill_history(rig, 4)
    page = await rig.ok("history_get", limit=2)
    await fill_history(rig, 1)
    page = await rig.ok("history_get", limit=2, cursor=page["next_cursor"])
    assert [i["item_uid"] for i in page["items"]] == ended[:2]


@pytest.mark.parametrize(
    ("params", "left"),
    [
        (lambda _: {}, 0),
        (lambda _: {"size": 2}, 2),
        (lambda _: {"size": 10}, 4),
        (lambda _: {"size": 10**30}, 4),
        (lambda _: {"size": -1}, 0),
        (lambda ended: {"item_uid": ended[1]}, 2),
        (lambda _: {"item_uid": "nobody"}, 4),
        (lambda _: {"item_uid": "\ud800"}, 4),
    ],
)
async def test_history_clear(rig: Rig, params: Callable[[list[str]], dict[str, Any]], left: int) -> None:
    ended = await fill_history(rig, 4)
    before = rig.status["plan_history_uid"]
    await rig.ok("history_clear", **params(ended))
    assert [h["item_uid"] for h in await rig.history()] == ended[4 - left :]
    assert rig.status["items_in_history"] == left
    assert (rig.status["plan_history_uid"] == before) is (left == 4)
    await rig.restart(greet=True)
    assert rig.status["items_in_history"] == left


@pytest.mark.parametrize("by_uid", [False, True])
async def test_plan_that_ends_while_the_history_is_cleared_counts(rig: Rig, by_uid: bool) -> None:
    ended = await fill_history(rig, 2)
    await rig.run_plan()
    worker = rig.worker
    assert worker is not None
    rig.gate.shut()

    worker.event(PlanFinished, **worker.plan_finished(worker.plans[-1]))
    await rig.settle()
    params = {"item_uid": ended[-1]} if by_uid else {"size": 1}
    clearing = asyncio.ensure_future(rig.call("history_clear", **params))
    await rig.settle()
    await rig.gate.open()
    assert (await clearing)["success"]
    assert rig.status["items_in_history"] == len(await rig.history()) == 1


async def test_history_with_values_that_json_calls_extensions(rig: Rig) -> None:
    worker = await rig.open_environment()
    request = {"method": "queue_item_add", "params": {"item": plan(kwargs={"num": float("nan")}), **user()}}
    await rig.request(json.loads(json.dumps(request)))
    await rig.ok("queue_start")
    await rig.settle()
    await worker.finish()
    await rig.settle()
    (entry,) = await rig.history()
    assert str(entry["kwargs"]["num"]) == "nan"


async def test_store_of_another_manager_is_refused(rig: Rig) -> None:
    with pytest.raises(Exception, match="in use"):
        Store.open(rig.path / "state")


async def test_full_disk(rig: Rig) -> None:
    """Reads are answered from what is there, changes are refused, what runs can be stopped."""
    await rig.open_environment()
    rig.gate.shut()
    batch = rig.manager.ledger.batch()
    batch.event("request")
    settled = asyncio.ensure_future(rig.manager.ledger.settle(batch))
    await hop()
    rig.manager.ledger.on_room(False)
    await asyncio.wait_for(settled, TIMEOUT_S)
    assert "disk" in rig.status["not_ready_reason"]
    health = (await rig.ok("stats", sections=["queue"]))["health"]
    assert health["state"] == "bad"
    reply = await rig.call("queue_autostart", enable=True)
    assert (reply["code"], rig.status["queue_autostart_enabled"]) == ("storage", False)
    await rig.ok("environment_destroy")
    rig.manager.ledger.on_room(True)
    await rig.gate.open()
    await rig.ok("queue_autostart", enable=True)
