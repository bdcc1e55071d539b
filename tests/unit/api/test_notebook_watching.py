"""Watching the manager: what is asked, what is shown, when it ends."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from remanager_api import RequestFailedError, RequestTimeoutError
from remanager_api.notebook.screens import Cell, PlainLines, is_notebook, open_screen
from remanager_api.notebook.watching import Picture, Watch, uids_of
from remanager_api.transport import InfoMessage

COUNT = {"item_type": "plan", "name": "count", "args": [["diode"]], "kwargs": {}, "item_uid": "p1"}
IDLE = {
    "msg": "M",
    "manager_state": "idle",
    "items_in_queue": 0,
    "plan_queue_uid": "q0",
    "plan_history_uid": "h0",
}
RUNNING = {
    **IDLE,
    "manager_state": "executing_queue",
    "items_in_queue": 1,
    "plan_queue_uid": "q1",
    "running_item_uid": "p1",
    "progress": {"done_count": 1, "total_count": 4, "eta_s": 3.0},
}
FURTHER = {**RUNNING, "progress": {"done_count": 3, "total_count": 4, "eta_s": 1.0}}
ENDED = {
    **COUNT,
    "result": {"exit_status": "completed", "time_start": 1.0, "time_stop": 3.0, "scan_ids": [4]},
}


class Manager:
    """A client whose manager goes through a list of states; each look at the status goes one further."""

    def __init__(self, steps: Iterable[Any], *, refused: Iterable[str] = (), **replies: Any) -> None:
        self.steps = list(steps)
        self.step = -1
        self.refused = set(refused)
        self.busy: set[str] = set()
        self.replies = replies
        self.asked: list[str] = []
        self.published: list[str] = []
        self.heard = asyncio.Event()

    async def send_request(self, *, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        self.asked.append(method)
        request = {"method": method, "params": params or {}}
        if method in self.busy:
            self.busy.discard(method)
            raise RequestFailedError(request, {"success": False, "msg": "later", "code": "busy"})
        if method in self.refused or ("limit" in self.refused and "limit" in (params or {})):
            raise RequestFailedError(request, {"success": False, "msg": "unknown"})
        if method == "status":
            self.step = min(self.step + 1, len(self.steps) - 1)
            step = self.steps[self.step]
            if isinstance(step, Exception):
                raise step
            return {"success": True, **step}
        if method == "queue_get":
            running = COUNT if self.steps[self.step].get("running_item_uid") else {}
            return {"running_item": running, "items": [{"name": "scan", "item_uid": "p2"}]}
        if method == "history_get":
            ended = [ENDED] if self.steps[self.step]["plan_history_uid"] != "h0" else []
            return {"items": [{**COUNT, "item_uid": "old", "result": {"time_stop": 0.5}}, *ended]}
        if method == "console_get":
            since = (params or {})["since"]
            lines = [{"msg": f"line {self.step}\n"}] if since == self.step else []
            return {"lines": lines, "next_seq": self.step + 1}
        reply: dict[str, Any] = self.replies[method]
        return reply

    async def info_stream(self, _topics: list[str]) -> AsyncIterator[InfoMessage]:
        for text in self.published:
            yield InfoMessage("QS_Console", 0.0, text)
        self.heard.set()
        await asyncio.Event().wait()


def lines_of(picture: Picture, screen: PlainLines, stream: io.StringIO) -> list[str]:
    before = len(stream.getvalue())
    screen.show(picture)
    return stream.getvalue()[before:].splitlines()


async def watched(manager: Manager, *uids: str) -> list[str]:
    """Return what is told in lines, picture by picture."""
    stream = io.StringIO()
    screen = PlainLines(stream)
    told = [lines_of(p, screen, stream) async for p in Watch(manager, uids).pictures(0.0)]  # type: ignore[arg-type]
    return ["; ".join(lines) for lines in told]


async def test_a_plan_is_watched_to_its_end() -> None:
    manager = Manager([RUNNING, FURTHER, {**IDLE, "plan_history_uid": "h1"}])
    assert await watched(manager) == [
        "executing_queue, 1 in the queue; running: count(['diode']);   1/4 points, about 3 s left",
        "| line 1;   3/4 points, about 1 s left",
        "| line 2; completed: count(['diode']); idle, 0 in the queue",
    ]
    assert manager.asked.count("queue_get") == 2
    assert manager.asked.count("history_get") == 2


async def test_a_manager_that_is_busy_for_a_moment_is_asked_again() -> None:
    tasks = {"tasks": [{"task_uid": "t1", "name": "fit", "state": "completed", "class": "success"}]}
    manager = Manager([IDLE], task_list=tasks, task_status={"status": {"t1": "running"}})
    manager.busy = {"task_list"}
    await watched(manager, "t1")
    assert manager.asked.count("task_status") == 1
    assert manager.asked.count("task_list") == 2


async def test_a_manager_without_pages_and_console() -> None:
    manager = Manager([RUNNING, {**IDLE, "plan_history_uid": "h1"}], refused=["limit", "console_get"])
    manager.published = ["one\ntw", "o\nthr"]
    pictures = []
    async for picture in Watch(manager, []).pictures(0.0):  # type: ignore[arg-type]
        pictures.append(picture)
        await manager.heard.wait()
    assert list(pictures[-1].console) == ["one", "two"]
    assert [item["item_uid"] for item in pictures[-1].ended] == ["p1"]
    assert manager.asked.count("console_get") == 1


async def test_it_ends_at_once_when_nothing_runs() -> None:
    assert await watched(Manager([IDLE])) == ["idle, 0 in the queue"]


async def test_it_ends_when_a_plan_is_paused() -> None:
    paused = {**RUNNING, "manager_state": "paused"}
    assert len(await watched(Manager([RUNNING, paused, RUNNING]))) == 2


async def test_tasks_that_run_or_could_run_are_waited_for() -> None:
    running, ready = {**IDLE, "tasks_running": 1}, {**IDLE, "tasks_queued": 1}
    progress = [{"task_uid": "t", "task_type": "add", "best": 0.5}]
    manager = Manager([running, ready, IDLE], task_progress={"progress": progress}, queue_status={"ready": 1})
    assert len(await watched(manager)) == 3
    later = Manager([running, ready], task_progress={"progress": progress}, queue_status={"ready": 0})
    assert len(await watched(later)) == 2


async def test_particular_tasks_are_watched() -> None:
    record = {"task_uid": "t1", "name": "add", "state": "completed", "class": "success"}
    manager = Manager([RUNNING], task_list={"tasks": [record]})
    told = await watched(manager, "t1", "t2")
    assert len(told) == 1
    assert "add() (t1): completed" in told[0]
    assert "(t2): not found" in told[0]


async def test_particular_tasks_of_a_manager_that_has_no_records() -> None:
    steps = [RUNNING, {**IDLE, "plan_history_uid": "h1"}]
    words = {"t1": "completed", "p1": "not_found"}
    manager = Manager(steps, refused=["task_list"], task_status={"status": words})
    told = await watched(manager, "t1", "p1")
    assert len(told) == 2
    assert "task() (t1): completed" in told[0]
    assert "count(['diode']) (p1): running" in told[0]
    assert "count(['diode']) (p1): completed" in told[1]


async def test_a_manager_that_is_away_meanwhile_is_waited_for() -> None:
    away = RequestTimeoutError("no answer", {"method": "status", "params": {}})
    told = await watched(Manager([RUNNING, away, IDLE]))
    assert told[1] == "Request timeout: no answer"
    assert len(told) == 3
    with pytest.raises(RequestTimeoutError):
        await watched(Manager([away]))


def test_what_can_be_watched() -> None:
    class Handle:
        task_uid = "h"

    assert uids_of("u") == ["u"]
    assert uids_of([{"task_uid": "t"}, ({"item": {"item_uid": "i"}}, Handle())]) == ["t", "i", "h"]
    with pytest.raises(TypeError, match="not 3"):
        uids_of(3)


def test_console_output_comes_in_pieces() -> None:
    picture = Picture()
    for piece in ("a", "b\nc\r", "dd\n", "progress 1\rprogress 2", "\n"):
        picture.hear(piece)
    assert list(picture.console) == ["ab", "dd", "progress 2"]
    assert picture.heard == 3


def test_a_picture_shows_everything() -> None:
    picture = Picture(
        status=FURTHER,
        running=COUNT,
        waiting=[{"name": "scan"}],
        tasks=[{"task_uid": "t", "name": "add", "state": "running", "progress": {"best": 0.25}}],
        ended=[ENDED],
        problem="no answer",
    )
    picture.hear("\x1b[31mhello <b>\n")
    text, html = repr(picture), picture._repr_html_()
    for words in ("count(['diode'])", "3/4 points", "1 waiting: scan", "25 %", "completed", "no answer"):
        assert words in text
    assert "hello &lt;b&gt;" in html
    assert "\x1b" not in html + text
    assert "width:75.0%" in html


def test_the_cell_of_a_notebook_is_updated_when_something_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str]] = []

    class Handle:
        def update(self, shown: Any) -> None:
            calls.append(("update", shown._repr_html_()))

    def display(shown: Any, *, display_id: bool) -> Handle:
        assert display_id
        calls.append(("display", repr(shown)))
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    cell, picture = Cell(), Picture(status=RUNNING, running=COUNT)
    cell.show(picture)
    cell.show(picture)
    picture.status = FURTHER
    cell.show(picture)
    cell.close()
    assert [what for what, _ in calls] == ["display", "update"]
    assert "1/4 points" in calls[0][1]
    assert "3/4 points" in calls[1][1]


def test_a_terminal_is_drawn_anew() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    screen = open_screen(stream)
    screen.show(Picture(status=RUNNING, running=COUNT))
    screen.show(Picture(status=FURTHER, running=COUNT))
    screen.close()
    assert "3/4 points" in stream.getvalue()
    assert isinstance(open_screen(io.StringIO()), PlainLines)
    assert not is_notebook()
