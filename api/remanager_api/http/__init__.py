"""The blocking client over HTTP."""

from __future__ import annotations

from functools import wraps
from typing import Any

try:
    import httpx  # noqa: F401
    import websockets  # noqa: F401
except ImportError as missing:
    raise ImportError(
        f"The client over HTTP needs the package {missing.name!r}: pip install 'remanager[http]'",
        name=missing.name,
    ) from missing

from remanager_api.blocking import BlockingClient
from remanager_api.core import Reply
from remanager_api.faces import Mirrored, blocking, forwarded
from remanager_api.http import aio
from remanager_api.http.session import SessionMethods, ask_credentials


class REManagerAPI(BlockingClient):
    """Talks to a run manager through bluesky-httpserver; each method waits for its reply.

    It may be used from several threads, inside a running event loop, and in a forked child. The parameters
    are those of :class:`remanager_api.http.aio.REManagerAPI`, without ``loop``.
    """

    _asynchronous = aio.REManagerAPI

    auth_method = Mirrored[Any](SessionMethods.auth_method)
    auth_key = Mirrored[Any](SessionMethods.auth_key)
    set_authorization_key = forwarded(SessionMethods.set_authorization_key)
    send_request = blocking(SessionMethods.send_request)
    session_refresh = blocking(SessionMethods.session_refresh)
    session_revoke = blocking(SessionMethods.session_revoke)
    logout = blocking(SessionMethods.logout)
    apikey_new = blocking(SessionMethods.apikey_new)
    apikey_info = blocking(SessionMethods.apikey_info)
    apikey_delete = blocking(SessionMethods.apikey_delete)
    whoami = blocking(SessionMethods.whoami)
    principal_info = blocking(SessionMethods.principal_info)
    api_scopes = blocking(SessionMethods.api_scopes)

    @wraps(SessionMethods.login)
    def login(
        self, username: str | None = None, *, password: str | None = None, provider: str | None = None
    ) -> Reply:
        # What is missing is asked for in the thread of the caller, who can interrupt it.
        username, password = ask_credentials(username, password)
        reply: Reply = self._run(self._source.login(username, password=password, provider=provider))
        return reply


__all__ = ["REManagerAPI"]
