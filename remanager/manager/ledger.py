"""Transactions as the services write them: writes, journal events, and what happens after the commit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from remanager.manager.ports import Clock
from remanager.model.principal import asked_by
from remanager.store.prompt import PromptFuture
from remanager.store.records import JournalEvent, Write
from remanager.store.store import Store
from remanager.store.writes import setting_set

logger = logging.getLogger(__name__)

NO_ROOM = (
    "The disk of the state directory is full: nothing can be changed. Make room; "
    "changes are accepted again by themselves."
)

Effect = Callable[[], None]


def name_principal(data: dict[str, object]) -> None:
    """Let the data of an event name who asked, where a request is the cause."""
    principal = asked_by.get()
    if principal is not None:
        data["principal"] = principal


class Batch:
    """One transaction in the making."""

    __slots__ = ("_clock", "effects", "events", "writes")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.writes: list[Write] = []
        self.events: list[JournalEvent] = []
        self.effects: list[Effect] = []

    def write(self, *writes: Write) -> None:
        """Add statements."""
        self.writes.extend(writes)

    def setting(self, key: str, value: object) -> None:
        """Add a setting (any JSON value)."""
        self.writes.append(setting_set(key, value))

    def event(self, kind: str, task_uid: str | None = None, **data: object) -> None:
        """Add a journal event; it names who asked, where a request is the cause."""
        name_principal(data)
        self.events.append(JournalEvent(kind, self._clock(), task_uid, data))

    def after(self, effect: Effect) -> None:
        """Call ``effect`` once the transaction is on disk."""
        self.effects.append(effect)


class Ledger:
    """Commits transactions in the order in which they are handed in.

    Parameters
    ----------
    store : Store
        Where they go.
    clock : callable
        Wall clock, s, for journal events.
    touch : callable
        Called when the status may have changed.
    on_fault : callable
        Called with the error of a transaction that failed: memory is ahead of the disk then, so the process
        must end; its successor starts from what is on disk.

    Attributes
    ----------
    no_room : str
        Why transactions wait: what is said to those who ask for changes while the disk is full; else empty.
    on_committed : callable
        Called with the number of the last event and all events of each transaction that has some.
    """

    def __init__(
        self, store: Store, clock: Clock, touch: Effect, on_fault: Callable[[BaseException], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._on_fault = on_fault
        self._last: asyncio.Future[int] | None = None
        self._held_up: asyncio.Future[None] | None = None
        self.no_room = ""
        self.touch = touch
        self.on_committed: Callable[[int, Sequence[JournalEvent]], None] = lambda _seq, _events: None

    def batch(self) -> Batch:
        """Begin a transaction."""
        return Batch(self._clock)

    def commit(self, batch: Batch) -> asyncio.Future[int]:
        """Hand in a transaction.

        Returns
        -------
        asyncio.Future
            Done when the transaction is on disk and its effects have been called. Cancelling it, or whoever
            waits for it, changes nothing.
        """
        try:
            future = self._last = self._store.enqueue(batch.writes, batch.events)
        except Exception as exc:
            self._on_fault(exc)
            raise
        effects, events = batch.effects, batch.events
        waiter: PromptFuture[int] = PromptFuture(loop=future.get_loop())

        def done(future: asyncio.Future[int]) -> None:
            error = future.exception()
            try:
                if error is not None:
                    raise error
                for effect in effects:
                    effect()
                if events:
                    self.on_committed(future.result(), events)
            except Exception as exc:  # noqa: BLE001 - memory and disk differ now: the process must end
                self._on_fault(exc)
            if waiter.done():
                return  # cancelled
            if error is None:
                waiter.set_result(future.result())
            else:
                waiter.set_exception(error)

        future.add_done_callback(done)
        return waiter

    async def settle(self, batch: Batch) -> None:
        """Hand in a transaction of the manager's own and wait until it is on disk, but not on a full one."""
        done = self.commit(batch)
        await self._wait(done)
        if done.done():
            done.result()

    async def flush(self) -> None:
        """Wait until everything that was handed in so far is on disk, so that reads see it.

        On a full disk reads see what is there.
        """
        if self._last is not None and not self._last.done():
            await self._wait(self._last)

    def on_room(self, has_room: bool) -> None:
        """Take note that the disk was full at the start, or has room again."""
        self.no_room = "" if has_room else NO_ROOM
        if has_room:
            self._held_up = None
            logger.warning("There is room on the disk again: changes are accepted")
        else:
            logger.error("%s", NO_ROOM)
            if self._held_up is not None:
                self._held_up.set_result(None)
        self.touch()

    async def _wait(self, stored: asyncio.Future[int]) -> None:
        if self.no_room:
            return
        if self._held_up is None:
            self._held_up = asyncio.get_running_loop().create_future()
        either: list[asyncio.Future[Any]] = [stored, self._held_up]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
