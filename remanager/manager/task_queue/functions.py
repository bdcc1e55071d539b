"""The functions that the task modules offer, as a worker reported them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from remanager.model.errors import InvalidItem
from remanager.plans.binding import ANY_NUMBER, Binder

SETTING = "task_functions"


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a task module.

    Attributes
    ----------
    binder : Binder
        Knows its parameters without the context.
    options : dict
        Default options of its tasks, as ``task_submit`` takes them.
    description : dict
        What is told about it.
    """

    name: str
    binder: Binder
    options: Mapping[str, Any]
    description: Mapping[str, Any]

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Refuse arguments that do not fit.

        Raises
        ------
        InvalidItem
            Too many, missing or unknown arguments.
        """
        try:
            self.binder.check(args, kwargs)
        except TypeError as exc:
            raise InvalidItem(f"The arguments do not fit the function '{self.name}': {exc}") from exc


class Functions:
    """All functions by name.

    Attributes
    ----------
    failures : dict
        Traceback by name of each module that could not be imported.
    """

    def __init__(self) -> None:
        self._all: dict[str, Function] = {}
        self.failures: Mapping[str, str] = {}
        self.known = False

    def take(self, text: str, failures: Mapping[str, str]) -> bool:
        """Take a worker's report (JSON text); return whether something differs."""
        found = {f["name"]: _function(f) for f in json.loads(text)}
        changed = [f.description for f in found.values()] != self.describe() or failures != self.failures
        self._all, self.failures, self.known = found, failures, True
        return changed

    def describe(self) -> list[Mapping[str, Any]]:
        """Return what is told about each function."""
        return [f.description for f in self._all.values()]

    def options_of(self, name: str) -> Mapping[str, Any]:
        """Return the default options of a function's tasks; none of one that is not known."""
        function = self._all.get(name)
        return {} if function is None else function.options

    def get(self, name: str) -> Function:
        """Return a function.

        Raises
        ------
        InvalidItem
            There is none with this name.
        """
        function = self._all.get(name)
        if function is not None:
            return function
        broken = f" These modules could not be imported: {', '.join(self.failures)}." if self.failures else ""
        if not self._all:
            raise InvalidItem(
                f"There is no function '{name}': the task modules offer none. Name modules with "
                f"'--task-modules'.{broken}"
            )
        raise InvalidItem(f"There is no function '{name}' in the task modules.{broken}")


def _function(data: Mapping[str, Any]) -> Function:
    parameters = [_parameter(p) for p in data["parameters"]]
    return Function(data["name"], Binder(inspect.Signature(parameters)), data["options"], data)


def _parameter(data: Mapping[str, Any]) -> inspect.Parameter:
    kind = getattr(inspect.Parameter, data["kind"])
    has_default = not data["required"] and kind not in ANY_NUMBER
    return inspect.Parameter(data["name"], kind, default=None if has_default else inspect.Parameter.empty)
