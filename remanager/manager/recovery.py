"""What a manager finds when it starts: a living worker to take over, or the remains of one to close."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from remanager.manager.catalogue import LISTS
from remanager.manager.execution import AUTOSTART, KNOWN_RUNS, STOP_PENDING
from remanager.manager.manager import Manager
from remanager.manager.rows import is_immediate, submission_of
from remanager.manager.state import RunningItem, WorkerRecord
from remanager.manager.task_queue import restoring as task_queue
from remanager.manager.task_queue.pool import KIND as POOL
from remanager.manager.tasks import RunningTask
from remanager.manager.worker_files import forget_others, manager_directory, read_crash, settings_path
from remanager.model.states import ExitStatus, ManagerState, TaskState
from remanager.store.records import TaskRow, WorkerRow
from remanager.store.writes import worker_delete

logger = logging.getLogger(__name__)

GREETING_TIMEOUT_S = 3.0
"""How long a living worker may take to connect again."""

GONE = "The worker process ended while no manager was there; how is not known"
COPIED = "This state directory is a copy that was made while it ran. How it ended is not known here."
OF_ANOTHER = "it is not of this state directory, but of the one of which this is a copy"
LOST = "It was interrupted: manager and worker had ended. How far it got is not known."


async def restore(manager: Manager, *, first_start: bool) -> None:
    """Bring the manager to the state in which its predecessor left the world.

    Parameters
    ----------
    manager : Manager
        Not started yet; its sockets towards workers are bound.
    first_start : bool
        False when the manager process was restarted by its supervisor.
    """
    state, rows = manager.state, manager.store.reads.running()
    _take_over(manager, rows)
    last_sign_of_life = _last_event_time(manager)
    found = _find_workers(manager)
    worker = found.environment
    uid = worker.worker_uid if worker else None
    task_queue.restore(
        manager.task_queue,
        manager.store,
        found.pool,
        manager.clock(),
        settings=manager.stored_settings,
        environment_uid=uid,
    )
    forget_others(manager.options.runtime_dir, {*manager.task_queue.pool.workers, uid or ""})
    state.autostart = bool(manager.stored_settings.get(AUTOSTART))
    state.queue_stop_pending = bool(manager.stored_settings.get(STOP_PENDING)) and worker is not None
    if worker is None:
        await _close_remains(manager, last_sign_of_life, COPIED if found.of_others else LOST, found.crash)
        # Reading the lists can take a while: meanwhile the manager already says that it starts.
        manager.background.spawn(_finish(manager, first_start, None), "start")
        return
    state.worker = WorkerRecord(
        worker.worker_uid,
        worker.pid,
        worker.start_ticks,
        acked_seq=worker.acked_seq,
        handled_seq=worker.acked_seq,
        last_heartbeat=manager.clock(),
    )
    manager.silence.expect()
    manager.environment_tasks.adopt()
    manager.environment.watch(state.worker)
    await _finish(manager, first_start, manager.stored_settings.get(LISTS))


async def _finish(manager: Manager, first_start: bool, worker_lists: dict[str, Any] | None) -> None:
    """Load permissions and lists, meet the worker; then requests are answered."""
    state = manager.state
    await manager.catalogue.start(first_start=first_start, worker_lists=worker_lists)
    manager.run_background()  # not before: a worker may have sent newer lists
    if state.worker is not None:
        await _meet(manager)
    elif state.manager_state is ManagerState.INITIALIZING:
        state.manager_state = ManagerState.IDLE
    batch = manager.ledger.batch()
    batch.event("manager_started", manager_uid=manager.uid, adopted=state.worker is not None)
    await manager.ledger.settle(batch)
    manager.status.touch()
    manager.started.set()
    manager.execution.autostart()


@dataclass(slots=True)
class _Found:
    """The recorded workers.

    Attributes
    ----------
    environment : WorkerRow or None
        That of the environment, if its process is there and this daemon's.
    pool : list of WorkerRow
        Those of the pool that are.
    of_others : bool
        Some are there, but not this daemon's: the state directory is a copy.
    crash : str
        The stacks that the worker of the environment left as it crashed, if it did.
    """

    environment: WorkerRow | None = None
    pool: list[WorkerRow] = field(default_factory=list)
    of_others: bool = False
    crash: str = ""


def _find_workers(manager: Manager) -> _Found:
    found = _Found()
    for row in manager.store.reads.workers():
        settings = settings_path(manager.options.runtime_dir, row.worker_uid)
        if row.pid and manager.processes.take_over(row.pid, row.start_ticks, settings):
            _warn_if_moved(manager.options.runtime_dir, row.pid, settings)
            if row.kind == POOL:
                found.pool.append(row)
            else:
                found.environment = row
            continue
        batch = manager.ledger.batch()
        batch.write(worker_delete(row.worker_uid))
        batch.event("worker_gone", worker_uid=row.worker_uid)
        if row.pid and manager.processes.is_alive(row.pid, row.start_ticks):
            logger.warning("The worker with pid %d is left alone: %s", row.pid, OF_ANOTHER)
            found.of_others = True
        elif row.pid and row.kind != POOL:
            gone = WorkerRecord(row.worker_uid, row.pid, row.start_ticks)
            found.crash = read_crash(manager.options.runtime_dir, row.worker_uid)
            manager.autopsies.record(batch, gone, None, GONE, found.crash)
        manager.ledger.commit(batch)
    return found


def _warn_if_moved(runtime_dir: Path, pid: int, settings: Path) -> None:
    """Tell that a worker cannot connect, since the state directory is not where it was."""
    expected = manager_directory(settings)
    if expected is not None and not (expected.exists() and expected.samefile(runtime_dir)):
        logger.error(
            "The worker with pid %d looks for the manager in %s: the state directory was moved while it ran. "
            "Kill this daemon (SIGKILL to the supervisor leaves workers) and move the directory back, or do "
            "without the worker",
            pid,
            expected,
        )


def _take_over(manager: Manager, rows: list[TaskRow]) -> None:
    """Put what the store has as running into memory."""
    for row in rows:
        if row.item_type == "plan":
            manager.state.running = RunningItem(
                uid=row.task_uid,
                item=json.loads(row.body),
                text=row.body,
                immediate=is_immediate(row.properties),
                time_start=row.time_start or row.time_created,
                submission=submission_of(row.properties, row.attempt),
                time_created=row.time_created,
            )
            manager.state.plan_paused = row.state is TaskState.PAUSED
            manager.queue.set_running(row.task_uid)
        else:
            manager.tasks.running[row.task_uid] = RunningTask(
                row.task_uid,
                row.item_type,
                row.name,
                row.body,
                row.background,
                row.time_start or row.time_created,
            )
            if not row.background:
                manager.state.running_task_uid = row.task_uid


def _last_event_time(manager: Manager) -> float | None:
    """Return when the journal was last written to: nobody knows of anything later."""
    _, newest = manager.store.reads.event_bounds()
    events = manager.store.reads.events(newest - 1, 1)
    return events[0].time if events else None


async def _close_remains(manager: Manager, last_sign_of_life: float | None, why: str, crash: str) -> None:
    """Close what ran in a worker that did not survive; nothing of it runs again by itself."""
    batch = manager.ledger.batch()
    batch.setting(STOP_PENDING, False)
    manager.tasks.on_worker_lost(batch, why, crash)
    manager.execution.on_worker_lost(
        batch,
        why,
        crash,
        exit_status=ExitStatus.UNKNOWN,
        requeue=False,
        known_runs=manager.stored_settings.get(KNOWN_RUNS),
        time_stop=last_sign_of_life,
    )
    manager.state.running_task_uid = None
    manager.state.manager_state = ManagerState.INITIALIZING
    await manager.ledger.settle(batch)


async def _meet(manager: Manager) -> None:
    """Wait for the worker's greeting and deduce the manager's state from it."""
    state = manager.state
    try:
        async with asyncio.timeout(GREETING_TIMEOUT_S):
            await manager.greeted.wait()
    except TimeoutError:
        logger.error(
            "The worker (pid %s) is alive, but does not answer; destroy the environment if it stays so",
            state.worker.pid if state.worker else None,
        )
    worker = state.worker_state
    if worker is not None:
        opening = worker.environment_state == "initializing"
    else:  # that it is open is the first that a worker reports
        opening = state.worker is not None and state.worker.acked_seq == 0
    state.environment_exists = not opening and state.worker is not None
    if opening:
        state.manager_state = ManagerState.CREATING_ENVIRONMENT
    elif state.running is not None:
        paused = worker is not None and worker.re_state == "paused"
        state.manager_state = ManagerState.PAUSED if paused else ManagerState.EXECUTING_QUEUE
        state.pause_pending = worker is not None and worker.deferred_pause and not paused
        manager.execution.note_pause(paused, "found so")
    elif state.running_task_uid is not None:
        state.manager_state = ManagerState.EXECUTING_TASK
    elif state.manager_state is ManagerState.INITIALIZING:
        state.manager_state = ManagerState.IDLE
    manager.status.touch()
