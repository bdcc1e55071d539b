"""Control over what waits."""

from __future__ import annotations

import logging

import pytest

from remanager_api import WaitMonitor


def test_a_monitor_tells_of_the_waiting() -> None:
    monitor = WaitMonitor()
    assert (monitor.time_start, monitor.timeout, monitor.is_cancelled) == (0, 0, False)
    assert monitor.time_elapsed > 1e9
    woken: list[None] = []
    with monitor._waiting(5.0, lambda: woken.append(None)):
        assert monitor.timeout == 5.0
        assert monitor.time_start > 1e9
        assert 0 <= monitor.time_elapsed < 1e6
        monitor.set_timeout(7.0)
        assert monitor.timeout == 7.0
        monitor.cancel()
        assert len(woken) == 2
    assert monitor.is_cancelled
    monitor.set_timeout(1.0)
    assert len(woken) == 2


def test_callbacks_are_called_once_and_before(caplog: pytest.LogCaptureFixture) -> None:
    monitor = WaitMonitor()
    seen: list[bool] = []

    def fail() -> None:
        raise ValueError("of a user's callback")

    monitor.add_cancel_callback(fail)
    monitor.add_cancel_callback(lambda: seen.append(monitor.is_cancelled))
    with caplog.at_level(logging.ERROR):
        monitor.cancel()
    monitor.cancel()
    assert seen == [False]
    assert "of a user's callback" in caplog.text
