"""What can go wrong with a request.

RequestParameterError       a parameter is wrong; nothing was sent
RequestTimeoutError         no answer came in time (a ``TimeoutError``)
RequestFailedError          the manager refused the request
WaitTimeoutError            what was waited for did not happen in time (a ``TimeoutError``)
HTTPError                   over HTTP only: one of the following
HTTPRequestError            the HTTP server cannot be reached
HTTPClientError             the HTTP server refused the request (status 4xx)
HTTPServerError             the HTTP server failed (status 5xx)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TIMEOUT = "Request timeout: "

MAX_REASONS = 3
"""Refused items of a batch whose reasons are in the text of the exception."""


class RequestParameterError(Exception):
    """A parameter is wrong; nothing was sent."""


class RequestTimeoutError(TimeoutError):
    """No answer came in time. Whether the request was carried out is not known.

    A note of the exception says the same in words, and what can be done.

    Attributes
    ----------
    request : dict
        ``method`` and ``params`` of the request.
    request_id : str or None
        The ``request_id`` of the request: a repetition with the same one is not carried out twice.
    address : str or None
        Where the manager should be.
    listening : bool or None
        Whether anything accepts connections there; None where that is not known.
    answered_at : float or None
        When the manager has last answered this client (epoch seconds); None: never.
    """

    def __init__(self, msg: str, request: Mapping[str, Any]) -> None:
        super().__init__(_TIMEOUT + msg)
        self.request = request
        self.request_id = _request_id(request)
        self.address: str | None = None
        self.listening: bool | None = None
        self.answered_at: float | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self).removeprefix(_TIMEOUT), self.request), vars(self)


class RequestFailedError(Exception):
    """The manager refused the request; of a batch, the text says why for the first items.

    Where the manager gives a code, a note of the exception says what it is busy with, or what can be done.

    Attributes
    ----------
    request : dict
        ``method`` and ``params`` of the request.
    response : object
        The reply.
    code : str or None
        Machine-readable reason, where the manager gives one: ``busy``, ``conflict``, ``environment_closed``,
        ``invalid_item``, ``invalid_params``, ``locked``, ``not_found``, ``not_permitted``, ...
    request_id : str or None
        The ``request_id`` of the request.
    """

    def __init__(self, request: Mapping[str, Any], response: object) -> None:
        fields = response if isinstance(response, Mapping) else {"msg": str(response)}
        text = f"Request failed: {fields.get('msg') or '(no error message)'}"
        super().__init__("\n".join([text, *_reasons(fields)]))
        self.request = request
        self.response = response
        self.code: str | None = fields.get("code")
        self.request_id = _request_id(request)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.request, self.response), vars(self)


def refused_items(response: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Return the results of those items of a refused batch that are the reason, by their places.

    Where results have a ``code``, those without were not at fault.
    """
    results = response.get("results")
    if not isinstance(results, list):
        return {}
    failed = {
        place: result
        for place, result in enumerate(results)
        if isinstance(result, Mapping) and not result.get("success", True)
    }
    return {place: result for place, result in failed.items() if result.get("code")} or failed


def _reasons(response: Mapping[str, Any]) -> list[str]:
    faults = refused_items(response)
    lines = [f"  items[{place}]: {result.get('msg')}" for place, result in faults.items()]
    more = len(lines) - MAX_REASONS
    return [*lines[:MAX_REASONS], *([f"  and {more} more"] if more > 0 else [])]


def _request_id(request: Mapping[str, Any]) -> str | None:
    params = request.get("params")
    return params.get("request_id") if isinstance(params, Mapping) else None


class WaitTimeoutError(TimeoutError):
    """What was waited for did not happen in time."""


class WaitCancelError(TimeoutError):
    """The waiting was cancelled with a ``WaitMonitor``."""


class HTTPError(Exception):
    """A request over HTTP failed before the manager could answer it."""


class HTTPRequestError(HTTPError):
    """The HTTP server cannot be reached."""


class HTTPClientError(HTTPError):
    """The HTTP server refused the request (status 4xx)."""


class HTTPServerError(HTTPError):
    """The HTTP server failed (status 5xx)."""
