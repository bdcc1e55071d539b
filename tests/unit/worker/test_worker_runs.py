"""Runs and progress from documents."""

from __future__ import annotations

from typing import Any

import pytest

from remanager.worker import runs
from remanager.worker.runs import RunMonitor


class Seen:
    def __init__(self) -> None:
        self.runs: list[list[dict[str, Any]]] = []
        self.progress: list[tuple[int, int | None]] = []
        self.monitor = RunMonitor(self.runs.append, lambda done, total: self.progress.append((done, total)))

    def start(self, uid: str, **doc: Any) -> None:
        self.monitor("start", {"uid": uid, **doc})

    def stream(self, uid: str, name: str) -> None:
        self.monitor("descriptor", {"uid": uid, "name": name, "run_start": "r"})

    def event(self, descriptor: str) -> None:
        self.monitor("event", {"descriptor": descriptor})

    def stop(self, uid: str, status: str = "success") -> None:
        self.monitor("stop", {"run_start": uid, "exit_status": status})


@pytest.fixture
def seen() -> Seen:
    return Seen()


def test_a_run_is_listed_open_and_then_closed(seen: Seen) -> None:
    seen.start("a", scan_id=7)
    seen.stop("a", "abort")
    opened = {"uid": "a", "scan_id": 7, "is_open": True, "exit_status": None}
    assert seen.runs == [[opened], [{**opened, "is_open": False, "exit_status": "abort"}]]
    assert seen.monitor.exit_statuses == {"abort"}


def test_nested_runs_keep_their_order(seen: Seen) -> None:
    seen.start("a", scan_id=1)
    seen.start("b", scan_id=2)
    seen.stop("a")
    assert seen.monitor.run_uids == ["a", "b"]
    assert [run["is_open"] for run in seen.runs[-1]] == [False, True]


@pytest.mark.parametrize("scan_id", [None, "none", object(), float("inf"), 1 << 80])
def test_an_odd_scan_id_counts_as_none(seen: Seen, scan_id: object) -> None:
    seen.start("a", scan_id=scan_id)
    assert seen.runs[-1][0]["scan_id"] is None
    assert seen.monitor.scan_ids == []


def test_points_of_the_primary_stream_are_counted(seen: Seen) -> None:
    seen.start("a", num_points=2)
    seen.stream("p", "primary")
    seen.stream("b", "baseline")
    seen.event("b")
    seen.event("p")
    seen.monitor("event_page", {"descriptor": "p", "seq_num": [2, 3]})
    assert seen.progress == [(1, 2), (3, 2)]


def test_points_of_all_runs_add_up(seen: Seen) -> None:
    for uid in "ab":
        seen.start(uid, num_points=1)
        seen.stream(f"p{uid}", "primary")
        seen.event(f"p{uid}")
        seen.stop(uid)
    assert seen.progress == [(1, 1), (2, 2)]


def test_the_total_is_unknown_if_a_run_does_not_tell_it(seen: Seen) -> None:
    seen.start("a")
    seen.start("b", num_points=5)
    seen.stream("p", "primary")
    seen.event("p")
    assert seen.progress == [(1, None)]


def test_the_stop_of_an_unknown_run_is_ignored(seen: Seen) -> None:
    seen.stop("x")
    assert seen.runs == []


def test_the_list_of_a_plan_with_many_runs_has_the_last_ones(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MOST_LISTED", 2)
    for uid in "abc":
        seen.start(uid)
    assert [[run["uid"] for run in listed] for listed in seen.runs] == [["a"], ["a", "b"], ["b", "c"]]
    assert seen.monitor.run_uids == ["a", "b", "c"]
