"""A future that wakes whoever waits for it at once, not in the next turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, Self, TypeVar

T = TypeVar("T")


class PromptFuture(asyncio.Future[T]):
    """A future whose callbacks, the tasks that await it among them, run when it is resolved.

    It must be resolved by the event loop itself, never in the midst of a task. An exception of a callback
    goes to the exception handler of the loop, as it does with other callbacks.
    """

    _waiting: list[tuple[Callable[[Any], object], Context]] | None = None

    def add_done_callback(self, fn: Callable[[Self], object], /, *, context: Context | None = None) -> None:
        """Call ``fn`` with this future once it is resolved."""
        if self.done():
            super().add_done_callback(fn, context=context)
            return
        if self._waiting is None:
            self._waiting = []
        self._waiting.append((fn, context or copy_context()))

    def remove_done_callback(self, fn: Callable[[Self], object], /) -> int:
        """Forget a callback; return how often it was to be called."""
        kept = [entry for entry in self._waiting or () if entry[0] != fn]
        removed = len(self._waiting or ()) - len(kept)
        self._waiting = kept
        return removed + super().remove_done_callback(fn)

    def set_result(self, result: T, /) -> None:
        """Resolve the future."""
        super().set_result(result)
        self._call_back()

    def set_exception(self, exception: type[BaseException] | BaseException, /) -> None:
        """Let the future fail."""
        super().set_exception(exception)
        self._call_back()

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the future; whoever waits learns of it in the next turn, since a task may have done this."""
        if not super().cancel(msg):
            return False
        waiting, self._waiting = self._waiting or [], None
        for fn, context in waiting:
            self.get_loop().call_soon(fn, self, context=context)
        return True

    def _call_back(self) -> None:
        waiting, self._waiting = self._waiting or [], None
        for fn, context in waiting:
            try:
                context.run(fn, self)
            except Exception as exc:  # noqa: BLE001 - as asyncio does with what a callback raises
                handler = {"message": f"Exception in callback {fn!r}", "exception": exc, "future": self}
                self.get_loop().call_exception_handler(handler)
