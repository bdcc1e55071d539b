"""From a request to its reply: shape, parameters, lock, refusals."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from manager_rig import Rig, plan, user

from remanager.manager.manager import Manager
from remanager.manager.parameter_faults import MAX_FAULTS
from remanager.model.errors import Conflict
from remanager.verbs import registry
from remanager.verbs.dispatch import Dispatcher
from remanager.verbs.registry import REGISTRY, LockParams, LockScope, NoParams, Params, Refusal, fixed, verb
from remanager.wire.codec import Encoding, encode_reply


@pytest.mark.parametrize(
    ("request_", "text", "code"),
    [
        (None, "Incorrect request type: <class 'NoneType'>", "invalid_request"),
        ([], "Incorrect request type: <class 'list'>", "invalid_request"),
        ({}, "Invalid request format: method is not specified: {}", "invalid_request"),
        ({"met": "status"}, "method is not specified: {'met': 'status'}", "invalid_request"),
        ({"method": "status", "x": 1}, "unexpected keys ['x']", "invalid_request"),
        ({"method": "nothing"}, "Unknown method 'nothing'", "unknown_method"),
        ({"method": ["status"]}, "Unknown method ['status']", "unknown_method"),
        ({"method": None}, "Unknown method None", "unknown_method"),
        ({"method": "queue_get", "params": []}, "Incorrect type of 'params'", "invalid_params"),
        ({"method": "queue_get", "params": {1: 2}}, "unsupported parameters: 1", "invalid_params"),
        (
            {"method": "config_get", "params": {"x": 1}},
            "API request contains unsupported parameters: 'x'. Supported parameters: []",
            "invalid_params",
        ),
        (
            {"method": "queue_clear", "params": {"x": 1, "y": 1}},
            "unsupported parameters: ['x', 'y']. Supported parameters: ['lock_key', 'request_id']",
            "invalid_params",
        ),
    ],
)
async def test_requests_that_are_none(rig: Rig, request_: object, text: str, code: str) -> None:
    reply = await rig.request(request_)
    assert reply["success"] is False
    assert text in reply["msg"]
    assert reply["code"] == code


@pytest.mark.parametrize("method", ["ping", "status"])
async def test_ping_and_status_ignore_parameters(rig: Rig, method: str) -> None:
    reply = await rig.call(method, anything=1)
    assert "success" not in reply
    assert reply["msg"] == "RE Manager v1.0"


async def test_waiting_for_another_status(rig: Rig) -> None:
    first = await rig.call("status_wait")
    assert first["manager_state"] == "idle"
    assert (await rig.call("status_wait", status_uid=first["status_uid"], timeout=0.0)) == first
    waiting = asyncio.ensure_future(rig.call("status_wait", status_uid=first["status_uid"], timeout=30.0))
    await asyncio.sleep(0)
    assert not waiting.done()
    await rig.ok("queue_autostart", enable=True)
    second = await waiting
    assert second["queue_autostart_enabled"]
    assert second["status_uid"] != first["status_uid"]


async def test_params_may_be_left_out(rig: Rig) -> None:
    assert (await rig.request({"method": "queue_get"}))["success"]
    assert (await rig.request({"method": "queue_get", "params": None}))["success"]


async def test_unknown_parameter_comes_before_the_lock_and_the_lock_before_types(rig: Rig) -> None:
    await rig.ok("lock", queue=True, environment=True, user="Jo", lock_key="k")
    assert (await rig.call("queue_clear", x=1))["code"] == "invalid_params"
    assert (await rig.call("queue_autostart", enable=[]))["code"] == "locked"
    assert (await rig.call("queue_autostart", enable=[], lock_key="k"))["code"] == "invalid_params"


async def test_only_ping_and_status_are_answered_while_the_manager_starts(rig: Rig) -> None:
    await rig.crash()
    rig.make()
    dispatcher = rig.dispatcher = Dispatcher(rig.manager)
    assert (await rig.call("ping"))["manager_state"] == "initializing"
    later = asyncio.ensure_future(dispatcher({"method": "queue_get"}, Encoding.JSON))
    bad = await rig.call("queue_get_", x=1)
    assert bad["code"] == "unknown_method"
    assert not later.done()
    rig.manager.started.set()
    assert json.loads(encode_reply(await later, Encoding.JSON))["items"] == []


@pytest.fixture
def methods() -> Any:
    """Let a test declare methods; they are gone afterwards."""
    before = dict(REGISTRY)
    yield verb
    REGISTRY.clear()
    REGISTRY.update(before)


async def test_refusals_carry_fillers_code_and_prefix(rig: Rig, methods: Any) -> None:
    @methods("t_sync", prefix="Sorry: ", fillers=fixed(item={}))
    def t_sync(_manager: Manager, _params: NoParams) -> Any:
        """Fail at once."""
        raise Conflict("no")

    @methods("t_async", fillers=fixed(item={}, qsize=None))
    async def t_async(_manager: Manager, _params: NoParams) -> Any:
        """Fail later."""
        raise Refusal(Conflict("no"), item={"a": 1})

    reply = await rig.call("t_sync")
    assert (reply["success"], reply["code"], reply["item"]) == (False, "conflict", {})
    assert reply["msg"].endswith("no")
    reply = await rig.call("t_async")
    assert (reply["success"], reply["code"], reply["item"], reply["qsize"]) == (
        False,
        "conflict",
        {"a": 1},
        None,
    )


async def test_unexpected_errors_are_reported_and_logged(
    rig: Rig, methods: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @methods("t_broken", fillers=fixed(item={}))
    def t_broken(_manager: Manager, _params: NoParams) -> Any:
        """Break."""
        raise ZeroDivisionError("oh")

    @methods("t_broken_later")
    async def t_broken_later(_manager: Manager, _params: NoParams) -> Any:
        """Break later."""
        raise ZeroDivisionError("oh")

    for name in ("t_broken", "t_broken_later"):
        caplog.clear()
        with caplog.at_level(logging.ERROR):
            reply = await rig.call(name)
        assert reply["code"] == "internal"
        assert "ZeroDivisionError: oh" in reply["msg"]
        assert name in caplog.text
        assert "Traceback" in caplog.text
    assert (await rig.call("t_broken"))["item"] == {}


async def test_text_about_wrong_parameters_is_bounded(rig: Rig) -> None:
    reply = await rig.call("stats", sections=["x" * 1000] * 1000)
    assert reply["code"] == "invalid_params"
    assert len(reply["msg"]) < MAX_FAULTS * 400
    assert "and 995 more" in reply["msg"]


def test_declarations_are_checked(methods: Any) -> None:
    with pytest.raises(ValueError, match="declared twice"):
        methods("ping")(lambda _m, _p: {})
    with pytest.raises(ValueError, match="takes no lock_key"):
        methods("t_new", lock=LockScope.QUEUE)(lambda _m, _p: {})


# ------------------------------------------------------------------------------------------ registry

P0_TEXT = """
ping status config_get plans_allowed plans_existing devices_allowed devices_existing permissions_reload
permissions_get permissions_set history_get history_clear environment_open environment_close
environment_destroy environment_update queue_mode_set queue_get queue_item_add queue_item_add_batch
queue_item_update queue_item_get queue_item_remove queue_item_remove_batch queue_item_move
queue_item_move_batch queue_item_execute queue_clear queue_start queue_stop queue_stop_cancel
queue_autostart re_pause re_resume re_stop re_abort re_halt re_runs re_metadata script_upload
function_execute task_status task_result lock lock_info unlock kernel_interrupt manager_stop manager_kill
"""
P0 = P0_TEXT.split()


def test_registry_has_the_methods_of_the_protocol(rig: Rig) -> None:
    assert set(P0) <= set(REGISTRY)


def test_every_method_says_what_it_does(rig: Rig) -> None:
    for method in REGISTRY.values():
        assert method.doc.endswith("."), method.name
        for name, field in method.params.model_fields.items():
            assert field.description, (method.name, name)


def test_names_are_those_of_the_parameters_the_key_last(rig: Rig) -> None:
    for method in REGISTRY.values():
        fields = method.params.model_fields.items()
        assert set(method.names) == {field.alias or name for name, field in fields}
        assert "lock_key" not in method.names[:-1]
        assert method.family in registry.__name__.rpartition(".")[0] or method.family


def test_methods_that_change_something_can_be_locked(rig: Rig) -> None:
    reading = {"ping", "status", "config_get", "queue_get", "queue_item_get", "history_get", "queue_status"}
    reading |= {"plans_allowed", "plans_existing", "devices_allowed", "devices_existing", "permissions_get"}
    reading |= {"re_runs", "re_metadata", "task_status", "task_result", "stats", "item_check"}
    reading |= {"console_get", "event_list", "worker_autopsy_list", "status_wait"}
    reading |= {"task_info", "task_list", "task_count", "task_wait", "task_result_batch", "task_progress"}
    reading |= {"tag_list", "task_function_list", "job_status", "type_stats", "snapshot", "stats_history"}
    reading |= {"metrics_get", "limit_list", "schedule_list", "worker_list", "alert_rule_list", "alert_list"}
    others = {"lock", "lock_info", "unlock", "manager_stop", "manager_kill", "alert_ack"}
    assert {m.name for m in REGISTRY.values() if m.lock is None} == reading | others
    assert all(issubclass(m.params, LockParams) for m in REGISTRY.values() if m.lock is not None)
    assert all(issubclass(m.params, Params) for m in REGISTRY.values())


# ------------------------------------------------------------------------------------------ nonsense

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.sampled_from(["item_type", "name", "args"]), inner)
    ),
    max_leaves=5,
)


async def test_any_value_of_any_parameter_gets_an_answer(rig: Rig) -> None:
    """Bad values are refused in words; none is an internal error or harms the manager."""
    await rig.open_environment()
    left_out = {"manager_stop", "manager_kill", "lock", "environment_close", "environment_destroy"}
    calls = [(m.name, m.names) for m in REGISTRY.values() if m.name not in left_out]
    requests: list[dict[str, Any]] = []

    @settings(max_examples=400, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def collect(data: Any) -> None:
        method, names = data.draw(st.sampled_from(calls))
        params = {name: data.draw(JSON) for name in names if data.draw(st.booleans())}
        params.pop("lock_key", None)
        if "timeout" in names and not isinstance(params.get("timeout"), str | list | dict):
            params["timeout"] = 0.0  # else it waits, as it should
        if "user_group" in names and data.draw(st.booleans()):
            params |= {"user_group": "primary", "user": "Jo"}
        item = st.fixed_dictionaries(
            {"item_type": st.sampled_from(["plan", "instruction", "function"]) | JSON},
            optional={
                "name": st.sampled_from(["count", "queue_stop", "f"]) | JSON,
                "args": JSON,
                "kwargs": JSON,
                "meta": JSON,
                "item_uid": JSON,
            },
        )
        if "item" in names and data.draw(st.booleans()):
            params["item"] = data.draw(item)
        if "items" in names and data.draw(st.booleans()):
            params["items"] = data.draw(st.lists(item, max_size=3))
        requests.append({"method": method, "params": params})

    collect()
    for request in requests:
        reply = await rig.request(request)
        assert reply.get("code") != "internal", (request, reply)
    await rig.settle()
    assert rig.faults == []
    assert "manager_state" in await rig.call("status")


async def test_huge_and_odd_texts_do_no_harm(rig: Rig) -> None:
    await rig.open_environment()
    for text in ("\ud800", "x" * 100_000, "\x00", "'; DROP TABLE task; --"):
        await rig.call("queue_item_add", item=plan(meta={"a": text}), user=text, user_group="primary")
        await rig.call("queue_item_add", item=plan(text), **user())
        await rig.call("queue_item_get", uid=text)
        await rig.call("queue_item_move", uid=text, before_uid=text)
        await rig.call("history_clear", item_uid=text)
        await rig.call("task_status", task_uid=[text])
        await rig.call("task_result", task_uid=text)
        await rig.ok("lock", queue=True, lock_key=text, user=text, note=text)
        await rig.ok("unlock", lock_key=text)
        item = {"item_type": "function", "name": text}
        await rig.call("function_execute", item=item, user=text, user_group="primary", run_in_background=True)
        await rig.call("script_upload", script=text, run_in_background=True)
    await rig.settle()
    assert rig.faults == []
    await rig.restart()
    assert len(await rig.queue()) == 4
