"""How long ended tasks are kept: by class, age and number, and what is deleted on request."""

from __future__ import annotations

import asyncio
import logging

from remanager.manager.ledger import Ledger
from remanager.manager.options import ManagerOptions
from remanager.manager.ports import Clock
from remanager.manager.state import State, change_uid
from remanager.model.errors import StorageError
from remanager.model.selector import Selector
from remanager.store.archive import Archive
from remanager.store.records import Retention
from remanager.store.retention import Pruned
from remanager.store.store import Store

logger = logging.getLogger(__name__)

PERIOD_S = 30.0


class Keeper:
    """Deletes ended tasks, after they went into the archive if there is one.

    Parameters
    ----------
    options : ManagerOptions
        How long they are kept, and where the archive is.
    store, state, ledger, clock
        As elsewhere in this room.
    """

    def __init__(
        self, options: ManagerOptions, store: Store, state: State, ledger: Ledger, clock: Clock
    ) -> None:
        settings = options.task_queue
        # Records go with their results: then the answer is ``not_found``.
        self._retention = Retention(records_s=options.retention_s, classes=settings.retention)
        self._archive = Archive(settings.archive) if settings.archive is not None else None
        self._store = store
        self._state = state
        self._ledger = ledger
        self._clock = clock

    async def run(self) -> None:
        """Delete what is older than it is kept, now and then, without an end."""
        while True:
            await asyncio.sleep(PERIOD_S)
            await self.purge()

    async def purge(self) -> None:
        """Delete what is older than it is kept."""
        try:
            if await self._store.purge(self._clock(), self._retention, archive=self._archive):
                self._changed()
        except OSError as exc:  # the disk of the archive is full, or gone: nothing is lost meanwhile
            logger.error("Ended tasks are not deleted: the archive cannot be written: %s", exc)

    async def prune(
        self, selector: Selector, *, keep: int | None, max_age_s: float | None, dry_run: bool
    ) -> Pruned:
        """Delete selected tasks that have ended; see :meth:`remanager.store.store.Store.prune`.

        Raises
        ------
        StorageError
            The archive cannot be written; what is not in it stays.
        """
        await self._ledger.flush()
        try:
            pruned = await self._store.prune(
                selector,
                self._clock(),
                keep=keep,
                max_age_s=max_age_s,
                archive=self._archive,
                dry_run=dry_run,
            )
        except OSError as exc:
            raise StorageError(f"The archive cannot be written: {exc}") from exc
        if pruned.deleted and not dry_run:
            batch = self._ledger.batch()
            batch.event("tasks_pruned", deleted=pruned.deleted, archived=pruned.archived)
            await self._ledger.commit(batch)
            self._changed()
        return pruned

    def _changed(self) -> None:
        self._state.task_list_uid = change_uid()
        self._state.task_results_uid = change_uid()
        self._ledger.touch()
