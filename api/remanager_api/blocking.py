"""The blocking client: the asynchronous one, run in an event loop of a background thread."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from functools import wraps
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from remanager_api import errors
from remanager_api.client import AsyncClient
from remanager_api.monitors import ConsoleMonitor
from remanager_api.monitors.monitor import Monitor

P = ParamSpec("P")
T = TypeVar("T")


class LoopThread:
    """One event loop in one thread, shared by all clients of the process; it ends with the last of them."""

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _current: ClassVar[LoopThread | None] = None

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._users = 0
        self._thread = threading.Thread(target=self._run, name="remanager-api", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    @classmethod
    def join(cls) -> LoopThread:
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
        """Run a coroutine in the thread and wait for its result.

        Raises
        ------
        RuntimeError
            The caller is a function that the client itself calls, and would wait for itself.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("a function that the client calls must not call the client")
        future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C while waiting: the request must not go on behind the user's back.
            future.cancel()
            raise

    @classmethod
    def _after_fork(cls) -> None:
        cls._lock = threading.Lock()
        cls._current = None


# Threads do not survive a fork: the child starts one of its own.
os.register_at_fork(after_in_child=LoopThread._after_fork)


class Face:
    """The blocking face of an asynchronous object.

    Parameters
    ----------
    source : object
        The asynchronous object.
    run : callable
        Runs a coroutine in the thread of the client, and returns its result.
    """

    def __init__(self, source: Any, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._source = source
        self._run = run


def blocking(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], T]:
    """Make a blocking method of an asynchronous one."""
    name = method.__name__

    @wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = self._run(getattr(self._source, name)(*args, **kwargs))
        return result

    return call


def forwarded(method: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], T]:
    """Make a method that calls a plain method of the asynchronous object in its thread."""
    name = method.__name__

    @wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        async def run() -> T:
            result: T = getattr(self._source, name)(*args, **kwargs)
            return result

        outcome: T = self._run(run())
        return outcome

    return call


def iterating(
    method: Callable[Concatenate[Any, P], AsyncIterator[T]],
) -> Callable[Concatenate[Any, P], Iterator[T]]:
    """Make a method that returns an iterator of one that returns an asynchronous iterator."""
    name = method.__name__
    end = object()

    @wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        stream = getattr(self._source, name)(*args, **kwargs)

        async def following() -> Any:
            return await anext(stream, end)

        try:
            while (item := self._run(following())) is not end:
                yield item
        finally:
            self._run(stream.aclose())

    return call


class Mirrored(Generic[T]):
    """A property of the asynchronous object.

    Parameters
    ----------
    source : property
        The property.
    """

    def __init__(self, source: Any) -> None:
        self.__doc__ = source.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, face: None, owner: type) -> Self: ...
    @overload
    def __get__(self, face: Any, owner: type) -> T: ...
    def __get__(self, face: Any, owner: type) -> T | Self:
        if face is None:
            return self
        value: T = getattr(face._source, self._name)
        return value

    def __set__(self, face: Any, value: T) -> None:
        setattr(face._source, self._name, value)


class BlockingMonitor(Face):
    """Collects what the manager publishes; see :class:`remanager_api.monitors.SystemInfoMonitor`."""

    _msg_queue = Mirrored[Any](Monitor._msg_queue)
    enabled = Mirrored[bool](Monitor.enabled)
    enable = forwarded(Monitor.enable)
    disable = forwarded(Monitor.disable)
    disable_wait = blocking(Monitor.disable_wait)
    clear = forwarded(Monitor.clear)
    next_msg = blocking(Monitor.next_msg)


class BlockingConsoleMonitor(BlockingMonitor):
    """Collects the console output; see :class:`remanager_api.monitors.ConsoleMonitor`."""

    text_uid = Mirrored[str](ConsoleMonitor.text_uid)
    text_max_lines = Mirrored[int](ConsoleMonitor.text_max_lines)
    text = blocking(ConsoleMonitor.text)
    clear = forwarded(ConsoleMonitor.clear)


class BlockingClient(Face):
    """Talks to a run manager; each method waits for its reply.

    It may be used from several threads, inside a running event loop, and in a forked child.

    Parameters
    ----------
    **kwargs
        As for the asynchronous client.
    """

    _asynchronous: ClassVar[type[AsyncClient]]

    RequestParameterError = AsyncClient.RequestParameterError
    RequestTimeoutError = AsyncClient.RequestTimeoutError
    RequestFailedError = AsyncClient.RequestFailedError
    WaitTimeoutError = AsyncClient.WaitTimeoutError
    WaitCancelError = AsyncClient.WaitCancelError
    HTTPRequestError: ClassVar[type[errors.HTTPRequestError]] = AsyncClient.HTTPRequestError
    HTTPClientError: ClassVar[type[errors.HTTPClientError]] = AsyncClient.HTTPClientError
    HTTPServerError: ClassVar[type[errors.HTTPServerError]] = AsyncClient.HTTPServerError
    Protocols = AsyncClient.Protocols
    AuthorizationMethods = AsyncClient.AuthorizationMethods

    def __init_subclass__(cls) -> None:
        """Give a client with a transport the constructor's signature of its asynchronous counterpart."""
        signature = inspect.signature(cls._asynchronous)
        parameters = [p for name, p in signature.parameters.items() if name != "loop"]
        cls.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(self._asynchronous(**kwargs), self._run_in_thread)
        self._thread: LoopThread | None = LoopThread.join()
        self._pid = os.getpid()
        self._console_monitor = BlockingConsoleMonitor(self._source.console_monitor, self._run)
        self._system_info_monitor = BlockingMonitor(self._source.system_info_monitor, self._run)

    def _run_in_thread(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._thread is None:
            coroutine.close()
            raise RuntimeError("the client is closed")
        if self._pid != os.getpid():
            self._thread, self._pid = LoopThread.join(), os.getpid()
        return self._thread.run(coroutine)

    def close(self) -> None:
        """Close the client."""
        if self._thread is not None:
            self._run(self._source.close())
            thread, self._thread = self._thread, None
            thread.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def console_monitor(self) -> BlockingConsoleMonitor:
        """Monitor of the console output."""
        return self._console_monitor

    @property
    def system_info_monitor(self) -> BlockingMonitor:
        """Monitor of the status that the manager publishes."""
        return self._system_info_monitor

    protocol = Mirrored[Any](AsyncClient.protocol)
    user = Mirrored[str](AsyncClient.user)
    user_group = Mirrored[str](AsyncClient.user_group)
    request_fail_exceptions_enabled = Mirrored[bool](AsyncClient.request_fail_exceptions_enabled)
    lock_key = Mirrored[str | None](AsyncClient.lock_key)
    enable_locked_api = Mirrored[bool](AsyncClient.enable_locked_api)
    default_lock_key_path = Mirrored[str](AsyncClient.default_lock_key_path)
    get_default_lock_key = forwarded(AsyncClient.get_default_lock_key)
    set_default_lock_key = forwarded(AsyncClient.set_default_lock_key)
    set_user_name_to_login_name = forwarded(AsyncClient.set_user_name_to_login_name)
    _clear_status_timestamp = forwarded(AsyncClient._clear_status_timestamp)

    info_stream = iterating(AsyncClient.info_stream)
    send_request = blocking(AsyncClient.send_request)
    ping = blocking(AsyncClient.ping)
    status = blocking(AsyncClient.status)
    config_get = blocking(AsyncClient.config_get)
    stats = blocking(AsyncClient.stats)
    queue_status = blocking(AsyncClient.queue_status)
    environment_open = blocking(AsyncClient.environment_open)
    environment_close = blocking(AsyncClient.environment_close)
    environment_destroy = blocking(AsyncClient.environment_destroy)
    environment_update = blocking(AsyncClient.environment_update)
    item_add = blocking(AsyncClient.item_add)
    item_add_batch = blocking(AsyncClient.item_add_batch)
    item_update = blocking(AsyncClient.item_update)
    item_get = blocking(AsyncClient.item_get)
    item_remove = blocking(AsyncClient.item_remove)
    item_remove_batch = blocking(AsyncClient.item_remove_batch)
    item_move = blocking(AsyncClient.item_move)
    item_move_batch = blocking(AsyncClient.item_move_batch)
    item_execute = blocking(AsyncClient.item_execute)
    queue_get = blocking(AsyncClient.queue_get)
    queue_clear = blocking(AsyncClient.queue_clear)
    queue_start = blocking(AsyncClient.queue_start)
    queue_stop = blocking(AsyncClient.queue_stop)
    queue_stop_cancel = blocking(AsyncClient.queue_stop_cancel)
    queue_autostart = blocking(AsyncClient.queue_autostart)
    queue_mode_set = blocking(AsyncClient.queue_mode_set)
    history_get = blocking(AsyncClient.history_get)
    history_clear = blocking(AsyncClient.history_clear)
    plans_allowed = blocking(AsyncClient.plans_allowed)
    devices_allowed = blocking(AsyncClient.devices_allowed)
    plans_existing = blocking(AsyncClient.plans_existing)
    devices_existing = blocking(AsyncClient.devices_existing)
    permissions_reload = blocking(AsyncClient.permissions_reload)
    permissions_get = blocking(AsyncClient.permissions_get)
    permissions_set = blocking(AsyncClient.permissions_set)
    script_upload = blocking(AsyncClient.script_upload)
    function_execute = blocking(AsyncClient.function_execute)
    task_status = blocking(AsyncClient.task_status)
    task_result = blocking(AsyncClient.task_result)
    task_submit = blocking(AsyncClient.task_submit)
    task_submit_batch = blocking(AsyncClient.task_submit_batch)
    task_function_list = blocking(AsyncClient.task_function_list)
    task_result_batch = blocking(AsyncClient.task_result_batch)
    task_info = blocking(AsyncClient.task_info)
    task_list = blocking(AsyncClient.task_list)
    task_count = blocking(AsyncClient.task_count)
    task_wait = blocking(AsyncClient.task_wait)
    task_progress = blocking(AsyncClient.task_progress)
    tag_list = blocking(AsyncClient.tag_list)
    job_status = blocking(AsyncClient.job_status)
    event_list = blocking(AsyncClient.event_list)
    task_cancel = blocking(AsyncClient.task_cancel)
    task_retry = blocking(AsyncClient.task_retry)
    task_update = blocking(AsyncClient.task_update)
    task_pause = blocking(AsyncClient.task_pause)
    task_resume = blocking(AsyncClient.task_resume)
    task_prune = blocking(AsyncClient.task_prune)
    limit_set = blocking(AsyncClient.limit_set)
    limit_remove = blocking(AsyncClient.limit_remove)
    limit_list = blocking(AsyncClient.limit_list)
    schedule_add = blocking(AsyncClient.schedule_add)
    schedule_list = blocking(AsyncClient.schedule_list)
    schedule_pause = blocking(AsyncClient.schedule_pause)
    schedule_resume = blocking(AsyncClient.schedule_resume)
    schedule_cancel = blocking(AsyncClient.schedule_cancel)
    worker_list = blocking(AsyncClient.worker_list)
    worker_stop = blocking(AsyncClient.worker_stop)
    worker_restart = blocking(AsyncClient.worker_restart)
    alert_rule_set = blocking(AsyncClient.alert_rule_set)
    alert_rule_remove = blocking(AsyncClient.alert_rule_remove)
    alert_rule_list = blocking(AsyncClient.alert_rule_list)
    alert_list = blocking(AsyncClient.alert_list)
    alert_ack = blocking(AsyncClient.alert_ack)
    type_stats = blocking(AsyncClient.type_stats)
    snapshot = blocking(AsyncClient.snapshot)
    stats_history = blocking(AsyncClient.stats_history)
    metrics_get = blocking(AsyncClient.metrics_get)
    re_runs = blocking(AsyncClient.re_runs)
    re_metadata = blocking(AsyncClient.re_metadata)
    re_pause = blocking(AsyncClient.re_pause)
    re_resume = blocking(AsyncClient.re_resume)
    re_stop = blocking(AsyncClient.re_stop)
    re_abort = blocking(AsyncClient.re_abort)
    re_halt = blocking(AsyncClient.re_halt)
    kernel_interrupt = blocking(AsyncClient.kernel_interrupt)
    lock = blocking(AsyncClient.lock)
    lock_environment = blocking(AsyncClient.lock_environment)
    lock_queue = blocking(AsyncClient.lock_queue)
    lock_all = blocking(AsyncClient.lock_all)
    lock_info = blocking(AsyncClient.lock_info)
    unlock = blocking(AsyncClient.unlock)
    manager_stop = blocking(AsyncClient.manager_stop)
    wait_for_condition = blocking(AsyncClient.wait_for_condition)
    wait_for_idle = blocking(AsyncClient.wait_for_idle)
    wait_for_idle_or_paused = blocking(AsyncClient.wait_for_idle_or_paused)
    wait_for_idle_or_running = blocking(AsyncClient.wait_for_idle_or_running)
    wait_for_completed_task = blocking(AsyncClient.wait_for_completed_task)
