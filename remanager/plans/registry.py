"""Plans and devices that start-up code registered, with wishes how to list them.

Start-up code calls :func:`register_plan` and :func:`register_device`, possibly before the objects exist.
Registration with the package ``bluesky_queueserver`` counts too, if start-up code uses that package.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import Any

_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_PEER_MODULE = "bluesky_queueserver.manager.profile_ops"


@dataclass(frozen=True, slots=True)
class RegisteredPlan:
    """A registered plan; ``exclude`` keeps it out of the lists."""

    exclude: bool = False


@dataclass(frozen=True, slots=True)
class RegisteredDevice:
    """A registered device; ``depth`` is the depth of its tree (0: no limit), ``exclude`` keeps it out."""

    depth: int = 1
    exclude: bool = False


_plans: dict[str, RegisteredPlan] = {}
_devices: dict[str, RegisteredDevice] = {}


def _check_name(name: str, kind: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{kind} name must be a string: name={name} type(name)={type(name)}")
    if not name:
        raise ValueError(f"{kind} name is an empty string")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{kind} name {name!r} contains invalid characters. The name must start with a letter "
            "or underscore and may contain letters, numbers and underscores."
        )


def register_plan(name: str, *, exclude: bool = False) -> None:
    """Register a plan of the start-up code.

    Parameters
    ----------
    name : str
        Name of the global variable that holds the plan.
    exclude : bool
        Keep the plan out of the list of existing plans. Other plans can still call it.

    Raises
    ------
    TypeError, ValueError
        The name is not a string or not an identifier.
    """
    _check_name(name, "Plan")
    _plans[name] = RegisteredPlan(bool(exclude))


def register_device(name: str, *, depth: int = 1, exclude: bool = False) -> None:
    """Register a device of the start-up code.

    Parameters
    ----------
    name : str
        Name of the global variable that holds the device. Names of components are not accepted.
    depth : int
        Depth of the listed device tree: 1 is the device alone, 2 adds its components, and so on;
        0 sets no limit. It overrides the default depth.
    exclude : bool
        Keep the device out of the list of existing devices. Code can still use it.

    Raises
    ------
    TypeError, ValueError
        The name is not an identifier, or the depth is not a non-negative integer.
    """
    _check_name(name, "Device")
    if not isinstance(depth, int):
        raise TypeError(f"Depth must be an integer number: depth={depth} type(depth)={type(depth)}")
    if depth < 0:
        raise ValueError(f"Depth must be a positive integer: depth={depth}")
    _devices[name] = RegisteredDevice(depth, bool(exclude))


def registered_plans() -> dict[str, RegisteredPlan]:
    """Return all registered plans by name."""
    peer = {name: RegisteredPlan(entry["exclude"]) for name, entry in _peer_items("reg_plans").items()}
    return peer | _plans


def registered_devices() -> dict[str, RegisteredDevice]:
    """Return all registered devices by name."""
    peer = {
        name: RegisteredDevice(entry["depth"], entry["exclude"])
        for name, entry in _peer_items("reg_devices").items()
    }
    return peer | _devices


def clear_registered_items() -> None:
    """Forget all registrations, those with ``bluesky_queueserver`` included."""
    _plans.clear()
    _devices.clear()
    for kind in ("reg_plans", "reg_devices"):
        _peer_items(kind).clear()


def _peer_items(kind: str) -> dict[str, dict[str, Any]]:
    items = getattr(sys.modules.get(_PEER_MODULE), "reg_ns_items", None)
    return getattr(items, kind, {})
