"""What ``status`` answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from remanager.engine.task_queue.scopes import Scope
from remanager.model.states import ManagerState

if TYPE_CHECKING:
    from remanager.manager.manager import Manager


class StatusView:
    """Makes the values of the status; nothing is counted here.

    Parameters
    ----------
    manager : Manager
        Whose status it is.
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    def values(self) -> dict[str, Any]:
        """Return the present values, without ``time`` and ``status_uid``."""
        manager = self._manager
        state, catalogue, lock = manager.state, manager.catalogue, manager.lock.info
        worker = state.worker_state
        ready, reason = self._readiness()
        return {
            "msg": f"RE Manager v{manager.options.version}",
            "items_in_queue": manager.queue.size,
            "items_in_history": manager.queue.history_size,
            "running_item_uid": state.running.uid if state.running else None,
            "manager_state": state.manager_state.value,
            "queue_stop_pending": state.queue_stop_pending,
            "queue_autostart_enabled": state.autostart,
            "worker_environment_exists": state.environment_exists,
            "worker_environment_state": worker.environment_state if worker else "closed",
            "worker_background_tasks": worker.background_tasks if worker else 0,
            "re_state": state.re_state,
            "ip_kernel_state": worker.ip_kernel_state if worker else None,
            "ip_kernel_captured": worker.ip_kernel_captured if worker else None,
            "pause_pending": state.pause_pending,
            "run_list_uid": state.run_list_uid,
            "plan_queue_uid": state.plan_queue_uid,
            "plan_history_uid": state.plan_history_uid,
            "devices_existing_uid": catalogue.devices_existing_uid,
            "plans_existing_uid": catalogue.plans_existing_uid,
            "devices_allowed_uid": catalogue.devices_allowed_uid,
            "plans_allowed_uid": catalogue.plans_allowed_uid,
            "plan_queue_mode": manager.queue.mode.as_dict(),
            "task_results_uid": state.task_results_uid,
            "lock_info_uid": lock.uid,
            "lock": {"environment": lock.environment, "queue": lock.queue},
            "ready": ready,
            "not_ready_reason": reason,
            "progress": manager.progress.report(),
            **self._task_queue(),
        }

    def _task_queue(self) -> dict[str, Any]:
        queue, state = self._manager.task_queue, self._manager.state
        depths = queue.figures.depths()
        return {
            "tasks_queued": depths["queued"],
            "tasks_running": depths["unacked"],
            "tasks_held": depths["held"],
            "task_list_uid": state.task_list_uid,
            "schedules_uid": state.schedules_uid,
            "limits_uid": state.limits_uid,
            "alerts_uid": state.alerts_uid,
            "alerts_active": state.alerts_active,
            "dispatch_paused": queue.scheduler.dispatcher.switches.is_off(Scope.ALL),
        }

    def _readiness(self) -> tuple[bool, str]:
        """Tell whether plans can run, and if not, why."""
        manager = self._manager
        state = manager.state
        if manager.ledger.no_room:
            return False, manager.ledger.no_room
        if manager.catalogue.problem:
            return False, manager.catalogue.problem
        if state.manager_state is ManagerState.CREATING_ENVIRONMENT:
            return False, "the environment is being opened"
        if not state.environment_exists:
            failed = (
                f"; the last attempt failed: {state.environment_error}" if state.environment_error else ""
            )
            return False, f"the environment is closed{failed}"
        if silence := manager.silence.reason():
            return False, silence
        if state.re_state is None:
            return False, "there is no RunEngine 'RE' in the environment"
        if state.kernel_is_taken:
            return False, "the IPython kernel runs a cell of a client"
        if state.manager_state is ManagerState.PAUSED:
            return False, "a plan is paused: resume, stop, abort or halt it"
        return True, ""
