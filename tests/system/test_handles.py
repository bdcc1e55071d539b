"""Handles, events and waiting of the client with a real daemon, also while its manager is killed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from system_harness import Daemon, Gate

from remanager_api import (
    BFunc,
    BPlan,
    RequestFailedError,
    RequestTimeoutError,
    TaskCancelledError,
    TaskFailedError,
    TaskLostError,
    TaskNotFoundError,
)
from remanager_api.outcomes import PlanResult
from remanager_api.zmq import REManagerAPI
from remanager_api.zmq.aio import REManagerAPI as AsyncREManagerAPI

pytest.importorskip("bluesky")

TASKS = Path(__file__).parent / "tasks"
WAIT_S = 30.0
REPLY_S = 10.0  # also where the machine stands still for a while


@pytest.fixture(scope="module")
def live(make_daemon: Callable[..., Daemon], profile: Path) -> Daemon:
    """A daemon with an open environment, two workers and the tasks of these tests."""
    daemon = make_daemon(
        *("--startup-dir", str(profile), "--task-paths", str(TASKS)),
        *("--task-modules", "queue_tasks", "--task-workers", "2"),
    )
    daemon.start()
    daemon.open_environment()
    return daemon


def client(daemon: Daemon, **kwargs: Any) -> AsyncREManagerAPI:
    """A client as members of the group root have; the others may not run every function."""
    addresses = {"zmq_control_addr": daemon.control, "zmq_info_addr": daemon.info}
    RM = AsyncREManagerAPI(**addresses, timeout_recv=REPLY_S, **kwargs)
    RM.user_group = "root"
    return RM


async def write(pipe: Path, text: str) -> None:
    """Write to a pipe when somebody reads from it."""
    await asyncio.wait_for(asyncio.to_thread(pipe.write_text, text), WAIT_S)


# ------------------------------------------------------------------------------------- tasks


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_values_that_json_has_no_form_for(live: Daemon, encoding: str) -> None:
    """What a task returns is what it was given, and can be given to the next one."""
    given = (np.arange(3.0), b"\0\1", {1: float("nan")}, datetime(2026, 1, 31, tzinfo=UTC), np.int8(3))
    types = ["ndarray", "bytes", "dict", "datetime", "int"]
    async with client(live, zmq_encoding=encoding) as RM:
        first = await RM.submit("give_back", *given)
        back = await first
        again = (await RM.task_submit(BFunc("give_back", *back[:-1])))["task_uid"]
        raw = await RM.send_request(method="task_result", params={"task_uid": first.task_uid})
        raw_again = await RM.submit("give_back", *raw["result"]["return_value"][:-1])
        (batch,) = (await RM.task_submit_batch([BFunc("give_back", *back[:-1])]))["results"]
        await RM.task_wait([again, batch["task_uid"]], timeout=WAIT_S)
        results = (await RM.task_result_batch([batch["task_uid"]]))["results"]
        for value in (
            back,
            (await RM.task_result(again))["result"]["return_value"],
            await raw_again,
            results[batch["task_uid"]]["result"]["return_value"],
            (await first.info(["result"]))["result"]["return_value"],
            (await RM.task_info(again, include=["result"]))["result"]["return_value"],
        ):
            assert (value[0].tolist(), value[0].dtype) == ([0.0, 1.0, 2.0], np.dtype("<f8"))
            assert (value[1], repr(value[2]), *value[3:]) == (given[1], "{1: nan}", *given[3:], types)


async def test_a_batch_that_was_not_answered_in_time_is_repeated_and_not_doubled(live: Daemon) -> None:
    items = [(BFunc("add", n), {"delay_s": 3600.0}) for n in range(2000)]
    async with client(live) as RM:
        with pytest.raises(RequestTimeoutError) as info:
            await RM.task_submit_batch(items, job_uid="twice", timeout=0.001)
        reply = await RM.task_submit_batch(items, job_uid="twice", request_id=info.value.request_id)
        assert reply["counts"] == {"inserted": 2000}
        assert (await RM.task_count({"job_uid": "twice"}))["total"] == 2000
        assert (await RM.task_cancel(selector={"job_uid": "twice"}))["counts"]["cancelled"] == 2000
        assert (await RM.task_prune(selector={"job_uid": "twice"}))["deleted"] == 2000


async def test_what_tasks_give(live: Daemon) -> None:
    async with client(live) as RM:
        task = await RM.submit("add", 1, 2, priority=10, tags={"for": "the test"})
        assert await task == 3
        assert (task.status, await task.state()) == ("completed", "completed")
        assert (await task.info())["tags"] == {"for": "the test"}
        after = await RM.submit(BFunc("add", 2, second=2), depends_on=task)
        assert await RM.task(after.task_uid) == 4
        failed = await RM.submit("fail", "no luck")
        with pytest.raises(TaskFailedError, match=r"'fail' .* failed: no luck") as info:
            await failed
        assert "raise ValueError(text)" in info.value.outcome.traceback
        again = await failed.retry()
        assert (await again.wait(WAIT_S)).state == "failed"
        assert again != failed
        never = await RM.submit("add", 1, depends_on=[failed])
        with pytest.raises(TaskFailedError, match="because a task that it needs"):
            await never
        lost = await RM.submit("die")
        with pytest.raises(TaskLostError, match="'die'"):
            await lost
        with pytest.raises(TaskNotFoundError):
            await RM.task("nobody")
        with pytest.raises(TaskNotFoundError):
            await RM.task("nobody").info()
        assert [o.state for o in await RM.outcomes()] == [
            *("completed", "completed", "failed", "failed"),
            *("dependency_failed", "lost"),
        ]


async def test_hundreds_of_handles(live: Daemon) -> None:
    async with client(live) as RM:
        tasks = [await RM.submit("add", n, 0) for n in range(300)]
        assert await asyncio.gather(*tasks) == list(range(300))
        async with aclosing(RM.as_completed(*tasks)) as ended:
            assert sorted([await handle async for handle in ended]) == list(range(300))


async def test_progress_and_cancelling(live: Daemon, pipe: Path) -> None:
    async with client(live) as RM:
        held = await RM.submit("hold", str(pipe))
        seen = []
        async for progress in held.progress(period=0.02):
            seen.append(progress)
            if progress.done_count == 1:
                assert (progress.fraction, progress.percent, progress.message) == (0.25, 25, "holding")
                await write(pipe, "freed")
        assert (seen[-1].state, seen[-1].fraction) == ("completed", 1.0)
        assert await held == "freed"
        assert not await held.cancel()
        obedient = await RM.submit("obedient", str(pipe))
        assert await asyncio.to_thread(pipe.read_text) == "running"
        assert await obedient.cancel(reason="enough")
        with pytest.raises(TaskCancelledError, match="enough"):
            await obedient.result(WAIT_S)


async def test_functions_and_scripts(live: Daemon) -> None:
    async with client(live) as RM:
        assert await (await RM.submit_function("give", [1, "a"])) == [1, "a"]
        assert await (await RM.submit_function(BFunc("give"), run_in_background=True)) is None
        with pytest.raises(TaskFailedError, match="told to fail"):
            await (await RM.submit_function("fail"))
        assert await (await RM.submit_script("a = 1")) is None
        with pytest.raises(TaskFailedError, match="division by zero"):
            await (await RM.submit_script("1 / 0"))


# ------------------------------------------------------------------------------------- plans


async def test_what_plans_give(live: Daemon, gate: Gate) -> None:
    async with client(live) as RM:
        count = await RM.submit(BPlan("count", ["diode"], num=4))
        held = await RM.submit(BPlan("held", str(gate.notes), str(gate.file)))
        broken = await RM.submit(BPlan("broken", str(gate.notes), "broken"))
        unwanted = await RM.submit(BPlan("count", ["diode"]), pos="back")
        assert await unwanted.cancel()
        with pytest.raises(TaskCancelledError):
            await unwanted
        await RM.queue_start()
        result = await count
        assert isinstance(result, PlanResult)
        assert (result.exit_status, len(result.run_uids), len(result.scan_ids)) == ("completed", 1, 1)
        states = [progress.state async for progress in count.progress()]
        assert states == ["completed"]
        await RM.wait_for_condition(lambda s: s["running_item_uid"] == held.task_uid, timeout=WAIT_S)
        with pytest.raises(RequestFailedError) as info:
            await RM.environment_close()
        assert f"plan 'held' ({held.task_uid}) since " in "".join(info.value.__notes__)
        with pytest.raises(RequestFailedError):
            await held.cancel()
        gate.release()
        assert (await held).exit_status == "completed"
        with pytest.raises(TaskFailedError, match="the plan was told to fail"):
            await broken
        await RM.wait_for_idle(timeout=WAIT_S)
        await RM.queue_clear()


async def test_progress_of_a_plan(live: Daemon, gate: Gate) -> None:
    async with client(live) as RM:
        points = await RM.submit(BPlan("held_at_half", str(gate.file), num=12))
        seen = points.progress(period=0.02)
        assert (await anext(seen)).state == "pending"
        await RM.queue_start()
        fractions = []
        async for progress in seen:
            fractions.append(progress.fraction or 0.0)
            if fractions[-1] == 0.5:
                gate.release()
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0
        assert 0.5 in fractions
        await RM.wait_for_idle(timeout=WAIT_S)


# ------------------------------------------------------------------------------------- manager killed


async def test_the_manager_is_killed_while_a_task_and_a_plan_are_awaited(
    live: Daemon, gate: Gate, pipe: Path
) -> None:
    async with client(live) as RM:
        task = await RM.submit("hold", str(pipe))
        plan = await RM.submit(BPlan("held", str(gate.notes), str(gate.file)))
        await RM.queue_start()
        waiting = [asyncio.ensure_future(handle.result()) for handle in (task, plan)]
        idle = asyncio.ensure_future(RM.wait_for_idle(timeout=WAIT_S))
        await RM.wait_for_condition(lambda s: s["running_item_uid"] == plan.task_uid, timeout=WAIT_S)
        await asyncio.to_thread(live.kill_manager)
        assert not any(future.done() for future in (*waiting, idle))
        gate.release()
        await write(pipe, "freed")
        freed, result = await asyncio.wait_for(asyncio.gather(*waiting), WAIT_S)
        assert (freed, result.exit_status) == ("freed", "completed")
        await idle
        assert await RM.task(task.task_uid) == "freed"


async def test_the_manager_is_killed_while_events_are_followed(live: Daemon) -> None:
    async with client(live) as RM:
        seen: list[Any] = []
        last = (await RM.event_list(since=2**62))["next_seq"]

        async def follow() -> None:
            async with aclosing(RM.events(last)) as events:
                async for event in events:
                    seen.append(event)
                    if event.type == "plan_finished":
                        return

        following = asyncio.ensure_future(follow())
        assert await (await RM.submit("add", 1)) == 2
        await asyncio.to_thread(live.kill_manager)
        plan = await RM.submit(BPlan("count", ["diode"]))
        await RM.queue_start()
        await plan
        await asyncio.wait_for(following, WAIT_S)
        assert [event.seq for event in seen] == list(range(last, last + len(seen)))
        assert "manager_started" in {event.type for event in seen}
        assert seen[-1].task_uid == plan.task_uid
        types = {"kinds": ["task_finished", "plan_finished"], "task_uid": plan.task_uid}
        async with aclosing(RM.events(last, **types)) as events:
            assert (await anext(events)).seq == seen[-1].seq
        await RM.wait_for_idle(timeout=WAIT_S)


# ------------------------------------------------------------------------------------- blocking


@pytest.fixture
def blocking(live: Daemon) -> Iterator[REManagerAPI]:
    addresses = {"zmq_control_addr": live.control, "zmq_info_addr": live.info}
    with REManagerAPI(**addresses, timeout_recv=REPLY_S) as RM:
        RM.user_group = "root"
        yield RM


def test_blocking_client(blocking: REManagerAPI, live: Daemon, pipe: Path) -> None:
    RM = blocking
    since = RM.event_list(since=2**62)["next_seq"]
    task = RM.submit("hold", str(pipe))
    writer = threading.Thread(target=pipe.write_text, args=("freed",))
    writer.start()
    assert [progress.state for progress in task.progress()][-1] == "completed"
    writer.join()
    assert (task.result(WAIT_S), task.status) == ("freed", "completed")
    with pytest.raises(TaskFailedError, match="no luck"):
        RM.submit("fail", "no luck").result()
    plan = RM.submit(BPlan("count", ["diode"]))
    RM.queue_start()
    assert plan.result(WAIT_S).exit_status == "completed"
    RM.wait_for_idle(timeout=WAIT_S)
    assert RM.gather(task, plan)[0] == "freed"
    assert {handle.name for handle in RM.as_completed(task, plan)} == {"hold", "count"}
    events = RM.events(since, kinds="plan_finished")
    assert next(events).task_uid == plan.task_uid
    events.close()


def test_a_blocking_wait_outlasts_the_manager(blocking: REManagerAPI, live: Daemon, pipe: Path) -> None:
    task = blocking.submit("hold", str(pipe))
    killer = threading.Thread(target=live.kill_manager)
    killer.start()
    blocking.wait_for_condition(lambda s: s["manager_state"] == "idle", timeout=WAIT_S)
    killer.join()
    threading.Thread(target=pipe.write_text, args=("freed",)).start()
    assert task.result(WAIT_S) == "freed"
