"""A worker process of the pool, as the manager knows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class PoolWorkerState(StrEnum):
    """What a worker of the pool is doing."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    DRAINING = "draining"


@dataclass(slots=True, eq=False)
class PoolWorker:
    """A worker process of the pool. Times are epoch seconds.

    Attributes
    ----------
    held : dict
        Lease epoch by UID of the tasks that it was handed and that have not ended.
    sent : set of str
        Those of them that were sent: the others wait for their transaction.
    gave_back : bool
        It gave tasks back, as the one that runs takes long: it is handed nothing until that has ended.
    began : dict
        When each of them began, as far as it did.
    acked_seq, handled_seq : int
        Its events up to these are on disk, and have been handled.
    reconcile_seq : int or None
        After a greeting: once its events up to this one have been handled, those tasks that it did not name
        and that it still holds never reached it.
    unnamed : dict
        Lease epoch by UID of the tasks that it held and did not name in its last greeting.
    killed_because : str
        Why the manager killed it; empty if it did not.
    """

    uid: str
    pid: int
    start_ticks: int
    time_started: float
    ready: bool = False
    connected: bool = False
    draining: bool = False
    last_heartbeat: float = 0.0
    idle_since: float = 0.0
    rss_bytes: int | None = None
    acked_seq: int = 0
    handled_seq: int = 0
    reconcile_seq: int | None = None
    unnamed: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    began: dict[str, float] = field(default_factory=dict)
    tasks_done: int = 0
    tasks_failed: int = 0
    sent: set[str] = field(default_factory=set)
    gave_back: bool = False
    killed_because: str = ""

    @property
    def state(self) -> PoolWorkerState:
        """What it is doing."""
        if self.draining:
            return PoolWorkerState.DRAINING
        if not self.ready:
            return PoolWorkerState.STARTING
        return PoolWorkerState.BUSY if self.held else PoolWorkerState.IDLE

    @property
    def takes_tasks(self) -> bool:
        """Whether it can be handed a task."""
        return self.ready and self.connected and not self.draining and not self.killed_because

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to do."""
        return self.takes_tasks and not self.held
