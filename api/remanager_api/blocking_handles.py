"""Blocking handles: the asynchronous ones, whose methods wait for the answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from remanager_api.faces import Face, Mirrored, blocking, iterating
from remanager_api.handles import TaskHandle
from remanager_api.states import status_word

P = ParamSpec("P")


def giving(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, TaskHandle]],
) -> Callable[Concatenate[Any, P], BlockingTaskHandle]:
    """Make a blocking method that returns a blocking handle."""
    call = blocking(method)

    @wraps(method)
    def give(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> BlockingTaskHandle:
        return BlockingTaskHandle(call(self, *args, **kwargs), self._run)

    return give


def giving_each(
    method: Callable[Concatenate[Any, P], AsyncIterator[TaskHandle]],
) -> Callable[Concatenate[Any, P], Iterator[BlockingTaskHandle]]:
    """Make a method that returns an iterator of blocking handles."""
    call = iterating(method)

    @wraps(method)
    def give(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[BlockingTaskHandle]:
        for handle in call(self, *args, **kwargs):
            yield BlockingTaskHandle(handle, self._run)

    return give


def made(
    method: Callable[Concatenate[Any, P], TaskHandle],
) -> Callable[Concatenate[Any, P], BlockingTaskHandle]:
    """Make a method that returns a blocking handle of one that asks nobody."""
    name = method.__name__

    @wraps(method)
    def give(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> BlockingTaskHandle:
        return BlockingTaskHandle(getattr(self._source, name)(*args, **kwargs), self._run)

    return give


class BlockingTaskHandle(Face):
    """A plan, task, function or script that was submitted; its methods wait for the answers.

    It outlives the manager, and ``RM.task(uid)`` makes another one like it.
    """

    task_uid = Mirrored[str](TaskHandle.task_uid)
    name = Mirrored[str](TaskHandle.name)

    def __repr__(self) -> str:
        return repr(self._source).replace(TaskHandle.__name__, type(self).__name__, 1)

    def _repr_html_(self) -> str:
        return str(self._source._repr_html_())

    def __eq__(self, other: object) -> bool:
        return self._source == other._source if isinstance(other, BlockingTaskHandle) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._source)

    @property
    def status(self) -> str:
        """``running`` (not over), ``completed`` (over) or ``not_found``, as the manager says now."""
        return status_word(self.state())

    state = blocking(TaskHandle.state)
    outcome = blocking(TaskHandle.outcome)
    info = blocking(TaskHandle.info)
    wait = blocking(TaskHandle.wait)
    result = blocking(TaskHandle.result)
    progress = iterating(TaskHandle.progress)
    cancel = blocking(TaskHandle.cancel)
    retry = giving(TaskHandle.retry)
