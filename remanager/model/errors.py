"""Errors that reach a client, each with a stable machine-readable ``code``.

RemanagerError (``internal``)
├── InvalidRequest (``invalid_request``)     the message is no request
│   └── UnknownMethod (``unknown_method``)
├── InvalidParams (``invalid_params``)       the parameters are wrong
│   └── InvalidItem (``invalid_item``)       the item failed validation
├── TooLarge (``too_large``)
├── NotPermitted (``not_permitted``)
├── Locked (``locked``)                      the manager is locked with a key
├── NotFound (``not_found``)
├── Conflict (``conflict``)                  the request contradicts the present state
│   ├── Busy (``busy``)
│   └── EnvironmentClosed (``environment_closed``)
├── RequestTimeout (``timeout``)
└── StorageError (``storage``)
"""

from __future__ import annotations

from typing import ClassVar


class RemanagerError(Exception):
    """Base of every error that is reported to a client.

    Attributes
    ----------
    code : str
        Stable machine-readable code, sent beside ``msg`` in a refused reply.
    """

    code: ClassVar[str] = "internal"


class InvalidRequest(RemanagerError):
    """The message is not a request: undecodable, or not of the request's form."""

    code = "invalid_request"


class UnknownMethod(InvalidRequest):
    """The method does not exist."""

    code = "unknown_method"


class InvalidParams(RemanagerError):
    """A parameter is missing, unknown, or of the wrong type or value."""

    code = "invalid_params"


class InvalidItem(InvalidParams):
    """A plan, instruction or function failed validation."""

    code = "invalid_item"


class TooLarge(RemanagerError):
    """The message or one of its parts exceeds a limit."""

    code = "too_large"


class NotPermitted(RemanagerError):
    """The user group or the settings do not allow it."""

    code = "not_permitted"


class Locked(RemanagerError):
    """The manager is locked and the request does not carry the key."""

    code = "locked"


class NotFound(RemanagerError):
    """The object of the request does not exist."""

    code = "not_found"


class Conflict(RemanagerError):
    """The request contradicts the present state."""

    code = "conflict"


class Busy(Conflict):
    """Something else is in progress."""

    code = "busy"


class EnvironmentClosed(Conflict):
    """The request needs an open environment."""

    code = "environment_closed"


class RequestTimeout(RemanagerError):
    """The answer did not come in time."""

    code = "timeout"


class StorageError(RemanagerError):
    """The store could not be opened, read or written."""

    code = "storage"
