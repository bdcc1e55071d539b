"""MemOS: status of the MemScheduler.

MemOS knows ``waiting``, ``in_progress``, ``completed``, ``failed`` and ``cancelled``. Its two figures
of a queue are ``pending`` (delivered, not acknowledged) and ``remaining`` (not delivered): never both here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from remanager_api.blocking import BlockingClient
from remanager_api.errors import RequestFailedError
from remanager_api.views.listing import listed
from remanager_api.views.native import (
    CANCELLED,
    DROPPED,
    FAILURE,
    QUEUED,
    SUCCESS,
    UNDER_WAY,
    Answer,
    Record,
    inverted,
)

WAITING = "waiting"
IN_PROGRESS = "in_progress"
COMPLETED = "completed"
FAILED = "failed"
STOPPED = "cancelled"

STATUS: Mapping[str, str] = {
    **dict.fromkeys(QUEUED, WAITING),
    **dict.fromkeys(UNDER_WAY, IN_PROGRESS),
    **dict.fromkeys(SUCCESS, COMPLETED),
    **dict.fromkeys(FAILURE, FAILED),
    **dict.fromkeys((*CANCELLED, *DROPPED), STOPPED),
}
"""Word of MemOS by native state. A task that is not known has none: the answer has ``code`` 404."""

STATES: Mapping[str, tuple[str, ...]] = inverted(STATUS)
"""Native states by word of MemOS, for selectors."""

_LANE = ("user", "domain", "task_type")


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of MemOS.

    Attributes
    ----------
    code : int
        200, 404 for a task that is not known, 500 for a request that was refused.
    data : object
        What was asked for; None unless ``code`` is 200.
    """

    code: int
    message: str
    data: Any


def status_item(task_uid: str, state: str) -> dict[str, str]:
    """Return an entry of a status list."""
    return {"task_id": task_uid, "status": STATUS[state]}


def status_list(tasks: Iterable[Record]) -> list[dict[str, str]]:
    """Return the status list of tasks: ``task_id`` and ``status`` of each."""
    return [status_item(task["task_uid"], task["state"]) for task in tasks]


def summary(counts: Mapping[str, int], pending: int = 0) -> dict[str, int]:
    """Return a summary from numbers by native state.

    Parameters
    ----------
    pending : int
        Tasks that are handed out and have not ended; they are ``in_progress``, too, so they are no part of
        ``total``.
    """
    words = dict.fromkeys((WAITING, IN_PROGRESS, COMPLETED, FAILED, STOPPED), 0)
    for state, number in counts.items():
        if state in STATUS:
            words[STATUS[state]] += number
    return {**words, "pending": pending, "total": sum(words.values())}


def all_status(stats: Answer) -> dict[str, dict[str, int]]:
    """Return the overview of the system from what ``stats`` answers.

    ``scheduler_summary`` counts what is active, ``all_tasks_summary`` that and what is still kept.
    """
    live, retained = stats["summary"]["live"], stats["summary"]["retained"]
    pending = sum(live.get(state, 0) for state in UNDER_WAY)
    return {
        "scheduler_summary": summary(live, pending),
        "all_tasks_summary": summary({**retained, **live}, pending),
    }


def task_queue_status(status: Answer, user_id: str) -> dict[str, Any]:
    """Return the figures of a user's queue from what ``queue_status`` answers."""
    lanes = [(":".join(str(lane[k] or "") for k in _LANE), lane) for lane in status["lanes"]]
    return {
        "user_name": user_id,
        "mem_cube_id": None,
        "users_count": status["users_count"],
        "pending_tasks_count": status["unacked"],
        "remaining_tasks_count": status["queued"],
        "pending_tasks_detail": [f"{key}:{lane['unacked']}" for key, lane in lanes if lane["unacked"]],
        "remaining_tasks_detail": [f"{key}:{lane['queued']}" for key, lane in lanes if lane["queued"]],
        "stream_keys": [key for key, _ in lanes],
    }


class MemOSClient:
    """The questions of the MemOS client, asked of a run manager.

    Parameters
    ----------
    manager : BlockingClient
        The client to ask with.
    """

    def __init__(self, manager: BlockingClient) -> None:
        self._manager = manager

    def get_all_scheduler_status(self) -> Response:
        """Return ``scheduler_summary`` and ``all_tasks_summary``."""
        return Response(200, "ok", all_status(self._manager.stats(["summary"])))

    def get_task_queue_status(self, user_id: str) -> Response:
        """Return how much a user has in the queue; zeros if nothing."""
        status = self._manager.queue_status(selector={"user": user_id})
        return Response(200, "ok", task_queue_status(status, user_id))

    def get_task_status(self, user_id: str, task_id: str | None = None) -> Response:
        """Return the status list of one task of a user, of a job (by its UID), or of all tasks of the user.

        A task or job of another user is not known.
        """
        selector = {"user": user_id, **({"task_uid": task_id} if task_id is not None else {})}
        try:
            found = status_list(listed(self._manager, selector, fields=["task_uid", "state"]))
            if found or task_id is None:
                return Response(200, "ok", found)
            job = self._manager.job_status(selector={"user": user_id, "job_uid": task_id})
        except RequestFailedError as exc:
            return Response(500, str(exc), None)
        if not job["total_tasks_cnt"]:
            return Response(404, f"User '{user_id}' has no task or job '{task_id}'", None)
        return Response(200, "ok", [status_item(task_id, job["state"])])
