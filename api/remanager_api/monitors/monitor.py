"""What the monitors have in common: a task that collects messages in a bounded buffer."""

# ruff: noqa: ASYNC109 - the names of the parameters are those of REManagerAPI

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from time import monotonic
from typing import Any

from remanager_api.errors import RequestTimeoutError
from remanager_api.transport import InfoMessage

Stream = Callable[[Iterable[str]], AsyncGenerator[InfoMessage]]


class Monitor:
    """Collects what the manager publishes under one topic.

    Parameters
    ----------
    stream : callable
        Takes topics, returns the messages that are published from then on.
    topic : str
        The topic.
    poll_timeout : float
        Time (s) for which a disabled monitor goes on, in case that it is enabled again.
    max_msgs : int
        Messages that are kept until they are read; newer ones are dropped. 0: none are kept.
    """

    def __init__(self, stream: Stream, topic: str, *, poll_timeout: float, max_msgs: int) -> None:
        self._stream = stream
        self._topic = topic
        self._poll_timeout = poll_timeout
        self._max_msgs = max(max_msgs, 0)
        self._messages: queue.Queue[dict[str, Any]] = queue.Queue(self._max_msgs)
        self._enabled = False
        self._task: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()

    @property
    def _msg_queue(self) -> queue.Queue[dict[str, Any]]:
        """The messages that are kept, under the name by which programs have reached for them."""
        return self._messages

    @property
    def enabled(self) -> bool:
        """Whether messages are collected."""
        return self._enabled

    def enable(self) -> None:
        """Begin to collect messages, in the running event loop; what is left from before is dropped."""
        self._enabled = True
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self.clear()
            self._arrived = asyncio.Event()
            self._task = loop.create_task(self._collect())

    def disable(self) -> None:
        """Cease to collect messages; returns at once."""
        self._enabled = False
        if self._task is not None and not self._task.get_loop().is_closed():
            self._task.get_loop().call_later(self._poll_timeout, self._stop_if_disabled)

    def _stop_if_disabled(self) -> None:
        if not self._enabled and self._task is not None:
            self._task.cancel()

    async def disable_wait(self, *, timeout: float = 2) -> None:
        """Cease to collect messages and wait until nothing is under way.

        Parameters
        ----------
        timeout : float
            Longest time (s) to wait.

        Raises
        ------
        TimeoutError
            It has not ended in time.
        """
        self._enabled = False
        task = self._task
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            _, pending = await asyncio.wait([task], timeout=timeout)
            if pending:
                raise TimeoutError(f"the monitor has not ended within {timeout:g} s")
        self._task = None

    def clear(self) -> None:
        """Drop the messages that are kept."""
        with self._messages.mutex:
            self._messages.queue.clear()

    async def next_msg(self, timeout: float | None = None) -> dict[str, Any]:
        """Return the oldest message that is kept, and drop it.

        Parameters
        ----------
        timeout : float, optional
            Time (s) to wait for a message if there is none; default: not at all.

        Returns
        -------
        dict
            ``time`` (epoch seconds) and ``msg``.

        Raises
        ------
        RequestTimeoutError
            There is none.
        """
        deadline = monotonic() + (timeout or 0)
        while True:
            self._arrived.clear()
            try:
                return self._messages.get_nowait()
            except queue.Empty:
                left = deadline - monotonic()
            try:
                if left <= 0:
                    raise TimeoutError
                async with asyncio.timeout(left):
                    await self._arrived.wait()
            except TimeoutError:
                raise RequestTimeoutError(f"No message was received (timeout={timeout})", {}) from None

    def _take(self, message: InfoMessage) -> None:
        """Deal with a message that has arrived."""
        if self._max_msgs and not self._messages.full():
            self._messages.put_nowait({"time": message.time, "msg": message.msg})
            self._arrived.set()

    async def _collect(self) -> None:
        async with aclosing(self._stream([self._topic])) as messages:
            async for message in messages:
                if self._enabled:
                    self._take(message)
