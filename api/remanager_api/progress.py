"""How far something is, made of what the manager tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

ESTIMATE_CAP = 0.99
"""What only the time tells is never quite done."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far something is. What is not known is None.

    Attributes
    ----------
    state : str
        ``pending``, ``running``, ``completed``, ...
    fraction : float or None
        The best guess (0 to 1).
    done_count, total_count : float or None
        Parts, such as the points of a scan.
    done_size, total_size : float or None
        Bytes.
    message : str
        What the task says.
    elapsed_s, eta_s : float or None
        How long it has taken, and will still take (s).
    """

    state: str
    fraction: float | None = None
    done_count: float | None = None
    total_count: float | None = None
    done_size: float | None = None
    total_size: float | None = None
    message: str = ""
    elapsed_s: float | None = None
    eta_s: float | None = None

    @classmethod
    def of_task(cls, state: str, told: Mapping[str, Any] | None) -> Self:
        """Make it from the ``progress`` of a task."""
        told = told or {}
        names = ("done_count", "total_count", "done_size", "total_size", "elapsed_s", "eta_s")
        values = {name: told.get(name) for name in names}
        return cls(state, fraction=told.get("best"), message=told.get("message") or "", **values)

    @classmethod
    def of_plan(cls, state: str, told: Mapping[str, Any]) -> Self:
        """Make it from the ``progress`` of the status, which is that of the running plan."""
        done, total = told["done_count"], told["total_count"]
        elapsed, expected = told["elapsed_s"], told["estimated_s"]
        fraction = None
        if total:
            fraction = min(done / total, 1.0)
        elif expected:
            fraction = min(elapsed / expected, ESTIMATE_CAP)
        values = {"done_count": done, "total_count": total, "elapsed_s": elapsed, "eta_s": told["eta_s"]}
        return cls(state, fraction=fraction, **values)

    @property
    def percent(self) -> int | None:
        """The fraction as a whole number (0 to 100)."""
        return None if self.fraction is None else int(self.fraction * 100)

    def _repr_html_(self) -> str:
        from remanager_api.notebook.handle_views import progress_html

        return progress_html(self)

    def told(self) -> tuple[object, ...]:
        """Everything but the time."""
        counts = (self.done_count, self.total_count, self.done_size, self.total_size)
        return (self.state, self.fraction, *counts, self.message)
