"""sitq: track tasks, print reports, analyse durations.

Other than in the document, ``processing`` is no guess, the tracker keeps nothing itself, the workers are the
daemon's, and functions are named instead of sent.
"""

from __future__ import annotations

import asyncio

import seed_tasks
from options import parse

from remanager_api.views.sitq import PENDING, PROCESSING, StatusMonitor, TaskQueue, TaskStatusTracker
from remanager_api.zmq.aio import REManagerAPI


async def print_status_report(tracker: TaskStatusTracker) -> dict[str, int]:
    """Print a formatted status report."""
    stats = await tracker.get_queue_statistics()
    print("\n=== Queue Statistics ===")
    print(f"Total Tasks: {stats['total']}")
    print(f"Pending: {stats['pending']}")
    print(f"Processing: {stats['processing']}")
    print(f"Completed: {stats['completed']}")
    print(f"Failed: {stats['failed']}")
    print("\n=== Individual Task Status ===")
    for task_id, info in (await tracker.get_all_tasks()).items():
        duration = ""
        if info["started_at"] and info["finished_at"]:
            duration = f" (Duration: {(info['finished_at'] - info['started_at']).total_seconds():.1f}s)"
        print(f"Task {task_id[:8]}... - {info['status']} - {info['task_type']}{duration}")
    return stats


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

    print("\nPerformance Analysis:")
    durations = []
    for info in (await tracker.get_all_tasks()).values():
        if info["status"] == "completed":
            durations.append((info["finished_at"] - info["started_at"]).total_seconds())
    print(f"Average task duration: {sum(durations) / len(durations):.2f} seconds")
    print(f"Fastest task: {min(durations):.2f} seconds")
    print(f"Slowest task: {max(durations):.2f} seconds")

    print("\nAll at once:")
    for uid, result in (await queue.check_multiple_task_status(ids)).items():
        print(f"  {uid[:8]}... {result['status']}: {result['result']}")
    print("The last one, step by step:")
    for when, status in await tracker.get_status_history(ids[-1]):
        print(f"  {when}: {status}")

    monitor.stop_monitoring()
    await monitoring_task
    await queue.close()
    print(f"\nStatus monitoring example completed! Changes seen: {len(changes)}")


if __name__ == "__main__":
    asyncio.run(main())
