"""Answers of the manager in the shapes of other systems."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from view_records import RECORD

from remanager_api.views import cubefs, memos, sitq, taskmill
from remanager_api.views.cubefs import Kind, Section

NONE = "[" + " ".join(["0"] * 20) + "]"
NO_BYTES = "[" + " ".join(["0.000B"] * 20) + "]"
COUNTERS = {"preparing_cnt": 0, "worker_doing_cnt": 0, "finishing_cnt": 0}
PER_MIN = {"finished_cnt": NONE, "shard_cnt": NONE, "data_amount_byte": NO_BYTES}
RUNNER = {
    "enable": True,
    "success_per_min": NONE,
    "failed_per_min": NONE,
    "total_err_cnt": 0,
    "err_stats": None,
}


def type_row(**more: Any) -> dict[str, Any]:
    """Return figures of a type."""
    names = ("started", "finished", "succeeded", "failed", "timed_out", "retried", "items", "bytes")
    return {
        "enable": True,
        "preparing_cnt": 0,
        "ready_cnt": 0,
        "worker_doing_cnt": 0,
        "finishing_cnt": 0,
        "resources": [],
        "total_tasks_cnt": 0,
        "done_tasks_cnt": 0,
        "succeeded_tasks_cnt": 0,
        "per_min": {name: [0] * 20 for name in names},
        "total_err_cnt": 0,
        "err_stats": [],
        **more,
    }


# ------------------------------------------------------------------------------------------------- CubeFS


def test_cubefs_stats_have_the_shape_of_the_document() -> None:
    assert cubefs.stats({"types": {}}) == {
        "disk_repair": {
            "enable": True,
            "repairing_disks": [],
            "total_tasks_cnt": 0,
            "repaired_tasks_cnt": 0,
            **COUNTERS,
            "stats_per_min": PER_MIN,
        },
        "disk_drop": {
            "enable": True,
            "dropping_disks": [],
            "total_tasks_cnt": 0,
            "dropped_tasks_cnt": 0,
            **COUNTERS,
            "stats_per_min": PER_MIN,
        },
        "balance": {"enable": True, **COUNTERS, "stats_per_min": PER_MIN},
        "manual_migrate": {**COUNTERS, "stats_per_min": PER_MIN},
        "volume_inspect": {"enable": True, "finished_per_min": NONE, "time_out_per_min": NONE},
        "shard_repair": RUNNER,
        "blob_delete": RUNNER,
    }


def test_cubefs_sections_add_up_types() -> None:
    last = [0] * 19
    drain = type_row(total_tasks_cnt=1, worker_doing_cnt=1, enable=False)
    move = type_row(
        total_tasks_cnt=4,
        done_tasks_cnt=2,
        succeeded_tasks_cnt=1,
        preparing_cnt=2,
        ready_cnt=1,
        finishing_cnt=1,
        resources=["disk:/fast"],
        per_min={**drain["per_min"], "finished": [*last, 1], "items": [*last, 3], "bytes": [*last, 1536]},
    )
    stats = cubefs.stats({"types": {"drain_directory": drain, "drain_run": move}})
    found = stats["disk_drop"]
    assert found["enable"] is False
    assert found["dropping_disks"] == ["/fast"]
    assert (found["total_tasks_cnt"], found["dropped_tasks_cnt"]) == (4, 1), "what failed is not dropped"
    counters = (found["preparing_cnt"], found["worker_doing_cnt"], found["finishing_cnt"])
    assert counters == (1, 1, 1), "what could start is counted with what a worker does"
    assert found["stats_per_min"]["finished_cnt"].endswith(" 0 1]")
    assert found["stats_per_min"]["shard_cnt"].endswith(" 0 3]")
    assert found["stats_per_min"]["data_amount_byte"].endswith(" 0.000B 1.500KB]")
    assert all(stats[name]["stats_per_min"] == PER_MIN for name in ("balance", "manual_migrate"))


def test_cubefs_counts_each_type_once() -> None:
    counted = [task_type for section in cubefs.SECTIONS.values() for task_type in section.types]
    assert len(counted) == len(set(counted))
    assert not {p for section in cubefs.SECTIONS.values() for p in section.parents} & set(counted)


def test_cubefs_errors_are_texts() -> None:
    kinds = [{"error": "busy", "count": 1}, {"error": "full", "count": 3}]
    types = {"delete_runs": type_row(total_err_cnt=4, err_stats=kinds, enable=False)}
    found = cubefs.stats({"types": types}, {"blob_delete": Section(("delete_runs",), Kind.RUNNER)})
    assert found["blob_delete"]["err_stats"] == ["full: 75.00%[3]", "busy: 25.00%[1]"]
    assert found["blob_delete"]["total_err_cnt"] == 4
    assert found["blob_delete"]["enable"] is False


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0.000B"), (1023, "1023.000B"), (1 << 20, "1.000MB"), (1 << 60, "1024.000PB")]
)
def test_cubefs_sizes(size: int, text: str) -> None:
    assert cubefs.printed_bytes(size) == text


def test_cubefs_detail_has_the_shape_of_the_document() -> None:
    assert cubefs.task_detail({"task": RECORD}) == {
        "stat": {"done_count": 1, "done_size": 5, "progress": 50, "total_count": 2, "total_size": 10},
        "task": {
            "code_mode": 0,
            "ctime": "2023-11-14 22:13:20.250000 +0000 UTC",
            "destination": {"disk_id": "/archive", "host": "w1", "vuid": "/archive/run7"},
            "finish_advance_reason": "",
            "forbidden_direct_download": True,
            "mtime": "2023-11-14 22:13:22.500000 +0000 UTC",
            "source_disk_id": "/fast",
            "source_idc": "",
            "source_vuid": "/fast/run7",
            "sources": [{"disk_id": "/fast", "host": "w1", "vuid": "/fast/run7"}],
            "state": 2,
            "task_id": "u1",
            "task_type": "manual_migrate",
            "worker_redo_cnt": 1,
        },
    }


def test_cubefs_detail_has_the_type_that_is_asked_for() -> None:
    types = {"copy_run": "manual_migrate", "drain_run": "disk_drop", "drain_directory": "disk_drop"}
    for task_type, word in {**types, "balance_run": "balance", "other": "other"}.items():
        found = cubefs.task_detail({"task": {**RECORD, "task_type": task_type}}) or {}
        assert found["task"]["task_type"] == word
    own = cubefs.task_detail({"task": RECORD}, {"disk_repair": Section(("move_run",))}) or {}
    assert own["task"]["task_type"] == "disk_repair"


def test_cubefs_detail_without_progress() -> None:
    info = {"task": {**RECORD, "progress": None, "args": [], "kwargs": {"run": "/a"}, "worker_uid": None}}
    found = cubefs.task_detail(info)
    assert found is not None
    assert found["stat"]["total_size"] == 0
    assert (found["task"]["source_vuid"], found["task"]["destination"]) == ("/a", {})
    assert found["task"]["source_disk_id"] == "/fast"
    assert cubefs.printed_time(None) == ""


def test_cubefs_disks_of_a_task() -> None:
    drain = {**RECORD, "task_type": "drain_directory", "tags": {}, "args": ["/fast", "/archive"]}
    both = {**drain, "task_type": "balance_directories", "args": [["/fast", "/slow"]]}
    copy = {**RECORD, "tags": {}}
    nothing = {**RECORD, "args": [], "kwargs": {}}
    for task, sources, target in (
        (drain, [("/fast", "/fast")], ("/archive", "/archive")),
        (both, [("/fast", "/fast"), ("/slow", "/slow")], None),
        (copy, [("/fast", "/fast/run7")], ("/archive", "/archive/run7")),
        (nothing, [], None),
    ):
        found = (cubefs.task_detail({"task": task}) or {})["task"]
        assert [(s["disk_id"], s["vuid"]) for s in found["sources"]] == sources
        assert found["source_disk_id"] == "/fast"
        place = found["destination"]
        assert (place["disk_id"], place["vuid"]) == target if target else place == {}


def test_cubefs_disk() -> None:
    assert cubefs.migrating_selector("disk_drop", "/fast") == {
        "task_type": ["drain_run"],
        "tags": {"disk": "/fast"},
    }
    job = {"total_tasks_cnt": 10, "done_tasks_cnt": 3, "succeeded": 1, "failed": 2, "state": "running"}
    assert cubefs.disk_migrating(job) == {"total_tasks_cnt": 10, "migrated_tasks_cnt": 1}


# ------------------------------------------------------------------------------------------------- MemOS


def test_memos_overview() -> None:
    live = {"pending": 2, "blocked": 1, "running": 3, "total": 6}
    retained = {"completed": 5, "expired": 1, "failed": 2, "total": 8, "history": 4}
    found = memos.all_status({"summary": {"live": live, "retained": retained}})
    nothing = {"completed": 0, "failed": 0, "cancelled": 0}
    assert found["scheduler_summary"] == {
        "waiting": 3,
        "in_progress": 3,
        **nothing,
        "pending": 3,
        "total": 6,
    }
    assert found["all_tasks_summary"] == {
        "waiting": 3,
        "in_progress": 3,
        "completed": 5,
        "failed": 2,
        "cancelled": 1,
        "pending": 3,
        "total": 14,
    }


# ------------------------------------------------------------------------------------------------- sitq


def test_sitq_result_of_what_has_not_ended() -> None:
    assert sitq.result("u", {"state": "running", "result": {"time_start": 1.0}}) is None
    assert sitq.result("u", {"state": "not_found", "result": {}}) is None


def test_sitq_record_of_a_cancelled_task() -> None:
    found = sitq.task_info({**RECORD, "state": "cancelled", "state_reason": "no longer needed"})
    assert (found["status"], found["error"]) == ("failed", "no longer needed")
    assert sitq.task_info({**RECORD, "state": "expired"})["error"] == "expired"


def test_sitq_report_has_durations_of_what_runs() -> None:
    waits = sitq.task_info({**RECORD, "state": "pending", "time_start": None, "task_uid": "0123456789"})
    runs = sitq.task_info(RECORD)
    ended = sitq.task_info({**RECORD, "state": "completed", "time_stop": 1_700_000_003.5}, value=7)
    assert ended["result"] == 7
    counts = {"total": 3, "pending": 1, "processing": 1, "completed": 1, "failed": 0}
    now = datetime.fromtimestamp(1_700_000_011.0, UTC)
    tasks = {"0123456789": waits, "u1": runs, "u2": ended}
    assert sitq.status_report(counts, tasks, now).splitlines() == [
        *("=== Queue Statistics ===", "Total Tasks: 3", "Pending: 1", "Processing: 1", "Completed: 1"),
        *("Failed: 0", "", "=== Individual Task Status ==="),
        "Task 01234567... - pending - move_run",
        "Task u1... - processing - move_run (Duration: 10.0s)",
        "Task u2... - completed - move_run (Duration: 2.5s)",
    ]
    assert "Individual" not in sitq.status_report(counts, {}, now)


def test_sitq_metrics_without_any_end() -> None:
    rates = {"5m": {"throughput_per_s": 0.0, "latency_ms": None, "error_rate": 0.0}}
    assert sitq.metrics({"rates": rates, "queue": {"depth": 4}}, "5m") == {
        "throughput": 0.0,
        "latency": None,
        "error_rate": 0.0,
        "queue_depth": 4,
    }


# ------------------------------------------------------------------------------------------------- taskmill


@pytest.mark.parametrize(("domain", "name", "word"), [("media", "resize", "media::resize"), ("", "x", "x")])
def test_taskmill_types(domain: str, name: str, word: str) -> None:
    assert taskmill.qualified(domain, name) == word
    assert taskmill.split(word) == (domain, name)
    selector = taskmill.type_selector(word)
    assert selector == {"task_type": name, **({"domain": domain} if domain else {})}


def test_taskmill_records() -> None:
    found = taskmill.record(RECORD)
    assert (found.id, found.task_type, found.status, found.retry_count) == (
        "u1",
        "data::move_run",
        "running",
        1,
    )
    assert (found.expected_read_bytes, found.expected_write_bytes) == (20, 10)
    assert found.created_at == datetime.fromtimestamp(1_700_000_000.25, UTC)
    old = {**RECORD, "state": "dead_letter", "time_stop": 1_700_000_003.0, "last_error": {"msg": "no"}}
    ended = taskmill.history_record(old)
    assert (ended.status, ended.last_error, ended.duration_ms) == ("dead_letter", "no", 2000.0)
    assert (ended.actual_read_bytes, ended.actual_write_bytes) == (5, 0)
    assert taskmill.lookup(None) == taskmill.NotFound()
    assert taskmill.lookup(RECORD) == taskmill.Active(found)
    assert taskmill.lookup(old) == taskmill.History(ended)


def test_taskmill_keys_of_typed_tasks() -> None:
    @dataclass(frozen=True, slots=True)
    class Resize(taskmill.TypedTask):
        domain: ClassVar[str] = "media"
        name: ClassVar[str] = "resize"
        path: str
        width: int

    @dataclass(frozen=True, slots=True)
    class Other(Resize):
        domain: ClassVar[str] = "other"

    assert Resize("a", 1).arguments == {"path": "a", "width": 1}
    assert Resize("a", 1).key == Resize(width=1, path="a").key
    assert len({Resize("a", 1).key, Resize("a", 2).key, Other("a", 1).key}) == 3


def test_taskmill_figures_of_an_unknown_type() -> None:
    assert taskmill.type_stats({"counts": []}, []) == taskmill.TypeStats(0, 0.0, 0.0, 0.0, 0.0)


def test_taskmill_figures_of_a_type() -> None:
    states = {"completed": 2, "skipped": 1, "failed": 1, "cancelled": 4}
    count = {"counts": [{"value": state, "count": number} for state, number in states.items()]}
    successes = [
        {"duration": 1.0, "actual_io": {"disk_read": 10, "disk_write": 4}},
        {"duration": 2.0, "actual_io": {"disk_read": 30}},
        {"duration": None, "actual_io": {}},
    ]
    assert taskmill.type_stats(count, successes) == taskmill.TypeStats(3, 1500.0, 20.0, 2.0, 0.25)
    assert taskmill.throughput(successes) == (12.5, 2.0)


def test_taskmill_progress_without_bytes() -> None:
    row = {"task_uid": "u", "domain": "d", "task_type": "t", "best": 0.5, "estimated": 0.5}
    assert taskmill.byte_progress(row) is None
    assert taskmill.estimated_progress(row) == taskmill.EstimatedProgress("u", "d::t", None, 0.5, 0.5)
