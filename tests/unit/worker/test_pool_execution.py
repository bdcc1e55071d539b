"""Running one task: whatever user code does, there is an outcome that can be sent."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from remanager.engine.task_queue.changes import OutcomeKind
from remanager.model.link import pack
from remanager.model.pool_messages import TaskProgress, TasksEnded
from remanager.tasks import Context, Permanent, Retry, Skip
from remanager.worker.pool.assignments import Assignment, Assignments, Outcome
from remanager.worker.pool.context import Children, WorkerContext
from remanager.worker.pool.discovery import TaskFunction, tasks_of
from remanager.worker.pool.execution import Executor


class Wire:
    def __init__(self) -> None:
        self.sent: list[Any] = []

    def publish(self, events: list[Any]) -> None:
        self.sent += events

    def send(self, message: Any) -> None:
        self.sent.append(message)

    progress = send


class Rig:
    """One assignment after the other in this thread."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.assignments = Assignments(1.0, lambda: None, lambda _uid, _epoch, _time: None)
        self.functions: dict[str, TaskFunction] = {}
        self.executor = Executor(self.functions, self.context, self.assignments.attach, 1000)

    def context(self, assignment: Assignment) -> WorkerContext:
        return WorkerContext(assignment, self.wire, Children(self.wire.send), 100)

    def run(
        self, function: Callable[..., Any], *args: Any, body: str | None = None, **options: Any
    ) -> Outcome:
        """Run a function and see that what it tells can be sent."""
        module = ModuleType("m")
        function.__module__, function.__qualname__ = "m", "f"
        vars(module)["f"] = function
        (self.functions["f"],) = tasks_of(module)
        body = body or json.dumps({"name": "f", "args": args})
        self.assignments.accept([["uid", 1, 1, body, None, options.get("checkpoint")]])
        assignment = self.assignments.next()
        assert assignment is not None
        outcome, _ = self.executor.run(assignment)
        self.assignments.end(assignment, outcome)
        ended = self.assignments.collect().ended
        for message in [TasksEnded(1, 1.0, ended), *self.wire.sent]:
            pack(message)
        return outcome


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.executor.close()


def test_the_context_may_be_the_first_parameter(rig: Rig) -> None:
    def first(ctx: Context, a: int, b: int = 2, *rest: int) -> list[object]:
        return [isinstance(ctx, Context), a, b, *rest]

    def middle(a: int, ctx: Context, b: int = 2) -> list[object]:
        return [a, isinstance(ctx, Context), b]

    def by_name(a: int, *rest: int, ctx: Context) -> list[object]:
        return [a, *rest, isinstance(ctx, Context)]

    assert rig.run(first, 1).payload == b"[true, 1, 2]"
    assert rig.run(first, 1, 3, 4, 5).payload == b"[true, 1, 3, 4, 5]"
    assert rig.run(middle, 1).payload == b"[1, true, 2]"
    assert rig.run(middle, 1, 3).payload == b"[1, true, 3]"
    assert rig.run(by_name, 1, 2, 3).payload == b"[1, 2, 3, true]"


def test_reasons_are_bounded_texts(rig: Rig) -> None:
    def skip() -> None:
        raise Skip(5)  # type: ignore[arg-type]

    def long() -> None:
        raise Skip("x" * 10_000)

    def retry() -> None:
        raise Retry(np.float32(2.5), "\ud800")  # type: ignore[arg-type]

    assert rig.run(skip).reason == "5"
    assert len(rig.run(long).reason) < 1100
    outcome = rig.run(retry)
    assert (outcome.kind, outcome.retry_after_s) == (OutcomeKind.RETRY, 2.5)
    assert type(outcome.retry_after_s) is float


def test_the_cause_of_a_retry_is_the_error(rig: Rig) -> None:
    def during() -> None:
        try:
            raise OSError("no disk")
        except OSError:
            raise Retry()  # noqa: B904 - that is the case

    def hidden() -> None:
        try:
            raise OSError("no disk")
        except OSError:
            raise Retry(reason="later") from None

    assert (rig.run(during).error or ())[:2] == ("OSError", "no disk")
    assert (rig.run(hidden).error or ())[:2] == ("remanager.tasks.exceptions.Retry", "later")


def test_numbers_of_progress_can_be_sent(rig: Rig) -> None:
    def tell(ctx: Context) -> None:
        ctx.progress(done_count=np.int64(3), done_size=2.0, fraction=np.float32(0.5))  # type: ignore[arg-type]
        ctx.record_io(disk_read=2**63 - 1)
        ctx.record_io(disk_read=2**63 - 1)

    assert rig.run(tell).kind is OutcomeKind.COMPLETED
    last = rig.wire.sent[-1]
    assert isinstance(last, TaskProgress)
    assert last.report == {
        "done_count": 3,
        "done_size": 2,
        "fraction": 0.5,
        "io": {"disk_read": 2**63 - 1},
    }


def test_values_that_fail_when_they_are_encoded(rig: Rig) -> None:
    class Odd(dict[str, int]):
        def values(self) -> Any:
            raise RuntimeError("no values")

    outcome = rig.run(lambda: Odd(a=1))
    assert (outcome.kind, (outcome.error or ())[:2]) == (OutcomeKind.ERROR, ("RuntimeError", "no values"))


def test_results_have_a_limit(rig: Rig) -> None:
    assert rig.run(lambda: "x" * 998).kind is OutcomeKind.COMPLETED
    outcome = rig.run(lambda: "x" * 999)
    assert outcome.kind is OutcomeKind.PERMANENT
    assert outcome.error is not None
    assert "1001 bytes, and at most 1000 are kept" in outcome.error[1]


def test_only_arguments_that_do_not_fit_are_permanent(rig: Rig) -> None:
    def inside(_x: int) -> None:
        len(3)  # type: ignore[arg-type]

    assert rig.run(inside, 1).kind is OutcomeKind.ERROR
    assert rig.run(inside).kind is OutcomeKind.PERMANENT
    assert rig.run(inside, 1, 2).kind is OutcomeKind.PERMANENT


@pytest.mark.parametrize(
    "body", ["{", "[]", "null", '"f"', "{}", '{"name": "g"}', '{"name": ["f"]}', '{"name": "f", "args": 5}',
             '{"name": "f", "kwargs": [1]}', '{"name": "f", "args": [{"__bytes__": 3}]}']
)  # fmt: skip
def test_malformed_items_are_permanent(rig: Rig, body: str) -> None:
    assert rig.run(lambda *_args, **_kwargs: None, body=body).kind is OutcomeKind.PERMANENT


def test_damaged_checkpoint_is_permanent(rig: Rig) -> None:
    assert rig.run(lambda: None, checkpoint=b"\xc1").kind is OutcomeKind.PERMANENT


def test_exceptions_without_a_text(rig: Rig) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def fail() -> None:
        raise Mute

    def chained() -> None:
        try:
            fail()
        except Mute as exc:
            raise Permanent("damaged") from exc

    outcome = rig.run(fail)
    assert outcome.error is not None
    assert outcome.error[1] == "Mute"
    outcome = rig.run(chained)
    assert outcome.error is not None
    assert (outcome.kind, outcome.error[1]) == (OutcomeKind.PERMANENT, "damaged")
    assert "Mute" in outcome.error[2]


def test_a_function_that_returns_a_coroutine(rig: Rig) -> None:
    async def later(x: int) -> int:
        return x + 1

    @functools.wraps(later)
    def wrapped(x: int) -> Any:
        return later(x)

    assert rig.run(wrapped, 3).payload == b"4"
