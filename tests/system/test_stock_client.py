"""The client that laboratories already have drives the daemon unchanged, and so does ours in its place."""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
import zmq
from system_harness import USER, Daemon, Gate

pytest.importorskip("bluesky_queueserver_api")

from bluesky_queueserver_api import BFunc, BInst, BPlan
from bluesky_queueserver_api import comm_base as stock_errors
from bluesky_queueserver_api import zmq as stock
from bluesky_queueserver_api.item import BItem
from bluesky_queueserver_api.zmq import aio as stock_aio

import remanager_api
from remanager_api import zmq as own
from remanager_api.zmq import aio as own_aio

LIBRARIES = {"stock": stock, "stock-async": stock_aio, "own": own, "own-async": own_aio}
RequestFailedError = (stock_errors.RequestFailedError, remanager_api.RequestFailedError)

# The stock client leaves its contexts to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Unclosed context:ResourceWarning")

TIMEOUT_S = 20.0
LOCK_KEY = "the-key"


class Client:
    """Calls methods of either client: the sync one answers at once, the async one when awaited."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self.is_own = isinstance(api, own.REManagerAPI | own_aio.REManagerAPI)

    def _item(self, value: Any) -> Any:
        """Return an item of the library under test."""
        if isinstance(value, list):
            return [self._item(v) for v in value]
        return remanager_api.BItem(value.to_dict()) if self.is_own and isinstance(value, BItem) else value

    async def __call__(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        answer = getattr(self.api, method)(*map(self._item, args), **kwargs)
        return await answer if inspect.isawaitable(answer) else answer

    async def idle(self) -> dict[str, Any]:
        await self("wait_for_idle", timeout=TIMEOUT_S)
        status: dict[str, Any] = await self("status", reload=True)
        return status

    async def until(self, **wanted: Any) -> dict[str, Any]:
        """Wait for a status with these values."""
        await self(
            "wait_for_condition",
            lambda status: all(status[k] == v for k, v in wanted.items()),
            timeout=TIMEOUT_S,
        )
        status: dict[str, Any] = await self("status", reload=True)
        return status

    async def until_held(self, gate: Gate, line: str = "held") -> None:
        """Wait until the plan ``held`` runs and has opened its run; plans before it run, too."""
        await self(
            "wait_for_condition",
            lambda status: status["re_state"] == "running" and line in gate.lines(),
            timeout=TIMEOUT_S,
        )

    async def result(self, reply: dict[str, Any]) -> dict[str, Any]:
        """Wait for a task and return its result."""
        uid = reply["task_uid"]
        await self("wait_for_completed_task", uid, timeout=TIMEOUT_S)
        answer = await self("task_result", uid)
        assert answer["status"] == "completed"
        result: dict[str, Any] = answer["result"]
        return result

    async def history(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await self("history_get", reload=True))["items"]
        return items

    async def queue(self) -> list[str]:
        return [i["item_uid"] for i in (await self("queue_get", reload=True))["items"]]

    async def add(self, item: Any, **where: Any) -> str:
        uid: str = (await self("item_add", item, **where))["item"]["item_uid"]
        return uid


@pytest.fixture(autouse=True)
def tidy(daemon: Daemon) -> Iterator[None]:
    """Leave an idle manager with an open environment, an empty queue and an empty history."""
    yield
    client = daemon.client
    client.ok("unlock", lock_key=LOCK_KEY)
    status = client.call("status")
    if status["re_state"] == "paused":
        client.ok("re_abort")
        daemon.wait_idle()
    client.call("queue_autostart", enable=False)
    client.ok("queue_mode_set", mode="default")
    client.ok("queue_clear")
    client.ok("history_clear")
    if not status["worker_environment_exists"]:
        daemon.open_environment()


def _contexts() -> list[zmq.Context[Any]]:
    return [o for o in gc.get_objects() if isinstance(o, zmq.Context)]


async def _end_tasks(known: set[asyncio.Task[Any]]) -> None:
    """The stock async client leaves its polling tasks to the end of the loop."""
    left = asyncio.all_tasks() - known - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


class _Wish(threading.Event):
    """Tells the thread of the stock client that somebody wants a status.

    The thread forgets all wishes after it has fulfilled some. One that came in between would wait for ever.
    """

    def __init__(self, api: Any) -> None:
        super().__init__()
        self._api = api

    def clear(self) -> None:
        super().clear()
        if self._api._status_get_cb:
            self.set()


@pytest.fixture(params=LIBRARIES)
async def rm(request: pytest.FixtureRequest, daemon: Daemon) -> AsyncIterator[Client]:
    known, tasks = _contexts(), asyncio.all_tasks()
    client = Client(
        LIBRARIES[request.param].REManagerAPI(
            zmq_control_addr=daemon.control,
            zmq_info_addr=daemon.info,
            timeout_recv=TIMEOUT_S,
            timeout_send=TIMEOUT_S,
            status_polling_period=0.05,
            status_expiration_period=0.02,
            console_monitor_poll_timeout=0.1,
            system_info_monitor_poll_timeout=0.1,
        )
    )
    if request.param == "stock":
        client.api._event_status_get = _Wish(client.api)
    yield client
    await client("close")
    if client.is_own:
        return
    await _end_tasks(tasks)
    for context in _contexts():
        if not context.closed and not any(context is k for k in known):
            context.destroy(linger=0)


def count(num: int = 1, **more: Any) -> BPlan:
    return BPlan("count", ["diode"], num=num, **more)


# ------------------------------------------------------------------------------------ status, lists


async def test_status_and_ping(rm: Client) -> None:
    # The worker reports its state after it has reported that the environment is open.
    status = await rm.until(worker_environment_state="idle")
    assert status["manager_state"] == "idle"
    assert status["worker_environment_exists"] is True
    assert status["re_state"] == "idle"
    assert status["msg"].startswith("RE Manager v")
    assert set(await rm("ping")) == set(status)
    assert (await rm("config_get"))["config"]["ip_connect_info"] == {}


async def test_plans_and_devices(rm: Client) -> None:
    allowed = (await rm("plans_allowed"))["plans_allowed"]
    assert {"count", "scan", "align", "held"} <= set(allowed)
    assert (await rm("plans_existing"))["plans_existing"].keys() >= allowed.keys()
    devices = (await rm("devices_allowed"))["devices_allowed"]
    assert {"theta", "stage", "diode"} <= set(devices)
    assert {"x", "y"} <= set(devices["stage"]["components"])
    assert "theta" in (await rm("devices_existing"))["devices_existing"]
    assert set((await rm("plans_allowed", user_group="observer"))["plans_allowed"]) == {"count"}
    assert set((await rm("devices_allowed", user_group="observer"))["devices_allowed"]) == {"diode"}


# ------------------------------------------------------------------------------------ environment


async def test_environment_close_and_open(rm: Client) -> None:
    with pytest.raises(RequestFailedError, match="RE Worker environment already exists"):
        await rm("environment_open")
    await rm("environment_close")
    status = await rm.idle()
    assert status["worker_environment_exists"] is False
    assert status["worker_environment_state"] == "closed"
    assert status["re_state"] is None
    for method in ("environment_close", "environment_destroy", "queue_start"):
        with pytest.raises(RequestFailedError, match="environment does not exist"):
            await rm(method)
    await rm("environment_open")
    with pytest.raises(RequestFailedError, match="in the process of creating the RE Worker environment"):
        await rm("environment_open")
    assert (await rm.idle())["worker_environment_exists"] is True


async def test_environment_destroy_while_a_plan_runs(rm: Client, gate: Gate) -> None:
    uid = await rm.add(BPlan("held", str(gate.notes), str(gate.file)))
    await rm("queue_start")
    await rm.until_held(gate)
    with pytest.raises(RequestFailedError, match="Queue execution is in progress"):
        await rm("environment_close")
    await rm("environment_destroy")
    status = await rm.until(manager_state="idle", worker_environment_exists=False)
    assert status["running_item_uid"] is None
    (entry,) = await rm.history()
    assert entry["item_uid"] == uid
    assert entry["result"]["exit_status"] == "failed"
    (returned,) = await rm.queue()
    assert returned != uid


async def test_environment_update(rm: Client) -> None:
    before = await rm("status", reload=True)
    script = "def made_later():\n    yield from bps.null()\n"
    done = await rm.result(await rm("script_upload", script, update_lists=False))
    assert done["success"], done["msg"]
    assert "made_later" not in (await rm("plans_existing", reload=True))["plans_existing"]
    for background in (False, True):
        assert (await rm.result(await rm("environment_update", run_in_background=background)))["success"]
    assert "made_later" in (await rm("plans_existing", reload=True))["plans_existing"]
    assert "made_later" in (await rm("plans_allowed", reload=True))["plans_allowed"]
    after = await rm("status", reload=True)
    assert after["plans_existing_uid"] != before["plans_existing_uid"]
    assert after["devices_existing_uid"] == before["devices_existing_uid"]
    removal = await rm.result(await rm("script_upload", "del made_later"))
    assert removal["success"], removal["msg"]


# ------------------------------------------------------------------------------------ queue


async def test_queue_operations(rm: Client) -> None:
    first = await rm.add(count(1))
    second = await rm.add(count(2))
    third = await rm.add(count(3), pos="front")
    fourth = await rm.add(count(4), after_uid=third)
    assert await rm.queue() == [third, fourth, first, second]
    await rm("item_move", uid=second, pos_dest="front")
    await rm("item_move", uid=third, after_uid=first)
    assert await rm.queue() == [second, fourth, first, third]
    await rm("item_move_batch", uids=[first, second], pos_dest="back")
    assert await rm.queue() == [fourth, third, first, second]
    assert (await rm("item_get", pos="front"))["item"]["item_uid"] == fourth
    assert (await rm("item_get", uid=first))["item"]["kwargs"] == {"num": 1}
    assert (await rm("item_remove", uid=third))["qsize"] == 3
    assert [i["item_uid"] for i in (await rm("item_remove_batch", uids=[first, "?"]))["items"]] == [first]
    assert await rm.queue() == [fourth, second]
    assert (await rm("status", reload=True))["items_in_queue"] == 2
    with pytest.raises(RequestFailedError, match="Failed to get an item"):
        await rm("item_get", uid=first)
    await rm("queue_clear")
    assert await rm.queue() == []


async def test_queue_update(rm: Client) -> None:
    uid = await rm.add(count(1))
    item = BPlan("count", ["diode"], num=7)
    item.item_uid = uid
    await rm("item_update", item)
    assert await rm.queue() == [uid]
    assert (await rm("item_get", uid=uid))["item"]["kwargs"] == {"num": 7}
    changed = (await rm("item_update", item, replace=True))["item"]["item_uid"]
    assert changed != uid
    assert await rm.queue() == [changed]


async def test_queue_uids_change_with_the_queue_only(rm: Client) -> None:
    async def uid() -> str:
        value: str = (await rm("status", reload=True))["plan_queue_uid"]
        return value

    seen = [await uid()]
    item = await rm.add(count(1))
    await rm.add(count(2))
    seen.append(await uid())
    await rm("item_move", uid=item, pos_dest="front")
    assert await uid() == seen[-1]
    await rm("item_move", uid=item, pos_dest="back")
    seen.append(await uid())
    with pytest.raises(RequestFailedError):
        await rm("item_remove", uid="unknown")
    assert await uid() == seen[-1]
    await rm("queue_clear")
    seen.append(await uid())
    await rm("queue_clear")
    assert await uid() == seen[-1]
    assert len(set(seen)) == len(seen)


async def test_batch(rm: Client) -> None:
    reply = await rm("item_add_batch", [count(n) for n in range(1, 6)])
    assert reply["qsize"] == 5
    assert all(r["success"] for r in reply["results"])
    assert await rm.queue() == [i["item_uid"] for i in reply["items"]]
    with pytest.raises(RequestFailedError, match="validation of 1 out of 2 submitted items failed"):
        await rm("item_add_batch", [count(1), BPlan("no_such_plan")])
    assert len(await rm.queue()) == 5


@pytest.mark.parametrize(
    ("item", "msg"),
    [
        (BPlan("no_such_plan"), "Plan 'no_such_plan' is not in the list of allowed plans"),
        (BPlan("count", ["diode"], abc=1), "got an unexpected keyword argument 'abc'"),
        (BPlan("align", "diode", "shutter"), "Plan validation failed"),
        (BPlan("align", "diode", "theta", points=2), "Plan validation failed"),
    ],
)
async def test_invalid_items(rm: Client, item: BPlan, msg: str) -> None:
    with pytest.raises(RequestFailedError, match=msg):
        await rm("item_add", item)
    assert await rm.queue() == []


# ------------------------------------------------------------------------------------ plans


async def test_plans_run(rm: Client) -> None:
    uids = [
        await rm.add(count(3)),
        await rm.add(BPlan("scan", ["diode"], "theta", -1, 1, 5)),
        await rm.add(BPlan("count", [], num=1)),
    ]
    await rm("queue_start")
    status = await rm.idle()
    assert status["items_in_history"] == 3
    assert status["items_in_queue"] == 0
    history = await rm.history()
    assert [h["item_uid"] for h in history] == uids
    for entry in history:
        result = entry["result"]
        assert result["exit_status"] == "completed"
        assert result["msg"] == ""
        assert result["traceback"] == ""
        assert len(result["run_uids"]) == len(result["scan_ids"]) == 1
        assert result["time_start"] < result["time_stop"]
    scan_ids = [h["result"]["scan_ids"][0] for h in history]
    assert scan_ids == [scan_ids[0], scan_ids[0] + 1, scan_ids[0] + 2]


async def test_failing_plan(rm: Client) -> None:
    uid = await rm.add(BPlan("break_down"))
    later = await rm.add(count(1))
    await rm("queue_start")
    await rm.idle()
    (entry,) = await rm.history()
    assert entry["item_uid"] == uid
    assert entry["result"]["exit_status"] == "failed"
    assert "fragile" in entry["result"]["msg"]
    assert entry["result"]["traceback"].startswith("Traceback")
    queue = await rm.queue()
    assert len(queue) == 2
    assert queue[0] != uid
    assert queue[1] == later


@pytest.mark.parametrize("option", ["deferred", "immediate"])
async def test_pause_and_resume(rm: Client, gate: Gate, option: str) -> None:
    await rm.add(BPlan("held", str(gate.notes), str(gate.file)))
    await rm("queue_start")
    await rm.until_held(gate)
    await rm("re_pause", option=option)
    status = await rm.until(manager_state="paused", re_state="paused")
    assert status["pause_pending"] is False
    assert status["running_item_uid"] is not None
    (run,) = (await rm("re_runs"))["run_list"]
    assert run["is_open"] is True
    assert run["exit_status"] is None
    gate.release()
    await rm("re_resume")
    await rm.idle()
    (entry,) = await rm.history()
    assert entry["result"]["exit_status"] == "completed"
    assert entry["result"]["run_uids"] == [run["uid"]]
    assert (await rm("re_runs", reload=True))["run_list"] == []


@pytest.mark.parametrize(
    ("method", "exit_status", "returns"),
    [("re_stop", "stopped", False), ("re_abort", "aborted", True), ("re_halt", "halted", True)],
)
async def test_end_of_a_paused_plan(
    rm: Client, gate: Gate, method: str, exit_status: str, returns: bool
) -> None:
    uid = await rm.add(BPlan("held", str(gate.notes), str(gate.file)))
    later = await rm.add(count(1))
    with pytest.raises(RequestFailedError):
        await rm(method)
    await rm("queue_start")
    await rm.until_held(gate)
    await rm("re_pause", option="immediate")
    await rm.until(manager_state="paused")
    await rm(method)
    status = await rm.idle()
    assert status["re_state"] == "idle"
    (entry,) = await rm.history()
    assert (entry["item_uid"], entry["result"]["exit_status"]) == (uid, exit_status)
    queue = await rm.queue()
    assert queue[-1] == later
    assert len(queue) == (2 if returns else 1)
    assert uid not in queue


async def test_re_runs_and_metadata(rm: Client, gate: Gate) -> None:
    assert (await rm("send_request", method="re_metadata"))["re_metadata"]["facility"] == "simulation"
    await rm.add(BPlan("held", str(gate.notes), str(gate.file)))
    await rm("queue_start")
    await rm.until_held(gate)
    before = await rm("re_runs", reload=True)
    gate.release()
    await rm.idle()
    after = await rm("re_runs", reload=True)
    assert after["run_list"] == []
    assert after["run_list_uid"] != before["run_list_uid"]
    with pytest.raises(Exception, match="option"):
        await rm("re_runs", option="no such option")


async def test_execute_at_once(rm: Client) -> None:
    queued = await rm.add(count(1))
    reply = await rm("item_execute", count(2))
    assert reply["qsize"] == 1
    status = await rm.idle()
    assert status["items_in_queue"] == 1
    (entry,) = await rm.history()
    assert entry["item_uid"] == reply["item"]["item_uid"]
    assert await rm.queue() == [queued]


async def test_execute_refused_while_busy(rm: Client, gate: Gate) -> None:
    await rm.add(BPlan("held", str(gate.notes), str(gate.file)))
    await rm("queue_start")
    await rm.until_held(gate)
    for request in (("item_execute", count(1)), ("queue_start",), ("function_execute", BFunc("give"))):
        with pytest.raises(RequestFailedError):
            await rm(*request)
    gate.release()
    await rm.idle()


async def test_loop_mode(rm: Client, gate: Gate) -> None:
    await rm("queue_mode_set", loop=True)
    await rm.add(BPlan("note", str(gate.notes), "1"))
    await rm.add(BPlan("held", str(gate.notes), str(gate.file), "2"))
    await rm("queue_start")
    await rm.until_held(gate, "2")
    await rm("queue_stop")
    assert (await rm("status", reload=True))["queue_stop_pending"] is True
    gate.release()
    status = await rm.idle()
    assert status["plan_queue_mode"] == {"loop": True, "ignore_failures": False}
    assert status["items_in_queue"] == 2
    assert gate.lines() == ["1", "2", "2 done"]
    assert [i["name"] for i in (await rm("queue_get", reload=True))["items"]] == ["note", "held"]
    await rm("queue_mode_set", mode="default")
    assert (await rm("status", reload=True))["plan_queue_mode"] == {"loop": False, "ignore_failures": False}


async def test_ignore_failures(rm: Client, gate: Gate) -> None:
    await rm("queue_mode_set", ignore_failures=True)
    await rm.add(BPlan("broken", str(gate.notes), "broken"))
    await rm.add(BPlan("note", str(gate.notes), "after"))
    await rm("queue_start")
    status = await rm.idle()
    assert status["items_in_history"] == 2
    assert gate.lines() == ["broken", "after"]
    assert [h["result"]["exit_status"] for h in await rm.history()] == ["failed", "completed"]


async def test_instruction_stops_the_queue(rm: Client, gate: Gate) -> None:
    await rm.add(BPlan("note", str(gate.notes), "before"))
    await rm.add(BInst("queue_stop"))
    await rm.add(BPlan("note", str(gate.notes), "after"))
    await rm("queue_start")
    status = await rm.idle()
    assert gate.lines() == ["before"]
    assert status["items_in_queue"] == 1
    await rm("queue_start")
    await rm.idle()
    assert gate.lines() == ["before", "after"]


async def test_stop_and_its_cancellation(rm: Client, gate: Gate) -> None:
    with pytest.raises(RequestFailedError, match="Queue is not running"):
        await rm("queue_stop")
    await rm.add(BPlan("held", str(gate.notes), str(gate.file)))
    await rm.add(BPlan("note", str(gate.notes), "after"))
    await rm("queue_start")
    await rm.until_held(gate)
    await rm("queue_stop")
    await rm("queue_stop_cancel")
    assert (await rm("status", reload=True))["queue_stop_pending"] is False
    gate.release()
    await rm.idle()
    assert gate.lines() == ["held", "held done", "after"]


async def test_autostart(rm: Client, gate: Gate) -> None:
    await rm("queue_autostart", True)
    assert (await rm("status", reload=True))["queue_autostart_enabled"] is True
    await rm.add(BPlan("note", str(gate.notes), "1"))
    await rm.until(items_in_history=1, manager_state="idle")
    await rm("item_add_batch", [BPlan("note", str(gate.notes), "2"), BPlan("note", str(gate.notes), "3")])
    status = await rm.until(items_in_history=3, manager_state="idle")
    assert status["queue_autostart_enabled"] is True
    assert gate.lines() == ["1", "2", "3"]
    await rm.add(BPlan("broken", str(gate.notes), "4"))
    status = await rm.until(items_in_history=4, manager_state="idle")
    assert status["queue_autostart_enabled"] is False
    await rm("queue_clear")
    await rm.add(BPlan("note", str(gate.notes), "5"))
    assert (await rm("status", reload=True))["manager_state"] == "idle"


# ------------------------------------------------------------------------------------ functions, scripts


@pytest.mark.parametrize("background", [False, True])
async def test_function(rm: Client, background: bool) -> None:
    reply = await rm("function_execute", BFunc("give", [1, {"a": 2.5}]), run_in_background=background)
    assert reply["item"]["item_uid"] == reply["task_uid"]
    result = await rm.result(reply)
    assert result["success"] is True
    assert result["return_value"] == [1, {"a": 2.5}]
    assert result["msg"] == ""
    assert result["traceback"] == ""
    assert result["time_start"] <= result["time_stop"]
    assert result["task_uid"] == reply["task_uid"]


async def test_function_fails(rm: Client) -> None:
    result = await rm.result(await rm("function_execute", BFunc("fail", "on purpose")))
    assert result["success"] is False
    assert "on purpose" in result["msg"]
    assert result["traceback"].startswith("Traceback")
    assert result["return_value"] is None


async def test_function_returns_what_cannot_be_sent(rm: Client) -> None:
    result = await rm.result(await rm("function_execute", BFunc("give_array")))
    assert result["success"] is False
    assert "Object of type ndarray is not JSON serializable" in result["msg"]


async def test_unknown_function(rm: Client) -> None:
    reply = None
    with suppress(RequestFailedError):
        reply = await rm("function_execute", BFunc("no_such_function"))
    if reply is not None:
        assert (await rm.result(reply))["success"] is False


@pytest.mark.parametrize("background", [False, True])
async def test_task_while_it_runs(rm: Client, gate: Gate, background: bool) -> None:
    item = BFunc("hold", str(gate.notes), str(gate.pipe))
    before = await rm("status", reload=True)
    uid = (await rm("function_execute", item, run_in_background=background))["task_uid"]
    reply = await rm("task_status", uid)
    assert reply["status"] == "running"
    running = await rm("task_result", uid)
    assert running["status"] == "running"
    assert set(running["result"]) == {"task_uid", "time_start", "run_in_background"}
    assert running["result"]["run_in_background"] is background
    status = await rm.until(worker_background_tasks=int(background))
    assert status["manager_state"] == ("idle" if background else "executing_task")
    assert status["task_results_uid"] == before["task_results_uid"]
    if background:  # plans run meanwhile
        await rm("item_execute", count(1))
        await rm.idle()
    gate.answer("enough")
    result = await rm.result({"task_uid": uid})
    assert result["return_value"] == "enough"
    after = await rm.idle()
    assert after["task_results_uid"] != before["task_results_uid"]
    assert after["worker_background_tasks"] == 0
    assert gate.lines() == ["hold"]


async def test_task_status_of_several(rm: Client) -> None:
    first = (await rm("function_execute", BFunc("give", 1), run_in_background=True))["task_uid"]
    second = (await rm("function_execute", BFunc("give", 2), run_in_background=True))["task_uid"]
    for uid in (first, second):
        await rm("wait_for_completed_task", uid, timeout=TIMEOUT_S)
    reply = await rm("task_status", [first, second, "unknown"])
    assert reply["task_uid"] == [first, second, "unknown"]
    assert reply["status"] == {first: "completed", second: "completed", "unknown": "not_found"}
    assert (await rm("task_status", []))["status"] == {}
    assert (await rm("task_status", "unknown"))["status"] == "not_found"
    missing = await rm("task_result", "unknown")
    assert missing["status"] == "not_found"
    assert missing["result"] == {}


async def test_task_status_of_a_plan(rm: Client) -> None:
    uid = await rm.add(count(1))
    assert (await rm("task_status", uid))["state"] == "pending"
    await rm("queue_start")
    await rm.idle()
    assert (await rm("task_status", uid))["status"] == "completed"
    assert (await rm("task_result", uid))["result"]["exit_status"] == "completed"


@pytest.mark.parametrize("wrong", [5, {"a": 1}, [1, 2], None])
def test_task_status_of_a_wrong_type(daemon: Daemon, wrong: Any) -> None:
    reply = daemon.client.refused("task_status", task_uid=wrong)
    assert reply["code"] == "invalid_params"
    assert reply["status"] is None


@pytest.mark.parametrize("background", [False, True])
async def test_script(rm: Client, background: bool) -> None:
    script = "from bluesky.plan_stubs import null\ndef from_script():\n    yield from null()\nsecret = 17\n"
    result = await rm.result(await rm("script_upload", script, run_in_background=background))
    assert result["success"], result["msg"]
    assert result["return_value"] is None
    assert "from_script" in (await rm("plans_allowed", reload=True))["plans_allowed"]
    uid = await rm.add(BPlan("from_script"))
    await rm("queue_start")
    await rm.idle()
    assert (await rm.history())[-1]["item_uid"] == uid
    assert (await rm.result(await rm("script_upload", "del from_script")))["success"]


async def test_failing_script(rm: Client) -> None:
    result = await rm.result(await rm("script_upload", "begin = 1\nraise RuntimeError('in the script')"))
    assert result["success"] is False
    assert "in the script" in result["msg"]
    assert "line 2" in result["traceback"]
    result = await rm.result(await rm("script_upload", "raise SystemExit(3)"))
    assert result["success"] is False
    result = await rm.result(await rm("script_upload", "this is no Python"))
    assert result["success"] is False
    assert (await rm.idle())["worker_environment_exists"] is True


# ------------------------------------------------------------------------------------ history


async def test_history(rm: Client) -> None:
    uids = [await rm.add(count(1)) for _ in range(4)]
    await rm("queue_start")
    status = await rm.idle()
    reply = await rm("history_get", reload=True)
    assert [h["item_uid"] for h in reply["items"]] == uids
    assert reply["plan_history_uid"] == status["plan_history_uid"]
    await rm("history_clear", size=3)
    assert [h["item_uid"] for h in await rm.history()] == uids[1:]
    await rm("history_clear", item_uid=uids[1])
    assert [h["item_uid"] for h in await rm.history()] == uids[2:]
    with pytest.raises(RequestFailedError, match="mutually exclusive"):
        await rm("history_clear", size=1, item_uid=uids[3])
    await rm("history_clear")
    assert await rm.history() == []
    assert (await rm("status", reload=True))["plan_history_uid"] != status["plan_history_uid"]
    assert (await rm("task_status", uids[0]))["status"] == "completed"


# ------------------------------------------------------------------------------------ lock, permissions


async def test_lock(rm: Client, tmp_path: Any) -> None:
    rm.api.default_lock_key_path = str(tmp_path / "key")
    await rm("lock", LOCK_KEY, environment=True, queue=True, note="maintenance", user="tester")
    info = (await rm("lock_info", reload=True))["lock_info"]
    assert (info["environment"], info["queue"]) == (True, True)
    assert info["user"] == "tester"
    assert info["note"] == "maintenance"
    assert info["emergency_lock_key_is_set"] is False
    status = await rm("status", reload=True)
    assert status["lock"] == {"environment": True, "queue": True}
    with pytest.raises(RequestFailedError, match="maintenance"):
        await rm("item_add", count(1))
    with pytest.raises(RequestFailedError, match="Locked"):
        await rm("environment_close")
    with pytest.raises(RequestFailedError, match="Invalid lock key"):
        await rm("item_add", count(1), lock_key="another-key")
    await rm("item_add", count(1), lock_key=LOCK_KEY)
    await rm("queue_clear", lock_key=LOCK_KEY)
    with pytest.raises(RequestFailedError, match="Invalid lock key"):
        await rm("unlock", "another-key")
    with pytest.raises(RequestFailedError, match="Invalid lock key"):
        await rm("lock_info", "another-key", reload=True)
    await rm("unlock", LOCK_KEY)
    assert (await rm("status", reload=True))["lock"] == {"environment": False, "queue": False}
    await rm.add(count(1))


async def test_permissions(rm: Client) -> None:
    permissions = (await rm("permissions_get"))["user_group_permissions"]
    changed = {"user_groups": {**permissions["user_groups"]}}
    changed["user_groups"]["primary"] = {**changed["user_groups"]["primary"], "forbidden_plans": ["scan"]}
    before = await rm("status", reload=True)
    await rm("permissions_set", changed)
    try:
        assert (await rm("permissions_get"))["user_group_permissions"] == changed
        after = await rm("status", reload=True)
        assert after["plans_allowed_uid"] != before["plans_allowed_uid"]
        assert "scan" not in (await rm("plans_allowed", reload=True))["plans_allowed"]
        with pytest.raises(RequestFailedError, match="not in the list of allowed plans"):
            await rm("item_add", BPlan("scan", ["diode"], "theta", -1, 1, 5))
        with pytest.raises(RequestFailedError, match="'user_groups' is a required property"):
            await rm("permissions_set", {})
    finally:
        await rm("permissions_reload")
    assert "scan" in (await rm("plans_allowed", reload=True))["plans_allowed"]
    with pytest.raises(RequestFailedError, match="Unknown user group: 'nobody'"):
        await rm("item_add", count(1), user_group="nobody")


# ------------------------------------------------------------------------------------ monitors


async def test_console_monitor(rm: Client) -> None:
    monitor = rm.api.console_monitor
    monitor.enable()
    script = "for n in range(3):\n    print(f'line {n} from the worker')\n"
    received = ""
    while "line 1 from the worker\n" not in received or "line 2 from the worker" not in received:
        # The subscription takes its time, and may begin in the midst: the script is sent until all comes.
        await rm.result(await rm("script_upload", script, update_lists=False))
        with suppress(rm.api.RequestTimeoutError, TimeoutError):
            while True:
                message = monitor.next_msg(timeout=0.2)
                received += (await message if inspect.isawaitable(message) else message)["msg"]
    text = monitor.text()
    assert "line 2 from the worker" in (await text if inspect.isawaitable(text) else text)
    stopped = monitor.disable_wait(timeout=TIMEOUT_S)
    if inspect.isawaitable(stopped):
        await stopped


async def test_status_monitor(rm: Client) -> None:
    monitor = rm.api.system_info_monitor
    monitor.enable()
    message = monitor.next_msg(timeout=TIMEOUT_S)
    message = await message if inspect.isawaitable(message) else message
    assert message["msg"]["status"]["manager_state"] == "idle"
    uid = await rm.add(count(1))
    while message["msg"]["status"]["items_in_queue"] != 1:
        message = monitor.next_msg(timeout=TIMEOUT_S)
        message = await message if inspect.isawaitable(message) else message
    await rm("item_remove", uid=uid)
    stopped = monitor.disable_wait(timeout=TIMEOUT_S)
    if inspect.isawaitable(stopped):
        await stopped


def test_user_is_recorded(daemon: Daemon) -> None:
    item = daemon.client.ok("queue_item_add", item=count(1).to_dict(), **USER)["item"]
    assert item["user"] == "tester"
    assert item["user_group"] == "primary"
