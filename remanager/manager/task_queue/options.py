"""Settings of the task queue and its pool of workers."""

from __future__ import annotations

from dataclasses import dataclass

from remanager.model.pool_worker_config import PoolWorkerConfig


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
    preempt_at : int or None
        A task of this or a higher priority (a lower number) may interrupt others; None: none may.
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
        )
