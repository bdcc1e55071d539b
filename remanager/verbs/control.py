"""Stopping the manager."""

from __future__ import annotations

import time
from typing import Any

from pydantic import Field

from remanager.manager.manager import Manager
from remanager.model.errors import Busy, InvalidParams, NotPermitted
from remanager.model.principal import Permission
from remanager.verbs.registry import NoParams, Params, verb
from remanager.wire.codec import Reply

STOP_OPTIONS = ("safe_off", "safe_on")


class StopParams(Params):
    """Parameters of ``manager_stop``."""

    option: Any = Field(
        None, description="``safe_on`` (default): only if idle; ``safe_off``: also a running plan"
    )


@verb("manager_stop", StopParams, mutating=True, permission=Permission.ADMIN, journal=True)
def manager_stop(manager: Manager, params: StopParams) -> Reply:
    """Stop the daemon: close the environment, then leave."""
    option = "safe_on" if params.option is None else params.option
    if option not in STOP_OPTIONS:
        raise InvalidParams(f"Option '{option}' is not allowed. Allowed options: {STOP_OPTIONS}")
    if option == "safe_on" and not manager.state.idle:
        raise Busy(
            f"Closing RE Manager with option '{option}' is allowed only in 'idle' state. "
            f"Current state: '{manager.state.manager_state}'"
        )
    manager.request_stop()
    return {}


@verb("manager_kill", permission=Permission.ADMIN)
def manager_kill(manager: Manager, _params: NoParams) -> Reply:
    """Hang, so that the supervisor restarts the manager: a test, refused unless the settings allow it."""
    if not manager.options.allow_kill:
        raise NotPermitted(
            "'manager_kill' is a test of the supervisor; start with --allow-manager-kill ON to use it"
        )
    while True:
        time.sleep(10)
