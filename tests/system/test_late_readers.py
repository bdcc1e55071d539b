"""What a real daemon tells those who come late, ask in advance, ask twice, or ask why."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import zmq
from system_harness import USER, Daemon, Gate, plan

pytest.importorskip("bluesky")


def events(daemon: Daemon, since: int, *types: str) -> dict[str, Any]:
    """Wait for events."""
    return daemon.client.long("event_list", since=since, types=list(types))


def next_event(sub: zmq.Socket[bytes]) -> dict[str, Any]:
    """Return the next event that is published."""
    deadline = time.monotonic() + 30.0
    while (left := deadline - time.monotonic()) > 0 and sub.poll(int(1000 * left)):
        message = json.loads(sub.recv_multipart()[1])["msg"]
        assert "manager_state" in message["status"]  # clients of bluesky-queueserver expect it in each
        if "task_event" in message:
            event: dict[str, Any] = message["task_event"]
            return event
    raise TimeoutError("no event was published")


def test_an_event_wakes_many_and_is_published(daemon: Daemon) -> None:
    since = daemon.client.ok("event_list", limit=10_000)["next_seq"]
    with daemon.client.context.socket(zmq.SUB) as sub, ThreadPoolExecutor(5) as pool:
        sub.linger = 0
        sub.connect(daemon.info)
        sub.subscribe(b"QS_Info")
        assert sub.poll(10_000)  # the status: the subscription is there
        waiting = [pool.submit(events, daemon, since, "queue_item_added", "queue_cleared") for _ in range(5)]
        uid = daemon.add(plan("count", ["diode"]))
        replies = [w.result() for w in waiting]
        published = next_event(sub)
    assert [r["events"][0]["task_uid"] for r in replies] == [uid] * 5
    told = replies[0]["events"][0]
    assert published == {**{k: told[k] for k in ("seq", "time", "type", "task_uid")}, **told["data"]}
    daemon.client.ok("queue_item_remove", uid=uid)


def test_a_plan_is_followed_by_its_events(daemon: Daemon, gate: Gate) -> None:
    since = daemon.client.ok("event_list", limit=10_000)["next_seq"]
    daemon.add(gate.note_plan("a"))
    uid = daemon.add(gate.note_plan("b"))
    daemon.client.ok("queue_start")
    drained = events(daemon, since, "queue_drained")
    assert gate.lines() == ["a", "b"]
    assert drained["gap"] is False
    mine = daemon.client.ok("event_list", since=since, task_uid=uid)["events"]
    assert [e["type"] for e in mine] == ["queue_item_added", "plan_started", "plan_finished"]


def test_what_is_asked_twice_is_done_once(daemon: Daemon) -> None:
    request = {"item": plan("count", ["diode"]), "request_id": "first", **USER}
    first = daemon.client.ok("queue_item_add", **request)
    assert daemon.client.ok("queue_item_add", **request) == first
    assert daemon.queue() == [first["item"]["item_uid"]]
    daemon.client.ok("queue_clear", request_id="second")


def test_a_plan_is_estimated_from_one_that_ran(daemon: Daemon) -> None:
    item = plan("count", ["diode", "fluorescence"], num=4)
    since = daemon.client.ok("event_list", limit=10_000)["next_seq"]
    daemon.add(item)
    daemon.client.ok("queue_start")
    events(daemon, since, "queue_drained")
    result = daemon.history()[-1]["result"]
    item["kwargs"]["num"] = 8
    estimate = daemon.client.ok("item_check", item=item, **USER)["estimate"]
    assert estimate["points"] == 8
    assert estimate["devices"] == ["diode", "fluorescence"]
    assert estimate["duration_s"] > result["time_stop"] - result["time_start"]
    assert daemon.client.refused("item_check", item=plan("count", 5), **USER)["code"] == "invalid_item"


def runs_and_memory_are_known(daemon: Daemon) -> bool:
    """Tell whether the worker's reports of both have come; its console output may come before them."""
    (environment, *_) = daemon.client.ok("stats", sections=["workers"])["workers"]
    return bool(daemon.client.ok("re_runs")["run_list"] and environment["rss_bytes"])


def test_a_worker_that_died_is_explained(daemon: Daemon, gate: Gate) -> None:
    with daemon.listen() as listener:
        uid = daemon.add(gate.held_plan("last words"))
        daemon.client.ok("queue_start")
        listener.wait_text("the plan is held: last words")
        listener.wait_status(lambda _s: runs_and_memory_are_known(daemon))
    worker = daemon.worker()
    since = daemon.client.ok("event_list", limit=10_000)["next_seq"]
    daemon.kill_worker()
    told = events(daemon, since, "worker_autopsy")["events"][0]["data"]
    autopsy = daemon.client.ok("worker_autopsy_list")["autopsies"][0]
    assert autopsy == told
    assert autopsy["signal"] == "SIGKILL"
    assert autopsy["pid"] == worker.pid
    assert autopsy["running_item_uid"] == uid
    assert len(autopsy["open_run_uids"]) == 1
    assert autopsy["rss_bytes"] > 10 << 20
    assert "the plan is held: last words" in "\n".join(autopsy["console"])


def test_a_crash_is_explained(daemon: Daemon) -> None:
    daemon.client.ok("queue_clear")
    if not daemon.client.call("status")["worker_environment_exists"]:
        daemon.open_environment()
    uid = daemon.add(plan("segfault"))
    since = daemon.client.ok("event_list", limit=10_000)["next_seq"]
    daemon.client.ok("queue_start")
    events(daemon, since, "worker_autopsy")
    autopsy = daemon.client.ok("worker_autopsy_list")["autopsies"][0]
    assert (autopsy["signal"], autopsy["running_item_uid"]) == ("SIGSEGV", uid)
    assert "in segfault" in autopsy["traceback"]
    entry = daemon.history()[-1]
    assert entry["item_uid"] == uid
    assert entry["result"]["traceback"] == autopsy["traceback"]


def test_the_numbers_of_the_console_outlive_the_manager(daemon: Daemon) -> None:
    before = daemon.client.ok("console_get")
    assert before["lines"][0]["seq"] == before["oldest_seq"]
    daemon.kill_manager()
    after = daemon.client.ok("console_get", since=before["next_seq"])
    assert after["gap"]
    assert after["oldest_seq"] > before["next_seq"]
    assert daemon.client.ok("worker_autopsy_list")["autopsies"]
