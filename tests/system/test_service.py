"""The daemon as a service: what a stop, a restart and a reload do to a plan that runs."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from system_harness import Daemon, Gate, function, start_held

from remanager.daemon.journal import NATIVE_SOCKET

pytest.importorskip("bluesky")

FAKE_SYSTEMD_RUN = """\
#!/bin/sh
printf '%s\\n' "$*" >> {log}
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""


@pytest.fixture
def make(make_daemon: Callable[..., Daemon], profile: Path) -> Iterator[Callable[..., Daemon]]:
    """Make a daemon with an open environment, which ends with the test."""
    made: list[Daemon] = []

    def start(*options: str, env: dict[str, str] | None = None) -> Daemon:
        daemon = make_daemon("--startup-dir", str(profile), *options, env=env)
        made.append(daemon)
        daemon.start()
        daemon.open_environment()
        return daemon

    yield start
    for daemon in made:
        try:
            if daemon.process is not None:
                daemon.stop(signal.SIGINT)  # whatever SIGTERM means to it
        finally:
            daemon.close()


def stop_main_process(daemon: Daemon, number: int) -> int:
    """Signal the main process alone, as with KillMode=process, and wait for its end."""
    assert daemon.process is not None
    daemon.process.send_signal(number)
    code = daemon.process.wait(20)
    daemon.process = None
    return code


def check_both_done(daemon: Daemon, gate: Gate, held: str, note: str) -> None:
    """Let the plan go on; both must complete, once each."""
    gate.release()
    daemon.wait(lambda s: s["manager_state"] == "idle" and s["items_in_history"] == 2)
    done = [(h["item_uid"], h["result"]["exit_status"]) for h in daemon.history()]
    assert done == [(held, "completed"), (note, "completed")]
    assert gate.lines() == ["held", "held done", "after"]


def test_a_plan_goes_on_while_the_service_is_restarted(make: Callable[..., Daemon], gate: Gate) -> None:
    tasks = ("--task-paths", str(Path(__file__).parent / "tasks"), "--task-modules", "queue_tasks")
    daemon = make("--on-stop", "leave-workers", *tasks)
    task = daemon.submit(function("hold", str(gate.pipe)))
    held, note = start_held(daemon, gate)
    daemon.client.ok("queue_autostart", enable=True)
    worker = daemon.worker()
    assert stop_main_process(daemon, signal.SIGTERM) == 0
    assert worker.is_running()
    daemon.start()
    status = daemon.wait(lambda s: s["manager_state"] == "executing_queue")
    assert status["running_item_uid"] == held
    assert status["queue_autostart_enabled"] is True
    assert daemon.worker().pid == worker.pid
    daemon.client.ok("queue_autostart", enable=False)
    check_both_done(daemon, gate, held, note)
    gate.answer("freed")
    ended = daemon.wait_ended(task)
    assert ended["result"]["return_value"] == "freed"
    assert ended["task"]["attempt"] == 1


def test_a_plan_that_ends_after_the_main_process_was_killed(make: Callable[..., Daemon], gate: Gate) -> None:
    daemon = make()
    held, note = start_held(daemon, gate)
    manager, worker = daemon.manager(), daemon.worker()
    stop_main_process(daemon, signal.SIGKILL)
    psutil.wait_procs([manager], 10)
    gate.release()
    gate.wait_lines(worker, 2)
    daemon.start()
    check_both_done(daemon, gate, held, note)


def test_a_reload_replaces_the_manager(make: Callable[..., Daemon], gate: Gate) -> None:
    daemon = make()
    held, note = start_held(daemon, gate)
    manager, worker = daemon.manager(), daemon.worker()
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)
    assert not psutil.wait_procs([manager], 15)[1]
    daemon.wait_answer()
    status = daemon.wait(lambda s: s["manager_state"] == "executing_queue")
    assert status["running_item_uid"] == held
    assert daemon.worker().pid == worker.pid
    check_both_done(daemon, gate, held, note)
    assert daemon.stop() == 0


def test_a_stop_closes_in_order_by_default(make: Callable[..., Daemon], gate: Gate) -> None:
    daemon = make()
    held, note = start_held(daemon, gate)
    worker = daemon.worker()
    assert daemon.stop() == 0  # no process is left
    assert not worker.is_running()
    daemon.start()
    (entry,) = daemon.history()
    assert (entry["item_uid"], entry["result"]["exit_status"]) == (held, "failed")
    assert "The manager was stopped" in entry["result"]["msg"]
    assert daemon.queue()[1:] == [note]


@pytest.mark.parametrize("how", ["keyboard", "request"])
def test_who_asks_for_it_stops_all(make: Callable[..., Daemon], how: str) -> None:
    daemon = make("--on-stop", "leave-workers")
    if how == "request":
        daemon.client.ok("manager_stop")
        assert daemon.process is not None
        daemon.process.wait(20)
    assert daemon.stop(signal.SIGINT) == 0  # no process is left


def test_workers_in_scopes_of_their_own(make: Callable[..., Daemon], tmp_path: Path) -> None:
    log, command = tmp_path / "scopes", tmp_path / "bin" / "systemd-run"
    command.parent.mkdir()
    command.write_text(FAKE_SYSTEMD_RUN.format(log=log))
    command.chmod(0o755)
    env = {"PATH": f"{command.parent}:{os.environ['PATH']}"}
    daemon = make("--worker-scope", "user", "--on-stop", "leave-on-restart", env=env)
    assert log.read_text().startswith("--user --scope --quiet --collect --unit=remanager-worker-")
    pid = daemon.worker().pid
    daemon.kill_manager()
    daemon.wait(lambda s: s["worker_environment_exists"])
    assert daemon.worker().pid == pid
    assert daemon.stop() == 0  # outside of a unit a stop is no restart: no process is left


def test_the_service_manager_is_told(make: Callable[..., Daemon], gate: Gate, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(20)
        daemon = make(env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1"})

        def hear(line: str) -> None:
            while line not in (heard := notify.recv(4096).decode().splitlines()):
                assert not any(other.startswith("STOPPING") for other in heard)

        hear("READY=1")
        hear("WATCHDOG=1")
        hear("STATUS=idle, environment open")
        start_held(daemon, gate)
        hear("STATUS=running plan held; 1 item in the queue")
        gate.release()
        hear("STATUS=idle, environment open")
        assert daemon.stop() == 0
        hear("STOPPING=1")


@pytest.mark.skipif(NATIVE_SOCKET.exists(), reason="there is a journal, which the test would write to")
def test_the_log_for_the_journal(make_daemon: Callable[..., Daemon], profile: Path) -> None:
    daemon = make_daemon("--startup-dir", str(profile))
    daemon.log.touch()
    found = daemon.log.stat()
    daemon.env["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
    daemon.start()
    daemon.open_environment()
    ready = "<6>remanager.worker: RE Environment is ready"
    with daemon.listen() as listener:
        while f"{ready}\n" not in daemon.log.read_text():  # what is not written yet dies with the manager
            listener.wait_messages(1)  # the status comes again every second
    daemon.kill_manager()
    assert daemon.stop() == 0
    lines = daemon.log.read_text().splitlines()
    assert all(re.match(r"<[2-7]>", line) for line in lines), lines
    assert ready in lines
    assert "<6>remanager.daemon.manager: The manager was stopped" in lines
    assert "<4>remanager supervisor: the manager died of SIGKILL: restart 1 in 0 s" in lines
    code, said = daemon.run_to_end("--zmq-encoding", "xml")
    assert (code, said.partition(":")[0]) == (2, "remanager start")
