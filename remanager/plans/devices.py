"""Descriptions of the devices in a namespace."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any, cast

from remanager.plans.registry import registered_devices

logger = logging.getLogger(__name__)

DeviceDescription = dict[str, Any]


def is_device(obj: object) -> bool:
    """Tell whether an object is a device: readable, flyable, or with children as ophyd-async devices have."""
    from bluesky.protocols import Flyable, Readable

    if inspect.isclass(obj) or isinstance(obj, ModuleType):
        return False
    return isinstance(obj, (Readable, Flyable)) or hasattr(obj, "children")


def describe_devices(devices: Mapping[str, object], max_depth: int = 0) -> dict[str, DeviceDescription]:
    """Describe devices and their components.

    A component that cannot be reached makes its device lose all components, as trying the others may take a
    time-out each. A device that cannot be examined at all is left out. Both are logged as warnings.

    Parameters
    ----------
    devices : mapping
        Devices by name.
    max_depth : int
        Depth of the trees: 1 is the devices alone, 2 adds their components; 0 or less sets no limit.
        Registered devices have a depth of their own.

    Returns
    -------
    dict
        ``classname``, ``module``, ``is_readable``, ``is_movable``, ``is_flyable`` and, if there are any,
        ``components`` (descriptions by name) of each device.
    """
    registered = registered_devices()
    descriptions: dict[str, DeviceDescription] = {}
    for name, device in devices.items():
        entry = registered.get(name)
        if entry is not None and entry.exclude:
            continue
        walker = _Walker(max(0, max_depth) if entry is None else entry.depth, entry is not None)
        try:
            descriptions[name] = walker.describe(device, name)
        except Exception as exc:  # noqa: BLE001 - devices run code of the profile, which may raise anything
            logger.warning("Device '%s' is left out of the list, it can not be examined: %s", name, exc)
    return descriptions


class _Walker:
    """Walks down the components of one device."""

    def __init__(self, max_depth: int, is_registered: bool) -> None:
        self._max_depth = max_depth
        self._is_registered = is_registered
        self._path: list[object] = []

    def describe(self, device: object, name: str) -> DeviceDescription:
        description = _device_properties(device)
        self._path.append(device)
        at_limit = self._max_depth and len(self._path) >= self._max_depth
        if not at_limit and (self._is_registered or not _is_areadetector(device)):
            components = self._describe_components(device, name)
            if components:
                description["components"] = components
        self._path.pop()
        return description

    def _describe_components(self, device: object, name: str) -> dict[str, DeviceDescription]:
        components: dict[str, DeviceDescription] = {}
        depth = len(self._path)
        for component_name in _component_names(device):
            try:
                if not hasattr(device, component_name):
                    continue
                component = getattr(device, component_name)
                if any(component is ancestor for ancestor in self._path):
                    logger.warning("Device '%s': component '%s' contains itself", name, component_name)
                    continue
                components[component_name] = self.describe(component, f"{name}.{component_name}")
            except Exception as exc:  # noqa: BLE001 - components run code of the profile
                logger.warning(
                    "Device '%s': component '%s' can not be processed: %s", name, component_name, exc
                )
                del self._path[depth:]
                return {}
        return components


def _device_properties(device: object) -> DeviceDescription:
    from bluesky.protocols import Flyable, Movable, Readable

    # NamedMovable is not asked for: looking at its hints would connect lazy devices.
    return {
        "is_readable": isinstance(device, Readable),
        "is_movable": isinstance(device, Movable),
        "is_flyable": isinstance(device, Flyable),
        "classname": type(device).__name__,
        "module": type(device).__module__,
    }


def _component_names(device: object) -> Iterable[str]:
    if hasattr(device, "component_names"):
        names = device.component_names
        return cast(Iterable[str], names) if isinstance(names, Iterable) else ()
    if hasattr(device, "children"):
        return [child[0] for child in device.children()]
    return ()


def _is_areadetector(device: object) -> bool:
    """Tell whether a device is an ophyd area detector, whose many components are not listed."""
    base = sys.modules.get("ophyd.areadetector.base")
    return base is not None and isinstance(device, base.ADBase)
