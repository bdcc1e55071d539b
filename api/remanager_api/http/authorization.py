"""Who the client is for the HTTP server: nobody, the holder of an API key, or of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from remanager_api.errors import RequestParameterError
from remanager_api.transport import AuthorizationMethods


@dataclass(frozen=True, slots=True)
class Authorization:
    """What the client sends to prove who it is.

    Attributes
    ----------
    api_key : str, optional
        An API key, in place of tokens.
    token : str, optional
        An access token.
    refresh_token : str, optional
        The token with which a new access token is asked for.
    """

    api_key: str | None = None
    token: str | None = None
    refresh_token: str | None = None

    @property
    def method(self) -> AuthorizationMethods:
        """How requests are authorized."""
        if self.api_key:
            return AuthorizationMethods.API_KEY
        if self.token or self.refresh_token:
            return AuthorizationMethods.TOKEN
        return AuthorizationMethods.NONE

    @property
    def key(self) -> str | tuple[str | None, str | None] | None:
        """The API key, the access token and the refresh token, or None."""
        if self.method is AuthorizationMethods.TOKEN:
            return self.token, self.refresh_token
        return self.api_key or None

    @property
    def headers(self) -> dict[str, str]:
        """Headers of requests."""
        if self.api_key:
            return {"Authorization": f"ApiKey {self.api_key}"}
        if self.token:
            return {"Authorization": f"Bearer {self.token}"}
        return {}


def make_authorization(api_key: Any = None, token: Any = None, refresh_token: Any = None) -> Authorization:
    """Check the keys and return the authorization by them.

    Raises
    ------
    RequestParameterError
        A key is not a string, or there are both an API key and a token.
    """
    if api_key and (token or refresh_token):
        raise RequestParameterError(
            "API key and a token are mutually exclusive and can not be specified simultaneously."
        )
    for what, value in (("API key", api_key), ("Token", token), ("Refresh token", refresh_token)):
        if not isinstance(value, str | None):
            raise RequestParameterError(f"{what} must be a string or None: type {type(value)!r}")
    return Authorization(api_key, token, refresh_token)


def headers_for(token: str | None, api_key: str | None) -> dict[str, str] | None:
    """Return the headers for one request that is to be authorized by another key, if there is one.

    Raises
    ------
    RequestParameterError
        Both are given.
    """
    if token is not None and api_key is not None:
        raise RequestParameterError("The request contains both token and API key.")
    if token is None and api_key is None:
        return None
    return Authorization(api_key=api_key, token=token).headers


def provider_path(provider: Any) -> str | None:
    """Return the path of an authentication provider, with a leading slash.

    Raises
    ------
    RequestParameterError
        It is no string, or an empty one.
    """
    if provider is None:
        return None
    if not isinstance(provider, str):
        raise RequestParameterError(f"Authentication provider path must be a string or None: {provider!r}")
    if not provider.strip():
        raise RequestParameterError("Authentication provider path is an empty string")
    return "/" + provider.strip().removeprefix("/")


def credentials(username: Any, password: Any) -> dict[str, str]:
    """Return the form that is sent to log in.

    Raises
    ------
    RequestParameterError
        User name or password is no string, or an empty one.
    """
    for name, value in (("username", username), ("password", password)):
        if not isinstance(value, str):
            raise RequestParameterError(f"'{name}' is not string: type {type(value)!r}")
        if not value.strip():
            raise RequestParameterError(f"'{name}' is an empty string")
    return {"username": username.strip(), "password": password}
