"""The errors of the HTTP transport: those of the client and of httpx at once."""

from __future__ import annotations

import httpx

from remanager_api import errors


class HTTPRequestError(errors.HTTPRequestError, httpx.RequestError):
    """The HTTP server cannot be reached."""


class HTTPClientError(errors.HTTPClientError, httpx.HTTPStatusError):
    """The HTTP server refused the request (status 4xx).

    Attributes
    ----------
    request : httpx.Request
    response : httpx.Response
    """


class HTTPServerError(errors.HTTPServerError, httpx.HTTPStatusError):
    """The HTTP server failed (status 5xx).

    Attributes
    ----------
    request : httpx.Request
    response : httpx.Response
    """


def status_error(error: httpx.HTTPStatusError) -> HTTPClientError | HTTPServerError:
    """Return the error for an answer whose status is not 2xx."""
    response = error.response
    if response.status_code >= 500:
        return HTTPServerError(str(error), request=error.request, response=response)
    text = f"{response.status_code}: {_detail(response)} {error.request.url}"
    return HTTPClientError(text, request=error.request, response=response)


def _detail(response: httpx.Response) -> object:
    """Return what the server says about its refusal; a proxy in front of it may answer in any form."""
    try:
        body = response.json()
    except ValueError:
        return response.reason_phrase
    return body.get("detail", response.reason_phrase) if isinstance(body, dict) else body
