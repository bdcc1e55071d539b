"""Declaring a function to be a task."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, TypeVar, overload

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS = frozenset(
    {
        *(
            "priority",
            "group",
            "domain",
            "label",
            "tags",
            "on_duplicate",
            "on_dependency_failure",
            "fail_fast",
        ),
        *("ttl_s", "ttl_from", "timeout_s", "kill_after_s", "max_retries", "retry", "expected_io"),
        "resource_lock",
    }
)
"""Options of a submission that a function can give defaults for."""

CONTEXT = "ctx"
"""Name of the parameter that is given the context."""

_MARK = "__remanager_task__"


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is declared of a task.

    Attributes
    ----------
    name : str
        Name under which it is submitted.
    options : dict
        Default options of its submissions.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)


@overload
def task(function: F, /) -> F: ...


@overload
def task(name: str | None = None, **default_options: Any) -> Callable[[F], F]: ...


def task(name: Any = None, **default_options: Any) -> Any:
    """Declare a function to be a task: ``@task``, ``@task("name")`` or ``@task(timeout_s=60.0, ...)``.

    The function itself stays as it is and can be called as before. If a module declares any function, its
    others are not tasks.

    Parameters
    ----------
    name : str, optional
        Name under which the task is submitted; that of the function if it is left out.
    **default_options
        Options of ``task_submit`` that hold where a submission says nothing else: ``priority``, ``group``,
        ``domain``, ``label``, ``tags``, ``on_duplicate``, ``on_dependency_failure``, ``fail_fast``,
        ``ttl_s``, ``ttl_from``, ``timeout_s``, ``kill_after_s``, ``max_retries``, ``retry``,
        ``expected_io``, ``resource_lock``.

    Raises
    ------
    TypeError
        It is no function that can be a task, or an option is not known.
    """
    if isinstance(name, FunctionType):
        return task()(name)
    if name is not None and (not isinstance(name, str) or not name):
        raise TypeError(f"the name of a task must be a string, not {name!r}")
    unknown = default_options.keys() - OPTIONS
    if unknown:
        raise TypeError(f"unknown options of a task: {', '.join(sorted(unknown))}")
    try:
        options = json.loads(json.dumps(default_options, allow_nan=False))
    except (TypeError, ValueError) as exc:
        raise TypeError(f"the options of a task must be values that JSON can say: {exc}") from exc

    def declare(function: F) -> F:
        fault = why_no_task(function)
        if fault:
            raise TypeError(f"{getattr(function, '__qualname__', function)} cannot be a task: {fault}")
        setattr(function, _MARK, Declaration(name or function.__name__, options))
        return function

    return declare


def declaration_of(function: object) -> Declaration | None:
    """Return what :func:`task` declared of a function; None if it did not."""
    found = vars(function).get(_MARK) if isinstance(function, FunctionType) else None
    return found if isinstance(found, Declaration) else None


def why_no_task(function: object) -> str:
    """Tell why a value cannot be a task; empty if it can."""
    if not isinstance(function, FunctionType):
        return "it is no function"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return "it is a generator"
    parameter = inspect.signature(function).parameters.get(CONTEXT)
    if parameter is not None and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
        return f"its parameter '{CONTEXT}' cannot be given by name"
    return ""
