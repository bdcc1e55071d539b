"""Control of a RunEngine, with a stand-in for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from remanager.model.link import Event, PlanFinished, PlanPaused
from remanager.worker.plan_wrappers import contained, labelled
from remanager.worker.run_engine import RunEngineControl, is_run_engine
from remanager.worker.state import StateBoard


class RunEngineInterrupted(Exception):
    """Named as bluesky's."""


class FakeEngine:
    """Goes through the states that a plan, a list of states or exceptions, gives."""

    def __init__(self) -> None:
        self.state = "idle"
        self.state_hook: Callable[[object, object], None] | None = None
        self.preprocessors: list[object] = []
        self.callbacks: list[Callable[[str, dict[str, Any]], None]] = []
        self.pauses: list[bool] = []
        self.loop = asyncio.new_event_loop()

    def subscribe(self, callback: Callable[[str, dict[str, Any]], None], name: str) -> int:
        self.callbacks.append(callback)
        return len(self.callbacks) - 1

    def unsubscribe(self, token: int) -> None:
        self.callbacks.pop()

    def go(self, state: str) -> None:
        old, self.state = self.state, state
        if self.state_hook is not None:
            self.state_hook(state, old)

    async def _request_pause_coro(self, defer: bool) -> None:
        if self.state != "running":
            raise RuntimeError("can not be paused")
        self.pauses.append(defer)

    async def _abort_coro(self, _reason: str) -> None:
        self.go("aborting")

    async def _stop_coro(self) -> None:
        self.go("stopping")

    async def _halt_coro(self) -> None:
        self.go("halting")

    def turn_loop(self) -> None:
        for _ in range(3):
            self.loop.run_until_complete(asyncio.sleep(0))

    def __call__(self, plan: list[object]) -> None:
        for step in plan:
            if isinstance(step, BaseException):
                raise step
            if callable(step):
                step()
            else:
                self.go(str(step))

    def resume(self) -> None:
        self(["running", "idle"])

    def abort(self) -> None:
        self(["aborting", "idle"])


class Bench:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ended_outside = 0
        self.board = StateBoard(lambda events, _state: self.events.extend(events))
        self.board.change(environment_state="idle")
        self.control = RunEngineControl(
            self.board, contextlib.nullcontext(), lambda *_: None, self._count_ended_outside
        )
        self.engine = FakeEngine()
        self.control.attach(self.engine)

    def _count_ended_outside(self) -> None:
        self.ended_outside += 1

    def run(self, *plan: object) -> Event:
        self.control.expect_plan()
        self.board.change(environment_state="executing_plan", running_item_uid="a")
        self.control.run("a", lambda engine: engine(plan), {}, lambda: ["Hint"])
        return self.events[-1]

    def pause(self) -> None:
        assert isinstance(self.run("running", "pausing", "paused", RunEngineInterrupted()), PlanPaused)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.engine.loop.close()


def finished(event: Event) -> tuple[str, str]:
    assert isinstance(event, PlanFinished)
    return event.exit_status, event.msg


def test_a_failed_plan_tells_the_class_of_the_exception(bench: Bench) -> None:
    completed, failed = bench.run("running", "idle"), bench.run("running", ValueError("bad"))
    assert isinstance(failed, PlanFinished)
    assert isinstance(completed, PlanFinished)
    assert (failed.error_type, completed.error_type) == ("ValueError", "")


@pytest.mark.parametrize(
    ("candidate", "expected"), [(FakeEngine(), True), (FakeEngine, False), (5, False), (print, False)]
)
def test_is_run_engine(candidate: object, expected: bool) -> None:
    assert is_run_engine(candidate) is expected


def test_without_an_engine(bench: Bench) -> None:
    bench.control.attach(None)
    assert bench.board.current.re_state is None
    assert finished(bench.run())[0] == "failed"


@pytest.mark.parametrize(
    ("plan", "status", "msg"),
    [
        (["running", "idle"], "completed", ""),
        (["running", ValueError("bad")], "failed", "Plan failed: bad"),
        (["running", TypeError("bad")], "failed", "Plan failed: bad. Hint"),
        (["running", SystemExit(1)], "failed", "Plan failed: SystemExit(1)"),
        (
            ["running", "pausing", "aborting", "idle", RunEngineInterrupted()],
            "aborted",
            "The plan was aborted while it was running",
        ),
        (
            ["running", "stopping", "idle", RunEngineInterrupted()],
            "stopped",
            "The plan was stopped while it was running",
        ),
        (["running", "pausing", "idle", RunEngineInterrupted()], "completed", ""),
    ],
)
def test_how_a_plan_ends(bench: Bench, plan: list[object], status: str, msg: str) -> None:
    event = bench.run(*plan)
    assert finished(event) == (status, msg)
    state = bench.board.current
    assert (state.environment_state, state.running_item_uid) == ("idle", None)
    assert bench.engine.callbacks == []
    assert bench.engine.preprocessors == []


@pytest.mark.parametrize(("option", "status"), [("resume", "completed"), ("abort", "aborted")])
def test_a_paused_plan_goes_on(bench: Bench, option: str, status: str) -> None:
    bench.pause()
    assert bench.board.current.environment_state == "idle"
    assert bench.control.expect_continuation(option) == ""
    assert bench.control.expect_continuation(option) != ""
    bench.control.go_on(option)
    assert finished(bench.events[-1]) == (status, "")


@pytest.mark.parametrize("state", ["running", "paused", "panicked"])
def test_the_engine_must_be_idle(bench: Bench, state: str) -> None:
    bench.engine.state = state
    status, msg = finished(bench.run())
    assert status == "failed"
    assert state in msg


def test_a_continuation_needs_a_paused_plan(bench: Bench) -> None:
    assert "The state is 'idle'" in bench.control.expect_continuation("resume")


def test_a_pause_needs_a_running_plan(bench: Bench) -> None:
    assert "Current state: 'idle'" in bench.control.request_pause("immediate")
    assert "not supported" in bench.control.request_pause("now")


def test_an_engine_without_a_loop_cannot_pause(bench: Bench) -> None:
    bench.engine.loop.close()
    del bench.engine.loop
    replies: list[str] = []
    bench.run("running", lambda: replies.append(bench.control.request_pause("deferred")), "idle")
    assert replies == ["Run engine can not be paused: it has no event loop"]
    assert bench.board.current.deferred_pause is False
    bench.engine.loop = asyncio.new_event_loop()


@pytest.mark.parametrize("option", ["deferred", "immediate"])
def test_a_running_plan_is_paused(bench: Bench, option: str) -> None:
    def ask() -> None:
        assert bench.control.request_pause(option) == ""
        assert bench.board.current.deferred_pause is (option == "deferred")
        bench.engine.turn_loop()

    bench.run("running", ask, "idle")
    assert bench.engine.pauses == [option == "deferred"]
    assert bench.board.current.deferred_pause is False


def test_an_accepted_plan_is_paused_when_it_runs(bench: Bench) -> None:
    bench.control.expect_plan()
    assert bench.control.request_pause("immediate") == ""
    bench.run("running", bench.engine.turn_loop, "idle")
    assert bench.engine.pauses == [False]


def test_a_late_pause_does_not_reach_the_next_plan(bench: Bench) -> None:
    bench.run("running", lambda: bench.control.request_pause("immediate"), "idle")
    bench.run("running", bench.engine.turn_loop, "idle")
    assert bench.engine.pauses == []


def test_a_pause_that_fails_is_not_pending(bench: Bench) -> None:
    seen: list[bool] = []

    def ask() -> None:
        bench.control.request_pause("deferred")
        bench.engine.state = "stopping"
        bench.engine.turn_loop()
        seen.append(bench.board.current.deferred_pause)

    bench.run("running", ask, "idle")
    assert seen == [False]


@pytest.mark.parametrize(
    ("option", "status"), [("stop", "stopped"), ("abort", "aborted"), ("halt", "halted")]
)
def test_a_plan_is_ended_while_its_pause_is_pending(bench: Bench, option: str, status: str) -> None:
    def ask() -> None:
        assert not bench.control.end_unpaused(option)
        assert bench.control.request_pause("deferred") == ""
        bench.engine.turn_loop()
        assert not bench.control.end_unpaused("resume")
        assert bench.control.end_unpaused(option)
        bench.engine.turn_loop()

    event = bench.run("running", ask, "idle", RunEngineInterrupted())
    assert finished(event) == (status, f"The plan was {status} while it was running")
    assert not bench.control.end_unpaused(option)


def test_a_pause_that_comes_after_all_ends_the_plan(bench: Bench) -> None:
    def ask() -> None:
        assert bench.control.request_pause("immediate") == ""
        bench.engine.turn_loop()
        assert bench.control.end_unpaused("abort")

    event = bench.run("running", ask, "pausing", "paused", bench.engine.turn_loop, RunEngineInterrupted())
    assert finished(event) == ("aborted", "")
    assert not any(isinstance(e, PlanPaused) for e in bench.events)


def test_a_paused_plan_needs_the_ordinary_way(bench: Bench) -> None:
    bench.control.expect_plan()
    bench.control.request_pause("immediate")
    bench.pause()
    assert not bench.control.end_unpaused("abort")
    bench.engine.turn_loop()


def test_a_paused_plan_that_is_ended_outside(bench: Bench) -> None:
    bench.pause()
    bench.engine.go("running")
    assert bench.ended_outside == 0
    bench.engine.go("idle")
    assert bench.ended_outside == 1
    bench.control.close_ended_outside()
    assert finished(bench.events[-1]) == ("unknown", "The plan is completed outside RE Manager")
    event = bench.events[-1]
    assert isinstance(event, PlanFinished)
    assert event.stop_queue
    bench.control.close_ended_outside()
    assert bench.events[-1] is event


def test_a_plan_keeps_its_engine(bench: Bench) -> None:
    """A script may bring another RunEngine at any time; it is used when the plan has ended."""
    other = FakeEngine()

    def replace() -> None:
        bench.control.attach(other)
        assert bench.control.request_pause("deferred") == ""
        bench.engine.turn_loop()

    assert isinstance(bench.run("running", replace, "paused", RunEngineInterrupted()), PlanPaused)
    assert bench.engine.pauses == [True]
    assert bench.control.expect_continuation("abort") == ""
    bench.control.attach(other)
    bench.control.go_on("abort")
    assert finished(bench.events[-1]) == ("aborted", "")
    assert bench.control.engine is other
    other.go("running")
    assert bench.board.current.re_state == "running"
    bench.engine.go("panicked")
    assert bench.board.current.re_state == "running"
    other.loop.close()


def test_a_plan_that_has_not_begun_keeps_its_engine(bench: Bench) -> None:
    bench.control.expect_plan()
    assert bench.control.request_pause("immediate") == ""
    bench.control.attach(None)
    assert bench.board.current.re_state == "idle"
    assert finished(bench.run("running", bench.engine.turn_loop, "idle")) == ("completed", "")
    assert bench.engine.pauses == [False]
    assert bench.board.current.re_state is None


def test_hooks_are_chained_without_recursion(bench: Bench) -> None:
    seen: list[object] = []
    ours = bench.engine.state_hook
    assert ours is not None

    def profile_hook(new: object, old: object) -> None:
        seen.append(new)
        ours(new, old)

    bench.engine.state_hook = profile_hook
    bench.run("running", "idle")
    assert seen == ["running", "idle"]
    assert bench.board.current.re_state == "idle"


def test_a_plan_is_contained() -> None:
    def plan() -> Any:
        received = yield 1
        assert received == "a"
        raise SystemExit(3)

    generator = contained(plan())
    assert next(generator) == 1
    with pytest.raises(RuntimeError, match=r"SystemExit\(3\)"):
        generator.send("a")


class Message(NamedTuple):
    """Formed as bluesky's."""

    command: str
    kwargs: dict[str, Any]


def test_runs_are_labelled_with_what_they_lack() -> None:
    def plan() -> Any:
        received = yield Message("open_run", {"user": "of the plan"})
        assert received == "uid"
        with pytest.raises(ValueError, match="thrown"):
            yield Message("read", {})
        yield Message("open_run", {})
        return "result"

    thrown: list[BaseException] = []
    metadata = {"user": "Ann", "attempt": 2, "lab": "there"}
    generator = labelled(plan(), {"lab": "here"}, metadata, thrown.append)
    assert next(generator) == Message("open_run", {"user": "of the plan", "attempt": 2})
    assert generator.send("uid") == Message("read", {})
    assert generator.throw(ValueError("thrown")) == Message("open_run", {"user": "Ann", "attempt": 2})
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert end.value.value == "result"
    assert [str(exc) for exc in thrown] == ["thrown"]


def test_closing_a_labelled_plan_closes_the_plan() -> None:
    closed = []

    def plan() -> Any:
        try:
            yield Message("sleep", {})
        finally:
            closed.append(True)

    thrown: list[BaseException] = []
    generator = labelled(plan(), {}, {}, thrown.append)
    next(generator)
    generator.close()
    assert closed == [True]
    assert thrown == []
