"""The selection of tasks in a request."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from remanager.model.errors import InvalidParams
from remanager.model.selector import ALL, Location, PriorityRange, Selector, TagCondition, TimeRange
from remanager.model.states import StateClass, TaskState
from remanager.verbs.registry import Params

MAX_VALUES = 10_000

Text = Annotated[str, Field(max_length=1000)]
Texts = Text | Annotated[list[Text], Field(max_length=MAX_VALUES)]
Uid = Annotated[str, Field(min_length=1, max_length=200)]
State = Annotated[TaskState, Field(strict=False)]
Class = Annotated[StateClass, Field(strict=False)]
Priority = Annotated[int, Field(ge=-(2**62), le=2**62)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]


class _Bounds(Params):
    """Two bounds, at least one of which is given; null: no bound."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError(f"gives no bound: give {' or '.join(map(repr, type(self).model_fields))}")
        return self


class PriorityModel(_Bounds):
    """Priorities from ``min`` to ``max``."""

    min: Priority | None = None
    max: Priority | None = None


class TimeModel(_Bounds):
    """Times after ``after`` and up to ``before``, epoch seconds."""

    after: Seconds | None = None
    before: Seconds | None = None


class NamedValues(Params):
    """Conditions none of which may be null: that would drop it, and reach tasks that nobody meant."""

    @model_validator(mode="after")
    def _has_no_null(self) -> Self:
        fields = type(self).model_fields
        nulls = [fields[name].alias or name for name in self.model_fields_set if getattr(self, name) is None]
        if nulls:
            raise ValueError(
                f"has null for {', '.join(map(repr, sorted(nulls)))}: leave out what is no condition"
            )
        return self


class SelectorModel(NamedValues):
    """A selector: all conditions must hold; of a list, one value. ``{"all": true}`` selects every task."""

    all: bool = Field(
        False, description="true: every task, where there is no condition; what changes tasks wants it said"
    )
    task_uid: Texts | None = Field(None, description="UID of the task")
    job_uid: Texts | None = Field(None, description="UID of the job that it belongs to")
    parent_uid: Texts | None = Field(None, description="UID of the task that it is a child of")
    schedule_uid: Texts | None = Field(None, description="UID of the schedule that submitted it")
    key: Texts | None = Field(None, description="its key")
    name: Texts | None = Field(None, description="name of the function or plan")
    task_type: Texts | None = Field(None, description="the same as ``name``")
    domain: Texts | None = Field(None, description="its domain; the empty text: it has none")
    group: Texts | None = Field(None, description="its group; the empty text: it has none")
    item_type: Texts | None = Field(
        None, description="``function``, ``plan``, ``instruction``, ``script`` or ``update``"
    )
    user: Texts | None = Field(None, description="name of the user")
    user_group: Texts | None = Field(None, description="name of the user group")
    worker_uid: Texts | None = Field(None, description="UID of the worker that runs it, or ran it last")
    state: State | list[State] | None = Field(
        None, description=f"its state: {', '.join(f'``{s}``' for s in TaskState)}"
    )
    state_class: Class | list[Class] | None = Field(
        None, alias="class", description=f"class of its state: {', '.join(f'``{c}``' for c in StateClass)}"
    )
    pause_reason: Texts | None = Field(None, description="a reason for which it is held")
    ready: bool | None = Field(
        None,
        description="true: pending and not waiting for a time; false: queued, but held, blocked or waiting "
        "for a time",
    )
    tags: Annotated[dict[Text, Texts | None], Field(min_length=1)] | None = Field(
        None, description="``{KEY: value}``, all of them: it has this tag; null for any value"
    )
    tag_key_prefix: Text | None = Field(None, description="it has a tag whose key begins so")
    priority: PriorityModel | None = Field(None, description="``{min, max}``, both included, or one of them")
    created: TimeModel | None = Field(
        None, description="``{after, before}`` or one of them (epoch seconds): when it was submitted"
    )
    started: TimeModel | None = Field(None, description="the same: when it was started last")
    finished: TimeModel | None = Field(None, description="the same: when it ended")
    location: Annotated[Location, Field(strict=False)] = Field(
        Location.ANY, description="``active``, ``history`` (it has ended) or ``any``"
    )


_TEXTS = (
    *("task_uid", "job_uid", "parent_uid", "schedule_uid", "key", "domain", "group", "item_type", "user"),
    *("user_group", "worker_uid", "pause_reason"),
)
_RANGES = ("created", "started", "finished")


def selector_of(model: SelectorModel | None, *, must_say: bool = False) -> Selector:
    """Return the selection.

    Parameters
    ----------
    must_say : bool
        Without any condition ``all`` must be given: the request changes what it selects.

    Raises
    ------
    InvalidParams
        Nothing is selected explicitly, or two conditions say the same thing.
    """
    if model is None:
        model = SelectorModel.model_validate({})
    if model.name is not None and model.task_type is not None:
        raise InvalidParams("'name' and 'task_type' are the same condition: give one of them")
    values: dict[str, Any] = {name: _tuple(getattr(model, name)) for name in _TEXTS}
    values["name"] = _tuple(model.task_type if model.name is None else model.name)
    values |= {"state": _tuple(model.state), "state_class": _tuple(model.state_class)}
    values["tags"] = tuple(TagCondition(k, _tuple(v)) for k, v in (model.tags or {}).items())
    for name in _RANGES:
        limits = getattr(model, name)
        values[name] = TimeRange(limits.after, limits.before) if limits else TimeRange()
    if model.priority:
        values["priority"] = PriorityRange(model.priority.min, model.priority.max)
    found = Selector(
        **values, ready=model.ready, tag_key_prefix=model.tag_key_prefix, location=model.location
    )
    if must_say and found == ALL and not model.all:
        raise InvalidParams('The selector has no condition; to mean every task, say {"all": true}')
    return found


def _tuple(value: Any) -> tuple[Any, ...] | None:
    if value is None:
        return None
    return tuple(value) if isinstance(value, list) else (value,)
