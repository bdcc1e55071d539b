"""Drives a manager through the demonstration and keeps a picture of what goes on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from remanager.demo.work import FUNCTION, FUNCTION_NOTE, SCRIPT, SCRIPT_NOTE, STEPS
from remanager_api.transport import TOPIC_CONSOLE
from remanager_api.zmq.aio import REManagerAPI

LOOK_S = 0.1
OPEN_TIMEOUT_S = 60.0
TASK_TIMEOUT_S = 20.0
QUEUE_TIMEOUT_S = 120.0
CONSOLE_LINES = 200


@dataclass(frozen=True, slots=True)
class Task:
    """A function or script that has ended.

    Attributes
    ----------
    name, note : str
        What it is, and what it shows.
    status : str
        ``completed`` or ``failed``.
    seconds : float
        How long it took.
    """

    name: str
    note: str
    status: str
    seconds: float


@dataclass(slots=True)
class Picture:
    """What the demonstration knows of the manager, for those who show it.

    Attributes
    ----------
    phase : str
        What the demonstration is doing.
    status : dict
        Last status of the manager.
    running : dict
        Running item; empty if there is none.
    queue, history : list of dict
        Items that wait and that have ended.
    tasks : list of Task
        Functions and scripts that have ended.
    console : deque of str
        Last lines of console output.
    problems : list of str
        What did not go as expected.
    """

    phase: str = "starting"
    status: dict[str, Any] = field(default_factory=dict)
    running: dict[str, Any] = field(default_factory=dict)
    queue: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    console: deque[str] = field(default_factory=lambda: deque(maxlen=CONSOLE_LINES))
    problems: list[str] = field(default_factory=list)

    def progress(self) -> tuple[int, int | None] | None:
        """Return points done and in total of the running plan; None if the manager does not say."""
        progress = self.status.get("progress")
        if not isinstance(progress, dict) or progress.get("done_count") is None:
            return None
        return progress["done_count"], progress.get("total_count")


Show = Callable[[Picture], None]


async def _follow_console(api: REManagerAPI, picture: Picture) -> None:
    """Collect console output; it comes in pieces, not in lines."""
    rest = ""
    async for message in api.info_stream([TOPIC_CONSOLE]):
        *lines, rest = (rest + str(message.msg)).split("\n")
        picture.console.extend(line.rstrip("\r") for line in lines if line.strip())


async def _look(api: REManagerAPI, picture: Picture) -> None:
    """Bring the picture up to date, asking only for what has changed."""
    before, status = picture.status, await api.status(reload=True)
    if status["plan_queue_uid"] != before.get("plan_queue_uid"):
        reply = await api.queue_get()
        picture.queue, picture.running = reply["items"], reply["running_item"]
    if status["plan_history_uid"] != before.get("plan_history_uid"):
        picture.history = (await api.history_get())["items"]
    picture.status = status


async def _until(
    api: REManagerAPI, picture: Picture, show: Show, done: Callable[[Picture], bool], limit_s: float
) -> None:
    """Look again and again until something has happened."""
    deadline = monotonic() + limit_s
    while True:
        await _look(api, picture)
        show(picture)
        if done(picture):
            return
        if monotonic() > deadline:
            raise TimeoutError(f"{picture.phase}: not done within {limit_s:g} s")
        await asyncio.sleep(LOOK_S)


def _is_idle(picture: Picture) -> bool:
    return bool(picture.status["manager_state"] == "idle")


async def _open_environment(api: REManagerAPI, picture: Picture, show: Show) -> None:
    picture.phase = "opening the environment"
    await api.environment_open()
    await _until(api, picture, show, _is_idle, OPEN_TIMEOUT_S)
    if not picture.status["worker_environment_exists"]:
        raise RuntimeError("the environment did not open")


async def _run_task(
    api: REManagerAPI, picture: Picture, show: Show, name: str, note: str, reply: dict[str, Any]
) -> None:
    picture.phase = name
    show(picture)
    uid = reply["task_uid"]
    await api.wait_for_completed_task(uid, timeout=TASK_TIMEOUT_S)
    result = (await api.task_result(uid))["result"]
    if not result.get("success"):
        picture.problems.append(f"{name}: {result.get('msg')}")
    status = "completed" if result.get("success") else "failed"
    picture.tasks.append(Task(name, note, status, result["time_stop"] - result["time_start"]))
    await _until(api, picture, show, _is_idle, TASK_TIMEOUT_S)


async def _run_queue(api: REManagerAPI, picture: Picture, show: Show) -> None:
    picture.phase = "running the queue"
    await api.queue_mode_set(ignore_failures=True)
    await api.item_add_batch([step.item for step in STEPS])
    await api.queue_start()
    await _until(
        api, picture, show, lambda p: _is_idle(p) and not p.status["items_in_queue"], QUEUE_TIMEOUT_S
    )


def compare(picture: Picture) -> None:
    """Compare the history with what was expected and note what is different."""
    if len(picture.history) != len(STEPS):
        picture.problems.append(f"the history has {len(picture.history)} items, expected {len(STEPS)}")
    for step, item in zip(STEPS, picture.history, strict=False):
        result = item["result"]
        if item["name"] != step.item.name:
            picture.problems.append(f"{item['name']} ran where {step.item.name} was expected")
        elif result["exit_status"] != step.expected:
            reason = result["msg"] or "no error"
            picture.problems.append(
                f"{item['name']}: {result['exit_status']}, expected {step.expected}: {reason}"
            )
        elif not result["run_uids"]:
            picture.problems.append(f"{item['name']}: no run")


async def drive(api: REManagerAPI, picture: Picture, show: Show) -> None:
    """Open the environment, run a function, a script and the queue, and compare the outcome.

    Parameters
    ----------
    api : REManagerAPI
        Client of an idle manager with the simulated instrument.
    picture : Picture
        Kept up to date; ``problems`` holds at the end what did not go as expected.
    show : callable
        Called with the picture after each look at the manager.

    Raises
    ------
    TimeoutError
        Something took too long.
    RequestFailedError
        The manager refused a request.
    """
    follower = asyncio.ensure_future(_follow_console(api, picture))
    try:
        await _open_environment(api, picture, show)
        reply = await api.function_execute(FUNCTION)
        await _run_task(api, picture, show, FUNCTION.name, FUNCTION_NOTE, reply)
        await _run_task(api, picture, show, "script", SCRIPT_NOTE, await api.script_upload(SCRIPT))
        await _run_queue(api, picture, show)
        compare(picture)
        picture.phase = "closing the environment"
        await api.environment_close()
        await _until(api, picture, show, _is_idle, TASK_TIMEOUT_S)
        picture.phase = "done"
        show(picture)
    finally:
        follower.cancel()
        with suppress(asyncio.CancelledError):
            await follower
