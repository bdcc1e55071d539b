"""Environment workers for the tests of this directory."""

from __future__ import annotations

import shutil
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from worker_harness import Worker

Launch = Callable[..., Worker]


@pytest.fixture(scope="module")
def launch() -> Iterator[Launch]:
    """Start workers with a start-up script given as text; all are ended after the tests of the module."""
    workers: list[Worker] = []

    def start(script: str, **settings: Any) -> Worker:
        directory = Path(tempfile.mkdtemp(prefix="rm", dir="/tmp"))
        (directory / "startup.py").write_text(textwrap.dedent(script))
        workers.append(Worker(directory, startup_script=str(directory / "startup.py"), **settings))
        return workers[-1]

    yield start
    for worker in workers:
        worker.stop()
        shutil.rmtree(worker.directory)
