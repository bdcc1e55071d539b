"""Functions and scripts in the environment, and what became of any task."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from remanager.manager.items import submission
from remanager.manager.ledger import Batch, Ledger
from remanager.manager.ports import Clock
from remanager.manager.queue import QueueService
from remanager.manager.rows import column, new_task, submission_of
from remanager.manager.state import State, change_uid, new_uid
from remanager.manager.statistics import Statistics
from remanager.manager.worker_link import WorkerLink
from remanager.model.errors import (
    Busy,
    EnvironmentClosed,
    InvalidItem,
    RemanagerError,
    RequestTimeout,
    TooLarge,
)
from remanager.model.link import RunTask, TaskFinished
from remanager.model.states import (
    STATE_WORDS,
    STATUS_WORDS,
    ItemType,
    ManagerState,
    TaskState,
    is_terminal,
)
from remanager.store.store import Store
from remanager.store.task_rows import TaskResult
from remanager.store.writes import task_finish, task_insert
from remanager.wire.codec import Fragment

logger = logging.getLogger(__name__)


MAX_RESULTS_BYTES = 32 << 20
"""Most that the return values of several tasks have in one reply."""


@dataclass(frozen=True, slots=True)
class RunningTask:
    """A function or script that is being run.

    Attributes
    ----------
    item_type : str
        A value of :class:`remanager.model.states.ItemType`.
    body : str
        What the worker is given, JSON text.
    """

    uid: str
    item_type: str
    name: str
    body: str
    background: bool
    time_start: float

    def command(self, number: int) -> RunTask:
        """Return the command that hands the task to the worker."""
        kind = "function" if self.item_type == "function" else "script"
        return RunTask(number, self.uid, kind, self.body, self.background)


class TaskService:
    """Runs functions and scripts, and answers for every task.

    Parameters
    ----------
    state, queue, link, ledger, statistics, clock
        As for :class:`remanager.manager.execution.Execution`.
    store : Store
        Where ended tasks are read.
    closing : mapping
        Plans whose end is not on disk yet, with their states.
    retention_s : float
        How long results are kept after the end of a task, s.

    Attributes
    ----------
    running : dict
        Tasks that have not ended, by uid.
    on_idle : callable
        Called when a foreground task has made room for something else.
    other_states : callable
        Returns the states of those tasks that are active in the task queue, by uid.
    """

    def __init__(
        self,
        *,
        state: State,
        queue: QueueService,
        link: WorkerLink,
        ledger: Ledger,
        statistics: Statistics,
        clock: Clock,
        store: Store,
        closing: Mapping[str, TaskState],
        retention_s: float,
    ) -> None:
        self._state = state
        self._queue = queue
        self._link = link
        self._ledger = ledger
        self._statistics = statistics
        self._clock = clock
        self._store = store
        self._closing = closing
        self._retention_s = retention_s
        self.running: dict[str, RunningTask] = {}
        self._ending: dict[str, TaskState] = {}  # their end is not on disk yet; what is said meanwhile
        self.on_idle: Callable[[], None] = lambda: None
        self.other_states: Callable[[Collection[str]], dict[str, TaskState]] = lambda _uids: {}

    # -------------------------------------------------------------------------------- starting

    async def execute_function(self, item: dict[str, Any], *, background: bool) -> str:
        """Run a function in the environment.

        Parameters
        ----------
        item : dict
            A checked function item; its ``item_uid`` is the task's uid.
        background : bool
            Run in a thread of its own beside plans and other tasks.

        Returns
        -------
        str
            UID of the task, which the worker has accepted.

        Raises
        ------
        EnvironmentClosed, Busy, Conflict
            The task cannot start now.
        """
        try:
            body = json.dumps(item)
        except (TypeError, ValueError, RecursionError) as exc:
            raise InvalidItem(f"The item cannot be written as JSON: {exc}") from exc
        return await self._start(item, body, background)

    async def load_script(self, script: str, *, update_lists: bool, update_re: bool, background: bool) -> str:
        """Run a script in the environment; an empty one just updates the environment.

        Returns and raises as :meth:`execute_function`.
        """
        body = json.dumps({"script": script, "update_lists": update_lists, "update_re": update_re})
        item = {
            "item_uid": new_uid(),
            "item_type": ItemType.SCRIPT if script else ItemType.UPDATE,
            "name": "script_upload" if script else "environment_update",
        }
        return await self._start(item, body, background)

    async def _start(self, item: dict[str, Any], body: str, background: bool) -> str:
        state = self._state
        if not state.environment_exists:
            raise EnvironmentClosed("RE Worker environment is not open")
        if not background and not state.idle:
            raise Busy(
                "Failed to start the task: RE Manager must be in idle state. "
                f"Current state: '{state.manager_state}'"
            )
        if not background and state.kernel_is_taken:
            raise Busy("Failed to start the task: IPython kernel (RE Worker) is busy.")
        self._link.check()
        uid, item_type, now = str(item["item_uid"]), str(item["item_type"]), self._clock()
        name = column(item.get("name"))
        task = RunningTask(uid, item_type, name, body, background, now)
        self.running[uid] = task
        if not background:
            state.manager_state = ManagerState.EXECUTING_TASK
            state.running_task_uid = uid
            self._ledger.touch()
        batch = self._ledger.batch()
        worker_uid = state.worker.uid if state.worker else None
        row = new_task(item, body, now, submission=submission(), background=background, worker_uid=worker_uid)
        batch.write(task_insert(row))
        batch.event("task_started", uid, item_type=item_type, name=name)
        self._statistics.started(name, now, now)
        committed = self._ledger.commit(batch)
        try:
            # Not after the commit: what a crash keeps from being recorded has not been acknowledged either.
            await self._link.command(task.command)
        except RequestTimeout:
            # It may run or not: the worker tells when it answers again, or its end does.
            raise
        except RemanagerError as exc:
            if uid in self.running:
                self._refused(task, str(exc))
                await self._ledger.flush()
                raise
            # The worker died of it, or with it: that is its result.
        await committed
        return uid

    def reconcile(self, accepted: Collection[str]) -> None:
        """Hand every task to the worker that is not among those that it ``accepted``."""
        state = self._state
        if state.manager_state is ManagerState.INITIALIZING and state.worker_state is not None:
            # It may run a task that its last manager did not come to record; it is not free until that ends.
            state.running_task_uid = state.running_task_uid or state.worker_state.running_task_uid
        for task in self.running.values():
            if task.uid not in accepted:
                self._resend(task)

    def _resend(self, task: RunningTask) -> None:
        self._link.post(task.command, on_refused=lambda msg: self._refused(task, msg))

    def _refused(self, task: RunningTask, msg: str) -> None:
        """Close a task that the worker would not run, unless it has ended already."""
        if task.uid in self.running:
            batch = self._ledger.batch()
            self._end(batch, task, TaskState.FAILED, error_type="Refused", msg=msg)
            self._ledger.commit(batch)

    # -------------------------------------------------------------------------------- ending

    def on_finished(self, batch: Batch, event: TaskFinished) -> None:
        """Record the result that a worker sent."""
        task = self.running.get(event.task_uid)
        if task is None:
            self._on_stray_end(batch, event)
            return
        self._end(
            batch,
            task,
            TaskState.COMPLETED if event.success else TaskState.FAILED,
            time_start=event.time_start,
            time_stop=event.time_stop,
            error_type=event.error_type,
            msg=event.msg,
            traceback=event.traceback,
            codec=event.codec,
            payload=event.payload,
        )

    def _on_stray_end(self, batch: Batch, event: TaskFinished) -> None:
        """Take notice of the end of a task that does not run as far as is known."""
        uid = event.task_uid
        if uid in self._ending or self._store.reads.task_states([uid]):
            logger.warning("The task %s had ended before its report came; it is ignored", uid)
            return
        logger.warning("The task %s ended, which a crash had kept from being recorded", uid)
        batch.event("task_unrecorded", uid, success=event.success, msg=event.msg[:200])
        self._make_room(batch, uid)

    def on_worker_lost(self, batch: Batch, msg: str, crash: str) -> None:
        """Close every task of a worker that is gone."""
        for task in list(self.running.values()):
            self._end(batch, task, TaskState.LOST, error_type="WorkerLost", msg=msg, traceback=crash)

    def _end(
        self,
        batch: Batch,
        task: RunningTask,
        task_state: TaskState,
        *,
        time_start: float | None = None,
        time_stop: float | None = None,
        error_type: str = "",
        msg: str = "",
        traceback: str = "",
        codec: str | None = None,
        payload: bytes | None = None,
    ) -> None:
        now = self._clock()
        start, stop = time_start or task.time_start, time_stop or now
        batch.write(
            task_finish(
                task.uid,
                state=task_state,
                time_start=start,
                time_stop=stop,
                success=task_state is TaskState.COMPLETED,
                error_type=error_type,
                msg=msg,
                traceback=traceback,
                return_codec=codec,
                return_value=payload,
                result_expires=now + self._retention_s,
            )
        )
        batch.event("task_finished", task.uid, state=task_state.value, msg=msg[:200])
        self._statistics.finished(
            task.name, task_state, now, created=task.time_start, started=start, stopped=stop, msg=msg
        )
        del self.running[task.uid]
        # The status shows at once that a worker is gone; its tasks must not seem to run then.
        self._ending[task.uid] = task_state if task_state is TaskState.LOST else TaskState.RUNNING
        batch.after(lambda: self._forget(task.uid))
        self._make_room(batch, task.uid)

    def _make_room(self, batch: Batch, uid: str) -> None:
        """Let something else take the place of a task, if it was the one in the foreground."""
        state = self._state
        if state.running_task_uid == uid:
            state.running_task_uid = None
            if state.manager_state is ManagerState.EXECUTING_TASK:
                batch.after(self._set_idle)

    def _forget(self, uid: str) -> None:
        """The result is on disk: from now on it is read there."""
        del self._ending[uid]
        self._state.task_results_uid = change_uid()
        self._ledger.touch()

    def _set_idle(self) -> None:
        if self._state.manager_state is ManagerState.EXECUTING_TASK and not self._state.running_task_uid:
            self._state.manager_state = ManagerState.IDLE
            self._ledger.touch()
            self.on_idle()

    # -------------------------------------------------------------------------------- asking

    def states(self, uids: Sequence[str]) -> dict[str, TaskState | None]:
        """Return the state of each task; None where it is not known (any more)."""
        found = self._store.ended.look_up(uids)
        unknown = [uid for uid, state in found.items() if state is None]
        if unknown:
            found |= self._find_states(unknown)
        running = self._state.running
        if running is not None and running.uid in found:
            found[running.uid] = TaskState.PAUSED if self._state.plan_paused else TaskState.RUNNING
        return found

    def _find_states(self, uids: Sequence[str]) -> dict[str, TaskState]:
        """Return the states of those tasks that are active or stored."""
        found = self.other_states(uids)
        elsewhere = []
        for uid in [uid for uid in uids if uid not in found]:
            if uid in self.running:
                found[uid] = TaskState.RUNNING
            elif uid in self._ending:
                found[uid] = self._ending[uid]
            elif uid in self._queue:
                found[uid] = TaskState.PENDING
            elif uid in self._closing:
                found[uid] = self._closing[uid]
            else:
                elsewhere.append(uid)
        if elsewhere:
            stored = self._store.reads.task_states(elsewhere)
            self._store.ended.remember(stored)
            found |= stored
        return found

    async def result(self, uid: str) -> dict[str, object]:
        """Return ``status``, ``state`` and ``result`` of a task, as ``task_result`` answers them."""
        return (await self.results([uid]))[uid]

    async def results(self, uids: Sequence[str]) -> dict[str, dict[str, object]]:
        """Return what :meth:`result` does for each of several tasks."""
        if any(uid in self._closing or uid in self._ending for uid in uids):
            await self._ledger.flush()
        states = self.states(uids)
        stored = [uid for uid, state in states.items() if state is not None and uid not in self.running]
        if len(stored) > 1 and (size := self._store.reads.tasks.result_bytes(stored)) > MAX_RESULTS_BYTES:
            # Making such a reply would keep all others waiting, and the manager from its heartbeat.
            raise TooLarge(
                f"The results have {size >> 20} MiB together, and one reply takes {MAX_RESULTS_BYTES >> 20}: "
                "ask for fewer of them at once"
            )
        rows = self._store.reads.tasks.results(stored) if stored else {}
        return {
            uid: {
                "status": STATUS_WORDS[state],
                "state": STATE_WORDS[state],
                "result": {} if state is None else self._result(uid, state, rows.get(uid)),
            }
            for uid, state in states.items()
        }

    def _result(self, uid: str, state: TaskState, row: TaskResult | None) -> dict[str, object]:
        task = self.running.get(uid)
        if task is not None:
            return {"task_uid": uid, "time_start": task.time_start, "run_in_background": task.background}
        if row is None:
            return {"task_uid": uid}
        if not is_terminal(state):
            return {"task_uid": uid, "time_start": row.time_start, "run_in_background": False}
        return _terminal_result(row)


def _terminal_result(row: TaskResult) -> dict[str, object]:
    value: object = None
    if row.return_value is not None:
        encoded = {"json": Fragment(json=row.return_value), "msgpack": Fragment(msgpack=row.return_value)}
        value = encoded[row.return_codec or "json"]
    result: dict[str, object] = {
        "task_uid": row.task_uid,
        "success": bool(row.success),
        "msg": row.msg or "",
        "traceback": row.traceback or "",
        "return_value": value,
        "time_start": row.time_start,
        "time_stop": row.time_stop,
        "attempt": row.attempt,
        "principal": submission_of(row.properties, row.attempt).principal,
    }
    if row.result:
        plan = json.loads(row.result)
        result |= {k: plan[k] for k in ("exit_status", "run_uids", "scan_ids") if k in plan}
    return result
