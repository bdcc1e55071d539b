"""The methods that the daemon answers, one module per family."""

from __future__ import annotations

from importlib import import_module

FAMILIES = (
    "status",
    "figures",
    "plans_devices",
    "permissions",
    "queue",
    "check",
    "history",
    "environment",
    "execution",
    "tasks",
    "task_submission",
    "task_questions",
    "task_steering",
    "limits",
    "schedules",
    "pool_workers",
    "alerts",
    "metrics",
    "lock",
    "streams",
    "control",
)


def load() -> None:
    """Import every family, so that its methods are in the registry."""
    for family in FAMILIES:
        import_module(f"{__name__}.{family}")
