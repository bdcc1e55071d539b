"""The state of the manager that lives in memory, in one place."""

from __future__ import annotations

import itertools
import os
import uuid
from dataclasses import dataclass, field
from typing import Any

from remanager.engine.queue_item import Submission
from remanager.manager.rows import column
from remanager.model.link import WorkerState
from remanager.model.states import ManagerState

_UID_BYTES = 16
_AT_ONCE = 256
_VERSION = bytes(byte & 0x0F | 0x40 for byte in range(256))
_VARIANT = bytes(byte & 0x3F | 0x80 for byte in range(256))

_ready: list[str] = []
os.register_at_fork(after_in_child=_ready.clear)  # two processes must not use the same


def new_uid() -> str:
    """Return a new UID: a random UUID. They are made in advance: asking for random bytes takes longest."""
    try:
        return _ready.pop()
    except IndexError:
        *rest, uid = random_uids(os.urandom(_AT_ONCE * _UID_BYTES))
        _ready.extend(rest)
        return uid


def random_uids(noise: bytes) -> list[str]:
    """Return random UUIDs (version 4), one for each 16 random bytes."""
    made = bytearray(noise)
    made[6::_UID_BYTES] = made[6::_UID_BYTES].translate(_VERSION)
    made[8::_UID_BYTES] = made[8::_UID_BYTES].translate(_VARIANT)
    digits = made.hex()
    return [
        f"{digits[i : i + 8]}-{digits[i + 8 : i + 12]}-{digits[i + 12 : i + 16]}-{digits[i + 16 : i + 20]}-"
        f"{digits[i + 20 : i + 32]}"
        for i in range(0, len(digits), 2 * _UID_BYTES)
    ]


_LIFE = str(uuid.uuid4())[:23]
_CHANGES = itertools.count(1)


def change_uid() -> str:
    """Return a new UID for what changes often: unique over restarts, and much cheaper than a random one."""
    return f"{_LIFE}-{next(_CHANGES):012x}"


@dataclass(frozen=True, slots=True)
class RunningItem:
    """The plan that runs or is paused.

    Attributes
    ----------
    uid : str
        Its ``item_uid``.
    item : dict
        The item as it stood in the queue; never changed.
    text : str
        The same as JSON text.
    immediate : bool
        Submitted for execution at once: it never returns to the queue.
    time_start : float
        When it was handed to the worker, epoch seconds.
    submission : Submission
        Where it comes from.
    time_created : float
        When it was submitted, epoch seconds.
    """

    uid: str
    item: dict[str, Any]
    text: str
    immediate: bool
    time_start: float
    submission: Submission
    time_created: float

    @property
    def name(self) -> str:
        """Name of the plan, as the store has it."""
        return column(self.item.get("name"))


@dataclass(slots=True)
class WorkerRecord:
    """The environment worker's process.

    Attributes
    ----------
    handled_seq, acked_seq : int
        Its events up to these have been handled, and are on disk.
    silent : bool
        It has given no sign of life for some time.
    rss_bytes : int or None
        Its resident memory at its last heartbeat, bytes.
    """

    uid: str
    pid: int
    start_ticks: int
    acked_seq: int = 0
    handled_seq: int = 0
    connected: bool = False
    last_heartbeat: float = 0.0
    silent: bool = False
    rss_bytes: int | None = None


@dataclass(slots=True)
class State:
    """Everything that ``status`` and the decisions look at."""

    manager_state: ManagerState = ManagerState.INITIALIZING
    environment_exists: bool = False
    environment_error: str = ""
    worker: WorkerRecord | None = None
    worker_state: WorkerState | None = None
    running: RunningItem | None = None
    running_task_uid: str | None = None
    progress: tuple[int, int | None] | None = None
    plan_paused: bool = False  # the running plan, as is written down
    pause_pending: bool = False
    queue_stop_pending: bool = False
    autostart: bool = False
    run_list_uid: str = field(default_factory=change_uid)
    plan_queue_uid: str = field(default_factory=change_uid)
    plan_history_uid: str = field(default_factory=change_uid)
    task_results_uid: str = field(default_factory=change_uid)
    task_list_uid: str = field(default_factory=change_uid)
    schedules_uid: str = field(default_factory=change_uid)
    limits_uid: str = field(default_factory=change_uid)
    alerts_uid: str = field(default_factory=change_uid)
    alerts_active: int = 0

    @property
    def re_state(self) -> str | None:
        """State of the RunEngine; None where there is none."""
        return self.worker_state.re_state if self.worker_state else None

    def progress_dict(self) -> dict[str, int | None] | None:
        """Return the progress of the running plan as clients see it; None where it is not known."""
        if self.progress is None:
            return None
        return {"done_count": self.progress[0], "total_count": self.progress[1]}

    @property
    def kernel_is_taken(self) -> bool:
        """Whether a client of the worker's IPython kernel keeps it busy."""
        return self.worker_state is not None and self.worker_state.kernel_is_taken

    @property
    def uses_kernel(self) -> bool:
        """Whether the worker runs an IPython kernel."""
        return self.worker_state is not None and self.worker_state.ip_kernel_state != "disabled"

    @property
    def idle(self) -> bool:
        """Whether the manager is idle."""
        return self.manager_state is ManagerState.IDLE
