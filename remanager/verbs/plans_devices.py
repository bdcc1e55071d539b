"""Asking for plans and devices: what exists, and what a user group may use."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from remanager.manager.items import MISSING
from remanager.manager.manager import Manager
from remanager.model.errors import InvalidParams
from remanager.verbs.registry import NoParams, Params, fixed, verb
from remanager.wire.codec import Reply


class GroupParams(Params):
    """Parameters of the questions for allowed plans and devices."""

    user_group: Any = Field(MISSING, description="name of the user group")

    @property
    def group(self) -> str:
        """The group; an error if it is missing."""
        if self.user_group is MISSING:
            raise InvalidParams("Incorrect request format: user group is not specified")
        return str(self.user_group)


@verb("plans_allowed", GroupParams, prefix="", fillers=fixed(plans_allowed={}, plans_allowed_uid=None))
def plans_allowed(manager: Manager, params: GroupParams) -> Reply:
    """Return descriptions of the plans that a user group may run."""
    return manager.catalogue.allowed("plans", params.group)


@verb("devices_allowed", GroupParams, prefix="", fillers=fixed(devices_allowed={}, devices_allowed_uid=None))
def devices_allowed(manager: Manager, params: GroupParams) -> Reply:
    """Return descriptions of the devices that a user group may use."""
    return manager.catalogue.allowed("devices", params.group)


@verb("plans_existing", prefix="", fillers=fixed(plans_existing={}, plans_existing_uid=None))
def plans_existing(manager: Manager, _params: NoParams) -> Reply:
    """Return descriptions of all plans of the environment."""
    return manager.catalogue.existing("plans")


@verb("devices_existing", prefix="", fillers=fixed(devices_existing={}, devices_existing_uid=None))
def devices_existing(manager: Manager, _params: NoParams) -> Reply:
    """Return descriptions of all devices of the environment."""
    return manager.catalogue.existing("devices")
