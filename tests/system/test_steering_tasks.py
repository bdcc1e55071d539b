"""Steering tasks of a real daemon: real workers are told to stop, killed, held and replaced."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from system_harness import ROOT, Daemon, function

TASKS = '''
import os, time
from remanager.tasks import Context, Permanent, task


@task
def quick(value=None):
    return value


@task
def held(gate, ctx: Context):
    """Wait until the file is there; listen to who wants it to stop."""
    while not os.path.exists(gate):
        ctx.check_cancelled()
        time.sleep(0.01)
    return os.getpid()


@task
def deaf(gate):
    """Wait until the file is there, whatever anybody wants."""
    while not os.path.exists(gate):
        time.sleep(0.01)
    return os.getpid()


@task
def broken(text):
    raise Permanent(text)


@task
def exposure(seconds):
    time.sleep(seconds)
'''


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the task module, and room for files."""
    directory = tmp_path_factory.mktemp("tasks")
    (directory / "steered_tasks.py").write_text(TASKS)
    return directory


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon], paths: Path) -> Iterator[Daemon]:
    """A running daemon with a pool."""
    made = make_daemon(
        *(
            "--task-modules",
            "steered_tasks",
            "--task-paths",
            str(paths),
            "--task-archive",
            str(paths / "archive"),
        ),
        *("--task-workers", "2"),
    )
    made.start()
    yield made
    made.close()


def submit(daemon: Daemon, name: str, *args: Any, **options: Any) -> str:
    return daemon.submit(function(name, *args), **options)


def wait(daemon: Daemon, *uids: str) -> dict[str, str]:
    """Wait until tasks have ended; return their states."""
    reply = daemon.client.long("task_wait", task_uid=list(uids), until="all")
    assert not reply["timed_out"], reply
    return dict(reply["done"])


def wait_started(daemon: Daemon, uid: str) -> None:
    """Wait until a worker has begun a task."""
    since = 0
    while True:
        page = daemon.client.long("event_list", timeout=20.0, since=since, types=["task_started"])
        if uid in {e["task_uid"] for e in page["events"]}:
            return
        assert page["events"], "the task was not started"
        since = page["next_seq"]


def test_cancel_retry_and_restart(daemon: Daemon, paths: Path) -> None:
    client = daemon.client
    gate = paths / "gate-1"
    listening, deaf = submit(daemon, "held", str(gate)), submit(daemon, "deaf", str(gate))
    for uid in (listening, deaf):
        wait_started(daemon, uid)
    waiting = submit(daemon, "quick", group="g", delay_s=1000.0)
    reply = client.ok("task_cancel", selector={"class": "active"}, kill_after_s=0.5)
    assert reply["cancelled"] == [waiting]
    assert set(reply["cancelling"]) == {listening, deaf}
    assert set(wait(daemon, listening, deaf, waiting).values()) == {"cancelled"}  # one worker was killed
    gate.touch()
    again = client.ok("task_retry", task_uid=deaf)["resubmitted"][deaf]
    assert wait(daemon, again) == {again: "completed"}
    failed = submit(daemon, "broken", "no")
    assert wait(daemon, failed) == {failed: "failed"}
    [worker] = client.ok("task_info", task_uid=again, include=["attempts"])["attempts"]
    pid = client.ok("task_result", task_uid=again)["result"]["return_value"]
    workers = {w["worker_uid"]: w for w in client.ok("worker_list")["workers"]}
    assert workers[worker["worker_uid"]]["pid"] == pid
    assert workers[worker["worker_uid"]]["cpu_s"] > 0
    client.ok("worker_restart", worker_uid=worker["worker_uid"])
    one = submit(daemon, "quick", 5)
    assert wait(daemon, one) == {one: "completed"}


def test_everything_set_survives_manager_and_daemon(daemon: Daemon, paths: Path) -> None:
    client = daemon.client
    client.ok("task_pause", scope="group", name="g", reason="no gas")
    client.ok("limit_set", scope="task_type", name="quick", max_running=1)
    client.ok("alert_rule_set", name="held", metric="task_count", selector={"state": "paused"}, warn=0.0)
    recurring = {"interval_s": 3600.0, "max_executions": 5}
    schedule = client.ok("schedule_add", item=function("quick", 1), recurring=recurring, **ROOT)[
        "schedule_uid"
    ]
    uid = submit(daemon, "quick", group="g")
    daemon.kill_manager()
    told = client.ok("task_info", task_uid=uid)["task"]
    assert (told["state"], told["pause_reasons"]) == ("paused", ["group"])
    daemon.stop()
    daemon.start()
    assert client.ok("task_info", task_uid=uid)["task"]["state"] == "paused"
    assert [x["name"] for x in client.ok("limit_list")["limits"]] == ["quick"]
    [found] = client.ok("schedule_list")["schedules"]
    assert (found["schedule_uid"], found["execution_count"]) == (schedule, 1)
    since = client.ok("event_list", limit=1)["next_seq"]
    if not client.ok("alert_list")["alerts"]:
        raised = client.long("event_list", since=since, types=["alert_raised"])
        assert raised["events"]
    assert client.ok("alert_list")["alerts"][0]["name"] == "held"
    assert client.ok("task_resume", scope="group", name="g")["resumed_count"] == 1
    assert wait(daemon, uid) == {uid: "completed"}
    deleted = client.ok("task_prune", selector={"task_uid": uid})
    lines = [json.loads(line) for line in (paths / "archive" / "tasks.jsonl").read_text().splitlines()]
    assert deleted["deleted"] == deleted["archived"] == [line["task_uid"] for line in lines].count(uid)
    assert "remanager_limits 1\n" in client.ok("metrics_get")["text"]


def test_a_large_selection_does_not_hold_up_others(daemon: Daemon) -> None:
    client = daemon.client
    items = [{"item": function("quick")}] * 5000
    client.ok("task_submit_batch", items=items, defaults={"delay_s": 1000.0, "group": "many"}, **ROOT)
    reply = client.ok("task_pause", scope="group", name="many")
    assert reply["held_count"] == 5000
    one = submit(daemon, "quick")
    assert wait(daemon, one) == {one: "completed"}
    reply = client.ok("task_cancel", selector={"group": "many"})
    assert reply["counts"]["cancelled"] == 5000
    counts = client.ok("task_count", selector={"group": "many"}, group_by="state")["counts"]
    assert counts == [{"value": "cancelled", "count": 5000}]


def test_one_worker_is_shared_by_weight(make_daemon: Callable[..., Daemon], paths: Path) -> None:
    weights = {"ada": 3.0, "bob": 1.0, "cyd": 1.0}
    daemon = make_daemon("--task-modules=steered_tasks", f"--task-paths={paths}", "--task-workers=1")
    daemon.start()
    client = daemon.client
    gate = paths / "shared"
    held = daemon.submit(function("held", str(gate)), who={"user": "dan", "user_group": "root"})
    wait_started(daemon, held)
    for user, weight in weights.items():
        client.ok("limit_set", scope="user", name=user, weight=weight)
        items = [{"item": function("exposure", 0.02)}] * 15
        client.ok("task_submit_batch", items=items, user=user, user_group="root")
    gate.touch()
    client.long("task_wait", selector={"name": ["exposure"]}, until="idle")
    tasks = client.ok("task_list", selector={"name": ["exposure"]}, limit=100)["tasks"]
    assert {t["state"] for t in tasks} == {"completed"}
    assert len(tasks) == 45
    tasks.sort(key=lambda t: float(t["time_start"]))

    # Whoever starts has had least of the worker by weight, whatever the machine did meanwhile. A task may
    # have been chosen before the one ahead of it had ended.
    had = dict.fromkeys(weights, 0.0)
    left = dict.fromkeys(weights, 15)
    longest = 0.0
    for task in tasks:
        user, duration = task["user"], task["time_stop"] - task["time_start"]
        others = [had[u] for u, number in left.items() if number and u != user]
        assert had[user] <= min(others, default=math.inf) + 2 * longest, "".join(t["user"][0] for t in tasks)
        left[user] -= 1
        had[user] += duration / weights[user]
        longest = max(longest, duration)
