"""What the documents of the running plan tell: its runs and how far it is."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    OnRuns = Callable[[list[dict[str, Any]]], None]
    OnProgress = Callable[[int, int | None], None]

MAX_NUMBER = 1 << 63
COUNTED_STREAM = "primary"
MOST_LISTED = 1000
"""Runs of a plan that the list of runs has at most, the newest ones; the report of the plan has all."""
DOCUMENTS = ("start", "descriptor", "event", "event_page", "stop")


class RunMonitor:
    """Document callback for one plan: keeps its list of runs and counts its points.

    Points are the events of the stream ``primary``: ``num_points`` of a start document speaks of that stream.

    Parameters
    ----------
    on_runs : callable
        Called with a new list of the last runs whenever a run opens or closes; each run is
        ``{"uid": str, "scan_id": int | None, "is_open": bool, "exit_status": str | None}``.
    on_progress : callable
        Called as ``on_progress(done, total)`` in points; ``total`` is None if a run does not tell it.
    """

    def __init__(self, on_runs: OnRuns, on_progress: OnProgress) -> None:
        self._on_runs = on_runs
        self._on_progress = on_progress
        self._runs: dict[str, dict[str, Any]] = {}
        self._streams: dict[str, str] = {}
        self._done = 0
        self._total: int | None = 0

    @property
    def run_uids(self) -> list[str]:
        """Uids of the runs in the order in which they were opened."""
        return list(self._runs)

    @property
    def scan_ids(self) -> list[int]:
        """Scan ids of the runs that have one."""
        return [run["scan_id"] for run in self._runs.values() if run["scan_id"] is not None]

    @property
    def exit_statuses(self) -> set[str]:
        """Exit statuses (``success``, ``abort``, ``fail``) of the closed runs."""
        return {run["exit_status"] for run in self._runs.values() if run["exit_status"] is not None}

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take one document."""
        match name:
            case "event":
                self._count(doc["descriptor"], 1)
            case "event_page":
                self._count(doc["descriptor"], len(doc["seq_num"]))
            case "descriptor":
                self._streams[doc["uid"]] = doc.get("name", COUNTED_STREAM)
            case "start":
                self._start(doc)
            case "stop":
                self._stop(doc)

    def _start(self, doc: dict[str, Any]) -> None:
        run = {
            "uid": doc["uid"],
            "scan_id": _as_int(doc.get("scan_id")),
            "is_open": True,
            "exit_status": None,
        }
        self._runs[doc["uid"]] = run
        points = _as_int(doc.get("num_points"))
        self._total = None if self._total is None or points is None else self._total + points
        self._tell()

    def _stop(self, doc: dict[str, Any]) -> None:
        run = self._runs.get(doc["run_start"])
        if run is None:
            return
        # A new dictionary: the old one may be on its way to the manager.
        self._runs[doc["run_start"]] = {**run, "is_open": False, "exit_status": doc.get("exit_status")}
        self._tell()

    def _tell(self) -> None:
        last = list(itertools.islice(reversed(self._runs.values()), MOST_LISTED))
        self._on_runs(last[::-1])

    def _count(self, descriptor: str, points: int) -> None:
        if self._streams.get(descriptor) == COUNTED_STREAM:
            self._done += points
            self._on_progress(self._done, self._total)


def _as_int(value: object) -> int | None:
    """Return ``value`` as int if that is possible (and the link can carry it), else None."""
    try:
        number = int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < MAX_NUMBER else None
