"""Running the plan queue: what starts, what follows when a plan ends, pausing and going on."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Collection, Mapping
from typing import Any

from remanager.engine.disposition import after_plan, next_step
from remanager.engine.queue_item import PreparedItem, QueueEntry, prepare_item
from remanager.manager.items import submission
from remanager.manager.ledger import Batch, Ledger
from remanager.manager.plan_record import (
    PAUSE_REASON,
    exit_status_of,
    record_pause,
    result_without_report,
)
from remanager.manager.ports import Clock
from remanager.manager.queue import QueueService
from remanager.manager.rows import new_task
from remanager.manager.state import RunningItem, State, new_uid
from remanager.manager.statistics import Statistics
from remanager.manager.worker_link import WorkerLink
from remanager.model.errors import Busy, Conflict, EnvironmentClosed, InvalidParams
from remanager.model.link import (
    ContinuePlan,
    PausePlan,
    PlanFinished,
    PlanPaused,
    ReleaseKernel,
    RunPlan,
    WorkerState,
)
from remanager.model.principal import LOCAL
from remanager.model.states import ExitStatus, ManagerState, TaskState
from remanager.store.writes import task_finish, task_insert, task_start

logger = logging.getLogger(__name__)

AUTOSTART = "autostart"
STOP_PENDING = "queue_stop_pending"
KNOWN_RUNS = "known_runs"
RUNS_KEPT = 100
_RUNNING = (ManagerState.EXECUTING_QUEUE, ManagerState.PAUSED)
PAUSE_OPTIONS = ("deferred", "immediate")


class Execution:
    """Decides, writes down and starts what runs next.

    Parameters
    ----------
    state : State
        The manager's state.
    queue : QueueService
        The plan queue.
    link : WorkerLink
        Commands to the environment worker.
    ledger : Ledger
        Transactions.
    statistics : Statistics
        Counters.
    clock : callable
        Wall clock, s.

    Attributes
    ----------
    closing : dict
        Plans that have ended and whose records are on their way to the disk: uid and state.
    """

    def __init__(
        self,
        state: State,
        queue: QueueService,
        link: WorkerLink,
        ledger: Ledger,
        statistics: Statistics,
        clock: Clock,
    ) -> None:
        self._state = state
        self._queue = queue
        self._link = link
        self._ledger = ledger
        self._statistics = statistics
        self._clock = clock
        self.closing: dict[str, TaskState] = {}
        self._starting: str | None = None  # the plan whose start is not on disk yet

    # -------------------------------------------------------------------------------- requests

    async def queue_start(self) -> None:
        """Start the queue; nothing happens if it is empty.

        Raises
        ------
        EnvironmentClosed, Conflict, Busy
            Plans cannot run now.
        """
        self._require_free()
        batch = self._ledger.batch()
        self._set_stop_pending(batch, False)
        self._state.manager_state = ManagerState.STARTING_QUEUE
        batch.event("queue_started")
        self._advance(batch)
        await self._ledger.commit(batch)

    async def execute_now(self, item: dict[str, Any]) -> dict[str, Any]:
        """Run an item at once, beside the queue.

        Returns
        -------
        dict
            The item with its uid.
        """
        self._require_free()
        prepared = prepare_item({**item, "item_uid": new_uid()}, submission())
        uid, item = prepared.uid, prepared.item
        batch = self._ledger.batch()
        self._set_stop_pending(batch, False)
        self._state.manager_state = ManagerState.STARTING_QUEUE
        row = new_task(item, prepared.text, self._clock(), submission=prepared.submission, immediate=True)
        batch.write(task_insert(row))
        if item["item_type"] == "plan":
            self._begin(batch, prepared, self._clock(), immediate=True)
        else:
            self._end_instruction(batch, uid)
            self._become_idle(batch, "instruction", autostart_disable=True)
        self._queue.changed()
        await self._ledger.commit(batch)
        return item

    async def queue_stop(self) -> None:
        """Stop the queue after the running plan.

        Raises
        ------
        Conflict
            The queue does not run.
        """
        if self._state.manager_state not in (ManagerState.EXECUTING_QUEUE, ManagerState.STARTING_QUEUE):
            raise Conflict(
                f"Failed to pause the queue. Queue is not running. Manager state: {self._state.manager_state}"
            )
        await self.set_stop_pending(True)

    async def set_stop_pending(self, on: bool) -> None:
        """Ask for, or take back, a stop after the running plan."""
        batch = self._ledger.batch()
        self._set_stop_pending(batch, on)
        await self._ledger.commit(batch)

    async def set_autostart(self, on: bool) -> None:
        """Switch autostart: a queue that is not empty starts whenever it can."""
        batch = self._ledger.batch()
        self._set_autostart(batch, on)
        await self._ledger.commit(batch)
        self.autostart()

    def autostart(self) -> None:
        """Start the queue if autostart is on and plans can run."""
        state = self._state
        if not (state.autostart and state.idle and self._queue.size):
            return
        if not state.environment_exists or state.re_state is None or state.kernel_is_taken:
            return
        batch = self._ledger.batch()
        state.manager_state = ManagerState.STARTING_QUEUE
        batch.event("queue_started", autostart=True)
        self._advance(batch)
        self._ledger.commit(batch)

    async def pause(self, option: object) -> None:
        """Pause the running plan.

        Raises
        ------
        InvalidParams, EnvironmentClosed, Conflict
            The option is unknown, or nothing can be paused.
        """
        if option not in PAUSE_OPTIONS:
            raise InvalidParams(f"Option '{option}' is not supported. Available options: {PAUSE_OPTIONS}")
        if not self._state.environment_exists:
            raise EnvironmentClosed("Environment does not exist. Can not pause Run Engine.")
        self._require_run_engine()
        running = self._state.running
        await self._link.command(lambda i: PausePlan(i, str(option)))
        if self._state.manager_state is ManagerState.EXECUTING_QUEUE and self._state.running is running:
            self._state.pause_pending = True
            self._ledger.touch()

    async def go_on(self, option: str) -> None:
        """Resume, stop, abort or halt the paused plan; also end one whose pause does not come.

        Raises
        ------
        Conflict
            Nothing is paused.
        """
        state = self._state
        ends_unpaused = (
            option != "resume" and state.pause_pending and state.manager_state is ManagerState.EXECUTING_QUEUE
        )
        if state.manager_state is not ManagerState.PAUSED and not ends_unpaused:
            raise Conflict(f"RE Manager is not paused: current state is '{state.manager_state}'")
        running = state.running
        await self._link.command(lambda i: ContinuePlan(i, option))
        if state.manager_state is ManagerState.PAUSED and state.running is running:
            state.manager_state = ManagerState.EXECUTING_QUEUE
            self._ledger.touch()
            await self.note_pause(False, f"re_{option}")

    # -------------------------------------------------------------------------------- worker events

    def reconcile(self, accepted: Collection[str], worker: WorkerState) -> None:
        """Bring the running plan in line with what a worker says that has connected (again)."""
        state, running = self._state, self._state.running
        if running is None or running.uid == self._starting:
            return
        if running.uid not in accepted:
            self._send(running)
        elif running.uid == worker.running_item_uid and state.manager_state in _RUNNING:
            paused = worker.re_state == "paused"
            state.manager_state = ManagerState.PAUSED if paused else ManagerState.EXECUTING_QUEUE
            state.pause_pending = worker.deferred_pause and not paused
            self.note_pause(paused, "found so")

    def note_pause(self, paused: bool, reason: str) -> asyncio.Future[int]:
        """Write down whether the running plan is paused, if that is news, and why."""
        batch = self._ledger.batch()
        record_pause(batch, self._state, self._clock(), paused=paused, reason=reason)
        return self._ledger.commit(batch)

    def on_paused(self, batch: Batch, event: PlanPaused) -> None:
        """Take note that the plan is paused."""
        state = self._state
        if state.running is not None and state.running.uid == event.item_uid:
            if state.manager_state is not ManagerState.DESTROYING_ENVIRONMENT:
                state.manager_state = ManagerState.PAUSED
            state.pause_pending = False
            record_pause(batch, state, self._clock(), paused=True, reason=PAUSE_REASON)

    def on_finished(self, batch: Batch, event: PlanFinished) -> None:
        """Record how the plan ended, and start the next one in the same transaction."""
        running = self._state.running
        if running is None or running.uid != event.item_uid:
            logger.warning("The plan %s had ended before its report came; it is ignored", event.item_uid)
            return
        status = exit_status_of(event)
        result = {
            "exit_status": status.value,
            "run_uids": event.run_uids,
            "scan_ids": event.scan_ids,
            "time_start": event.time_start,
            "time_stop": event.time_stop,
            "msg": event.msg,
            "traceback": event.traceback,
        }
        self._close(batch, running, status.task_state, result, event.error_type)
        decision = after_plan(
            status,
            immediate=running.immediate,
            loop=self._queue.mode.loop,
            ignore_failures=self._queue.mode.ignore_failures,
            stop_queue=event.stop_queue,
        )
        if decision.requeue is not None:
            self._queue.put_back(batch, running, where=decision.requeue)
        # A manager that was away does not remember that it asked for a pause; the worker does.
        self._state.pause_pending |= event.pause_pending
        leaving = self._state.manager_state is ManagerState.DESTROYING_ENVIRONMENT
        if decision.continue_queue and not leaving:
            self._advance(batch, stop_queue=event.stop_queue)
        else:
            disable = decision.autostart_disable or self._state.queue_stop_pending
            self._become_idle(batch, f"plan {status.value}", autostart_disable=disable)

    def on_refused(self, running_uid: str, msg: str) -> None:
        """Close a plan that the worker would not start; it returns to the queue."""
        running = self._state.running
        if running is None or running.uid != running_uid:
            return
        msg = f"Failed to start the plan: {msg}"
        logger.error("%s", msg)
        batch = self._ledger.batch()
        result = result_without_report(running, ExitStatus.FAILED, msg, self._clock())
        self._close(batch, running, TaskState.FAILED, result, "Refused")
        if not running.immediate:
            self._queue.put_back(batch, running, where="front")
        self._become_idle(batch, "plan refused", autostart_disable=True)
        self._ledger.commit(batch)

    def remember_runs(self, worker: WorkerState) -> None:
        """Keep the runs of the running plan on disk, for a history without its report."""
        uid = worker.running_item_uid
        if uid is not None and worker.run_list:
            batch = self._ledger.batch()
            batch.setting(KNOWN_RUNS, {"item_uid": uid, "runs": worker.run_list[-RUNS_KEPT:]})
            batch.event("runs_changed", uid, count=len(worker.run_list))
            self._ledger.commit(batch)

    def on_worker_lost(
        self,
        batch: Batch,
        msg: str,
        crash: str,
        *,
        exit_status: ExitStatus,
        requeue: bool,
        known_runs: Mapping[str, Any] | None = None,
        time_stop: float | None = None,
    ) -> None:
        """Close the plan of a worker that is gone.

        Parameters
        ----------
        batch : Batch
            Transaction to write to.
        msg : str
            What is known of the worker's end.
        crash : str
            The stacks of its threads, if it left any.
        exit_status : ExitStatus
            What history says.
        requeue : bool
            Whether the plan returns to the front of the queue.
        known_runs : mapping, optional
            What :meth:`remember_runs` kept, where the worker's own account is gone too.
        time_stop : float, optional
            The last sign of life, epoch seconds; by default it ended now.
        """
        running = self._state.running
        self._state.pause_pending = False
        if running is None:
            return
        worker = self._state.worker_state
        runs = worker.run_list if worker is not None and worker.running_item_uid == running.uid else []
        if known_runs and known_runs["item_uid"] == running.uid:
            runs = known_runs["runs"]
        result = result_without_report(running, exit_status, msg, self._clock(), crash)
        if time_stop is not None:
            result["time_stop"] = max(time_stop, running.time_start)
        result["run_uids"] = [r["uid"] for r in runs]
        result["scan_ids"] = [r["scan_id"] for r in runs if r["scan_id"] is not None]
        self._close(batch, running, TaskState.LOST, result, "WorkerLost")
        if requeue and not running.immediate:
            self._queue.put_back(batch, running, where="front")
        self._become_idle(batch, "worker lost", autostart_disable=True)

    # -------------------------------------------------------------------------------- inside

    def _require_run_engine(self) -> None:
        if self._state.re_state is None:
            raise Conflict("Run Engine is not found in the RE Worker environment.")

    def _require_free(self) -> None:
        if not self._state.environment_exists:
            raise EnvironmentClosed("RE Worker environment does not exist.")
        self._require_run_engine()
        if not self._state.idle:
            raise Busy("RE Manager is busy.")
        if self._state.kernel_is_taken:
            raise Busy("IPython kernel (RE Worker) is busy.")
        self._link.check()

    def _set_stop_pending(self, batch: Batch, on: bool) -> None:
        if self._state.queue_stop_pending != on:
            self._state.queue_stop_pending = on
            batch.setting(STOP_PENDING, on)
            batch.event("queue_stop_pending", on=on)
            self._ledger.touch()

    def _set_autostart(self, batch: Batch, on: bool) -> None:
        if self._state.autostart != on:
            self._state.autostart = on
            batch.setting(AUTOSTART, on)
            batch.event("queue_autostart", on=on)
            self._ledger.touch()

    def _advance(self, batch: Batch, *, stop_queue: bool = False) -> None:
        """Start the next plan, or end the run of the queue; instructions on the way are carried out."""
        state = self._state
        autostart_disable = False
        while True:
            step = next_step(
                queue_stop_pending=state.queue_stop_pending,
                stop_queue=stop_queue,
                queue_size=self._queue.size,
                pause_pending=state.pause_pending,
            )
            if not step.start:
                self._become_idle(
                    batch, step.reason, autostart_disable=autostart_disable or step.autostart_disable
                )
                return
            entry, created = self._queue.take_front()
            if entry.item["item_type"] == "plan":
                self._begin(batch, entry, created, immediate=False)
                return
            self._end_instruction(batch, entry.uid)
            if self._queue.mode.loop:
                self._queue.put_copy_back(batch, entry)
            stop_queue = autostart_disable = True

    def _begin(
        self, batch: Batch, plan: PreparedItem | QueueEntry, created: float, *, immediate: bool
    ) -> None:
        state, uid, now = self._state, plan.uid, self._clock()
        if state.manager_state is not ManagerState.STARTING_QUEUE:  # it may be paused
            state.manager_state = ManagerState.EXECUTING_QUEUE
        state.pause_pending = False
        running = RunningItem(uid, plan.item, plan.text, immediate, now, plan.submission, created)
        state.running = running
        self._starting = uid
        self._queue.set_running(uid)
        worker = state.worker
        batch.write(task_start(uid, time=now, worker_uid=worker.uid if worker else None))
        batch.event("plan_started", uid, name=plan.item.get("name"), submitted_by=plan.submission.principal)
        batch.after(lambda: self._started(running))
        self._statistics.started(running.name, created, now)

    def _started(self, plan: RunningItem) -> None:
        """Hand the plan to the worker: its start is on disk."""
        if self._starting == plan.uid:
            self._starting = None
        self._send(plan)

    def _send(self, plan: RunningItem) -> None:
        """Hand the running plan to the worker, unless it has ended meanwhile."""
        state = self._state
        if state.running is not plan:
            return
        if state.manager_state is ManagerState.STARTING_QUEUE:
            state.manager_state = ManagerState.EXECUTING_QUEUE
            self._ledger.touch()
        origin = plan.submission
        principal = None if origin.principal == LOCAL.name else origin.principal
        self._link.post(
            lambda i: RunPlan(i, plan.uid, plan.text, origin.attempt, principal),
            on_refused=lambda msg: self.on_refused(plan.uid, msg),
        )

    def _end_instruction(self, batch: Batch, uid: str) -> None:
        now = self._clock()
        batch.write(task_finish(uid, state=TaskState.COMPLETED, time_start=now, time_stop=now, success=True))
        batch.event("instruction_done", uid)

    def _close(
        self,
        batch: Batch,
        running: RunningItem,
        task_state: TaskState,
        result: dict[str, Any],
        error_type: str,
    ) -> None:
        """Write the one terminal record of the running plan."""
        origin = running.submission
        result |= {"attempt": origin.attempt, "principal": origin.principal}
        batch.write(
            task_finish(
                running.uid,
                state=task_state,
                time_start=result["time_start"],
                time_stop=result["time_stop"],
                success=ExitStatus(result["exit_status"]).is_success,
                error_type=error_type,
                msg=result["msg"],
                traceback=result["traceback"],
                result=json.dumps(result),
                in_history=True,
            )
        )
        batch.event("plan_finished", running.uid, state=task_state.value, exit_status=result["exit_status"])
        self._statistics.plan_finished(running, task_state, result, self._clock())
        self._state.running = None
        self._state.plan_paused = False
        self._queue.set_running(None)
        self._queue.history_grew()
        self.closing[running.uid] = task_state
        batch.after(lambda: self._closed(running.uid))

    def _closed(self, uid: str) -> None:
        self.closing.pop(uid, None)

    def _become_idle(self, batch: Batch, reason: str, *, autostart_disable: bool) -> None:
        state = self._state
        if state.manager_state is not ManagerState.DESTROYING_ENVIRONMENT:
            state.manager_state = ManagerState.IDLE
        state.pause_pending = False
        self._set_stop_pending(batch, False)
        if autostart_disable:
            self._set_autostart(batch, False)
        batch.event("queue_drained" if not self._queue.size else "queue_stopped", reason=reason)
        batch.after(self.autostart)
        self._ledger.touch()
        if state.uses_kernel:
            self._link.tell(ReleaseKernel())
