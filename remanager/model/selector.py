"""Which tasks a request speaks of: all conditions must hold, of several values one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
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
    """A tag with this key and one of these values; None: with any value."""

    key: str
    values: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """A selection of tasks. Text is matched literally. None is no condition; no task meets an empty tuple.

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

    task_uid: tuple[str, ...] | None = None
    job_uid: tuple[str, ...] | None = None
    parent_uid: tuple[str, ...] | None = None
    schedule_uid: tuple[str, ...] | None = None
    key: tuple[str, ...] | None = None
    name: tuple[str, ...] | None = None
    domain: tuple[str, ...] | None = None
    group: tuple[str, ...] | None = None
    item_type: tuple[str, ...] | None = None
    user: tuple[str, ...] | None = None
    user_group: tuple[str, ...] | None = None
    worker_uid: tuple[str, ...] | None = None
    state: tuple[TaskState, ...] | None = None
    state_class: tuple[StateClass, ...] | None = None
    pause_reason: tuple[str, ...] | None = None
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

    @property
    def is_empty(self) -> bool:
        """Tell whether a condition names no value: then there is no such task."""
        return any(getattr(self, f.name) == () for f in fields(self) if f.name != "tags") or any(
            tag.values == () for tag in self.tags
        )

    def within(self, *states: TaskState) -> Selector:
        """Return the selection of only those tasks that are in one of these states, too."""
        return replace(self, state=tuple(s for s in states if self.state is None or s in self.state))

    def to_dict(self) -> dict[str, Any]:
        """Return the conditions as JSON values, in the form of a request."""
        told: dict[str, Any] = {}
        for name in (f.name for f in fields(self)):
            value = getattr(self, name)
            if value == getattr(ALL, name):
                continue
            if name == "tags":
                told[name] = {tag.key: None if tag.values is None else list(tag.values) for tag in value}
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
                    made[key] = tuple(
                        TagCondition(k, None if v is None else tuple(v)) for k, v in value.items()
                    )
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
