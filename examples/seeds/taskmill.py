"""taskmill: queries for dashboards and analytics.

Other than in the document, tasks are submitted here first, so that there is something to ask about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from options import parse

from remanager_api import BFunc
from remanager_api.views.taskmill import Active, History, TypedTask
from remanager_api.views.taskmill_handles import Scheduler
from remanager_api.zmq import REManagerAPI


@dataclass(frozen=True, slots=True)
class ThumbnailTask(TypedTask):
    """A small picture."""

    domain: ClassVar[str] = "media"
    name: ClassVar[str] = "thumbnail"
    path: str
    width: int


def submit(manager: REManagerAPI, scheduler: Scheduler) -> list[str]:
    """Submit some tasks: small pictures, one of them of a broken file, and an album in two steps."""
    media = scheduler.domain("media")
    paths = [*(f"/photos/{n}.jpg" for n in range(5)), "/photos/broken.jpg"]
    ids = [media.submit(ThumbnailTask(path, 300), {"tags": {"album.name": "may"}}) for path in paths]
    ingest = manager.task_submit(BFunc("import_album", "may"), {"delay_s": 0.5})["task_uid"]
    process = manager.task_submit(BFunc("index_album", "may"), {"depends_on": [ingest]})["task_uid"]
    return [*ids, ingest, process]


def main() -> None:
    """Run the example."""
    given = parse(__doc__)
    with REManagerAPI(zmq_control_addr=given.address, timeout_recv=given.timeout) as manager:
        manager.user, manager.user_group = given.user, given.user_group
        scheduler = Scheduler(manager)
        ids = submit(manager, scheduler)

        # Domain-scoped snapshot: running tasks, pending count, progress.
        snap = scheduler.domain("media").snapshot()
        print(f"media: {len(snap.running)} running, {snap.pending_count} pending")

        # Global dashboard data via the store.
        store = scheduler.store()
        running = store.running_count()
        pending = store.pending_count()
        read_io, write_io = store.running_io_totals()
        print(f"all: {running} running, {pending} pending, expected IO {read_io} + {write_io} bytes")
        print(f"blocked: {[task.task_type for task in store.blocked_tasks()]}")
        print(f"dependencies: {store.task_dependencies(ids[-1]) == ids[-2:-1]}")

        manager.task_wait(ids, timeout=30.0)

        # Per-type analytics: note the qualified type name.
        stats = store.history_stats("media::thumbnail")
        print(
            f"media::thumbnail: {stats.count} completed, avg {stats.avg_duration_ms:.0f}ms, "
            f"{stats.failure_rate * 100.0:.1f}% failure rate"
        )

        # Unified lookup, active or ended.
        match scheduler.lookup_typed(ThumbnailTask("/photos/1.jpg", 300)):
            case Active(record):
                print(f"Status: {record.status}, priority: {record.priority}")
            case History(record):
                print(f"Completed at: {record.completed_at}, duration: {record.duration_ms:.0f}ms")
            case _:
                print("No task found with this key")

        # Paginated history for a UI table
        page = store.history(50, 0)  # first 50
        page2 = store.history(50, 50)  # next 50
        print(f"history: {len(page)} and {len(page2)} tasks")
        print(f"failed: {[task.last_error for task in store.failed_tasks(10)]}")


if __name__ == "__main__":
    main()
