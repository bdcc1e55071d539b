"""Texts where a plan expects names of plans or devices, but which are no such names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from remanager.engine.estimates import texts_in
from remanager.plans.patterns import DeviceTree, is_object_name_in_list

_KINDS = (("convert_device_names", "device"), ("convert_plan_names", "plan"))


def unknown_names(
    arguments: Mapping[str, Any],
    parameters: Sequence[Mapping[str, Any]],
    plans: DeviceTree,
    devices: DeviceTree,
) -> Iterator[str]:
    """Say which arguments of a valid plan look wrong.

    A name that is not in the lists is no error: it stays a text, which the plan may know what to do with.
    Only parameters that are declared to take plans or devices are looked at.

    Parameters
    ----------
    arguments : mapping
        Arguments by name of parameter.
    parameters : sequence of mapping
        ``parameters`` of the description of the plan.
    plans, devices : mapping
        What the user group may use.

    Yields
    ------
    str
        A sentence about a parameter and a text.
    """
    trees = {"device": devices, "plan": plans}
    for parameter in parameters:
        kinds = [kind for key, kind in _KINDS if parameter.get(key) is True]
        name = parameter["name"]
        if not kinds or name not in arguments:
            continue
        for text in sorted(texts_in(arguments[name])):
            if not any(is_object_name_in_list(text, trees[kind]) for kind in kinds):
                expected = " or ".join(kinds)
                yield f"Parameter '{name}': {text!r:.200} is not the name of a {expected} of the list"
