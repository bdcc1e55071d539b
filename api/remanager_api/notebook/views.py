"""Which view shows the reply of which method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from remanager_api.notebook import figure_views, queue_views, task_views
from remanager_api.notebook.blocks import Badge, Note, Tone, View
from remanager_api.notebook.values import short

_VIEWS: Mapping[str, Callable[[Mapping[str, Any]], View]] = {
    **queue_views.VIEWS,
    **task_views.VIEWS,
    **figure_views.VIEWS,
}


def view_of(method: str, reply: Mapping[str, Any]) -> View | None:
    """Return what shows a reply; None if the dictionary itself says it best.

    Parameters
    ----------
    method : str
        Method that was asked for.
    reply : Mapping
        Its reply.
    """
    if reply.get("success") is False:
        code = short(reply.get("code"))
        marks = [Badge("refused", Tone.BAD), *([Badge(code)] if code else [])]
        return View(method, marks, [Note(short(reply.get("msg")), Tone.PLAIN)])
    make = _VIEWS.get(method)
    return None if make is None else make(reply)
