"""Submitting tasks: every option, every refusal, batches, duplicates."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from manager_rig import TASK_QUEUE, FakePoolWorker, Rig, function, user

from remanager.manager.task_queue import service, submission
from remanager.manager.task_queue.portions import PORTION
from remanager.model.errors import InvalidItem


@pytest.fixture
async def worker(pool_rig: Rig) -> FakePoolWorker:
    """The only worker of the pool."""
    return await pool_rig.pool_worker()


async def busy(rig: Rig, worker: FakePoolWorker) -> str:
    """Give the worker something to do, so that everything else waits."""
    uid = await rig.submit()
    worker.begin(uid)
    await rig.settle()
    return uid


async def test_every_option_is_kept(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    first = await busy(rig, worker)
    given = {
        "priority": 7,
        "group": "g",
        "domain": "d",
        "label": "a label",
        "key": "k",
        "on_duplicate": "merge",
        "tags": {"a": "1", "b": ""},
        "job_uid": "job",
        "fail_fast": False,
        "depends_on": [first],
        "on_dependency_failure": "ignore",
        "run_after": rig.now + 50,
        "ttl_s": 500.0,
        "ttl_from": "submission",
        "timeout_s": 30.0,
        "kill_after_s": 3.0,
        "max_retries": 2,
        "retry": {"strategy": "linear", "initial_s": 0.5, "max_s": 9.0, "factor": 3.0},
        "expected_io": {"disk_read": 100},
        "resource_lock": "disk",
    }
    uid = await rig.submit("work", 1, "x", **given)
    task = await rig.task(uid)
    same = {k for k in given if k in task and k != "run_after"}
    assert same >= {"retry", "kill_after_s"}
    assert {k: task[k] for k in same} == {k: given[k] for k in same}
    assert task["max_retries"] == 2
    assert task["expires_at"] == rig.now + 500
    assert task["run_after"] == rig.now + 50
    assert (task["args"], task["kwargs"]) == ([1, "x"], {})
    assert (task["state"], task["wait_reason"], task["depends_on"]) == ("blocked", "dependencies", [first])
    assert (task["user"], task["user_group"], task["item_type"]) == ("Jo", "primary", "function")
    assert task["where"] == "pool"
    assert (await rig.task(await rig.submit("f", where="environment")))["where"] == "environment"
    of_plan = await rig.task(await rig.add())
    assert (of_plan["where"], of_plan["retry"], of_plan["kill_after_s"]) == ("environment", None, None)
    card = rig.manager.task_queue.scheduler.cards[uid]
    assert card.spec.options.kill_after_s == 3.0
    assert card.spec.options.retry.strategy == "linear"
    before = card.spec
    await rig.restart()
    restored = rig.manager.task_queue.scheduler.cards[uid].spec
    assert restored == before


async def test_defaults_of_the_function_and_of_the_batch(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    worker.ready({"work": {"priority": 5, "group": "g", "max_retries": 3}, "other": {}})
    await rig.settle()
    assert {"priority": 5, "group": "g", "max_retries": 3}.items() <= (
        await rig.task(await rig.submit())
    ).items()
    assert (await rig.task(await rig.submit(priority=9)))["priority"] == 9
    reply = await rig.ok(
        "task_submit_batch",
        **user(),
        items=[{"item": function("work")}, {"item": function("work"), "options": {"group": "own"}}],
        defaults={"group": "of the batch", "delay_s": 5},
        job_uid="J",
    )
    first, second = [await rig.task(r["task_uid"]) for r in reply["results"]]
    assert (first["group"], first["priority"], first["run_after"]) == ("of the batch", 5, rig.now + 5)
    assert (second["group"], second["job_uid"]) == ("own", "J")
    assert (reply["counts"], reply["job_uid"]) == ({"inserted": 2}, "J")


BAD_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"priority": 256}, "priority"),
    ({"priority": -1}, "priority"),
    ({"priority": "1"}, "priority"),
    ({"priority": True}, "priority"),
    ({"colour": "red"}, "colour"),
    ({"ttl_s": 0}, "ttl_s"),
    ({"ttl_s": float("inf")}, "ttl_s"),
    ({"timeout_s": -1}, "timeout_s"),
    ({"delay_s": -1}, "delay_s"),
    ({"run_after": "tomorrow"}, "run_after"),
    ({"tags": {"": "x"}}, "tags"),
    ({"tags": {"a": 1}}, "tags"),
    ({"tags": {str(n): "" for n in range(33)}}, "tags"),
    ({"on_duplicate": "never"}, "on_duplicate"),
    ({"on_dependency_failure": "x"}, "on_dependency_failure"),
    ({"max_retries": 1001}, "max_retries"),
    ({"retry": {"strategy": "quadratic"}}, "retry.strategy"),
    ({"retry": {"factor": 0.5}}, "retry.factor"),
    ({"depends_on": "uid"}, "depends_on"),
    ({"depends_on": ["nobody"]}, "'nobody' is not known"),
    ({"parent_uid": "nobody"}, "'nobody' is not known"),
    ({"expected_io": {"disk_read": -1}}, "expected_io"),
    ({"expected_io": {"disk": 1}}, "must be 'disk_read', 'disk_write', 'net_rx' or 'net_tx'"),
    ({"run_after": 2e9, "delay_s": 1.0}, "'run_after' or 'delay_s'"),
    ({"retry": 3}, "option 'retry' must be a dictionary"),
    ({"retry": {"initial": 3}}, "option 'retry.initial' is not one of strategy, initial_s, max_s, factor"),
    ({"priority": 300}, "option 'priority' must be at most 255"),
    ({"where": "moon"}, "where"),
    ({"recurring": {"interval_s": 5}}, "those of a schedule: 'schedule_add'"),
    (
        {"order": 3},
        "expected_io, resource_lock, where; arguments of the function belong in 'args' and 'kwargs'",
    ),
]


@pytest.mark.parametrize(("options", "words"), BAD_OPTIONS)
async def test_bad_options_are_refused(pool_rig: Rig, options: dict[str, Any], words: str) -> None:
    reply = await pool_rig.call("task_submit", **user(), item=function("work"), options=options)
    assert reply["success"] is False
    assert reply["code"] in ("invalid_params", "not_found")
    assert words in reply["msg"]
    assert pool_rig.manager.task_queue.scheduler.cards == {}
    assert (await pool_rig.ok("task_count"))["total"] == 0


async def test_options_that_come_again_are_as_good_as_new(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig, later = pool_rig, {"delay_s": 60.0}
    cards = rig.manager.task_queue.scheduler.cards
    for name, options, refused in (
        ("work", {"priority": 1}, False),
        ("work", {"priority": True}, True),
        ("other", {"priority": 1}, False),
        ("work", {"priority": 1}, False),
        ("work", {"priority": 1.0}, True),
        ("work", {"priority": 2}, False),
    ):
        call = {**user(), "item": function(name), "options": {**options, **later}}
        reply = await rig.call("task_submit", **call)
        assert reply["success"] is not refused
        rig.now += 1.0
        if not refused:
            card = cards[reply["task_uid"]]
            assert (card.spec.name, card.priority) == (name, options["priority"])
            assert card.run_after == rig.now - 1.0 + 60.0


async def test_options_that_are_nested_too_deeply_are_refused(pool_rig: Rig, worker: FakePoolWorker) -> None:
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]
    call = {**user(), "item": function("work"), "options": {"label": nested}}
    assert "nested too deeply" in await pool_rig.refused("task_submit", **call)


async def test_bad_items_are_refused(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    assert "no function 'nix'" in await rig.refused("task_submit", **user(), item=function("nix"))
    plan = {"item_type": "plan", "name": "count"}
    await rig.refused("task_submit", **user(), item=plan)
    await rig.refused("task_submit", **user(), item="work")
    await rig.refused("task_submit", item=function("work"))
    await rig.refused("task_submit", **user())
    assert "group" in await rig.refused("task_submit", user="Jo", user_group="nobody", item=function("work"))
    worker.ready({"work": {}}, {"jobs": "Traceback: no such module"})
    await rig.settle()
    assert "jobs" in await rig.refused("task_submit", **user(), item=function("nix"))
    assert (await rig.ok("task_function_list"))["failed_modules"] == {"jobs": "Traceback: no such module"}
    assert rig.events("task_functions_changed")[-1].data.find("jobs") > 0


async def test_arguments_must_fit_the_function(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    rows = [{"name": "n", "kind": "POSITIONAL_OR_KEYWORD", "required": True}]
    described = {"name": "one", "module": "jobs", "doc": "", "parameters": rows, "options": {}}
    rig.manager.task_queue.functions.take(json.dumps([described]), {})
    for item in (function("one"), function("one", args=[1, 2]), function("one", kwargs={"m": 1})):
        assert "do not fit the function 'one'" in await rig.refused("task_submit", **user(), item=item)
    for item in (function("one", args=[1]), function("one", kwargs={"n": 1})):
        await rig.ok("task_submit", **user(), item=item)


async def test_too_large_an_item(pool_rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "MAX_BODY_BYTES", 500)
    reply = await pool_rig.call("task_submit", **user(), item=function("work", args=["x" * 500]))
    assert reply["code"] == "too_large"


async def test_a_full_queue(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    rig.options = rig.with_options(task_queue=replace(TASK_QUEUE, max_active=2))
    await rig.restart()
    await rig.submit_many(2, delay_s=100)
    reply = await rig.call("task_submit", **user(), item=function("work"))
    assert (reply["code"], reply["outcome"]) == ("busy", "rejected")
    assert "full" in reply["msg"]
    stats = await rig.ok("stats", sections=[])
    assert stats["health"]["state"] == "bad"


async def test_tasks_of_a_batch_depend_on_each_other(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    first = await busy(rig, worker)

    def linked(*needs: object, **options: Any) -> dict[str, Any]:
        return {"item": function("work"), "options": {"depends_on": [*needs], **options}}

    items = [linked(1, first, 2, 1), linked(), linked(1, key="k"), linked(4), linked(key="k")]
    reply = await rig.ok("task_submit_batch", **user(), items=items)
    uids = [r["task_uid"] for r in reply["results"]]
    assert (await rig.task(uids[0]))["depends_on"] == [first, uids[1], uids[2]]
    assert [(await rig.task(uid))["state"] for uid in uids[:4]] == [
        "blocked",
        "pending",
        "blocked",
        "blocked",
    ]
    # The duplicate stands for what it is one of.
    assert uids[4] == uids[2]
    assert (await rig.task(uids[3]))["depends_on"] == [uids[2]]


async def test_wrong_places_and_cycles_of_a_batch_are_refused(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig

    async def refused(*depends_on: object, atomic: bool = True) -> list[Any]:
        items = [{"item": function("work"), "options": {"depends_on": needs}} for needs in depends_on]
        reply = await rig.call("task_submit_batch", **user(), items=items, atomic=atomic)
        assert reply["success"] is not atomic
        return [r["msg"] for r in reply["results"]]

    others = "another task of the batch was refused"
    assert await refused([], [2]) == [others, "Prerequisite 'items[2]' is not known"]
    assert "'items[-1]' is not known" in (await refused([-1]))[0]
    assert "must be a text" in (await refused([True]))[0]
    assert "depends_on" in (await refused([0] * 1001))[0]
    assert (await refused([], [1]))[1] == "Task items[1] can't depend on itself"
    cycle = await refused([1], [2], [0], [])
    assert all(f"Task items[{n}] would wait for itself" in cycle[n] for n in range(3))
    assert all("form a cycle" in msg for msg in cycle[:3])
    assert cycle[3] == others
    assert (await rig.ok("task_count"))["total"] == 0
    # What needs something that is refused is refused as well, and nothing else.
    found = await refused(["nobody"], [0], [1], [], atomic=False)
    assert ["not known" in found[0], "was refused" in found[1], "was refused" in found[2]] == [True] * 3
    assert "Task items[0] of the same batch" in found[1]
    assert found[3] == ""
    assert (await rig.ok("task_count"))["total"] == 1
    reply = await rig.call("task_submit", **user(), item=function("work"), options={"depends_on": [0]})
    assert "depends_on.0" in reply["msg"]


async def test_tasks_of_a_refused_batch_are_named_as_they_were_sent(
    pool_rig: Rig, worker: FakePoolWorker
) -> None:
    named = [{"key": "k", "label": "L"}, {"label": "M"}, {"key": "k2", "on_duplicate": "reject"}]
    items: list[dict[str, Any]] = [
        {"item": function("nix")},  # has no place among those that are left
        *({"item": function("work"), "options": {"depends_on": [n]} | named[n - 1]} for n in (1, 2)),
        {"item": function("work"), "options": named[2]},
    ]
    reply = await pool_rig.ok("task_submit_batch", **user(), items=items, atomic=False)
    texts = [r["msg"] for r in reply["results"]]
    assert "no function" in texts[0] or "nix" in texts[0]
    assert texts[1:] == [
        "Task items[1] (key 'k') can't depend on itself",
        "Task items[2] (label 'M') can't depend on itself",
        "",
    ]


async def test_arguments_that_only_msgpack_has(pool_rig: Rig, worker: FakePoolWorker) -> None:
    """What a result is made of can be an argument of the next task."""
    array = msgpack.ExtType(1, msgpack.packb(["<f4", [1], b"\0\0\x80?"]))
    number = msgpack.ExtType(3, hex(2**70).encode())
    by_hand = {"__ndarray__": [[1, 2]]}

    async def submit(*args: object, **options: object) -> dict[str, Any]:
        items = [{"item": function("work", args=list(args)), "options": options}]
        (result,) = (await pool_rig.ok("task_submit_batch", **user(), items=items, atomic=False))["results"]
        return dict(result)

    uid = (await submit(b"\0\1", [array, {"n": number}], by_hand))["task_uid"]
    form = {"__ndarray__": "AACAPw==", "dtype": "<f4", "shape": [1]}
    assert worker.tasks[uid].item["args"] == [{"__bytes__": "AAE="}, [form, {"n": 2**70}], by_hand]
    for extension in (msgpack.ExtType(9, b""), msgpack.ExtType(1, b"x"), msgpack.ExtType(3, b"x")):
        text = (await submit(extension))["msg"]
        assert "cannot be written as JSON: an extension type of msgpack is not a value" in text
    assert "Object of type bytes" in (await submit(b"", where="environment"))["msg"]


async def test_a_batch_of_too_many_is_refused_by_their_number(pool_rig: Rig, worker: FakePoolWorker) -> None:
    said = await pool_rig.refused("task_submit_batch", **user(), items=[{"item": None}] * 20_001)
    assert "'items' must have at most 20000 entries (got 20001)" in said


async def test_others_have_their_turn_while_a_large_batch_is_stored(
    pool_rig: Rig, worker: FakePoolWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who commits then stores all of it."""
    rig, queue, order = pool_rig, pool_rig.manager.task_queue, []
    accept, commit = queue.accept, queue.commit

    def accept_and_tell(*args: Any, **kwargs: Any) -> Any:
        asyncio.get_running_loop().call_soon(lambda: (order.append("another"), commit()))
        return accept(*args, **kwargs)

    def commit_and_tell() -> Any:
        order.append("batch")
        return commit()

    await rig.ok("task_pause", scope="all")
    before = rig.gate.reads.events(0, 100_000)[-1].seq
    monkeypatch.setattr(queue, "accept", accept_and_tell)
    monkeypatch.setattr(queue, "commit", commit_and_tell)
    items = [{"item": function("work")}] * (PORTION + 1)
    reply = await rig.ok("task_submit_batch", **user(), items=items)
    assert order[:2] == ["another", "batch"]
    assert len(rig.gate.reads.task_states([r["task_uid"] for r in reply["results"]])) == PORTION + 1
    assert rig.gate.reads.events(before, 100_000)[-1].type == "task_submitted"


async def test_only_tasks_at_fault_are_counted_as_refused(pool_rig: Rig, worker: FakePoolWorker) -> None:
    good, bad = {"item": function("work")}, {"item": function("work"), "options": {"depends_on": ["nobody"]}}
    reply = await pool_rig.call("task_submit_batch", **user(), items=[good, bad, good])
    assert reply["msg"] == "1 of 3 tasks were refused; none is submitted"
    assert [r.get("code") for r in reply["results"]] == [None, "not_found", None]


async def test_a_batch_is_atomic_unless_told_otherwise(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    items = [
        {"item": function("work")},
        {"item": function("nix")},
        {"item": function("work"), "options": {"priority": 300}},
        {"item": function("work"), "options": {"depends_on": ["nobody"]}},
    ]
    reply = await rig.call("task_submit_batch", **user(), items=items)
    assert (reply["success"], reply["job_uid"], reply["counts"]) == (False, None, {"rejected": 4})
    assert [r["success"] for r in reply["results"]] == [False] * 4
    assert (await rig.ok("task_count"))["total"] == 0
    reply = await rig.ok("task_submit_batch", **user(), items=items, atomic=False)
    assert [r["success"] for r in reply["results"]] == [True, False, False, False]
    assert [r.get("code") for r in reply["results"]] == [None, "invalid_item", "invalid_params", "not_found"]
    assert reply["counts"] == {"inserted": 1, "rejected": 3}
    assert [r["outcome"] for r in reply["results"]] == ["inserted", "rejected", "rejected", "rejected"]
    assert (await rig.ok("task_submit_batch", **user(), items=[]))["results"] == []
    for entry in ({"item": function("work"), "more": 1}, {}, {"item": function("work"), "options": 3}):
        assert (await rig.call("task_submit_batch", **user(), items=[entry]))["success"] is False


async def test_a_batch_whose_options_differ(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    await busy(rig, worker)
    worker.ready({"work": {}, "other": {"group": "others", "timeout_s": 7.0}})
    await rig.settle()
    own: dict[str, dict[str, Any]] = {
        "default": {},
        "urgent": {"priority": 1, "label": "now"},
        "tagged": {"tags": {"b": "2", "a": "1"}, "group": "mine"},
        "bad": {"priority": True},
        "timed": {"timeout_s": 3.0},
    }
    entries = [
        {"item": function(name), **({"options": options} if options else {})}
        for options in own.values()
        for name in ("work", "other", "nix", "work")
    ]
    defaults = {"delay_s": 5.0, "max_retries": 2}
    items = {"items": entries, "defaults": defaults, "atomic": False, "job_uid": "J"}
    reply = await rig.ok("task_submit_batch", **user(), **items)
    told: dict[tuple[str, int], Any] = {}
    for place, result in enumerate(reply["results"]):
        told[list(own)[place // 4], place % 4] = result
    assert {key for key, result in told.items() if not result["success"]} == {
        *((name, 2) for name in own),
        *(("bad", n) for n in range(4)),
    }
    for (name, place), result in told.items():
        if not result["success"]:
            assert result["code"] == ("invalid_params" if name == "bad" else "invalid_item")
            continue
        task = await rig.task(result["task_uid"])
        usual = {"group": "", "timeout_s": None, "priority": 128, "label": "", "tags": {}}
        of_function = {"group": "others", "timeout_s": 7.0} if place == 1 else {}
        assert {**usual, **of_function, **own[name]}.items() <= task.items()
        assert (task["run_after"], task["max_retries"], task["job_uid"]) == (rig.now + 5, 2, "J")
    said = {e.task_uid: json.loads(e.data) for e in rig.events("task_submitted")}
    urgent, tagged = (said[told[name, 0]["task_uid"]] for name in ("urgent", "tagged"))
    assert (urgent["label"], urgent["task_type"], urgent["job_uid"]) == ("now", "work", "J")
    assert (tagged["tags"], tagged["group"], "label" in tagged) == ({"a": "1", "b": "2"}, "mine", False)


async def test_functions_that_change_between_submissions(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    options = {"delay_s": 5.0}
    item = {"item_uid": "u", "user": "Jo", "user_group": "primary", **function("work", args=[1, 2])}
    make = rig.manager.task_queue.specs.make
    assert make(item, options, rig.now).group == make(item, {}, rig.now).group == ""
    worker.ready({"work": {"group": "g"}})
    await rig.settle()
    assert make(item, options, rig.now).group == make(item, {}, rig.now).group == "g"
    worker.ready({"other": {}})
    await rig.settle()
    for given in (options, {}):
        with pytest.raises(InvalidItem, match="no function 'work'"):
            make(item, given, rig.now)


@pytest.mark.parametrize(
    "value", [float("nan"), float("-inf"), 2**70, True, 1, 1.0, "\u00e9\U0001f600", None]
)
async def test_arguments_are_kept_as_they_are(pool_rig: Rig, worker: FakePoolWorker, value: Any) -> None:
    rig = pool_rig
    await busy(rig, worker)
    # Equal values of different types follow one another.
    items = [{"item": function("work", args=[other], kwargs={"x": value})} for other in (1, 1.0, True, value)]
    reply = await rig.ok("task_submit_batch", **user(), items=items)
    uids = [result["task_uid"] for result in reply["results"]]
    stored = rig.gate.reads.tasks.bodies(uids)
    for uid, entry in zip(uids, items, strict=True):
        rest = {"user": "Jo", "user_group": "primary", "item_uid": uid}
        assert stored[uid] == json.dumps({**entry["item"], **rest})


async def test_labels_of_items_are_checked_in_batches(pool_rig: Rig) -> None:
    items = [function("work"), function("work", tags={"a": 1}), function("work", label=1), function("work")]
    reply = await pool_rig.ok(
        "task_submit_batch", **user(), items=[{"item": item} for item in items], atomic=False
    )
    assert [r["success"] for r in reply["results"]] == [True, False, False, True]
    assert ["'tags'" in reply["results"][1]["msg"], "'label'" in reply["results"][2]["msg"]] == [True, True]


async def test_duplicates(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    running = await busy(rig, worker)
    first = await rig.submit(key="k", priority=100)

    async def again(**options: Any) -> dict[str, Any]:
        options = {"key": "k", "priority": 100, **options}
        reply = await rig.call("task_submit", **user(), item=function("work"), options=options)
        await rig.settle()
        return reply

    skipped = await again()
    assert (skipped["outcome"], skipped["task_uid"], skipped["existing_task_uid"]) == (
        "duplicate",
        first,
        first,
    )
    assert (await again(on_duplicate="merge", priority=50))["outcome"] == "upgraded"
    assert (await rig.task(first))["priority"] == 50
    assert (await again(on_duplicate="merge", priority=60))["outcome"] == "duplicate"
    rejected = await again(on_duplicate="reject")
    assert (rejected["code"], rejected["outcome"], rejected["existing_task_uid"]) == (
        "conflict",
        "rejected",
        first,
    )
    replaced = await again(on_duplicate="supersede")
    assert (replaced["outcome"], replaced["existing_task_uid"]) == ("superseded", first)
    assert await rig.task_states(first, replaced["task_uid"]) == ["superseded", "pending"]
    await worker.end(running)
    await rig.settle()
    worker.begin(replaced["task_uid"])
    assert (await again(on_duplicate="merge"))["outcome"] == "requeued"
    await worker.end(replaced["task_uid"])
    await rig.settle()
    assert replaced["task_uid"] in worker.tasks
    await worker.end(replaced["task_uid"], value="second")
    assert (await rig.ok("task_result", task_uid=replaced["task_uid"]))["result"]["return_value"] == "second"
    assert (await again())["outcome"] == "inserted"


async def test_held_tasks_say_so(pool_rig: Rig, worker: FakePoolWorker) -> None:
    rig = pool_rig
    await rig.ok("task_pause", scope="group", name="g")
    reply = await rig.ok("task_submit", **user(), item=function("work"), options={"group": "g"})
    assert reply["held"] == ["group"]
    task = await rig.task(reply["task_uid"])
    assert (task["state"], task["wait_reason"], task["pause_reasons"]) == ("paused", "paused", ["group"])


async def test_functions_that_no_worker_reports(
    pool_rig: Rig, worker: FakePoolWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "FUNCTIONS_TIMEOUT_S", 0.0)
    rig = pool_rig
    rig.manager.task_queue.functions_known.clear()
    reply = await rig.call("task_submit", **user(), item=function("work"))
    assert reply["code"] == "busy"
    assert "cannot be checked" in reply["msg"]
    worker.ready()
    await rig.settle()
    await rig.submit()


async def test_without_task_modules(rig: Rig) -> None:
    text = await rig.refused("task_submit", **user(), item=function("work"))
    assert "--task-modules" in text
    assert (await rig.ok("task_function_list"))["functions"] == []


async def test_a_repeated_request_submits_once(pool_rig: Rig) -> None:
    request = {"item": function("work"), "options": {"delay_s": 9}, "request_id": "r", **user()}
    assert await pool_rig.ok("task_submit", **request) == await pool_rig.ok("task_submit", **request)
    assert (await pool_rig.ok("task_count"))["total"] == 1
