"""The blocking client: the asynchronous one, run in an event loop of a background thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import wraps
from typing import Any, ClassVar, Concatenate, ParamSpec, Self, TypeVar

from remanager_api.client import AsyncClient

P = ParamSpec("P")
T = TypeVar("T")


class _LoopThread:
    """One event loop in one thread, shared by all clients of the process; it ends with the last of them."""

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _current: ClassVar[_LoopThread | None] = None

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._users = 0
        self._thread = threading.Thread(target=self._run, name="remanager-api", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    @classmethod
    def join(cls) -> _LoopThread:
        """Return the shared thread, started if need be; every call needs one :meth:`leave`."""
        with cls._lock:
            if cls._current is None:
                cls._current = cls()
            cls._current._users += 1
            return cls._current

    def leave(self) -> None:
        """Say that a client has no more use of the thread."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
            type(self)._current = None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the thread and wait for its result."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C while waiting: the request must not go on behind the user's back.
            future.cancel()
            raise


def _blocking(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[BlockingClient, P], T]:
    @wraps(method)
    def call(self: BlockingClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(method(self._client, *args, **kwargs))

    return call


class BlockingClient:
    """Talks to a run manager; each method waits for its reply. It may be used from several threads.

    Parameters
    ----------
    **kwargs
        As for :class:`remanager_api.client.AsyncClient`.
    """

    RequestParameterError = AsyncClient.RequestParameterError
    RequestTimeoutError = AsyncClient.RequestTimeoutError
    RequestFailedError = AsyncClient.RequestFailedError
    WaitTimeoutError = AsyncClient.WaitTimeoutError

    def __init__(self, **kwargs: Any) -> None:
        self._thread: _LoopThread | None = _LoopThread.join()
        try:
            self._client = self._thread.run(_make(kwargs))
        except BaseException:
            self._thread.leave()
            raise

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._thread is None:
            coroutine.close()
            raise RuntimeError("the client is closed")
        return self._thread.run(coroutine)

    def close(self) -> None:
        """Close the client."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            thread.run(self._client.close())
            thread.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def user(self) -> str:
        """User name sent with items."""
        return self._client.user

    @user.setter
    def user(self, value: str) -> None:
        self._client.user = value

    @property
    def user_group(self) -> str:
        """User group sent with items."""
        return self._client.user_group

    @user_group.setter
    def user_group(self, value: str) -> None:
        self._client.user_group = value

    @property
    def request_fail_exceptions_enabled(self) -> bool:
        """Whether a refused request raises an exception."""
        return self._client.request_fail_exceptions_enabled

    @request_fail_exceptions_enabled.setter
    def request_fail_exceptions_enabled(self, value: bool) -> None:
        self._client.request_fail_exceptions_enabled = value

    def set_user_name_to_login_name(self) -> None:
        """Send the login name of the current user with items."""
        self._client.set_user_name_to_login_name()

    send_request = _blocking(AsyncClient.send_request)
    ping = _blocking(AsyncClient.ping)
    status = _blocking(AsyncClient.status)
    config_get = _blocking(AsyncClient.config_get)
    stats = _blocking(AsyncClient.stats)
    queue_status = _blocking(AsyncClient.queue_status)
    environment_open = _blocking(AsyncClient.environment_open)
    environment_close = _blocking(AsyncClient.environment_close)
    environment_destroy = _blocking(AsyncClient.environment_destroy)
    environment_update = _blocking(AsyncClient.environment_update)
    item_add = _blocking(AsyncClient.item_add)
    item_add_batch = _blocking(AsyncClient.item_add_batch)
    item_update = _blocking(AsyncClient.item_update)
    item_get = _blocking(AsyncClient.item_get)
    item_remove = _blocking(AsyncClient.item_remove)
    item_remove_batch = _blocking(AsyncClient.item_remove_batch)
    item_move = _blocking(AsyncClient.item_move)
    item_move_batch = _blocking(AsyncClient.item_move_batch)
    item_execute = _blocking(AsyncClient.item_execute)
    queue_get = _blocking(AsyncClient.queue_get)
    queue_clear = _blocking(AsyncClient.queue_clear)
    queue_start = _blocking(AsyncClient.queue_start)
    queue_stop = _blocking(AsyncClient.queue_stop)
    queue_stop_cancel = _blocking(AsyncClient.queue_stop_cancel)
    queue_autostart = _blocking(AsyncClient.queue_autostart)
    queue_mode_set = _blocking(AsyncClient.queue_mode_set)
    history_get = _blocking(AsyncClient.history_get)
    history_clear = _blocking(AsyncClient.history_clear)
    plans_allowed = _blocking(AsyncClient.plans_allowed)
    devices_allowed = _blocking(AsyncClient.devices_allowed)
    plans_existing = _blocking(AsyncClient.plans_existing)
    devices_existing = _blocking(AsyncClient.devices_existing)
    permissions_reload = _blocking(AsyncClient.permissions_reload)
    permissions_get = _blocking(AsyncClient.permissions_get)
    permissions_set = _blocking(AsyncClient.permissions_set)
    script_upload = _blocking(AsyncClient.script_upload)
    function_execute = _blocking(AsyncClient.function_execute)
    task_status = _blocking(AsyncClient.task_status)
    task_result = _blocking(AsyncClient.task_result)
    task_submit = _blocking(AsyncClient.task_submit)
    task_submit_batch = _blocking(AsyncClient.task_submit_batch)
    task_function_list = _blocking(AsyncClient.task_function_list)
    task_result_batch = _blocking(AsyncClient.task_result_batch)
    task_info = _blocking(AsyncClient.task_info)
    task_list = _blocking(AsyncClient.task_list)
    task_count = _blocking(AsyncClient.task_count)
    task_wait = _blocking(AsyncClient.task_wait)
    task_progress = _blocking(AsyncClient.task_progress)
    tag_list = _blocking(AsyncClient.tag_list)
    job_status = _blocking(AsyncClient.job_status)
    event_list = _blocking(AsyncClient.event_list)
    task_cancel = _blocking(AsyncClient.task_cancel)
    task_retry = _blocking(AsyncClient.task_retry)
    task_update = _blocking(AsyncClient.task_update)
    task_pause = _blocking(AsyncClient.task_pause)
    task_resume = _blocking(AsyncClient.task_resume)
    task_prune = _blocking(AsyncClient.task_prune)
    limit_set = _blocking(AsyncClient.limit_set)
    limit_remove = _blocking(AsyncClient.limit_remove)
    limit_list = _blocking(AsyncClient.limit_list)
    schedule_add = _blocking(AsyncClient.schedule_add)
    schedule_list = _blocking(AsyncClient.schedule_list)
    schedule_pause = _blocking(AsyncClient.schedule_pause)
    schedule_resume = _blocking(AsyncClient.schedule_resume)
    schedule_cancel = _blocking(AsyncClient.schedule_cancel)
    worker_list = _blocking(AsyncClient.worker_list)
    worker_stop = _blocking(AsyncClient.worker_stop)
    worker_restart = _blocking(AsyncClient.worker_restart)
    alert_rule_set = _blocking(AsyncClient.alert_rule_set)
    alert_rule_remove = _blocking(AsyncClient.alert_rule_remove)
    alert_rule_list = _blocking(AsyncClient.alert_rule_list)
    alert_list = _blocking(AsyncClient.alert_list)
    alert_ack = _blocking(AsyncClient.alert_ack)
    type_stats = _blocking(AsyncClient.type_stats)
    snapshot = _blocking(AsyncClient.snapshot)
    stats_history = _blocking(AsyncClient.stats_history)
    metrics_get = _blocking(AsyncClient.metrics_get)
    re_runs = _blocking(AsyncClient.re_runs)
    re_metadata = _blocking(AsyncClient.re_metadata)
    re_pause = _blocking(AsyncClient.re_pause)
    re_resume = _blocking(AsyncClient.re_resume)
    re_stop = _blocking(AsyncClient.re_stop)
    re_abort = _blocking(AsyncClient.re_abort)
    re_halt = _blocking(AsyncClient.re_halt)
    kernel_interrupt = _blocking(AsyncClient.kernel_interrupt)
    lock = _blocking(AsyncClient.lock)
    lock_info = _blocking(AsyncClient.lock_info)
    unlock = _blocking(AsyncClient.unlock)
    manager_stop = _blocking(AsyncClient.manager_stop)
    wait_for_condition = _blocking(AsyncClient.wait_for_condition)
    wait_for_idle = _blocking(AsyncClient.wait_for_idle)
    wait_for_idle_or_paused = _blocking(AsyncClient.wait_for_idle_or_paused)
    wait_for_completed_task = _blocking(AsyncClient.wait_for_completed_task)


async def _make(kwargs: dict[str, Any]) -> AsyncClient:
    """Make a client inside the event loop that it belongs to."""
    return AsyncClient(**kwargs)
