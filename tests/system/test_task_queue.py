"""The task queue of a real daemon with real workers and a real task module."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from system_harness import ROOT, Daemon, function, plan

TASKS = Path(__file__).parent / "tasks"
WAIT_S = 30.0


@pytest.fixture(scope="module")
def tasks(make_daemon: Callable[..., Daemon], profile: Path) -> Daemon:
    """A daemon with the tasks of these tests and two workers; its environment is closed."""
    daemon = make_daemon(
        *("--startup-dir", str(profile), "--task-paths", str(TASKS)),
        *("--task-modules", "queue_tasks", "--task-workers", "2"),
    )
    daemon.start()
    return daemon


def submit(daemon: Daemon, name: str, *args: Any, **options: Any) -> str:
    """Submit a task; return its uid."""
    return daemon.submit(function(name, *args), **options)


def result(daemon: Daemon, uid: str) -> dict[str, Any]:
    """Wait for the end of a task; return state and result."""
    reply = daemon.client.long("task_result", task_uid=uid)
    assert reply["status"] == "completed", reply
    return {"state": reply["state"], **reply["result"]}


def task(daemon: Daemon, uid: str, *include: str) -> dict[str, Any]:
    """Return the record of a task, with further parts."""
    info = daemon.client.ok("task_info", task_uid=uid, include=list(include))
    return {**info["task"], **{part: info[part] for part in include}}


def release(pipe: Path, text: str) -> None:
    """Write to a pipe; whoever reads it goes on."""
    writer = threading.Thread(target=pipe.write_text, args=(text,), daemon=True)
    writer.start()
    writer.join(WAIT_S)
    assert not writer.is_alive()


def test_what_a_task_can_end_as(tasks: Daemon) -> None:
    ends = {
        submit(tasks, "add", 2, 3): ("completed", 5),
        submit(tasks, "fail", "no\nluck"): ("failed", None),
        submit(tasks, "skip", "done already"): ("skipped", None),
        submit(tasks, "fail", "again", max_retries=1, retry={"initial_s": 0.0}): ("dead_letter", None),
    }
    found = {uid: result(tasks, uid) for uid in ends}
    assert {uid: (r["state"], r["return_value"]) for uid, r in found.items()} == ends
    _, failed, skipped, dead = ends
    assert task(tasks, failed)["last_error"]["type"] == "ValueError"
    assert "raise ValueError(text)" in found[failed]["traceback"]
    assert task(tasks, skipped)["state_reason"] == "done already"
    assert [a["attempt"] for a in task(tasks, dead, "attempts")["attempts"]] == [1, 2]
    kinds = tasks.client.ok("stats", sections=["types"])["types"]["fail"]
    assert {e["error"]: e["count"] for e in kinds["err_stats"]} == {
        "ValueError: no": 1,
        "ValueError: again": 2,
    }
    stats = tasks.client.ok("type_stats", task_type="fail")["types"]["fail"]
    assert (stats["failure_rate"], stats["count_by_state"]) == (1.0, {"failed": 1, "dead_letter": 1})


def test_another_attempt_gets_the_checkpoint(tasks: Daemon, tmp_path: Path) -> None:
    uid = submit(tasks, "third_time", str(tmp_path / "notes"))
    assert result(tasks, uid)["return_value"] == [1, 2, 3]
    assert (tmp_path / "notes").read_text().split() == ["1", "2", "3"]


def test_children_and_dependents(tasks: Daemon) -> None:
    parent = submit(tasks, "family", 3, job_uid="family")
    after = submit(tasks, "add", 1, depends_on=[parent])
    never = submit(tasks, "add", 1, depends_on=[submit(tasks, "fail", "x")])
    assert result(tasks, after)["return_value"] == 2
    assert result(tasks, never)["state"] == "dependency_failed"
    info = task(tasks, parent, "children")
    assert (info["state"], len(info["children"])) == ("completed", 3)
    job = tasks.client.ok("job_status", job_uid="family")
    assert (job["state"], job["total_tasks_cnt"], job["percent"]) == ("completed", 4, 100)


def test_progress_and_a_restart_of_the_manager(tasks: Daemon, pipe: Path) -> None:
    uid = submit(tasks, "hold", str(pipe))
    waiting = submit(tasks, "add", 1, depends_on=[uid])
    with tasks.listen() as listener:
        listener.wait_status(
            lambda _s: any(p["percent"] == 25 for p in tasks.client.ok("task_progress")["progress"])
        )
    before = task(tasks, uid)
    tasks.kill_manager()
    assert task(tasks, uid)["worker_uid"] == before["worker_uid"]
    assert tasks.client.call("status")["tasks_queued"] == 1
    release(pipe, "freed")
    found = result(tasks, uid)
    assert (found["return_value"], found["attempt"]) == ("freed", 1)
    assert result(tasks, waiting)["state"] == "completed"
    ended = task(tasks, uid)
    assert (ended["progress"]["percent"], ended["actual_io"]["disk_read"]) == (100, 100)
    ends = tasks.client.ok("event_list", selector={"task_uid": uid}, types=["task_finished"])["events"]
    assert len(ends) == 1


def test_cancelling_is_told_and_then_enforced(tasks: Daemon, pipe: Path) -> None:
    uid = submit(tasks, "obedient", str(pipe))
    assert pipe.read_text() == "running"
    assert tasks.client.ok("task_cancel", task_uid=uid)["cancelling"] == [uid]
    assert result(tasks, uid)["state"] == "cancelled"
    uid = submit(tasks, "stubborn", str(pipe), kill_after_s=0.1)
    assert pipe.read_text() == "running"
    pid = psutil.Process(worker_of(tasks, uid)["pid"])
    tasks.client.ok("task_cancel", task_uid=uid)
    assert result(tasks, uid)["state"] == "cancelled"
    assert not psutil.wait_procs([pid], WAIT_S)[1]


def test_a_time_out_is_enforced(tasks: Daemon, pipe: Path) -> None:
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # the time may be over before the task has written
    try:
        uid = submit(tasks, "stubborn", str(pipe), timeout_s=0.2, kill_after_s=0.1)
        assert result(tasks, uid)["state"] == "timed_out"
    finally:
        os.close(reader)
    assert task(tasks, uid)["last_error"]["type"] == "TimeoutError"


def test_a_worker_that_dies(tasks: Daemon) -> None:
    """What it had not begun is run by another one."""
    uids = [submit(tasks, name, *args) for name, args in (("die", ()), ("add", (1,)), ("add", (2,)))]
    found = [result(tasks, uid) for uid in uids]
    assert found[0]["state"] == "lost"
    assert [r["return_value"] for r in found[1:]] == [2, 3]
    assert "3" in found[0]["msg"]  # its exit code
    again = submit(tasks, "die", max_retries=1, retry={"initial_s": 0.0})
    assert (result(tasks, again)["state"], task(tasks, again)["attempt"]) == ("lost", 2)


def test_refusals_of_a_real_module(tasks: Daemon) -> None:
    item = {"item_type": "function", "name": "add", "args": [1, 2, 3]}
    assert "do not fit the function 'add'" in tasks.client.refused("task_submit", item=item, **ROOT)["msg"]
    item = {"item_type": "function", "name": "nix"}
    assert tasks.client.refused("task_submit", item=item, **ROOT)["code"] == "invalid_item"
    names = {f["name"] for f in tasks.client.ok("task_function_list")["functions"]}
    assert {"add", "hold", "family"} <= names


def test_many_tasks_add_up(tasks: Daemon) -> None:
    items = [{"item": {"item_type": "function", "name": "add", "args": [n]}} for n in range(500)]
    before = tasks.client.ok("stats", sections=["counters"])["counters"]
    job = tasks.client.ok("task_submit_batch", items=items, **ROOT)["job_uid"]
    waited = tasks.client.long("task_wait", job_uid=job)
    assert len(waited["done"]) == 500
    after = tasks.client.ok("stats")
    counters = {n: after["counters"][n] - before[n] for n in ("submitted", "dispatched", "completed")}
    assert (counters["submitted"], counters["completed"]) == (500, 500)
    assert after["types"]["add"]["done_tasks_cnt"] == after["types"]["add"]["total_tasks_cnt"]
    assert after["summary"]["live"]["total"] == 0
    status = tasks.client.ok("queue_status")
    assert (status["queued"], status["unacked"], status["lanes"]) == (0, 0, [])
    snapshot = tasks.client.ok("snapshot")
    assert (snapshot["running"], snapshot["counts"], snapshot["max_concurrency"]) == ([], {}, 2)


def test_a_task_that_waits_for_a_plan(tasks: Daemon) -> None:
    pytest.importorskip("bluesky")
    tasks.open_environment()
    uid = tasks.add(plan("count", ["diode"]))
    after = submit(tasks, "add", 1, depends_on=[uid])
    assert task(tasks, after)["wait_reason"] == "dependencies"
    tasks.client.ok("queue_start")
    assert result(tasks, after)["state"] == "completed"
    assert tasks.client.ok("stats", sections=["types"])["types"]["count"]["done_tasks_cnt"] == 1
    tasks.close_environment()


def test_results_and_figures_survive_a_stop(tasks: Daemon) -> None:
    uid = submit(tasks, "add", 40, 2)
    assert result(tasks, uid)["return_value"] == 42
    before = tasks.client.ok("stats", sections=["types", "counters"])
    assert tasks.stop() == 0
    tasks.start()
    assert result(tasks, uid)["return_value"] == 42
    after = tasks.client.ok("stats", sections=["types", "counters"])
    assert after["counters"]["since_ever"] == before["counters"]["since_ever"]
    assert after["types"]["add"]["latency_ms"] == before["types"]["add"]["latency_ms"]
    assert sum(after["types"]["add"]["per_min"]["succeeded"]) > 500


def worker_of(daemon: Daemon, uid: str) -> dict[str, Any]:
    """Return the worker that runs a task."""
    workers = daemon.client.ok("stats", sections=["workers"])["workers"]
    worker: dict[str, Any] = next(w for w in workers if uid in w["running"])
    return worker


def test_code_that_keeps_the_lock_of_the_interpreter_is_ended_in_time(tasks: Daemon) -> None:
    uid = submit(tasks, "keep_the_lock", 25, timeout_s=1.0, kill_after_s=0.5)
    assert result(tasks, uid)["state"] == "timed_out"
    assert 1.5 <= task(tasks, uid)["duration"] < 25.0
