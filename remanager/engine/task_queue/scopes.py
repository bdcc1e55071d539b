"""Scopes: sets of tasks that a limit or a switch covers."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache

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
    return _keys(spec.domain, spec.name, spec.group, spec.user, spec.schedule_uid or "")


@lru_cache(4096)  # few combinations make up most tasks
def _keys(domain: str, name: str, group: str, user: str, schedule_uid: str) -> tuple[ScopeKey, ...]:
    return (
        ALL,
        (Scope.DOMAIN, domain),
        (Scope.TASK_TYPE, name),
        (Scope.GROUP, group),
        (Scope.USER, user),
        (Scope.SCHEDULE, schedule_uid),
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
