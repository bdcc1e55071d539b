"""Steering tasks: cancelling, retrying, changing, holding, deleting."""

from __future__ import annotations

from manager_rig import Rig


async def test_a_task_runs(pool_rig: Rig) -> None:
    rig = pool_rig
    worker = await rig.pool_worker()
    uid = await rig.submit("work", 1)
    assert list(worker.tasks) == [uid]
    worker.begin(uid)
    await worker.end(uid, value=7)
    assert (await rig.ok("task_result", task_uid=uid))["result"]["return_value"] == 7
    waiting = await rig.submit_many(3)
    await rig.restart()
    assert await rig.task_states(*waiting) == ["running"] * 3
    for uid in waiting:
        worker.begin(uid)
        await worker.end(uid)
    assert await rig.task_states(*waiting) == ["completed"] * 3
