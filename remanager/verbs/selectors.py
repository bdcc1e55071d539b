"""The selection of tasks in a request."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

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
Seconds = Annotated[float, Field(allow_inf_nan=False)]


class PriorityModel(Params):
    """Priorities from ``min`` to ``max``."""

    min: int | None = None
    max: int | None = None


class TimeModel(Params):
    """Times after ``after`` and up to ``before``, epoch seconds."""

    after: Seconds | None = None
    before: Seconds | None = None


class SelectorModel(Params):
    """A selector: all conditions must hold; of a list, one value. ``{"all": true}`` selects every task."""

    all: bool = False
    task_uid: Texts | None = None
    job_uid: Texts | None = None
    parent_uid: Texts | None = None
    schedule_uid: Texts | None = None
    key: Texts | None = None
    name: Texts | None = None
    task_type: Texts | None = None
    domain: Texts | None = None
    group: Texts | None = None
    item_type: Texts | None = None
    user: Texts | None = None
    user_group: Texts | None = None
    worker_uid: Texts | None = None
    state: State | list[State] | None = None
    state_class: Class | list[Class] | None = Field(None, alias="class")
    pause_reason: Texts | None = None
    ready: bool | None = None
    tags: dict[Text, Texts | None] | None = None
    tag_key_prefix: Text | None = None
    priority: PriorityModel | None = None
    created: TimeModel | None = None
    started: TimeModel | None = None
    finished: TimeModel | None = None
    location: Annotated[Location, Field(strict=False)] = Location.ANY


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


def _tuple(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else (value,)
