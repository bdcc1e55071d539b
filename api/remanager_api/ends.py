"""Waiting for the ends of tasks: few questions, however many wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from remanager_api import patience
from remanager_api.outcomes import Outcome
from remanager_api.patience import Asker
from remanager_api.states import NOT_FOUND

GROUP = 250
"""Tasks of one question: it is asked again at each end, with all that are left."""

Look = Callable[[list[str]], Awaitable[list[Outcome]]]
"""Waits for the end of some tasks for a while, and returns those that have ended."""

_Future = asyncio.Future[Outcome]


class _Group:
    """Those who wait for the same question."""

    def __init__(self, look: Look, waiters: Sequence[tuple[str, _Future]]) -> None:
        self._look = look
        self._waiters: dict[str, set[_Future]] = {}
        for uid, future in waiters:
            self._waiters.setdefault(uid, set()).add(future)
        self._runner = asyncio.create_task(self._run())

    async def leave(self, uid: str, future: _Future) -> None:
        """Wait no more. The last one ends the question, so that nothing stays behind."""
        self._waiters.get(uid, set()).discard(future)
        if not any(self._waiters.values()) and not self._runner.done():
            self._runner.cancel()
            await asyncio.wait([self._runner])

    async def _run(self) -> None:
        try:
            while left := [uid for uid, futures in self._waiters.items() if futures]:
                for outcome in await self._look(left):
                    for future in self._waiters.pop(outcome.task_uid, ()):
                        if not future.done():
                            future.set_result(outcome)
        except asyncio.CancelledError:
            self._fail(RuntimeError("the client is closed"))
        except Exception as exc:  # noqa: BLE001 - it is raised where somebody waits
            self._fail(exc)

    def _fail(self, fault: Exception) -> None:
        for futures in self._waiters.values():
            for future in futures:
                if not future.done():
                    future.set_exception(fault)


class EndWatch:
    """Tells those who wait of the ends of their tasks.

    Those who begin to wait in the same turn of the event loop share a question.

    Parameters
    ----------
    look : callable
        Asks the manager, see :data:`Look`.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._loop: asyncio.AbstractEventLoop | None = None
        self._new: list[tuple[str, _Future]] = []
        self._groups: dict[_Future, _Group] = {}

    async def end(self, task_uid: str) -> Outcome:
        """Wait for the end of a task; return at once if it has ended or is not known.

        Raises
        ------
        RequestTimeoutError, HTTPRequestError
            The manager was away for too long.
        RequestFailedError
            It refused to answer.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # another one has ended, with all that waited in it
            self._loop, self._new, self._groups = loop, [], {}
        future: _Future = loop.create_future()
        if not self._new:
            loop.call_soon(self._begin)
        self._new.append((task_uid, future))
        try:
            return await future
        finally:
            if future in self._groups:
                await self._groups.pop(future).leave(task_uid, future)

    def _begin(self) -> None:
        """Make groups of those who came in this turn of the loop; some may have left again."""
        new, self._new = [(uid, f) for uid, f in self._new if not f.done()], []
        for first in range(0, len(new), GROUP):
            waiters = new[first : first + GROUP]
            group = _Group(self._look, waiters)
            self._groups.update((future, group) for _, future in waiters)


async def ended(asker: Asker, uids: list[str]) -> list[Outcome]:
    """Wait for the end of one of the tasks for a while; return the outcomes of those that have ended."""
    reply = await asker.ask("task_wait", wait_s=patience.SLICE_S, task_uid=uids, until="any")
    over = [*reply["done"], *reply["not_found"]]
    return await outcomes_of(asker, over) if over else []


async def outcomes_of(asker: Asker, uids: list[str]) -> list[Outcome]:
    """Return what has become of tasks so far, at most 1000 of them."""
    results = (await asker.ask("task_result_batch", task_uid=uids))["results"]
    found = [Outcome.of(uid, results[uid]["state"], results[uid]["result"]) for uid in uids]
    if unexplained := [o.task_uid for o in found if o.ok is False and not o.msg and o.state != NOT_FOUND]:
        # What was cancelled or left out has no result that could say why: the record does.
        fields = ["task_uid", "state_reason"]
        selector = {"task_uid": unexplained}
        records = await asker.ask("task_list", selector=selector, fields=fields, limit=len(unexplained))
        reasons = {record["task_uid"]: record["state_reason"] for record in records["tasks"]}
        found = [replace(o, msg=o.msg or reasons.get(o.task_uid, "")) for o in found]
    return found
