"""Replies that show themselves in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from remanager_api.notebook.blocks import View


TASK_RECORD = "task_record"
"""Names the record of a task by itself, in place of a method."""


class ShownReply(dict[str, Any]):
    """A reply: the dictionary that came, shown as a table in a notebook and in IPython.

    It equals the plain dictionary, and ``repr``, JSON and msgpack make of it what they make of that.

    Parameters
    ----------
    reply : dict
        What came.
    method : str
        Method that was asked for: it decides how the reply looks.
    """

    __slots__ = ("_method",)

    def __init__(self, reply: dict[str, Any], method: str) -> None:
        super().__init__(reply)
        self._method = method

    def __reduce__(self) -> tuple[Any, ...]:
        return ShownReply, (dict(self), self._method)

    def _view(self) -> View | None:
        from remanager_api.notebook.views import view_of

        return view_of(self._method, self)

    def _repr_html_(self) -> str | None:
        view = self._view()
        if view is None:
            return None
        from remanager_api.notebook.render_html import to_html

        return to_html(view)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        view = None if cycle else self._view()
        if view is None:
            printer.pretty(dict(self))
            return
        from remanager_api.notebook.render_text import to_text

        printer.text(to_text(view))
