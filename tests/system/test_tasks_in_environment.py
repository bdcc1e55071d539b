"""Tasks of the task queue that run functions of the environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from system_harness import USER, Daemon, Gate, function

pytest.importorskip("bluesky")


@pytest.fixture(scope="module")
def closed(make_daemon: Callable[..., Daemon], profile: Any) -> Daemon:
    """A daemon whose environment is closed at first."""
    made = make_daemon("--startup-dir", str(profile))
    made.start()
    return made


def submit(daemon: Daemon, item: dict[str, Any], **options: Any) -> str:
    """Submit a task for the environment and return its uid."""
    return daemon.submit(item, USER, where="environment", **options)


def test_a_task_waits_for_the_environment_and_runs_in_it(closed: Daemon) -> None:
    uid = submit(closed, function("give", 42))
    task = closed.client.ok("task_info", task_uid=uid)["task"]
    assert (task["state"], task["wait_reason"]) == ("pending", "environment_closed")
    closed.open_environment()
    info = closed.wait_ended(uid)
    assert (info["task"]["state"], info["result"]["return_value"]) == ("completed", 42)


def test_a_failure_is_tried_again(closed: Daemon) -> None:
    retry = {"strategy": "constant", "initial_s": 0.0}
    info = closed.wait_ended(submit(closed, function("fail"), max_retries=2, retry=retry))
    assert (info["task"]["state"], info["task"]["attempt"]) == ("dead_letter", 3)
    assert len(info["attempts"]) == 3


def test_a_task_goes_on_while_the_manager_is_restarted(closed: Daemon, gate: Gate) -> None:
    uid = submit(closed, gate.held_function("held"))
    closed.wait(lambda s: s["worker_background_tasks"] == 1)
    closed.kill_manager()
    gate.answer("done")
    info = closed.wait_ended(uid)
    assert (info["task"]["state"], info["task"]["attempt"]) == ("completed", 1)
    assert gate.lines().count("held") == 1


def test_a_task_that_listens_is_stopped_when_its_time_is_over(closed: Daemon, gate: Gate) -> None:
    uid = submit(closed, function("listen", str(gate.notes)), timeout_s=0.5)
    task = closed.wait_ended(uid)["task"]
    assert (task["state"], task["last_error"]["type"]) == ("timed_out", "TimeoutError")
    assert task["duration"] >= 0.5


def test_a_task_that_listens_is_cancelled(closed: Daemon, gate: Gate) -> None:
    uid = submit(closed, function("listen", str(gate.notes)))
    closed.wait(lambda s: s["worker_background_tasks"] == 1)
    closed.client.ok("task_cancel", task_uid=uid)
    assert closed.wait_ended(uid)["task"]["state"] == "cancelled"


def test_a_task_that_does_not_listen_is_late_and_the_environment_stays(closed: Daemon, gate: Gate) -> None:
    worker = closed.worker().pid
    uid = submit(closed, gate.held_function("deaf"), timeout_s=0.2, kill_after_s=0.1)
    news = closed.client.long("event_list", task_uid=uid, types=["task_changed"], timeout=10.0)["events"]
    assert news[0]["data"]["stage"] == "cancelling"
    assert closed.client.ok("task_info", task_uid=uid)["task"]["stage"] == "cancelling"
    gate.answer("late")
    assert closed.wait_ended(uid)["task"]["state"] == "timed_out"
    assert closed.worker().pid == worker


def test_a_task_of_a_worker_that_dies_is_lost(closed: Daemon, gate: Gate) -> None:
    uid = submit(closed, gate.held_function("lost"))
    closed.wait(lambda s: s["worker_background_tasks"] == 1)
    closed.kill_worker()
    assert closed.wait_ended(uid)["task"]["state"] == "lost"
