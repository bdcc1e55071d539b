"""Tasks that tasks submit."""

from __future__ import annotations

import json

from remanager.manager.catalogue import Catalogue
from remanager.manager.items import FUNCTIONS, check_form, prepare
from remanager.manager.ports import Clock
from remanager.manager.task_queue.service import TaskQueue
from remanager.manager.task_queue.worker_process import PoolWorker
from remanager.model.errors import Conflict, RemanagerError
from remanager.model.pool_messages import ChildAnswer, SubmitChild


class ChildDesk:
    """Submits the children of running tasks, with the rights of their parents.

    Parameters
    ----------
    queue : TaskQueue
        Where they go.
    catalogue : Catalogue
        Knows what a user group may do.
    clock : callable
        Wall clock, s.
    """

    def __init__(self, queue: TaskQueue, catalogue: Catalogue, clock: Clock) -> None:
        self._queue = queue
        self._catalogue = catalogue
        self._clock = clock

    async def submit(self, worker: PoolWorker, message: SubmitChild) -> None:
        """Submit a child and answer its parent."""
        try:
            uid = await self._submit(worker, message)
            answer = ChildAnswer(message.id, uid)
        except (RemanagerError, ValueError) as exc:
            answer = ChildAnswer(message.id, None, str(exc))
        self._queue.pool.send(worker, answer)

    async def _submit(self, worker: PoolWorker, message: SubmitChild) -> str:
        queue = self._queue
        parent = queue.scheduler.cards.get(message.task_uid)
        if parent is None or worker.held.get(message.task_uid) != message.lease_epoch:
            raise Conflict("The task is not run by this worker any more")
        spec = parent.spec
        item = check_form(json.loads(message.item), FUNCTIONS)
        # A worker that loses its connection asks again under the same UID.
        known = queue.states([str(item.get("item_uid"))])
        if any(state is not None for state in known.values()):
            return str(item["item_uid"])
        item = prepare(self._catalogue, item, spec.user, spec.user_group, keep_uid=True)
        child = queue.specs.make(
            item,
            json.loads(message.options),
            self._clock(),
            job_uid=spec.job_uid,
            parent_uid=spec.task_uid,
            principal=spec.principal,
        )
        (result,) = await queue.submit([child])
        if result.error is not None:
            raise result.error
        return result.task_uid or str(result.existing_uid)
