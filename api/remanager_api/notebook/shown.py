"""What shows itself as a view: in a notebook as HTML, elsewhere as text."""

from __future__ import annotations

from remanager_api.notebook.blocks import View
from remanager_api.notebook.render_html import to_html
from remanager_api.notebook.render_text import to_text


class Shown:
    """Shows itself as a view."""

    def _view(self) -> View:
        raise NotImplementedError

    def __repr__(self) -> str:
        return to_text(self._view())

    def _repr_html_(self) -> str:
        return to_html(self._view())
