"""Worker processes on request: listed, stopped, started anew; of the pool and of the environment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from remanager.manager.background import Background
from remanager.manager.environment import EnvironmentService
from remanager.manager.ports import Clock
from remanager.manager.state import State, WorkerRecord
from remanager.manager.task_queue.pool import Pool
from remanager.manager.task_queue.worker_process import PoolWorker
from remanager.model.errors import Conflict, NotFound

logger = logging.getLogger(__name__)

LONGEST_CLOSE_S = 60.0
"""An environment that is to be opened anew must be closed within so long, s."""

Row = dict[str, object]
Describe = Callable[[float, str | None], Sequence[Row]]


class Workers:
    """Stops and restarts workers.

    Parameters
    ----------
    describe : callable
        ``describe(now, worker_uid)`` returns what is told of the workers, or of one.
    pool : Pool
        Workers of the task queue.
    environment : EnvironmentService
        The worker of the environment.
    state, clock, background
        As elsewhere in this room.
    """

    def __init__(
        self,
        describe: Describe,
        pool: Pool,
        environment: EnvironmentService,
        *,
        state: State,
        clock: Clock,
        background: Background,
    ) -> None:
        self._describe = describe
        self._pool = pool
        self._environment = environment
        self._state = state
        self._clock = clock
        self._background = background

    def list(self, worker_uid: str | None = None) -> Sequence[Row]:
        """Return what is told of the workers, or of one.

        Raises
        ------
        NotFound
            There is no such worker.
        """
        return self._describe(self._clock(), worker_uid)

    async def stop(self, uid: str, *, drain: bool, timeout_s: float | None) -> Row | None:
        """Let a worker leave; return what is told of it, None if it is gone.

        Parameters
        ----------
        drain : bool
            Let it finish what runs; else it is killed.
        timeout_s : float or None
            It is killed if it has not left then, s.

        Raises
        ------
        NotFound, Conflict
            There is no such worker, or the environment cannot be closed now.
        """
        worker = self._pool.workers.get(uid)
        if worker is not None:
            self._dismiss(worker, drain=drain, timeout_s=timeout_s)
        else:
            record = self._environment_worker(uid)
            await (self._environment.close() if drain else self._environment.destroy())
            if drain and timeout_s is not None:
                self._background.spawn(self._close_in_time(record, timeout_s), "environment close")
        return self._told(uid)

    async def restart(self, uid: str, *, drain: bool, timeout_s: float | None) -> Row | None:
        """Let a worker leave and start another one in its place; see :meth:`stop`."""
        worker = self._pool.workers.get(uid)
        if worker is not None:
            wanted = sum(not w.draining for w in self._pool.workers.values())
            self._dismiss(worker, drain=drain, timeout_s=timeout_s)
            self._pool.want(max(wanted, 1))
        else:
            record = self._environment_worker(uid)
            await (self._environment.close() if drain else self._environment.destroy())
            self._background.spawn(self._reopen(record, timeout_s), "environment restart")
        return self._told(uid)

    def _environment_worker(self, uid: str) -> WorkerRecord:
        record = self._state.worker
        if record is None or record.uid != uid:
            raise NotFound(f"There is no worker '{uid}'")
        return record

    def _told(self, uid: str) -> Row | None:
        try:
            return self.list(uid)[0]
        except NotFound:
            return None

    def _dismiss(self, worker: PoolWorker, *, drain: bool, timeout_s: float | None) -> None:
        if not drain:
            worker.draining = True  # its end is expected
            self._pool.kill(worker, "It was killed on request")
            return
        self._pool.drain(worker)
        if timeout_s is not None:
            self._background.spawn(self._kill_in_time(worker, timeout_s), "worker stop")

    async def _kill_in_time(self, worker: PoolWorker, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._pool.wait_gone(worker)
        except TimeoutError:
            self._pool.kill(worker, f"It did not leave within {timeout_s:g} s, as it was asked to")

    async def _close_in_time(self, worker: WorkerRecord, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._environment.wait_gone(worker)
        except TimeoutError:
            if self._state.worker is worker:
                await self._environment.destroy()

    async def _reopen(self, worker: WorkerRecord, timeout_s: float | None) -> None:
        if timeout_s is not None:
            await self._close_in_time(worker, timeout_s)
        try:
            async with asyncio.timeout(LONGEST_CLOSE_S):
                await self._environment.wait_gone(worker)
            await self._environment.open()
        except (TimeoutError, Conflict) as exc:
            why = str(exc) or "it is not closed"
            logger.error("The environment is not opened again: %s", why)
