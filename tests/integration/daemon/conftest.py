"""Fixtures of the daemon's integration tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from zmq.utils.garbage import gc as zmq_gc


@pytest.fixture(scope="module", autouse=True)
def end_zmq_garbage_thread() -> Iterator[None]:
    """End the thread that pyzmq starts for messages sent without copying."""
    yield
    zmq_gc.stop()
