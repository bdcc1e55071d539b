"""The client in threads, event loops and processes; waiting; keeping; monitors."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from remanager_api import BPlan, RequestTimeoutError, WaitCancelError, WaitMonitor, WaitTimeoutError
from remanager_api.faces import Face, LoopThread, iterating
from remanager_api.transport import InfoMessage
from remanager_api.zmq import REManagerAPI
from remanager_api.zmq.aio import REManagerAPI as AsyncREManagerAPI

TIMEOUT_S = 20


class Status:
    """The status that a manager tells, and how often it was asked for."""

    def __init__(self, manager: Any) -> None:
        self.values: dict[str, Any] = {"manager_state": "executing_queue"}
        self.asked = threading.Semaphore(0)
        self.count = 0
        manager.handlers["status"] = self.answer

    def answer(self, _: object) -> dict[str, Any]:
        self.count += 1
        self.asked.release()
        return dict(self.values)

    def wait_until_asked(self) -> None:
        assert self.asked.acquire(timeout=TIMEOUT_S)


@pytest.fixture
def status(manager: Any) -> Status:
    return Status(manager)


def asked_for(manager: Any) -> list[str]:
    return [request["method"] for request in manager.requests]


# ------------------------------------------------------------------------------------------- keeping


def test_status_is_kept_until_something_is_changed(manager: Any, status: Status) -> None:
    with REManagerAPI(zmq_control_addr=manager.address, status_expiration_period=1e6) as api:
        api.status()
        api.status()
        assert status.count == 1
        api.status(reload=True)
        assert status.count == 2
        api.queue_start()
        api.status()
        api.send_request(method="queue_start")
        api.status()
        assert status.count == 3
        api.ping()
        api.ping()
        assert asked_for(manager).count("ping") == 2


def test_lists_are_kept_while_their_uid_is_the_same(manager: Any, status: Status) -> None:
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        name = {"queue_get": "plan_queue", "history_get": "plan_history"}.get(request["method"])
        name = name or {"re_runs": "run_list"}.get(request["method"], request["method"])
        return {"success": True, f"{name}_uid": status.values[f"{name}_uid"], "items": [], "run_list": []}

    lists = ("queue_get", "history_get", "plans_existing", "devices_existing", "re_runs", "lock_info")
    for method in (*lists, "plans_allowed", "devices_allowed"):
        manager.handlers[method] = answer
    for name in ("plan_queue", "plan_history", "plans_existing", "devices_existing", "run_list", "lock_info",
                 "plans_allowed", "devices_allowed"):  # fmt: skip
        status.values[f"{name}_uid"] = "a"
    with REManagerAPI(zmq_control_addr=manager.address) as api:
        for method in (*lists, "plans_allowed", "devices_allowed"):
            for reload in (False, True):
                assert getattr(api, method)(reload=reload)["success"]
        assert all(asked_for(manager).count(method) == 1 for method in lists)
        api.plans_allowed(user_group="other")
        assert asked_for(manager).count("plans_allowed") == 2
        status.values["plan_queue_uid"] = "b"
        api.queue_get(reload=True)["items"].append("changed by the caller")
        assert api.queue_get()["items"] == []
        assert asked_for(manager).count("queue_get") == 2
        api.lock_info("key")
        assert manager.requests[-1] == {"method": "lock_info", "params": {"lock_key": "key"}}


def test_refused_lists_are_not_kept(manager: Any, status: Status) -> None:
    status.values["plan_queue_uid"] = "a"
    manager.handlers["queue_get"] = lambda _: {"success": False, "msg": "no", "plan_queue_uid": "a"}
    with REManagerAPI(zmq_control_addr=manager.address, request_fail_exceptions=False) as api:
        api.queue_get()
        api.queue_get()
    assert asked_for(manager).count("queue_get") == 2


def test_lock_key_is_sent_when_it_is_due(manager: Any) -> None:
    with REManagerAPI(zmq_control_addr=manager.address) as api:
        api.lock_key = "k"
        api.queue_start()
        assert manager.requests[-1]["params"] == {}
        api.enable_locked_api = True
        api.queue_start()
        assert manager.requests[-1]["params"] == {"lock_key": "k"}
        api.item_add(BPlan("count"), lock_key="other")
        assert manager.requests[-1]["params"]["lock_key"] == "other"
        api.lock_all(note="because", user="me")
        assert manager.requests[-1]["params"] == {
            "environment": True, "queue": True, "lock_key": "k", "note": "because", "user": "me",
        }  # fmt: skip
        api.unlock()
        assert manager.requests[-1] == {"method": "unlock", "params": {"lock_key": "k"}}
        with pytest.raises(ValueError, match="'note' must be a string or None"):
            api.lock_queue(note=5)  # type: ignore[arg-type]
        assert api.protocol is api.Protocols.ZMQ
        for name in ("user", "user_group"):
            with pytest.raises(ValueError, match="is an empty string"):
                setattr(api, name, "")
            with pytest.raises(ValueError, match="is not a string"):
                setattr(api, name, 5)


# ------------------------------------------------------------------------------------------- waiting


@pytest.fixture
def in_thread() -> Any:
    """Runs a function in a thread; what it raises is raised by ``result``."""

    class Running(threading.Thread):
        def __init__(self, function: Callable[[], Any]) -> None:
            super().__init__()
            self.function = function
            self.error: Exception | None = None
            self.start()

        def run(self) -> None:
            try:
                self.function()
            except Exception as exc:  # noqa: BLE001 - raised again by result()
                self.error = exc

        def result(self) -> None:
            self.join(TIMEOUT_S)
            assert not self.is_alive()
            if self.error is not None:
                raise self.error

    return Running


def test_waiting_is_cancelled_at_once(manager: Any, status: Status, in_thread: Any) -> None:
    called: list[bool] = []
    monitor = WaitMonitor()
    monitor.add_cancel_callback(lambda: called.append(True))
    with REManagerAPI(zmq_control_addr=manager.address, status_polling_period=1e6) as api:
        waiting = in_thread(lambda: api.wait_for_idle(monitor=monitor))
        status.wait_until_asked()
        monitor.cancel()
        with pytest.raises(WaitCancelError, match="Wait for condition was cancelled"):
            waiting.result()
        assert called == [True]
        status.values["manager_state"] = "idle"
        with pytest.raises(api.WaitCancelError):
            api.wait_for_idle(monitor=monitor)


def test_waiting_for_a_silent_manager_is_cancelled_at_once(
    in_thread: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor, begun = WaitMonitor(), threading.Event()
    waiting_of_monitor = monitor._waiting

    def begin(*args: Any) -> Any:
        begun.set()
        return waiting_of_monitor(*args)

    monkeypatch.setattr(monitor, "_waiting", begin)
    with REManagerAPI(zmq_control_addr="tcp://127.0.0.1:9", timeout_recv=1e6) as api:
        waiting = in_thread(lambda: api.wait_for_idle(monitor=monitor))
        assert begun.wait(TIMEOUT_S)
        monitor.cancel()
        with pytest.raises(WaitCancelError):
            waiting.result()


def test_time_out_can_be_changed_meanwhile(manager: Any, status: Status, in_thread: Any) -> None:
    monitor = WaitMonitor()
    with REManagerAPI(zmq_control_addr=manager.address) as api:
        waiting = in_thread(lambda: api.wait_for_idle_or_paused(timeout=1e6, monitor=monitor))
        status.wait_until_asked()
        monitor.set_timeout(0)
        with pytest.raises(WaitTimeoutError, match="Timeout while waiting for condition"):
            waiting.result()


def test_waiting_for_a_task_begins_with_an_answer() -> None:
    with (
        REManagerAPI(zmq_control_addr="tcp://127.0.0.1:9", timeout_recv=0.01) as api,
        pytest.raises(RequestTimeoutError, match="timeout occurred"),
    ):
        api.wait_for_completed_task("uid")


def test_a_condition_that_fails_or_calls_the_client(manager: Any, status: Status) -> None:
    with REManagerAPI(zmq_control_addr=manager.address) as api:
        with pytest.raises(KeyError, match="no such key"):
            api.wait_for_condition(lambda status: status["no such key"])
        with pytest.raises(RuntimeError, match="must not call the client"):
            api.wait_for_condition(lambda _: api.status())
        status.values["manager_state"] = "idle"
        api.wait_for_idle_or_running(timeout=0)


# ------------------------------------------------------------------------------------------- faces


async def test_blocking_client_in_a_running_loop(manager: Any) -> None:
    with REManagerAPI(zmq_control_addr=manager.address) as api:
        assert api.ping()["success"]


def test_asynchronous_client_made_outside_a_loop_serves_one_after_the_other(manager: Any) -> None:
    api = AsyncREManagerAPI(zmq_control_addr=manager.address)

    async def ask() -> bool:
        return bool((await api.ping())["success"])

    assert asyncio.run(ask())
    assert asyncio.run(ask())

    async def end() -> None:
        await api.ping()
        await api.close()

    asyncio.run(end())
    with pytest.raises(RuntimeError, match="the client is closed"):
        asyncio.run(ask())


def test_loop_that_does_not_run(manager: Any) -> None:
    loop = asyncio.new_event_loop()
    with pytest.raises(RuntimeError, match="The provided 'loop' is not running"):
        AsyncREManagerAPI(loop=loop)
    loop.close()


async def test_closing_ends_what_is_under_way(manager: Any, silence: object) -> None:
    asked = threading.Event()

    def answer(_: object) -> object:
        asked.set()
        return silence

    manager.handlers["status"] = answer
    api = AsyncREManagerAPI(zmq_control_addr=manager.address, timeout_recv=1e6)
    asking = asyncio.ensure_future(api.status())
    assert await asyncio.to_thread(asked.wait, TIMEOUT_S)
    await api.close()
    with pytest.raises(RuntimeError, match="the client is closed"):
        await asking


def test_many_threads_close_one_client(manager: Any) -> None:
    def close(api: REManagerAPI, together: threading.Barrier) -> None:
        together.wait(TIMEOUT_S)
        api.close()

    with REManagerAPI(zmq_control_addr=manager.address) as other, ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            api, together = REManagerAPI(zmq_control_addr=manager.address), threading.Barrier(8)
            api.ping()
            for closing in [pool.submit(close, api, together) for _ in range(8)]:
                closing.result(TIMEOUT_S)
        assert other.ping()["success"]  # its thread was not taken away


def test_closing_in_one_thread_ends_requests_of_others(manager: Any, silence: object, in_thread: Any) -> None:
    asked = threading.Semaphore(0)

    def answer(_: object) -> object:
        asked.release()
        return silence

    manager.handlers["status"] = answer
    api = REManagerAPI(zmq_control_addr=manager.address, timeout_recv=1e6)
    waiting = [in_thread(api.status), in_thread(api.status), in_thread(api.wait_for_idle)]
    for _ in waiting:
        assert asked.acquire(timeout=TIMEOUT_S)
    api.close()
    for one in waiting:
        with pytest.raises(RuntimeError, match="the client is closed"):
            one.result()


def test_ctrl_c_gives_the_request_up(manager: Any, silence: object) -> None:
    def interrupt(_: object) -> object:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return silence

    manager.handlers["status"] = interrupt
    with REManagerAPI(zmq_control_addr=manager.address, timeout_recv=1e6) as api:
        with pytest.raises(KeyboardInterrupt):
            api.status()
        assert api.ping()["success"]


def test_ctrl_c_ends_an_iteration_that_takes_its_time() -> None:
    ended = []

    class Slow:
        async def numbers(self) -> AsyncIterator[int]:
            try:
                yield 1
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                await asyncio.Event().wait()
            finally:
                for _ in range(20):
                    await asyncio.sleep(0)
                ended.append(True)

    thread = LoopThread.join()
    for attempt in range(200):  # it comes while the step begins, or while it is waited for
        numbers = iterating(Slow.numbers)(Face(Slow(), thread.run))
        assert next(numbers) == 1
        with pytest.raises(KeyboardInterrupt):
            next(numbers)
        assert len(ended) == attempt + 1
    thread.leave()


def _in_child(work: Callable[[], object]) -> object:
    """Return what a function returns, or what it raises, in a forked child."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            outcome = work()
        except Exception as exc:  # noqa: BLE001 - told to the parent
            outcome = repr(exc)
        os.write(writable, pickle.dumps(outcome))
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        outcome = pickle.load(pipe)
    os.waitpid(child, 0)
    return outcome


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_after_a_fork(manager: Any) -> None:
    with REManagerAPI(zmq_control_addr=manager.address) as api:
        assert api.ping()["success"]

        def in_child() -> list[object]:
            found: list[object] = [api.ping()["method"]]
            other = REManagerAPI(zmq_control_addr=manager.address)
            found.append(other.ping()["method"])
            gc.collect()
            other.close()
            api.close()
            return found

        for _ in range(2):
            assert _in_child(in_child) == ["ping", "ping"]
            assert api.ping()["success"]


def test_a_manager_that_comes_back(make_manager: Any) -> None:
    first = make_manager()
    with REManagerAPI(zmq_control_addr=first.address, timeout_recv=0.05) as api:
        assert api.send_request(method="ping", timeout=TIMEOUT_S)["success"]
        first.close()
        with pytest.raises(RequestTimeoutError, match=f"timeout occurred: no answer from {first.address}"):
            api.ping()
        second = make_manager(address=first.address)
        api.send_request(method="ping", timeout=TIMEOUT_S)
        assert len(second.requests) == 1


# ------------------------------------------------------------------------------------------- monitors


@pytest.fixture
def api(manager: Any) -> Any:
    with REManagerAPI(zmq_control_addr=manager.address, zmq_info_addr=manager.info_address) as api:
        yield api


def test_monitor_of_the_console(manager: Any, api: REManagerAPI) -> None:
    console = api.console_monitor
    assert not console.enabled
    console.enable()
    assert console.enabled
    assert manager.wait_for_subscription() == b"\x01QS_Console"
    with pytest.raises(RequestTimeoutError, match="No message was received"):
        console.next_msg()
    uid = console.text_uid
    manager.publish("QS_Console", "50 %\r100 %\n")
    assert console.next_msg(timeout=TIMEOUT_S) == {"time": 1.0, "msg": "50 %\r100 %\n"}
    assert console.text() == "100 %"
    assert console.text_uid != uid
    manager.publish("QS_Console", "a\nb\n")
    assert console.next_msg(timeout=TIMEOUT_S)["msg"] == "a\nb\n"
    assert console.text(1) == "b"
    console.text_max_lines = 2
    assert (console.text_max_lines, console.text()) == (2, "a\nb")
    console.clear()
    assert console.text() == ""
    console.disable_wait()
    assert not console.enabled
    assert manager.wait_for_subscription() == b"\x00QS_Console"


def test_monitor_of_the_status(manager: Any, api: REManagerAPI) -> None:
    monitor = api.system_info_monitor
    monitor.enable()
    monitor.enable()
    assert manager.wait_for_subscription() == b"\x01QS_Info"
    manager.publish("QS_Info", {"status": {"manager_state": "idle"}})
    assert monitor.next_msg(timeout=TIMEOUT_S)["msg"] == {"status": {"manager_state": "idle"}}
    manager.publish("QS_Info", {"status": {}})
    assert monitor.next_msg(timeout=TIMEOUT_S)["msg"] == {"status": {}}
    with pytest.raises(RequestTimeoutError, match=r"timeout=0\.01"):
        monitor.next_msg(timeout=0.01)


def test_a_monitor_passes_over_what_makes_no_sense(
    manager: Any, api: REManagerAPI, caplog: pytest.LogCaptureFixture
) -> None:
    api.console_monitor.enable()
    manager.wait_for_subscription()
    for frames in ([b"QS_Console"], [b"QS_Console", b"{"], [b"QS_Console", b"[]"], [b"QS_Console", b"{}"]):
        manager.info.send_multipart(frames)
    manager.publish("QS_Console", "good\n")
    assert api.console_monitor.next_msg(timeout=TIMEOUT_S)["msg"] == "good\n"
    assert caplog.text.count("makes no sense") == 1


async def test_bounds_of_a_monitor(manager: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with AsyncREManagerAPI(
        zmq_control_addr=manager.address,
        zmq_info_addr=manager.info_address,
        console_monitor_max_msgs=1,
        console_monitor_poll_timeout=0,
        system_info_monitor_max_msgs=0,
    ) as api:
        console = api.console_monitor
        console.enable()
        assert await asyncio.to_thread(manager.wait_for_subscription) == b"\x01QS_Console"
        last, take = asyncio.Event(), console._take

        def taking(message: InfoMessage) -> None:
            take(message)
            if message.msg == "3\n":
                last.set()

        monkeypatch.setattr(console, "_take", taking)
        for text in ("1\n", "2\n", "3\n"):
            manager.publish("QS_Console", text)
        await asyncio.wait_for(last.wait(), TIMEOUT_S)
        assert (await console.next_msg())["msg"] == "1\n"
        with pytest.raises(RequestTimeoutError):
            await console.next_msg()
        console.disable()
        console.enable()
        assert await console.text() == "1\n2\n3"
        console.disable()
        assert await asyncio.to_thread(manager.wait_for_subscription) == b"\x00QS_Console"
        console.enable()
        assert await asyncio.to_thread(manager.wait_for_subscription) == b"\x01QS_Console"
        assert await console.text() == ""
