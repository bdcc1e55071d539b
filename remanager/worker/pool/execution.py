"""Running one task: from the item to the outcome."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from remanager.engine.task_queue.changes import OutcomeKind
from remanager.tasks import Cancelled, Permanent, Retry, Skip, TaskSignal, use
from remanager.tasks.declaration import CONTEXT
from remanager.wire.values import ValueFault, encode_value, value_from_json
from remanager.worker.failures import exception_name, exception_text, shorten, traceback_text
from remanager.worker.pool.assignments import Assignment, Outcome
from remanager.worker.pool.context import WorkerContext
from remanager.worker.pool.discovery import TaskFunction

logger = logging.getLogger(__name__)

MAX_REASON_CHARS = 1000
NOTHING = Outcome(OutcomeKind.COMPLETED, codec="json", payload=b"null")


class ItemFault(Exception):
    """The item of a task cannot be run."""


class Executor:
    """Runs tasks in the calling thread, which is the main thread.

    Parameters
    ----------
    functions : mapping
        The tasks by name.
    make_context : callable
        Makes the context of an assignment that has begun.
    attach : callable
        Called as ``attach(assignment, on_cancel)`` before user code runs.
    max_result_bytes : int
        Largest encoded result, bytes.
    """

    def __init__(
        self,
        functions: Mapping[str, TaskFunction],
        make_context: Callable[[Assignment], WorkerContext],
        attach: Callable[[Assignment, Callable[[str], None]], None],
        max_result_bytes: int,
    ) -> None:
        self._functions = functions
        self._make_context = make_context
        self._attach = attach
        self._max_result_bytes = max_result_bytes
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, assignment: Assignment) -> tuple[Outcome, WorkerContext | None]:
        """Run a task to its end; return how it ended, and its context if it came to that."""
        try:
            function, args, kwargs = self._prepare(assignment)
            context = self._make_context(assignment)
        except (ItemFault, ValueFault) as exc:
            return _failed(OutcomeKind.PERMANENT, exc), None
        self._attach(assignment, context.cancel)
        place = function.context_place
        if place is not None and place < len(args):
            args = [*args[:place], context, *args[place:]]
        elif place is not None:
            kwargs = {**kwargs, CONTEXT: context}
        try:
            with use(context):
                value = function.call(*args, **kwargs)
                if inspect.iscoroutine(value):
                    value = self._run_coroutine(value, context)
            outcome = self._outcome(value, context)
        except BaseException as exc:  # noqa: BLE001 - user code may raise anything; the task then failed
            outcome = _outcome_of(exc, context)
        if outcome.error is not None:
            logger.error("Task '%s' failed: %s", function.name, outcome.error[2] or outcome.error[1])
        return outcome, context

    def close(self) -> None:
        """Close the event loop."""
        if self._loop is not None:
            self._loop.close()

    def _prepare(self, assignment: Assignment) -> tuple[TaskFunction, list[Any], dict[str, Any]]:
        item = value_from_json(assignment.body)
        name = item.get("name") if isinstance(item, dict) else None
        function = self._functions.get(name) if isinstance(name, str) else None
        if function is None:
            raise ItemFault(f"The task modules of this worker have no task '{name}'")
        return function, item.get("args") or [], item.get("kwargs") or {}

    def _run_coroutine(self, coroutine: Coroutine[Any, Any, Any], context: WorkerContext) -> Any:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        loop = self._loop
        task = loop.create_task(coroutine)
        context.run_by(task)
        try:
            # The coroutine's own exception is not raised through the loop: its traceback stays short.
            loop.run_until_complete(asyncio.wait([task]))
        finally:
            _end_leftovers(loop)
        return task.result()

    def _outcome(self, value: object, context: WorkerContext) -> Outcome:
        """Return the outcome of an execution that ended with a value."""
        if context.children:
            return Outcome(OutcomeKind.PARENT)
        if value is None:
            return NOTHING
        try:
            codec, payload = encode_value(value)
        except ValueFault as exc:
            return _refused(f"The result cannot be kept: {exc}")
        if len(payload) > self._max_result_bytes:
            return _refused(
                f"The result cannot be kept: it is a value of the type {type(value).__name__} with "
                f"{len(payload)} bytes, and at most {self._max_result_bytes} are kept. Write it to a file "
                "and return its name"
            )
        return Outcome(OutcomeKind.COMPLETED, codec=codec, payload=payload)


def _end_leftovers(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what a coroutine has left running, as :func:`asyncio.run` does."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))


def _outcome_of(exc: BaseException, context: WorkerContext) -> Outcome:
    """Return the outcome of an execution that ended with an exception."""
    match exc:
        case Retry():
            cause = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
            error = _error(cause if cause is not None else exc)
            return Outcome(OutcomeKind.RETRY, _reason(exc), error, exc.after_s)
        case Skip():
            return Outcome(OutcomeKind.SKIPPED, _reason(exc))
        case Permanent():
            return _failed(OutcomeKind.PERMANENT, exc)
        case Cancelled():
            return Outcome(OutcomeKind.CANCELLED, _reason(exc))
        case asyncio.CancelledError() if context.cancelled:
            return Outcome(OutcomeKind.CANCELLED, exception_text(exc) if exc.args else "")
        case TypeError() if _is_call_fault(exc):
            return _failed(OutcomeKind.PERMANENT, exc)
    return _failed(OutcomeKind.ERROR, exc)


def _reason(signal: TaskSignal) -> str:
    return shorten(signal.reason, MAX_REASON_CHARS)


def _is_call_fault(exc: TypeError) -> bool:
    """Tell whether the arguments did not fit: then no frame of the function itself is in the traceback."""
    return exc.__traceback__ is not None and exc.__traceback__.tb_next is None


def _failed(kind: OutcomeKind, exc: BaseException) -> Outcome:
    return Outcome(kind, error=_error(exc))


def _refused(msg: str) -> Outcome:
    return Outcome(OutcomeKind.PERMANENT, error=("ResultFault", msg, ""))


def _error(exc: BaseException) -> tuple[str, str, str]:
    return exception_name(exc), exception_text(exc), traceback_text(exc)
