"""Commands against a manager that answers from a table: what is sent, shown and returned."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
import zmq

from remanager.cli.console import follow, recent, show_output
from remanager.cli.main import run
from remanager.cli.monitor import Watch, draw, listen
from remanager.cli.requests import BY_PATH
from remanager.cli.send import WORKER_ANSWER_TIMEOUT_S, RequestCommand
from remanager.manager.worker_link import COMMAND_TIMEOUT_S
from remanager_api.zmq.aio import REManagerAPI

Run = Callable[..., int]
STATUS = {
    "msg": "RE Manager v1",
    "manager_state": "idle",
    "worker_environment_state": "idle",
    "worker_environment_exists": True,
    "items_in_queue": 0,
    "items_in_history": 1,
    "plan_queue_uid": "q",
    "plan_history_uid": "h",
}
ENDED = {
    "name": "count",
    "args": [["det1"]],
    "item_uid": "u-1",
    "result": {"exit_status": "completed", "time_start": 1.0, "time_stop": 2.5, "run_uids": ["r"], "msg": ""},
}


@pytest.fixture
def command(manager: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("QSERVER_ZMQ_CONTROL_ADDRESS", manager.address)
    monkeypatch.setenv("QSERVER_ZMQ_INFO_ADDRESS", manager.info_address)
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("QSERVER_ZMQ_PUBLIC_KEY", "QSERVER_ZMQ_ENCODING", "REMANAGER_CLIENT_PRIVATE_KEY"):
        monkeypatch.delenv(name, raising=False)
    return lambda *args: run(args)


def test_success(manager: Any, command: Run, capsys: pytest.CaptureFixture[str]) -> None:
    manager.handlers["status"] = lambda _: STATUS
    assert command("status") == 0
    assert "idle" in capsys.readouterr().out
    assert command("status", "--json") == 0
    assert json.loads(capsys.readouterr().out) == STATUS


def test_item_is_sent_as_the_user(manager: Any, command: Run) -> None:
    assert command("item", "add", "front", "count([det1], num=2)", "--user", "ann", "-k", "key") == 0
    assert manager.requests[-1] == {
        "method": "queue_item_add",
        "params": {
            "pos": "front",
            "item": {"name": "count", "args": [["det1"]], "kwargs": {"num": 2}, "item_type": "plan"},
            "user": "ann",
            "user_group": "primary",
            "lock_key": "key",
        },
    }


def test_negative_index(manager: Any, command: Run) -> None:
    assert command("item", "get", "-12", "--json") == 0
    assert manager.requests[-1]["params"] == {"pos": -12}


def test_wrong_parameters(manager: Any, command: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["item", "move", "2"],
        ["nonsense"],
        ["queue", "stop", "later"],
        ["item", "get", "--no-such-option"],
        ["status", "--timeout", "0"],
        ["status", "more"],
    ):
        assert command(*words) == 1
        assert "Error" in capsys.readouterr().err
    assert manager.requests == []


def test_refused(manager: Any, command: Run, capsys: pytest.CaptureFixture[str]) -> None:
    manager.handlers["re_resume"] = lambda _: {"success": False, "msg": "not paused", "code": "conflict"}
    assert command("re", "resume") == 2
    assert capsys.readouterr().err == "Refused (conflict): not paused\n"
    assert command("re", "resume", "--json") == 2
    assert json.loads(capsys.readouterr().out)["code"] == "conflict"


def test_no_answer(manager: Any, command: Run, silence: object, capsys: pytest.CaptureFixture[str]) -> None:
    manager.handlers["ping"] = lambda _: silence
    assert command("ping", "--timeout", "0.1") == 3
    assert "remanager doctor" in capsys.readouterr().err
    manager.handlers["ping"] = lambda _: b"\xff"
    assert command("ping") == 3


def test_commands_that_are_work_wait_longer() -> None:
    timeouts = {
        path: next(p.default for p in RequestCommand(BY_PATH[path], path).params if p.name == "timeout")
        for path in ("status", "re pause", "environment update", "task prune", "task submit-batch")
    }
    assert timeouts == {
        **{"status": 5.0, "re pause": 12.0, "environment update": 12.0},
        **{"task prune": 60.0, "task submit-batch": 60.0},
    }
    assert COMMAND_TIMEOUT_S < WORKER_ANSWER_TIMEOUT_S


def test_exception(command: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("ping", "--address", "nonsense") == 4
    assert "ZMQError" in capsys.readouterr().err


def test_environment_that_does_not_open(
    manager: Any, command: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = {"worker_environment_exists": False, "not_ready_reason": "the environment is closed; no beam"}
    manager.handlers["status"] = lambda _: STATUS | closed
    assert command("environment", "open", "--wait") == 5
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "The environment is closed; no beam.\n")
    manager.handlers["status"] = lambda _: STATUS | {"worker_environment_exists": False}
    assert command("environment", "close", "--wait") == 0
    manager.handlers["status"] = lambda _: STATUS | {"manager_state": "creating_environment"}
    assert command("environment", "open", "--wait", "--wait-timeout", "0.1") == 5


def test_result_of_a_task(manager: Any, command: Run, capsys: pytest.CaptureFixture[str]) -> None:
    result = {"success": True, "msg": "", "return_value": 42, "time_start": 1.0, "time_stop": 2.0}
    manager.handlers["function_execute"] = lambda _: {"success": True, "task_uid": "t"}
    manager.handlers["task_status"] = lambda _: {"success": True, "status": "completed"}
    manager.handlers["task_result"] = lambda _: {"success": True, "task_uid": "t", "result": result}
    assert command("function", "execute", "f()", "--wait", "--json") == 0
    assert json.loads(capsys.readouterr().out)["result"]["return_value"] == 42
    result |= {"success": False, "msg": "no beam"}
    assert command("function", "execute", "f()", "--wait") == 5
    assert "no beam" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("state", "kind", "reason", "status"),
    [
        ("lost", "failure", "its worker died", 5),
        ("timed_out", "failure", "", 5),
        ("dead_letter", "failure", "3 attempts failed", 5),
        ("superseded", "dropped", "replaced by u-2", 5),
        ("skipped", "success", "the run is there already", 0),
    ],
)
def test_how_a_task_has_ended(
    manager: Any,
    command: Run,
    capsys: pytest.CaptureFixture[str],
    state: str,
    kind: str,
    reason: str,
    status: int,
) -> None:
    result = {"success": status == 0, "msg": "", "return_value": None}
    ended = {"success": True, "task_uid": "t", "status": "completed", "state": state, "result": result}
    manager.handlers["task_submit"] = lambda _: {"success": True, "task_uid": "t"}
    manager.handlers["task_status"] = lambda _: {"success": True, "status": "completed"}
    manager.handlers["task_result"] = lambda _: ended
    manager.handlers["task_info"] = lambda _: {"success": True, "task": {"state_reason": reason}}
    assert command("task", "submit", "f()", "--wait") == status
    words = capsys.readouterr().out.split()
    assert {state, kind, *reason.split()} <= set(words)


def test_queue_that_a_plan_has_stopped(
    manager: Any, command: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = ENDED | {"result": {"exit_status": "failed", "msg": "Plan failed: no beam"}}
    after = iter([STATUS])
    stopped = STATUS | {"items_in_queue": 1, "plan_history_uid": "h2"}
    manager.handlers["status"] = lambda _: next(after, stopped)
    manager.handlers["history_get"] = lambda _: {"success": True, "items": [failed]}
    assert command("queue", "start", "--wait") == 5
    assert capsys.readouterr().err == (
        "The plan 'count' has failed: Plan failed: no beam. The queue has stopped; 1 item is left.\n"
    )
    # That it failed earlier is not told again.
    assert command("queue", "start", "--wait") == 5
    assert capsys.readouterr().err == "The queue has stopped; 1 item is left.\n"
    manager.handlers["status"] = lambda _: STATUS
    assert command("queue", "start", "--wait") == 0
    assert capsys.readouterr().out == "The queue has stopped; 0 items are left.\n"


def test_queue_and_item_that_have_ended(manager: Any, command: Run) -> None:
    manager.handlers["status"] = lambda _: STATUS
    assert command("queue", "start", "--wait") == 0
    manager.handlers["status"] = lambda _: STATUS | {"manager_state": "paused", "items_in_queue": 2}
    assert command("queue", "start", "--wait") == 5
    item = {"item_uid": "u-1"}
    manager.handlers["queue_item_execute"] = lambda _: {"success": True, "item": item}
    manager.handlers["history_get"] = lambda _: {"success": True, "items": [ENDED]}
    assert command("item", "execute", "count([det1])", "--wait") == 0
    item["item_uid"] = "u-2"
    assert command("item", "execute", "count([det1])", "--wait") == 5


def test_tables(manager: Any, command: Run, capsys: pytest.CaptureFixture[str]) -> None:
    plan = {
        "name": "count",
        "description": "Count.",
        "parameters": [
            {"name": "num", "default": "1", "annotation": {"type": "int"}, "description": "how often"}
        ],
    }
    part = {"classname": "Signal", "is_readable": True}
    device = {"classname": "Motor", "is_movable": True, "components": {"velocity": part}}
    task = {"success": True, "msg": "", "task_uid": "t", "status": "completed", "result": {"success": True}}
    event = {"seq": 7, "time": 1.0, "type": "queue_cleared", "data": {"principal": "ann"}}
    replies: dict[str, dict[str, Any]] = {
        "ping": STATUS,
        "queue_get": {"items": [ENDED], "running_item": ENDED, "plan_queue_uid": "q"},
        "queue_item_get": {"item": ENDED},
        "history_get": {"items": [ENDED]},
        "plans_allowed": {"plans_allowed": {"count": plan}},
        "devices_existing": {"devices_existing": {"motor": device}},
        "permissions_get": {"user_group_permissions": {"user_groups": {"root": {}}}},
        "re_runs": {"run_list": [{"uid": "run-1", "is_open": True, "exit_status": None}]},
        "task_result": task,
        "queue_item_remove_batch": {"success": True, "msg": "", "items": [ENDED], "qsize": 0},
        "stats": {"success": True, "health": {"state": "ok"}},
        "event_list": {"events": [event]},
        "worker_autopsy_list": {"autopsies": [{"signal": "SIGSEGV"}]},
        "item_check": {"item": ENDED, "estimate": {"points": 5}},
    }
    for method, reply in replies.items():
        manager.handlers[method] = lambda _, reply=reply: reply
    for words, expected in (
        (["ping"], "RE Manager v1 answers"),
        (["queue", "get"], "count(['det1'])"),
        (["item", "get"], "u-1"),
        (["history", "get"], "completed"),
        (["plans", "allowed"], "Count."),
        (["plans", "allowed", "count"], "how often"),
        (["devices", "existing"], "velocity"),
        (["devices", "existing", "motor"], "motor.velocity"),
        (["permissions", "get"], "user_groups:"),
        (["re", "runs"], "run-1"),
        (["task", "result", "t"], "success"),
        (["batch", "remove", "u-1"], "u-1"),
        (["stats"], "health.state"),
        (["events", "7", "queue_cleared"], "ann"),
        (["autopsies"], "SIGSEGV"),
        (["item", "check", "count([det1])"], "points   5"),
    ):
        assert command(*words) == 0
        assert expected in capsys.readouterr().out, words
    assert command("plans", "allowed", "scan") == 1
    manager.handlers["queue_get"] = lambda _: {"items": [], "running_item": {}}
    manager.handlers["history_get"] = lambda _: {"items": []}
    manager.handlers["re_runs"] = lambda _: {"run_list": []}
    for words in (["queue", "get"], ["history", "get"], ["re", "runs"]):
        assert command(*words) == 0


def test_msgpack(make_manager: Callable[..., Any], command: Run) -> None:
    other = make_manager(encoding="msgpack")
    assert command("ping", "--address", other.address, "--encoding", "msgpack") == 0


async def test_console_is_followed(manager: Any) -> None:
    seen: list[str] = []
    warned, arrived = asyncio.Event(), asyncio.Event()
    async with REManagerAPI(zmq_info_addr=manager.info_address) as api:

        def write(text: str) -> None:
            seen.append(text)
            arrived.set()

        task = asyncio.ensure_future(follow(api, write, lambda _: warned.set(), silence_s=0.05))
        await asyncio.wait_for(warned.wait(), 20)
        await asyncio.to_thread(manager.wait_for_subscription)
        manager.publish("QS_Info", {"status": {}})
        manager.publish("QS_Console", "one\r\n")
        await asyncio.wait_for(arrived.wait(), 20)
        task.cancel()
        await asyncio.wait([task])
    assert seen == ["one\r\n"]


async def test_recent_console_output(manager: Any) -> None:
    def page(request: dict[str, Any]) -> dict[str, Any]:
        since, limit = request["params"]["since"], request["params"]["limit"]
        lines = [{"seq": n, "time": 1.0, "msg": f"{n}\n"} for n in range(since, min(since + limit, 2500))]
        return {"success": True, "lines": lines, "next_seq": since + len(lines)}

    manager.handlers["console_get"] = page
    async with REManagerAPI(zmq_control_addr=manager.address) as api:
        assert await recent(api, 2) == (["2498\n", "2499\n"], 2500)


async def test_console_output_that_is_not_published(manager: Any) -> None:
    lines = ["one\n", "two\n"]

    def page(request: dict[str, Any]) -> dict[str, Any]:
        since = request["params"]["since"]
        found = [{"seq": n, "time": 1.0, "msg": lines[n]} for n in range(since, len(lines))]
        return {"success": True, "lines": found, "next_seq": len(lines), "gap": False}

    manager.handlers["console_get"] = page
    seen: list[str] = []
    arrived = asyncio.Event()

    def write(text: str) -> None:
        seen.append(text)
        if "three" in text:
            arrived.set()
        elif len(lines) == 2:
            lines.append("three\n")

    async with REManagerAPI(zmq_control_addr=manager.address) as api:
        task = asyncio.ensure_future(show_output(api, 1, write, pytest.fail, period_s=0.01))
        await asyncio.wait_for(arrived.wait(), 20)
        task.cancel()
        await asyncio.wait([task])
    assert "".join(seen) == "two\nthree\n"


async def test_picture_of_the_monitor(manager: Any) -> None:
    from rich.console import Console

    status = STATUS | {"progress": {"done_count": 3, "total_count": 9}, "queue_stop_pending": True}
    manager.handlers["status"] = lambda _: status
    manager.handlers["queue_get"] = lambda _: {"items": [ENDED], "running_item": ENDED}
    manager.handlers["history_get"] = lambda _: {"items": [ENDED]}
    watch = Watch()
    draw(watch, 40)
    async with REManagerAPI(zmq_control_addr=manager.address) as api:
        await watch.look(api)
        await watch.look(api)
    assert [r["method"] for r in manager.requests] == ["status", "queue_get", "history_get", "status"]
    watch.hear("50 %\r100 %\r\nhal")
    watch.hear("f\n")
    watch.problem = "no answer"
    console = Console(width=120, height=40, record=True)
    console.print(draw(watch, 40))
    text = console.export_text()
    for part in ("stop pending", "3/9 points", "100 %", "half", "no answer", "completed"):
        assert part in text
    assert "50 %" not in text


def test_monitor_needs_a_terminal(command: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("monitor") == 1
    assert "is no terminal that the monitor can draw on" in capsys.readouterr().err


async def test_monitor_begins_with_recent_output(manager: Any) -> None:
    page = {"lines": [{"seq": 1, "msg": "before\n"}], "next_seq": 2}
    manager.handlers["console_get"] = lambda _: page
    heard = asyncio.Event()

    class Listener(Watch):
        def hear(self, text: str) -> None:
            Watch.hear(self, text)
            heard.set()

    watch = Listener()
    async with REManagerAPI(zmq_control_addr=manager.address, zmq_info_addr=manager.info_address) as api:
        task = asyncio.ensure_future(listen(api, watch))
        await asyncio.wait_for(heard.wait(), 10)
        task.cancel()
        await asyncio.wait([task])
    assert list(watch.console) == ["before"]


def test_wrong_server_key(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    public, _ = zmq.curve_keypair()
    monkeypatch.setenv("QSERVER_ZMQ_PUBLIC_KEY", public.decode())
    assert command("ping", "--timeout", "0.1") == 3
