"""What became of tasks, and how far they are, made of what the manager tells."""

from __future__ import annotations

import copy
import pickle

import pytest

from remanager_api import (
    TaskCancelledError,
    TaskError,
    TaskFailedError,
    TaskLostError,
    TaskNotFoundError,
)
from remanager_api.outcomes import Outcome, PlanResult
from remanager_api.progress import Progress
from remanager_api.states import ACTIVE, CANCELLED, DROPPED, FAILURE, NOT_FOUND, STATES, SUCCESS

ERRORS: dict[str, type[TaskError]] = {
    **dict.fromkeys(FAILURE, TaskFailedError),
    **dict.fromkeys((*CANCELLED, *DROPPED), TaskCancelledError),
    **dict.fromkeys(ACTIVE, TaskError),
    "lost": TaskLostError,
    NOT_FOUND: TaskNotFoundError,
}


@pytest.mark.parametrize("state", [*STATES, NOT_FOUND])
def test_only_a_success_has_a_result(state: str) -> None:
    outcome = Outcome.of("u", state, {"return_value": 7}, "f")
    assert outcome.ok is (None if state in ACTIVE else state in SUCCESS)
    assert outcome.status == {NOT_FOUND: NOT_FOUND}.get(state, "running" if state in ACTIVE else "completed")
    if state in SUCCESS:
        assert outcome.result() == 7
        return
    with pytest.raises(TaskError) as info:
        outcome.result()
    assert type(info.value) is ERRORS[state]
    assert str(info.value).startswith("'f' (u) ")


def test_an_error_says_what_went_wrong_and_where() -> None:
    result = {"msg": "no luck", "traceback": "Traceback ...\nValueError: no luck\n", "success": False}
    with pytest.raises(TaskFailedError, match="no luck") as info:
        Outcome.of("u", "failed", result, "f").result()
    error = info.value
    assert str(error) == "'f' (u) failed: no luck"
    assert (error.task_uid, error.state, error.reason) == ("u", "failed", "no luck")
    assert error.__notes__ == ["In the worker:\nTraceback ...\nValueError: no luck"]
    twin = pickle.loads(pickle.dumps(error))
    assert (type(twin), twin.outcome, str(twin)) == (TaskFailedError, error.outcome, str(error))
    with pytest.raises(LookupError, match=r"^\(u\) is not known to the manager$"):
        Outcome("u", NOT_FOUND).result()


def test_a_plan_has_runs() -> None:
    told = {
        "exit_status": "completed",
        "run_uids": ["a"],
        "scan_ids": [3],
        "time_start": 1.0,
        "time_stop": 2.0,
    }
    outcome = Outcome.of("u", "completed", told)
    assert outcome.result() == PlanResult("completed", ["a"], [3], 1.0, 2.0)
    failed = Outcome.of("u", "failed", {**told, "exit_status": "failed"})
    with pytest.raises(TaskFailedError) as info:
        failed.result()
    assert info.value.outcome.plan is not None
    assert info.value.outcome.plan.run_uids == ["a"]


def test_a_name_is_added_where_there_is_none() -> None:
    assert Outcome("u", "running").with_name("f").name == "f"
    assert Outcome("u", "running", "g").with_name("f").name == "g"
    assert copy.copy(Outcome("u", "running")) == Outcome("u", "running")


@pytest.mark.parametrize(
    ("told", "fraction", "percent"),
    [
        ({"done_count": 5, "total_count": 20, "elapsed_s": 1.0, "estimated_s": 9.0, "eta_s": 3.0}, 0.25, 25),
        ({"done_count": 5, "total_count": 4, "elapsed_s": 1.0, "estimated_s": None, "eta_s": None}, 1.0, 100),
        (
            {"done_count": 0, "total_count": None, "elapsed_s": 9.0, "estimated_s": 3.0, "eta_s": 0.0},
            0.99,
            99,
        ),
        (
            {"done_count": 0, "total_count": None, "elapsed_s": 9.0, "estimated_s": None, "eta_s": None},
            None,
            None,
        ),
    ],
)
def test_progress_of_a_plan(told: dict[str, float], fraction: float | None, percent: int | None) -> None:
    progress = Progress.of_plan("running", told)
    assert (progress.fraction, progress.percent, progress.eta_s) == (fraction, percent, told["eta_s"])


def test_progress_of_a_task() -> None:
    told = {"best": 0.5, "done_size": 10, "total_size": 20, "message": "half", "eta_s": 1.0, "stale": False}
    progress = Progress.of_task("running", told)
    assert (progress.percent, progress.done_size, progress.message) == (50, 10, "half")
    assert Progress.of_task("pending", None) == Progress("pending")
    later = Progress.of_task("running", {**told, "eta_s": 0.5, "elapsed_s": 3.0})
    assert later != progress
    assert later.told() == progress.told()
