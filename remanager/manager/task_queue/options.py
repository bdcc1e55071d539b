"""Settings of the task queue and its pool of workers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from remanager.engine.task_queue.shares import Aging
from remanager.model.pool_worker_config import PoolWorkerConfig
from remanager.model.states import StateClass
from remanager.store.records import Keep


@dataclass(frozen=True, slots=True)
class TaskQueueOptions:
    """What the configuration says about the task queue.

    Attributes
    ----------
    modules : tuple of str
        Task modules that the workers import.
    paths : tuple of str
        Directories in which they are looked for, before the usual ones.
    workers : int
        Most worker processes at a time.
    idle_s : float
        A worker without work for so long (s) leaves; one stays.
    max_tasks : int
        A worker leaves after so many tasks; 0: never.
    max_rss_bytes : int
        A worker leaves when it uses more memory; 0: never.
    lease_s : float
        A worker that is silent for so long (s) is killed and its tasks are taken from it.
    max_active : int
        Most tasks that have not ended.
    aging_interval_s : float
        A waiting task gains one step of priority in this time, s; 0: never.
    aging_grace_s : float
        How long it waits before that begins, s.
    aging_ceiling : int
        No task gets better than this by waiting.
    preempt_at : int or None
        A task of this or a higher priority (a lower number) may interrupt others; None: none may.
    retention : mapping
        How long the ended tasks of a class are kept, where it is not as long as their results.
    archive : Path or None
        Directory in which tasks are written down before they are deleted; None: they are not.
    log_level : int
        From which level of :mod:`logging` on the log of the workers is written.
    """

    modules: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    workers: int = 2
    idle_s: float = 300.0
    max_tasks: int = 0
    max_rss_bytes: int = 0
    lease_s: float = 15.0
    max_active: int = 200_000
    preempt_at: int | None = None
    aging_interval_s: float = 0.0
    aging_grace_s: float = 300.0
    aging_ceiling: int = 64
    retention: Mapping[StateClass, Keep] = field(default_factory=dict)
    archive: Path | None = None
    log_level: int = logging.INFO

    @property
    def aging(self) -> Aging | None:
        """How waiting tasks become more urgent; None if they do not."""
        if not self.aging_interval_s:
            return None
        return Aging(grace_s=self.aging_grace_s, interval_s=self.aging_interval_s, ceiling=self.aging_ceiling)

    def worker_config(self, link_address: str, console_address: str) -> PoolWorkerConfig:
        """Return the settings of a worker; its uid is filled in when it starts."""
        return PoolWorkerConfig(
            worker_uid="",
            link_address=link_address,
            console_address=console_address,
            task_modules=list(self.modules),
            module_paths=list(self.paths),
            max_tasks=self.max_tasks,
            max_rss_bytes=self.max_rss_bytes,
            log_level=self.log_level,
        )
