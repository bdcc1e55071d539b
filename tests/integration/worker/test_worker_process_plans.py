"""Plans in a real worker process."""

from __future__ import annotations

import json

import pytest
from worker_harness import Worker

from remanager.model.link import (
    CloseEnvironment,
    ContinuePlan,
    EnvironmentReady,
    GetMetadata,
    Hello,
    PausePlan,
    PlanFinished,
    PlanPaused,
    Progress,
    RunPlan,
)

PROFILE = """
    import threading
    import time
    import bluesky.plan_stubs as bps
    import bluesky.preprocessors as bpp
    from collections.abc import Sequence
    from bluesky import RunEngine
    from bluesky.plans import count, rel_scan
    from bluesky.protocols import Readable
    from ophyd.sim import det, motor

    print("Loading", __file__)
    states = []
    RE = RunEngine({"lab": "here", "deep": {"a": 1, "b": 2}})
    RE.state_hook = lambda new, old: states.append(str(new))
    release = threading.Event()
    held = threading.Event()

    def until_held():
        held.wait()
        held.clear()

    def get_states():
        return states

    def set_release():
        release.set()

    def steps(n: int = 3):
        @bpp.run_decorator()
        def inner():
            for _ in range(n):
                yield from bps.checkpoint()
                yield from bps.sleep(0.02)
        yield from inner()

    def long_plan():
        yield from steps(100000)

    def no_checkpoint():
        yield from bps.open_run()
        yield from bps.clear_checkpoint()
        held.set()
        yield from bps.sleep(1000)

    def until_released():
        yield from bps.checkpoint()
        held.set()
        while not release.is_set():
            yield from bps.sleep(0.01)
        release.clear()

    def blocking():
        yield from bps.checkpoint()
        held.set()
        release.wait()
        release.clear()
        yield from bps.sleep(1000)

    def blocking_to_its_end():
        yield from bps.checkpoint()
        held.set()
        release.wait()
        release.clear()

    def run_other_plan():
        RE(long_plan())

    def abort_other_plan():
        RE.abort()

    def failing():
        yield from bps.open_run()
        try:
            raise ValueError("inner trouble")
        except ValueError as exc:
            raise RuntimeError("outer trouble") from exc

    def misusing(detectors: Sequence[Readable]):
        yield from bps.null()
        raise AttributeError("misused")

    def leaving():
        yield from bps.null()
        raise SystemExit(3)

    def many_runs():
        for _ in range(3):
            yield from steps(1)
"""


@pytest.fixture(scope="module")
def worker(launch) -> Worker:
    return launch(PROFILE).open()


def test_opening(worker: Worker) -> None:
    hello = worker.manager.of(Hello)[0]
    assert (hello.worker_uid, hello.pid, hello.last_seq) == ("worker-1", worker.process.pid, 0)
    assert hello.state.environment_state == "initializing"
    ready = worker.manager.of(EnvironmentReady)[0]
    assert ready.seq == 1
    assert {"count", "steps"} <= set(json.loads(ready.plans))
    assert {"det", "motor"} <= set(json.loads(ready.devices))
    worker.manager.until(lambda: "RE Environment is ready" in worker.manager.text())
    assert "Loading" in worker.manager.text()


def test_a_plan_completes(worker: Worker) -> None:
    finished = worker.run_plan("count", ["det"], num=3, meta=[{"sample": "a"}, {"sample": "b"}])
    assert (finished.exit_status, finished.msg, finished.traceback) == ("completed", "", "")
    assert len(finished.run_uids) == len(finished.scan_ids) == 1
    assert finished.time_start < finished.time_stop
    assert not finished.stop_queue
    worker.manager.expect_state(environment_state="idle", running_item_uid=None, re_state="idle", run_list=[])
    progress = worker.manager.of(Progress)[-1]
    assert (progress.item_uid, progress.done, progress.total) == (finished.item_uid, 3, 3)


def test_runs_are_listed_while_the_plan_runs(worker: Worker) -> None:
    uid = worker.start_plan("long_plan")
    state = worker.manager.expect_state(running_item_uid=uid, run_list_rev=worker_rev(worker) + 1).state
    assert state.environment_state == "executing_plan"
    assert [run["is_open"] for run in state.run_list] == [True]
    pause(worker, uid)
    finish(worker, uid, "stop", "stopped")


def start_held(worker: Worker, name: str) -> str:
    """Start a plan and wait until it has passed its only checkpoint and waits."""
    uid = worker.start_plan(name)
    worker.manager.expect_state(running_item_uid=uid, re_state="running")
    assert worker.call("until_held", background=True).success
    return uid


def start_long(worker: Worker) -> str:
    """Start a long plan and wait until its run is open."""
    uid = worker.start_plan("long_plan")
    worker.manager.expect_state(running_item_uid=uid, re_state="running")
    worker.manager.until(
        lambda: any(
            m.state.running_item_uid == uid and m.state.run_list
            for m in worker.manager.messages
            if hasattr(m, "state")
        )
    )
    return uid


def worker_rev(worker: Worker) -> int:
    """Revision of the run list that the last plan left behind."""
    states = [m.state for m in worker.manager.messages if hasattr(m, "state")]
    return next(s.run_list_rev for s in reversed(states) if s.running_item_uid is None)


def pause(worker: Worker, uid: str, option: str = "immediate") -> None:
    assert worker.manager.command(lambda i: PausePlan(i, option)).success
    worker.manager.expect(PlanPaused, item_uid=uid)
    state = worker.manager.expect_state(environment_state="idle").state
    assert (state.re_state, state.running_item_uid, state.deferred_pause) == ("paused", uid, False)


def finish(worker: Worker, uid: str, option: str, status: str) -> PlanFinished:
    assert worker.manager.command(lambda i: ContinuePlan(i, option)).success
    finished = worker.manager.expect(PlanFinished, item_uid=uid)
    assert (finished.exit_status, finished.msg, finished.traceback) == (status, "", "")
    return finished


def test_several_runs(worker: Worker) -> None:
    finished = worker.run_plan("many_runs")
    assert len(set(finished.run_uids)) == 3
    assert finished.scan_ids == [finished.scan_ids[0] + n for n in range(3)]


@pytest.mark.parametrize(
    ("option", "status"), [("stop", "stopped"), ("abort", "aborted"), ("halt", "halted")]
)
def test_a_paused_plan_is_ended(worker: Worker, option: str, status: str) -> None:
    uid = start_long(worker)
    pause(worker, uid)
    assert len(finish(worker, uid, option, status).run_uids) == 1
    assert worker.run_plan("steps").exit_status == "completed"


@pytest.mark.parametrize("option", ["deferred", "immediate"])
def test_a_paused_plan_is_resumed(worker: Worker, option: str) -> None:
    uid = start_held(worker, "until_released")
    if option == "deferred":  # no later checkpoint: resume after the immediate pause below
        assert worker.manager.command(lambda i: PausePlan(i, option)).success
        worker.manager.expect_state(deferred_pause=True)
    pause(worker, uid)
    refused = worker.manager.command(lambda i: ContinuePlan(i, "jump"))
    assert not refused.success
    assert worker.manager.command(lambda i: ContinuePlan(i, "resume")).success
    assert not worker.manager.command(lambda i: ContinuePlan(i, "resume")).success
    worker.manager.expect_state(environment_state="executing_plan", re_state="running")
    assert worker.call("set_release", background=True).success
    assert worker.manager.expect(PlanFinished, item_uid=uid).exit_status == "completed"


def test_a_deferred_pause_takes_effect_at_a_checkpoint(worker: Worker) -> None:
    uid = worker.start_plan("long_plan")
    worker.manager.expect_state(running_item_uid=uid, re_state="running")
    pause(worker, uid, "deferred")
    finish(worker, uid, "stop", "stopped")


def test_a_deferred_pause_may_never_take_effect(worker: Worker) -> None:
    uid = start_held(worker, "until_released")
    assert worker.manager.command(lambda i: PausePlan(i, "deferred")).success
    worker.manager.expect_state(deferred_pause=True)
    worker.start_function("set_release", background=True)
    finished = worker.manager.expect(PlanFinished, item_uid=uid)
    assert (finished.exit_status, finished.pause_pending) == ("completed", True)
    assert worker.manager.expect_state(environment_state="idle").state.deferred_pause is False


@pytest.mark.parametrize(
    ("option", "status"), [("stop", "stopped"), ("abort", "aborted"), ("halt", "halted")]
)
def test_a_deferred_pause_is_escalated_to_an_end(worker: Worker, option: str, status: str) -> None:
    uid = start_held(worker, "until_released")
    assert not worker.manager.command(lambda i: ContinuePlan(i, option)).success
    assert worker.manager.command(lambda i: PausePlan(i, "deferred")).success
    worker.manager.expect_state(deferred_pause=True)
    assert worker.manager.command(lambda i: ContinuePlan(i, option)).success
    assert worker.manager.expect(PlanFinished, item_uid=uid).exit_status == status
    assert worker.run_plan("steps").exit_status == "completed"


def test_a_deferred_pause_is_escalated_to_an_immediate_one(worker: Worker) -> None:
    uid = start_held(worker, "until_released")
    assert worker.manager.command(lambda i: PausePlan(i, "deferred")).success
    pause(worker, uid)
    finish(worker, uid, "abort", "aborted")


def test_a_plan_that_blocks_the_event_loop_is_ended(worker: Worker) -> None:
    uid = start_held(worker, "blocking")
    assert worker.manager.command(lambda i: PausePlan(i, "immediate")).success
    assert worker.manager.command(lambda i: ContinuePlan(i, "abort")).success
    worker.start_function("set_release", background=True)
    assert worker.manager.expect(PlanFinished, item_uid=uid).exit_status == "aborted"


def test_a_pause_is_accepted_before_the_plan_has_started(worker: Worker) -> None:
    uid = worker.start_plan("long_plan")
    pause(worker, uid)
    finish(worker, uid, "abort", "aborted")


def test_a_plan_that_blocks_the_event_loop(worker: Worker) -> None:
    uid = start_held(worker, "blocking")
    assert worker.manager.command(lambda i: PausePlan(i, "immediate")).success
    assert worker.call("set_release", background=True).success
    worker.manager.expect(PlanPaused, item_uid=uid)
    finish(worker, uid, "halt", "halted")


def test_a_plan_that_ends_before_it_is_paused(worker: Worker) -> None:
    uid = start_held(worker, "blocking_to_its_end")
    assert worker.manager.command(lambda i: PausePlan(i, "immediate")).success
    worker.start_function("set_release", background=True)
    finished = worker.manager.expect(PlanFinished, item_uid=uid)
    assert (finished.exit_status, finished.msg) == ("completed", "")
    assert worker.run_plan("steps").exit_status == "completed"


def test_a_plan_that_cannot_be_paused_is_aborted(worker: Worker) -> None:
    uid = start_held(worker, "no_checkpoint")
    worker.manager.command(lambda i: PausePlan(i, "immediate"))
    finished = worker.manager.expect(PlanFinished, item_uid=uid)
    assert (finished.exit_status, finished.msg) == (
        "aborted",
        "The plan was aborted while it was running: "
        "it was to be paused, but it had no checkpoint from which it could be resumed",
    )


def test_a_script_replaces_the_run_engine_of_a_plan(worker: Worker) -> None:
    """The plan keeps its RunEngine, so that it can still be paused and ended."""
    uid = worker.start_plan("long_plan")
    worker.manager.expect_state(running_item_uid=uid, re_state="running")
    script = "first = RE\nRE = RunEngine({'engine': 'second'})\n"
    assert worker.script(script, update_lists=False, update_re=True, background=True).success
    pause(worker, uid)
    finish(worker, uid, "abort", "aborted")
    metadata = worker.manager.command(GetMetadata).data["re_metadata"]
    assert json.loads(metadata)["engine"] == "second"
    assert worker.run_plan("steps").exit_status == "completed"
    assert worker.script("RE = first", update_lists=False, update_re=True).success


def test_a_run_engine_that_holds_a_paused_plan_takes_no_other(worker: Worker) -> None:
    worker.start_function("run_other_plan")
    worker.manager.expect_state(re_state="running")
    assert worker.manager.command(lambda i: PausePlan(i, "immediate")).success
    worker.manager.expect_state(environment_state="idle", re_state="paused")
    finished = worker.run_plan("steps")
    assert (finished.exit_status, finished.run_uids) == ("failed", [])
    assert finished.msg == "Plan failed: Run Engine is in 'paused' state. Stop or finish any running plan."
    assert worker.call("abort_other_plan").success
    assert worker.run_plan("steps").exit_status == "completed"


def test_a_failing_plan(worker: Worker) -> None:
    finished = worker.run_plan("failing")
    assert (finished.exit_status, finished.msg) == ("failed", "Plan failed: outer trouble")
    assert finished.traceback.startswith("Traceback")
    assert "ValueError: inner trouble" in finished.traceback
    assert "RuntimeError: outer trouble" in finished.traceback
    assert "run_engine.py" not in finished.traceback.splitlines()[1].replace("bluesky/run_engine.py", "")
    assert len(finished.run_uids) == 1
    assert worker.run_plan("steps").exit_status == "completed"


@pytest.mark.parametrize(
    ("name", "args", "text"),
    [
        ("count", [["det", "det_9"]], "Parameter 'detectors': 'det_9'"),
        ("rel_scan", [["det"], "motr", 0, 1, 2], "Parameter 'args': 'motr'"),
    ],
)
def test_a_plan_with_an_unknown_name(worker: Worker, name: str, args: list[object], text: str) -> None:
    finished = worker.run_plan(name, *args)
    assert finished.exit_status == "failed"
    assert finished.msg.startswith("Plan failed: ")
    assert finished.msg.endswith(f". {text} is not the name of a device of the list")
    assert finished.traceback.startswith("Traceback")


def test_a_plan_that_fails_with_known_names(worker: Worker) -> None:
    finished = worker.run_plan("misusing", ["det"])
    assert finished.msg == "Plan failed: misused"


def test_a_plan_with_wrong_parameters(worker: Worker) -> None:
    finished = worker.run_plan("steps", wrong=1)
    assert finished.exit_status == "failed"
    assert "Error occurred while processing plan parameters or starting the plan" in finished.msg
    assert "wrong" in finished.msg


def test_refusals(worker: Worker) -> None:
    uid = start_held(worker, "until_released")
    for make in (
        lambda i: RunPlan(i, "other", "{}"),
        lambda i: ContinuePlan(i, "resume"),
        CloseEnvironment,
    ):
        refused = worker.manager.command(make)
        assert not refused.success
        assert refused.msg
    again = worker.manager.command(lambda i: RunPlan(i, uid, "{}"))
    assert (again.success, again.msg) == (True, "already accepted")
    worker.start_function("set_release", background=True)
    worker.manager.expect(PlanFinished, item_uid=uid)
    assert not worker.manager.command(lambda i: PausePlan(i, "immediate")).success


def test_the_profile_keeps_its_state_hook(worker: Worker) -> None:
    worker.run_plan("steps")
    assert "running" in json.loads(worker.call("get_states").payload)


def test_metadata(worker: Worker) -> None:
    reply = worker.manager.command(GetMetadata)
    metadata = json.loads(reply.data["re_metadata"])
    assert metadata["lab"] == "here"
    assert metadata["deep"] == {"a": 1, "b": 2}


def test_the_run_knows_its_item(worker: Worker) -> None:
    script = """
        starts = []
        RE.subscribe(lambda name, doc: starts.append(doc), "start")
        RE.md["user_group"] = "of the laboratory"

        def get_starts():
            return [{k: v for k, v in doc.items() if isinstance(v, (str, int))} for doc in starts]
    """
    assert worker.script(script).success
    finished = worker.run_plan("steps")
    (start,) = json.loads(worker.call("get_starts").payload)
    assert start["queue_item_uid"] == finished.item_uid
    assert (start["user"], start["attempt"], start["principal"]) == ("u", 2, "ann")
    assert start["user_group"] == "of the laboratory"


def test_the_plan_may_leave_by_system_exit(worker: Worker) -> None:
    finished = worker.run_plan("leaving")
    assert (finished.exit_status, finished.msg) == ("failed", "Plan failed: The plan raised SystemExit(3)")
    assert worker.run_plan("steps").exit_status == "completed"


def test_closing_comes_last(worker: Worker) -> None:
    assert worker.leave() == 0
