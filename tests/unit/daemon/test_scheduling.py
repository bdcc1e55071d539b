"""Real-time priority: taken where it is permitted and there is a processor for others, and only then."""

from __future__ import annotations

import os

import pytest

from remanager.daemon.scheduling import PRIORITY, has_priority, take_priority


class System:
    """Stands for the system's scheduler."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, processors: int, permits: bool) -> None:
        self.asked: list[tuple[int, int, int]] = []
        self._permits = permits
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(processors)))
        monkeypatch.setattr(os, "sched_setscheduler", self._set)

    def _set(self, pid: int, policy: int, param: os.sched_param) -> None:
        self.asked.append((pid, policy, param.sched_priority))
        if not self._permits:
            raise PermissionError(1, "Operation not permitted")


def test_taken_where_it_is_permitted(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(monkeypatch, processors=2, permits=True)
    assert take_priority()
    assert system.asked == [(0, os.SCHED_RR, PRIORITY)]


def test_goes_on_without_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(monkeypatch, processors=2, permits=False)
    assert not take_priority()
    assert system.asked


def test_single_processor_belongs_to_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(monkeypatch, processors=1, permits=True)
    assert not take_priority()
    assert not system.asked


@pytest.mark.parametrize(
    ("policy", "expected"), [(os.SCHED_RR, True), (os.SCHED_FIFO, True), (os.SCHED_OTHER, False)]
)
def test_priority_of_a_process(monkeypatch: pytest.MonkeyPatch, policy: int, expected: bool) -> None:
    monkeypatch.setattr(os, "sched_getscheduler", lambda _pid: policy)
    assert has_priority(1) is expected


def test_priority_of_a_process_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_pid: int) -> int:
        raise ProcessLookupError

    monkeypatch.setattr(os, "sched_getscheduler", gone)
    assert has_priority(1) is None
