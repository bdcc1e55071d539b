"""Real-time priority: for the threads that wait, where it is permitted."""

from __future__ import annotations

import os

import pytest

from remanager.daemon.scheduling import PRIORITY, has_priority, take_priority

MAIN = os.getpid()


class System:
    """Stands for the system's scheduler."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, permits: bool) -> None:
        self.asked: list[tuple[int, int, int]] = []
        self._permits = permits
        monkeypatch.setattr(os, "listdir", lambda _path: [str(MAIN), "7", "8"])
        monkeypatch.setattr(os, "sched_setscheduler", self._set)

    def _set(self, pid: int, policy: int, param: os.sched_param) -> None:
        self.asked.append((pid, policy, param.sched_priority))
        if not self._permits:
            raise PermissionError(1, "Operation not permitted")


def test_all_threads_but_the_main_one(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(monkeypatch, permits=True)
    assert take_priority()
    assert system.asked == [(thread, os.SCHED_RR, PRIORITY) for thread in (7, 8)]


def test_goes_on_without_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(monkeypatch, permits=False)
    assert not take_priority()
    assert len(system.asked) == 1


@pytest.mark.parametrize(
    ("policy", "expected"), [(os.SCHED_RR, True), (os.SCHED_FIFO, True), (os.SCHED_OTHER, False)]
)
def test_priority_of_a_process(monkeypatch: pytest.MonkeyPatch, policy: int, expected: bool) -> None:
    monkeypatch.setattr(os, "sched_getscheduler", lambda thread: os.SCHED_OTHER if thread == MAIN else policy)
    monkeypatch.setattr(os, "listdir", lambda _path: [str(MAIN), "7"])
    assert has_priority(MAIN) is expected


def test_priority_of_a_process_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_path: str) -> list[str]:
        raise FileNotFoundError

    monkeypatch.setattr(os, "listdir", gone)
    assert has_priority(MAIN) is None
