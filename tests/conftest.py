"""Every module of tests must leave nothing behind: no thread, process, socket or pipe, no asyncio task."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator

import psutil
import pytest
from hypothesis import HealthCheck, settings

GRACE_S = 20.0

# A machine that stalls says nothing about the code: examples may take any time, and so may making them.
settings.register_profile("any-time", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-time")

# A shell starts its background jobs with this signal ignored, which programs and their children inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


def _threads() -> set[str]:
    return {
        f"thread {t.name}"
        for t in threading.enumerate()
        if t is not threading.main_thread() and not t.name.startswith("pytest_timeout")
    }


def _children() -> set[str]:
    found = set()
    for child in psutil.Process().children(recursive=True):
        try:
            if child.status() != psutil.STATUS_ZOMBIE:
                found.add(f"process {child.pid} {' '.join(child.cmdline()[:6])}")
        except psutil.NoSuchProcess:
            continue
    return found


def _descriptors() -> set[str]:
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if target.startswith(("socket:", "pipe:")):
            found.add(f"descriptor {fd} {target}")
    return found


def _leaks(before: dict[Callable[[], set[str]], set[str]]) -> set[str]:
    leaked: set[str] = set()
    for look, known in before.items():
        leaked |= look() - known
    return leaked


@pytest.fixture(scope="module", autouse=True)
def no_leaks() -> Iterator[None]:
    """Compare threads, processes, sockets and pipes before and after a module."""
    before = {look: look() for look in (_threads, _children, _descriptors)}
    yield
    deadline = time.monotonic() + GRACE_S
    waiter = threading.Event()
    while leaked := _leaks(before):
        gc.collect()
        if time.monotonic() > deadline:
            pytest.fail("left behind: " + "; ".join(sorted(leaked)))
        waiter.wait(0.02)


@pytest.fixture
async def _no_leaked_tasks() -> AsyncIterator[None]:
    yield
    me = asyncio.current_task()
    left = [t for t in asyncio.all_tasks() if t is not me and not t.done()]
    assert not left, f"tasks left behind: {left}"


@pytest.fixture(autouse=True)
def no_leaked_tasks(request: pytest.FixtureRequest) -> None:
    """Fail a coroutine test that leaves an asyncio task behind."""
    function = getattr(request, "function", None)
    if function is not None and inspect.iscoroutinefunction(function):
        request.getfixturevalue("_no_leaked_tasks")
