"""What a command to the scheduler changed: to be stored in one transaction, and acted upon after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from remanager.engine.task_queue.card import Card, Stage, TaskError
from remanager.model.states import TaskState


class OutcomeKind(StrEnum):
    """How an execution ended, as a worker (or the end of a worker) tells."""

    COMPLETED = "completed"
    SKIPPED = "skipped"
    ERROR = "error"  # may be repeated
    RETRY = "retry"  # the function asks for another attempt
    PERMANENT = "permanent"  # never to be repeated
    CANCELLED = "cancelled"
    PARENT = "parent"  # ended, with children that have not
    RETURNED = "returned"  # given back before it began; does not count as an attempt
    LOST = "lost"  # its worker died


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an execution.

    Attributes
    ----------
    time_start, time_stop : float
        As the worker measured them, epoch seconds.
    retry_after_s : float or None
        Delay that the function asked for (``RETRY``).
    reason : str
        Why it was skipped, or anything else worth a word.
    codec, payload : str or None, bytes or None
        Return value as the worker encoded it.
    """

    kind: OutcomeKind
    time_start: float
    time_stop: float
    reason: str = ""
    error: TaskError | None = None
    retry_after_s: float | None = None
    codec: str | None = None
    payload: bytes | None = None


# Not frozen: that takes three times as long to make.
@dataclass(slots=True)
class Transition:
    """A change of a task's state; ``old`` is None where the task begins to exist.

    ``stage`` is what a running task does from now on; with ``old`` equal to ``new`` only that has changed.
    ``outcome`` is how an execution ended after which the task goes on: ``failed``, ``retry`` (it asked for
    another attempt), ``timed_out``, ``lost``, ``returned`` (it had not begun), ``interrupted`` (for a pause),
    or what the task would have ended as if no duplicate had asked for another run.
    """

    task_uid: str
    time: float
    old: TaskState | None
    new: TaskState
    attempt: int
    reason: str = ""
    worker_uid: str | None = None
    error: TaskError | None = None
    stage: Stage | None = None
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that has ended: its terminal record. The card is no longer in the scheduler."""

    card: Card
    state: TaskState
    reason: str
    time_stop: float
    outcome: Outcome | None = None


class InterruptKind(StrEnum):
    """What is to be done about a task that a worker holds."""

    CANCEL = "cancel"  # stop when it is convenient, soon
    KILL = "kill"  # end the worker process
    LOOK = "look"  # find out whether the execution has begun


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Tell a worker to stop a task, or have a look at it."""

    task_uid: str
    lease_epoch: int
    worker_uid: str
    kind: InterruptKind
    reason: str


@dataclass(slots=True)
class Changes:
    """Collected since they were last taken.

    Attributes
    ----------
    inserted : list of Card
        New tasks, in the order of their submission; a task that ended within the same command is in ``ended``
        too.
    updated : dict of str to Card
        Tasks of earlier commands whose stored state differs now and that have not ended.
    ended : list of Ended
        Terminal records, in order.
    transitions : list of Transition
        Of all of them, in order.
    starts : list of Card
        To be handed to ``card.worker_uid`` once all this is on disk.
    interrupts : list of Interrupt
        To be sent once all this is on disk.
    begun_anew : list of Card
        Their next execution has nothing to do with earlier ones: a duplicate asked for another run.
    parted : list of Card
        Their ``children_from`` has changed.
    """

    inserted: list[Card] = field(default_factory=list)
    updated: dict[str, Card] = field(default_factory=dict)
    ended: list[Ended] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    starts: list[Card] = field(default_factory=list)
    interrupts: list[Interrupt] = field(default_factory=list)
    begun_anew: list[Card] = field(default_factory=list)
    parted: list[Card] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.inserted or self.updated or self.ended or self.transitions or self.interrupts)
