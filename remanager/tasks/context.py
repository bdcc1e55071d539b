"""What a running task is told and can say."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from remanager.tasks.exceptions import Cancelled

MAX_MESSAGE_CHARS = 1000
MAX_COUNT = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Child:
    """A child that a task submitted."""

    task_uid: str
    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)


class Context:
    """The context of a task: who it is, whether it shall stop, and a way to say how far it is.

    A task gets it as its parameter ``ctx`` or from :func:`current`. All methods may be called from any
    thread. An object of this class itself remembers what it is told and does nothing else: it is what a task
    finds outside of a worker, as in its unit tests.

    Parameters
    ----------
    task_uid : str
        UID of the task.
    attempt : int
        Number of this execution, from 1.
    deadline : float or None
        When the execution is stopped, epoch seconds; None: never.
    last_checkpoint : object
        Value of the latest :meth:`checkpoint`, of this execution or an earlier one; None if there is none.
    finishing : bool
        The task has run before, and the children that it submitted then have ended since.

    Attributes
    ----------
    report : dict
        What :meth:`progress` has told so far.
    io : dict
        What :meth:`record_io` has counted so far, bytes.
    children : list of Child
        What :meth:`submit_child` has submitted in this execution.
    """

    def __init__(
        self,
        task_uid: str = "",
        *,
        attempt: int = 1,
        deadline: float | None = None,
        last_checkpoint: Any = None,
        finishing: bool = False,
    ) -> None:
        self.task_uid = task_uid
        self.attempt = attempt
        self.deadline = deadline
        self.last_checkpoint = last_checkpoint
        self.finishing = finishing
        self.report: dict[str, Any] = {}
        self.io: dict[str, int] = {}
        self.children: list[Child] = []
        self._monotonic_deadline = None if deadline is None else time.monotonic() + deadline - time.time()
        self._cancel_reason: str | None = None
        self._lock = threading.Lock()

    # ---------------------------------------------------------------------------------- time and cancelling

    def remaining(self) -> float | None:
        """Return the time until the deadline, s (0 when it has passed); None if there is no deadline."""
        if self._monotonic_deadline is None:
            return None
        return max(0.0, self._monotonic_deadline - time.monotonic())

    @property
    def cancelled(self) -> bool:
        """Whether the task was told to stop."""
        return self._cancel_reason is not None

    def cancel(self, reason: str = "") -> None:
        """Tell the task to stop; for the worker, and for tests."""
        self._cancel_reason = reason

    def check_cancelled(self) -> None:
        """Raise :class:`~remanager.tasks.Cancelled` if the task was told to stop.

        Call it wherever the task can stop without harm. A task that does not stop is killed after a while.
        """
        if self._cancel_reason is not None:
            raise Cancelled(self._cancel_reason)

    # ---------------------------------------------------------------------------------- telling

    def progress(
        self,
        *,
        done_count: int | None = None,
        total_count: int | None = None,
        done_size: int | None = None,
        total_size: int | None = None,
        fraction: float | None = None,
        message: str | None = None,
    ) -> None:
        """Tell how far the task is. What is left out stays as it was told before.

        It may be called often: at most two reports per second are passed on, the newest always.

        Parameters
        ----------
        done_count, total_count : int, optional
            Pieces of work.
        done_size, total_size : int, optional
            Bytes.
        fraction : float, optional
            0 to 1, where neither pieces nor bytes are known.
        message : str, optional
            What people shall read.

        Raises
        ------
        ValueError
            A number is negative, not finite, or of more than 63 bits.
        """
        numbers = {
            "done_count": done_count,
            "total_count": total_count,
            "done_size": done_size,
            "total_size": total_size,
        }
        news: dict[str, Any] = {name: _count(name, n) for name, n in numbers.items() if n is not None}
        if fraction is not None:
            news["fraction"] = float(fraction)
            if not (math.isfinite(fraction) and fraction >= 0):
                raise ValueError(f"fraction must be a number from 0 to 1, not {fraction}")
        if message is not None:
            news["message"] = str(message)[:MAX_MESSAGE_CHARS]
        with self._lock:
            self.report |= news
            self._pass_report_on()

    def record_io(self, *, disk_read: int = 0, disk_write: int = 0, net_rx: int = 0, net_tx: int = 0) -> None:
        """Add to the bytes that the task has read and written.

        Raises
        ------
        ValueError
            A number is negative or not finite.
        """
        numbers = {"disk_read": disk_read, "disk_write": disk_write, "net_rx": net_rx, "net_tx": net_tx}
        news = {name: _count(name, n) for name, n in numbers.items() if n}
        with self._lock:
            for name, number in news.items():
                self.io[name] = min(self.io.get(name, 0) + number, MAX_COUNT)
            self._pass_report_on()

    def checkpoint(self, value: Any) -> None:
        """Keep a value for the next attempt, or for the run after the children have ended.

        It replaces the value that was kept before. It is gone when the task ends.

        Parameters
        ----------
        value : object
            JSON values, bytes, datetime, NumPy arrays.

        Raises
        ------
        ValueError
            The value is too large or holds something that cannot be kept.
        """
        with self._lock:
            self._keep_checkpoint(value)
            self.last_checkpoint = value

    def submit_child(
        self, name: str, /, *args: Any, options: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> str:
        """Submit a task as a child of this one, and wait until it is accepted.

        When this execution ends, the task waits for its children and then runs once more, with
        :attr:`finishing` set. That run cannot submit children.

        Parameters
        ----------
        name : str
            Name of the task.
        *args, **kwargs
            Its arguments: JSON values, bytes, datetime, NumPy arrays.
        options : mapping, optional
            As ``task_submit`` takes them.

        Returns
        -------
        str
            UID of the child.

        Raises
        ------
        ValueError
            The child was refused, or an argument cannot be passed.
        RuntimeError
            The children of this task have ended already.
        Cancelled
            The task was told to stop before the child was accepted.
        """
        if self.finishing:
            raise RuntimeError(
                "The children of this task have ended, it can have no more: submit them only where "
                "ctx.finishing is false"
            )
        child_options = dict(options or {})
        uid = self._submit(name, args, kwargs, child_options)
        self.children.append(Child(uid, name, args, kwargs, child_options))
        return uid

    # ---------------------------------------------------------------------------------- for workers

    def _pass_report_on(self) -> None:
        """Take note that :attr:`report` or :attr:`io` changed; called with the lock held."""

    def _keep_checkpoint(self, value: Any) -> None:
        """Keep a checkpoint."""

    def _submit(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]
    ) -> str:
        """Submit a child; return its UID."""
        return f"child-{len(self.children) + 1}"


_outside = Context()
_current: Context | None = None
_of_thread: ContextVar[Context | None] = ContextVar("task_context", default=None)


def current() -> Context:
    """Return the context of the running task.

    Outside of a worker it is one that remembers what it is told and does nothing else.
    """
    return _of_thread.get() or _current or _outside


def use_in_thread(context: Context) -> None:
    """Make a context the current one of the calling thread, as long as it lives: for workers with several."""
    _of_thread.set(context)


@contextlib.contextmanager
def use(context: Context) -> Iterator[Context]:
    """Make a context the current one for a block: for tests of functions that call :func:`current`."""
    global _current
    before = _current
    _current = context
    try:
        yield context
    finally:
        _current = before


def _count(name: str, value: float) -> int:
    if not 0 <= value <= MAX_COUNT:
        raise ValueError(f"{name} must be a number from 0 to {MAX_COUNT}, not {value}")
    return int(value)
