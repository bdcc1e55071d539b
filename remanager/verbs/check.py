"""What would become of an item: checked like at submission, and what it would take."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import Field

from remanager.engine.estimates import point_count, texts_in
from remanager.engine.queue_item import prepare_item
from remanager.manager.items import FUNCTIONS, MISSING, QUEUE_ITEMS, check_form, prepare, user_of
from remanager.manager.manager import Manager
from remanager.model.errors import InvalidParams, RemanagerError
from remanager.plans.patterns import is_object_name_in_list
from remanager.plans.unknown_names import unknown_names
from remanager.verbs.queue import SLICE
from remanager.verbs.registry import Params, verb
from remanager.wire.codec import Reply

Estimate = dict[str, Any]


class CheckParams(Params):
    """Parameters of ``item_check``."""

    item: Any = Field(None, description="plan, instruction or function")
    items: Any = Field(None, description="list of them, in place of ``item``")
    user: Any = Field(MISSING, description="name of the user")
    user_group: Any = Field(MISSING, description="name of the user group")


def _checked(request: Mapping[str, Any], _manager: Manager) -> Mapping[str, object]:
    if "items" in request:
        return {"items": request["items"], "results": [], "estimate": None}
    return {"item": request.get("item"), "estimate": None, "warnings": []}


@verb("item_check", CheckParams, prefix="Failed to add an item: ", fillers=_checked)
async def item_check(manager: Manager, params: CheckParams) -> Reply:
    """Check items as submission would, and estimate what they would take; nothing changes.

    The answer has an ``estimate``: ``points`` (number of points), ``duration_s`` (from the completed plans of
    that name, in seconds) and ``devices`` (allowed devices among the arguments). A number is null where it is
    not known. Its ``warnings`` name texts that are no known names where the plan takes devices or plans.
    For ``items`` each of the ``results`` has both, and the whole ``estimate`` is for all items together.
    """
    if len(params.model_fields_set & {"item", "items"}) != 1:
        raise InvalidParams("Exactly one of the parameters 'item' and 'items' is required")
    user, group = user_of(manager.catalogue, params.user, params.user_group)
    if "item" in params.model_fields_set:
        item = _check(manager, params.item, user, group)
        return {"item": item, **_findings(manager, item, group)}
    if not isinstance(params.items, list):
        raise InvalidParams(f"Incorrect type of 'items': {type(params.items)}. List is expected")
    results = []
    for number, item in enumerate(params.items, 1):
        try:
            checked = _check(manager, item, user, group)
            results.append({"success": True, "msg": "", **_findings(manager, checked, group)})
        except RemanagerError as exc:
            refused = {"success": False, "msg": f"Failed to add a plan: {exc}"}
            results.append({**refused, "estimate": None, "warnings": []})
        if number % SLICE == 0:
            await asyncio.sleep(0)
    return _batch_reply(params.items, results)


def _batch_reply(items: list[Any], results: list[dict[str, Any]]) -> Reply:
    failed = sum(not r["success"] for r in results)
    reply: dict[str, object] = {"items": items, "results": results, "estimate": None}
    if not failed:
        return {**reply, "estimate": _total([r["estimate"] for r in results])}
    msg = f"Failed to add all items: validation of {failed} out of {len(items)} submitted items failed"
    return {"success": False, "msg": msg, "code": "invalid_item", **reply}


def _check(manager: Manager, item: object, user: str, group: str) -> dict[str, Any]:
    """Return the item as it would be submitted, without a uid.

    Raises
    ------
    RemanagerError
        It would be refused.
    """
    is_function = isinstance(item, dict) and item.get("item_type") in FUNCTIONS
    form = check_form(item, FUNCTIONS if is_function else QUEUE_ITEMS)
    checked = prepare_item(prepare(manager.catalogue, form, user, group)).item
    del checked["item_uid"]
    return checked


def _findings(manager: Manager, item: Mapping[str, Any], group: str) -> dict[str, object]:
    """Return what a valid item would take, and what looks wrong with it."""
    return {"estimate": _estimate(manager, item, group), "warnings": _warnings(manager, item, group)}


def _warnings(manager: Manager, item: Mapping[str, Any], group: str) -> list[str]:
    if item["item_type"] != "plan":
        return []
    catalogue = manager.catalogue
    plans, devices = catalogue.allowed_plans(group), catalogue.allowed_devices(group)
    arguments = catalogue.validator(group).arguments(item)
    parameters = plans[item["name"]].get("parameters", ())
    return list(unknown_names(arguments, parameters, plans, devices))


def _estimate(manager: Manager, item: Mapping[str, Any], group: str) -> Estimate:
    if item["item_type"] == "instruction":
        return {"points": 0, "duration_s": 0.0, "devices": []}
    devices = manager.catalogue.allowed_devices(group)
    texts = texts_in([item.get("args"), item.get("kwargs")])
    points = duration = None
    if item["item_type"] == "plan":
        points = point_count(item)
        duration = manager.statistics.estimator.estimate(item, points)
    return {
        "points": points,
        "duration_s": duration,
        # Most texts are no names of devices: the full look-up is for those that begin like one.
        "devices": sorted(
            t for t in texts if t.partition(".")[0] in devices and is_object_name_in_list(t, devices)
        ),
    }


def _total(estimates: Sequence[Estimate]) -> Estimate:
    return {
        "points": _sum(e["points"] for e in estimates),
        "duration_s": _sum(e["duration_s"] for e in estimates),
        "devices": sorted({name for e in estimates for name in e["devices"]}),
    }


def _sum(values: Iterable[float | None]) -> float | None:
    """Return the sum; None if one of the values is not known."""
    total: float = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total
