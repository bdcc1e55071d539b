"""A real daemon moves the data of runs: after plans, by children, and as one job."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from system_harness import USER, Daemon, function, plan

from remanager_api.views import cubefs

pytest.importorskip("bluesky")


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directories that tasks may touch."""
    root = tmp_path_factory.mktemp("disks")
    for name in ("fast", "archive"):
        (root / name).mkdir()
    return root


@pytest.fixture(scope="module")
def mover(make_daemon: Callable[..., Daemon], profile: Path, disks: Path) -> Daemon:
    """A daemon with the tasks of data movement, its environment open."""
    daemon = make_daemon(
        *("--startup-dir", str(profile), "--task-modules", "remanager.data_movement"),
        env={"REMANAGER_DATA_ROOTS": str(disks)},
    )
    daemon.start()
    daemon.open_environment()
    return daemon


def make_run(place: Path) -> Path:
    """Make a run."""
    place.mkdir()
    (place / "data.h5").write_bytes(os.urandom(100_000))
    return place


def submit(daemon: Daemon, name: str, *args: Any, **options: Any) -> str:
    """Submit a task and return its uid."""
    return daemon.submit(function(name, *map(str, args)), USER, **options)


def test_data_follow_a_plan_that_succeeds(mover: Daemon, disks: Path) -> None:
    run = make_run(disks / "fast" / "run1")
    scan = mover.add(plan("count", ["diode"]))
    uid = submit(mover, "move_run", run, disks / "archive" / "run1", depends_on=[scan])
    info = mover.client.ok("task_info", task_uid=uid)["task"]
    assert (info["state"], info["wait_reason"]) == ("blocked", "dependencies")
    mover.client.ok("queue_start")
    info = mover.wait_ended(uid)
    assert info["task"]["state"] == "completed", info
    assert not run.exists()
    assert (disks / "archive" / "run1" / "data.h5").stat().st_size == 100_000
    assert info["progress"]["percent"] == 100
    assert info["task"]["actual_io"]["disk_write"] == 100_000
    mover.wait_idle()


def test_data_of_a_plan_that_fails_stay(mover: Daemon, disks: Path) -> None:
    run = make_run(disks / "fast" / "run2")
    scan = mover.add(plan("broken", str(disks / "lines"), "x"))
    uid = submit(mover, "move_run", run, disks / "archive" / "run2", depends_on=[scan])
    mover.client.ok("queue_start")
    info = mover.wait_ended(uid)
    assert info["task"]["state"] == "dependency_failed"
    assert run.exists()
    mover.wait_idle()
    mover.client.ok("queue_clear")


def test_data_of_a_plan_that_is_removed_stay(mover: Daemon, disks: Path) -> None:
    scan = mover.add(plan("count", ["diode"]))
    uid = submit(mover, "inspect_run", disks / "archive" / "run1", depends_on=[scan])
    mover.client.ok("queue_item_remove", uid=scan)
    assert mover.wait_ended(uid)["task"]["state"] == "dependency_failed"


def test_a_directory_is_drained_by_children_of_one_job(mover: Daemon, disks: Path) -> None:
    source, target = disks / "drained", disks / "target"
    source.mkdir()
    target.mkdir()
    for number in range(3):
        make_run(source / f"run{number}")
    uid = submit(mover, "drain_directory", source, target, job_uid="drain-1")
    info = mover.wait_ended(uid)
    assert info["task"]["state"] == "completed", info
    assert info["result"]["return_value"] == {"moved": 3}
    assert sorted(p.name for p in target.iterdir()) == ["run0", "run1", "run2"]
    assert not source.exists()
    job = mover.client.ok("job_status", job_uid="drain-1")
    assert (job["state"], job["total_tasks_cnt"], job["succeeded"]) == ("completed", 4, 4)
    assert job["done_size"] == job["total_size"] > 0
    selected = mover.client.ok("job_status", selector={"job_uid": "drain-1"})
    assert selected == {name: value for name, value in job.items() if name != "job_uid"}
    counts = mover.client.ok("task_count", selector={"job_uid": "drain-1"}, group_by="tag:disk")["counts"]
    assert {c["value"]: c["count"] for c in counts}[str(source)] == 3


def test_what_a_drain_could_not_move_is_not_migrated(mover: Daemon, disks: Path) -> None:
    source, target = disks / "refused", disks / "occupied"
    source.mkdir()
    for number in range(3):
        make_run(source / f"run{number}")
    (target / "run1").mkdir(parents=True)
    (target / "run1" / "data.h5").write_bytes(b"other")
    before = cubefs.stats(mover.client.ok("stats"))["disk_drop"]
    info = mover.wait_ended(submit(mover, "drain_directory", source, target))
    assert info["task"]["state"] == "failed", info
    job = mover.client.ok("job_status", selector=cubefs.migrating_selector("disk_drop", str(source)))
    assert cubefs.disk_migrating(job) == {"total_tasks_cnt": 3, "migrated_tasks_cnt": 2}
    after = cubefs.stats(mover.client.ok("stats"))["disk_drop"]
    gained = [after[name] - before[name] for name in ("total_tasks_cnt", "dropped_tasks_cnt")]
    assert gained == [3, 2]


def test_what_is_damaged_is_found_and_repaired(mover: Daemon, disks: Path) -> None:
    run = make_run(disks / "fast" / "run3")
    copy = disks / "archive" / "run3"
    assert mover.wait_ended(submit(mover, "copy_run", run, copy))["task"]["state"] == "completed"
    known = (copy / "data.h5").stat()
    (copy / "data.h5").write_bytes(b"x" * 100_000)
    os.utime(copy / "data.h5", ns=(known.st_atime_ns, known.st_mtime_ns))
    inspected = mover.wait_ended(submit(mover, "inspect_run", copy))
    assert inspected["task"]["state"] == "failed"
    assert "data.h5" in inspected["task"]["last_error"]["msg"]
    assert mover.wait_ended(submit(mover, "repair_run", copy, run))["task"]["state"] == "completed"
    assert mover.wait_ended(submit(mover, "inspect_run", copy))["task"]["state"] == "completed"


def test_a_path_outside_fails_for_good(mover: Daemon, tmp_path: Path) -> None:
    info = mover.wait_ended(submit(mover, "inspect_run", tmp_path))
    assert (info["task"]["state"], info["task"]["attempt"]) == ("failed", 1)
    assert "lies in none of the directories" in info["task"]["last_error"]["msg"]


def test_faults_of_the_caller_fail_for_good(mover: Daemon, disks: Path) -> None:
    run, copy = make_run(disks / "fast" / "run4"), disks / "archive" / "run4"
    info = mover.wait_ended(submit(mover, "copy_run", run, copy, "*.raw"))
    assert (info["task"]["state"], info["task"]["attempt"]) == ("failed", 1)
    assert "must be a list of texts" in info["task"]["last_error"]["msg"]
    assert mover.wait_ended(submit(mover, "move_run", run, copy))["task"]["state"] == "completed"
    monday = (copy / "data.h5").read_bytes()
    make_run(run)
    info = mover.wait_ended(submit(mover, "move_run", run, copy))
    assert (info["task"]["state"], info["task"]["attempt"]) == ("failed", 1)
    assert "'data.h5' (differs)" in info["task"]["last_error"]["msg"]
    assert (copy / "data.h5").read_bytes() == monday
    assert (run / "data.h5").exists()
