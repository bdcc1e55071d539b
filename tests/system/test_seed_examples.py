"""The examples of the documents of other systems run against a daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from system_harness import Daemon

from remanager_api.views import cubefs

pytest.importorskip("bluesky")

EXAMPLES = Path(__file__).parents[2] / "examples" / "seeds"
PACE = {"SEED_TASKS_PACE": "0.1"}
ATTEMPTS = 5


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that tasks may touch."""
    return tmp_path_factory.mktemp("disks")


@pytest.fixture(scope="module")
def seeds(make_daemon: Callable[..., Daemon], disks: Path) -> Daemon:
    """A daemon with the tasks of the examples."""
    daemon = make_daemon(
        *("--task-paths", str(EXAMPLES), "--task-modules", "seed_tasks", "remanager.data_movement"),
        env={"REMANAGER_DATA_ROOTS": str(disks), **PACE},
    )
    daemon.start()
    return daemon


def launch(daemon: Daemon, name: str, *options: str) -> subprocess.Popen[str]:
    """Start an example."""
    return subprocess.Popen(
        [
            sys.executable,
            "-u",
            str(EXAMPLES / name),
            "--address",
            daemon.control,
            "--timeout",
            "30",
            *options,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **PACE},
    )


def finish(example: subprocess.Popen[str], before: str = "") -> str:
    """Wait for the end of an example and return what it printed, with what was read before."""
    with example:
        try:
            said, faults = example.communicate(timeout=50)
        except subprocess.TimeoutExpired:
            example.kill()
            raise
    assert example.returncode == 0, before + said + faults
    return before + said


def run(daemon: Daemon, name: str, *options: str) -> str:
    """Run an example and return what it printed."""
    return finish(launch(daemon, name, *options))


def test_memos(seeds: Daemon) -> None:
    text = run(seeds, "memos.py")
    assert "System: {'waiting': " in text
    assert "Waiting tasks: " in text
    assert text.rstrip().endswith(": completed")


def test_sitq(seeds: Daemon) -> None:
    text = run(seeds, "sitq.py")
    assert "Total Tasks: 6" in text
    assert "Completed: 5\nFailed: 1" in text
    assert "long_processing_task (Duration: " in text
    assert "Slowest task: " in text
    assert "Task processing slower than expected: " in text
    results = text[text.index("Results: ") :].splitlines()[0]
    assert "'Quick result 1'" in results
    assert "'Long result 5'" in results
    assert "completed: Long result 5" in text
    assert "failed: Task 6 has failed" in text
    assert '"completed": 5, "failed": 1}' in text
    steps = text[text.index("step by step:") :]
    assert [steps.index(f": {word}\n") for word in ("pending", "processing", "completed")]
    assert "Status monitoring example completed!" in text


def test_taskmill(seeds: Daemon) -> None:
    # What depends on the import is blocked for as long as the example may take to ask for it.
    seeds.client.ok("task_pause", scope="task_type", name="import_album")
    example = launch(seeds, "taskmill.py")
    assert example.stdout is not None
    begin = ""
    for line in example.stdout:
        begin += line
        if line.startswith("dependencies: "):
            break
    seeds.client.ok("task_resume", scope="task_type", name="import_album")
    text = finish(example, begin)
    assert "blocked: ['process::index_album']" in text
    assert "dependencies: True" in text
    assert "media::thumbnail: 5 completed" in text
    assert "16.7% failure rate" in text
    assert text.count("Completed at: ") == 2
    assert text.count("No task found with this key") == 1
    assert "Status: pending, priority: 128" in text
    for line in (
        *("recurring schedules: ['hourly']", "aging: None", "group allocations: [('photos', 2.0)"),
        *("paused groups: ['photos']", "rate limits: [('photos', 5.0)]"),
        *("one: True, again: False", "of an album: True", "with a tag: True", "all others: True"),
    ):
        assert line in text
    paused = [line for line in text.splitlines() if line.startswith("schedule is paused: ")]
    assert [line.rpartition(": ")[2] for line in paused] == ["[True]", "[False]", "[]"]
    assert "failed: ['/photos/broken.jpg is no picture'" in text


def test_cubefs(seeds: Daemon, disks: Path) -> None:
    text = run(seeds, "cubefs.py", "--directory", str(disks / "cubefs"))
    local, leader = (
        json.JSONDecoder().raw_decode(text.partition(f"GET {path}\n")[2])[0]
        for path in ("/stats", "/stats/leader")
    )
    assert local == leader
    assert local.keys() == cubefs.SECTIONS.keys()
    assert '"task_type": "manual_migrate"' in text
    assert '"progress": 100' in text
    assert '"total_tasks_cnt": 4,\n  "migrated_tasks_cnt": 4' in text
    last = json.loads(text.rpartition("GET /stats\n")[2])
    assert (last["disk_drop"]["total_tasks_cnt"], last["disk_drop"]["dropped_tasks_cnt"]) == (4, 4)
    finished = last["manual_migrate"]["stats_per_min"]["finished_cnt"]
    assert sum(map(int, finished.strip("[]").split())) == 1, "the copy, and no move of the drain"
    assert '"data_amount_byte": "[0.000B ' in text
    run(seeds, "cubefs.py", "--directory", str(disks / "cubefs"))


def test_bluesky(seeds: Daemon) -> None:
    # It asks at once, but a process that does not run meanwhile asks when the function has ended.
    for _ in range(ATTEMPTS):
        text = run(seeds, "bluesky.py")
        if text.count(": running") == 4:
            break
    assert text.count("one: running") == 2
    assert text.count("of several: running") == 2
    assert "then: completed, {'success': True, 'time': 0.2}" in text
    assert "unknown: not_found" in text
