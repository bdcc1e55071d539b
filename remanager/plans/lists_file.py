"""The file ``existing_plans_and_devices.yaml``: what the environment offered when it was last open."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from remanager.plans.yaml_io import read_yaml, write_yaml

logger = logging.getLogger(__name__)

_COMMENT = "Written by the run manager when the lists change. Edits are lost at the next change."


@dataclass(frozen=True, slots=True)
class ExistingLists:
    """Descriptions of existing plans and devices.

    Attributes
    ----------
    plans, devices : dict
        Descriptions by name.
    """

    plans: dict[str, Any] = field(default_factory=dict)
    devices: dict[str, Any] = field(default_factory=dict)


def read_lists(path: str | Path) -> ExistingLists:
    """Read the file; a file that is missing or damaged gives empty lists and a line in the log."""
    try:
        content = read_yaml(path)
    except (OSError, ValueError) as exc:
        logger.warning("Lists of plans and devices are not loaded from file '%s': %s", path, exc)
        return ExistingLists()
    lists = _lists_from(content)
    if lists is None:
        logger.warning("Lists of plans and devices are not loaded: file '%s' is empty or damaged", path)
        return ExistingLists()
    return lists


def _lists_from(content: object) -> ExistingLists | None:
    if not isinstance(content, dict):
        return None
    plans, devices = content.get("existing_plans", {}), content.get("existing_devices", {})
    if not isinstance(plans, dict) or not isinstance(devices, dict):
        return None
    return ExistingLists(plans, devices)


def write_lists(path: str | Path, lists: ExistingLists) -> None:
    """Write the file at once as a whole.

    Raises
    ------
    OSError
        The file cannot be written.
    ValueError
        The descriptions are not plain data.
    """
    content = {"existing_plans": lists.plans, "existing_devices": lists.devices}
    write_yaml(path, content, _COMMENT)


def same_content(first: ExistingLists, second: ExistingLists) -> bool:
    """Say whether two pairs of lists describe the same plans and devices."""
    return first.plans == second.plans and first.devices == second.devices


def update_lists(path: str | Path, lists: ExistingLists, known: ExistingLists | None = None) -> bool:
    """Write the file if the lists differ from what it holds.

    Parameters
    ----------
    known : ExistingLists, optional
        What the file is known to hold; read from the file by default, where there is one.

    Returns
    -------
    bool
        Whether the file was written.

    Raises
    ------
    OSError, ValueError
        As :func:`write_lists`.
    """
    if known is None:
        known = read_lists(path) if Path(path).exists() else ExistingLists()
    if same_content(lists, known):
        return False
    write_lists(path, lists)
    return True
