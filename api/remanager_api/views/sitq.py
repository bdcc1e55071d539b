"""sitq: results, status records, statistics of a queue.

sitq knows ``pending``, ``processing``, ``completed`` and ``failed``. What its tutorial keeps in the client is
told by the manager here: nothing is guessed, and a task that is not known is not taken for one that waits.
"""

# ruff: noqa: ASYNC109 - the names of the parameters are those of sitq

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from remanager_api.client import AsyncClient
from remanager_api.items import BFunc
from remanager_api.views.native import (
    CANCELLED,
    DROPPED,
    FAILURE,
    NOT_FOUND,
    PAGE,
    QUEUED,
    SUCCESS,
    TERMINAL,
    UNDER_WAY,
    Answer,
    Record,
    counted,
    inverted,
    time_of,
)

PENDING = "pending"
PROCESSING = "processing"
COMPLETED = "completed"
FAILED = "failed"
ERROR = "error"
"""The word for a task about which the question failed, such as one that is not known."""

STATUS: Mapping[str, str] = {
    **dict.fromkeys(QUEUED, PENDING),
    **dict.fromkeys(UNDER_WAY, PROCESSING),
    **dict.fromkeys(SUCCESS, COMPLETED),
    **dict.fromkeys((*FAILURE, *CANCELLED, *DROPPED), FAILED),
}
"""Word of sitq by native state."""

STATES: Mapping[str, tuple[str, ...]] = inverted(STATUS)
"""Native states by word of sitq, for selectors."""

LONGEST_WAIT_S = 60.0
"""Longest wait of one request; longer ones are made of several."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a task that has ended.

    Attributes
    ----------
    task_id : str
        UID of the task.
    status : str
        ``success`` or ``failed``.
    value : object
        What the function returned.
    error, traceback : str or None
        What went wrong.
    enqueued_at, started_at, finished_at : datetime or None
        In UTC; ``enqueued_at`` is only known of a whole record.
    """

    task_id: str
    status: str
    value: Any = None
    error: str | None = None
    traceback: str | None = None
    enqueued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    def is_success(self) -> bool:
        """Tell whether the task succeeded."""
        return self.status == "success"

    def is_failed(self) -> bool:
        """Tell whether it ended in any other way."""
        return not self.is_success()


def result(task_uid: str, answer: Answer) -> Result | None:
    """Return the result from what ``task_result`` answers; None while there is none."""
    if answer["state"] not in TERMINAL:
        return None
    found = answer["result"] or {}
    good = STATUS[answer["state"]] == COMPLETED
    return Result(
        task_uid,
        "success" if good else "failed",
        value=found.get("return_value"),
        error=None if good else found.get("msg") or answer["state"],
        traceback=found.get("traceback") or None,
        started_at=time_of(found.get("time_start")),
        finished_at=time_of(found.get("time_stop")),
    )


def task_info(task: Record, value: Any = None) -> dict[str, Any]:
    """Return the status record of a task: what a tracker of the tutorial keeps.

    Parameters
    ----------
    value : object
        What the function returned.
    """
    status = STATUS[task["state"]]
    fault = task["last_error"]
    return {
        "task_id": task["task_uid"],
        "task_type": task["task_type"],
        "created_at": time_of(task["time_created"]),
        "status": status,
        "started_at": time_of(task["time_start"]),
        "finished_at": time_of(task["time_stop"]),
        "result": value if status == COMPLETED else None,
        "error": (fault["msg"] if fault else task["state_reason"] or task["state"])
        if status == FAILED
        else None,
    }


def status_report(
    statistics: Mapping[str, int], tasks: Mapping[str, Mapping[str, Any]], now: datetime
) -> str:
    """Return the report of the tutorial, with durations also of tasks that run.

    Parameters
    ----------
    statistics, tasks : mapping
        Statistics and status records, as a tracker returns them.
    now : datetime
        Until when the duration of a running task is told.
    """
    lines = ["=== Queue Statistics ===", f"Total Tasks: {statistics['total']}"]
    lines += [f"{word.title()}: {statistics[word]}" for word in (PENDING, PROCESSING, COMPLETED, FAILED)]
    lines += ["", "=== Individual Task Status ==="] if tasks else []
    for task_id, info in tasks.items():
        duration = ""
        if info["started_at"]:
            end_time = info["finished_at"] or now
            duration = f" (Duration: {(end_time - info['started_at']).total_seconds():.1f}s)"
        lines.append(f"Task {task_id[:8]}... - {info['status']} - {info['task_type']}{duration}")
    return "\n".join(lines)


def status_history(transitions: Iterable[Answer]) -> list[tuple[datetime | None, str]]:
    """Return when a task got each status, from the transitions of ``task_info``; only changes are listed."""
    found: list[tuple[datetime | None, str]] = []
    for line in transitions:
        status = STATUS[line["to"]]
        if not found or found[-1][1] != status:
            found.append((time_of(line["time"]), status))
    return found


def queue_statistics(count: Answer) -> dict[str, int]:
    """Return the statistics from what ``task_count(group_by="state")`` answers; they add up to ``total``."""
    words = dict.fromkeys((PENDING, PROCESSING, COMPLETED, FAILED), 0)
    for state, number in counted(count).items():
        words[STATUS[state]] += number
    return {"total": count["total"], **words}


def batch_status(answer: Answer) -> dict[str, dict[str, Any]]:
    """Return status with result or error of several tasks, from what ``task_result_batch`` answers."""
    found: dict[str, dict[str, Any]] = {}
    for uid, one in answer["results"].items():
        state = one["state"]
        if state == NOT_FOUND:
            found[uid] = {"status": ERROR, "error": f"The task '{uid}' is not known"}
            continue
        ended = result(uid, one)
        found[uid] = {"status": STATUS[state]}
        if ended is not None:
            found[uid] |= {"result": ended.value} if ended.is_success() else {"error": ended.error}
    return found


def metrics(stats: Answer, window: str = "1m") -> dict[str, float | None]:
    """Return the four figures of the tutorial from what ``stats`` answers.

    Parameters
    ----------
    window : str
        ``1m``, ``5m`` or ``20m``.

    Returns
    -------
    dict
        ``throughput`` (1/s), ``latency`` (s), ``error_rate`` (0 to 1), ``queue_depth``.
    """
    rates = stats["rates"][window]
    latency = rates["latency_ms"]
    return {
        "throughput": rates["throughput_per_s"],
        "latency": None if latency is None else latency / 1e3,
        "error_rate": rates["error_rate"],
        "queue_depth": stats["queue"]["depth"],
    }


class TaskQueue:
    """The queue of sitq. Functions are named, not sent; what they return must be a JSON value or an array.

    Parameters
    ----------
    manager : AsyncClient
        The client to ask with.
    """

    def __init__(self, manager: AsyncClient) -> None:
        self.manager = manager

    async def connect(self) -> None:
        """See that the manager answers."""
        await self.manager.ping()

    async def close(self) -> None:
        """Close the client."""
        await self.manager.close()

    async def enqueue(
        self,
        function: str | Callable[..., Any],
        *args: Any,
        eta: datetime | None = None,
        options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> str:
        """Submit a task and return its UID.

        Parameters
        ----------
        function : str or callable
            The function of a task module, or its name.
        eta : datetime, optional
            Not before this time.
        options : mapping, optional
            As ``task_submit`` takes them.
        """
        name = function if isinstance(function, str) else str(function.__name__)
        more = dict(options or {})
        if eta is not None:
            more["run_after"] = eta.timestamp()
        reply = await self.manager.task_submit(BFunc(name, *args, **kwargs), more or None)
        return str(reply["task_uid"])

    async def get_result(self, task_id: str, timeout: float | None = None) -> Result | None:
        """Return the result, waiting for it; None if it does not come in time.

        Parameters
        ----------
        timeout : float, optional
            How long to wait (s); without end if left out.

        Raises
        ------
        KeyError
            The task is not known, so there is nothing to wait for.
        """
        left = float("inf") if timeout is None else timeout
        loop = asyncio.get_running_loop()
        while True:
            begin, wait = loop.time(), min(left, LONGEST_WAIT_S)
            answer = await self.manager.task_result(task_id, timeout=wait)
            if answer["state"] == NOT_FOUND:
                raise KeyError(task_id)
            left -= max(loop.time() - begin, wait)
            found = result(task_id, answer)
            if found is not None or left <= 0:
                return found

    async def check_multiple_task_status(self, task_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return status with result or error of several tasks; one request for all."""
        return batch_status(await self.manager.task_result_batch(task_ids))


class TaskStatusTracker:
    """The tracker of the tutorial, answered by the manager; what it tracks is a selection of tasks.

    Parameters
    ----------
    manager : AsyncClient
        The client to ask with.
    selector : mapping, optional
        Which tasks; default: all.
    """

    def __init__(self, manager: AsyncClient, selector: Mapping[str, Any] | None = None) -> None:
        self._manager = manager
        self._selector = dict(selector or {})

    async def get_task_status(self, task_id: str) -> dict[str, Any] | None:
        """Return the status record of a task with its result; None if it is not known."""
        answer = await self._manager.task_info(task_id, include=["result"])
        if answer["task"] is None:
            return None
        return task_info(answer["task"], (answer["result"] or {}).get("return_value"))

    async def get_status_history(self, task_id: str) -> list[tuple[datetime | None, str]]:
        """Return when the task got each status."""
        answer = await self._manager.task_info(task_id, include=["transitions"])
        return status_history(answer.get("transitions", ()))

    async def get_all_tasks(self) -> dict[str, dict[str, Any]]:
        """Return the status records of all tracked tasks with their results by UID, the oldest first."""
        newest_first: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = await self._manager.task_list(self._selector, limit=PAGE, cursor=cursor)
            values = await self._values(page["tasks"])
            newest_first += [task_info(task, values.get(task["task_uid"])) for task in page["tasks"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        return {task["task_id"]: task for task in reversed(newest_first)}

    async def _values(self, tasks: Iterable[Record]) -> dict[str, Any]:
        """Return what completed tasks returned, by UID."""
        uids = [task["task_uid"] for task in tasks if STATUS[task["state"]] == COMPLETED]
        if not uids:
            return {}
        answer = await self._manager.task_result_batch(uids, fields=["return_value"])
        return {uid: one["result"].get("return_value") for uid, one in answer["results"].items()}

    async def get_queue_statistics(self) -> dict[str, int]:
        """Return the number of tracked tasks by status."""
        return queue_statistics(await self._manager.task_count(self._selector, group_by="state"))


class StatusMonitor:
    """Looks at a tracker again whenever tasks have changed.

    Parameters
    ----------
    manager : AsyncClient
        The client to ask with.
    tracker : TaskStatusTracker
        What is looked at.
    """

    def __init__(self, manager: AsyncClient, tracker: TaskStatusTracker) -> None:
        self._manager = manager
        self._tracker = tracker
        self.monitoring = False

    async def start_monitoring(
        self, on_change: Callable[[dict[str, dict[str, Any]]], None], check_interval: float = 0.5
    ) -> None:
        """Call a function with all status records, first now and then after each change, until stopped.

        Parameters
        ----------
        check_interval : float
            Shortest time between two looks, s.
        """
        self.monitoring = True
        seen: str | None = None
        while self.monitoring:
            uid = (await self._manager.status())["task_list_uid"]
            if uid != seen:
                seen = uid
                on_change(await self._tracker.get_all_tasks())
            await asyncio.sleep(check_interval)

    def stop_monitoring(self) -> None:
        """Let :meth:`start_monitoring` return."""
        self.monitoring = False
