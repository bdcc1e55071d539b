"""Where bluesky-httpserver offers the methods of the manager: method -> (verb, path)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from remanager_api.errors import RequestParameterError

Endpoint = tuple[str, str]
Method = str | Iterable[str]

CONSOLE_UPDATE: Final[Endpoint] = ("GET", "/api/console_output_update")
"""Console output since the last question."""

WEBSOCKETS: Final[Mapping[str, str]] = {"QS_Console": "/api/console_output/ws", "QS_Info": "/api/info/ws"}
"""Web sockets by the topic of the manager's info socket that they pass on."""

_READ = (
    "ping",
    "status",
    "config_get",
    "queue_get",
    "queue_item_get",
    "history_get",
    "re_metadata",
    "plans_allowed",
    "devices_allowed",
    "plans_existing",
    "devices_existing",
    "permissions_get",
    "task_status",
    "task_result",
    "lock_info",
)
_CHANGE = (
    "queue_start",
    "queue_stop",
    "queue_stop_cancel",
    "queue_clear",
    "queue_autostart",
    "queue_mode_set",
    "queue_item_add",
    "queue_item_add_batch",
    "queue_item_update",
    "queue_item_remove",
    "queue_item_remove_batch",
    "queue_item_move",
    "queue_item_move_batch",
    "queue_item_execute",
    "history_clear",
    "environment_open",
    "environment_close",
    "environment_destroy",
    "environment_update",
    "re_pause",
    "re_resume",
    "re_stop",
    "re_abort",
    "re_halt",
    "re_runs",
    "permissions_reload",
    "permissions_set",
    "script_upload",
    "function_execute",
    "lock",
    "unlock",
    "kernel_interrupt",
    "manager_stop",
)


def _path(method: str) -> str:
    return "/api/" + method.replace("_", "/")


ENDPOINTS: Final[Mapping[str, Endpoint]] = {
    **{method: ("GET", _path(method)) for method in _READ},
    **{method: ("POST", _path(method)) for method in _CHANGE},
    "manager_kill": ("POST", "/api/test/manager/kill"),
    # Of the HTTP server itself.
    "session_refresh": ("POST", "/api/auth/session/refresh"),
    "apikey_new": ("POST", "/api/auth/apikey"),
    "apikey_info": ("GET", "/api/auth/apikey"),
    "apikey_delete": ("DELETE", "/api/auth/apikey"),
    "whoami": ("GET", "/api/auth/whoami"),
    "api_scopes": ("GET", "/api/auth/scopes"),
    "logout": ("POST", "/api/auth/logout"),
}


def endpoint_of(method: Method) -> Endpoint:
    """Return where a method is offered.

    Parameters
    ----------
    method : str or iterable of str
        Name of a method, or verb and path of an endpoint.

    Raises
    ------
    RequestParameterError
        The HTTP server has no such endpoint, or this is no verb and path.
    """
    if isinstance(method, str):
        if method not in ENDPOINTS:
            raise RequestParameterError(
                f"Unknown method {method!r}: bluesky-httpserver has no endpoint for it. "
                "Over ZeroMQ (remanager_api.zmq) all methods of the manager are available"
            )
        return ENDPOINTS[method]
    if not isinstance(method, Iterable):
        raise RequestParameterError(
            f"Method must be a string or an iterable: method={method!r} type(method)={type(method)!r}"
        )
    match tuple(method):
        case (str(verb), str(path)):
            return verb, path
        case other:
            raise RequestParameterError(
                f"If method is an iterable, it must consist of 2 string elements: method={other!r}"
            )
