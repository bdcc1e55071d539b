"""The namespace that start-up code filled, and what it offers."""

from __future__ import annotations

import importlib
import json
import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from remanager.plans.allowed import allowed_lists
from remanager.plans.namespace import existing_plans_and_devices
from remanager.worker.startup import load_script_into_namespace, load_startup, script_root

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from remanager.model.worker_config import WorkerConfig
    from remanager.plans.prepare import PreparedFunction, PreparedPlan
    from remanager.plans.validation import PlanValidator

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


@dataclass(frozen=True, slots=True)
class _Allowed:
    """What each user group may use, made from ``lists`` and ``permissions``."""

    lists: Lists
    permissions: Mapping[str, Any]
    plans: dict[str, dict[str, Any]]
    devices: dict[str, dict[str, Any]]
    validators: dict[str, PlanValidator] = field(default_factory=dict)


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
        self._allowed: _Allowed | None = None
        self._lock = threading.RLock()  # guards the lists and what is made of them
        self.lists = Lists()
        self.ns: dict[str, Any] = {}

    def open(self, load: Callable[[WorkerConfig], dict[str, Any]] = load_startup) -> None:
        """Load the start-up code and describe what it defines; raises what the code raises."""
        self.ns = load(self._config)
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
            plans, devices, plans_ns, devices_ns = existing_plans_and_devices(
                self.ns, self._config.device_max_depth, self._config.ignore_invalid_plans
            )
            plans_changed, devices_changed = plans != old.plans, devices != old.devices
            self.lists = Lists(
                plans=plans if plans_changed else old.plans,
                devices=devices if devices_changed else old.devices,
                plans_text=_text(plans) if plans_changed else old.plans_text,
                devices_text=_text(devices) if devices_changed else old.devices_text,
                plans_ns=plans_ns,
                devices_ns=devices_ns,
            )
            return plans_changed or devices_changed

    def set_permissions(self, permissions: Mapping[str, Any]) -> None:
        """Use other user group permissions from now on; lists of allowed items are made when needed."""
        if permissions != self._permissions:
            self._permissions = permissions

    def warm_up(self) -> None:
        """Do what the next plan would wait for: make the lists of allowed plans and devices, load validation.

        Validation takes a tenth of a second to load, which the opening of the environment need not wait for.
        """
        self._current_allowed()
        importlib.import_module("remanager.plans.prepare")

    def plan_call(self, item: dict[str, Any]) -> PreparedPlan:
        """Turn a plan item into a call; raises :class:`~remanager.model.errors.InvalidItem`."""
        from remanager.plans.prepare import prepare_plan  # only here: see warm_up

        allowed = self._current_allowed()
        return prepare_plan(
            item,
            plans_ns=allowed.lists.plans_ns,
            devices_ns=allowed.lists.devices_ns,
            allowed_plans=allowed.plans,
            allowed_devices=allowed.devices,
            ns=self.ns,
            validators=allowed.validators,
        )

    def unknown_names(self, item: dict[str, Any]) -> list[str]:
        """Return a sentence for each text that is no known name where a plan takes devices or plans.

        Parameters
        ----------
        item : dict
            A plan item of which :meth:`plan_call` has made a call.
        """
        from remanager.plans.unknown_names import unknown_names  # only here: few plans need it

        allowed, group = self._current_allowed(), item["user_group"]
        validator = allowed.validators.get(group)
        if validator is None:  # the lists have changed since
            return []
        plans, devices = allowed.plans[group], allowed.devices[group]
        parameters = plans.get(item["name"], {}).get("parameters", ())
        return list(unknown_names(validator.arguments(item), parameters, plans, devices))

    def function_call(self, item: dict[str, Any]) -> PreparedFunction:
        """Turn a function item into a call; raises an error of :mod:`remanager.model.errors`."""
        from remanager.plans.prepare import prepare_function  # only here: see warm_up

        return prepare_function(item, self.ns, self._permissions or None)

    def _current_allowed(self) -> _Allowed:
        with self._lock:
            made, lists, permissions = self._allowed, self.lists, self._permissions
            if made is None or made.lists is not lists or made.permissions is not permissions:
                groups = allowed_lists(lists.plans, lists.devices, permissions)
                made = self._allowed = _Allowed(
                    lists=lists,
                    permissions=permissions,
                    plans={group: plans for group, (plans, _) in groups.items()},
                    devices={group: devices for group, (_, devices) in groups.items()},
                )
            return made


def _text(descriptions: Mapping[str, Any]) -> str:
    # Docstrings may have lone surrogates (names of files in another encoding), which no file takes.
    return json.dumps(descriptions, ensure_ascii=False).encode("utf-8", "replace").decode()
