"""Plans and devices of a namespace that start-up code filled."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Collection, Mapping
from types import FunctionType
from typing import Any

from remanager.plans.descriptions import Plan, PlanDescription, describe_plans, is_plan
from remanager.plans.devices import DeviceDescription, describe_devices, is_device
from remanager.plans.registry import registered_devices, registered_plans

logger = logging.getLogger(__name__)


def plans_from_namespace(ns: Mapping[str, Any]) -> dict[str, Plan]:
    """Return the plans of a namespace by name, excluded ones included."""
    plans = _select(ns, is_plan, "plan")
    _warn_missing(registered_plans(), plans, "plan")
    if wrappers := [name for name, obj in list(ns.items()) if name not in plans and _wraps_a_plan(obj)]:
        logger.info(
            "Not listed as plans, as they are no generator functions, but wrap one: %s. "
            "Call them from a plan, or mark them with bluesky.utils.plan",
            ", ".join(wrappers),
        )
    return plans


def devices_from_namespace(ns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the devices of a namespace by name, excluded ones included."""
    devices = _select(ns, is_device, "device")
    _warn_missing(registered_devices(), devices, "device")
    return devices


def existing_plans_and_devices(
    ns: Mapping[str, Any], max_depth: int = 0, ignore_invalid_plans: bool = False
) -> tuple[dict[str, PlanDescription], dict[str, DeviceDescription], dict[str, Plan], dict[str, Any]]:
    """Describe all plans and devices of a namespace.

    Parameters
    ----------
    ns : mapping
        The namespace.
    max_depth : int
        Depth of the device trees; 0 sets no limit.
    ignore_invalid_plans : bool
        Leave out plans that cannot be described, with a warning, instead of failing.

    Returns
    -------
    plans, devices : dict
        Descriptions by name.
    plans_ns, devices_ns : dict
        The objects by name, excluded ones included.

    Raises
    ------
    PlanDescriptionError
        Plans cannot be described and must not be left out.
    """
    plans_ns, devices_ns = plans_from_namespace(ns), devices_from_namespace(ns)
    devices = describe_devices(devices_ns, max_depth)
    plans = describe_plans(plans_ns, devices, ignore_invalid_plans=ignore_invalid_plans)
    return plans, devices, plans_ns, devices_ns


def _select(ns: Mapping[str, Any], accepts: Callable[[object], bool], kind: str) -> dict[str, Any]:
    selected: dict[str, Any] = {}
    for name, obj in list(ns.items()):
        try:
            if accepts(obj):
                selected[name] = obj
        except Exception as exc:  # noqa: BLE001 - attributes of foreign objects may raise anything
            logger.warning("Can not tell whether '%s' is a %s, it is left out: %s", name, kind, exc)
    return selected


def _wraps_a_plan(obj: object) -> bool:
    return isinstance(obj, FunctionType) and inspect.isgeneratorfunction(getattr(obj, "__wrapped__", None))


def _warn_missing(registered: Mapping[str, Any], found: Collection[str], kind: str) -> None:
    for name, entry in registered.items():
        if not entry.exclude and name not in found:
            logger.warning("Registered %s '%s' is not found in the namespace or is no %s", kind, name, kind)
