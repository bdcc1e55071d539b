"""The types of journal events."""

from __future__ import annotations

EVENT_TYPES = (
    *("alert_acknowledged", "alert_cleared", "alert_eased", "alert_escalated", "alert_raised"),
    *(
        "alert_rule_removed",
        "alert_rule_set",
        "clock_set",
        "dispatch_paused",
        "dispatch_resumed",
        "environment_closed",
    ),
    *("environment_failed", "environment_opened", "history_cleared", "instruction_done", "limit_removed"),
    *("limit_set", "locked", "manager_started", "manager_stopped", "permissions_set", "plan_finished"),
    *("plan_paused", "plan_resumed", "plan_started", "pool_worker_ended", "pool_worker_started"),
    *("queue_autostart", "queue_cleared", "queue_drained", "queue_item_added", "queue_item_moved"),
    "queue_item_removed",
    *("queue_item_updated", "queue_items_added", "queue_items_moved", "queue_items_removed"),
    *("queue_mode_set", "queue_started", "queue_stop_pending", "queue_stopped", "redis_imported", "request"),
    *("runs_changed", "schedule_added", "schedule_cancelled", "schedule_ended", "schedule_failed"),
    *("schedule_paused", "schedule_resumed", "schedule_skipped", "task_changed", "task_finished"),
    *("task_functions_changed", "task_late_report", "task_started", "task_submitted", "task_unrecorded"),
    *("task_updated", "tasks_pruned", "unlocked", "worker_autopsy", "worker_gone"),
)
