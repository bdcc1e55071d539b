"""The client against a manager that answers from a table."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import Any

import numpy as np
import pytest
import zmq

from remanager_api import (
    BFunc,
    BPlan,
    RequestFailedError,
    RequestParameterError,
    RequestTimeoutError,
    WaitTimeoutError,
)
from remanager_api.zmq import REManagerAPI
from remanager_api.zmq.aio import REManagerAPI as AsyncREManagerAPI
from remanager_api.zmq.transport import ZMQTransport

CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any], str, dict[str, Any]]] = [
    ("ping", (), {}, "ping", {}),
    ("status", (), {}, "status", {}),
    ("stats", (), {}, "stats", {}),
    ("queue_status", (), {"group_by": "user"}, "queue_status", {"group_by": "user"}),
    (
        "item_add",
        (BPlan("count"),),
        {"pos": "front"},
        "queue_item_add",
        {"item": {"item_type": "plan", "name": "count"}, "pos": "front", "user": "me", "user_group": "lab"},
    ),
    (
        "item_add_batch",
        ([BPlan("count"), {"item_type": "instruction", "name": "queue_stop"}],),
        {"user": "you"},
        "queue_item_add_batch",
        {
            "items": [
                {"item_type": "plan", "name": "count"},
                {"item_type": "instruction", "name": "queue_stop"},
            ],
            "user": "you",
            "user_group": "lab",
        },
    ),
    ("item_remove", (), {"pos": 0}, "queue_item_remove", {"pos": 0}),
    ("queue_start", (), {"lock_key": "k"}, "queue_start", {"lock_key": "k"}),
    ("queue_autostart", (True,), {}, "queue_autostart", {"enable": True}),
    ("queue_mode_set", (), {"loop": True}, "queue_mode_set", {"mode": {"loop": True}}),
    ("queue_mode_set", (), {"mode": "default"}, "queue_mode_set", {"mode": "default"}),
    ("plans_allowed", (), {}, "plans_allowed", {"user_group": "lab"}),
    (
        "function_execute",
        (BFunc("f", 1),),
        {"run_in_background": False},
        "function_execute",
        {
            "item": {"item_type": "function", "name": "f", "args": [1]},
            "run_in_background": False,
            "user": "me",
            "user_group": "lab",
        },
    ),
    ("script_upload", ("a = 1",), {}, "script_upload", {"script": "a = 1"}),
    ("task_status", (("a", "b"),), {}, "task_status", {"task_uid": ["a", "b"]}),
    ("task_result", ("a",), {}, "task_result", {"task_uid": "a"}),
    ("history_clear", (), {"size": 0}, "history_clear", {"size": 0}),
    ("lock", ("k",), {"queue": True}, "lock", {"lock_key": "k", "queue": True, "user": "me"}),
    (
        "permissions_set",
        ({"user_groups": {}},),
        {},
        "permissions_set",
        {"user_group_permissions": {"user_groups": {}}},
    ),
    ("re_pause", ("immediate",), {}, "re_pause", {"option": "immediate"}),
    ("manager_stop", (), {}, "manager_stop", {}),
]


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_requests(make_manager: Any, encoding: str) -> None:
    manager = make_manager(encoding=encoding)
    with REManagerAPI(zmq_control_addr=manager.address, zmq_encoding=encoding) as api:
        api.user, api.user_group = "me", "lab"
        for name, args, kwargs, method, params in CALLS:
            reply = getattr(api, name)(*args, **kwargs)
            assert reply["success"]
            assert manager.requests[-1] == {"method": method, "params": params}


async def test_asynchronous_requests(manager: Any) -> None:
    async with AsyncREManagerAPI(zmq_control_addr=manager.address) as api:
        replies = await asyncio.gather(*(api.send_request(method="m", params={"n": n}) for n in range(20)))
        assert [r["params"]["n"] for r in replies] == list(range(20))


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
@pytest.mark.parametrize(
    ("value", "what"),
    [
        ({1}, "of the type set"),
        (object(), "of the type object"),
        (np.array([None]), "of the type numpy.ndarray with Python objects"),
        (np.ma.array([1]), "of the type numpy.ma.MaskedArray"),
    ],
)
def test_what_cannot_be_sent_is_named(make_manager: Any, encoding: str, value: Any, what: str) -> None:
    manager = make_manager()
    with REManagerAPI(zmq_control_addr=manager.address, zmq_encoding=encoding) as api:
        with pytest.raises(RequestParameterError) as info:
            api.task_submit(BFunc("f", 1, [0, {"a": value}]))
        assert "'task_submit' cannot be sent: item['args'][1][1]['a'] is " + what in str(info.value)
        with pytest.raises(RequestParameterError, match=r"items\[0\]\['kwargs'\]\['x'\] is"):
            api.item_add_batch([BPlan("count", x=value)])
    assert manager.requests == []


def test_a_number_that_is_too_large_for_msgpack_is_named(manager: Any) -> None:
    with (
        REManagerAPI(zmq_control_addr=manager.address, zmq_encoding="msgpack") as api,
        pytest.raises(RequestParameterError, match=r"args'\]\[0\] is an integer that is too large"),
    ):
        api.task_submit(BFunc("f", 2**70))


def test_work_is_waited_for_as_long_as_it_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[tuple[str, float]] = []

    async def request(_self: ZMQTransport, method: str, _params: Any, limit: float) -> dict[str, Any]:
        waited.append((method, round(limit, 3)))
        return {"success": True, "msg": ""}

    monkeypatch.setattr(ZMQTransport, "request", request)
    with REManagerAPI(zmq_control_addr="tcp://127.0.0.1:1", timeout_recv=2) as api:
        api.task_submit_batch([BFunc("f")] * 1000)
        api.task_submit_batch([BFunc("f")], timeout=7)
        api.task_submit(BFunc("f"), timeout=0.5)
        api.item_add_batch([BPlan("count")] * 500)
        api.task_prune(keep=10)
        api.task_retry(["u"] * 100)
        api.task_cancel("u")
        api.task_cancel(selector={"all": True}, timeout=3)
    assert waited == [
        ("task_submit_batch", 4.0),
        ("task_submit_batch", 7.0),
        ("task_submit", 0.5),
        ("queue_item_add_batch", 3.0),
        ("task_prune", 62.0),
        ("task_retry", 2.2),
        ("task_cancel", 2.002),
        ("task_cancel", 3.0),
    ]


def test_a_submission_that_was_not_answered_can_be_repeated(manager: Any, silence: object) -> None:
    manager.handlers["task_submit_batch"] = lambda _: silence
    with REManagerAPI(zmq_control_addr=manager.address) as api:
        with pytest.raises(RequestTimeoutError) as info:
            api.task_submit_batch([BFunc("f")], timeout=0.1)
        assert info.value.request_id
        assert f"request_id={info.value.request_id!r}" in info.value.__notes__[0]
        del manager.handlers["task_submit_batch"]
        api.task_submit_batch([BFunc("f")], request_id=info.value.request_id)
        api.task_submit_batch([BFunc("f")])
    first, again, other = (request["params"] for request in manager.requests)
    assert first == again
    assert other["request_id"] != first["request_id"]


def test_refused_request(manager: Any) -> None:
    manager.handlers["queue_start"] = lambda _: {"success": False, "msg": "no", "code": "busy"}
    with REManagerAPI(zmq_control_addr=manager.address) as api:
        with pytest.raises(RequestFailedError, match="Request failed: no") as info:
            api.queue_start()
        assert info.value.code == "busy"
        assert info.value.request == {"method": "queue_start", "params": {}}
        assert api.RequestFailedError is RequestFailedError
        api.request_fail_exceptions_enabled = False
        assert api.queue_start()["msg"] == "no"


@pytest.mark.parametrize("reply", [b"{", b"[]", b'"text"'])
def test_senseless_reply(manager: Any, reply: bytes) -> None:
    manager.handlers["status"] = lambda _: reply
    with REManagerAPI(zmq_control_addr=manager.address) as api:
        with pytest.raises(RequestFailedError):
            api.status()
        assert api.ping()["success"]


def test_time_out_does_not_spoil_the_next_request(manager: Any, silence: object) -> None:
    manager.handlers["status"] = lambda _: silence
    with REManagerAPI(zmq_control_addr=manager.address, timeout_recv=20) as api:
        for _ in range(2):
            with pytest.raises(RequestTimeoutError) as info:
                api.send_request(method="status", timeout=0.05)
            assert info.value.request["method"] == "status"
            assert api.ping()["method"] == "ping"


def test_nobody_answers() -> None:
    with REManagerAPI(zmq_control_addr="tcp://127.0.0.1:9", timeout_recv=0.05) as api:
        with pytest.raises(RequestTimeoutError, match=r"no answer from tcp://127.0.0.1:9 in 0.05 s"):
            api.status()
        with pytest.raises(WaitTimeoutError):
            api.wait_for_idle(timeout=0.2)


def test_wrong_parameters(manager: Any) -> None:
    with pytest.raises(RequestParameterError, match="Unknown encoding"):
        REManagerAPI(zmq_encoding="xml")
    with REManagerAPI(zmq_control_addr=manager.address) as api:
        for call in (
            lambda: api.task_status(5),  # type: ignore[arg-type]
            lambda: api.task_result(["a"]),  # type: ignore[arg-type]
            lambda: api.wait_for_completed_task([]),
        ):
            with pytest.raises(RequestParameterError):
                call()
        with pytest.raises(TypeError, match="Incorrect item type"):
            api.item_add("count")  # type: ignore[arg-type]
        with pytest.raises(IndexError):
            api.re_runs("none")
    assert not manager.requests


def test_encryption(make_manager: Any) -> None:
    public, secret = zmq.curve_keypair()
    manager = make_manager(secret_key=secret)
    with REManagerAPI(zmq_control_addr=manager.address, zmq_public_key=public.decode()) as api:
        assert api.ping()["success"]


def test_runs_are_picked_by_the_client(manager: Any) -> None:
    runs = [{"uid": "a", "is_open": True}, {"uid": "b", "is_open": False}]
    manager.handlers["re_runs"] = lambda _: {"success": True, "run_list": runs}
    with REManagerAPI(zmq_control_addr=manager.address) as api:
        assert api.re_runs()["run_list"] == runs
        assert api.re_runs("open")["run_list"] == runs[:1]
        assert api.re_runs("closed")["run_list"] == runs[1:]


def test_waiting(manager: Any, silence: object) -> None:
    states = iter(["executing_queue", None])
    last = "paused"

    def status(_: object) -> object:
        # A client that did not get an answer in time is told the same again.
        state = next(states, last)
        return silence if state is None else {"manager_state": state}

    manager.handlers["status"] = status
    counter = itertools.count()
    manager.handlers["task_status"] = lambda r: {
        "success": True,
        "task_uid": r["params"]["task_uid"],
        "status": {"a": "running", "b": "completed" if next(counter) else "running", "c": "not_found"},
    }
    with REManagerAPI(zmq_control_addr=manager.address, timeout_recv=0.1) as api:
        api.wait_for_idle_or_paused()
        last = "idle"
        api.wait_for_idle()
    with REManagerAPI(zmq_control_addr=manager.address, timeout_recv=20) as api:
        assert api.wait_for_completed_task(["a", "b", "c"], treat_not_found_as_completed=False) == {
            "b": "completed"
        }
        assert api.wait_for_completed_task(["a", "b", "c"]) == {"b": "completed", "c": "not_found"}
        manager.handlers["task_status"] = lambda _: {"success": True, "status": "completed"}
        assert api.wait_for_completed_task("x") == {"x": "completed"}


async def test_info_stream(manager: Any) -> None:
    async with AsyncREManagerAPI(zmq_control_addr=manager.address, zmq_info_addr=manager.info_address) as api:
        stream = api.info_stream(["QS_Console"])
        first = asyncio.ensure_future(anext(stream))
        assert await asyncio.to_thread(manager.wait_for_subscription) == b"\x01QS_Console"
        manager.publish("QS_Info", {"status": {}})
        manager.publish("QS_Console", "hello\n")
        message = await asyncio.wait_for(first, 20)
        assert (message.topic, message.time, message.msg) == ("QS_Console", 1.0, "hello\n")
        await stream.aclose()


def test_threads_end_with_the_last_client(manager: Any) -> None:
    def running() -> bool:
        return any(t.name == "remanager-api" for t in threading.enumerate())

    first = REManagerAPI(zmq_control_addr=manager.address)
    second = REManagerAPI(zmq_control_addr=manager.address)
    first.close()
    first.close()
    assert second.ping()["success"]
    assert running()
    second.close()
    assert not running()
    with pytest.raises(RuntimeError, match="closed"):
        second.ping()


def test_several_threads_share_a_client(manager: Any) -> None:
    with REManagerAPI(zmq_control_addr=manager.address) as api:
        replies: list[int] = []

        def ask(n: int) -> None:
            replies.append(api.send_request(method="m", params={"n": n})["params"]["n"])

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(replies) == list(range(8))
