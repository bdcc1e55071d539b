"""Watching the manager: what runs, how far it is, what waits, what has ended, what was written."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from remanager_api.core import AsyncCore
from remanager_api.errors import (
    HTTPClientError,
    HTTPError,
    RequestFailedError,
    RequestParameterError,
    RequestTimeoutError,
)
from remanager_api.notebook.blocks import Cell, Lines, Note, Pairs, Part, Tone, View
from remanager_api.notebook.queue_views import history_table, plan_bar, status_marks
from remanager_api.notebook.shown import Shown
from remanager_api.notebook.task_views import progress_table, task_table
from remanager_api.notebook.values import call, mapping, mappings, number, sequence, short
from remanager_api.transport import TOPIC_CONSOLE

_PAGE = 20
_MAX_TASKS = 1000
_END = 2**62
"""Beyond the number of any piece of console output: the answer says where it ends now."""
_CONSOLE_LINES = 200
_CONSOLE_SHOWN = 8
_ENDED_SHOWN = 10
_WAITING_SHOWN = 3
_RESTING = ("idle", "paused")
_ACTIVE_WORDS = ("running", "pending")
_REFUSALS = (RequestFailedError, RequestParameterError, HTTPClientError)
_PASSING = ("busy", "cancelled")
"""Codes of refusals of a manager that is overloaded, or stopping and perhaps restarted."""


@dataclass(slots=True, repr=False)
class Picture(Shown):
    """What is known at a time.

    Attributes
    ----------
    status : Mapping
        Status of the manager.
    running : Mapping
        Running item; empty if there is none.
    waiting : sequence of Mapping
        First items of the queue.
    tasks : sequence of Mapping
        Records of the tasks that are watched.
    progress : sequence of Mapping
        How far the running tasks are, if none in particular are watched.
    ended : sequence of Mapping
        Items of the history that have ended meanwhile.
    console : deque of str
        Last lines of console output.
    heard : int
        Number of all lines of console output.
    problem : str
        Why the picture is not up to date; empty if it is.
    over : bool
        Whether there is nothing more to watch.
    """

    status: Mapping[str, Any] = field(default_factory=dict)
    running: Mapping[str, Any] = field(default_factory=dict)
    waiting: Sequence[Mapping[str, Any]] = ()
    tasks: Sequence[Mapping[str, Any]] = ()
    progress: Sequence[Mapping[str, Any]] = ()
    ended: list[Mapping[str, Any]] = field(default_factory=list)
    console: deque[str] = field(default_factory=lambda: deque(maxlen=_CONSOLE_LINES))
    heard: int = 0
    problem: str = ""
    over: bool = False
    _rest: str = ""

    def hear(self, text: str) -> None:
        """Take a piece of console output; it comes in pieces, not in lines."""
        *lines, self._rest = (self._rest + text)[-100_000:].split("\n")
        self.heard += len(lines)
        # Of a line that was written over, the last state is shown.
        self.console.extend(line.rstrip("\r").rpartition("\r")[2] for line in lines)

    def _view(self) -> View:
        rows: list[tuple[str, Cell]] = []
        if self.running:
            rows.append(("running", call(self.running)))
            bar = plan_bar(mapping(self.status.get("progress")))
            rows += [("progress", bar)] if bar else []
        rows.append(("queue", self._queue()))
        parts: list[Part] = [Pairs(rows)]
        if self.problem:
            parts.insert(0, Note(self.problem, Tone.BAD))
        if self.tasks:
            parts.append(task_table(self.tasks, len(self.tasks), "tasks"))
        if self.progress:
            parts.append(progress_table(self.progress, "running tasks"))
        if self.ended:
            shown = self.ended[: -_ENDED_SHOWN - 1 : -1]
            parts.append(history_table(shown, len(self.ended), "ended"))
        if self.console:
            parts.append(Lines(list(self.console)[-_CONSOLE_SHOWN:], "console"))
        return View(short(self.status.get("msg")) or "Manager", status_marks(self.status), parts)

    def _queue(self) -> str:
        total = int(number(self.status.get("items_in_queue")) or 0)
        if not total:
            return "empty"
        names = ", ".join(short(item.get("name")) for item in self.waiting[:_WAITING_SHOWN])
        more = ", ..." if total > len(self.waiting[:_WAITING_SHOWN]) else ""
        return f"{total} waiting: {names}{more}" if names else f"{total} waiting"


def uids_of(target: object) -> list[str]:
    """Return the UIDs of what is to be watched.

    Parameters
    ----------
    target : object
        UID; reply to a submission; handle; or a list of these.

    Raises
    ------
    TypeError
        It is nothing of that.
    """
    if isinstance(target, str):
        return [target]
    if isinstance(target, Mapping):
        found = (
            target.get("task_uid") or mapping(target.get("item")).get("item_uid") or target.get("item_uid")
        )
        if isinstance(found, str):
            return [found]
    elif isinstance(target, list | tuple):
        return [uid for entry in target for uid in uids_of(entry)]
    elif isinstance(uid := getattr(target, "task_uid", None), str):
        return [uid]
    raise TypeError(f"a UID, a reply to a submission, a handle or a list of these is watched, not {target!r}")


class Watch:
    """Looks at the manager again and again.

    Parameters
    ----------
    client : AsyncCore
        Client of the manager.
    uids : sequence of str
        Tasks and plans to watch until they have ended, at most 1000; none: all, until nothing runs or a
        plan is paused.
    """

    def __init__(self, client: AsyncCore, uids: Sequence[str]) -> None:
        self._client = client
        self._uids = list(dict.fromkeys(uids))[:_MAX_TASKS]
        self._refused: set[str] = set()
        self._known: set[tuple[object, object]] | None = None
        self._next_line = _END
        self._listening: asyncio.Task[None] | None = None
        self.picture = Picture()

    async def pictures(self, period_s: float) -> AsyncGenerator[Picture, None]:
        """Yield the picture after each look, until there is nothing more to watch.

        Parameters
        ----------
        period_s : float
            Time (s) between two looks.
        """
        try:
            while True:
                try:
                    await self._look()
                    self.picture.problem = ""
                except (RequestTimeoutError, HTTPError) as exc:
                    if not self.picture.status:
                        raise
                    self.picture.problem = str(exc)
                yield self.picture
                if self.picture.over:
                    return
                await asyncio.sleep(period_s)
        finally:
            if self._listening is not None:
                self._listening.cancel()
                await asyncio.wait([self._listening])

    async def _ask(self, method: str, /, **params: Any) -> Mapping[str, Any] | None:
        """Ask what not every manager knows; None if this one refuses: mostly it is not asked again."""
        if method in self._refused:
            return None
        try:
            reply = await self._client.send_request(method=method, params=params)
        except _REFUSALS as exc:
            reply = {"success": False, "code": getattr(exc, "code", None)}
        if reply.get("success") is False:
            if reply.get("code") not in _PASSING:
                self._refused.add(method)
            return None
        return reply

    async def _look(self) -> None:
        picture, before = self.picture, self.picture.status
        # What is written at the end of a plan comes before its end is told.
        status = await self._client.send_request(method="status")
        await self._look_at_console()
        if status.get("plan_queue_uid") != before.get("plan_queue_uid"):
            queue = await self._list("queue_get")
            picture.running = mapping(queue.get("running_item"))
            picture.waiting = mappings(queue.get("items"))
        if status.get("plan_history_uid") != before.get("plan_history_uid"):
            self._take_history(mappings((await self._list("history_get")).get("items")))
        picture.over = await (self._look_at_tasks(status) if self._uids else self._look_at_all(status))
        picture.status = status

    async def _list(self, method: str) -> Mapping[str, Any]:
        """Return the queue or the history: a page of it, or all from a manager that has no pages."""
        if "pages" not in self._refused:
            with suppress(*_REFUSALS):
                reply = await self._client.send_request(method=method, params={"limit": _PAGE})
                if reply.get("success") is not False:
                    return reply
            self._refused.add("pages")
        return await self._client.send_request(method=method)

    def _take_history(self, items: Sequence[Mapping[str, Any]]) -> None:
        newest = [((i.get("item_uid"), mapping(i.get("result")).get("time_stop")), i) for i in items[-_PAGE:]]
        if self._known is None:
            self._known = {key for key, _ in newest}
        self.picture.ended += [item for key, item in newest if key not in self._known]
        self._known |= {key for key, _ in newest}

    async def _look_at_all(self, status: Mapping[str, Any]) -> bool:
        """Look at the running tasks; return whether nothing runs any more."""
        self.picture.progress = ()
        if status.get("tasks_running"):
            reply = await self._ask("task_progress")
            uid = status.get("running_item_uid")
            entries = mappings(mapping(reply).get("progress"))
            self.picture.progress = [entry for entry in entries if entry.get("task_uid") != uid]
        if status.get("manager_state") not in _RESTING or status.get("tasks_running"):
            return False
        if not status.get("tasks_queued") or status.get("dispatch_paused"):
            return True
        # What waits for a time, such as the next occurrence of a schedule, is not waited for.
        reply = await self._ask("queue_status")
        return not mapping(reply).get("ready")

    async def _look_at_tasks(self, status: Mapping[str, Any]) -> bool:
        """Look at the tasks that are watched; return whether all have ended."""
        reply = await self._ask("task_list", selector={"task_uid": self._uids}, limit=_MAX_TASKS)
        if reply is not None:
            by_uid = {task.get("task_uid"): task for task in mappings(reply.get("tasks"))}
            unknown = {"state": "not found", "class": ""}
            self.picture.tasks = [by_uid.get(uid) or {**unknown, "task_uid": uid} for uid in self._uids]
            paused = status.get("manager_state") == "paused" and status.get("running_item_uid") in self._uids
            return paused or all(task.get("class") != "active" for task in self.picture.tasks)
        # A manager without records knows plans by the queue and its history, and all others by their status.
        reply = await self._client.send_request(method="task_status", params={"task_uid": self._uids})
        words = mapping(reply.get("status"))
        items = {item.get("item_uid"): item for item in self.picture.ended}
        states: dict[object, object] = {
            uid: mapping(item.get("result")).get("exit_status") for uid, item in items.items()
        }
        for item in self.picture.waiting:
            items[item.get("item_uid")], states[item.get("item_uid")] = item, "pending"
        if running := status.get("running_item_uid"):
            items[running], states[running] = self.picture.running, "running"
        self.picture.tasks = [
            {
                "name": "task",
                **items.get(uid, {}),
                "task_uid": uid,
                "state": states.get(uid) or words.get(uid),
            }
            for uid in self._uids
        ]
        return not any(task["state"] in _ACTIVE_WORDS for task in self.picture.tasks)

    async def _look_at_console(self) -> None:
        """Take the console output since the last look, from the manager or from what it publishes."""
        while (page := await self._ask("console_get", since=self._next_line)) is not None:
            lines = sequence(page.get("lines"))
            for line in mappings(lines):
                self.picture.hear(str(line.get("msg", "")))
            self._next_line = int(number(page.get("next_seq")) or 0)
            if not lines:
                return
        if self._listening is None:
            self._listening = asyncio.ensure_future(self._listen())

    async def _listen(self) -> None:
        async for message in self._client.info_stream([TOPIC_CONSOLE]):
            self.picture.hear(str(message.msg))
