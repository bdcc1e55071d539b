"""Which commands are accepted."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from remanager.model.link import (
    CloseEnvironment,
    ContinuePlan,
    GetKernelInfo,
    GetMetadata,
    InterruptKernel,
    PausePlan,
    Reply,
    RunPlan,
    RunTask,
    SetPermissions,
    StopTask,
    Welcome,
)
from remanager.model.worker_config import WorkerConfig
from remanager.worker.commands import CommandDesk
from remanager.worker.state import AcceptedUids, StateBoard


class Bench:
    def __init__(self, kernel: Any = None) -> None:
        self.replies: list[Reply] = []
        self.replied = threading.Event()
        self.submitted: list[Any] = []
        self.started: list[Any] = []
        self.permissions: list[dict[str, Any]] = []
        self.refusal = ""
        self.pause_is_pending = False
        self.engine = SimpleNamespace(md={})
        self.board = StateBoard(lambda _events, _state: None)
        control: Any = SimpleNamespace(
            engine=self.engine,
            expect_plan=lambda: None,
            expect_continuation=lambda _option: self.refusal,
            end_unpaused=lambda _option: self.pause_is_pending,
            request_pause=lambda _option: self.refusal,
        )
        self.control = control
        self.environment: Any = SimpleNamespace(set_permissions=self.permissions.append)
        self.tasks: Any = SimpleNamespace(start_background=self.started.append, stop_background=None)
        self.desk = CommandDesk(
            config=WorkerConfig("w", "", ""),
            board=self.board,
            accepted=AcceptedUids(),
            environment=self.environment,
            control=control,
            tasks=self.tasks,
            submit=self.submitted.append,
            reply=self.reply,
            kernel=kernel,
        )

    def reply(self, reply: Reply) -> None:
        self.replies.append(reply)
        self.replied.set()

    def handle(self, message: Any) -> Reply:
        self.desk.handle(message)
        assert self.replied.wait(30)
        self.replied.clear()
        assert self.replies[-1].id == message.id
        return self.replies[-1]


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.board.change(environment_state="idle", re_state="idle")
    return bench


PLAN = RunPlan(1, "plan", "{}")
FOREGROUND = RunTask(2, "task", "function", "{}", False)
BACKGROUND = RunTask(3, "background", "function", "{}", True)
WORK = [PLAN, FOREGROUND, CloseEnvironment(4)]


@pytest.mark.parametrize("command", WORK)
def test_an_idle_worker_takes_work(bench: Bench, command: Any) -> None:
    assert bench.handle(command) == Reply(command.id, True)
    assert bench.submitted == [command]


@pytest.mark.parametrize(
    ("first", "second"),
    # A repeated plan or task is a case of its own.
    [(a, b) for a in WORK for b in WORK if a is not b or isinstance(a, CloseEnvironment)],
)
def test_a_busy_worker_takes_none(bench: Bench, first: Any, second: Any) -> None:
    bench.handle(first)
    reply = bench.handle(second)
    assert not reply.success
    assert reply.msg
    assert bench.submitted == [first]


@pytest.mark.parametrize("command", [PLAN, FOREGROUND, BACKGROUND])
def test_a_repeated_command_runs_once(bench: Bench, command: Any) -> None:
    bench.handle(command)
    assert bench.handle(command) == Reply(command.id, True, "already accepted")
    assert len(bench.submitted) + len(bench.started) == 1


@pytest.mark.parametrize("command", WORK)
def test_a_paused_plan_fills_the_worker(bench: Bench, command: Any) -> None:
    bench.board.change(running_item_uid="a", re_state="paused")
    assert "The plan a is paused" in bench.handle(command).msg


@pytest.mark.parametrize("command", [*WORK, BACKGROUND])
@pytest.mark.parametrize("state", ["initializing", "closing", "failed"])
def test_a_worker_that_is_not_open_takes_no_work(bench: Bench, command: Any, state: str) -> None:
    bench.board.change(environment_state=state)
    assert state in bench.handle(command).msg
    assert bench.submitted == bench.started == []


@pytest.mark.parametrize("first", [PLAN, FOREGROUND])
def test_background_tasks_run_beside_other_work(bench: Bench, first: Any) -> None:
    bench.handle(first)
    assert bench.handle(BACKGROUND).success
    assert bench.started == [BACKGROUND]
    assert bench.board.current.background_tasks == 1


def test_plans_need_a_run_engine(bench: Bench) -> None:
    bench.board.change(re_state=None)
    assert bench.handle(PLAN).msg == "Run Engine is not found in the RE Worker environment"


@pytest.mark.parametrize("refusal", ["", "no"])
def test_the_control_decides_on_pauses(bench: Bench, refusal: str) -> None:
    bench.refusal = refusal
    assert bench.handle(PausePlan(5, "immediate")) == Reply(5, not refusal, refusal)
    assert bench.handle(ContinuePlan(6, "stop")) == Reply(6, not refusal, refusal)
    assert bench.submitted == ([] if refusal else [ContinuePlan(6, "stop")])


def test_a_plan_is_ended_while_its_pause_is_pending(bench: Bench) -> None:
    bench.pause_is_pending = True
    assert bench.handle(ContinuePlan(6, "stop")).success
    assert bench.submitted == []


def test_a_thread_that_cannot_be_started_is_a_refusal(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_command: RunTask) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(bench.tasks, "start_background", start)
        refusal = "The task cannot be started: can't start new thread"
        assert bench.handle(BACKGROUND) == Reply(BACKGROUND.id, False, refusal)
    assert bench.board.current.background_tasks == 0
    assert bench.handle(BACKGROUND) == Reply(BACKGROUND.id, True)
    assert bench.started == [BACKGROUND]


@pytest.mark.parametrize("message", [PausePlan(5, "immediate"), Welcome("m", 0, {}), StopTask("a", "")])
def test_no_message_ends_the_worker(
    bench: Bench, message: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_args: object) -> str:
        raise AttributeError("no loop")

    monkeypatch.setattr(bench.control, "request_pause", fail)
    monkeypatch.setattr(bench.environment, "set_permissions", fail)
    monkeypatch.setattr(bench.tasks, "stop_background", fail)
    bench.desk.handle(message)
    is_command = isinstance(message, PausePlan)
    assert bench.replies == ([Reply(5, False, "The worker refused: no loop")] if is_command else [])
    assert type(message).__name__ in caplog.text
    assert "Traceback" in caplog.text


def test_permissions_are_passed_on(bench: Bench) -> None:
    bench.desk.handle(Welcome("m", 0, {"a": 1}))
    assert bench.replies == []
    assert bench.handle(SetPermissions(7, {"a": 2})).success
    assert bench.permissions == [{"a": 1}, {"a": 2}]


def test_metadata(bench: Bench) -> None:
    bench.engine.md = {"a": float("nan")}
    assert bench.handle(GetMetadata(8)).data == {"re_metadata": '{"a": NaN}'}
    bench.engine.md = None
    assert bench.handle(GetMetadata(9)).success is False


# ------------------------------------------------------------------------------------------ IPython kernel


class Kernel:
    interrupts = 0

    def connection_info(self) -> dict[str, Any]:
        return {"ip": "127.0.0.1"}

    def interrupt(self) -> None:
        self.interrupts += 1


def test_without_a_kernel_there_is_nothing_to_interrupt(bench: Bench) -> None:
    for command in (InterruptKernel(1, True, True), GetKernelInfo(2)):
        reply = bench.handle(command)
        assert (reply.success, reply.msg) == (
            False,
            "RE Manager is not in IPython mode: IPython kernel is not used",
        )


@pytest.mark.parametrize(
    ("state", "task", "plan", "msg"),
    [
        ("idle", False, False, ""),
        ("executing_plan", False, True, ""),
        ("executing_task", True, False, ""),
        ("executing_plan", True, False, "Not allowed to interrupt running plan"),
        ("executing_task", False, True, "Not allowed to interrupt running task"),
    ],
)
def test_the_kernel_is_interrupted_where_that_is_allowed(
    state: str, task: bool, plan: bool, msg: str
) -> None:
    kernel = Kernel()
    bench = Bench(kernel)
    bench.board.change(environment_state=state)
    reply = bench.handle(InterruptKernel(1, task, plan))
    assert (reply.success, reply.msg, kernel.interrupts) == (not msg, msg, int(not msg))
    assert bench.handle(GetKernelInfo(2)).data == {"ip": "127.0.0.1"}


def test_a_kernel_that_a_client_keeps_busy_takes_plans_only(bench: Bench) -> None:
    bench.board.change(ip_kernel_state="busy", ip_kernel_captured=False)
    busy = "IPython kernel (RE Worker) is busy."
    assert bench.handle(FOREGROUND).msg == busy
    assert bench.handle(ContinuePlan(5, "resume")).msg == busy
    assert bench.handle(CloseEnvironment(6)).msg == "IPython kernel is busy and can not be stopped."
    assert bench.handle(BACKGROUND).success
    assert bench.handle(PLAN).success
