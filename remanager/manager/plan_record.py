"""What is written of a plan that runs, and what is told of one that does not."""

from __future__ import annotations

import logging
from typing import Any

from remanager.manager.ledger import Batch
from remanager.manager.state import RunningItem, State
from remanager.model.link import PlanFinished
from remanager.model.states import ExitStatus, ManagerState, TaskState
from remanager.store.task_rows import log_line
from remanager.store.writes import task_pause, task_resume

logger = logging.getLogger(__name__)

PAUSE_REASON = "re_pause"
"""Why a plan is paused that runs in the RunEngine, whoever asked for it."""

_LEAVING = (ManagerState.CLOSING_ENVIRONMENT, ManagerState.DESTROYING_ENVIRONMENT)
_QUEUE_RUNS = (ManagerState.STARTING_QUEUE, ManagerState.EXECUTING_QUEUE, ManagerState.PAUSED)


def record_pause(batch: Batch, state: State, now: float, *, paused: bool, reason: str) -> None:
    """Write down that the running plan is paused, or goes on, if that is news."""
    running = state.running
    if running is None or state.plan_paused == paused:
        return
    state.plan_paused = paused
    old, new = TaskState.RUNNING, TaskState.PAUSED
    attempt = running.submission.attempt
    if paused:
        line = log_line(now, old, new, attempt, reason)
        batch.write(task_pause(running.uid, time=now, reasons=[PAUSE_REASON], log=line))
        batch.event("plan_paused", running.uid)
    else:
        batch.write(task_resume(running.uid, time=now, log=log_line(now, new, old, attempt, reason)))
        batch.event("plan_resumed", running.uid, reason=reason)


def wait_reason(state: State) -> str:
    """Return why the items of the plan queue wait, in a word of the protocol."""
    if not state.environment_exists or state.manager_state in _LEAVING:
        return "environment_closed"
    if state.manager_state is ManagerState.EXECUTING_TASK:
        goes_on = state.autostart
    else:
        beside = state.running is not None and state.running.immediate
        goes_on = state.manager_state in _QUEUE_RUNS and not state.queue_stop_pending and not beside
    return "slot" if goes_on else "queue_stopped"


def exit_status_of(event: PlanFinished) -> ExitStatus:
    """Return how a plan ended; ``unknown`` for a word that this manager does not know."""
    try:
        return ExitStatus(event.exit_status)
    except ValueError:
        logger.error("The worker reports %r as the end of a plan: that is no exit status", event.exit_status)
        return ExitStatus.UNKNOWN


def result_without_report(
    running: RunningItem, exit_status: ExitStatus, msg: str, time_stop: float, crash: str = ""
) -> dict[str, Any]:
    """Return the ``result`` of a plan of which the worker said nothing."""
    return {
        "exit_status": exit_status.value,
        "run_uids": [],
        "scan_ids": [],
        "time_start": running.time_start,
        "time_stop": time_stop,
        "msg": msg,
        "traceback": crash,
    }
