"""How long ended tasks are kept, as the settings say it."""

from __future__ import annotations

import re

from remanager.model.states import StateClass
from remanager.store.records import Keep

FORM = "CLASS=SECONDS, CLASS=SECONDS/COUNT or CLASS=/COUNT, divided by commas; classes: " + ", ".join(
    kind.value for kind in StateClass if kind is not StateClass.ACTIVE
)

_PART = re.compile(r"(?P<kind>[a-z]+)=(?P<seconds>[0-9]+(?:\.[0-9]+)?)?(?:/(?P<count>[0-9]+))?")


def parse_retention(text: str) -> dict[StateClass, Keep]:
    """Return what a text such as ``failure=604800/10000,success=86400`` says.

    Raises
    ------
    ValueError
        It is not of the form :data:`FORM`.
    """
    found: dict[StateClass, Keep] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        match = _PART.fullmatch(part)
        if match is None or not (match["seconds"] or match["count"]):
            raise ValueError(f"{part!r} is not {FORM}")
        kind = StateClass(match["kind"])
        if kind is StateClass.ACTIVE or kind in found:
            raise ValueError(f"{part!r} is not {FORM}")
        seconds, count = match["seconds"], match["count"]
        found[kind] = Keep(float(seconds) if seconds else None, int(count) if count else None)
    return found
