"""The reference page of the methods, made from their registry: ``python -m remanager.cli.methods_page``."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import groupby
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from remanager.manager.items import MISSING
from remanager.manager.parameter_faults import fields_of
from remanager.manager.task_queue.submission import OptionsModel
from remanager.verbs import FAMILIES, load
from remanager.verbs.registry import REGISTRY, Verb
from remanager.verbs.selectors import SelectorModel

_INTRODUCTION = """\
# Methods

A request is `{"method": ..., "params": {...}}` in JSON or msgpack on the control socket. Every reply has
`success` and `msg`; a refused one also has `code`, a word for programs. Unknown methods and parameters are
refused by name. A request of more than 200 levels of dictionaries and lists is an `invalid_request`.

Each method needs a permission, which the role of the client's key must include: `admin` has all, `user` all
but `admin`, `observer` only `read`. Without encryption everybody has all.

Methods that change something also take the parameter `request_id`, a text that the client chooses. A
repetition of the request with the same `request_id` within five minutes gets the first answer, and nothing is
done twice; while the first one is still being carried out, the repetition waits for it. The same text with
another request is refused as a `conflict`. Of very many requests the last 10 000 are remembered, or 64 MiB of
them. A restarted manager remembers no `request_id`.

What many methods take is described once: the [options of a task](#options-of-a-task) and the
[selector](#selector).
"""

_OPTIONS = """\
## Options of a task

`task_submit` and `schedule_add` take them as `options`, `task_submit_batch` also as `defaults` of all its
tasks. The function may have defaults of its own, which come before those of this table.
"""

_SELECTOR = """\
## Selector

Which tasks a method is about. All conditions must hold; of a list one value must fit, and no task meets an
empty list. Text is matched literally. Without any condition every task is meant; methods that change tasks
want `{"all": true}` then.
"""

_SHARED: dict[type[BaseModel], str] = {SelectorModel: "[selector](#selector)"}
_TYPES = {str: "text", int: "whole number", float: "number", bool: "true or false", dict: "dictionary"}


def _type(annotation: Any) -> str:
    """Return what a value may be, in words; empty if anything may be given."""
    return " or ".join(dict.fromkeys(_forms(annotation)))


def _forms(annotation: Any) -> Iterator[str]:
    origin = get_origin(annotation) or annotation
    if origin is Annotated:
        yield from _forms(get_args(annotation)[0])
    elif origin is Literal:
        yield "text"
    elif origin is list:
        yield "list"
    elif inspect.isclass(origin) and issubclass(origin, BaseModel):
        yield _SHARED.get(origin, "dictionary")
    elif inspect.isclass(origin) and issubclass(origin, Enum):
        yield "text"
    elif origin in _TYPES:
        yield _TYPES[origin]
    elif origin is not NoneType:
        for inner in get_args(annotation):
            yield from _forms(inner)


def _default(field: FieldInfo) -> str:
    if field.is_required() or field.default is MISSING:
        return "required"
    # A copy would be another one than MISSING; only what a factory makes has to be made.
    default = field.default_factory() if field.default_factory else field.default  # type: ignore[call-arg]
    if isinstance(default, Enum):
        default = default.value
    return "" if default is None else f"`{default!r}`"


def _inner(annotation: Any) -> Iterator[type[BaseModel]]:
    """Return the models whose keys are worth rows of their own: those that say what they mean."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        told = any(field.description for field in annotation.model_fields.values())
        if told and annotation not in _SHARED:
            yield annotation
    for inner in get_args(annotation):
        yield from _inner(inner)


def _rows(fields: Iterable[tuple[str, FieldInfo]], prefix: str = "") -> Iterator[str]:
    for name, field in fields:
        text = (field.description or "").replace("|", "\\|")
        cells = (f"`{prefix}{name}`", _type(field.annotation), _default(field), text)
        yield f"| {' | '.join(cells)} |"
        for model in _inner(field.annotation):
            yield from _rows(fields_of(model).items(), f"{prefix}{name}.")


def _table(fields: Iterable[tuple[str, FieldInfo]], first: str) -> list[str]:
    return [f"| {first} | type | default | |", "|---|---|---|---|", *_rows(fields)]


def _section(verb: Verb) -> list[str]:
    lines = [f"### {verb.name}", "", inspect.cleandoc(verb.doc)]
    lines += ["", f"Needs the permission `{verb.permission.value}`."]
    if verb.lock is not None:
        lines += ["", f"Refused without the key while the {verb.lock.value} is locked."]
    if verb.mutating:
        lines += ["", "Takes a `request_id`."]
    if verb.names:
        fields = fields_of(verb.params)
        lines += ["", *_table([(name, fields[name]) for name in verb.names], "parameter")]
    return [*lines, ""]


def page() -> str:
    """Return the page in Markdown."""
    load()
    lines = [_INTRODUCTION]
    verbs = sorted(REGISTRY.values(), key=lambda v: FAMILIES.index(v.family))
    for family, members in groupby(verbs, key=lambda v: v.family):
        module = sys.modules[f"remanager.verbs.{family}"]
        lines += [
            f"## {family.replace('_', ' ').capitalize()}",
            "",
            inspect.cleandoc(module.__doc__ or ""),
            "",
        ]
        for verb in members:
            lines += _section(verb)
    lines += [_OPTIONS, *_table(fields_of(OptionsModel).items(), "option"), ""]
    lines += [_SELECTOR, *_table(fields_of(SelectorModel).items(), "key"), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(page())
