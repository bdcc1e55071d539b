"""Valid requests with one part replaced by a hard value: all are answered, and then the figures agree."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from system_harness import ROOT, Daemon, function, plan

pytest.importorskip("bluesky")

TASKS = Path(__file__).parent / "tasks"
ROUNDS = 10
FAULTS = ("internal", "storage")

Place = tuple[str | int, ...]


def nested(depth: int, *, in_dicts: bool = False) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value} if in_dicts else [value]
    return value


VALUES: tuple[Any, ...] = (
    *(None, True, "", 0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1, 0.5, 1e300, math.nan, -math.inf),
    *("\0", "a\0b", "%", "\ufffe", "é\U0001f916", "x" * 70_000, "../..", [], {}, [None], ["x"], {"": {}}),
    *({"__float__": "nan"}, {"all": True}, {"min": 1}, nested(150), nested(150, in_dicts=True), nested(300)),
)
JSON_VALUES = (*VALUES, 2**70, 10**400, "\ud800", "a\udcff", ["\udfff"], {"\ud800": "\ud800"})
MSGPACK_VALUES = (*VALUES, b"", b"\xff", [b"x"], {b"k": 1}, msgpack.ExtType(5, b"x"), msgpack.Timestamp(1, 2))

GIVE = function("give", 1, value=1) | {"args": [1], "kwargs": {}, "meta": {"a": 1}}
COUNT = plan("count", ["diode"], num=1) | {"meta": {"a": 1}, "label": "l", "tags": {"a": "b"}}
ADDED = {"item_type": "instruction", "name": "queue_stop"}
OPTIONS = {
    **{"priority": 5, "group": "g", "domain": "d", "label": "l", "key": "k", "tags": {"a": "b"}},
    **{
        "delay_s": 900.0,
        "ttl_s": 5000.0,
        "timeout_s": 3.0,
        "max_retries": 1,
        "expected_io": {"disk_read": 5},
    },
    **{"retry": {"strategy": "constant", "initial_s": 0.1}, "resource_lock": "L", "where": "pool"},
}
SELECTOR = {
    **{"name": "give", "domain": "d", "group": ["g", "h"], "user": "tester", "key": ["k"], "job_uid": "j"},
    **{"state": "pending", "class": "active", "ready": False, "tags": {"a": "b"}, "tag_key_prefix": "a"},
    **{"priority": {"min": 1, "max": 9}, "created": {"after": 1.0}, "location": "any"},
}
RULE = {"name": "r", "metric": "task_count", "selector": SELECTOR, "op": ">", "warn": 1, "critical": 5.0}
RATE = {"permits": 1.0, "interval_s": 1.0, "burst": 3.0}
RECURRING = {"interval_s": 1.0, "initial_delay_s": 0.0, "mode": "fixed_rate", "max_executions": 3}
BASES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("queue_item_add", {"item": COUNT, **ROOT}),
    ("queue_item_add", {"item": ADDED, "pos": "front", **ROOT}),
    ("queue_item_add_batch", {"items": [COUNT, ADDED], **ROOT}),
    ("queue_item_update", {"item": {**COUNT, "item_uid": "ITEM"}, "replace": False, **ROOT}),
    ("queue_item_move", {"uid": "ITEM", "pos_dest": 0}),
    ("queue_item_remove_batch", {"uids": ["unknown"], "ignore_missing": True}),
    ("queue_mode_set", {"mode": {"loop": False, "ignore_failures": True}}),
    ("queue_get", {"limit": 3, "cursor": 5}),
    ("history_get", {"limit": 3}),
    ("function_execute", {"item": GIVE, **ROOT, "run_in_background": True}),
    ("item_check", {"items": [COUNT, GIVE], **ROOT}),
    ("task_submit", {"item": GIVE, "options": OPTIONS, **ROOT}),
    ("task_submit", {"item": GIVE, "options": {"depends_on": ["TASK"]}, **ROOT}),
    (
        "task_submit_batch",
        {"items": [{"item": GIVE}, {"item": GIVE, "options": {"depends_on": [0]}}], **ROOT},
    ),
    ("task_status", {"task_uid": ["TASK"]}),
    ("task_info", {"task_uid": "TASK", "include": ["transitions", "result"]}),
    ("task_result_batch", {"task_uid": ["TASK"], "fields": ["state"]}),
    ("task_wait", {"task_uid": ["TASK"], "timeout": 0.01}),
    ("task_list", {"selector": SELECTOR, "order": "created", "limit": 5, "offset": 1, "fields": ["state"]}),
    ("task_count", {"selector": SELECTOR, "group_by": "tag:a"}),
    ("job_status", {"job_uid": ["j"]}),
    ("tag_list", {"prefix": "a", "selector": SELECTOR}),
    ("task_update", {"task_uid": "TASK", "changes": {"priority": 3, "group": "g", "tags": {"a": "c"}}}),
    ("task_cancel", {"task_uid": ["TASK"], "reason": "r"}),
    ("task_cancel", {"selector": {**SELECTOR, "name": "unknown"}, "reason": "r"}),
    ("task_retry", {"task_uid": ["unknown"]}),
    ("task_pause", {"scope": "group", "name": "g", "reason": "r"}),
    ("task_resume", {"scope": "group", "name": "g"}),
    ("task_prune", {"keep": 1000, "max_age_s": 500.0, "selector": SELECTOR}),
    ("limit_set", {"scope": "group", "name": "n", "max_running": 3, "weight": 1.0, "rate": RATE}),
    ("limit_list", {"scope": "group", "name": "n"}),
    ("schedule_add", {"item": GIVE, "recurring": RECURRING, "options": {"group": "g", "key": "s"}, **ROOT}),
    ("schedule_list", {"selector": {"task_type": "give", "group": ["g"], "user": "tester"}}),
    ("alert_rule_set", RULE),
    ("alert_ack", {"name": "r", "user": "tester"}),
    ("lock", {"queue": True, "user": "tester", "note": "n", "lock_key": "key"}),
    ("event_list", {"since": 1, "types": ["locked"], "selector": {"user": "tester"}, "limit": 3}),
    ("queue_status", {"selector": SELECTOR, "group_by": "user"}),
    ("type_stats", {"task_type": ["give"], "sample": 3}),
    ("snapshot", {"selector": SELECTOR, "parts": ["running"]}),
    ("stats_history", {"metric": "queued", "from": 1.0, "step_s": 60}),
    ("status_wait", {"status_uid": "unknown", "timeout": 0.01}),
)


def places(value: Any, path: Place = ()) -> Iterator[Place]:
    """Yield the way to each part."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for number in range(len(value)):
            yield from places(value[number], (*path, number))


def replaced(params: dict[str, Any], path: Place, value: Any) -> dict[str, Any]:
    """Return the parameters with another value in a place."""
    made = copy.deepcopy(params)
    part: Any = made
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    return made


def named(value: Any, uids: dict[str, str]) -> Any:
    """Return parameters with UIDs in place of their names."""
    if isinstance(value, dict):
        return {key: named(part, uids) for key, part in value.items()}
    if isinstance(value, list):
        return [named(part, uids) for part in value]
    return uids.get(value, value) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def fuzzed(make_daemon: Callable[..., Daemon], profile: Path) -> Daemon:
    """A daemon with a pool of workers and an open environment."""
    daemon = make_daemon(
        *("--startup-dir", str(profile), "--task-paths", str(TASKS)),
        *("--task-modules", "item_tasks", "--task-workers", "2"),
    )
    daemon.start()
    daemon.open_environment()
    daemon.wait_ended(daemon.submit(function("give", 1)))  # now the arguments of tasks are checked
    return daemon


def exchange(daemon: Daemon, request: dict[str, Any], *, packed: bool) -> Any:
    """Send a request in either encoding; return the reply."""
    if packed:
        frame = daemon.client.send_raw(msgpack.packb(request))
        return msgpack.unpackb(frame, strict_map_key=False)
    return json.loads(daemon.client.send_raw(json.dumps(request).encode()))


def figures(daemon: Daemon) -> dict[str, int]:
    """Return how many tasks wait, by all who say so, once nothing comes or runs any more; they must agree."""
    client = daemon.client
    for schedule in client.ok("schedule_list")["schedules"]:
        client.ok("schedule_pause", schedule_uid=schedule["schedule_uid"])
    client.ok("task_pause", scope="all")
    client.long("task_wait", selector={"state": "running"}, until="idle")
    status, stats = client.ok("queue_status"), client.ok("stats")["queue"]
    active = client.ok("task_count", selector={"class": "active"}, group_by="state")
    found = {r: client.ok("task_count", selector={"ready": r})["total"] for r in (True, False)}
    in_pages = len(client.ok("task_list", selector={"class": "active"}, limit=1000)["tasks"])
    assert status["queued"] == stats["depth"] == sum(found.values()), (status, stats, found)
    assert status["unacked"] == stats["unacked"], (status, stats)
    by_state = sum(row["count"] for row in active["counts"])
    assert status["total"] == active["total"] == by_state == in_pages, (status, active)
    plans = client.ok("task_count", selector={"item_type": ["plan", "instruction"], "class": "active"})
    items = [len(exchange(daemon, {"method": "queue_get"}, packed=p)["items"]) for p in (True, False)]
    assert items == [plans["total"], status["plan_queue"]["items_in_queue"]]
    return {"queued": status["queued"], "unacked": status["unacked"], "plans": plans["total"]}


@pytest.mark.parametrize("seed", [1, 2])
def test_hard_values_anywhere(fuzzed: Daemon, seed: int) -> None:
    daemon, rng = fuzzed, random.Random(seed)
    manager = daemon.manager()
    for method, base in BASES * ROUNDS:
        if (method, base) == BASES[0]:
            uids = {"ITEM": daemon.add(COUNT), "TASK": daemon.submit(function("give", 1), delay_s=900.0)}
        params = named(base, uids)
        packed = rng.random() < 0.5
        path = rng.choice(list(places(params)))
        value = rng.choice(MSGPACK_VALUES if packed else JSON_VALUES)
        request = {"method": method, "params": replaced(params, path, value)}
        what = f"{request!r:.1000}"
        reply = exchange(daemon, request, packed=packed)
        assert reply.get("code") not in FAULTS, (reply, what)
        assert manager.is_running(), (what, daemon.log_tail())
        if method == "lock" and reply["success"]:
            daemon.client.ok("unlock", lock_key=request["params"]["lock_key"])
    before = figures(daemon)
    assert daemon.manager().pid == manager.pid, daemon.log_tail()
    daemon.kill_manager()  # what was accepted can be read again
    assert figures(daemon) == before
    daemon.client.ok("task_resume", scope="all")
