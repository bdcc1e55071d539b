"""User group permissions: reload, set, get."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from remanager.manager.items import MISSING
from remanager.manager.manager import Manager
from remanager.model.errors import InvalidParams
from remanager.model.principal import Permission
from remanager.verbs.registry import LockParams, LockScope, NoParams, fixed, verb
from remanager.wire.codec import Reply


class ReloadParams(LockParams):
    """Parameters of ``permissions_reload``."""

    restore_plans_devices: Any = Field(False, description="also read the lists of plans and devices again")
    restore_permissions: Any = Field(True, description="read the permissions from their file again")


class SetParams(LockParams):
    """Parameters of ``permissions_set``."""

    user_group_permissions: Any = Field(MISSING, description="the new permissions, as in their file")


@verb("permissions_reload", ReloadParams, lock=LockScope.QUEUE, permission=Permission.ADMIN, journal=True)
async def permissions_reload(manager: Manager, params: ReloadParams) -> Reply:
    """Compute the lists of allowed plans and devices anew; their UIDs always change."""
    await manager.catalogue.reload(
        restore_lists=bool(params.restore_plans_devices), restore_permissions=bool(params.restore_permissions)
    )
    manager.send_permissions()
    return {}


@verb("permissions_set", SetParams, lock=LockScope.QUEUE, permission=Permission.ADMIN)
async def permissions_set(manager: Manager, params: SetParams) -> Reply:
    """Replace the user group permissions; they survive a restart of the manager process.

    When the daemon is started, the file of permissions, if there is one, replaces them, unless
    ``--user-group-permissions-reload`` is ``ON_REQUEST`` or ``NEVER`` (default: ``ON_STARTUP``). What shall
    stay belongs in the file, too.
    """
    if params.user_group_permissions is MISSING:
        raise InvalidParams("Parameter 'user_group_permissions' is missing")
    if await manager.catalogue.set_permissions(params.user_group_permissions):
        manager.send_permissions()
    return {}


@verb("permissions_get", fillers=fixed(user_group_permissions={}))
def permissions_get(manager: Manager, _params: NoParams) -> Reply:
    """Return the user group permissions."""
    return {"user_group_permissions": manager.catalogue.permissions}
