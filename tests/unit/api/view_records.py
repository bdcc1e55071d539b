"""A record for the tests of views."""

from __future__ import annotations

from typing import Any

RECORD: dict[str, Any] = {
    "task_uid": "u1",
    "task_type": "move_run",
    "domain": "data",
    "group": "",
    "label": "run7",
    "key": "k",
    "state": "running",
    "stage": "executing",
    "state_reason": "",
    "pause_reasons": [],
    "priority": 128,
    "attempt": 2,
    "last_error": None,
    "parent_uid": None,
    "args": ["/fast/run7", "/archive/run7"],
    "kwargs": {"direct_download": False},
    "tags": {"disk": "/fast", "run": "run7"},
    "worker_uid": "w1",
    "time_created": 1_700_000_000.25,
    "time_start": 1_700_000_001.0,
    "time_stop": None,
    "time_updated": 1_700_000_002.5,
    "run_after": None,
    "expires_at": None,
    "duration": 2.0,
    "expected_io": {"disk_read": 20, "disk_write": 10},
    "actual_io": {"disk_read": 5},
    "progress": {"done_count": 1, "total_count": 2, "done_size": 5.0, "total_size": 10.0, "percent": 50},
}
