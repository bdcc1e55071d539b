"""Scopes: sets of tasks that a limit or a switch covers."""

from __future__ import annotations

from enum import StrEnum

from remanager.model.errors import InvalidParams
from remanager.model.task_spec import TaskSpec


class Scope(StrEnum):
    """By what the tasks of a limit or a switch are chosen."""

    ALL = "all"
    DOMAIN = "domain"
    TASK_TYPE = "task_type"
    GROUP = "group"
    USER = "user"
    SCHEDULE = "schedule"

    # Scopes are looked up for each task: the hash of the text is as good as that of the name, and faster.
    __hash__ = str.__hash__


ScopeKey = tuple[Scope, str]
"""A scope and the name in it; the name is empty for ``Scope.ALL``."""

ALL: ScopeKey = (Scope.ALL, "")


def scope_keys(spec: TaskSpec) -> tuple[ScopeKey, ...]:
    """Return a task's key in each scope, in the order of :class:`Scope`.

    What the task does not have, such as a group, is an empty name; no limit and no switch has one.
    """
    return (
        ALL,
        (Scope.DOMAIN, spec.domain),
        (Scope.TASK_TYPE, spec.name),
        (Scope.GROUP, spec.group),
        (Scope.USER, spec.user),
        (Scope.SCHEDULE, spec.schedule_uid or ""),
    )


def check_name(key: ScopeKey) -> None:
    """Refuse a key that names nothing, or a name for ``Scope.ALL``.

    Raises
    ------
    InvalidParams
        It is such a key.
    """
    scope, name = key
    if (scope is Scope.ALL) == bool(name):
        raise InvalidParams("A name is needed for each scope but 'all', which has none")


def scope_text(key: ScopeKey) -> str:
    """Return a key in words of the protocol: ``SCOPE/NAME``, or ``all``."""
    scope, name = key
    return f"{scope}/{name}" if name else str(scope)
