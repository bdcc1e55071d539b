"""Waiting tasks become more urgent where the settings say so."""

from __future__ import annotations

from remanager.engine.task_queue.shares import Aging
from remanager.manager.task_queue.options import TaskQueueOptions


def test_without_an_interval_nothing_ages() -> None:
    assert TaskQueueOptions().aging is None


def test_the_settings_say_how_tasks_age() -> None:
    options = TaskQueueOptions(aging_interval_s=10.0, aging_grace_s=5.0, aging_ceiling=32)
    assert options.aging == Aging(grace_s=5.0, interval_s=10.0, ceiling=32)
