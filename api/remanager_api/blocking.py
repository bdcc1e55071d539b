"""The blocking client: the asynchronous one, run in an event loop of a background thread."""

from __future__ import annotations

import inspect
import os
import sys
import threading
from collections.abc import Coroutine
from typing import Any, ClassVar, Self, TypeVar

from remanager_api import errors
from remanager_api.blocking_handles import giving, giving_each, made
from remanager_api.client import AsyncClient
from remanager_api.faces import Face, LoopThread, Mirrored, NoAnswerError, blocking, forwarded, iterating
from remanager_api.monitors import ConsoleMonitor
from remanager_api.monitors.monitor import Monitor

T = TypeVar("T")

_leaving = threading.Lock()


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
        thread = self._thread  # another thread may close the client at any time
        if thread is None:
            coroutine.close()
            raise NoAnswerError("the client is closed")
        if self._pid != os.getpid():
            thread = self._thread = LoopThread.join()
            self._pid = os.getpid()
        return thread.run(coroutine)

    def close(self) -> None:
        """Close the client; any thread may do it, and more than once."""
        if self._thread is None or sys.is_finalizing():
            return
        try:
            self._run(self._source.close())
        except NoAnswerError:
            if self._thread is not None:  # else another thread has closed it meanwhile
                raise
        with _leaving:
            thread, self._thread = self._thread, None
        if thread is not None:
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
    events = iterating(AsyncClient.events)
    submit = giving(AsyncClient.submit)
    submit_function = giving(AsyncClient.submit_function)
    submit_script = giving(AsyncClient.submit_script)
    task = made(AsyncClient.task)
    outcomes = blocking(AsyncClient.outcomes)
    plans = blocking(AsyncClient.plans)
    devices = blocking(AsyncClient.devices)
    functions = blocking(AsyncClient.functions)
    watch = blocking(AsyncClient.watch)
    gather = blocking(AsyncClient.gather)
    as_completed = giving_each(AsyncClient.as_completed)
    send_request = blocking(AsyncClient.send_request)
    ping = blocking(AsyncClient.ping)
    status = blocking(AsyncClient.status)
    status_wait = blocking(AsyncClient.status_wait)
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
