"""Daemons on copies of a state directory, and on one that was moved: whose workers are whose."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from system_harness import Daemon, Gate, function, start_held

pytest.importorskip("bluesky")

pytestmark = pytest.mark.timeout(180)  # some tests have two daemons, and start them more than once

TASKS = ("--task-paths", str(Path(__file__).parent / "tasks"), "--task-modules", "queue_tasks")
COPY = {
    "backup": [sys.executable, "-m", "remanager", "backup", "{target}", "--state-dir", "{source}"],
    "cp": ["cp", "-a", "{source}", "{target}"],
}


class Busy:
    """A daemon whose environment and pool are busy until the test lets them go on."""

    def __init__(self, daemon: Daemon, gate: Gate) -> None:
        self.daemon, self.gate = daemon, gate
        self.task = daemon.submit(function("hold", str(gate.pipe)))
        self.held, self.note = start_held(daemon, gate)
        # It is not lost before it has begun: a worker that was just given it may not have.
        daemon.wait(
            lambda _s: any(p.get("percent") == 25 for p in daemon.client.ok("task_progress")["progress"])
        )
        self.environment = daemon.worker()
        self.workers = {pid: psutil.Process(pid) for pid in pids(daemon)}

    def leave(self) -> None:
        """Stop the daemon; its workers go on."""
        assert self.daemon.process is not None
        self.daemon.process.send_signal(signal.SIGTERM)
        assert self.daemon.process.wait(20) == 0
        self.daemon.process = None
        self.check_workers()

    def check_workers(self) -> None:
        """Nobody has ended the workers."""
        assert len(self.workers) == 2
        assert all(worker.is_running() for worker in self.workers.values())

    def check_undisturbed(self) -> None:
        """Let the work go on; everything must be as if nothing had been."""
        self.check_workers()
        assert pids(self.daemon) == self.workers.keys()
        self.gate.release()
        self.gate.answer("freed")
        daemon = self.daemon
        daemon.wait(lambda s: s["manager_state"] == "idle" and s["items_in_history"] == 2)
        done = [(h["item_uid"], h["result"]["exit_status"]) for h in daemon.history()]
        assert done == [(self.held, "completed"), (self.note, "completed")]
        assert self.gate.lines() == ["held", "held done", "after"]
        ended = daemon.wait_ended(self.task)
        assert (ended["result"]["return_value"], ended["task"]["attempt"]) == ("freed", 1)
        self.check_workers()


def pids(daemon: Daemon) -> set[int]:
    """The processes of the workers that a daemon knows."""
    return {row["pid"] for row in daemon.client.ok("worker_list")["workers"]}


def copy(how: str, source: Path, target: Path) -> None:
    """Copy a state directory."""
    words = [word.format(source=source, target=target) for word in COPY[how]]
    subprocess.run(words, check=True, capture_output=True, timeout=60)


def check_closed(daemon: Daemon, busy: Busy) -> None:
    """What ran in the workers of another daemon is closed; this one has none."""
    status = daemon.client.call("status")
    assert status["manager_state"] == "idle"
    assert status["worker_environment_exists"] is False
    assert not pids(daemon) & busy.workers.keys()
    (entry,) = daemon.history()
    assert (entry["item_uid"], entry["result"]["exit_status"]) == (busy.held, "unknown")
    assert "is a copy" in entry["result"]["msg"]
    assert daemon.queue() == [busy.note]
    assert daemon.client.ok("task_status", task_uid=busy.task)["state"] == "lost"


@pytest.fixture
def make(make_daemon: Callable[..., Daemon], profile: Path) -> Iterator[Callable[..., Daemon]]:
    """Make daemons that end with the test."""
    made: list[Daemon] = []

    def make(*options: str) -> Daemon:
        made.append(make_daemon("--startup-dir", str(profile), *options))
        return made[-1]

    yield make
    for daemon in made:
        if daemon.process is not None:
            daemon.process.send_signal(signal.SIGINT)  # whatever SIGTERM means to it
            daemon.process.wait(20)
            daemon.process = None
        daemon.close()


@pytest.fixture
def busy(make: Callable[..., Daemon], gate: Gate) -> Busy:
    """A daemon that runs a plan and a task, and leaves its workers when it is stopped."""
    daemon = make(*TASKS, "--on-stop", "leave-workers")
    daemon.start()
    daemon.open_environment()
    return Busy(daemon, gate)


@pytest.mark.parametrize("how", list(COPY))
def test_a_copy_beside_its_original(make: Callable[..., Daemon], busy: Busy, how: str) -> None:
    other = make()
    copy(how, busy.daemon.state_dir, other.state_dir)
    other.start()
    check_closed(other, busy)
    for pid in busy.workers:
        assert f"pid {pid} is left alone" in other.console()
    other.client.ok("manager_stop", option="safe_off")
    assert other.process is not None
    assert other.process.wait(20) == 0
    other.process = None
    busy.check_undisturbed()


def test_a_copy_that_has_workers_of_its_own(make: Callable[..., Daemon], busy: Busy) -> None:
    """It lives as long as the original, and dies in any way."""
    other = make(*TASKS)
    copy("cp", busy.daemon.state_dir, other.state_dir)
    other.start()
    other.open_environment()
    other.wait_ended(other.submit(function("add", 1)))
    other.kill_manager()
    assert other.client.call("status")["worker_environment_exists"]
    assert not pids(other) & busy.workers.keys()
    other.kill_all()
    busy.check_undisturbed()


@pytest.mark.parametrize("how", list(COPY))
def test_a_copy_in_the_place_of_its_original(busy: Busy, how: str, tmp_path: Path) -> None:
    """The workers that were left know the path; that of the environment leaves once the plan has ended."""
    daemon = busy.daemon
    backup = tmp_path / "backup"
    copy(how, daemon.state_dir, backup)
    busy.leave()
    daemon.state_dir.rename(tmp_path / "damaged")
    backup.rename(daemon.state_dir)
    daemon.start()
    check_closed(daemon, busy)
    busy.check_workers()
    busy.gate.release()
    busy.gate.answer("freed")
    busy.environment.wait(30)
    assert busy.gate.lines() == ["held", "held done"]
    assert daemon.history_size() == 1


def test_a_copy_in_the_place_of_an_original_that_runs(
    make: Callable[..., Daemon], busy: Busy, tmp_path: Path
) -> None:
    other = make()
    copy("cp", busy.daemon.state_dir, other.state_dir)
    original = tmp_path / "original"
    path = busy.daemon.state_dir
    path.rename(original)
    other.state_dir.rename(path)
    other.state_dir = path
    other.start()
    check_closed(other, busy)
    other.client.ok("manager_stop")
    assert other.process is not None
    assert other.process.wait(20) == 0
    other.process = None
    shutil.rmtree(path)
    original.rename(path)
    busy.check_undisturbed()


def test_a_directory_that_was_moved_while_it_was_stopped(busy: Busy, tmp_path: Path) -> None:
    """Its workers are known, though they cannot connect: nothing is closed, and nothing is lost."""
    daemon, path = busy.daemon, busy.daemon.state_dir
    busy.leave()
    moved = path.rename(tmp_path / "moved")
    daemon.state_dir = moved
    daemon.start()
    assert daemon.client.call("status")["running_item_uid"] == busy.held
    assert f"looks for the manager in {path / 'run'}" in daemon.console()
    manager = daemon.manager()
    assert daemon.process is not None
    daemon.process.kill()
    daemon.process.wait(10)
    daemon.process = None
    assert psutil.wait_procs([manager], 10)[1] == []
    moved.rename(path)
    daemon.state_dir = path
    daemon.start()
    busy.check_undisturbed()


def test_another_path_to_the_same_directory(busy: Busy, tmp_path: Path) -> None:
    daemon, path = busy.daemon, busy.daemon.state_dir
    busy.leave()
    daemon.state_dir = tmp_path / "link"
    daemon.state_dir.symlink_to(path)
    daemon.start()
    assert "was moved" not in daemon.console()
    busy.check_undisturbed()
