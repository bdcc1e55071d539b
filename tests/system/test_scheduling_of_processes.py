"""Which processes of the daemon run with real-time priority."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest
from system_harness import Daemon

MakeDaemon = Callable[..., Daemon]

permitted = pytest.mark.skipif(
    os.geteuid() != 0 and resource.getrlimit(resource.RLIMIT_RTPRIO)[0] < 1,
    reason="needs the right to real-time scheduling",
)


def policies(process: psutil.Process, *but: int) -> list[int]:
    """Scheduling policies of the threads of a process, but for some; any thread may end meanwhile."""
    found = []
    for thread in process.threads():
        with suppress(ProcessLookupError):
            if thread.id not in but:
                found.append(os.sched_getscheduler(thread.id))
    return found


def check_manager(manager: psutil.Process) -> None:
    """Its main thread shares with all others; the store's writer, at least, comes first."""
    assert os.sched_getscheduler(manager.pid) == os.SCHED_OTHER
    assert policies(manager, manager.pid).count(os.SCHED_RR) >= 1


@permitted
def test_manager_alone_has_it_from_start_to_restart(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    daemon.open_environment()
    check_manager(daemon.manager())
    others = [p for p in daemon.processes() if p != daemon.manager()]
    assert daemon.worker() in others
    assert set().union(*map(policies, others)) == {os.SCHED_OTHER}
    daemon.kill_manager()
    check_manager(daemon.manager())


def test_normal_scheduling_on_request(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon("--manager-scheduling", "normal")
    daemon.start()
    assert set().union(*map(policies, daemon.processes())) == {os.SCHED_OTHER}
