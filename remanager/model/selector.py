"""Which tasks a request speaks of: all conditions must hold, of several values one."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum

from remanager.model.states import StateClass, TaskState


class Location(StrEnum):
    """Where tasks are looked for."""

    ACTIVE = "active"
    HISTORY = "history"  # ended
    ANY = "any"


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Times (epoch seconds) later than ``after`` and not later than ``before``; None: no bound."""

    after: float | None = None
    before: float | None = None


@dataclass(frozen=True, slots=True)
class PriorityRange:
    """Priorities from ``min`` to ``max``, both included; None: no bound."""

    min: int | None = None
    max: int | None = None


@dataclass(frozen=True, slots=True)
class TagCondition:
    """A tag with this key and one of these values; without values: with any value."""

    key: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """A selection of tasks. Text is matched literally; an empty tuple or None is no condition.

    Attributes
    ----------
    name : tuple of str
        Names of functions or plans; the type of a task is the same.
    ready : bool or None
        True: pending and not waiting for a time. False: queued, but held, blocked or waiting for a time.
    tag_key_prefix : str or None
        There is a tag whose key begins so.
    started : TimeRange
        Time of the last start.
    """

    task_uid: tuple[str, ...] = ()
    job_uid: tuple[str, ...] = ()
    parent_uid: tuple[str, ...] = ()
    schedule_uid: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    name: tuple[str, ...] = ()
    domain: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    item_type: tuple[str, ...] = ()
    user: tuple[str, ...] = ()
    user_group: tuple[str, ...] = ()
    worker_uid: tuple[str, ...] = ()
    state: tuple[TaskState, ...] = ()
    state_class: tuple[StateClass, ...] = ()
    pause_reason: tuple[str, ...] = ()
    ready: bool | None = None
    tags: tuple[TagCondition, ...] = ()
    tag_key_prefix: str | None = None
    priority: PriorityRange = PriorityRange()
    created: TimeRange = TimeRange()
    started: TimeRange = TimeRange()
    finished: TimeRange = TimeRange()
    location: Location = Location.ANY

    @property
    def is_all(self) -> bool:
        """Tell whether there is no condition."""
        return all(getattr(self, f.name) == getattr(ALL, f.name) for f in fields(self))


ALL = Selector()
"""Every task."""
