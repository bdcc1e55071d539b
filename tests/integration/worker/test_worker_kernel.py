"""A worker whose main thread is an IPython kernel, and a client attached to it."""

from __future__ import annotations

import shutil
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client import BlockingKernelClient
from jupyter_core.utils import ensure_event_loop
from worker_harness import TIMEOUT_S, Worker

from remanager.model.link import (
    CloseEnvironment,
    ContinuePlan,
    EnvironmentFailed,
    GetKernelInfo,
    InterruptKernel,
    PausePlan,
    PlanFinished,
    PlanPaused,
    ReleaseKernel,
    RunPlan,
    RunTask,
    TaskFinished,
)
from remanager.model.states import ExitStatus
from remanager.worker.kernel import HOLD_S

BUSY = "IPython kernel (RE Worker) is busy."

STARTUP = """
import threading
import time
import bluesky.plan_stubs as bps
from bluesky import RunEngine
from IPython.core.magic import register_line_magic

RE = RunEngine({})
order = []

@register_line_magic
def lmagic(line):
    return line

def note(what: str = "plan"):
    yield from bps.null()
    order.append(what)

def one_run(seconds: float = 0.0):
    yield from bps.open_run()
    yield from bps.checkpoint()
    yield from bps.sleep(seconds)
    yield from bps.close_run()

def pausing():
    yield from bps.open_run()
    yield from bps.checkpoint()
    yield from bps.pause()
    yield from bps.null()
    yield from bps.close_run()

def pausing_then_long():
    yield from bps.open_run()
    yield from bps.checkpoint()
    yield from bps.pause()
    yield from bps.checkpoint()
    yield from bps.sleep(60)
    yield from bps.close_run()

gate = threading.Event()

def wait_long():
    print("waiting")
    time.sleep(60)

def print_here():
    print("from the manager")
"""


class Profile:
    """An IPython directory with one profile, and the workers that use it."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="rm", dir="/tmp"))
        self.startup = self.directory / "profile_lab" / "startup"
        self.startup.mkdir(parents=True)
        self.workers: list[Worker] = []

    def launch(self, script: str = STARTUP, **settings: Any) -> Worker:
        (self.startup / "00.py").write_text(textwrap.dedent(script))
        directory = Path(tempfile.mkdtemp(prefix="rm", dir=self.directory))
        source = {"startup_profile": "lab", "ipython_dir": str(self.directory)}
        worker = Worker(directory, use_ipython_kernel=True, **(source | settings))
        self.workers.append(worker)
        return worker

    def close(self) -> None:
        for worker in self.workers:
            worker.stop()
        shutil.rmtree(self.directory)
        ensure_event_loop().close()  # the one that the clients used


@pytest.fixture(scope="module")
def profile() -> Iterator[Profile]:
    profile = Profile()
    yield profile
    profile.close()


@pytest.fixture(scope="module")
def worker(profile: Profile) -> Worker:
    worker = profile.launch()
    worker.manager.expect_state(ip_kernel_state="starting", ip_kernel_captured=True)
    worker.manager.expect_state(environment_state="idle", ip_kernel_state="idle", ip_kernel_captured=False)
    return worker


class Console:
    """What somebody does at a Jupyter console."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.client = BlockingKernelClient()
        info = worker.manager.command(GetKernelInfo).data
        assert info is not None
        self.client.load_connection_info(info)
        # It takes a kernel that is silent for a second for dead.
        self.client.hb_channel.time_to_dead = TIMEOUT_S
        self.client.start_channels()
        self.client.wait_for_ready(timeout=TIMEOUT_S)

    def start(self, code: str, **state: Any) -> str:
        """Begin to execute code; return when the worker has told that the kernel is busy, and ``state``."""
        number: str = self.client.execute(textwrap.dedent(code))
        self.worker.manager.expect_state(ip_kernel_state="busy", ip_kernel_captured=False, **state)
        return number

    def finish(self, number: str) -> dict[str, Any]:
        """Wait for the end of the execution; return the reply."""
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end:
            reply = self.client.get_shell_msg(timeout=TIMEOUT_S)
            if reply["parent_header"]["msg_id"] == number:
                return dict(reply["content"])
        raise AssertionError("no reply in time")

    def execute(self, code: str, **options: Any) -> dict[str, Any]:
        """Execute code; again if the kernel drops it, as it does what comes right behind a failed cell."""
        reply = {"status": "aborted"}
        while reply["status"] == "aborted":
            reply = self.finish(self.client.execute(textwrap.dedent(code), **options))
        return reply

    def value(self, expression: str) -> str:
        """Evaluate an expression; return its text."""
        reply = self.execute("", user_expressions={"x": expression})
        return str(reply["user_expressions"]["x"]["data"]["text/plain"])

    def close(self) -> None:
        self.client.stop_channels()


@pytest.fixture
def console(worker: Worker) -> Iterator[Console]:
    assert worker.script("gate.clear()", update_lists=False).success
    console = Console(worker)
    yield console
    console.close()


def said(worker: Worker, text: str) -> Callable[[], bool]:
    return lambda: text in worker.manager.text()


# ------------------------------------------------------------------------------------------ one namespace


def test_console_and_manager_share_the_namespace(worker: Worker, console: Console) -> None:
    assert console.execute("def answer():\n    return 42")["status"] == "ok"
    assert worker.call("answer").payload == b"42"
    assert worker.script("from_script = get_ipython().run_line_magic('lmagic', 'x')").success
    assert console.value("from_script") == "'x'"


def test_plans_run_in_the_main_thread_and_capture_the_kernel(worker: Worker, console: Console) -> None:
    uid = worker.start_plan("one_run", 0.0)
    worker.manager.expect_state(
        environment_state="executing_plan", ip_kernel_state="busy", ip_kernel_captured=True
    )
    finished = worker.manager.expect(PlanFinished, item_uid=uid)
    assert finished.exit_status == ExitStatus.COMPLETED
    worker.manager.expect_state(environment_state="idle", ip_kernel_state="idle", ip_kernel_captured=False)
    script = "import threading\nassert threading.current_thread() is threading.main_thread()"
    assert worker.script(script).success


def test_tasks_in_the_background_leave_the_kernel_alone(worker: Worker, console: Console) -> None:
    number = console.start("gate.wait(60)")
    assert worker.script("gate.set()", background=True).success
    assert console.finish(number)["status"] == "ok"


def test_a_queue_is_not_interrupted_by_cells_that_wait(worker: Worker, console: Console) -> None:
    # However slow the test is, it hands the next plan over while the kernel waits for it.
    hold = "import remanager.worker.kernel\nremanager.worker.kernel.HOLD_S = {}"
    assert worker.script(hold.format(3600.0), update_lists=False).success
    worker.script("order.clear()")
    worker.script("def hold():\n    yield from bps.null()\n    gate.wait(60)")
    uid = worker.start_plan("hold")
    number = console.client.execute("order.append('console')")
    assert worker.script("gate.set()", update_lists=False, background=True).success
    worker.manager.expect(PlanFinished, item_uid=uid)
    worker.run_plan("note", "next plan")
    assert worker.script(hold.format(HOLD_S), update_lists=False).success  # after which it waits no longer
    assert console.finish(number)["status"] == "ok"
    assert console.value("order") == "['next plan', 'console']"


def test_a_released_kernel_turns_to_cells_that_wait(worker: Worker, console: Console) -> None:
    for _ in range(3):
        worker.script("order.clear()\ngate.clear()")
        uid = worker.start_plan("hold")
        number = console.client.execute("order.append('console')")
        assert worker.script("gate.set()", update_lists=False, background=True).success
        worker.manager.expect(PlanFinished, item_uid=uid)
        worker.manager.send(ReleaseKernel())
        assert console.finish(number)["status"] == "ok"
        worker.manager.send(ReleaseKernel())  # too late: it must not count for the next plan
        worker.run_plan("note", "next plan")
        assert console.value("order") == "['console', 'next plan']"


# ------------------------------------------------------------------------------------------ busy


def test_a_busy_kernel_refuses_tasks_continuation_and_closing(worker: Worker, console: Console) -> None:
    uid = worker.start_plan("pausing")
    worker.manager.expect(PlanPaused, item_uid=uid)
    number = console.start("gate.wait(60)")
    manager = worker.manager
    assert manager.command(lambda i: ContinuePlan(i, "resume")).msg == BUSY
    assert worker.script("gate.set()", update_lists=False, background=True).success
    assert console.finish(number)["status"] == "ok"
    manager.expect_state(ip_kernel_state="idle", ip_kernel_captured=False)
    assert manager.command(lambda i: ContinuePlan(i, "stop")).success
    assert manager.expect(PlanFinished, item_uid=uid).exit_status == ExitStatus.STOPPED
    assert worker.script("gate.clear()", update_lists=False).success
    number = console.start("gate.wait(60)")
    refused = manager.command(lambda i: RunTask(i, "busy", "script", "{}", False))
    assert (refused.success, refused.msg) == (False, BUSY)
    refused = manager.command(CloseEnvironment)
    assert (refused.success, refused.msg) == (False, "IPython kernel is busy and can not be stopped.")
    assert worker.script("gate.set()", update_lists=False, background=True).success
    console.finish(number)


def test_a_plan_that_comes_a_moment_late_waits(worker: Worker, console: Console) -> None:
    worker.script("order.clear()")
    number = console.start("gate.wait(60); order.append('console'); 1 / 0")
    uid = worker.start_plan("note")
    assert worker.script("gate.set()", update_lists=False, background=True).success
    # A cell that fails makes the kernel drop the cells behind it, but not the manager's work.
    assert console.finish(number)["status"] == "error"
    assert worker.manager.expect(PlanFinished, item_uid=uid).exit_status == ExitStatus.COMPLETED
    assert console.value("order") == "['console', 'plan']"


# ------------------------------------------------------------------------------------------ plans in consoles


@pytest.mark.parametrize(
    ("method", "exit_status"),
    [
        ("resume", ExitStatus.UNKNOWN),
        ("stop", ExitStatus.UNKNOWN),
        ("abort", ExitStatus.ABORTED),
        ("halt", ExitStatus.ABORTED),
    ],
)
def test_a_paused_plan_is_ended_in_the_console(
    worker: Worker, console: Console, method: str, exit_status: ExitStatus
) -> None:
    uid = worker.start_plan("pausing")
    worker.manager.expect(PlanPaused, item_uid=uid)
    worker.manager.expect_state(ip_kernel_state="idle", ip_kernel_captured=False)
    console.execute(f"RE.{method}()")
    finished = worker.manager.expect(PlanFinished, item_uid=uid)
    assert (finished.exit_status, finished.stop_queue) == (exit_status, True)
    assert finished.msg == "The plan is completed outside RE Manager"
    worker.manager.expect_state(ip_kernel_state="idle", running_item_uid=None)


def test_a_plan_that_the_console_runs_can_be_paused(worker: Worker, console: Console) -> None:
    uid = worker.start_plan("pausing")
    worker.manager.expect(PlanPaused, item_uid=uid)
    console.execute("RE.abort()")
    worker.manager.expect(PlanFinished, item_uid=uid)
    number = console.start("RE(one_run(60))", re_state="running")
    assert worker.manager.command(lambda i: PausePlan(i, "immediate")).success
    assert console.finish(number)["ename"] == "RunEngineInterrupted"
    console.execute("RE.halt()")
    assert worker.run_plan("one_run").exit_status == ExitStatus.COMPLETED


def test_a_plan_that_the_console_resumes_can_be_paused(worker: Worker, console: Console) -> None:
    """The pause has come, so it must not keep the queue from going on after the plan."""
    uid = worker.start_plan("pausing_then_long")
    worker.manager.expect(PlanPaused, item_uid=uid)
    number = console.start("RE.resume()", re_state="running")
    assert worker.manager.command(lambda i: PausePlan(i, "immediate")).success
    assert console.finish(number)["ename"] == "RunEngineInterrupted"
    worker.manager.expect_state(re_state="paused", ip_kernel_state="idle")
    assert worker.manager.command(lambda i: ContinuePlan(i, "stop")).success
    finished = worker.manager.expect(PlanFinished, item_uid=uid)
    assert finished.exit_status == ExitStatus.STOPPED
    assert not finished.pause_pending


# ------------------------------------------------------------------------------------------ interrupting


def test_interrupt_ends_a_cell(worker: Worker, console: Console) -> None:
    number = console.start("print('sleeping'); time.sleep(60)")
    worker.manager.until(said(worker, "sleeping"))
    assert worker.manager.command(lambda i: InterruptKernel(i, False, False)).success
    assert console.finish(number)["ename"] == "KeyboardInterrupt"


def test_interrupt_needs_leave_for_tasks_and_plans(worker: Worker, console: Console) -> None:
    manager = worker.manager
    uid = worker.start_function("wait_long")
    manager.until(said(worker, "waiting"))
    refused = manager.command(lambda i: InterruptKernel(i, False, True))
    assert (refused.success, refused.msg) == (False, "Not allowed to interrupt running task")
    assert manager.command(lambda i: InterruptKernel(i, True, False)).success
    finished = manager.expect(TaskFinished, task_uid=uid)
    assert not finished.success
    assert "KeyboardInterrupt" in finished.traceback
    uid = worker.start_plan("one_run", 60.0)
    manager.expect_state(re_state="running")
    refused = manager.command(lambda i: InterruptKernel(i, True, False))
    assert (refused.success, refused.msg) == (False, "Not allowed to interrupt running plan")
    assert manager.command(lambda i: PausePlan(i, "immediate")).success
    manager.expect(PlanPaused, item_uid=uid)
    assert manager.command(lambda i: ContinuePlan(i, "halt")).success
    assert manager.expect(PlanFinished, item_uid=uid).exit_status == ExitStatus.HALTED


def test_interrupt_of_an_idle_kernel_does_nothing(worker: Worker, console: Console) -> None:
    assert worker.manager.command(lambda i: InterruptKernel(i, False, False)).success
    assert console.value("6 * 7") == "42"
    assert worker.run_plan("one_run").exit_status == ExitStatus.COMPLETED


# ------------------------------------------------------------------------------------------ console output


def test_output_of_manager_and_clients_reaches_the_console_once(worker: Worker, console: Console) -> None:
    worker.call("print_here")
    console.execute("print('from the ' + 'client')")
    console.execute("__import__('os').system('echo from a ' + 'process')")
    console.execute("'some ' + 'value'")
    console.execute("1 / 0")
    for text in ("from the manager\n", "from the client\n", "from a process\n", "'some value'\n"):
        worker.manager.until(said(worker, text))
        assert worker.manager.text().count(text) == 1
    worker.manager.until(said(worker, "ZeroDivisionError: division by zero"))
    assert "\x1b[" not in worker.manager.text().split("ZeroDivisionError")[-1]


def test_output_of_the_manager_reaches_no_console_of_a_client(worker: Worker, console: Console) -> None:
    console.execute("pass")
    worker.call("print_here")
    console.execute("print('mark')")
    streams = []
    while not any("mark" in text for _, text in streams):
        message = console.client.get_iopub_msg(timeout=TIMEOUT_S)
        if message["msg_type"] == "stream":
            own = message["parent_header"].get("session") == console.client.session.session
            streams.append((own, message["content"]["text"]))
    assert (False, "from the manager\n") in streams
    assert not any(own for own, text in streams if "from the manager" in text)


def test_streams_have_descriptors(worker: Worker) -> None:
    assert worker.script("import sys; assert (sys.stdout.fileno(), sys.stderr.fileno()) == (1, 2)").success


# ------------------------------------------------------------------------------------------ starting


def test_a_failing_file_ends_the_start(profile: Profile) -> None:
    worker = profile.launch("def broken():\n    return 1 / 0\nbroken()\n")
    failed = worker.manager.expect(EnvironmentFailed)
    assert "ZeroDivisionError: division by zero" in failed.msg
    first, *frames = failed.traceback.splitlines()
    assert first == "Traceback (most recent call last):"
    assert frames[0].strip().startswith(f'File "{profile.startup}/00.py", line 3')
    assert worker.wait_exit() == 1


@pytest.mark.parametrize(
    ("script", "text"),
    [("a b", "SyntaxError"), ("raise SystemExit(3)", "SystemExit: 3"), ("import no_such", "no_such")],
)
def test_other_failures_of_the_start(profile: Profile, script: str, text: str) -> None:
    worker = profile.launch(script)
    failed = worker.manager.expect(EnvironmentFailed)
    assert text in failed.msg
    assert worker.wait_exit() == 1


def test_a_script_comes_after_the_profile(profile: Profile) -> None:
    script = profile.directory / "script.py"
    script.write_text("second = first + 1\n")
    worker = profile.launch("first = 1\n", startup_script=str(script)).open()
    console = Console(worker)
    assert console.value("second") == "2"
    worker.manager.expect_state(ip_kernel_state="idle")
    console.close()
    assert worker.leave() == 0


def test_a_module_comes_after_the_profile_and_is_not_run_in_spawned_processes(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    (profile.directory / "lab_startup.py").write_text(
        "import sys\nprint('loading ' + 'the lab')\nsetattr(sys.modules['__main__'], 'added', first + 1)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(profile.directory))
    worker = profile.launch("__import__('builtins').first = 1\n", startup_module="lab_startup").open()
    script = """
        import multiprocessing
        assert added == 2
        process = multiprocessing.get_context("spawn").Process(target=print, args=("from a child",))
        process.start()
        process.join()
        assert process.exitcode == 0
    """
    finished = worker.script(script)
    assert finished.success, finished.traceback
    worker.manager.until(said(worker, "from a child"))
    assert worker.manager.text().count("loading the lab") == 1
    assert worker.leave() == 0


def test_a_missing_script_or_profile_ends_the_start(profile: Profile) -> None:
    worker = profile.launch("x = 1\n", startup_script="/no/such/file.py")
    assert "script was not found" in worker.manager.expect(EnvironmentFailed).msg
    worker = profile.launch("x = 1\n", startup_profile="nobody")
    assert "the profile 'nobody'" in worker.manager.expect(EnvironmentFailed).msg


# ------------------------------------------------------------------------------------------ ports, leaving


def test_a_connection_file_with_a_name_is_kept_and_used_again(profile: Profile) -> None:
    settings = {"kernel_connection_file": "lab.json", "kernel_connection_dir": str(profile.directory)}
    worker = profile.launch("x = 1\n", **settings).open()
    first = worker.manager.command(GetKernelInfo).data
    assert worker.leave() == 0
    worker = profile.launch("x = 1\n", **settings).open()
    assert worker.manager.command(GetKernelInfo).data == first
    assert worker.leave() == 0
    assert (profile.directory / "lab.json").exists()


def test_an_open_environment_has_a_kernel_that_serves(profile: Profile) -> None:
    """A client that connects as soon as the environment is open hears of its own requests only."""
    worker = profile.launch(
        """
        from ipykernel.kernelbase import Kernel
        publish = Kernel._publish_status
        def told(self, status, *args, **kwargs):
            print("the kernel says", status)
            publish(self, status, *args, **kwargs)
        Kernel._publish_status = told
        """
    ).open()
    worker.manager.until(said(worker, "RE Environment is ready"))
    text = worker.manager.text()
    assert "the kernel says starting" in text.partition("RE Environment is ready")[0]
    assert worker.leave() == 0


def test_a_client_shuts_the_kernel_down(profile: Profile) -> None:
    worker = profile.launch("x = 1\n").open()
    console = Console(worker)
    console.client.shutdown()
    worker.manager.expect_state(environment_state="closing")
    assert worker.wait_exit() == 0
    console.close()


def test_a_worker_without_run_engine_refuses_plans(profile: Profile) -> None:
    worker = profile.launch("x = 1\n").open()
    reply = worker.manager.command(lambda i: RunPlan(i, "p", "{}"))
    assert reply.msg == "Run Engine is not found in the RE Worker environment"
    assert worker.leave() == 0
