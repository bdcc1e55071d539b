"""Loading of devices from a Happi database."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from typing import Any

_NEW_NAME = re.compile(r"[a-z][_a-z0-9]*")


def load_devices_from_happi(
    device_names: Sequence[str | Sequence[str]], *, namespace: dict[str, Any], **kwargs: Any
) -> list[str]:
    """Load devices from the Happi database that the variable ``HAPPI_CFG`` configures.

    Parameters
    ----------
    device_names : list
        Names in the database, or pairs of the name in the database and the name in the namespace; an empty
        second name keeps the first.
    namespace : dict
        Where the devices go.
    **kwargs
        More search parameters.

    Returns
    -------
    list of str
        Names in the namespace.

    Raises
    ------
    ImportError
        The package ``happi`` is not installed.
    TypeError
        Arguments have wrong types.
    RuntimeError
        A search finds no device or several.
    """
    if not isinstance(namespace, dict):
        raise TypeError(f"Parameter 'namespace' must be a dictionary, not {type(namespace)}")
    if not isinstance(device_names, (list, tuple)):
        raise TypeError(f"Parameter 'device_names' value must be a tuple or a list, not {type(device_names)}")
    pairs = [_name_pair(number, entry) for number, entry in enumerate(device_names)]
    try:
        happi: Any = importlib.import_module("happi")
    except ImportError as exc:
        raise ImportError(
            "Loading devices from Happi needs the package 'happi', which is not installed"
        ) from exc
    client = happi.Client.from_config()
    results = [_find(client, name, new_name, kwargs) for name, new_name in pairs]
    loaded: dict[str, Any] = vars(happi.load_devices(*(result.item for result in results)))
    namespace.update(loaded)
    return list(loaded)


def _name_pair(number: int, entry: object) -> tuple[str, str]:
    if isinstance(entry, str):
        return entry, ""
    if not isinstance(entry, (list, tuple)):
        raise TypeError(f"Parameter 'device_names': element #{number} must be str, tuple or list: {entry}")
    if len(entry) != 2 or not all(isinstance(name, str) for name in entry):
        raise TypeError(
            f"Parameter 'device_names': element #{number} is expected to be in the form "
            f"('name_in_db', 'name_in_namespace'): device_names[n] = {entry}"
        )
    name, new_name = entry
    if new_name and not _NEW_NAME.fullmatch(new_name):
        raise TypeError(
            f"The device '{name}' can not be renamed: The new device name '{new_name}' may consist of "
            "lowercase letters, numbers and '_' and must start from lowercase letter"
        )
    return name, new_name


def _find(client: Any, name: str, new_name: str, search: dict[str, Any]) -> Any:
    search = {**search, "name": name}
    results = client.search(**search)
    if len(results) != 1:
        count = "Multiple" if results else "No"
        raise RuntimeError(
            f"{count} devices with name '{name}' were found in Happi database. Search parameters {search}"
        )
    result = results[0]
    if new_name:
        # Other fields of the item refer to its name by a template, so that renaming it is enough.
        result.item.name = new_name
        result.metadata["name"] = new_name
    return result
