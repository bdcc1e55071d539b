"""Console output and events for late readers; what is known of workers that died."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from manager_rig import TIMEOUT_S, Rig, function, hop, user

from remanager.daemon.console import ConsoleHub
from remanager.engine.queue_item import Submission
from remanager.manager import journal
from remanager.manager.autopsy import CONSOLE_LINES, KEPT, MAX_LINE_CHARS, Autopsies
from remanager.manager.state import RunningItem, State, WorkerRecord
from remanager.manager.worker_files import crash_path, settings_path
from remanager.model.link import Heartbeat, Progress, WorkerState


async def page(rig: Rig, **params: Any) -> dict[str, Any]:
    return await rig.ok("event_list", **params)


def kinds(reply: dict[str, Any]) -> list[str]:
    return [e["type"] for e in reply["events"]]


async def until_waiting(rig: Rig, count: int) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while len(rig.manager.journal._waiters) < count:
            await hop()


# ------------------------------------------------------------------------------------ console


async def test_console_is_read_in_pages(rig: Rig) -> None:
    hub = ConsoleHub(first_seq=5_000)
    rig.manager.read_console = hub.since
    for n in range(5):
        hub.feed(f"line {n}\n", 100.0 + n)
    first = await rig.ok("console_get", limit=3)
    assert first["lines"][0] == {"seq": 5000, "time": 100.0, "msg": "line 0\n"}
    assert (first["next_seq"], first["oldest_seq"], first["gap"]) == (5003, 5000, False)
    rest = await rig.ok("console_get", since=first["next_seq"])
    assert [m["msg"] for m in rest["lines"]] == ["line 3\n", "line 4\n"]
    assert (await rig.ok("console_get", since=rest["next_seq"]))["lines"] == []
    hub.feed("of a task\n", 200.0, "pool-1")
    (line,) = (await rig.ok("console_get", since=rest["next_seq"]))["lines"]
    assert (line["msg"], line["worker_uid"]) == ("of a task\n", "pool-1")


async def test_console_of_a_former_life_is_a_gap(rig: Rig) -> None:
    hub = ConsoleHub(first_seq=5_000)
    rig.manager.read_console = hub.since
    reply = await rig.ok("console_get", since=4_000)
    assert reply["gap"]
    assert reply["next_seq"] == 5_000


async def test_console_before_any_output(rig: Rig) -> None:
    reply = await rig.ok("console_get")
    assert reply["lines"] == []
    assert not reply["gap"]


# ------------------------------------------------------------------------------------ events


async def test_events_are_read_in_pages(rig: Rig) -> None:
    uid = await rig.add()
    await rig.ok("queue_clear")
    everything = await page(rig)
    assert kinds(everything)[-2:] == ["queue_item_added", "queue_cleared"]
    assert everything["next_seq"] == everything["events"][-1]["seq"] + 1
    assert everything["oldest_seq"] == everything["events"][0]["seq"]
    added = everything["events"][-2]
    assert added["task_uid"] == uid
    assert added["time"] == rig.now
    read, since = [], 0
    while (part := await page(rig, since=since, limit=2))["events"]:
        read += part["events"]
        since = part["next_seq"]
    assert read == everything["events"]
    assert since == everything["next_seq"]


async def test_events_are_chosen_by_type_and_task(rig: Rig) -> None:
    first, second = await rig.add(), await rig.add()
    assert [e["task_uid"] for e in (await page(rig, types=["queue_item_added"]))["events"]] == [first, second]
    chosen = await page(rig, types=["queue_item_added"], task_uid=second)
    assert [e["task_uid"] for e in chosen["events"]] == [second]
    none = await page(rig, types=["plan_finished"])
    assert none["events"] == []
    assert none["next_seq"] == (await page(rig))["next_seq"]  # they were looked through
    assert (await page(rig, task_uid="\ud800"))["events"] == []
    assert "plan_finished" in await rig.refused("event_list", types=["plan_finished", "plan_ended"])


async def test_an_event_wakes_those_who_wait_for_it(rig: Rig) -> None:
    since = (await page(rig))["next_seq"]
    anything = [asyncio.ensure_future(page(rig, since=since, timeout=30)) for _ in range(20)]
    clearing = asyncio.ensure_future(page(rig, since=since, types=["queue_cleared"], timeout=30))
    await until_waiting(rig, 21)
    await rig.add()
    for reply in await asyncio.gather(*anything):
        assert kinds(reply) == ["queue_item_added"]
    await rig.settle()
    assert not clearing.done()
    await rig.ok("queue_clear")
    assert kinds(await clearing) == ["queue_cleared"]


async def test_waiting_ends(rig: Rig) -> None:
    since = (await page(rig))["next_seq"]
    reply = await page(rig, since=since, timeout=0.01)
    assert reply["events"] == []
    assert reply["next_seq"] == since
    reply = await rig.call("event_list", timeout=31)
    assert reply["code"] == "invalid_params"
    assert reply["events"] == []


async def test_nobody_waits_where_too_many_wait(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MAX_WAITERS", 0)
    since = (await page(rig))["next_seq"]
    assert (await page(rig, since=since, timeout=30))["events"] == []


async def test_a_client_that_goes_away_waits_no_more(rig: Rig) -> None:
    since = (await page(rig))["next_seq"]
    waiting = asyncio.ensure_future(page(rig, since=since, timeout=30))
    await until_waiting(rig, 1)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert not rig.manager.journal._waiters


async def test_gaps_are_told(rig: Rig) -> None:
    for _ in range(3):
        await rig.add()
    newest = (await page(rig))["next_seq"] - 1
    rig.gate._store._writer._connection.execute("DELETE FROM event WHERE seq < ?", (newest,))
    assert not (await page(rig))["gap"]
    behind = await page(rig, since=1)
    assert behind["gap"]
    assert [e["seq"] for e in behind["events"]] == [newest]
    ahead = await page(rig, since=newest + 100, timeout=30)  # answered at once
    assert ahead["gap"]
    assert ahead["next_seq"] == newest + 1


async def test_events_of_tasks_are_published_once_they_are_on_disk(rig: Rig) -> None:
    rig.gate.shut()
    adding = asyncio.ensure_future(rig.add())
    await rig.settle()
    assert rig.news == []
    await rig.gate.open()
    uid = await adding
    (event,) = [e for e in (await page(rig))["events"] if e["type"] == "queue_item_added"]
    data = event.pop("data")
    assert event["task_uid"] == uid
    assert rig.news == [{"task_event": {**event, **data}}]
    await rig.ok("queue_clear")  # concerns no single task
    assert len(rig.news) == 1


async def test_a_drained_queue_is_an_event(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.add()
    await rig.add()
    await rig.ok("queue_start")
    await rig.settle()
    await worker.finish()
    await rig.settle()
    assert kinds(await page(rig, types=["queue_drained"])) == []
    await worker.finish()
    await rig.settle()
    assert kinds(await page(rig, types=["queue_drained"])) == ["queue_drained"]


# ------------------------------------------------------------------------------------ autopsy


async def test_a_dead_worker_gets_an_autopsy(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = await rig.run_plan()
    runs = [
        {"uid": "r1", "scan_id": 1, "is_open": False, "exit_status": "success"},
        {"uid": "r2", "scan_id": 2, "is_open": True, "exit_status": None},
    ]
    await worker.change(running_item_uid=uid, run_list=runs, run_list_rev=1)
    worker.send(Progress(uid, 3, 10))
    worker.send(Heartbeat(1.0))
    await rig.settle()
    rig.now += 5.0
    worker.die(-11)
    await rig.settle()
    (autopsy,) = (await rig.ok("worker_autopsy_list"))["autopsies"]
    expected = {
        "time": rig.now,
        "worker_uid": worker.uid,
        "pid": worker.pid,
        "returncode": -11,
        "signal": "SIGSEGV",
        "manager_state": "executing_queue",
        "running_item_uid": uid,
        "running_item_name": "count",
        "running_item_time_s": 5.0,
        "open_run_uids": ["r2"],
        "progress": {"done_count": 3, "total_count": 10},
        "rss_bytes": None,
        "heartbeat_age_s": 5.0,
    }
    assert {k: autopsy[k] for k in expected} == expected
    (event,) = (await page(rig, types=["worker_autopsy"]))["events"]
    assert event["data"] == autopsy
    assert event["task_uid"] == uid
    await rig.restart()
    assert (await rig.ok("worker_autopsy_list"))["autopsies"] == [autopsy]


async def test_an_autopsy_names_functions_that_ran(rig: Rig) -> None:
    worker = await rig.open_environment()
    reply = await rig.ok("function_execute", item=function("crash"), run_in_background=True, **user())
    worker.die(-11)
    await rig.settle()
    (autopsy,) = (await rig.ok("worker_autopsy_list"))["autopsies"]
    expected = {"task_uid": reply["task_uid"], "name": "crash", "background": True}
    assert autopsy["running_tasks"] == [expected]


async def test_an_autopsy_has_the_output_of_this_worker_only(rig: Rig) -> None:
    hub = ConsoleHub()
    rig.manager.autopsies._read_console = hub.since
    hub.feed("of the worker before\n", rig.now)
    worker = await rig.open_environment()
    hub.feed("of this one\n", rig.now)
    worker.die(-11)
    await rig.settle()
    (autopsy,) = (await rig.ok("worker_autopsy_list"))["autopsies"]
    assert autopsy["console"] == ["of this one"]


STACKS = """\
Fatal Python error: Segmentation fault

Thread 0x02 (most recent call first):
  File "later.py", line 2 in wait

Current thread 0x01 (most recent call first):
  File "plans.py", line 7 in scan

Extension modules: """
AT_FAULT_FIRST = [
    "Fatal Python error: Segmentation fault",
    "Current thread 0x01 (most recent call first):",
    "Thread 0x02 (most recent call first):",
]


@pytest.mark.parametrize("manager_lives", [True, False])
async def test_the_stacks_of_a_crash_are_kept(rig: Rig, manager_lives: bool) -> None:
    worker = await rig.open_environment()
    uid = await rig.run_plan()
    config = json.loads(settings_path(rig.options.runtime_dir, worker.uid).read_text())
    path = crash_path(rig.options.runtime_dir, worker.uid)
    assert config["crash_path"] == str(path)
    path.write_text(STACKS + "numpy, " * 50_000)
    if manager_lives:
        worker.die(-11)
        await rig.settle()
    else:
        await rig.crash()
        worker.die(-11)
        await rig.start(first_start=False)
    (autopsy,) = (await rig.ok("worker_autopsy_list"))["autopsies"]
    (entry,) = (await rig.ok("history_get"))["items"]
    assert entry["item_uid"] == uid
    stacks = autopsy["traceback"]
    assert entry["result"]["traceback"] == stacks
    assert [block.splitlines()[0] for block in stacks.split("\n\n")][:3] == AT_FAULT_FIRST
    assert len(stacks) < 1000
    assert not list(rig.options.runtime_dir.glob("worker-*"))


async def test_the_stacks_of_a_crash_are_kept_of_tasks(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = (await rig.ok("function_execute", item=function("look"), **user()))["task_uid"]
    await rig.settle()
    crash_path(rig.options.runtime_dir, worker.uid).write_text(STACKS)
    worker.die(-11)
    await rig.settle()
    result = (await rig.ok("task_result", task_uid=uid))["result"]
    assert "plans.py" in result["traceback"]


async def test_orderly_ends_need_no_autopsy(rig: Rig) -> None:
    worker = await rig.open_environment()
    await rig.ok("environment_close")
    worker.die(0)
    await rig.settle()
    await rig.open_environment()
    await rig.ok("environment_destroy")
    await rig.settle()
    await rig.ok("environment_open")
    worker = await rig.spawned()
    worker.hello()
    await worker.failed()
    await rig.settle()
    assert rig.state == "idle"
    assert (await rig.ok("worker_autopsy_list"))["autopsies"] == []


async def test_a_worker_that_died_while_no_manager_was_there(rig: Rig) -> None:
    worker = await rig.open_environment()
    uid = await rig.run_plan()
    await rig.crash()
    worker.die()
    await rig.start(first_start=False)
    (autopsy,) = (await rig.ok("worker_autopsy_list"))["autopsies"]
    assert autopsy["worker_uid"] == worker.uid
    assert autopsy["running_item_uid"] == uid
    assert autopsy["returncode"] is None


async def test_the_last_lines_and_the_last_workers_are_kept(rig: Rig) -> None:
    hub = ConsoleHub()
    for n in range(500):
        hub.feed(f"{n}:", 1.0)
        hub.feed("\ud800" + "x" * 1000 + "\n", 1.0)
        hub.feed("of a task\n", 1.0, "pool-1")
    state = State(worker_state=WorkerState())
    state.running = RunningItem("u", {"name": "scan"}, "{}", False, 10.0, Submission(), 10.0)
    autopsies = Autopsies(state, lambda: 12.0, hub.since, [{"n": n} for n in range(30)])
    batch = rig.manager.ledger.batch()
    autopsies.record(batch, WorkerRecord("w", 1, 1, rss_bytes=5), None, "why", "stacks")
    await rig.manager.ledger.commit(batch)
    newest, *older = autopsies.all()
    assert [a["n"] for a in older] == list(range(29, 29 - KEPT + 1, -1))
    assert len(newest["console"]) == CONSOLE_LINES
    assert newest["console"][-1].startswith("499:\\ud800x")
    assert all(len(line) == MAX_LINE_CHARS for line in newest["console"])
    assert newest["rss_bytes"] == 5
    assert newest["running_item_time_s"] == 2.0
