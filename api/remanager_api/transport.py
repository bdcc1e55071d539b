"""What the client needs of a way to reach the manager."""

# ruff: noqa: ASYNC109 - each request has a time-out of its own

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

TOPIC_CONSOLE = "QS_Console"
TOPIC_INFO = "QS_Info"


class Protocols(enum.Enum):
    """How the client speaks to the manager."""

    ZMQ = "ZMQ"
    HTTP = "HTTP"


class AuthorizationMethods(enum.Enum):
    """How the client shows an HTTP server who it is."""

    NONE = "NONE"
    API_KEY = "API_KEY"
    TOKEN = "TOKEN"


@dataclass(frozen=True, slots=True)
class InfoMessage:
    """A message of the info socket.

    Attributes
    ----------
    topic : str
        ``QS_Console`` or ``QS_Info``.
    time : float
        When it was published (epoch seconds).
    msg : object
        Console output (str), or a dictionary such as ``{"status": {...}}``.
    """

    topic: str
    time: float
    msg: Any


class Transport(Protocol):
    """Carries requests to the manager, and what it publishes back.

    It may be made outside an event loop. It belongs to the loop in which it is used first; when that one has
    ended, or in a forked child, it begins anew.

    Attributes
    ----------
    sends_user : bool
        Whether user and user group belong into the parameters of requests. A server that knows who is logged
        in sets them itself.
    timeout : float
        Time (s) within which a reply must come unless a request says otherwise.
    address : str or None
        Where the manager is, if it is asked directly.
    """

    sends_user: bool
    timeout: float
    address: str | None

    @property
    def protocol(self) -> Literal["ZMQ", "HTTP"]:
        """Its name."""

    async def request(self, method: str, params: Mapping[str, Any], timeout: float) -> Any:
        """Send a request and return the reply.

        Parameters
        ----------
        method : str
            Name of the method.
        params : Mapping
            Its parameters.
        timeout : float
            Time (s) within which the reply must come.

        Raises
        ------
        RequestTimeoutError
            No reply came in time.
        RequestFailedError
            The reply cannot be decoded.
        """

    def info(self, topics: Iterable[str]) -> AsyncGenerator[InfoMessage]:
        """Yield what the manager publishes under the topics, from now on."""

    async def close(self) -> None:
        """Release everything; requests in flight end with an error."""
