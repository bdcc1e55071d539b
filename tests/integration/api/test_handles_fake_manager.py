"""Handles, events, waiting and errors against a manager that answers from a table."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest

from remanager_api import (
    BFunc,
    BPlan,
    RequestFailedError,
    RequestTimeoutError,
    TaskCancelledError,
    TaskFailedError,
    TaskNotFoundError,
    WaitTimeoutError,
    advice,
    patience,
)
from remanager_api.zmq import REManagerAPI
from remanager_api.zmq.aio import REManagerAPI as AsyncREManagerAPI

OURS = ("task_wait", "task_info", "task_result_batch", "task_cancel", "event_list", "status_wait")


NOT_YET = {"success": True, "msg": "", "done": {}, "active": ["u"], "not_found": [], "timed_out": True}


def ok(**fields: Any) -> dict[str, Any]:
    return {"success": True, "msg": "", **fields}


class Tasks:
    """The part of remanager that handles ask: tasks end when the test says so."""

    def __init__(self, manager: Any) -> None:
        self.manager = manager
        self.ends: dict[str, tuple[str, dict[str, Any]]] = {}
        manager.handlers |= {
            "task_wait": self.wait,
            "task_result_batch": self.results,
            "task_submit": lambda r: ok(task_uid=f"uid of {r['params']['item']['name']}"),
        }

    def wait(self, request: dict[str, Any]) -> dict[str, Any]:
        uids = request["params"]["task_uid"]
        done = {uid: self.ends[uid][0] for uid in uids if uid in self.ends}
        return ok(done=done, active=[u for u in uids if u not in done], not_found=[], timed_out=not done)

    def results(self, request: dict[str, Any]) -> dict[str, Any]:
        found = {uid: self.ends.get(uid, ("pending", {})) for uid in request["params"]["task_uid"]}
        return ok(results={uid: {"state": state, "result": result} for uid, (state, result) in found.items()})


@pytest.fixture(autouse=True)
def thorough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients find out why nobody answers, however slow the machine is."""
    monkeypatch.setattr(advice, "PROBE_S", 20.0)
    monkeypatch.setattr(advice, "ASK_S", 20.0)


@pytest.fixture
def tasks(manager: Any) -> Tasks:
    return Tasks(manager)


def client(manager: Any, **kwargs: Any) -> AsyncREManagerAPI:
    return AsyncREManagerAPI(zmq_control_addr=manager.address, timeout_recv=20, **kwargs)


# ------------------------------------------------------------------------------------- submitting


async def test_what_is_sent_when_something_is_submitted(manager: Any, tasks: Tasks) -> None:
    manager.handlers["queue_item_add"] = lambda r: ok(item={**r["params"]["item"], "item_uid": "p"})
    manager.handlers["function_execute"] = lambda _: ok(task_uid="f")
    manager.handlers["script_upload"] = lambda _: ok(task_uid="s")
    async with client(manager) as RM:
        first = await RM.submit("add", 1, 2, priority=3)
        second = await RM.submit(BFunc("mul", x=1), depends_on=[first, "b"], request_id="again")
        plan = await RM.submit(BPlan("count", ["det"]), pos="front")
        function = await RM.submit_function("f", 1, run_in_background=True)
        script = await RM.submit_script("a = 1", update_lists=False)
        handles = (first, second, plan, function, script)
        assert [h.task_uid for h in handles] == ["uid of add", "uid of mul", "p", "f", "s"]
        assert [h.name for h in handles] == ["add", "mul", "count", "f", "script"]
        assert RM.task("p") == plan
        assert RM.task("p").name == "count"
        with pytest.raises(TypeError, match="name of a function"):
            await RM.submit(BFunc("mul"), 1)
        assert [o.name for o in await RM.outcomes()] == ["add", "mul", "count", "f", "script"]
        assert [o.name for o in await RM.outcomes(script, "p")] == ["script", "count"]
    who = {"user": "Queue Server API User", "user_group": "primary"}
    function_item = {"item_type": "function", "name": "add", "args": [1, 2]}
    sent = [request["params"] for request in manager.requests]
    assert len(sent[0].pop("request_id")) == 32
    assert sent[:5] == [
        {"item": function_item, "options": {"priority": 3}, **who},
        {
            "item": {"item_type": "function", "name": "mul", "kwargs": {"x": 1}},
            "options": {"depends_on": ["uid of add", "b"]},
            "request_id": "again",
            **who,
        },
        {"item": {"item_type": "plan", "name": "count", "args": [["det"]]}, "pos": "front", **who},
        {"item": {"item_type": "function", "name": "f", "args": [1]}, "run_in_background": True, **who},
        {"script": "a = 1", "update_lists": False},
    ]


async def test_a_refused_submission_has_no_handle(manager: Any) -> None:
    manager.handlers["task_submit"] = lambda _: {"success": False, "msg": "no", "code": "invalid_item"}
    for exceptions in (True, False):
        async with client(manager, request_fail_exceptions=exceptions) as RM:
            with pytest.raises(RequestFailedError, match="no"):
                await RM.submit("add", request_id="r")


# ------------------------------------------------------------------------------------- waiting


async def test_results_of_many_tasks_come_with_few_requests(manager: Any, tasks: Tasks) -> None:
    uids = [f"u{n}" for n in range(200)]
    tasks.ends = {uid: ("completed", {"return_value": n}) for n, uid in enumerate(uids)}
    async with client(manager) as RM:
        assert await RM.gather(*uids) == list(range(200))
        assert len(manager.requests) == 2
        tasks.ends["u1"] = ("failed", {"msg": "broken"})
        first, second = await RM.gather("u1", "u2", return_exceptions=True)
        assert isinstance(first, TaskFailedError)
        assert second == 2
        with pytest.raises(TaskFailedError, match="broken"):
            await RM.gather("u1", "u2")
        async with aclosing(RM.as_completed("u3", "u4")) as ended:
            assert {handle.task_uid async for handle in ended} == {"u3", "u4"}


async def test_a_time_out_of_waiting_leaves_the_client_well(tasks: Tasks, silence: object) -> None:
    tasks.manager.handlers["task_wait"] = lambda _: silence
    async with client(tasks.manager) as RM:
        with pytest.raises(WaitTimeoutError, match="last known as pending> is not over after"):
            await RM.task("u").wait(0.02)
        tasks.manager.handlers["task_wait"] = tasks.wait
        tasks.ends["u"] = ("cancelled", {"msg": "by the test"})
        with pytest.raises(TaskCancelledError, match="was cancelled: by the test"):
            await RM.task("u")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients ask again, and give up, soon."""
    monkeypatch.setattr(patience, "SLICE_S", 0.05)
    monkeypatch.setattr(patience, "GRACE_S", 0.02)
    monkeypatch.setattr(patience, "PAUSE_S", 0.01)


@pytest.mark.usefixtures("impatient")
async def test_an_answer_that_is_lost_is_asked_for_again(tasks: Tasks, silence: object) -> None:
    answers: Iterator[Any] = iter([silence, silence])
    tasks.manager.handlers["task_wait"] = lambda r: next(answers, None) or tasks.wait(r)
    tasks.ends["u"] = ("completed", {"return_value": 1})
    async with client(tasks.manager) as RM:
        assert await RM.task("u") == 1
    # It may be asked for once more if an answer is late.
    *asked, last = [r["method"] for r in tasks.manager.requests]
    assert len(asked) >= 3
    assert (set(asked), last) == ({"task_wait"}, "task_result_batch")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("exceptions", [True, False])
async def test_a_manager_that_stops_is_waited_for(manager: Any, tasks: Tasks, exceptions: bool) -> None:
    """A manager that is restarted in an orderly manner answers everybody that it will not answer."""
    stopping = {"success": False, "msg": "The request was not completed: stopping.", "code": "cancelled"}
    replies = {
        "task_wait": tasks.wait,
        "task_result_batch": tasks.results,
        "event_list": lambda _: ok(events=[event(3)], next_seq=4, oldest_seq=1, gap=False),
        "status_wait": lambda _: ok(status_uid="2"),
    }

    def once(method: str) -> None:
        def refuse(_: object) -> dict[str, Any]:
            manager.handlers[method] = replies[method]
            return stopping

        manager.handlers[method] = refuse

    tasks.ends["a"] = "completed", {"return_value": 1}
    async with client(manager, request_fail_exceptions=exceptions) as RM:
        for method in ("task_wait", "task_result_batch", "event_list"):
            once(method)
        assert await RM.task("a") == 1
        async with aclosing(RM.events(since=3)) as events:
            assert (await anext(events)).seq == 3
        states = iter(["executing_queue", "idle"])
        manager.handlers["status"] = lambda _: {"manager_state": next(states)}
        once("status_wait")
        await RM.wait_for_idle(timeout=20)


@pytest.mark.usefixtures("impatient")
async def test_who_waits_in_vain_learns_that_nobody_answers(manager: Any, silence: object) -> None:
    async with AsyncREManagerAPI(zmq_control_addr="tcp://127.0.0.1:9", timeout_recv=0.05) as RM:
        for waiting in (RM.wait_for_idle(timeout=0.5), RM.task("u").wait(timeout=0.5)):
            with pytest.raises(WaitTimeoutError) as info:
                await waiting
            assert "The manager does not answer" in info.value.__notes__[0]
            assert "No connection to tcp://127.0.0.1:9" in info.value.__notes__[1]

    answers = iter([silence])
    busy = {"manager_state": "executing_queue"}
    manager.handlers |= {
        "status": lambda _: next(answers, busy),
        "status_wait": lambda _: ok(status_uid="1"),
        "task_wait": lambda _: next(answers, NOT_YET),
    }
    async with AsyncREManagerAPI(zmq_control_addr=manager.address, timeout_recv=0.05) as RM:
        for waiting in (RM.wait_for_idle(timeout=0.5), RM.task("u").wait(timeout=0.5)):
            with pytest.raises(WaitTimeoutError) as info:
                await waiting
            assert not hasattr(info.value, "__notes__")
            answers = iter([silence])


async def test_a_silent_manager_does_not_lengthen_a_wait(manager: Any, silence: object) -> None:
    manager.handlers |= {"status": lambda _: silence, "status_wait": lambda _: silence}
    async with AsyncREManagerAPI(zmq_control_addr=manager.address, timeout_recv=1e6) as RM:
        with pytest.raises(WaitTimeoutError):
            await RM.wait_for_idle(timeout=0.05)


@pytest.mark.usefixtures("impatient")
async def test_a_manager_that_stays_away_is_given_up(
    tasks: Tasks, silence: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "ABSENCE_S", 0.2)
    tasks.manager.handlers["task_wait"] = lambda _: silence
    async with client(tasks.manager) as RM:
        with pytest.raises(RequestTimeoutError):
            await RM.task("u")


async def test_waiting_ends_with_the_client(tasks: Tasks, silence: object) -> None:
    tasks.manager.handlers["task_wait"] = lambda _: silence
    RM = client(tasks.manager)
    waiting = asyncio.ensure_future(RM.task("u").result())
    for _ in range(5):
        await asyncio.sleep(0)
    await RM.close()
    with pytest.raises(RuntimeError, match="the client is closed"):
        await waiting


def test_blocking_handles(tasks: Tasks) -> None:
    tasks.ends["uid of add"] = ("completed", {"return_value": 3})
    with REManagerAPI(zmq_control_addr=tasks.manager.address) as RM:
        task = RM.submit("add", 1, 2)
        assert (task.result(), task.status, task.state()) == (3, "completed", "completed")
        assert RM.gather(task, task.task_uid) == [3, 3]
        assert [h.result() for h in RM.as_completed(task)] == [3]
        assert (task, hash(task)) == (RM.task(task.task_uid), hash(RM.task(task.task_uid)))
        assert repr(task) == "<BlockingTaskHandle 'add', uid of add, last known as completed>"


# ------------------------------------------------------------------------------------- any RE Manager


@pytest.fixture
def foreign(manager: Any) -> Any:
    """A manager without any method of ours: one task has ended, one plan is in the history, one is queued."""
    for method in OURS:
        manager.handlers[method] = lambda r: {"success": False, "msg": f"Unknown method {r['method']!r}"}
    words = {"done": "completed", "bad": "completed", "active": "running"}
    results = {"done": {"success": True, "return_value": 5}, "bad": {"success": False, "msg": "broken"}}
    past = {"exit_status": "completed", "run_uids": ["r"], "scan_ids": [1], "msg": ""}
    manager.handlers |= {
        "task_status": lambda r: ok(status={u: words.get(u, "not_found") for u in r["params"]["task_uid"]}),
        "task_result": lambda r: ok(result=results[r["params"]["task_uid"]]),
        "queue_get": lambda _: ok(items=[{"item_uid": "queued", "name": "scan"}], running_item={}),
        "history_get": lambda _: ok(
            items=[
                {"item_uid": "past", "name": "count", "result": past},
                {"item_uid": "lost", "name": "count", "result": {**past, "exit_status": "unknown"}},
            ]
        ),
    }
    return manager


async def test_handles_at_a_manager_of_another_kind(foreign: Any) -> None:
    async with client(foreign, status_polling_period=0.01) as RM:
        assert await RM.task("done") == 5
        assert (await RM.task("past")).run_uids == ["r"]
        states = {"done": "completed", "bad": "failed", "active": "running", "past": "completed"}
        states |= {"lost": "lost", "queued": "pending", "nobody": "not_found"}
        assert {o.task_uid: o.state for o in await RM.outcomes(*states)} == states
        with pytest.raises(TaskFailedError, match="broken"):
            await RM.task("bad")
        with pytest.raises(TaskNotFoundError):
            await RM.task("nobody")
        with pytest.raises(WaitTimeoutError):
            await RM.task("queued").wait(0.05)
        assert [p.state async for p in RM.task("past").progress()] == ["completed"]
        assert await RM.task("queued").cancel()
        assert foreign.requests[-1] == {"method": "queue_item_remove", "params": {"uid": "queued"}}
        with pytest.raises(RequestFailedError, match="Unknown method 'event_list'"):
            await anext(RM.events(since=0))
    assert [r["method"] for r in foreign.requests].count("task_wait") == 1


# ------------------------------------------------------------------------------------- events


def event(seq: int) -> dict[str, Any]:
    return {"seq": seq, "time": 1.0, "type": "plan_finished", "task_uid": "u", "data": {"state": "failed"}}


async def test_events_go_on_where_they_were_and_tell_of_gaps(manager: Any) -> None:
    pages = {
        3: ok(events=[event(7), event(8)], next_seq=9, oldest_seq=7, gap=True),
        9: ok(events=[], next_seq=9, oldest_seq=7, gap=False),
    }
    asked: list[dict[str, Any]] = []

    def event_list(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request["params"])
        page = pages[request["params"]["since"]]
        pages[9] = ok(events=[event(9)], next_seq=10, oldest_seq=7, gap=False)
        return page

    manager.handlers["event_list"] = event_list
    async with client(manager) as RM, aclosing(RM.events(3, kinds=["plan_finished"], task_uid="u")) as events:
        found = [await anext(events) for _ in range(4)]
    assert [(e.seq, e.type) for e in found] == [
        (6, "gap"),
        (7, "plan_finished"),
        (8, "plan_finished"),
        (9, "plan_finished"),
    ]
    assert found[0].data == {"since": 3, "oldest_seq": 7}
    assert found[1].data["state"] == "failed"
    assert asked[0] == {"since": 3, "types": ["plan_finished"], "task_uid": "u", "timeout": patience.SLICE_S}


async def test_events_from_now_on(manager: Any) -> None:
    manager.handlers["event_list"] = lambda r: ok(
        events=[event(41)] if r["params"]["since"] == 41 else [], next_seq=41, oldest_seq=1, gap=True
    )
    async with client(manager) as RM, aclosing(RM.events()) as events:
        assert (await anext(events)).type == "gap"
        assert (await anext(events)).seq == 41


def test_blocking_events(manager: Any) -> None:
    manager.handlers["event_list"] = lambda r: ok(
        events=[event(r["params"]["since"])], next_seq=r["params"]["since"] + 1, oldest_seq=1, gap=False
    )
    with REManagerAPI(zmq_control_addr=manager.address) as RM:
        events = RM.events(since=5)
        assert [next(events).seq for _ in range(3)] == [5, 6, 7]
        events.close()


# ------------------------------------------------------------------------------------- changes


def test_waiting_for_a_change_is_no_polling(manager: Any) -> None:
    states = ["executing_queue", "executing_queue", "idle"]
    manager.handlers["status"] = lambda _: {"manager_state": states.pop(0)}
    uids = iter(range(10))
    manager.handlers["status_wait"] = lambda _: {"status_uid": str(next(uids))}
    with REManagerAPI(zmq_control_addr=manager.address, status_polling_period=1e6) as RM:
        RM.wait_for_idle(timeout=30)
    assert [r["method"] for r in manager.requests] == ["status", "status_wait"] * 2 + ["status"]
    known = [r["params"].get("status_uid") for r in manager.requests if r["method"] == "status_wait"]
    assert known == [None, "0"]


async def test_more_requests_at_once_than_there_are_sockets(manager: Any) -> None:
    manager.handlers["m"] = lambda r: ok(n=r["params"]["n"])
    async with client(manager) as RM:
        requests = [RM.send_request(method="m", params={"n": n}, timeout=60) for n in range(1500)]
        assert [reply["n"] for reply in await asyncio.gather(*requests)] == list(range(1500))


# ------------------------------------------------------------------------------------- errors


def notes(exc: BaseException) -> str:
    return "\n".join(getattr(exc, "__notes__", ()))


def test_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        with (
            REManagerAPI(zmq_control_addr=address, timeout_recv=0.05) as RM,
            pytest.raises(RequestTimeoutError) as info,
        ):
            RM.send_request(method="queue_start", params={"request_id": "r"})
    exc = info.value
    assert (exc.address, exc.listening, exc.answered_at, exc.request_id) == (address, False, None, "r")
    assert f"No connection to {address}" in notes(exc)
    assert "It has not answered this client yet. On its computer, 'remanager doctor'" in notes(exc)


def test_somebody_listens_and_does_not_answer(manager: Any, silence: object) -> None:
    with REManagerAPI(zmq_control_addr=manager.address) as RM:
        RM.ping()
        manager.handlers["status"] = lambda _: silence
        with pytest.raises(RequestTimeoutError) as info:
            RM.send_request(method="status", timeout=0.05)
    assert info.value.listening
    assert info.value.answered_at is not None
    assert f"Something listens at {manager.address}" in notes(info.value)
    assert "It answered last at " in notes(info.value)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (
            {"running_item_uid": "u", "progress": {"done_count": 3, "total_count": 9}},
            r"The manager is executing queue: plan 'count' \(u\) since \d\d:\d\d:\d\d, 3 of 9 points\.",
        ),
        (
            {"running_item_uid": None, "items_in_queue": 2, "worker_environment_exists": False},
            r"The manager is executing queue, the environment is closed, 2 items are in the queue\.",
        ),
    ],
)
def test_what_the_manager_is_busy_with(manager: Any, status: dict[str, Any], told: str) -> None:
    manager.handlers["queue_start"] = lambda _: {
        "success": False,
        "msg": "RE Manager is busy.",
        "code": "busy",
    }
    manager.handlers["status"] = lambda _: {"manager_state": "executing_queue", **status}
    manager.handlers["task_info"] = lambda _: ok(
        task={"name": "count", "item_type": "plan", "time_start": 1.0}
    )
    with REManagerAPI(zmq_control_addr=manager.address) as RM:
        with pytest.raises(RequestFailedError, match=told) as info:
            RM.queue_start()
        assert str(info.value) == "Request failed: RE Manager is busy."
        assert info.value.code == "busy"
        manager.handlers["status"] = lambda _: b"nonsense"
        with pytest.raises(RequestFailedError, match="RE Manager is busy") as info:
            RM.queue_start()
        assert not notes(info.value)


@pytest.mark.parametrize(
    ("code", "told"), [("environment_closed", "environment_open()"), ("locked", "lock_info()"), (None, "")]
)
def test_what_can_be_done_about_a_refusal(manager: Any, code: str | None, told: str) -> None:
    reply = {"success": False, "msg": "no"} | ({"code": code} if code else {})
    manager.handlers["queue_start"] = lambda _: reply
    with REManagerAPI(zmq_control_addr=manager.address) as RM, pytest.raises(RequestFailedError) as info:
        RM.queue_start()
    assert told in notes(info.value)
    assert bool(notes(info.value)) is bool(code)
    assert [r["method"] for r in manager.requests] == ["queue_start"]


@pytest.mark.parametrize("place", ["127.0.0.1:99999", f"{'a' * 70}.invalid:60615"])
def test_a_place_that_cannot_be(place: str) -> None:
    with (
        REManagerAPI(zmq_control_addr=f"tcp://{place}", timeout_recv=0.05) as RM,
        pytest.raises(RequestTimeoutError, match=place) as info,
    ):
        RM.status()
    assert info.value.listening is False
