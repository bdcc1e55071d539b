"""A link that fails ends the worker: deaf and mute it would be of no use."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import pytest

from remanager.model.link import Hello, WorkerState
from remanager.worker.link import Link


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_fault_in_the_thread_is_reported() -> None:
    failed = threading.Event()

    def tick(_age: float) -> None:
        raise RuntimeError("a fault of the link")

    with tempfile.TemporaryDirectory(prefix="rm") as directory:
        link = Link(
            str(Path(directory) / "link"),
            "worker",
            on_message=lambda _message: None,
            hello=lambda last: Hello("worker", 1, last, [], WorkerState()),
            on_tick=tick,
            on_fault=failed.set,
        )
        link.start()
        assert failed.wait(10)
