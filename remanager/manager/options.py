"""What the manager must be told: the part of the settings that concerns this room."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from remanager.manager.task_queue.options import TaskQueueOptions
from remanager.model.worker_config import WorkerConfig


@dataclass(frozen=True, slots=True)
class ManagerOptions:
    """Options of the manager.

    Attributes
    ----------
    version : str
        What ``status`` reports as the version.
    runtime_dir : Path
        Private directory for sockets and worker settings.
    worker_python : str
        Interpreter of the workers.
    worker : WorkerConfig
        Settings of a worker; uid, addresses and permissions are filled in when it starts.
    lists_path, permissions_path : Path
        Files with the existing plans and devices, and with the user group permissions.
    lists_update : str
        When the file with the lists is rewritten: ``NEVER``, ``ENVIRONMENT_OPEN`` or ``ALWAYS``.
    permissions_reload : str
        Whether permissions are read from the file: ``NEVER``, ``ON_REQUEST`` or ``ON_STARTUP``.
    retention_s : float
        How long results of tasks are kept, s.
    emergency_lock_key : str or None
        Opens any lock.
    allow_kill : bool
        Whether ``manager_kill`` is answered (tests only).
    task_queue : TaskQueueOptions
        Settings of the task queue.
    """

    version: str
    runtime_dir: Path
    worker_python: str
    worker: WorkerConfig
    lists_path: Path
    permissions_path: Path
    lists_update: str
    permissions_reload: str
    retention_s: float
    emergency_lock_key: str | None
    allow_kill: bool
    task_queue: TaskQueueOptions = field(default_factory=TaskQueueOptions)
