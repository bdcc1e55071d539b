"""Which tasks a request speaks of: all conditions must hold, of several values one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

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

    def to_dict(self) -> dict[str, Any]:
        """Return the conditions as JSON values, in the form of a request."""
        told: dict[str, Any] = {}
        for name in (f.name for f in fields(self)):
            value = getattr(self, name)
            if value == getattr(ALL, name):
                continue
            if name == "tags":
                told[name] = {tag.key: list(tag.values) or None for tag in value}
            elif isinstance(value, TimeRange | PriorityRange):
                told[name] = {k: v for k, v in asdict(value).items() if v is not None}
            else:
                told["class" if name == "state_class" else name] = (
                    [str(v) for v in value] if isinstance(value, tuple) else value
                )
        return told

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Selector:
        """Read what :meth:`to_dict` has made."""
        made: dict[str, Any] = {}
        for key, value in data.items():
            match key:
                case "tags":
                    made[key] = tuple(TagCondition(k, tuple(v or ())) for k, v in value.items())
                case "priority":
                    made[key] = PriorityRange(**value)
                case "created" | "started" | "finished":
                    made[key] = TimeRange(**value)
                case "state":
                    made[key] = tuple(map(TaskState, value))
                case "class":
                    made["state_class"] = tuple(map(StateClass, value))
                case "location":
                    made[key] = Location(value)
                case _:
                    made[key] = tuple(value) if isinstance(value, list) else value
        return cls(**made)


ALL = Selector()
"""Every task."""
