"""Handing tasks to workers: each hand-over is sent once, whatever happens around it."""

from __future__ import annotations

import asyncio

from manager_rig import FakePoolWorker, Rig, hop

from remanager.model.pool_messages import RunTasks, TasksEnded


def handed_over(worker: FakePoolWorker) -> list[tuple[str, int]]:
    """UID and lease epoch of each task that a worker was sent."""
    return [(row[0], row[1]) for m in worker.received if isinstance(m, RunTasks) for row in m.tasks]


async def test_what_follows_from_late_reports_after_a_greeting_is_not_taken_back(pool_rig: Rig) -> None:
    rig = pool_rig
    worker = await rig.pool_worker()
    first = await rig.submit("work", 1)
    assert handed_over(worker) == [(first, 1)]
    await rig.submit_many(5)
    worker.begin(first)
    await rig.crash()
    worker.event(TasksEnded, outcomes=[worker.outcome(first)])
    await rig.restart_after_crash()
    await rig.until(lambda: worker.tasks)
    await rig.settle()
    assert [epoch for _, epoch in handed_over(worker)] == [1] * len(handed_over(worker))
    assert not {"pending"} & set(await rig.task_states(*worker.tasks))


async def test_a_hand_over_that_was_replaced_before_it_was_on_disk_is_not_sent(pool_rig: Rig) -> None:
    rig = pool_rig
    worker = await rig.pool_worker()
    rig.gate.shut()
    submitting = asyncio.ensure_future(rig.submit())
    running = rig.manager.task_queue.scheduler.running
    while not running:
        await hop()
    worker.hello()  # it knows nothing of the task: the task is handed over anew
    while [card.lease_epoch for card in running.values()] != [2]:
        await hop()
    await rig.gate.open()
    uid = await submitting
    await rig.settle()
    assert handed_over(worker) == [(uid, 2)]
