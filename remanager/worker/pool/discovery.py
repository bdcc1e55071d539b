"""Finding the tasks in the modules that the configuration names."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from remanager.tasks.declaration import CONTEXT, declaration_of, why_no_task
from remanager.worker.failures import shorten, traceback_text

MAX_DOC_CHARS = 4000

BY_NAME = sys.maxsize
"""Place of a context that can be given by name only."""


@dataclass(frozen=True, slots=True)
class TaskFunction:
    """A function that can be run as a task.

    Attributes
    ----------
    name : str
        Name under which it is submitted.
    module : str
        Name of the module in which it was found.
    context_place : int or None
        Place of the context among the positional arguments, :data:`BY_NAME` if it is given by name only, None
        if the function takes none.
    description : dict
        What :class:`remanager.model.pool_messages.PoolReady` tells of it.
    """

    name: str
    module: str
    call: Callable[..., Any]
    context_place: int | None
    description: dict[str, Any]


@dataclass(slots=True)
class Found:
    """What the modules hold.

    Attributes
    ----------
    functions : dict
        By name.
    failures : dict
        By name of the module, why it or a part of it cannot be used: a traceback or a sentence.
    """

    functions: dict[str, TaskFunction] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def describe(self) -> str:
        """Return the descriptions of the functions as JSON text."""
        return json.dumps([function.description for function in self.functions.values()])


def find_tasks(modules: Sequence[str], paths: Sequence[str]) -> Found:
    """Import modules and collect their tasks.

    A module that cannot be imported does not spoil the others. Of tasks with the same name the first one is
    used.

    Parameters
    ----------
    modules : sequence of str
        Names of modules.
    paths : sequence of str
        Directories in which they are looked for before the usual ones.
    """
    sys.path[:0] = [path for path in paths if path not in sys.path]
    found = Found()
    for name in modules:
        try:
            functions = list(tasks_of(importlib.import_module(name)))
        except BaseException as exc:  # noqa: BLE001 - a module may raise anything
            found.failures[name] = traceback_text(exc)
            continue
        for function in functions:
            first = found.functions.setdefault(function.name, function)
            if first.call is not function.call:
                found.failures[name] = (
                    f"Its task '{function.name}' is not used: the module {first.module} has one of this name"
                )
    return found


def tasks_of(module: ModuleType) -> Iterator[TaskFunction]:
    """Return the tasks of a module.

    They are the functions that it declares with :func:`remanager.tasks.task`; if there are none, those that
    its ``__all__`` names; without that all public ones that are defined in it.
    """
    listed: Sequence[str] | None = getattr(module, "__all__", None)
    here = {n: v for n, v in vars(module).items() if getattr(v, "__module__", None) == module.__name__}
    offered = here if listed is None else {n: v for n, v in vars(module).items() if n in listed}
    declared = {v: found for v in [*offered.values(), *here.values()] if (found := declaration_of(v))}
    if declared:
        for function, declaration in declared.items():
            yield _task_function(module, function, declaration.name, declaration.options)
        return
    for name, value in offered.items():
        if not why_no_task(value) and (listed is not None or not name.startswith("_")):
            yield _task_function(module, value, name, {})


def _task_function(
    module: ModuleType, function: Callable[..., Any], name: str, options: dict[str, Any]
) -> TaskFunction:
    parameters = inspect.signature(function).parameters
    description = {
        "name": name,
        "module": module.__name__,
        "doc": shorten(inspect.getdoc(function) or "", MAX_DOC_CHARS),
        "parameters": [
            {"name": p.name, "kind": p.kind.name, "required": _is_required(p)}
            for p in parameters.values()
            if p.name != CONTEXT
        ],
        "options": options,
    }
    return TaskFunction(name, module.__name__, function, _context_place(parameters), description)


def _context_place(parameters: Mapping[str, inspect.Parameter]) -> int | None:
    context = parameters.get(CONTEXT)
    if context is None:
        return None
    return BY_NAME if context.kind is context.KEYWORD_ONLY else list(parameters).index(CONTEXT)


def _is_required(parameter: inspect.Parameter) -> bool:
    variable = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not variable
