"""Nothing is lost and nothing runs twice, whichever process is killed."""

from __future__ import annotations

import os
import random
import select
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import zmq
from system_harness import Daemon, Gate, free_port, plan, start_held

pytest.importorskip("bluesky")

ROUNDS = 15


@pytest.fixture(scope="module")
def options(profile: Path) -> tuple[str, ...]:
    return ("--startup-dir", str(profile))


@pytest.fixture(scope="module")
def shared(make_daemon: Callable[..., Daemon], options: tuple[str, ...]) -> Daemon:
    """A daemon that survives what is done to its worker."""
    daemon = make_daemon(*options)
    daemon.start()
    return daemon


@pytest.fixture
def live(shared: Daemon) -> Iterator[Daemon]:
    """The same, with an open environment; queue and history are emptied afterwards."""
    if not shared.client.call("status")["worker_environment_exists"]:
        shared.open_environment()
    yield shared
    shared.client.ok("queue_autostart", enable=False)
    status = shared.client.call("status")
    if status["manager_state"] != "idle":
        shared.client.ok("environment_destroy")
        shared.wait_idle()
    shared.client.ok("queue_clear")
    shared.client.ok("history_clear")


@pytest.fixture
def fresh(make_daemon: Callable[..., Daemon], options: tuple[str, ...]) -> Iterator[Daemon]:
    """A daemon of its own with an open environment."""
    daemon = make_daemon(*options, "--allow-manager-kill", "ON")
    daemon.start()
    daemon.open_environment()
    yield daemon
    daemon.close()


def start_function(daemon: Daemon, gate: Gate, *, background: bool) -> str:
    """Start a function that waits."""
    with daemon.listen() as listener:
        uid = daemon.execute(gate.held_function(), background=background)
        listener.wait_text("the function is held")
    return uid


def kill_and_wait(*processes: psutil.Process) -> None:
    """SIGKILL for processes, and wait for the end of each, whether it is reaped or not."""
    for process in processes:
        descriptor = os.pidfd_open(process.pid)
        try:
            process.kill()
            assert select.select([descriptor], [], [], 10)[0], process
        finally:
            os.close(descriptor)


def results(daemon: Daemon) -> list[tuple[str, str]]:
    return [(h["item_uid"], h["result"]["exit_status"]) for h in daemon.history()]


# ------------------------------------------------------------------------------------ manager killed


def test_manager_killed_while_a_plan_runs(fresh: Daemon, gate: Gate) -> None:
    held, note = start_held(fresh, gate)
    worker = fresh.worker()
    fresh.kill_manager()
    status = fresh.wait(lambda s: s["manager_state"] == "executing_queue" and s["re_state"] == "running")
    assert status["running_item_uid"] == held
    assert status["worker_environment_exists"] is True
    assert fresh.worker().pid == worker.pid
    assert fresh.client.ok("task_status", task_uid=held)["status"] == "running"
    assert fresh.queue() == [note]
    gate.release()
    fresh.wait(lambda s: s["manager_state"] == "idle" and s["items_in_history"] == 2)
    assert results(fresh) == [(held, "completed"), (note, "completed")]
    assert gate.lines() == ["held", "held done", "after"]
    assert len(fresh.history()[0]["result"]["run_uids"]) == 1


def test_plan_ends_while_the_manager_is_dead(fresh: Daemon, gate: Gate) -> None:
    held, note = start_held(fresh, gate)
    supervisor, manager, worker = psutil.Process(fresh.process.pid), fresh.manager(), fresh.worker()
    supervisor.suspend()  # nobody restarts the manager meanwhile
    manager.kill()
    gate.release()
    gate.wait_lines(worker, 2)
    supervisor.resume()
    fresh.wait_answer()
    fresh.wait(lambda s: s["manager_state"] == "idle" and s["items_in_history"] == 2)
    assert results(fresh) == [(held, "completed"), (note, "completed")]
    assert gate.lines() == ["held", "held done", "after"]


@pytest.mark.parametrize("way_out", ["re_resume", "re_stop", "re_abort", "re_halt"])
def test_manager_killed_while_paused(fresh: Daemon, gate: Gate, way_out: str) -> None:
    held, note = start_held(fresh, gate)
    fresh.client.ok("re_pause", option="immediate")
    fresh.wait(lambda s: s["manager_state"] == "paused")
    fresh.kill_manager()
    status = fresh.wait(lambda s: s["manager_state"] == "paused")
    assert status["re_state"] == "paused"
    assert status["running_item_uid"] == held
    gate.release()
    fresh.client.ok(way_out)
    fresh.wait(lambda s: s["manager_state"] == "idle")
    expected = {"re_resume": "completed", "re_stop": "stopped", "re_abort": "aborted", "re_halt": "halted"}
    assert results(fresh)[0] == (held, expected[way_out])
    assert (note in fresh.queue()) is (way_out != "re_resume")


@pytest.mark.parametrize("background", [False, True])
def test_manager_killed_while_a_function_runs(fresh: Daemon, gate: Gate, background: bool) -> None:
    uid = start_function(fresh, gate, background=background)
    fresh.kill_manager()
    status = fresh.wait(lambda s: s["worker_background_tasks"] == int(background))
    assert status["manager_state"] == ("idle" if background else "executing_task")
    assert fresh.client.ok("task_status", task_uid=uid)["status"] == "running"
    gate.answer("still here")
    result = fresh.wait_task(uid)
    assert result["success"] is True
    assert result["return_value"] == "still here"
    fresh.wait_idle()
    assert gate.lines() == ["hold"]


def test_manager_killed_while_idle(fresh: Daemon, gate: Gate) -> None:
    done = fresh.wait_task(fresh.execute({"item_type": "function", "name": "give", "args": [42]}))
    worker, note = fresh.worker(), fresh.add(gate.note_plan("later"))
    before = fresh.client.call("status")
    fresh.kill_manager()
    status = fresh.wait(lambda s: s["manager_state"] == "idle" and s["re_state"] == "idle")
    assert status["worker_environment_exists"] is True
    assert status["items_in_queue"] == before["items_in_queue"] == 1
    assert fresh.worker().pid == worker.pid
    again = fresh.client.ok("task_result", task_uid=done["task_uid"])["result"]
    assert again == done
    fresh.client.ok("queue_start")
    fresh.wait(lambda s: s["items_in_history"] == 1)
    assert results(fresh) == [(note, "completed")]


def test_manager_killed_while_the_environment_opens(
    make_daemon: Callable[..., Daemon], options: tuple[str, ...]
) -> None:
    daemon = make_daemon(*options)
    daemon.start()
    with daemon.listen() as listener:
        daemon.client.ok("environment_open")
        listener.wait_text("Loading startup file")
    daemon.kill_manager()
    # The worker reports its state after it has reported that the environment is open.
    status = daemon.wait(lambda s: s["manager_state"] == s["worker_environment_state"] == "idle")
    assert status["worker_environment_exists"] is True
    assert "count" in daemon.client.ok("plans_allowed", user_group="primary")["plans_allowed"]


def test_modes_survive_the_manager(fresh: Daemon, gate: Gate) -> None:
    held, _ = start_held(fresh, gate)
    fresh.client.ok("queue_mode_set", mode={"ignore_failures": True})
    fresh.client.ok("queue_autostart", enable=True)
    fresh.client.ok("queue_stop")
    fresh.client.ok("lock", lock_key="key", environment=True, user="tester", note="note")
    before = fresh.client.call("status")
    fresh.kill_manager()
    status = fresh.wait(lambda s: s["manager_state"] == "executing_queue")
    kept = ("queue_stop_pending", "queue_autostart_enabled", "plan_queue_mode", "lock", "lock_info_uid")
    assert {k: status[k] for k in kept} == {k: before[k] for k in kept}
    fresh.client.refused("environment_destroy")
    fresh.client.ok("unlock", lock_key="key")
    fresh.client.ok("queue_mode_set", mode="default")
    gate.release()
    status = fresh.wait_idle()
    assert status["items_in_queue"] == 1
    assert status["queue_autostart_enabled"] is False
    assert results(fresh) == [(held, "completed")]


def test_hanging_manager_is_replaced(fresh: Daemon, gate: Gate) -> None:
    held, note = start_held(fresh, gate)
    manager = fresh.manager()
    with fresh.client.context.socket(zmq.REQ) as sock:
        sock.linger = 0
        sock.connect(fresh.control)
        sock.send(b'{"method": "manager_kill"}')
        assert psutil.wait_procs([manager], 30)[1] == []
        assert not sock.poll(0)
    fresh.wait_answer()
    status = fresh.wait(lambda s: s["manager_state"] == "executing_queue")
    assert status["running_item_uid"] == held
    gate.release()
    fresh.wait(lambda s: s["items_in_history"] == 2)
    assert results(fresh) == [(held, "completed"), (note, "completed")]


def test_manager_kill_must_be_allowed(shared: Daemon) -> None:
    assert shared.client.refused("manager_kill")["code"] == "not_permitted"


# ------------------------------------------------------------------------------------ worker killed


def test_worker_killed_while_a_plan_runs(live: Daemon, gate: Gate) -> None:
    manager = live.manager()
    held, note = start_held(live, gate)
    background = start_function(live, gate, background=True)
    live.client.ok("queue_autostart", enable=True)
    (run,) = live.client.ok("re_runs")["run_list"]
    live.kill_worker()
    status = live.wait(lambda s: s["manager_state"] == "idle")
    assert status["worker_environment_exists"] is False
    assert status["worker_environment_state"] == "closed"
    assert status["re_state"] is None
    assert status["running_item_uid"] is None
    assert status["worker_background_tasks"] == 0
    assert status["queue_autostart_enabled"] is False
    assert status["ready"] is False
    (entry,) = live.history()
    assert entry["item_uid"] == held
    assert entry["result"]["exit_status"] == "failed"
    assert "SIGKILL" in entry["result"]["msg"]
    assert entry["result"]["run_uids"] == [run["uid"]]
    queue = live.queue()
    assert queue[1:] == [note]
    assert queue[0] != held
    task = live.client.ok("task_result", task_uid=background)
    assert (task["status"], task["state"]) == ("completed", "lost")
    assert task["result"]["success"] is False
    assert "SIGKILL" in task["result"]["msg"]
    assert live.client.ok("task_status", task_uid=held)["state"] == "lost"
    assert live.manager().pid == manager.pid
    gate.release()
    live.open_environment()
    live.client.ok("queue_start")
    live.wait(lambda s: s["items_in_history"] == 3)
    assert [status for _, status in results(live)] == ["failed", "completed", "completed"]


def test_worker_killed_while_a_function_runs(live: Daemon, gate: Gate) -> None:
    uid = start_function(live, gate, background=False)
    live.kill_worker()
    status = live.wait(lambda s: s["manager_state"] == "idle")
    assert status["worker_environment_exists"] is False
    task = live.client.ok("task_result", task_uid=uid)
    assert task["state"] == "lost"
    assert "SIGKILL" in task["result"]["msg"]


def test_worker_killed_while_idle(live: Daemon) -> None:
    live.kill_worker()
    status = live.wait(lambda s: not s["worker_environment_exists"])
    assert status["manager_state"] == "idle"
    live.client.refused("queue_start")


def test_worker_killed_while_paused(live: Daemon, gate: Gate) -> None:
    held, _ = start_held(live, gate)
    live.client.ok("re_pause", option="immediate")
    live.wait(lambda s: s["manager_state"] == "paused")
    live.kill_worker()
    status = live.wait(lambda s: s["manager_state"] == "idle")
    assert status["worker_environment_exists"] is False
    assert results(live) == [(held, "failed")]


def test_worker_that_hangs(live: Daemon) -> None:
    """Nobody waits for it: who asks hears at once what is the matter."""
    worker = live.worker()
    worker.suspend()
    try:
        with live.listen() as listener:
            status = listener.wait_status(lambda s: not s["ready"])
            assert "silent since" in status["not_ready_reason"]
            for method in ("re_metadata", "environment_update", "queue_start"):
                reply = live.client.call(method, timeout=20.0)
                assert reply["code"] == "timeout"
                assert "has been silent for" in reply["msg"]  # and not: did not answer
                assert "if it hangs, destroy the environment" in reply["msg"]
            worker.resume()
            listener.wait_status(lambda s: s["ready"])
    finally:
        worker.resume()
    live.client.ok("re_metadata")


def test_worker_that_crashes(live: Daemon, gate: Gate) -> None:
    start_held(live, gate)
    live.worker().send_signal(signal.SIGSEGV)
    live.wait(lambda s: s["manager_state"] == "idle" and not s["worker_environment_exists"])
    assert "SIGSEGV" in live.history()[0]["result"]["msg"]


def test_worker_that_leaves_by_itself(live: Daemon, gate: Gate) -> None:
    script = f"import os\nopen({str(gate.pipe)!r}).read()\nos._exit(7)"
    uid = live.client.ok("script_upload", script=script)["task_uid"]
    gate.answer("leave")
    live.wait(lambda s: s["manager_state"] == "idle" and not s["worker_environment_exists"])
    assert "exit code 7" in live.client.ok("task_result", task_uid=uid)["result"]["msg"]


def test_worker_and_manager_killed(fresh: Daemon, gate: Gate) -> None:
    held, note = start_held(fresh, gate)
    supervisor, manager, worker = psutil.Process(fresh.process.pid), fresh.manager(), fresh.worker()
    supervisor.suspend()
    kill_and_wait(manager, worker)  # neither is reaped: the supervisor does not know yet
    supervisor.resume()
    fresh.wait_answer()
    status = fresh.wait(lambda s: s["manager_state"] == "idle")
    assert status["worker_environment_exists"] is False
    assert results(fresh) == [(held, "unknown")]
    assert note in fresh.queue()


# ------------------------------------------------------------------------------------ everything killed


def test_everything_killed(fresh: Daemon, gate: Gate, tmp_path: Path) -> None:
    client = fresh.client
    first = fresh.add(gate.note_plan("first"))
    client.ok("queue_start")
    fresh.wait(lambda s: s["items_in_history"] == 1)
    held, note = start_held(fresh, gate)
    pipe = tmp_path / "other"
    other = Gate(pipe)
    task = start_function(fresh, other, background=True)
    permissions = client.ok("permissions_get")["user_group_permissions"]
    permissions["user_groups"]["primary"]["forbidden_plans"] = ["grid_scan"]
    client.ok("permissions_set", user_group_permissions=permissions)
    client.ok("queue_mode_set", mode={"loop": True, "ignore_failures": True})
    client.ok("queue_autostart", enable=True)
    client.ok("lock", lock_key="key", queue=True, user="tester", note="note")
    lock_uid = client.call("status")["lock_info_uid"]
    fresh.kill_all()
    run = fresh.state_dir / "run"
    left = set(run.glob("worker-*"))

    fresh.start("--user-group-permissions-reload", "NEVER")
    assert left
    assert not left & set(run.glob("worker-*"))
    status = client.call("status")
    assert status["manager_state"] == "idle"
    assert status["worker_environment_exists"] is False
    assert status["plan_queue_mode"] == {"loop": True, "ignore_failures": True}
    assert status["lock"] == {"environment": False, "queue": True}
    assert status["lock_info_uid"] == lock_uid
    assert status["queue_stop_pending"] is False
    assert client.ok("permissions_get")["user_group_permissions"] == permissions
    assert results(fresh) == [(first, "completed"), (held, "unknown")]
    assert fresh.history()[1]["result"]["msg"]
    assert fresh.queue() == [note]
    assert client.ok("task_result", task_uid=task)["state"] == "lost"
    assert client.ok("task_status", task_uid=held)["status"] == "completed"
    assert client.ok("task_status", task_uid=note)["state"] == "pending"

    client.ok("unlock", lock_key="key")
    client.ok("queue_mode_set", mode="default")
    client.ok("queue_autostart", enable=False)
    fresh.open_environment()
    client.ok("queue_start")
    fresh.wait(lambda s: s["items_in_history"] == 3)
    assert gate.lines() == ["first", "held", "after"]
    assert other.lines() == ["hold"]


def test_unfinished_requests_after_a_kill(fresh: Daemon) -> None:
    """What was acknowledged is there, whatever else was on its way."""
    acknowledged = [fresh.add(plan("note", "unused", str(n))) for n in range(50)]
    fresh.kill_all()
    fresh.start()
    assert fresh.queue() == acknowledged
    assert fresh.history() == []


# ------------------------------------------------------------------------------------ orderly ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_in_the_middle_of_a_plan(fresh: Daemon, gate: Gate, number: signal.Signals) -> None:
    held, note = start_held(fresh, gate)
    assert fresh.stop(number) == 0
    fresh.start()
    status = fresh.client.call("status")
    assert status["manager_state"] == "idle"
    (entry,) = fresh.history()
    assert entry["item_uid"] == held
    assert entry["result"]["exit_status"] in ("failed", "unknown")
    assert fresh.queue()[-1] == note
    assert gate.lines() == ["held"]
    assert fresh.stop() == 0


def test_manager_stop(fresh: Daemon, gate: Gate) -> None:
    start_held(fresh, gate)
    refusal = fresh.client.refused("manager_stop")
    assert refusal["code"] == "busy"
    fresh.client.refused("manager_stop", option="by force")
    gate.release()
    fresh.wait_idle()
    fresh.client.ok("manager_stop")
    assert fresh.process is not None
    assert fresh.process.wait(20) == 0
    fresh.process = None
    assert not fresh.processes()


def test_supervisor_killed_alone(fresh: Daemon, gate: Gate) -> None:
    held, note = start_held(fresh, gate)
    manager, worker = fresh.manager(), fresh.worker()
    assert fresh.process is not None
    fresh.process.kill()
    fresh.process.wait(10)
    fresh.process = None
    assert psutil.wait_procs([manager], 10)[1] == []
    assert worker.is_running()
    fresh.start()
    status = fresh.wait(lambda s: s["manager_state"] == "executing_queue")
    assert status["running_item_uid"] == held
    assert fresh.worker().pid == worker.pid
    gate.release()
    fresh.wait(lambda s: s["items_in_history"] == 2)
    assert results(fresh) == [(held, "completed"), (note, "completed")]
    fresh.close_environment()
    assert psutil.wait_procs([worker], 10)[1] == []


def test_adopted_worker_is_watched(fresh: Daemon, gate: Gate) -> None:
    held, _ = start_held(fresh, gate)
    worker = fresh.worker()
    assert fresh.process is not None
    manager = fresh.manager()
    fresh.process.kill()
    fresh.process.wait(10)
    fresh.process = None
    psutil.wait_procs([manager], 10)
    fresh.start()
    worker.kill()
    status = fresh.wait(lambda s: s["manager_state"] == "idle")
    assert status["worker_environment_exists"] is False
    assert results(fresh) == [(held, "failed")]


# ------------------------------------------------------------------------------------ second daemon


def test_second_daemon_on_the_same_state(shared: Daemon, make_daemon: Callable[..., Daemon]) -> None:
    second = make_daemon(*shared.options)
    second.state_dir = shared.state_dir
    code, text = second.run_to_end()
    second.state_dir = second.state_dir / "nothing"
    assert code == 2
    assert str(shared.state_dir) in text
    assert "Traceback" not in text
    assert shared.client.call("status")["manager_state"] == "idle"


def test_address_in_use(shared: Daemon, make_daemon: Callable[..., Daemon]) -> None:
    second = make_daemon(*shared.options)
    code, text = second.run_to_end("--zmq-control-addr", shared.control)
    assert code == 2
    assert shared.control in text
    assert "Traceback" not in text
    code, text = second.run_to_end(
        "--zmq-control-addr", "tcp://127.0.0.1:" + str(free_port()), "--zmq-info-addr", shared.info
    )
    assert code == 2
    assert shared.info in text
    assert "Traceback" not in text


# ------------------------------------------------------------------------------------ at random


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [2])
def test_random_kills(make_daemon: Callable[..., Daemon], profile: Path, gate: Gate, seed: int) -> None:
    """Whoever is killed and whenever: each acknowledged item has one end, and no run has two."""
    rng = random.Random(seed)
    daemon = make_daemon("--startup-dir", str(profile))
    daemon.start()
    daemon.open_environment()
    labels: dict[str, str] = {}
    for number in range(ROUNDS):
        for n in range(3):
            label = f"{number}-{n}"
            labels[daemon.add(gate.steps_plan(label))] = label
        run_queue(daemon)
        with daemon.listen() as listener:
            listener.wait_messages(rng.randrange(1, 8))
        kill_one(daemon, rng.choice(["manager", "worker", "all"]))
    while daemon.queue() or daemon.history_size() < len(labels):
        run_queue(daemon)
        daemon.wait_idle()

    history = daemon.history()
    assert len({h["item_uid"] for h in history}) == len(history)
    ends = {h["item_uid"]: h["result"]["exit_status"] for h in history}
    assert labels.keys() <= ends.keys()
    runs = Counter(h["args"][1] for h in history)
    begun = Counter(line.removeprefix("begin ") for line in gate.lines() if line.startswith("begin "))
    finished = Counter(h["args"][1] for h in history if h["result"]["exit_status"] == "completed")
    unknown = Counter(h["args"][1] for h in history if h["result"]["exit_status"] == "unknown")
    for label in labels.values():
        assert begun[label] <= runs[label]
        assert finished[label] + unknown[label] == 1
    states = daemon.client.ok("task_status", task_uid=list(ends))["status"]
    assert set(states.values()) == {"completed"}


def run_queue(daemon: Daemon) -> None:
    """Open the environment and start the queue, if need be."""
    status = daemon.wait(
        lambda s: (
            s["manager_state"] == "executing_queue"
            # A worker that is adopted may be late to tell of its RunEngine.
            or (s["manager_state"] == "idle" and (s["re_state"] or not s["worker_environment_exists"]))
        )
    )
    if status["manager_state"] == "idle":
        if not status["worker_environment_exists"]:
            daemon.open_environment()
        daemon.client.ok("queue_start")


def kill_one(daemon: Daemon, victim: str) -> None:
    """Kill the manager, the worker or everything, and wait for what is left or comes back."""
    if victim == "all":
        daemon.kill_all()
        daemon.start()
    elif victim == "manager":
        daemon.kill_manager()
    else:
        daemon.kill_worker()
        daemon.wait(lambda s: not s["worker_environment_exists"])
