"""Name patterns of permissions and parameter annotations.

A pattern is either a plain name (``count``, ``det1``, ``sim_stage.det.val``) or, when it holds a colon, a
chain of regular expressions, one for each level of the device tree::

    [__TYPE__]:<component>[:<component>...][:depth=N]

``__TYPE__`` limits the match to readable, flyable, detector or motor devices. A component that starts with
``-`` is passed through, but what it matches is not selected itself (``+`` is the default). A component that
starts with ``?`` is matched against the whole remaining dotted name; it must be the last one, and ``depth=N``
may limit how many levels it covers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

DeviceTree = Mapping[str, Mapping[str, Any]]

_PLAIN_NAME = re.compile(r"[_a-zA-Z](?:[_a-zA-Z0-9.]*[_a-zA-Z0-9])?")
_DEPTH = re.compile(r"depth=([0-9]+)")

_DEVICE_TYPES: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "": lambda device: True,
    "__READABLE__": lambda device: bool(device.get("is_readable")),
    "__FLYABLE__": lambda device: bool(device.get("is_flyable")),
    "__DETECTOR__": lambda device: bool(device.get("is_readable") and not device.get("is_movable")),
    "__MOTOR__": lambda device: bool(device.get("is_readable") and device.get("is_movable")),
}


@dataclass(frozen=True, slots=True)
class PatternComponent:
    """One level of a pattern.

    Attributes
    ----------
    text : str
        Name or regular expression, without its prefix character.
    include : bool
        Whether what matches at this level is selected.
    full_name : bool
        Whether the expression applies to the whole remaining dotted name.
    depth : int or None
        Number of levels that a full-name expression covers; None: all.
    """

    text: str
    include: bool = True
    full_name: bool = False
    depth: int | None = None


@dataclass(frozen=True, slots=True)
class NamePattern:
    """A parsed pattern.

    Attributes
    ----------
    components : tuple of PatternComponent
        At least one.
    uses_regex : bool
        Whether the components are regular expressions.
    device_type : str
        ``""`` or one of ``__READABLE__``, ``__FLYABLE__``, ``__DETECTOR__``, ``__MOTOR__``.
    """

    components: tuple[PatternComponent, ...]
    uses_regex: bool
    device_type: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Texts of the components."""
        return tuple(component.text for component in self.components)


def parse_name_pattern(text: object) -> NamePattern:
    """Parse a pattern; spaces in it have no meaning.

    Raises
    ------
    TypeError
        The pattern is not a string.
    ValueError
        The pattern is empty or not well formed.
    """
    if not isinstance(text, str):
        raise TypeError(f"Name pattern {text!r} has incorrect type {type(text)!r}. Expected type: 'str'")
    return _parse(text.replace(" ", ""))


@lru_cache(maxsize=16384)
def _parse(text: str) -> NamePattern:
    if not text:
        raise ValueError("Name pattern is an empty string")
    if ":" in text:
        return _parse_regex(text)
    if not _PLAIN_NAME.fullmatch(text):
        raise ValueError(
            f"Name pattern {text!r} contains invalid characters. "
            "A regular expression starts with ':' (e.g. ':^det$')"
        )
    names = text.split(".")
    if not all(names):
        raise ValueError(f"Name pattern {text!r} contains empty components")
    return NamePattern(tuple(PatternComponent(name) for name in names), uses_regex=False)


def _parse_regex(text: str) -> NamePattern:
    device_type, *parts = text.split(":")
    if device_type not in _DEVICE_TYPES:
        supported = ", ".join(repr(key) for key in _DEVICE_TYPES if key)
        raise ValueError(
            f"Device type {device_type!r} is not supported in {text!r}. Supported types: {supported}"
        )
    parts, depth = _split_depth(text, parts)
    components: list[PatternComponent] = []
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        expression = part[1:] if part[:1] in ("+", "-", "?") else part
        if not expression:
            raise ValueError(f"Name pattern {text!r} contains empty components")
        try:
            re.compile(expression)
        except re.error as exc:
            raise ValueError(
                f"Name pattern {text!r} contains invalid regular expression {expression!r}: {exc}"
            ) from exc
        full_name = part.startswith("?")
        components.append(
            PatternComponent(
                text=expression,
                include=is_last or not part.startswith("-"),
                full_name=full_name,
                depth=depth if full_name else None,
            )
        )
    return NamePattern(tuple(components), uses_regex=True, device_type=device_type)


def _split_depth(text: str, parts: list[str]) -> tuple[list[str], int | None]:
    """Take the ``depth=N`` that may follow a full-name expression off the parts."""
    full = next((number for number, part in enumerate(parts) if part.startswith("?")), None)
    if full is None or full == len(parts) - 1:
        return parts, None
    if full < len(parts) - 2:
        raise ValueError(f"Full name regular expression {parts[full]!r} must be the last in {text!r}")
    match = _DEPTH.fullmatch(parts[-1])
    if match is None:
        raise ValueError(
            f"Full name regular expression {parts[full]!r} can be followed only by 'depth=N' in {text!r}"
        )
    depth = int(match[1])
    if depth < 1:
        raise ValueError(f"Depth ({depth}) must be greater than or equal to 1 in {text!r}")
    return parts[:-1], depth


def matches_name(pattern: NamePattern, name: str) -> bool:
    """Say whether a pattern of one component matches the name of a plan or function.

    Raises
    ------
    ValueError
        The pattern has several components.
    """
    if len(pattern.components) != 1:
        raise ValueError(
            f"Pattern for a plan or function name may contain only one component: {list(pattern.names)}"
        )
    text = pattern.components[0].text
    return re.search(text, name) is not None if pattern.uses_regex else name == text


def matching_devices(pattern: NamePattern, devices: DeviceTree) -> Iterator[tuple[str, ...]]:
    """Find the devices of a tree that a pattern selects.

    Yields
    ------
    tuple of str
        Path of a device, from the name of the top device down. A device may be marked as excluded in the
        tree.
    """
    if not pattern.uses_regex:
        if find_device(pattern.names, devices) is not None:
            yield pattern.names
        return
    yield from _search(pattern, 0, devices, ())


def _search(
    pattern: NamePattern, level: int, devices: DeviceTree, parent: tuple[str, ...]
) -> Iterator[tuple[str, ...]]:
    component = pattern.components[level]
    expression = re.compile(component.text)
    has_type = _DEVICE_TYPES[pattern.device_type]
    if component.full_name:
        yield from _search_full_names(expression, has_type, component.depth, devices, parent, "")
        return
    is_last = level == len(pattern.components) - 1
    for name, device in devices.items():
        if not expression.search(name):
            continue
        path = (*parent, name)
        if component.include and has_type(device):
            yield path
        if not is_last and "components" in device:
            yield from _search(pattern, level + 1, device["components"], path)


def _search_full_names(
    expression: re.Pattern[str],
    has_type: Callable[[Mapping[str, Any]], bool],
    depth: int | None,
    devices: DeviceTree,
    parent: tuple[str, ...],
    prefix: str,
) -> Iterator[tuple[str, ...]]:
    if depth == 0:
        return
    below = None if depth is None else depth - 1
    for name, device in devices.items():
        full_name = prefix + name
        path = (*parent, name)
        if expression.search(full_name) and has_type(device):
            yield path
        if "components" in device:
            yield from _search_full_names(
                expression, has_type, below, device["components"], path, full_name + "."
            )


def find_device(path: tuple[str, ...], devices: DeviceTree) -> Mapping[str, Any] | None:
    """Return the description at a path of the device tree, or None."""
    found: Mapping[str, Any] | None = None
    level: DeviceTree = devices
    for name in path:
        found = level.get(name)
        if found is None:
            return None
        level = found.get("components", {})
    return found


def is_object_name_in_list(name: object, objects: DeviceTree) -> bool:
    """Say whether a plan, device or subdevice name is in the lists and not marked as excluded.

    Parameters
    ----------
    name : object
        ``count``, ``det1``, ``det1.val``; what is no name is in no list.
    objects : mapping
        Descriptions of plans, or trees of devices.
    """
    try:
        pattern = parse_name_pattern(name)
    except (TypeError, ValueError):
        return False
    if pattern.uses_regex:
        return False
    found = find_device(pattern.names, objects)
    return found is not None and not found.get("excluded", False)
