"""taskmill: queries for dashboards and analytics.

Other than in the document, tasks are submitted here first, so that there is something to ask about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from options import parse

from remanager_api import BFunc
from remanager_api.views.taskmill import Active, History, TaskLookup, TypedTask
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
    paths = [*(f"/photos/{n}.jpg" for n in range(4)), "/photos/broken.jpg"]
    ids = [media.submit(ThumbnailTask(path, 300), {"tags": {"album.name": "may"}}) for path in paths]
    ids.append(media.submit(ThumbnailTask("/photos/img.jpg", 300), {"key": "/photos/img.jpg"}))
    ingest = manager.task_submit(BFunc("import_album", "may"), {"delay_s": 0.5})["task_uid"]
    process = manager.task_submit(BFunc("index_album", "may"), {"depends_on": [ingest]})["task_uid"]
    return [*ids, ingest, process]


def dashboard(scheduler: Scheduler, ids: list[str]) -> None:
    """Print what runs and waits."""
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


def schedules(manager: REManagerAPI, scheduler: Scheduler) -> None:
    """Print the rest of a snapshot; pause, resume and cancel a recurring schedule."""
    manager.limit_set("group", "photos", weight=2.0, rate={"permits": 5, "interval_s": 60.0, "burst": 5})
    manager.task_pause("group", "photos")
    hourly = {"interval_s": 3600.0, "initial_delay_s": 3600.0}
    thumbnail = BFunc("thumbnail", "/photos/latest.jpg", 300)
    task_id = manager.schedule_add(thumbnail, hourly, {"label": "hourly"})["schedule_uid"]

    snap = scheduler.snapshot()
    print(f"recurring schedules: {[schedule.label for schedule in snap.recurring_schedules]}")
    print(f"aging: {snap.aging_config}")
    print(f"group allocations: {[(group['group'], group['weight']) for group in snap.group_allocations]}")
    print(f"paused groups: {[group['name'] for group in snap.paused_groups]}")
    print(f"rate limits: {[(limit['name'], limit['available_tokens']) for limit in snap.rate_limits]}")

    def state() -> list[bool]:
        return [row.paused for row in scheduler.store().recurring_schedules() if row.task_id == task_id]

    handle = scheduler.domain("media")
    # Pause: stops new occurrences from being enqueued
    handle.pause_recurring(task_id)
    print(f"schedule is paused: {state()}")
    # Resume: re-enables the schedule from where it left off
    handle.resume_recurring(task_id)
    print(f"schedule is paused: {state()}")
    # Cancel: permanently removes the recurring schedule
    handle.cancel_recurring(task_id)
    print(f"schedule is paused: {state()}")
    manager.task_resume("group", "photos")
    manager.limit_remove("group", "photos")


def tell(found: TaskLookup) -> None:
    """Print where a task is."""
    match found:
        case Active(record):
            print(f"Status: {record.status}, priority: {record.priority}")
        case History(record):
            print(f"Completed at: {record.completed_at}, duration: {record.duration_ms:.0f}ms")
        case _:
            print("No task found with this key")


def cancel(scheduler: Scheduler) -> None:
    """Cancel tasks one by one, by what they are, by their tags, and all."""
    handle = scheduler.domain("media")
    tags = [{}, {"album.name": "june"}, {"billing.team": "a"}, {}]
    ids = [
        handle.submit(ThumbnailTask(f"/photos/late{n}.jpg", 300), {"delay_s": 3600.0, "tags": some})
        for n, some in enumerate(tags)
    ]
    tell(scheduler.lookup_typed(ThumbnailTask("/photos/late0.jpg", 300)))
    print(f"one: {handle.cancel(ids[0])}, again: {handle.cancel(ids[0])}")
    found = handle.cancel_where(lambda task: task.tags.get("album.name") == "june")
    print(f"of an album: {found == ids[1:2]}")
    print(f"with a tag: {handle.cancel_by_tag_key_prefix('billing.') == ids[2:3]}")
    print(f"all others: {handle.cancel_all() == ids[3:]}")


def main() -> None:
    """Run the example."""
    given = parse(__doc__)
    with REManagerAPI(zmq_control_addr=given.address, timeout_recv=given.timeout) as manager:
        manager.user, manager.user_group = given.user, given.user_group
        scheduler = Scheduler(manager)
        ids = submit(manager, scheduler)
        dashboard(scheduler, ids)
        schedules(manager, scheduler)
        manager.task_wait(ids, timeout=30.0)

        # Per-type analytics: note the qualified type name.
        store = scheduler.store()
        stats = store.history_stats("media::thumbnail")
        print(
            f"media::thumbnail: {stats.count} completed, avg {stats.avg_duration_ms:.0f}ms, "
            f"{stats.failure_rate * 100.0:.1f}% failure rate"
        )

        # Unified lookup, active or ended: by key, and of a typed task
        tell(scheduler.task_lookup("media::thumbnail", "/photos/img.jpg"))
        tell(scheduler.task_lookup("other::thumbnail", "/photos/img.jpg"))
        tell(scheduler.lookup_typed(ThumbnailTask("/photos/1.jpg", 300)))

        # Paginated history for a UI table
        page = store.history(50, 0)  # first 50
        page2 = store.history(50, 50)  # next 50
        print(f"history: {len(page)} and {len(page2)} tasks")
        print(f"failed: {[task.last_error for task in store.failed_tasks(10)]}")
        cancel(scheduler)


if __name__ == "__main__":
    main()
