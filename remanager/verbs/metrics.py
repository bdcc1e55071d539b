"""Figures for monitoring systems."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from remanager.manager.manager import Manager
from remanager.manager.metrics import Metrics
from remanager.verbs.registry import Params, fixed, verb
from remanager.wire.codec import Reply
from remanager.wire.exposition import CONTENT_TYPE, to_text


class MetricsParams(Params):
    """Parameters of ``metrics_get``."""

    format: Literal["prometheus", "json"] = Field(
        "prometheus", description="``prometheus``: text; ``json``: a list"
    )


@verb("metrics_get", MetricsParams, fillers=fixed(content_type=None))
async def metrics_get(manager: Manager, params: MetricsParams) -> Reply:
    """Return figures for a monitoring system: ``text`` in the format of Prometheus, or ``metrics``.

    Labels have few values: types, domains and groups of tasks, states, reasons. Counters go on after a
    restart of the manager, but for what was counted just before a crash.
    """
    families = await Metrics(manager).families()
    if params.format == "json":
        return {"content_type": "application/json", "metrics": [family.as_dict() for family in families]}
    return {"content_type": CONTENT_TYPE, "text": to_text(families)}
