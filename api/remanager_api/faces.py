"""Blocking faces of asynchronous objects: their methods, run in the event loop of a background thread."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from functools import wraps
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

P = ParamSpec("P")
T = TypeVar("T")


class NoAnswerError(RuntimeError):
    """The thread of the client cannot be waited for."""


class _Call(Generic[T]):
    """A coroutine that one thread waits for and another one runs.

    A lock is handed over in place of a ``concurrent.futures.Future``, which costs a fifth of a short request.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._ended = threading.Lock()
        self._ended.acquire()
        self._error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self.has_ended = False

    def start(self) -> None:
        """Begin, in the event loop."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    def cancel(self) -> None:
        """Give up, in the event loop."""
        if self._task is not None:
            self._task.cancel()

    async def _work(self) -> None:
        try:
            self._value = await self._coroutine
        except BaseException as exc:  # noqa: BLE001 - raised by result()
            self._error = exc
        finally:
            self.has_ended = True
            self._ended.release()

    def result(self) -> T:
        """Wait for the end, in the other thread."""
        self._ended.acquire()
        try:
            if self._error is not None:
                raise self._error
            return self._value
        finally:
            self._error = None  # it holds this frame


async def _cancel_all() -> None:
    """Cancel what runs, so that nobody is left waiting in another thread."""
    await asyncio.sleep(0)  # what is about to begin can be cancelled once it has begun
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


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
        self._loop.run_until_complete(_cancel_all())
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
        NoAnswerError
            The client is closed; or the interpreter is ending, and its thread stands still; or the caller is
            a function that the client itself calls, and would wait for itself.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise NoAnswerError("a function that the client calls must not call the client")
        if sys.is_finalizing():
            coroutine.close()
            raise NoAnswerError("the interpreter is ending")
        call = _Call(coroutine)
        try:
            self._loop.call_soon_threadsafe(call.start)  # Ctrl-C may come as soon as it has begun
            return call.result()
        except asyncio.CancelledError:
            raise NoAnswerError("the client is closed") from None
        finally:
            if not call.has_ended:
                # Ctrl-C while waiting: the request must not go on behind the user's back.
                self._loop.call_soon_threadsafe(call.cancel)

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
        turn = asyncio.Lock()  # a step that Ctrl-C has cancelled may take a while to end

        async def following() -> Any:
            async with turn:
                return await anext(stream, end)

        async def closing() -> None:
            async with turn:
                await stream.aclose()

        try:
            while (item := self._run(following())) is not end:
                yield item
        finally:
            with suppress(NoAnswerError):  # then nothing goes on that must be ended
                self._run(closing())

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
