"""The words for the states of the manager, the environment and tasks."""

from __future__ import annotations

from enum import StrEnum


class ManagerState(StrEnum):
    """What the manager is doing, in the words of the RE Manager protocol."""

    INITIALIZING = "initializing"
    IDLE = "idle"
    PAUSED = "paused"
    CREATING_ENVIRONMENT = "creating_environment"
    STARTING_QUEUE = "starting_queue"
    EXECUTING_QUEUE = "executing_queue"
    EXECUTING_TASK = "executing_task"
    CLOSING_ENVIRONMENT = "closing_environment"
    DESTROYING_ENVIRONMENT = "destroying_environment"


class EnvironmentState(StrEnum):
    """State of the environment worker, in the words of the RE Manager protocol."""

    INITIALIZING = "initializing"
    IDLE = "idle"
    FAILED = "failed"
    RESERVED = "reserved"
    EXECUTING_PLAN = "executing_plan"
    EXECUTING_TASK = "executing_task"
    CLOSING = "closing"
    CLOSED = "closed"


class ItemType(StrEnum):
    """Kinds of task: the first two live in the plan queue."""

    PLAN = "plan"
    INSTRUCTION = "instruction"
    FUNCTION = "function"
    SCRIPT = "script"
    UPDATE = "update"


class TaskState(StrEnum):
    """State of a task; every item of work has exactly one."""

    PENDING = "pending"
    BLOCKED = "blocked"
    PAUSED = "paused"
    RUNNING = "running"
    WAITING_CHILDREN = "waiting_children"
    COMPLETED = "completed"
    STOPPED = "stopped"
    SKIPPED = "skipped"
    FAILED = "failed"
    DEAD_LETTER = "dead_letter"
    DEPENDENCY_FAILED = "dependency_failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"
    CANCELLED = "cancelled"
    ABORTED = "aborted"
    HALTED = "halted"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"

    # States are looked up for each task: the hash of the text is as good as that of the name, and faster.
    __hash__ = str.__hash__


class StateClass(StrEnum):
    """Class of a state; all but ``ACTIVE`` are terminal."""

    ACTIVE = "active"
    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"
    DROPPED = "dropped"


_ACTIVE = (
    TaskState.PENDING,
    TaskState.BLOCKED,
    TaskState.PAUSED,
    TaskState.RUNNING,
    TaskState.WAITING_CHILDREN,
)
STATE_CLASS: dict[TaskState, StateClass] = {
    **dict.fromkeys(_ACTIVE, StateClass.ACTIVE),
    **dict.fromkeys((TaskState.COMPLETED, TaskState.STOPPED, TaskState.SKIPPED), StateClass.SUCCESS),
    **dict.fromkeys(
        (
            TaskState.FAILED,
            TaskState.DEAD_LETTER,
            TaskState.DEPENDENCY_FAILED,
            TaskState.TIMED_OUT,
            TaskState.LOST,
        ),
        StateClass.FAILURE,
    ),
    **dict.fromkeys((TaskState.CANCELLED, TaskState.ABORTED, TaskState.HALTED), StateClass.CANCELLED),
    **dict.fromkeys((TaskState.EXPIRED, TaskState.SUPERSEDED), StateClass.DROPPED),
}

NOT_FOUND = "not_found"
"""Pseudo state of an unknown or forgotten task; never stored."""


def is_terminal(state: TaskState) -> bool:
    """Tell whether a task in this state has ended."""
    return STATE_CLASS[state] is not StateClass.ACTIVE


STATE_WORDS: dict[TaskState | None, str] = {None: NOT_FOUND, **{state: state.value for state in TaskState}}
"""What clients are told; ``None`` is the state of a task that is not known."""

STATES: dict[str, TaskState] = {state.value: state for state in TaskState}
"""States by their words, for rows by the thousand: calling the enum takes longer."""

STATUS_WORDS: dict[TaskState | None, str] = {
    None: NOT_FOUND,
    **{state: "completed" if is_terminal(state) else "running" for state in TaskState},
}
"""The same in the words of the RE Manager protocol: stock clients know no other ones."""


class ExitStatus(StrEnum):
    """How a plan ended, as history's ``exit_status`` says it."""

    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    ABORTED = "aborted"
    HALTED = "halted"
    UNKNOWN = "unknown"

    @property
    def task_state(self) -> TaskState:
        """The terminal task state that goes with the exit status."""
        return TaskState.LOST if self is ExitStatus.UNKNOWN else TaskState(self.value)

    @property
    def is_success(self) -> bool:
        """Whether the plan did what was wanted of it: it was completed, or stopped in order."""
        return self in (ExitStatus.COMPLETED, ExitStatus.STOPPED)
