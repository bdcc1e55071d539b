"""Checking the items of requests, in the protocol's order and with its texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from remanager.engine.queue_item import Submission
from remanager.manager.catalogue import Catalogue
from remanager.manager.state import new_uid
from remanager.model.errors import InvalidItem, InvalidParams, NotPermitted
from remanager.model.principal import asked_by

QUEUE_ITEMS = ("plan", "instruction")
FUNCTIONS = ("function",)
MAX_LABEL_CHARS = 1000
MAX_TAGS = 100
MISSING: Any = object()


def user_of(catalogue: Catalogue, user: object, user_group: object) -> tuple[str, str]:
    """Return user and group of a request.

    Raises
    ------
    InvalidParams
        One is missing, or the group is not known.
    """
    if user_group is MISSING:
        raise InvalidParams("Incorrect request format: user group is not specified")
    if user is MISSING:
        raise InvalidParams("Incorrect request format: user name is not specified")
    if not isinstance(user_group, str) or user_group not in catalogue.groups:
        raise InvalidParams(f"Unknown user group: '{user_group}'")
    return str(user), user_group


def submission() -> Submission:
    """Return where an item of the request that is being worked on comes from."""
    return Submission(asked_by.get())


def check_form(item: object, types: Sequence[str] = QUEUE_ITEMS) -> dict[str, Any]:
    """Return the item if it is a dictionary of a supported type.

    Raises
    ------
    InvalidParams
        It is missing or of another form.
    """
    prefix = "Incorrect request format: "
    if item is MISSING:
        raise InvalidParams(f"{prefix}request contains no item info")
    if not isinstance(item, dict):
        raise InvalidParams(
            f"{prefix}incorrect type ('{type(item)}') of item parameter: item parameter must have type 'dict'"
        )
    kind = item.get("item_type")
    if kind is None:
        raise InvalidParams(f"{prefix}'item_type' key is not found")
    if kind not in types:
        raise InvalidParams(
            f"{prefix}unsupported 'item_type' value: '{kind}', supported item types {tuple(types)}"
        )
    return item


def prepare(
    catalogue: Catalogue,
    item: dict[str, Any],
    user: str,
    user_group: str,
    *,
    keep_uid: bool = False,
) -> dict[str, Any]:
    """Check an item and return it with user, group and uid.

    Parameters
    ----------
    item : dict
        An item of proper form (see :func:`check_form`).
    keep_uid : bool
        Keep the item's own uid; else a new one is made.

    Raises
    ------
    InvalidItem, NotPermitted
        The item is not valid, or not allowed for the group.
    """
    kind = item["item_type"]
    _check_labels(item)
    if kind == "plan":
        _check_plan(catalogue, item, user_group)
    elif kind == "instruction":
        if item.get("name") != "queue_stop":
            raise InvalidItem(f"Unrecognized instruction: {item}")
    else:
        _check_function(catalogue, item, user_group)
    if not keep_uid:
        return {**item, "user": user, "user_group": user_group, "item_uid": new_uid()}
    if "item_uid" not in item:
        raise InvalidItem("Item description contains no UID and UID generation is skipped")
    return {**item, "user": user, "user_group": user_group}


def _check_plan(catalogue: Catalogue, item: dict[str, Any], user_group: str) -> None:
    try:
        catalogue.validator(user_group).validate(item)
    except InvalidItem as exc:
        if catalogue.lists.plans:
            raise
        raise InvalidItem(
            f"{exc} No plans are known yet: open the environment, their list is made then."
        ) from exc


def _check_labels(item: dict[str, Any]) -> None:
    """Check what people write on an item to find it again: ``label`` and ``tags``."""
    if "label" not in item and "tags" not in item:
        return
    label, tags = item.get("label", ""), item.get("tags", {})
    if not isinstance(label, str) or len(label) > MAX_LABEL_CHARS:
        raise InvalidItem(
            f"The 'label' of an item must be a string of at most {MAX_LABEL_CHARS} characters: {label!r:.200}"
        )
    if (
        not isinstance(tags, dict)
        or len(tags) > MAX_TAGS
        or not all(isinstance(t, str) and len(t) <= MAX_LABEL_CHARS for pair in tags.items() for t in pair)
    ):
        raise InvalidItem(
            f"The 'tags' of an item must be a dictionary of at most {MAX_TAGS} strings "
            f"of at most {MAX_LABEL_CHARS} characters: {tags!r:.200}"
        )


def _check_function(catalogue: Catalogue, item: dict[str, Any], user_group: str) -> None:
    if "name" not in item:
        raise InvalidItem(f"Function name is not specified: {item}")
    name = item["name"]
    if not isinstance(name, str):
        raise InvalidItem(f"Function name is not a string: {type(name)}")
    if "args" in item and not isinstance(item["args"], (list, tuple)):
        raise InvalidItem(f"Parameter 'args' is not a tuple or a list: {type(item['args'])}")
    if "kwargs" in item and not isinstance(item["kwargs"], dict):
        raise InvalidItem(f"Parameter 'kwargs' is not a dictionary: {type(item['kwargs'])}")
    if not catalogue.function_allowed(name, user_group):
        raise NotPermitted(f"Function {name!r} is not allowed for users from {user_group!r} group.")
