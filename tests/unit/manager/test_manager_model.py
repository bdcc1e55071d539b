"""Random lives of a manager: requests, plans that end, workers and managers that are killed."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from manager_rig import QUEUE_STOP, FakeWorker, Rig, RunPlan, RunTask, function, plan, user

from remanager.manager import environment, recovery
from remanager.model.link import PlanFinished
from remanager.model.states import TaskState, is_terminal

BUSY = {"executing_queue", "starting_queue", "paused"}
STATUSES = ["completed", "failed", "stopped", "aborted", "halted", "unknown"]
INTERRUPTED = ["queue_start", "queue_start", "queue_clear", "queue_item_add", "function_execute"]


class Lives(RuleBasedStateMachine):
    """Every rule is something that a client, the instrument or fate does; then all must be well."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.acknowledged: set[str] = set()
        self.finished: set[str] = set()
        self.buried: set[str] = set()  # what workers accepted that are gone
        self.last_seq = 0
        self.do(self._start())

    async def _start(self) -> None:
        self.rig = Rig(Path(self.directory.name))
        await self.rig.start()

    def teardown(self) -> None:
        """End the manager."""
        self.do(self.rig.close())
        self.runner.close()
        self.directory.cleanup()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end; what goes on in the background goes on during the next one."""
        return self.runner.run(work)

    def call(self, method: str, /, **params: Any) -> dict[str, Any]:
        """Send a request; it may be refused, but never with an internal error."""

        async def call() -> dict[str, Any]:
            reply = await self.rig.call(method, **params)
            await self.rig.settle()
            return reply

        reply: dict[str, Any] = self.do(call())
        assert reply.get("code") != "internal", reply
        if reply["success"]:
            for item in [reply.get("item"), *reply.get("items", [])]:
                if item:
                    self.acknowledged.add(item["item_uid"])
        return reply

    @property
    def worker(self) -> FakeWorker | None:
        """The worker, if it lives."""
        worker = self.rig.worker
        return worker if worker is not None and worker.pid in self.rig.processes.alive else None

    def ready(self) -> bool:
        """Tell whether the environment is open and connected."""
        status = self.rig.status
        is_open = status["ready"] or status["manager_state"] == "paused"
        return self.worker is not None and self.worker.connected and is_open

    def open_plans(self) -> list[str]:
        """Plans that the living worker accepted and did not finish."""
        worker = self.worker
        if worker is None:
            return []
        plans = {m.item_uid for m in worker.commands(RunPlan)}
        return [u for u in worker.accepted if u in plans and u not in self.finished]

    def open_tasks(self) -> list[str]:
        """Tasks that the living worker accepted and did not finish."""
        worker = self.worker
        if worker is None:
            return []
        tasks = {m.task_uid for m in worker.commands(RunTask)}
        return [u for u in worker.accepted if u in tasks and u not in self.finished]

    # ---------------------------------------------------------------- requests

    @initialize(plans=st.integers(0, 3), autostart=st.booleans())
    def begin(self, plans: int, autostart: bool) -> None:
        """Most lives begin with an open environment and something to do."""
        self.open_environment(fails=False)
        self.call("queue_autostart", enable=autostart)
        for _ in range(plans):
            self.call("queue_item_add", item=plan(), **user())

    @rule(item=st.sampled_from([plan(), plan("scan"), QUEUE_STOP]), pos=st.sampled_from(["front", "back", 1]))
    def add(self, item: dict[str, Any], pos: object) -> None:
        self.call("queue_item_add", item=item, pos=pos, **user())

    @rule(kind=st.sampled_from(["batch", "remove", "move", "clear", "update", "replace", "trim_history"]))
    def edit(self, kind: str) -> None:
        match kind:
            case "batch":
                self.call("queue_item_add_batch", items=[plan()] * 3, pos="front", **user())
            case "remove":
                self.call("queue_item_remove", pos="back")
            case "move":
                self.call("queue_item_move", pos="back", pos_dest="front")
            case "clear":
                self.call("queue_clear")
            case "trim_history":
                self.call("history_clear", size=1)
            case _:
                item = self.call("queue_item_get")["item"]
                if item and item["item_type"] == "plan":
                    item["kwargs"] = {"num": self.last_seq}
                    self.call("queue_item_update", item=item, replace=kind == "replace", **user())

    @rule(loop=st.booleans(), ignore_failures=st.booleans())
    def mode(self, loop: bool, ignore_failures: bool) -> None:
        self.call("queue_mode_set", mode={"loop": loop, "ignore_failures": ignore_failures})

    @rule()
    def start(self) -> None:
        self.call("queue_start")

    @rule(on=st.booleans())
    def stop(self, on: bool) -> None:
        self.call("queue_stop" if on else "queue_stop_cancel")

    @rule(enable=st.booleans())
    def autostart(self, enable: bool) -> None:
        self.call("queue_autostart", enable=enable)

    @rule()
    def execute(self) -> None:
        self.call("queue_item_execute", item=plan(), **user())
        self.call("queue_item_add", item=plan(), **user())

    @rule(background=st.booleans())
    def run_function(self, background: bool) -> None:
        self.call("function_execute", item=function(), run_in_background=background, **user())

    # ---------------------------------------------------------------- environment

    @rule(fails=st.sampled_from([False, False, False, True]))
    @precondition(lambda self: self.rig.state == "idle" and self.worker is None)
    def open_environment(self, fails: bool) -> None:
        async def opening() -> None:
            if not fails:
                await self.rig.open_environment()
                return
            await self.rig.ok("environment_open")
            worker = await self.rig.spawned()
            worker.hello()
            await worker.failed()
            await self.rig.until(lambda: self.rig.state == "idle")

        if self.rig.worker is not None:
            self.buried.update(self.rig.worker.accepted)
            self.rig.worker = None
        self.do(opening())

    @rule(how=st.sampled_from(["close", "destroy", "die"]))
    @precondition(lambda self: self.worker is not None and self.rig.status["worker_environment_exists"])
    def end_environment(self, how: str) -> None:
        async def ending() -> None:
            assert self.worker is not None
            if how == "close":
                await self.rig.ok("environment_close")
                await self.rig.settle()
            if how == "destroy":
                await self.rig.ok("environment_destroy")
            else:
                self.worker.die(0 if how == "close" else -9)
            await self.rig.until(lambda: not self.rig.status["worker_environment_exists"])
            await self.rig.settle()

        if how != "close" or (self.rig.state == "idle" and not self.open_tasks()):
            self.do(ending())

    # ---------------------------------------------------------------- what runs

    @rule(exit_status=st.sampled_from(STATUSES), again=st.booleans())
    @precondition(lambda self: self.ready() and self.open_plans())
    def finish_plan(self, exit_status: str, again: bool) -> None:
        async def finish() -> None:
            assert self.worker is not None
            event = await self.worker.finish(uid, exit_status)
            if again:
                self.worker.repeat(event)
            await self.rig.settle()

        (uid,) = self.open_plans()
        self.finished.add(uid)
        self.do(finish())

    @rule()
    @precondition(lambda self: self.ready() and self.open_plans() and self.rig.state == "executing_queue")
    def pause(self) -> None:
        async def pause() -> None:
            assert self.worker is not None
            await self.rig.ok("re_pause")
            await self.worker.pause()

        self.do(pause())

    @rule()
    @precondition(lambda self: self.rig.state == "paused" and self.ready())
    def resume(self) -> None:
        async def resume() -> None:
            assert self.worker is not None
            await self.rig.ok("re_resume")
            await self.worker.change(re_state="running")

        self.do(resume())

    @rule(success=st.booleans())
    @precondition(lambda self: self.ready() and self.open_tasks())
    def finish_task(self, success: bool) -> None:
        async def finish() -> None:
            assert self.worker is not None
            await self.worker.end_task(uid, success=success)
            await self.rig.settle()

        uid = self.open_tasks()[0]
        self.finished.add(uid)
        self.do(finish())

    @rule()
    @precondition(lambda self: self.ready())
    def reconnect(self) -> None:
        async def reconnect() -> None:
            assert self.worker is not None
            self.worker.hello()
            await self.rig.settle()

        self.do(reconnect())

    # ---------------------------------------------------------------- fate

    @rule(all_=st.sampled_from([False, False, True]))
    def restart(self, all_: bool) -> None:
        if all_:
            self.rig.processes.alive.clear()
        self.do(self.rig.restart())

    @rule(method=st.sampled_from(INTERRUPTED))
    def kill_manager_before_it_wrote(self, method: str) -> None:
        """The reply never comes, so nothing is promised; what was promised before holds."""

        if method == "queue_start":
            self.call("queue_item_add", item=plan(), **user())

        async def interrupt() -> None:
            self.rig.gate.shut()
            params: dict[str, Any] = {}
            if method in ("queue_item_add", "function_execute"):
                item = plan() if method == "queue_item_add" else function()
                params = {"item": item, **user()}
            calling = asyncio.ensure_future(self.rig.call(method, **params))
            await self.rig.settle()
            if self.worker is not None and self.worker.connected:
                self.worker.hello()  # must not hand out what is not on disk
                await self.rig.settle()
            await self.rig.crash()
            calling.cancel()
            await asyncio.wait([calling])
            await self.rig.restart_after_crash()

        self.do(interrupt())

    @rule(exit_status=st.sampled_from(STATUSES), received=st.booleans())
    @precondition(lambda self: self.ready() and self.open_plans())
    def plan_ends_and_nobody_writes_it_down(self, exit_status: str, received: bool) -> None:
        """The manager is away, or it is killed before it wrote."""

        async def end() -> None:
            assert self.worker is not None
            self.rig.gate.shut()
            if not received:
                await self.rig.crash()
            self.worker.event(PlanFinished, **self.worker.plan_finished(uid, exit_status))
            if received:
                await self.rig.settle()
                self.worker.hello()  # must not acknowledge it
                await self.rig.settle()
                await self.rig.crash()
            await self.rig.restart_after_crash()

        (uid,) = self.open_plans()
        self.finished.add(uid)
        self.do(end())

    # ---------------------------------------------------------------- what must always hold

    @invariant()
    def all_is_well(self) -> None:
        self.do(self._check())

    async def _check(self) -> None:
        rig = self.rig
        await rig.settle()
        assert rig.faults == []
        reads, status = rig.gate.reads, rig.status
        stored = reads.queue()
        in_memory = (await rig.ok("queue_get"))["items"]
        assert [json.loads(r.body) for r in stored] == in_memory
        assert [r.task_uid for r in stored] == [i["item_uid"] for i in in_memory]
        assert status["items_in_queue"] == len(stored)
        running = {r.task_uid: r for r in reads.running()}
        plans = [u for u, r in running.items() if r.item_type == "plan"]
        assert plans == [u for u in [status["running_item_uid"]] if u]
        assert set(running) - set(plans) == set(rig.manager.tasks.running)
        foreground = [u for u in running if u not in plans and not running[u].background]
        self._check_state(status, plans, foreground)
        self._check_tasks(reads, set(running), {r.task_uid for r in stored})
        history = await rig.history()
        assert status["items_in_history"] == len(history) == reads.history_count()

    def _check_state(self, status: Any, plans: list[str], foreground: list[str]) -> None:
        state = status["manager_state"]
        assert (state in BUSY) == bool(plans), (state, plans)
        assert (state == "executing_task") == bool(foreground), (state, foreground)
        if self.worker is None:
            assert not status["worker_environment_exists"]
            assert not plans
        else:
            assert len(self.open_plans()) <= 1
            assert self.open_plans() == plans or not self.worker.connected
        if state == "idle":
            assert not status["queue_stop_pending"]
            assert not status["pause_pending"]
            ready = status["queue_autostart_enabled"] and status["ready"]
            assert not (ready and status["items_in_queue"])

    def _check_tasks(self, reads: Any, running: set[str], queued: set[str]) -> None:
        states: dict[str, TaskState] = reads.task_states(self.acknowledged)
        assert set(states) == self.acknowledged  # nothing that was promised is lost
        for uid, state in states.items():
            assert (uid in queued) == (state is TaskState.PENDING)
            assert (uid in running) == (state in (TaskState.RUNNING, TaskState.PAUSED))
            assert is_terminal(state) == (uid not in queued and uid not in running)
        events = reads.events(0, 100_000)
        seqs = [e.seq for e in events]
        assert seqs == sorted(set(seqs))
        assert not seqs or seqs[-1] >= self.last_seq
        self.last_seq = seqs[-1] if seqs else 0
        once = Counter((e.type, e.task_uid) for e in events if e.type.endswith(("_finished", "_started")))
        assert max((n for (_, uid), n in once.items() if uid), default=1) == 1
        accepted = self.rig.worker.accepted if self.rig.worker else []
        assert not set(accepted) & self.buried  # nothing runs in two workers


@pytest.mark.timeout(300)
def test_random_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens in whatever order: one end per task, nothing lost, memory and disk agree."""
    monkeypatch.setattr(environment, "DRAIN_S", 0.0)
    monkeypatch.setattr(recovery, "GREETING_TIMEOUT_S", 0.05)
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
