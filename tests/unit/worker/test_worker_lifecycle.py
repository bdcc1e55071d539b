"""The end of a worker process."""

from __future__ import annotations

import logging
import os
from typing import Any

import pytest

from remanager.worker.lifecycle import EXIT_FAULT, Lifecycle


class Console:
    def __init__(self, done: list[object]) -> None:
        self._done = done

    def close(self, _timeout: float) -> None:
        self._done.append("console")


def test_what_is_logged_of_a_fault_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    monkeypatch.setattr(os, "_exit", done.append)
    console: Any = Console(done)
    life = Lifecycle(console, logging.INFO)
    life.exit_code = 0
    life.fail()
    assert done == ["console", EXIT_FAULT]
