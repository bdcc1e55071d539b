"""IPython mode as a user meets it: a daemon, a kernel, and a client of the kernel attached to it."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from system_harness import USER, Daemon, Gate, Listener, free_port, function, make_profile, plan

pytest.importorskip("bluesky")
jupyter_client = pytest.importorskip("jupyter_client")
pytest.importorskip("ipykernel")

# Kernels start slowly, and some tests have several of them.
pytestmark = pytest.mark.timeout(180)

TIMEOUT_S = 30.0
CHANNELS = ("shell", "iopub", "stdin", "hb", "control")
BUSY = "IPython kernel (RE Worker) is busy."

MakeDaemon = Callable[..., Daemon]


@pytest.fixture(scope="module", autouse=True)
def _clients_event_loop() -> Iterator[None]:
    from jupyter_core.utils import ensure_event_loop

    yield
    ensure_event_loop().close()  # the one that the clients used


@pytest.fixture(scope="module")
def kernel_profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A start-up directory that is also that of an IPython profile."""
    startup = tmp_path_factory.mktemp("ipython") / "profile_lab" / "startup"
    startup.parent.mkdir()
    return make_profile(startup)


@pytest.fixture(scope="module")
def shared(make_daemon: MakeDaemon, kernel_profile: Path) -> Daemon:
    daemon = make_daemon("--use-ipython-kernel", "ON", "--startup-dir", str(kernel_profile))
    daemon.start()
    return daemon


@pytest.fixture
def live(shared: Daemon) -> Iterator[Daemon]:
    """A daemon with an open environment; queue and history are emptied afterwards."""
    if not shared.client.call("status")["worker_environment_exists"]:
        shared.open_environment()
    yield shared
    status = shared.client.call("status")
    if status["manager_state"] != "idle" or status["ip_kernel_state"] not in ("idle", None):
        shared.client.ok("environment_destroy")
        shared.wait(lambda s: s["manager_state"] == "idle" and not s["worker_environment_exists"])
    shared.client.ok("queue_clear")
    shared.client.ok("history_clear")


class Console:
    """What somebody does at a console of the kernel."""

    def __init__(self, info: dict[str, Any]) -> None:
        self.client = jupyter_client.BlockingKernelClient()
        self.client.load_connection_info(info)
        self.client.start_channels()
        self.client.wait_for_ready(timeout=TIMEOUT_S)

    def start(self, code: str) -> str:
        """Ask for the execution of code."""
        number: str = self.client.execute(code)
        return number

    def finish(self, number: str) -> dict[str, Any]:
        """Wait for the end of an execution and return the reply."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            reply = self.client.get_shell_msg(timeout=TIMEOUT_S)
            if reply["parent_header"]["msg_id"] == number:
                return dict(reply["content"])
        raise AssertionError("no reply in time")

    def execute(self, code: str) -> dict[str, Any]:
        return self.finish(self.start(code))

    def value(self, expression: str) -> Any:
        """Evaluate an expression."""
        reply = self.finish(self.client.execute("", user_expressions={"x": expression}))
        return reply["user_expressions"]["x"]["data"]["text/plain"]


@contextmanager
def attached(daemon: Daemon) -> Iterator[Console]:
    console = Console(connect_info(daemon))
    yield console
    console.client.stop_channels()


def connect_info(daemon: Daemon) -> dict[str, Any]:
    info: dict[str, Any] = daemon.client.ok("config_get")["config"]["ip_connect_info"]
    return info


def kernel(state: str | None, captured: bool | None) -> Callable[[dict[str, Any]], bool]:
    return lambda s: (s["ip_kernel_state"], s["ip_kernel_captured"]) == (state, captured)


def start_waiting(console: Console, listener: Listener) -> str:
    """Start a cell that waits, and wait until it does: before, an interrupt would not be meant for it."""
    number = console.start("import threading\nprint('the cell ' + 'waits')\nthreading.Event().wait(60)")
    listener.wait_text("the cell waits")
    listener.wait_status(kernel("busy", False))
    return number


def wait_console_idle(daemon: Daemon) -> None:
    """Wait until the manager has heard that the last cell has ended."""
    daemon.wait(kernel("idle", False))


# ------------------------------------------------------------------------------------ life of the kernel


def test_state_of_the_kernel(make_daemon: MakeDaemon, tmp_path: Path, gate: Gate, pipe: Path) -> None:
    (tmp_path / "profile_lab").mkdir()
    startup = make_profile(tmp_path / "profile_lab" / "startup")
    (startup / "90-wait.py").write_text(f"with open({str(pipe)!r}) as pipe:\n    pipe.read()\n")
    daemon = make_daemon("--use-ipython-kernel", "ON", "--startup-dir", str(startup))
    daemon.start()
    assert kernel(None, None)(daemon.client.call("status"))
    assert connect_info(daemon) == {}
    with daemon.listen() as listener:
        daemon.client.ok("environment_open")
        listener.wait_status(kernel("starting", True))
        pipe.write_text("go on")
        listener.wait_status(lambda s: s["manager_state"] == "idle" and kernel("idle", False)(s))
        daemon.add(gate.held_plan())
        daemon.client.ok("queue_start")
        listener.wait_text("the plan is held")
        listener.wait_status(lambda s: s["re_state"] == "running" and kernel("busy", True)(s))
        gate.release()
        listener.wait_status(lambda s: s["manager_state"] == "idle" and kernel("idle", False)(s))
        uid = daemon.execute(gate.held_function())
        listener.wait_text("the function is held")
        listener.wait_status(kernel("busy", True))
        gate.answer("done")
        listener.wait_status(lambda s: s["manager_state"] == "idle" and kernel("idle", False)(s))
        assert daemon.wait_task(uid)["return_value"] == "done"
        background = daemon.execute(function("give", 5), background=True)
        assert daemon.wait_task(background)["return_value"] == 5
        assert kernel("idle", False)(daemon.client.call("status"))
        daemon.client.ok("environment_close")
        listener.wait_status(lambda s: s["manager_state"] == "idle" and kernel(None, None)(s))
    assert daemon.history()[-1]["result"]["exit_status"] == "completed"
    assert connect_info(daemon) == {}
    daemon.close()


def test_fixed_ports_and_connection_file(
    make_daemon: MakeDaemon, kernel_profile: Path, tmp_path: Path
) -> None:
    ports = {channel: free_port() for channel in CHANNELS}
    options = [f"--ipython-{channel}-port={port}" for channel, port in ports.items()]
    options += ["--ipython-connection-file", "lab.json", "--ipython-connection-dir", str(tmp_path)]
    daemon = make_daemon("--use-ipython-kernel", "ON", "--startup-dir", str(kernel_profile), *options)
    daemon.start()
    daemon.open_environment()
    info = connect_info(daemon)
    assert {channel: info[f"{channel}_port"] for channel in CHANNELS} == ports
    assert info["ip"] == "127.0.0.1"
    file = tmp_path / "lab.json"
    assert file.stat().st_mode & 0o077 == 0  # it holds the key
    in_file = json.loads(file.read_text())
    assert {name: in_file[name] for name in info} == info
    with attached(daemon) as console:
        assert console.value("6 * 7") == "42"
    # The ports are taken again at once, also after a worker that could not let go of them.
    daemon.kill_worker()
    daemon.wait(lambda s: s["manager_state"] == "idle" and not s["worker_environment_exists"])
    daemon.open_environment()
    assert connect_info(daemon) == info
    with attached(daemon) as console:
        assert console.value("6 * 7") == "42"
    daemon.close_environment()
    assert file.exists()
    daemon.close()


# ------------------------------------------------------------------------------------ an attached client


def test_a_console_shares_the_namespace(live: Daemon) -> None:
    with attached(live) as console, live.listen() as listener:
        assert (
            console.execute("def answer():\n    return 42\nprint('from ' + 'the console')")["status"] == "ok"
        )
        listener.wait_text("from the console\n")
        wait_console_idle(live)
        assert live.wait_task(live.execute(function("answer")))["return_value"] == 42
        upload = live.client.ok("script_upload", script="uploaded = 'by the manager'")
        assert live.wait_task(upload["task_uid"])["success"]
        assert console.value("uploaded") == "'by the manager'"
        assert console.value("RE.state") == "'idle'"


def test_a_busy_console_keeps_the_kernel(live: Daemon) -> None:
    with attached(live) as console, live.listen() as listener:
        number = start_waiting(console, listener)
        live.add(plan("note", "/dev/null", "x"))
        assert BUSY in live.client.refused("queue_start")["msg"]
        item = function("give", 1)
        assert BUSY in live.client.refused("function_execute", item=item, **USER)["msg"]
        assert BUSY in live.client.refused("script_upload", script="x = 1")["msg"]
        assert "busy" in live.client.refused("environment_close")["msg"]
        uid = live.execute(item, background=True)
        assert live.wait_task(uid)["return_value"] == 1
        live.client.ok("kernel_interrupt")
        assert console.finish(number)["ename"] == "KeyboardInterrupt"
        listener.wait_status(kernel("idle", False))
        live.client.ok("queue_start")
        listener.wait_status(lambda s: s["items_in_history"] == 1 and s["manager_state"] == "idle")


def test_interrupt_of_tasks_and_plans_must_be_asked_for(live: Daemon, gate: Gate) -> None:
    with live.listen() as listener:
        uid = live.execute(gate.held_function())
        listener.wait_text("the function is held")
        listener.wait_status(kernel("busy", True))
        assert "Not allowed to interrupt running task" in live.client.refused("kernel_interrupt")["msg"]
        live.client.ok("kernel_interrupt", interrupt_task=True)
        result = live.wait_task(uid)
        assert not result["success"]
        assert "KeyboardInterrupt" in result["traceback"]
        live.add(gate.held_plan())
        live.client.ok("queue_start")
        listener.wait_text("the plan is held")
        refused = live.client.refused("kernel_interrupt", interrupt_task=True)
        assert "Not allowed to interrupt running plan" in refused["msg"]
        # The first SIGINT asks the RunEngine for a pause at the next checkpoint.
        live.client.ok("kernel_interrupt", interrupt_plan=True)
        listener.wait_status(lambda s: s["manager_state"] == "paused" and kernel("idle", False)(s))
        with attached(live) as console:
            assert console.value("RE.state") == "'paused'"
        wait_console_idle(live)
        live.client.ok("re_stop")
        listener.wait_status(lambda s: s["manager_state"] == "idle")
    assert live.history()[-1]["result"]["exit_status"] == "stopped"


def test_cells_wait_for_a_plan(live: Daemon, gate: Gate) -> None:
    with attached(live) as console, live.listen() as listener:
        live.add(gate.held_plan())
        live.client.ok("queue_start")
        listener.wait_text("the plan is held")
        number = console.start(f"lines = len(open({str(gate.notes)!r}).readlines())")
        gate.release()
        assert console.finish(number)["status"] == "ok"
        assert console.value("lines") == "2"
        listener.wait_status(lambda s: s["manager_state"] == "idle" and kernel("idle", False)(s))


# ------------------------------------------------------------------------------------ leaving, dying


def test_orderly_stop_with_a_console_attached(make_daemon: MakeDaemon, kernel_profile: Path) -> None:
    daemon = make_daemon("--use-ipython-kernel", "ON", "--startup-dir", str(kernel_profile))
    daemon.start()
    daemon.open_environment()
    with attached(daemon) as console:
        assert console.value("6 * 7") == "42"
        wait_console_idle(daemon)
        daemon.close_environment()
        daemon.open_environment()
        assert daemon.stop(signal.SIGTERM) == 0
    daemon.close()


def test_a_console_ends_the_kernel(live: Daemon) -> None:
    with attached(live) as console, live.listen() as listener:
        console.client.shutdown()
        listener.wait_status(lambda s: s["manager_state"] == "idle" and not s["worker_environment_exists"])
    live.open_environment()
    with attached(live) as console:
        assert console.value("RE.state") == "'idle'"


def start_held(daemon: Daemon, gate: Gate, listener: Listener) -> str:
    uid = daemon.add(gate.held_plan())
    daemon.client.ok("queue_start")
    listener.wait_text("the plan is held")
    return uid


def test_worker_killed_while_a_plan_runs(live: Daemon, gate: Gate) -> None:
    with attached(live), live.listen() as listener:
        uid = start_held(live, gate, listener)
        live.kill_worker()
        status = listener.wait_status(
            lambda s: s["manager_state"] == "idle" and not s["worker_environment_exists"]
        )
        assert kernel(None, None)(status)
    assert live.history()[-1]["result"]["exit_status"] == "failed"
    assert live.queue() != [uid]  # it returned under a uid of its own
    assert len(live.queue()) == 1
    live.open_environment()
    with attached(live) as console:
        assert console.value("RE.state") == "'idle'"


def test_manager_killed_while_a_plan_runs(live: Daemon, gate: Gate) -> None:
    with attached(live) as console:
        with live.listen() as listener:
            uid = start_held(live, gate, listener)
        info, worker = connect_info(live), live.worker()
        live.kill_manager()
        status = live.wait(lambda s: s["manager_state"] == "executing_queue" and kernel("busy", True)(s))
        assert status["running_item_uid"] == uid
        assert connect_info(live) == info
        gate.release()
        live.wait(lambda s: s["items_in_history"] == 1 and kernel("idle", False)(s))
        assert console.value("RE.state") == "'idle'"
        assert live.worker().pid == worker.pid
    assert live.history()[-1]["result"]["exit_status"] == "completed"


def test_manager_killed_while_a_cell_runs(live: Daemon) -> None:
    with attached(live) as console:
        with live.listen() as listener:
            number = start_waiting(console, listener)
        live.kill_manager()
        live.wait(kernel("busy", False))
        live.client.ok("kernel_interrupt")
        assert console.finish(number)["ename"] == "KeyboardInterrupt"
        wait_console_idle(live)


def test_everything_killed(make_daemon: MakeDaemon, kernel_profile: Path) -> None:
    daemon = make_daemon("--use-ipython-kernel", "ON", "--startup-dir", str(kernel_profile))
    daemon.start()
    daemon.open_environment()
    worker = daemon.worker()
    daemon.kill_all()
    assert not psutil.wait_procs([worker], 10)[1]
    daemon.start()
    assert kernel(None, None)(daemon.client.call("status"))
    daemon.open_environment()
    with attached(daemon) as console:
        assert console.value("6 * 7") == "42"
    daemon.close()
