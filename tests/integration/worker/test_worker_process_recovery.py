"""Opening that fails, managers that go away and come back, orphans."""

from __future__ import annotations

import json

import msgpack
import pytest
from worker_harness import PERMISSIONS, Worker

from remanager.model.link import (
    EnvironmentFailed,
    EnvironmentReady,
    Hello,
    PlanFinished,
    RunPlan,
    SetPermissions,
    StateChanged,
    TaskFinished,
    WorkerState,
)

PROFILE = """
    import sys
    import threading
    import time
    import bluesky.plan_stubs as bps
    from bluesky import RunEngine

    RE = RunEngine()
    release = threading.Event()

    def set_release():
        release.set()

    def until_released():
        yield from bps.open_run()
        while not release.is_set():
            yield from bps.sleep(0.01)
        release.clear()
        print("the plan is done")
        yield from bps.close_run()

    def touch_when_missing(path, wait):
        import os
        while os.path.exists(wait):
            time.sleep(0.01)
        release.set()
"""


@pytest.fixture
def worker(launch) -> Worker:
    return launch(PROFILE).open()


def test_a_manager_comes_back_after_the_plan_has_ended(worker: Worker) -> None:
    manager = worker.manager
    uid = worker.start_plan("until_released")
    manager.expect_state(running_item_uid=uid, re_state="running")
    marker = worker.directory / "marker"
    marker.touch()
    task_uid = worker.start_function("touch_when_missing", "", str(marker), background=True)
    seen = len(manager.messages)
    manager.unbind()
    marker.unlink()
    manager.bind()
    hello = manager.expect(Hello)
    assert {uid, task_uid} <= set(hello.accepted)
    finished = manager.expect(PlanFinished, item_uid=uid)
    assert finished.exit_status == "completed"
    assert len(finished.run_uids) == 1

    def states() -> list[WorkerState]:
        return [m.state for m in manager.messages[seen:] if isinstance(m, Hello | StateChanged)]

    assert manager.until(
        lambda: any(s.environment_state == "idle" and not s.background_tasks for s in states())
    )
    again = manager.command(lambda i: RunPlan(i, uid, "{}"))
    assert (again.success, again.msg) == (True, "already accepted")
    ends = [m for m in manager.messages[seen:] if isinstance(m, PlanFinished | TaskFinished)]
    assert len(ends) == 2
    manager.until(lambda: "the plan is done" in manager.text())
    assert worker.leave() == 0


def test_unacknowledged_events_are_sent_again(worker: Worker) -> None:
    manager = worker.manager
    manager.acknowledge = False
    assert worker.start_function("set_release")
    first = manager.expect(TaskFinished)
    manager.unbind()
    manager.bind()
    assert manager.expect(Hello).last_seq == first.seq
    assert manager.expect(TaskFinished) == first
    manager.acknowledge = True
    manager.acked = first.seq
    manager.unbind()
    manager.bind()
    manager.expect(Hello)
    assert worker.call("set_release").seq == first.seq + 1
    # The acknowledgement has arrived when what was sent after it is answered.
    assert manager.command(lambda i: SetPermissions(i, PERMISSIONS)).success
    manager.unbind()
    manager.bind()
    manager.expect(Hello)
    seen = len(manager.messages)
    assert worker.call("set_release").seq == first.seq + 2
    assert [m.seq for m in manager.messages[seen:] if isinstance(m, TaskFinished)] == [first.seq + 2]
    assert worker.leave() == 0


def test_failing_startup_code(launch) -> None:
    worker = launch("x = 1\nraise ValueError('no such motor')\n")
    failed = worker.manager.expect(EnvironmentFailed)
    assert "no such motor" in failed.msg
    assert failed.traceback.startswith("Traceback")
    assert 'startup.py", line 2' in failed.traceback
    assert worker.wait_exit() == 1
    assert worker.manager.of(EnvironmentReady) == []
    worker.manager.until(lambda: "no such motor" in worker.manager.text())


def test_startup_code_that_leaves(launch) -> None:
    worker = launch("import sys\nsys.exit(0)\n")
    worker.manager.expect(EnvironmentFailed)
    assert worker.wait_exit() == 1


def test_an_idle_orphan_leaves(launch) -> None:
    worker = launch("print('up')\n", orphan_timeout_s=0.3).open()
    worker.manager.unbind()
    assert worker.process.wait(20) == 0
    worker.manager.bind()


def test_exit_handlers_run_and_cannot_hang_the_exit(launch) -> None:
    worker = launch(
        """
        import atexit, threading
        atexit.register(print, "exit handler ran")
        threading.Thread(target=threading.Event().wait).start()
        """
    ).open()
    assert worker.leave() == 0


def test_exit_handlers_can_print(launch) -> None:
    worker = launch("import atexit\natexit.register(print, 'exit handler ran')\n").open()
    assert worker.leave() == 0
    worker.manager.until(lambda: "exit handler ran" in worker.manager.text())


def test_msgpack_results(launch) -> None:
    worker = launch(
        "def echo(x):\n    return x\n\ndef bad():\n    return {1, 2}\n", encoding="msgpack"
    ).open()
    finished = worker.call("echo", [1, "a"])
    assert (finished.codec, msgpack.unpackb(finished.payload)) == ("msgpack", [1, "a"])
    assert "can not serialize 'set' object" in worker.call("bad").msg
    assert json.loads(worker.manager.of(EnvironmentReady)[0].plans) == {}
    assert worker.leave() == 0
