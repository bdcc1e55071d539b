"""sitq: track tasks, print reports, analyse durations.

Other than in the document, ``processing`` is no guess, the tracker keeps nothing itself and prints nothing,
the workers are the daemon's, and functions are named instead of sent. One of the tasks fails.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import seed_tasks
from options import parse

from remanager_api.views.sitq import (
    COMPLETED,
    PENDING,
    PROCESSING,
    StatusMonitor,
    TaskQueue,
    TaskStatusTracker,
    status_report,
)
from remanager_api.zmq.aio import REManagerAPI

EXPECTED_DURATION_S = 0.01
"""Short enough for the alert of the document to be seen."""


async def print_status_report(tracker: TaskStatusTracker) -> dict[str, int]:
    """Print a formatted status report."""
    stats = await tracker.get_queue_statistics()
    report = status_report(stats, await tracker.get_all_tasks(), datetime.now(UTC))
    print(f"\n{report}")
    return stats


async def analyse(tracker: TaskStatusTracker) -> None:
    """Print how long tasks took and what they returned; say if they are slow."""
    print("\nPerformance Analysis:")
    completed_tasks = [
        info for info in (await tracker.get_all_tasks()).values() if info["status"] == COMPLETED
    ]
    print(f"Results: {[task['result'] for task in completed_tasks]}")
    durations = [(task["finished_at"] - task["started_at"]).total_seconds() for task in completed_tasks]
    if durations:
        avg_duration = sum(durations) / len(durations)
        print(f"Average task duration: {avg_duration:.2f} seconds")
        print(f"Fastest task: {min(durations):.2f} seconds")
        print(f"Slowest task: {max(durations):.2f} seconds")
        if avg_duration > EXPECTED_DURATION_S:
            print(f"Task processing slower than expected: {avg_duration:.2f}s")


async def main() -> None:
    """Run the example."""
    given = parse(__doc__)
    manager = REManagerAPI(zmq_control_addr=given.address, timeout_recv=given.timeout)
    manager.user, manager.user_group = given.user, given.user_group
    queue = TaskQueue(manager)
    await queue.connect()
    print("=== Task Status Monitoring Example ===\n")

    tasks_to_enqueue = [
        ("quick", seed_tasks.quick_processing_task, [1, 2]),
        ("medium", seed_tasks.medium_processing_task, [3, 4]),
        ("long", seed_tasks.long_processing_task, [5]),
        ("failing", seed_tasks.failing_task, [6]),
    ]
    print("Enqueueing tasks...")
    ids = []
    for task_type, task_func, task_ids in tasks_to_enqueue:
        for task_id in task_ids:
            enqueued_task_id = await queue.enqueue(task_func, task_id)
            ids.append(enqueued_task_id)
            print(f"  Enqueued {task_type} task {task_id}: {enqueued_task_id[:8]}...")

    tracker = TaskStatusTracker(manager, {"task_uid": ids})
    monitor = StatusMonitor(manager, tracker)
    changes: list[list[str]] = []
    monitoring_task = asyncio.create_task(
        monitor.start_monitoring(lambda tasks: changes.append([t["status"] for t in tasks.values()]))
    )
    print("\nMonitoring task progress...\n")
    while True:
        stats = await print_status_report(tracker)
        if not stats[PENDING] + stats[PROCESSING]:
            break
        await asyncio.sleep(0.5)

    await analyse(tracker)
    print("\nAll at once:")
    for uid, found in (await queue.check_multiple_task_status(ids)).items():
        print(f"  {uid[:8]}... {found['status']}: {found.get('result', found.get('error'))}")
    # Try it yourself: statistics for a dashboard
    print(f"As JSON: {json.dumps(await tracker.get_queue_statistics())}")
    print("The long one, step by step:")
    for when, status in await tracker.get_status_history(ids[4]):
        print(f"  {when}: {status}")

    monitor.stop_monitoring()
    await monitoring_task
    await queue.close()
    print(f"\nStatus monitoring example completed! Changes seen: {len(changes)}")


if __name__ == "__main__":
    asyncio.run(main())
