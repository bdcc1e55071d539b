"""Methods of the HTTP server itself: logging in and out, sessions, API keys, principals."""

# ruff: noqa: ASYNC109 - the names of the parameters are those of REManagerAPI

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Iterable, Mapping
from typing import Any

from remanager_api.core import AsyncCore, Reply
from remanager_api.errors import RequestFailedError, RequestParameterError
from remanager_api.http.authorization import (
    credentials,
    headers_for,
    make_authorization,
    provider_path,
)
from remanager_api.http.endpoints import Endpoint, Method, endpoint_of
from remanager_api.http.transport import HTTPTransport
from remanager_api.transport import AuthorizationMethods


def ask_credentials(username: Any, password: Any) -> tuple[Any, Any]:
    """Ask at the terminal for what is missing of user name and password."""
    if username is None:
        username = input("Username: ")
    if password is None:
        password = getpass.getpass()
    return username, password


def _checked_refresh_token(refresh_token: Any) -> str:
    if refresh_token is None:
        raise RequestParameterError("'refresh_token' is not set")
    if not isinstance(refresh_token, str):
        raise RequestParameterError("'refresh_token' must be a string or None")
    if not refresh_token.strip():
        raise RequestParameterError("'refresh_token' is an empty string")
    return refresh_token.strip()


def _apikey_params(expires_in: Any, scopes: Any, note: Any) -> dict[str, Any]:
    if not isinstance(expires_in, int | float):
        raise RequestParameterError(f"Parameter 'expires_in' is not integer: expires_in={expires_in!r}")
    listed = scopes is not None and not isinstance(scopes, str) and isinstance(scopes, Iterable)
    names = list(scopes) if listed else []
    if not all(isinstance(name, str) for name in names) or not (listed or scopes is None):
        raise RequestParameterError(f"Parameter 'scopes' must be a list of strings: scopes={scopes!r}")
    if not isinstance(note, str | None):
        raise RequestParameterError(f"Parameter 'note' must be a string: note={note!r}")
    params = {"expires_in": int(expires_in), "scopes": names, "note": note}
    return {name: value for name, value in params.items() if value or name == "expires_in"}


class SessionMethods(AsyncCore):
    """The part of the client over HTTP that deals with the HTTP server itself.

    The server knows users by an API key (:meth:`set_authorization_key`) or by tokens, which it gives when one
    logs in (:meth:`login`). An access token that has expired is replaced as long as the session lasts.

    A request can fail with ``HTTPRequestError`` (the server is away), ``HTTPClientError`` (it refused the
    request) or ``HTTPServerError`` (it failed).
    """

    _transport: HTTPTransport
    _timeout_login: float
    _provider: str | None

    @property
    def auth_method(self) -> AuthorizationMethods:
        """How requests are authorized."""
        return self._transport.authorization.method

    @property
    def auth_key(self) -> str | tuple[str | None, str | None] | None:
        """The API key, a pair of access token and refresh token, or None."""
        return self._transport.authorization.key

    def set_authorization_key(
        self, *, api_key: str | None = None, token: str | None = None, refresh_token: str | None = None
    ) -> None:
        """Set what requests are authorized by, from now on. Nothing is sent.

        Parameters
        ----------
        api_key : str, optional
            An API key. It excludes tokens.
        token : str, optional
            An access token.
        refresh_token : str, optional
            The token with which a new access token is asked for.

        Raises
        ------
        RequestParameterError
            A key is no string, or there are both an API key and a token.
        """
        self._transport.authorization = make_authorization(api_key, token, refresh_token)

    async def send_request(
        self,
        *,
        method: Method,
        params: Mapping[str, Any] | None = None,
        url_params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        auto_refresh_session: bool = True,
    ) -> Any:
        """Send any request.

        Parameters
        ----------
        method : str or tuple of str
            Name of the method, or verb and path, such as ``("GET", "/api/status")``.
        params : Mapping, optional
            Its parameters.
        url_params : Mapping, optional
            Parameters that belong into the URL.
        headers : Mapping, optional
            Headers in place of those that authorize the request.
        data : Mapping, optional
            A form, in place of the parameters.
        timeout : float, optional
            Time (s) within which the server must say something; 0: no limit; default: that of the client.
        auto_refresh_session : bool
            Replace an access token that has expired, if possible.

        Returns
        -------
        object
            The reply: a dictionary, or a list.

        Raises
        ------
        RequestParameterError
            There is no such method.
        RequestTimeoutError
            The server said nothing in time.
        HTTPRequestError, HTTPClientError, HTTPServerError
            The server is away, refused the request, or failed.
        RequestFailedError
            The manager refused the request, or its reply makes no sense.
        """
        if not isinstance(method, str):
            method = endpoint_of(method)
        reply = await self._answer(
            self._transport.request(
                method,
                params,
                timeout,
                url_params=url_params,
                headers=headers,
                data=data,
                auto_refresh_session=auto_refresh_session,
            )
        )
        return await self._judge_any(method, params, reply)

    async def _judge_any(self, method: str | Endpoint, params: Mapping[str, Any] | None, reply: Any) -> Any:
        """Judge a reply of the manager, or one of the HTTP server itself, which may be a list."""
        if isinstance(reply, dict):
            return await self._judge(
                method if isinstance(method, str) else " ".join(method), params or {}, reply
            )
        if self.request_fail_exceptions_enabled and not isinstance(reply, list):
            raise RequestFailedError({"method": method, "params": params}, reply)
        return reply

    # ------------------------------------------------------------------------------------- sessions

    async def login(
        self, username: str | None = None, *, password: str | None = None, provider: str | None = None
    ) -> Reply:
        """Log in. The tokens that the server gives are used from now on.

        Do not write passwords into scripts.

        Parameters
        ----------
        username : str, optional
            Default: it is asked for at the terminal.
        password : str, optional
            Default: it is asked for at the terminal.
        provider : str, optional
            Who knows the password, such as ``/toy/token``; default: ``http_auth_provider`` of the client.

        Returns
        -------
        dict
            ``access_token``, ``refresh_token``, ``expires_in`` and ``refresh_token_expires_in`` (s),
            ``token_type``.

        Raises
        ------
        RequestParameterError
            User name, password or provider is missing or wrong.
        HTTPRequestError, HTTPClientError, HTTPServerError
            The server is away, refused the request, or failed.
        """
        if username is None or password is None:
            username, password = await asyncio.to_thread(ask_credentials, username, password)
        form = credentials(username, password)
        path = provider_path(provider) or self._provider
        if not path:
            raise RequestParameterError(
                "Authentication provider is not specified: set 'http_auth_provider' or 'provider'"
            )
        reply: Reply = await self.send_request(
            method=("POST", f"/api/auth/provider{path}"),
            data=form,
            timeout=self._timeout_login,
            auto_refresh_session=False,
        )
        self._transport.use_tokens(reply)
        return reply

    async def session_refresh(self, *, refresh_token: str | None = None) -> Reply:
        """Get new tokens, and use them from now on. An expired access token is replaced without this.

        Parameters
        ----------
        refresh_token : str, optional
            Default: the one that the client has.

        Returns
        -------
        dict
            As of :meth:`login`.

        Raises
        ------
        RequestParameterError
            There is no refresh token, or it is no string.
        HTTPRequestError, HTTPClientError, HTTPServerError
            The server is away, refused the request, or failed.
        """
        if refresh_token is None:
            refresh_token = self._transport.authorization.refresh_token
        reply: Reply = await self._transport.refresh_session(_checked_refresh_token(refresh_token))
        return reply

    async def session_revoke(
        self, *, session_uid: str, token: str | None = None, api_key: str | None = None
    ) -> Reply:
        """End a session: its refresh token is no longer accepted. Access tokens and API keys go on working.

        Parameters
        ----------
        session_uid : str
            UID of the session (:meth:`whoami`).
        token, api_key : str, optional
            Authorize this request, in place of the key of the client.
        """
        return await self._authorized(
            ("DELETE", f"/api/auth/session/revoke/{session_uid}"), headers_for(token, api_key)
        )

    async def logout(self) -> Reply:
        """Log out and forget the keys."""
        reply: Reply = await self.send_request(method="logout")
        self.set_authorization_key()
        return reply

    # ------------------------------------------------------------------------------------- keys, principals

    async def apikey_new(
        self,
        *,
        expires_in: float,
        scopes: Iterable[str] | None = None,
        note: str | None = None,
        principal_uid: str | None = None,
    ) -> Reply:
        """Make an API key.

        Parameters
        ----------
        expires_in : float
            Time (s) for which it is valid.
        scopes : iterable of str, optional
            What it permits, such as ``read:status``; default: what is permitted to the user.
        note : str, optional
            What it is for.
        principal_uid : str, optional
            For whom; default: for oneself. Only administrators can make keys for others.

        Returns
        -------
        dict
            The key (``secret``), its ``first_eight`` characters, ``expiration_time``, ``scopes``, ``note``.
        """
        params = _apikey_params(expires_in, scopes, note)
        if not isinstance(principal_uid, str | None):
            raise RequestParameterError(f"Parameter 'principal_uid' must be a string: {principal_uid!r}")
        method: Method = "apikey_new"
        if principal_uid is not None:
            method = ("POST", f"/api/auth/principal/{principal_uid}/apikey")
        reply: Reply = await self.send_request(method=method, params=params)
        return reply

    async def apikey_info(self, *, api_key: str | None = None) -> Reply:
        """Return what is known of an API key; default: the one of the client."""
        return await self._authorized("apikey_info", headers_for(None, api_key))

    async def apikey_delete(
        self, *, first_eight: str, token: str | None = None, api_key: str | None = None
    ) -> Reply:
        """Delete an API key.

        Parameters
        ----------
        first_eight : str
            The first eight characters of the key.
        token, api_key : str, optional
            Authorize this request, in place of the key of the client.
        """
        return await self._authorized(
            "apikey_delete", headers_for(token, api_key), url_params={"first_eight": first_eight}
        )

    async def whoami(self, *, token: str | None = None, api_key: str | None = None) -> Reply:
        """Return who one is for the server: identities, API keys, sessions.

        Parameters
        ----------
        token, api_key : str, optional
            Authorize this request, in place of the key of the client.
        """
        return await self._authorized("whoami", headers_for(token, api_key))

    async def principal_info(self, *, principal_uid: str | None = None) -> Any:
        """Return what is known of a principal, or a list of all. For administrators."""
        path = f"/api/auth/principal/{principal_uid}" if principal_uid else "/api/auth/principal"
        return await self.send_request(method=("GET", path))

    async def api_scopes(self, *, token: str | None = None, api_key: str | None = None) -> Reply:
        """Return the ``roles`` that one has, and the ``scopes`` that are permitted.

        Parameters
        ----------
        token, api_key : str, optional
            Authorize this request, in place of the key of the client.
        """
        return await self._authorized("api_scopes", headers_for(token, api_key))

    async def _authorized(
        self,
        method: Method,
        headers: Mapping[str, str] | None,
        url_params: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Send a request with headers of its own, if there are any."""
        reply: Reply = await self.send_request(method=method, headers=headers, url_params=url_params)
        return reply
