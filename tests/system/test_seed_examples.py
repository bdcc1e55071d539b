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

pytest.importorskip("bluesky")

EXAMPLES = Path(__file__).parents[2] / "examples" / "seeds"
PACE = {"SEED_TASKS_PACE": "0.1"}


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


def run(daemon: Daemon, name: str, *options: str) -> str:
    """Run an example and return what it printed."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), "--address", daemon.control, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
        env={**os.environ, **PACE},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_memos(seeds: Daemon) -> None:
    text = run(seeds, "memos.py")
    assert "System: {'waiting': " in text
    assert "Waiting tasks: " in text
    assert text.rstrip().endswith(": completed")


def test_sitq(seeds: Daemon) -> None:
    text = run(seeds, "sitq.py")
    assert "Total Tasks: 5" in text
    assert "Completed: 5" in text
    assert "Slowest task: " in text
    assert "completed: Long result 5" in text
    steps = text[text.index("step by step:") :]
    assert [steps.index(f": {word}\n") for word in ("pending", "processing", "completed")]
    assert "Status monitoring example completed!" in text


def test_taskmill(seeds: Daemon) -> None:
    text = run(seeds, "taskmill.py")
    assert "blocked: ['process::index_album']" in text
    assert "dependencies: True" in text
    assert "media::thumbnail: 5 completed" in text
    assert "16.7% failure rate" in text
    assert "Completed at: " in text
    assert "failed: ['/photos/broken.jpg is no picture']" in text


def test_cubefs(seeds: Daemon, disks: Path) -> None:
    text = run(seeds, "cubefs.py", "--directory", str(disks / "cubefs"))
    assert '"progress": 100' in text
    assert '"total_tasks_cnt": 4,\n  "migrated_tasks_cnt": 4' in text
    last = json.loads(text.rpartition("GET /stats\n")[2])
    assert (last["disk_drop"]["total_tasks_cnt"], last["disk_drop"]["dropped_tasks_cnt"]) == (4, 4)
    finished = last["manual_migrate"]["stats_per_min"]["finished_cnt"]
    assert sum(map(int, finished.strip("[]").split())) == 1, "the copy, and no move of the drain"
    assert '"data_amount_byte": "[0.000B ' in text
    run(seeds, "cubefs.py", "--directory", str(disks / "cubefs"))


def test_bluesky(seeds: Daemon) -> None:
    text = run(seeds, "bluesky.py")
    assert text.count("one: running") == 2
    assert text.count("of several: running") == 2
    assert "then: completed, {'success': True, 'time': 0.2}" in text
    assert "unknown: not_found" in text
