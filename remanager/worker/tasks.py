"""Functions and scripts: running them and encoding what they return."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import msgpack

from remanager.model.link import ListsChanged, TaskFinished
from remanager.model.states import EnvironmentState
from remanager.tasks import Cancelled, Context, current
from remanager.tasks.context import use_in_thread
from remanager.worker.failures import exception_name, exception_text, traceback_text

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from remanager.model.link import Event, RunTask
    from remanager.worker.environment import Environment
    from remanager.worker.run_engine import RunEngineControl
    from remanager.worker.state import StateBoard

logger = logging.getLogger(__name__)


MAX_RESULT_BYTES = 512 << 20
"""Larger return values would not go through the connection to the manager, or into the store."""


def encode_value(value: object, encoding: str) -> bytes:
    """Encode a return value for clients; raises the encoder's own error if that is impossible.

    Raises
    ------
    ValueError
        It is too large.
    """
    encoded: bytes = msgpack.packb(value) if encoding == "msgpack" else json.dumps(value).encode()
    if len(encoded) > MAX_RESULT_BYTES:
        raise ValueError(f"the return value has {len(encoded)} bytes; at most {MAX_RESULT_BYTES} are kept")
    return encoded


class TaskRunner:
    """Runs functions and scripts, in the main thread or beside it, and reports how they end.

    Parameters
    ----------
    environment : Environment
        Where they run.
    control : RunEngineControl
        Told if a script replaces the RunEngine.
    board : StateBoard
        Takes the reports.
    user_code : context manager
        Entered while a foreground task runs.
    encoding : str
        ``json`` or ``msgpack``: encoding of return values.
    """

    def __init__(
        self,
        environment: Environment,
        control: RunEngineControl,
        board: StateBoard,
        user_code: AbstractContextManager[None],
        encoding: str,
    ) -> None:
        self._environment = environment
        self._control = control
        self._board = board
        self._user_code = user_code
        self._encoding = encoding
        self._contexts: dict[str, Context] = {}  # of the background tasks

    def run(self, command: RunTask) -> None:
        """Run a foreground task; call this in the main thread."""
        events = self._execute(command, self._user_code)
        self._board.change(
            events=events,
            environment_state=EnvironmentState.IDLE.value,
            running_task_uid=None,
            re_state=self._control.state,
        )

    def start_background(self, command: RunTask) -> None:
        """Run a task in a daemon thread of its own.

        Raises
        ------
        RuntimeError, MemoryError
            There can be no more threads.
        """
        deadline = None if command.timeout_s is None else time.time() + command.timeout_s
        uid = command.task_uid.partition(":")[0]  # the manager adds the number of the hand-over
        context = Context(uid, attempt=command.attempt, deadline=deadline)
        thread = threading.Thread(
            target=self._run_background, args=(command, context), name=f"task {command.task_uid}", daemon=True
        )
        self._contexts[command.task_uid] = context
        try:
            thread.start()
        except (RuntimeError, MemoryError):
            del self._contexts[command.task_uid]
            raise

    def stop_background(self, task_uid: str, reason: str) -> None:
        """Tell a background task to stop, if it still runs. A thread cannot be made to."""
        context = self._contexts.get(task_uid)
        if context is not None:
            context.cancel(reason)

    def _run_background(self, command: RunTask, context: Context) -> None:
        use_in_thread(context)
        loop = getattr(self._control.engine, "loop", None)
        if loop is not None:
            # Asynchronous devices look for the RunEngine's event loop in the thread that uses them.
            asyncio.set_event_loop(loop)
        events = self._execute(command, contextlib.nullcontext())
        del self._contexts[command.task_uid]
        self._board.change(events=events, background=-1)

    def _execute(self, command: RunTask, context: AbstractContextManager[None]) -> list[Event]:
        """Run a task to its end; return the events that tell of it, ``TaskFinished`` last."""
        time_start, clock_start = time.time(), time.monotonic()
        events: list[Event] = []
        name = "script"
        cancelled = False
        try:
            body = json.loads(command.body)
            name = body.get("name", name)
            value = None
            with context:
                if command.kind == "function":
                    value = self._call_function(body)
                else:
                    self._load(body, events)
            payload = self._encode_result(value)
            msg = trace = error_type = ""
            success = True
        except BaseException as exc:  # noqa: BLE001 - user code may raise anything; the task then failed
            success, payload = False, encode_value(None, self._encoding)
            cancelled = isinstance(exc, Cancelled) and current().cancelled
            msg = f"Error occurred while executing '{name}': {exception_text(exc)}"
            trace, error_type = traceback_text(exc), exception_name(exc)
            if cancelled:
                logger.info("Task '%s' has stopped: %s", name, exception_text(exc))
            else:
                logger.error("%s\n%s", msg, trace)
        events.append(
            TaskFinished(
                seq=0,
                time=time.time(),
                task_uid=command.task_uid,
                success=success,
                msg=msg,
                traceback=trace,
                codec=self._encoding,
                payload=payload,
                time_start=time_start,
                time_stop=time_start + max(time.monotonic() - clock_start, 1e-6),
                cancelled=cancelled,
                error_type=error_type,
            )
        )
        return events

    def _encode_result(self, value: object) -> bytes:
        try:
            return encode_value(value, self._encoding)
        except Exception as exc:
            raise ValueError(
                f"The function has run, but its return value of the type {type(value).__name__} "
                f"cannot be sent: {exception_text(exc)}"
            ) from exc

    def _call_function(self, item: dict[str, Any]) -> object:
        call = self._environment.function_call(item)
        result: object = call["callable"](*call["args"], **call["kwargs"])
        return result

    def _load(self, body: dict[str, Any], events: list[Event]) -> None:
        update_re = bool(body["update_re"])
        self._environment.load_script(body["script"], update_re=update_re)
        engine = self._environment.ns.get("RE")
        if update_re and engine is not None:
            self._control.attach(engine)
        if body["update_lists"] and self._environment.refresh_lists():
            lists = self._environment.lists
            events.append(ListsChanged(0, time.time(), lists.plans_text, lists.devices_text))
            self._environment.warm_up()
        logger.info("The script was executed" if body["script"] else "The environment was updated")
