"""What handles ask the manager: as remanager answers it, or else as any RE Manager does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from remanager_api import ends_by_polling
from remanager_api.ends import EndWatch, ended, outcomes_of
from remanager_api.errors import RequestFailedError
from remanager_api.handles import TaskHandle
from remanager_api.outcomes import Outcome
from remanager_api.patience import Asker
from remanager_api.progress import Progress
from remanager_api.states import ACTIVE, NOT_FOUND
from remanager_api.task_errors import TaskNotFoundError
from remanager_api.values import with_values

if TYPE_CHECKING:
    from remanager_api.core import Reply
    from remanager_api.steering_methods import SteeringMethods

MAX_REMEMBERED = 10_000
"""Submissions that a client remembers; the oldest are forgotten."""

PAGE = 1000
"""Tasks of which one request asks what has become of them."""


class Desk:
    """Asks for tasks by their UIDs.

    Parameters
    ----------
    client : SteeringMethods
        The client, for what changes something.
    asker : Asker
        For questions.
    polling_period : float
        Time (s) between two looks at a manager that cannot be waited for.

    Attributes
    ----------
    asker : Asker
        As above.
    ends : EndWatch
        Waits for ends.
    submitted : dict
        Names of what was submitted, by UID, the oldest first.
    """

    def __init__(self, client: SteeringMethods, asker: Asker, polling_period: float) -> None:
        self.asker = asker
        self.ends = EndWatch(self._look)
        self.submitted: dict[str, str] = {}
        self._client = client
        self._polling_period = polling_period

    def handle(self, uid: str, name: str) -> TaskHandle:
        """Return the handle of something that was just submitted, and remember it."""
        self.submitted[uid] = name
        while len(self.submitted) > MAX_REMEMBERED:
            del self.submitted[next(iter(self.submitted))]
        return TaskHandle(self, uid, name)

    async def _look(self, uids: list[str]) -> list[Outcome]:
        return await self.asker.either(
            partial(ended, self.asker, uids),
            partial(ends_by_polling.ended, self.asker, uids, self._polling_period),
        )

    async def outcomes(self, uids: Sequence[str]) -> list[Outcome]:
        """Return what has become of tasks so far, in order."""
        found: list[Outcome] = []
        for first in range(0, len(uids), PAGE):
            page = list(uids[first : first + PAGE])
            found += await self.asker.either(
                partial(outcomes_of, self.asker, page),
                partial(ends_by_polling.outcomes_of, self.asker, page),
            )
        return found

    async def record(self, uid: str, parts: list[str]) -> dict[str, Any]:
        """Return everything that is known of a task, with further parts.

        Raises
        ------
        TaskNotFoundError
            The manager does not know it.
        """
        reply = with_values(await self.asker.ask("task_info", task_uid=uid, include=parts))
        if reply["task"] is None:
            raise TaskNotFoundError(Outcome(uid, NOT_FOUND, self.submitted.get(uid, "")))
        return {**reply["task"], **{part: reply[part] for part in parts}}

    async def progress(self, uid: str) -> Progress:
        """Return how far a task is."""
        return await self.asker.either(partial(self._progress, uid), partial(self._known_progress, uid))

    async def _known_progress(self, uid: str) -> Progress:
        (outcome,) = await self.outcomes([uid])
        return Progress(outcome.state, fraction=1.0 if outcome.ok else None)

    async def _progress(self, uid: str) -> Progress:
        task = (await self.asker.ask("task_info", task_uid=uid))["task"]
        if task is None:
            return Progress(NOT_FOUND)
        if task["item_type"] == "plan" and task["state"] in ACTIVE:
            status = await self.asker.ask("status")
            if status["running_item_uid"] == uid and status["progress"]:
                return Progress.of_plan(task["state"], status["progress"])
            return Progress(task["state"])  # it waits, or has ended since
        return Progress.of_task(task["state"], task["progress"])

    async def cancel(self, uid: str, *, reason: str | None, kill_after_s: float | None) -> bool:
        """Cancel a task; tell whether there was anything to cancel."""

        async def native() -> bool:
            reply = _checked(
                "task_cancel",
                uid,
                await self._client.task_cancel(uid, reason=reason, kill_after_s=kill_after_s),
            )
            return bool(reply["cancelled"] or reply["cancelling"])

        async def foreign() -> bool:
            _checked("queue_item_remove", uid, await self._client.item_remove(uid=uid))
            return True

        return await self.asker.either(native, foreign)

    async def retry(self, uid: str, *, reset_attempts: bool | None, again: bool | None) -> str:
        """Submit a task anew; return the new UID."""
        reply = await self._client.task_retry(uid, reset_attempts=reset_attempts, again=again)
        return str(_checked("task_retry", uid, reply)["resubmitted"][uid])


def _checked(method: str, uid: str, reply: Reply) -> Reply:
    """Return a reply that is no refusal, also where the client returns refusals."""
    if not reply["success"]:
        raise RequestFailedError({"method": method, "params": {"task_uid": uid}}, reply)
    return reply
