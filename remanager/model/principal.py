"""Who asks: principals, their roles, and what a role permits."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum


class Permission(StrEnum):
    """What a method needs."""

    READ = "read"
    QUEUE = "queue"
    ENVIRONMENT = "environment"
    ADMIN = "admin"


class Role(StrEnum):
    """What a principal is.

    ``admin`` may do everything, ``user`` everything but stop the manager and change permissions, ``observer``
    may look, ``none`` may not even connect.
    """

    ADMIN = "admin"
    USER = "user"
    OBSERVER = "observer"
    NONE = "none"


PERMITTED: dict[Role, frozenset[Permission]] = {
    Role.ADMIN: frozenset(Permission),
    Role.USER: frozenset({Permission.READ, Permission.QUEUE, Permission.ENVIRONMENT}),
    Role.OBSERVER: frozenset({Permission.READ}),
    Role.NONE: frozenset(),
}
"""Permissions of each role."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who sends requests, as the client's key tells.

    Attributes
    ----------
    name : str
        Name, for records and errors.
    role : Role
        What it may do.
    user : str or None
        User name that its requests carry, whatever they claim; None: as they claim.
    user_group : str or None
        The only user group that its requests may claim; None: any.
    """

    name: str
    role: Role
    user: str | None = None
    user_group: str | None = None

    def may(self, permission: Permission) -> bool:
        """Tell whether the role includes a permission."""
        return permission in PERMITTED[self.role]


LOCAL = Principal("local", Role.ADMIN)
"""Whoever reaches a control socket without encryption."""

asked_by: ContextVar[str | None] = ContextVar("asked_by", default=None)
"""Name of the principal whose request is being worked on; None where no request is the cause."""
