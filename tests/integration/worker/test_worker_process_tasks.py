"""Functions, scripts and console output in a real worker process without a RunEngine."""

from __future__ import annotations

import json
import re
import signal

import pytest
from worker_harness import PERMISSIONS, Worker

from remanager.model.link import (
    CloseEnvironment,
    EnvironmentReady,
    GetMetadata,
    ListsChanged,
    PausePlan,
    Reply,
    RunPlan,
    RunTask,
    SetPermissions,
    TaskFinished,
)

PROFILE = """
    import logging
    import multiprocessing
    import os
    import subprocess
    import sys
    import threading

    release = threading.Event()
    started = threading.Event()
    quiet = threading.Event()
    logging.basicConfig(format="profile: %(message)s")

    def echo(value):
        return value

    def wait():
        started.set()
        release.wait()
        release.clear()
        started.clear()
        return threading.current_thread() is threading.main_thread()

    def set_release():
        started.wait()
        release.set()

    def unserialisable():
        return object()

    def leave():
        raise SystemExit(3)

    def spin():
        started.set()
        while True:
            pass

    def say(text):
        print(text)

    def say_bytes(text):
        os.write(1, text.encode())
        os.write(2, text.encode())

    def say_in_subprocess(text):
        subprocess.run(["echo", text], check=True)

    def say_in_fork(text):
        pid = os.fork()
        if pid == 0:
            print(text, flush=True)
            os._exit(0)
        os.waitpid(pid, 0)

    def log_in_fork(text):
        child = multiprocessing.get_context("fork").Process(target=log, args=(text,))
        child.start()
        child.join()

    def chatter():
        while not quiet.is_set():
            print("...")

    def log_in_forks(children):
        quiet.clear()
        threading.Thread(target=chatter, daemon=True).start()
        fork = multiprocessing.get_context("fork")
        forked = [fork.Process(target=log, args=(f"child {n}",)) for n in range(children)]
        for child in forked:
            child.start()
        for child in forked:
            child.join(10)
            child.kill()
        quiet.set()
        return [child.exitcode for child in forked]

    def say_much(lines):
        for n in range(lines):
            print(f"line {n:05d} " + "x" * 1000 + "\\n", end="")

    def log(text):
        logging.getLogger("profile").warning(text)

    def redraw():
        for part in ("\\r 10%", "\\x1b[A", "\\r 20%"):
            sys.stdout.write(part)

    def streams():
        return [sys.stdout.isatty(), sys.stdout.encoding, sys.stdout.fileno(), os.environ.get("MPLBACKEND")]
"""


@pytest.fixture(scope="module")
def worker(launch) -> Worker:
    return launch(PROFILE).open()


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("value", [None, 1, "a", [1, [2.5]], {"a": {}}])
def test_a_function_returns_its_value(worker: Worker, background: bool, value: object) -> None:
    finished = worker.call("echo", value, background=background)
    assert (finished.success, finished.msg, finished.traceback) == (True, "", "")
    assert (finished.codec, json.loads(finished.payload)) == ("json", value)
    assert finished.time_start < finished.time_stop


@pytest.mark.parametrize("background", [False, True])
def test_a_function_fails(worker: Worker, background: bool) -> None:
    finished = worker.call("echo", background=background)
    assert not finished.success
    assert finished.msg == (
        "Error occurred while executing 'echo': echo() missing 1 required positional argument: 'value'"
    )
    assert finished.error_type == "TypeError"
    assert finished.traceback.startswith("Traceback")
    assert finished.msg.split(": ", 1)[1] in finished.traceback
    assert finished.payload == b"null"


@pytest.mark.parametrize("background", [False, True])
def test_a_function_may_leave_by_system_exit(worker: Worker, background: bool) -> None:
    finished = worker.call("leave", background=background)
    assert (finished.success, finished.msg) == (
        False,
        "Error occurred while executing 'leave': SystemExit(3)",
    )
    assert worker.call("echo", 1).success


def test_an_unserialisable_value(worker: Worker) -> None:
    finished = worker.call("unserialisable")
    assert not finished.success
    reason = "Object of type object is not JSON serializable"
    assert finished.msg == (
        "Error occurred while executing 'unserialisable': "
        f"The function has run, but its return value of the type object cannot be sent: {reason}"
    )
    assert finished.traceback.startswith("Traceback")
    assert f"TypeError: {reason}" in finished.traceback
    assert finished.traceback.endswith(f"cannot be sent: {reason}\n")


def test_an_unknown_function(worker: Worker) -> None:
    assert "Function 'nothing' is not found in the worker namespace" in worker.call("nothing").msg


def test_a_foreground_task_fills_the_worker(worker: Worker) -> None:
    uid = worker.start_function("wait")
    state = worker.manager.expect_state(running_task_uid=uid).state
    assert state.environment_state == "executing_task"
    for make in (CloseEnvironment, lambda i: RunTask(i, "x", "function", "{}", False)):
        assert not worker.manager.command(make).success
    again = worker.manager.command(lambda i: RunTask(i, uid, "function", "{}", False))
    assert (again.success, again.msg) == (True, "already accepted")
    worker.start_function("set_release", background=True)
    finished = worker.manager.expect(TaskFinished, task_uid=uid)
    assert json.loads(finished.payload) is True
    worker.manager.expect_state(environment_state="idle", running_task_uid=None, background_tasks=0)
    assert len([m for m in worker.manager.of(TaskFinished) if m.task_uid == uid]) == 1


def test_background_tasks_are_counted(worker: Worker) -> None:
    uid = worker.start_function("wait", background=True)
    worker.manager.expect_state(background_tasks=1, environment_state="idle")
    assert worker.call("echo", 1).success
    # Either of the two may be the first to end.
    releasing = worker.start_function("set_release")
    assert json.loads(worker.end_of_task(uid).payload) is False
    assert worker.end_of_task(releasing).success
    worker.manager.expect_state(background_tasks=0)


def test_an_interrupt_ends_the_function_only(worker: Worker) -> None:
    uid = worker.start_function("spin")
    worker.manager.expect_state(running_task_uid=uid)
    assert worker.call("set_release", background=True).success
    worker.process.send_signal(signal.SIGINT)
    finished = worker.manager.expect(TaskFinished, task_uid=uid)
    assert (finished.success, finished.msg) == (
        False,
        "Error occurred while executing 'spin': KeyboardInterrupt",
    )
    worker.process.send_signal(signal.SIGINT)
    assert worker.call("echo", 1).success


def test_a_script_defines_a_plan(worker: Worker) -> None:
    ready = worker.manager.of(EnvironmentReady)[0]
    before = len(worker.manager.of(ListsChanged))
    finished = worker.script("def new_plan():\n    yield from []\n")
    assert (finished.success, json.loads(finished.payload)) == (True, None)
    changed = worker.manager.of(ListsChanged)[before]
    assert changed.seq == finished.seq - 1
    assert "new_plan" in json.loads(changed.plans)
    assert changed.devices == ready.devices


def test_a_script_that_changes_no_list(worker: Worker) -> None:
    before = len(worker.manager.of(ListsChanged))
    assert worker.script("some_name = 1").success
    assert worker.script("", background=True).success
    assert worker.script("def other_plan():\n    yield from []\n", update_lists=False).success
    assert len(worker.manager.of(ListsChanged)) == before
    assert worker.script("").success
    assert len(worker.manager.of(ListsChanged)) == before + 1


def test_a_failing_script(worker: Worker) -> None:
    finished = worker.script(
        """
        try:
            raise ValueError("inner trouble")
        except ValueError as exc:
            raise RuntimeError("outer trouble") from exc
        """
    )
    assert not finished.success
    assert "outer trouble" in finished.msg
    assert "inner trouble" not in finished.msg
    assert finished.traceback.startswith("Traceback")
    assert "inner trouble" in finished.traceback


@pytest.mark.parametrize(
    "function", ["say", "say_bytes", "say_in_subprocess", "say_in_fork", "log", "log_in_fork"]
)
def test_console_output(worker: Worker, function: str) -> None:
    text = f"hello é from {function}"
    assert worker.call(function, text).success
    wanted = 2 if function == "say_bytes" else 1
    worker.manager.until(lambda: worker.manager.text().count(text) == wanted)


def test_forked_children_log_while_others_print(worker: Worker) -> None:
    """What another thread does with the console at the moment of the fork is of no concern to the child."""
    children = 40
    finished = worker.call("log_in_forks", children)
    assert json.loads(finished.payload) == [0] * children


LINES = 3000


def lines_of(text: str) -> list[int]:
    # The end of another output, without a line feed, may come before the first one.
    return [int(n) for n in re.findall(r"line (\d{5}) x{1000}$", text, re.MULTILINE)]


def test_a_manager_that_does_not_read_the_console_holds_no_code_up(worker: Worker) -> None:
    manager = worker.manager
    manager.console.clear()
    manager.mute_console()
    assert worker.call("say_much", LINES).success
    manager.hear_console()
    manager.until(lambda: f"line {LINES - 1:05d}" in manager.text())
    assert lines_of(manager.text()) == list(range(LINES))


def test_console_output_goes_on_with_the_next_manager(worker: Worker) -> None:
    manager = worker.manager
    manager.mute_console()
    assert worker.call("say_much", LINES).success
    manager.console.clear()
    manager.unbind()
    manager.bind()
    manager.until(lambda: f"line {LINES - 1:05d}" in manager.text())
    # What the former one had not read is gone; each message that came is whole.
    numbers = lines_of(manager.text())
    assert numbers == list(range(numbers[0], LINES))
    assert numbers[0] > 0
    assert manager.text().count("line ") == len(numbers)


def test_the_end_of_a_script_is_shown(worker: Worker) -> None:
    worker.manager.console.clear()
    assert worker.script("print('from the script')").success
    worker.manager.until(lambda: "The script was executed" in worker.manager.text())
    text = worker.manager.text()
    assert text.index("from the script") < text.index("The script was executed")


def test_each_write_is_one_console_message(worker: Worker) -> None:
    worker.manager.console.clear()
    assert worker.call("redraw").success
    worker.manager.until(lambda: "\r 20%" in worker.manager.console)
    parts = [text for text in worker.manager.console if not text.startswith("[")]
    assert parts == ["\r 10%", "\x1b[A", "\r 20%"]


def test_the_streams(worker: Worker) -> None:
    tty, encoding, fd, backend = json.loads(worker.call("streams").payload)
    assert (tty, encoding, fd) == (False, "utf-8", 1)
    assert backend is None or re.fullmatch("[a-z]+", backend)


def test_without_a_run_engine(worker: Worker) -> None:
    assert worker.manager.of(Reply)
    refused = worker.manager.command(lambda i: RunPlan(i, "plan", "{}"))
    assert refused.msg == "Run Engine is not found in the RE Worker environment"
    refused = worker.manager.command(GetMetadata)
    assert refused.msg == "Run Engine does not exist in worker environment"
    refused = worker.manager.command(lambda i: PausePlan(i, "immediate"))
    assert refused.msg == "Run engine can be paused only in 'running' state. Current state: 'None'"


def test_permissions_are_replaced(worker: Worker) -> None:
    none = {"allowed_plans": [], "allowed_devices": [], "allowed_functions": []}
    groups = {"user_groups": {**PERMISSIONS["user_groups"], "primary": none}}
    assert worker.manager.command(lambda i: SetPermissions(i, groups)).success
    assert "is not allowed" in worker.call("echo", 1).msg
    assert worker.manager.command(lambda i: SetPermissions(i, PERMISSIONS)).success
    assert worker.call("echo", 1).success


def test_a_script_brings_the_run_engine(worker: Worker) -> None:
    script = "from bluesky import RunEngine\nRE = RunEngine()\n"
    assert worker.script(script, update_lists=False).success
    assert not worker.manager.command(lambda i: RunPlan(i, "plan", "{}")).success
    assert worker.script(script, update_lists=False, update_re=True).success
    worker.manager.expect_state(re_state="idle")
    assert worker.run_plan("new_plan").exit_status == "completed"


def test_closing_comes_last(worker: Worker) -> None:
    worker.start_function("wait", background=True)  # does not keep the worker alive
    assert worker.leave() == 0
