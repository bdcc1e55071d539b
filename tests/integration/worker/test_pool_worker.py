"""A worker of the pool in a process of its own, with a manager in the test."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pool_harness import PoolWorker

from remanager.model.pool_messages import (
    ChildAnswer,
    Drain,
    PoolHello,
    PoolLeaving,
    PoolReady,
    SubmitChild,
    TaskCheckpoint,
    TaskProgress,
    TasksEnded,
    TasksStarted,
)
from remanager.wire.values import pack_value, unpack_value, value_from_json, value_to_json

TASKS = '''
import asyncio, os, resource, signal, sys, time
import numpy as np
from remanager.tasks import Cancelled, Permanent, Retry, Skip, current, task

@task
def add(a, b=1):
    """Add two numbers."""
    return a + b

@task("renamed", timeout_s=5.0, max_retries=2)
def other(x):
    return x

@task
def nothing():
    pass

@task
def fail(text):
    raise ValueError(text)

@task
def again(after_s=None):
    try:
        open("/nonexistent/file")
    except OSError as exc:
        raise Retry(after_s, "not there yet") from exc

@task
def skip():
    raise Skip("nothing to do")

@task
def never():
    raise Permanent("the file is damaged")

@task
def leave(how):
    raise {"exit": SystemExit(3), "interrupt": KeyboardInterrupt()}[how]

@task
async def leave_async(how):
    raise {"exit": SystemExit(3), "interrupt": KeyboardInterrupt()}[how]

@task
def crash():
    os._exit(9)

@task
def segfault():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.fork() == 0:
        os.kill(os.getpid(), signal.SIGSEGV)
    os.wait()
    os.kill(os.getpid(), signal.SIGSEGV)

@task
def weird():
    return {"x": [1, {2}]}

@task
def large(n):
    return "x" * n

@task
def describe(ctx):
    assert current() is ctx
    left = ctx.remaining()
    return [ctx.task_uid, ctx.attempt, ctx.finishing, ctx.last_checkpoint, ctx.deadline,
            None if left is None else 0 < left <= 60]

@task
def wait(ctx):
    while True:
        ctx.check_cancelled()
        time.sleep(0.002)

@task
async def wait_async():
    current().progress(message="waiting")
    await asyncio.sleep(3600)

@task
async def add_async(a, b):
    stray = asyncio.get_running_loop().create_task(asyncio.sleep(3600))
    await asyncio.sleep(0)
    return a + b

@task
async def cancel_itself():
    raise asyncio.CancelledError()

@task
def fork_and_tell(ctx):
    """Have a forked child tell what only the worker itself may tell."""
    pid = os.fork()
    if pid == 0:
        ctx.checkpoint("of the child")
        ctx.progress(message="of the child")
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

@task
def hold(path):
    """Run until the file exists."""
    while not os.path.exists(path):
        time.sleep(0.002)
    return "held"

@task
def hold_and_report(path, said, ctx):
    hold(path)
    ctx.progress(done_count=3, total_count=3)
    ctx.record_io(disk_read=7)
    with open(said, "w") as file:
        file.write("reported")

@task
def report(path, ctx):
    """Report until the file exists."""
    n = 0
    while not os.path.exists(path):
        n += 1
        ctx.progress(done_count=n, total_count=10**9, message="at work")
        time.sleep(0.001)
    ctx.record_io(disk_read=10)
    ctx.record_io(disk_read=5, net_tx=1)
    return n

@task
def keep(value, ctx):
    ctx.checkpoint({"n": value, "array": np.arange(3)})
    if value == "large":
        ctx.checkpoint("x" * 2_000_000)
    return True

@task
def parent(n, ctx):
    if ctx.finishing:
        return {"finished": ctx.last_checkpoint}
    uids = [ctx.submit_child("add", k, b=np.arange(2), options={"priority": 3}) for k in range(n)]
    ctx.checkpoint(uids)
    return uids

@task
def endless_parent(ctx):
    return ctx.submit_child("nothing")

@task
def double(array):
    return array * 2

@task
def say(text):
    print(text)
    print(text, file=sys.stderr)
    os.system(f"echo from the shell: {text}")

@task
def who():
    return [os.getsid(0) == os.getpid(), signal.getsignal(signal.SIGINT) is signal.SIG_IGN]
'''

SLOW_IMPORT = """
import os, time
while not os.path.exists(os.path.join(os.path.dirname(__file__), "import")):
    time.sleep(0.002)
"""

Launch = Callable[..., PoolWorker]


@pytest.fixture(scope="module")
def launch() -> Iterator[Launch]:
    """Start workers with task modules given as texts; all are ended after the tests of the module."""
    workers: list[PoolWorker] = []

    def start(modules: dict[str, str] | None = None, **settings: Any) -> PoolWorker:
        directory = Path(tempfile.mkdtemp(prefix="rm", dir="/tmp"))
        for name, text in (modules or {"lab_tasks": TASKS}).items():
            (directory / f"{name}.py").write_text(textwrap.dedent(text))
        workers.append(PoolWorker(directory, **settings))
        return workers[-1]

    yield start
    for worker in workers:
        worker.stop()
        shutil.rmtree(worker.directory)


@pytest.fixture(scope="module")
def shared(launch: Launch) -> PoolWorker:
    worker = launch()
    worker.ready()
    return worker


def hand_over_and_wait(worker: PoolWorker, *rows: list[Any]) -> None:
    """Hand tasks over and wait until the worker has taken them, while it is busy or not ready yet."""
    last = worker.row("nothing")
    worker.hand_over(*rows, last)
    worker.cancel(last[0])
    assert worker.end_of(last[0]).kind == "returned"


# ------------------------------------------------------------------------------------------ outcomes


def test_greeting_and_functions(launch: Launch) -> None:
    worker = launch()
    hello = worker.manager.expect(PoolHello)
    assert (hello.worker_uid, hello.pid, hello.held) == ("pool-1", worker.process.pid, [])
    ready = worker.ready()
    functions = {f["name"]: f for f in json.loads(ready.functions)}
    assert ready.failures == {}
    assert functions["add"] == {
        "name": "add",
        "module": "lab_tasks",
        "doc": "Add two numbers.",
        "parameters": [
            {"name": "a", "kind": "POSITIONAL_OR_KEYWORD", "required": True},
            {"name": "b", "kind": "POSITIONAL_OR_KEYWORD", "required": False},
        ],
        "options": {},
    }
    assert functions["renamed"]["options"] == {"timeout_s": 5.0, "max_retries": 2}
    assert functions["describe"]["parameters"] == []


def test_result(shared: PoolWorker) -> None:
    end = shared.run("add", 2, b=3)
    assert (end.kind, end.lease_epoch, end.codec, end.payload) == ("completed", 1, "json", b"5")
    assert end.error is None
    assert end.time_start <= end.time_stop


def test_arrays_as_arguments_and_results(shared: PoolWorker) -> None:
    array = np.arange(6.0).reshape(2, 3)
    end = shared.run("double", json.loads(value_to_json(array)))
    assert end.codec == "msgpack"
    assert (end.value == array * 2).all()
    assert shared.run("double", {"__ndarray__": [1, 2]}).value.tolist() == [2, 4]


def test_error(shared: PoolWorker) -> None:
    end = shared.run("fail", "a bad value")
    assert end.kind == "error"
    assert end.error is not None
    kind, msg, trace = end.error
    assert (kind, msg) == ("ValueError", "a bad value")
    assert "lab_tasks.py" in trace
    assert "execution.py" not in trace


def test_retry(shared: PoolWorker) -> None:
    end = shared.run("again", 2.5)
    assert (end.kind, end.retry_after_s, end.reason) == ("retry", 2.5, "not there yet")
    assert end.error is not None
    assert end.error[0] == "FileNotFoundError"
    assert shared.run("again").retry_after_s is None


def test_skip_and_permanent(shared: PoolWorker) -> None:
    end = shared.run("skip")
    assert (end.kind, end.reason, end.error) == ("skipped", "nothing to do", None)
    end = shared.run("never")
    assert end.kind == "permanent"
    assert end.error is not None
    assert end.error[:2] == ["remanager.tasks.exceptions.Permanent", "the file is damaged"]


@pytest.mark.parametrize("function", ["leave", "leave_async"])
@pytest.mark.parametrize(("how", "name"), [("exit", "SystemExit"), ("interrupt", "KeyboardInterrupt")])
def test_leaving_the_interpreter_is_an_error_of_the_task(
    shared: PoolWorker, function: str, how: str, name: str
) -> None:
    end = shared.run(function, how)
    assert end.kind == "error"
    assert end.error is not None
    assert end.error[0] == name
    assert shared.run("add_async", 1, 2).value == 3


@pytest.mark.parametrize(
    ("name", "args", "text"),
    [
        ("unknown", [], "no task 'unknown'"),
        ("add", [1, 2, 3], "takes from 1 to 2 positional arguments"),
        ("double", [{"__ndarray__": "?"}], "'dtype' and 'shape' are needed"),
        ("weird", [], r"a value of the type set, at ['x'][1]"),
        ("large", [17 * 2**20], f"a value of the type str with {17 * 2**20 + 2} bytes"),
    ],
)
def test_what_another_attempt_would_not_mend_is_permanent(
    shared: PoolWorker, name: str, args: list[Any], text: str
) -> None:
    end = shared.run(name, *args)
    assert end.kind == "permanent"
    assert end.error is not None
    assert text in end.error[1]


def test_large_results_pass(shared: PoolWorker) -> None:
    rows = [shared.row("large", 5 * 2**20) for _ in range(4)]
    shared.hand_over(*rows)
    ends = [shared.end_of(row[0]) for row in rows]
    assert [len(e.value) for e in ends] == [5 * 2**20] * 4


def test_context(shared: PoolWorker) -> None:
    uid = shared.start("describe", attempt=3, timeout_s=60.0, checkpoint=pack_value({"n": 1}), finishing=True)
    end = shared.end_of(uid)
    deadline = end.value.pop(4)
    assert end.value[:4] == [uid, 3, True, {"n": 1}]
    assert abs(deadline - end.time_start - 60) < 5
    assert shared.run("describe").value[3:] == [None, None, None]


def test_forked_children_leave_the_connection_alone(shared: PoolWorker) -> None:
    assert shared.run("fork_and_tell").value == 0
    assert shared.run("add", 1, 2).value == 3
    assert b"of the child" not in b"".join(m.payload for m in shared.manager.of(TaskCheckpoint))
    assert len(shared.manager.of(PoolHello)) == 1


# ------------------------------------------------------------------------------------------ cancelling


def test_cancel_of_a_running_function(shared: PoolWorker) -> None:
    uid = shared.start("wait")
    shared.begun(uid)
    shared.cancel(uid, "an older one", epoch=7)
    shared.cancel("unknown")
    shared.cancel(uid, "too slow")
    end = shared.end_of(uid)
    assert (end.kind, end.reason) == ("cancelled", "too slow")


def test_cancel_of_a_running_coroutine(shared: PoolWorker) -> None:
    uid = shared.start("wait_async")
    shared.manager.expect(TaskProgress, task_uid=uid)
    shared.cancel(uid, "too slow")
    end = shared.end_of(uid)
    assert (end.kind, end.reason) == ("cancelled", "too slow")


def test_coroutine_that_cancels_itself_has_failed(shared: PoolWorker) -> None:
    end = shared.run("cancel_itself")
    assert end.kind == "error"
    assert end.error is not None
    assert "CancelledError" in end.error[0]


def test_cancel_before_the_begin_gives_back(shared: PoolWorker) -> None:
    first, second = shared.row("wait"), shared.row("nothing")
    shared.hand_over(first, second)
    shared.begun(first[0])
    shared.cancel(second[0], "not needed")
    end = shared.end_of(second[0])
    assert (end.kind, end.reason) == ("returned", "not needed")
    shared.cancel(first[0])
    assert shared.end_of(first[0]).kind == "cancelled"


# ------------------------------------------------------------------------------------------ what a task tells


def test_progress_is_limited_and_ends_with_the_newest(shared: PoolWorker) -> None:
    path = shared.directory / "reported enough"
    uid = shared.start("report", str(path))

    def reports_of_it() -> list[TaskProgress]:
        return [m for m in shared.manager.of(TaskProgress) if m.task_uid == uid]

    shared.manager.until(lambda: len(reports_of_it()) >= 3)
    path.touch()
    end = shared.end_of(uid)
    reports = reports_of_it()
    # At 0, 0.5 and 1 s and so on, and what was held back at the end.
    assert len(reports) <= (end.time_stop - end.time_start) / 0.5 + 2
    assert reports[-1].report == {
        "done_count": end.value,
        "total_count": 10**9,
        "message": "at work",
        "io": {"disk_read": 15, "net_tx": 1},
    }
    told = [m for m in shared.manager.messages if isinstance(m, (TasksEnded, TaskProgress))]
    assert told.index(reports[-1]) < max(n for n, m in enumerate(told) if isinstance(m, TasksEnded))


def test_checkpoint_is_an_event(shared: PoolWorker) -> None:
    uid = shared.start("keep", 5, epoch=4)
    event = shared.manager.expect(TaskCheckpoint, task_uid=uid)
    assert event.lease_epoch == 4
    value = unpack_value(event.payload)
    assert value["n"] == 5
    assert value["array"].tolist() == [0, 1, 2]
    assert shared.end_of(uid).kind == "completed"


def test_large_checkpoint_is_refused(shared: PoolWorker) -> None:
    end = shared.run("keep", "large")
    assert end.kind == "error"
    assert end.error is not None
    assert "at most 1048576 are kept" in end.error[1]


def test_children(shared: PoolWorker) -> None:
    uid = shared.start("parent", 2)
    for n in range(2):
        request = shared.manager.expect(SubmitChild, task_uid=uid)
        item = value_from_json(request.item)
        assert (item["item_type"], item["name"], item["args"]) == ("function", "add", [n])
        assert item["kwargs"]["b"].tolist() == [0, 1]
        assert item["item_uid"]
        assert json.loads(request.options) == {"priority": 3}
        shared.manager.send(ChildAnswer(request.id, f"child-{n}"))
    end = shared.end_of(uid)
    assert (end.kind, end.payload) == ("parent", None)
    (event,) = (m for m in shared.manager.of(TaskCheckpoint) if m.task_uid == uid)
    end = shared.run("parent", 2, epoch=2, checkpoint=event.payload, finishing=True)
    assert (end.kind, end.value) == ("completed", {"finished": ["child-0", "child-1"]})


def test_refused_child(shared: PoolWorker) -> None:
    uid = shared.start("parent", 1)
    request = shared.manager.expect(SubmitChild, task_uid=uid)
    shared.manager.send(ChildAnswer(request.id, None, "not allowed"))
    end = shared.end_of(uid)
    assert end.error is not None
    assert (end.kind, end.error[1]) == ("error", "The child was refused: not allowed")


def test_no_children_after_the_children(shared: PoolWorker) -> None:
    end = shared.run("endless_parent", finishing=True)
    assert end.error is not None
    assert "ctx.finishing" in end.error[1]


def test_cancel_while_waiting_for_the_answer(shared: PoolWorker) -> None:
    uid = shared.start("endless_parent")
    shared.manager.expect(SubmitChild, task_uid=uid)
    shared.cancel(uid)
    assert shared.end_of(uid).kind == "cancelled"


def test_console(shared: PoolWorker) -> None:
    shared.run("say", "good morning")
    shared.manager.until(
        lambda: (
            shared.manager.text().count("good morning\n") == 3
            and "from the shell: good morning" in shared.manager.text()
        )
    )


def test_own_session_without_interrupts(shared: PoolWorker) -> None:
    assert shared.run("who").value == [True, True]


# ------------------------------------------------------------------------------------------ modules


def test_a_bad_module_does_not_spoil_the_others(launch: Launch) -> None:
    modules = {
        "good": "def f(x): return x\ndef _hidden(): pass\nfrom os.path import join\n",
        "listed": "__all__ = ['g']\ndef g(): return 'g'\ndef h(): pass\n",
        "broken": "raise RuntimeError('no driver')\n",
        "leaver": "import sys; sys.exit(1)\n",
        "double": "def f(): pass\n",
    }
    worker = launch(modules, task_modules=[*modules, "missing"])
    ready = worker.ready()
    assert [f["name"] for f in json.loads(ready.functions)] == ["f", "g"]
    assert "no driver" in ready.failures["broken"]
    assert "SystemExit" in ready.failures["leaver"]
    assert "ModuleNotFoundError" in ready.failures["missing"]
    assert "the module good has one of this name" in ready.failures["double"]
    assert worker.run("f", 4).value == 4


# ------------------------------------------------------------------------------------------ batches


def test_many_tasks_are_told_in_few_messages(launch: Launch) -> None:
    worker = launch()
    worker.ready()
    rows = [worker.row("add", n) for n in range(500)]
    worker.hand_over(*rows)
    worker.end_of(rows[-1][0])
    ends = worker.manager.ends()
    assert [(e.task_uid, e.value) for e in ends] == [(row[0], n + 1) for n, row in enumerate(rows)]
    assert len(worker.manager.of(TasksEnded)) < 250


def test_a_busy_worker_gives_back(launch: Launch) -> None:
    worker = launch(give_back_after_s=0.05)
    worker.ready()
    path = worker.directory / "go"
    first, *others = [worker.row("hold", str(path)), worker.row("nothing"), worker.row("nothing")]
    worker.hand_over(first, *others)
    assert [worker.end_of(row[0]).kind for row in others] == ["returned", "returned"]
    path.touch()
    assert worker.end_of(first[0]).value == "held"
    assert worker.run("nothing").kind == "completed"


# ------------------------------------------------------------------------------------------ life


def test_crash_and_kill_are_seen(launch: Launch) -> None:
    worker = launch()
    worker.ready()
    rows = worker.row("nothing"), worker.row("crash"), worker.row("nothing")
    assert worker.may_have_begun(*rows) == [False, False, False]
    worker.hand_over(*rows)
    assert worker.wait_exit() == 9
    assert worker.may_have_begun(*rows) == [True, True, False]
    worker = launch()
    worker.ready()
    worker.start("wait")
    worker.manager.expect(TasksStarted)
    assert worker.kill() == -9


def test_the_stacks_of_a_crash_are_kept(launch: Launch, tmp_path: Path) -> None:
    crash = tmp_path / "crash"
    worker = launch(crash_path=str(crash))
    worker.ready()
    assert crash.read_text() == ""
    assert crash.stat().st_mode & 0o777 == 0o600
    worker.hand_over(worker.row("segfault"))
    assert worker.wait_exit() == -signal.SIGSEGV
    assert crash.read_text().count("Segmentation fault") == 1  # that of the child is none of the worker's
    assert re.search(r'lab_tasks.py", line \d+ in segfault', crash.read_text())


def test_drain(launch: Launch) -> None:
    worker = launch()
    worker.ready()
    path = worker.directory / "go"
    first, second = worker.row("hold", str(path)), worker.row("nothing")
    worker.hand_over(first, second)
    worker.manager.expect(TasksStarted)
    worker.manager.send(Drain())
    assert worker.end_of(second[0]).kind == "returned"
    late = worker.start("nothing")
    assert worker.end_of(late).kind == "returned"
    path.touch()
    assert worker.end_of(first[0]).value == "held"
    assert worker.wait_exit() == 0


def test_recycling_after_a_number_of_tasks(launch: Launch) -> None:
    worker = launch(max_tasks=2)
    worker.ready()
    rows = [worker.row("nothing") for _ in range(4)]
    worker.hand_over(*rows)
    assert [worker.end_of(row[0]).kind for row in rows] == ["completed"] * 2 + ["returned"] * 2
    assert worker.wait_exit() == 75


def test_what_is_sent_to_a_leaving_worker_is_given_back(launch: Launch) -> None:
    worker = launch(max_tasks=1)
    worker.ready()
    worker.manager.acknowledge = False
    worker.run("nothing")
    worker.manager.expect(PoolLeaving)
    late = worker.start("nothing")
    assert worker.end_of(late).kind == "returned"
    worker.manager.acknowledge = True
    worker.manager.restart("manager")
    assert worker.wait_exit() == 75


def test_recycling_by_memory(launch: Launch) -> None:
    worker = launch(max_rss_bytes=1)
    worker.ready()
    assert worker.run("nothing").kind == "completed"
    assert "bytes of memory" in worker.manager.expect(PoolLeaving).reason
    assert worker.wait_exit() == 75


def test_an_orphan_leaves_when_it_is_idle(launch: Launch) -> None:
    modules = {"lab_tasks": TASKS, "slow": SLOW_IMPORT}
    worker = launch(modules, task_modules=list(modules), orphan_timeout_s=1.0)
    path = worker.directory / "go"
    # It has the task before it is ready: until then it does not count as idle, however slow the test is.
    worker.manager.expect(PoolHello)
    held = worker.row("hold", str(path))
    uid = str(held[0])
    hand_over_and_wait(worker, held)
    (worker.directory / "import").touch()
    worker.begun(uid)
    worker.manager.acknowledge = False
    worker.manager.unbind()
    with pytest.raises(subprocess.TimeoutExpired):
        worker.process.wait(2.5)  # it is busy, however long nobody is there
    path.touch()
    assert worker.process.wait(20) == 0
    worker.manager.bind()
    assert uid not in {e.task_uid for e in worker.manager.ends()}


def test_restart_of_the_manager(launch: Launch) -> None:
    worker = launch()
    worker.ready()
    manager = worker.manager
    manager.acknowledge = False
    done = worker.start("nothing")
    worker.end_of(done)
    path = worker.directory / "go"
    held = worker.start("hold", str(path), epoch=5)
    waiting = worker.row("nothing")
    worker.begun(held)
    before = len(manager.messages)

    manager.acknowledge = True
    manager.restart("another manager")
    hello = manager.expect(PoolHello)
    ((uid, epoch, began),) = hello.held
    assert (uid, epoch) == (held, 5)
    assert began is not None
    assert manager.expect(TasksEnded).outcomes[0][0] == done  # it was not acknowledged
    assert manager.expect(PoolReady).seq > hello.last_seq  # another manager has to learn it
    worker.hand_over(waiting)
    path.touch()
    assert worker.end_of(held).value == "held"
    assert worker.end_of(waiting[0]).kind == "completed"
    assert len([e for e in manager.ends() if e.task_uid == done]) == 1
    assert before < len(manager.messages)


def test_what_is_reported_while_no_manager_is_there(launch: Launch) -> None:
    worker = launch()
    worker.ready()
    path = worker.directory / "go"
    said = worker.directory / "said"
    os.mkfifo(said)
    uid = worker.start("hold_and_report", str(path), str(said))
    worker.manager.expect(TasksStarted)
    worker.manager.unbind()
    path.touch()
    assert said.read_text() == "reported"
    worker.manager.bind()
    assert worker.end_of(uid).report == {"done_count": 3, "total_count": 3, "io": {"disk_read": 7}}
    assert worker.run("nothing").report is None


def test_unanswered_child_is_asked_for_again(launch: Launch) -> None:
    worker = launch()
    worker.ready()
    uid = worker.start("parent", 1)
    first = worker.manager.expect(SubmitChild)
    worker.manager.restart("another manager")
    second = worker.manager.expect(SubmitChild)
    assert second == first
    worker.manager.send(ChildAnswer(second.id, "child"))
    assert worker.end_of(uid).kind == "parent"


def test_a_repeated_hand_over_is_not_run_twice(launch: Launch) -> None:
    worker = launch()
    worker.ready()
    path = worker.directory / "go"
    row = worker.row("hold", str(path))
    worker.hand_over(row)
    worker.begun(row[0])
    hand_over_and_wait(worker, row)  # it comes while the task is held
    path.touch()
    worker.end_of(row[0])
    worker.run("nothing")
    assert len([e for e in worker.manager.ends() if e.task_uid == row[0]]) == 1
