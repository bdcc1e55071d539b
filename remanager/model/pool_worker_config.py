"""Settings that the manager hands to a worker of the pool, as a JSON file in the runtime directory."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class PoolWorkerConfig:
    """What a worker of the pool must know to start.

    Attributes
    ----------
    worker_uid : str
        Identity of the worker.
    link_address, console_address : str
        Paths of the manager's sockets for messages and for console output.
    crash_path : str
        File for the stacks of the threads when the process crashes; empty: they go to standard error.
    task_modules : list of str
        Modules whose functions are tasks.
    module_paths : list of str
        Directories in which modules are looked for, before the usual ones.
    begun_path : str
        File for the marks of what was begun (:mod:`remanager.model.begun`), readable when the worker is gone;
        empty: none.
    max_tasks : int
        The worker leaves to be replaced after so many tasks; 0: never.
    max_rss_bytes : int
        It leaves to be replaced when it uses more memory than this after a task, bytes; 0: never.
    max_result_bytes, max_checkpoint_bytes : int
        Largest encoded result and checkpoint of a task, bytes.
    give_back_after_s : float
        When a task takes longer than this (s), those that wait behind it are given back.
    orphan_timeout_s : float
        An idle worker that hears nothing from a manager for so long (s) leaves.
    log_level : int
        From which level of :mod:`logging` on the worker's log is written.
    """

    worker_uid: str
    link_address: str
    console_address: str
    crash_path: str = ""
    task_modules: list[str] = field(default_factory=list)
    module_paths: list[str] = field(default_factory=list)
    begun_path: str = ""
    max_tasks: int = 0
    max_rss_bytes: int = 0
    max_result_bytes: int = 16 * 1024 * 1024
    max_checkpoint_bytes: int = 1024 * 1024
    give_back_after_s: float = 0.25
    orphan_timeout_s: float = 600.0
    log_level: int = logging.INFO

    def to_json(self) -> str:
        """Return the settings as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> PoolWorkerConfig:
        """Read settings written by :meth:`to_json`."""
        return cls(**json.loads(text))
