"""The namespace that start-up code filled, and what it offers."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from remanager.plans.allowed import AllowedListsCache
from remanager.plans.namespace import (
    devices_from_namespace,
    existing_plans_and_devices,
    plans_from_namespace,
)
from remanager.plans.prepare import prepare_function, prepare_plan
from remanager.worker.startup import load_script_into_namespace, load_startup, script_root

if TYPE_CHECKING:
    from collections.abc import Mapping

    from remanager.model.worker_config import WorkerConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lists:
    """Plans and devices of the namespace.

    Attributes
    ----------
    plans, devices : dict
        Descriptions by name.
    plans_text, devices_text : str
        The descriptions as JSON texts.
    plans_ns, devices_ns : dict
        The objects by name.
    """

    plans: dict[str, Any] = field(default_factory=dict)
    devices: dict[str, Any] = field(default_factory=dict)
    plans_text: str = "{}"
    devices_text: str = "{}"
    plans_ns: dict[str, Any] = field(default_factory=dict)
    devices_ns: dict[str, Any] = field(default_factory=dict)


class Environment:
    """Loads start-up code and scripts, and turns items into calls.

    Parameters
    ----------
    config : WorkerConfig
        Where the start-up code is and how its content is listed.
    """

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._permissions: Mapping[str, Any] = config.permissions
        self._allowed = AllowedListsCache()
        self._lock = threading.RLock()  # guards the lists and what is made of them
        self.lists = Lists()
        self.ns: dict[str, Any] = {}

    def open(self) -> None:
        """Load the start-up code and describe what it defines; raises what the code raises."""
        self.ns = load_startup(self._config)
        self.refresh_lists()

    def load_script(self, script: str, *, update_re: bool) -> None:
        """Run a script in the namespace; ``RE`` and ``db`` are replaced only if ``update_re``."""
        load_script_into_namespace(self.ns, script, update_re=update_re, root=script_root(self._config))

    def refresh_lists(self) -> bool:
        """Describe the namespace anew.

        Returns
        -------
        bool
            Whether the descriptions changed.
        """
        with self._lock:
            old = self.lists
            plans, devices = existing_plans_and_devices(
                self.ns, self._config.device_max_depth, self._config.ignore_invalid_plans
            )
            plans_changed, devices_changed = plans != old.plans, devices != old.devices
            self.lists = Lists(
                plans=plans if plans_changed else old.plans,
                devices=devices if devices_changed else old.devices,
                plans_text=json.dumps(plans) if plans_changed else old.plans_text,
                devices_text=json.dumps(devices) if devices_changed else old.devices_text,
                plans_ns=plans_from_namespace(self.ns),
                devices_ns=devices_from_namespace(self.ns),
            )
            return plans_changed or devices_changed

    def set_permissions(self, permissions: Mapping[str, Any]) -> None:
        """Use other user group permissions from now on; lists of allowed items are made when needed."""
        self._permissions = permissions

    def allowed(self, group: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the plans and devices that a user group may use.

        Raises
        ------
        RuntimeError
            There is no such group.
        """
        with self._lock:
            lists = self._allowed.get(self.lists.plans, self.lists.devices, self._permissions)
        if group not in lists:
            raise RuntimeError(
                f"Lists of allowed plans and devices is not defined for the user group '{group}'"
            )
        return lists[group]

    def warm_up(self) -> None:
        """Make the lists of allowed plans and devices, so that the first plan need not wait for them."""
        with self._lock:
            self._allowed.get(self.lists.plans, self.lists.devices, self._permissions)

    def plan_call(self, item: dict[str, Any]) -> dict[str, Any]:
        """Turn a plan item into ``{"callable", "args", "kwargs", "meta"}``."""
        lists = self.lists
        plans, devices = self.allowed(str(item.get("user_group")))
        return prepare_plan(
            item,
            plans_ns=lists.plans_ns,
            devices_ns=lists.devices_ns,
            allowed_plans=plans,
            allowed_devices=devices,
            ns=self.ns,
        )

    def function_call(self, item: dict[str, Any]) -> dict[str, Any]:
        """Turn a function item into ``{"callable", "args", "kwargs"}``."""
        return prepare_function(item, self.ns, self._permissions)
