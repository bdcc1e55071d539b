"""What goes into the store and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, overload

from remanager.model.states import StateClass, TaskState

T = TypeVar("T")
R = TypeVar("R")


class Lazy(Sequence[R]):
    """A sequence whose elements are made when they are needed, again each time.

    With it the rows of a large write are made in the writer's thread and not in that of the event loop.

    Parameters
    ----------
    items : sequence
        What the elements are made of; it must not change.
    make : callable
        Makes an element of an item.
    """

    def __init__(self, items: Sequence[T], make: Callable[[T], R]) -> None:
        self._items = items
        self._make = make

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> R: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[R]: ...

    def __getitem__(self, index: int | slice) -> R | Sequence[R]:
        if isinstance(index, slice):
            return Lazy(self._items[index], self._make)
        return self._make(self._items[index])


Kind = tuple[str, str, str, str, str, str, int]
"""What the tally counts tasks by: state, item type, name, domain, group, user, priority."""


@dataclass(frozen=True, slots=True)
class Write:
    """One named statement with its parameters; :mod:`remanager.store.writes` makes them.

    Attributes
    ----------
    statement : str
        Name of a statement in the ``.sql`` files.
    params : mapping or sequence
        With a sequence the statement runs once for each element, a mapping or the values in their order.
    expect : int or None
        Number of rows that each SQL statement of it must change; otherwise the submission is refused with
        :class:`~remanager.store.errors.StaleWrite`. None: any number.
    new : sequence of tuple
        The kind (:data:`Kind`) of each task that it inserts, for the tally.
    """

    statement: str
    params: Mapping[str, object] | Sequence[Mapping[str, object] | Sequence[object]] = field(
        default_factory=dict
    )
    expect: int | None = None
    new: Sequence[Kind] = ()


# Not frozen: that takes twice as long to make.
@dataclass(slots=True)
class JournalEvent:
    """An event for the journal; the store numbers it. ``data`` must be representable in JSON."""

    type: str
    time: float
    task_uid: str | None = None
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event of the journal; ``data`` is JSON text, ``time`` in epoch seconds."""

    seq: int
    time: float
    type: str
    task_uid: str | None
    data: str


@dataclass(frozen=True, slots=True)
class QueueEntryRow:
    """An entry of the plan queue; ``body`` is the item as JSON text.

    ``time_created`` is only read, and not compared: what is written has the time of its transaction.
    """

    task_uid: str
    queue_rank: int
    item_type: str
    name: str
    user: str
    user_group: str
    body: str
    origin_uid: str | None = None
    properties: str | None = None
    attempt: int = 1
    time_created: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A task that does not come from the plan queue: a function, a script, a plan executed at once."""

    task_uid: str
    item_type: str
    name: str
    user: str
    user_group: str
    body: str
    time_created: float
    state: TaskState = TaskState.RUNNING
    background: bool = False
    worker_uid: str | None = None
    time_start: float | None = None
    origin_uid: str | None = None
    properties: str | None = None


@dataclass(frozen=True, slots=True)
class TaskRow:
    """Everything that is known of a task. Times are epoch seconds.

    Attributes
    ----------
    queue_rank, history_seq : int or None
        Place in the plan queue and in the plan history.
    time_stop : float or None
        Time of the terminal record; None while the task is active.
    body, result, properties : str or None
        JSON texts: the item, a plan's ``result`` of the history, internal properties.
    return_codec, return_value : str, bytes or None
        Return value of a function as the worker encoded it; None also after it expired.
    result_expires : float or None
        When the return value may be dropped; kept afterwards.
    """

    task_uid: str
    item_type: str
    name: str
    state: TaskState
    user: str
    user_group: str
    queue_rank: int | None
    history_seq: int | None
    background: bool
    attempt: int
    worker_uid: str | None
    origin_uid: str | None
    time_created: float
    time_start: float | None
    time_stop: float | None
    success: bool | None
    return_codec: str | None
    result_expires: float | None
    properties: str | None
    msg: str | None
    traceback: str | None
    result: str | None
    body: str
    return_value: bytes | None


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker process.

    Attributes
    ----------
    start_ticks : int
        Start time of the process in clock ticks since boot (field 22 of ``/proc/PID/stat``).
    acked_seq : int
        The worker's events up to this one are recorded.
    config : str
        Its :class:`~remanager.model.worker_config.WorkerConfig` as JSON text.
    """

    worker_uid: str
    kind: str
    pid: int
    start_ticks: int
    time_started: float
    acked_seq: int
    config: str


@dataclass(frozen=True, slots=True)
class Keep:
    """How long the ended tasks of a class are kept (s), and how many of them; None: no bound."""

    retain_s: float | None = None
    retain_count: int | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept.

    Attributes
    ----------
    records_s : float
        Records of ended tasks that are not in the plan history (s).
    events : int
        Number of the newest journal events; at least one is kept, as the next one's number follows from it.
    classes : mapping
        What holds in place of ``records_s`` for tasks of a class.
    samples_s : float
        Figures of minutes (s).
    """

    records_s: float = 7 * 86400.0
    events: int = 100_000
    classes: Mapping[StateClass, Keep] = field(default_factory=dict)
    samples_s: float = 30 * 86400.0

    def keep(self, kind: StateClass) -> Keep:
        """Return what holds for the ended tasks of a class."""
        return self.classes.get(kind) or Keep(self.records_s)

    def limits(self, now: float) -> dict[str, object]:
        """Return the parameters of the statements of retention; ``now`` in epoch seconds."""
        return {
            "now": now,
            "events": max(self.events, 1),
            "before": int((now - self.samples_s) // 60),
        }
