"""The commands about tasks: words to parameters, replies to text."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from remanager.cli.requests import BY_PATH
from remanager.cli.show import render
from remanager.cli.words import ParameterError

CASES: list[tuple[str, list[str], dict[str, Any]]] = [
    ("task list", [], {}),
    (
        "task list",
        ["state=failed", "limit=5", "order=finished"],
        {"selector": {"state": "failed"}, "limit": 5, "order": "finished"},
    ),
    ("task count", ["state"], {"group_by": "state"}),
    ("task count", ['tags={"run": "1"}'], {"selector": {"tags": {"run": "1"}}}),
    ("task cancel", ["a"], {"task_uid": "a"}),
    ("task cancel", ["a", "b", "reason=no beam"], {"task_uid": ["a", "b"], "reason": "no beam"}),
    ("task cancel", ["all=true", "dry_run=true"], {"selector": {"all": True}, "dry_run": True}),
    ("task info", ["u", "attempts"], {"task_uid": "u", "include": ["attempts"]}),
    ("task info", ["task_type=t", "key=k"], {"task_type": "t", "key": "k", "include": []}),
    ("task update", ["u", "priority=10"], {"task_uid": "u", "changes": {"priority": 10}}),
    ("task pause", ["group", "disk", "until=2e9"], {"scope": "group", "name": "disk", "until": 2e9}),
    ("task pause", ["all"], {"scope": "all"}),
    ("task types", ["a", "b", "sample=5"], {"task_type": ["a", "b"], "sample": 5}),
    ("task job", ["j"], {"job_uid": "j"}),
    ("task wait", ["job_uid=j", "timeout=5"], {"job_uid": "j", "timeout": 5}),
    ("task results", ["a", "b"], {"task_uid": ["a", "b"]}),
    ("limit set", ["group", "disk", "max_running=2"], {"scope": "group", "name": "disk", "max_running": 2}),
    ("worker stop", ["w", "drain=false"], {"worker_uid": "w", "drain": False}),
    (
        "alert set",
        ["late", "queue.depth", "warn=10", "op=>"],
        {"name": "late", "metric": "queue.depth", "warn": 10, "op": ">"},
    ),
    ("stats-history", ["depth", "from=1.5"], {"metric": "depth", "from": 1.5}),
]


@pytest.mark.parametrize(("path", "given", "params"), CASES)
def test_words(path: str, given: list[str], params: dict[str, Any]) -> None:
    assert BY_PATH[path].read(given) == params


def test_submitting() -> None:
    item = {"item_type": "function", "name": "move", "args": ["a"], "kwargs": {"n": 1}}
    found = BY_PATH["task submit"].read(["move('a', n=1)", "priority=3", 'depends_on=["u"]'])
    assert found == {"item": item, "options": {"priority": 3, "depends_on": ["u"]}}
    found = BY_PATH["schedule add"].read(["move('a', n=1)", "cron=0 3 * * *", "timezone=UTC", "group=g"])
    assert found == {
        "item": item,
        "recurring": {"cron": "0 3 * * *", "timezone": "UTC"},
        "options": {"group": "g"},
    }


def test_submitting_a_file(tmp_path: Path) -> None:
    path = tmp_path / "tasks"
    path.write_text("move('a')\n# no\nmove('b')\n")
    found = BY_PATH["task submit-batch"].read([str(path), "priority=3"])
    assert [i["item"]["args"] for i in found["items"]] == [["a"], ["b"]]
    assert found["items"][0]["item"]["item_type"] == "function"
    assert found["defaults"] == {"priority": 3}


REFUSED = [
    ("task submit", []),
    ("task submit", ["move()", "fast"]),
    ("task submit-batch", []),
    ("task cancel", []),
    ("task cancel", ["a", "state=failed"]),
    ("task list", ["a"]),
    ("task list", ["state=a", "state=b"]),
    ("task count", ["state", "user"]),
    ("task info", []),
    ("task update", ["u"]),
    ("task pause", []),
    ("task pause", ["group", "disk", "more"]),
    ("limit set", ["group", "disk", "name=tape"]),
    ("schedule add", []),
    ("schedule add", ["move()", "daily"]),
]


@pytest.mark.parametrize(("path", "given"), REFUSED)
def test_words_that_make_no_sense(path: str, given: list[str]) -> None:
    with pytest.raises(ParameterError):
        BY_PATH[path].read(given)


def shown(method: str, reply: dict[str, Any]) -> str:
    """Return a reply as it is printed."""
    out = io.StringIO()
    Console(file=out, width=200).print(render(method, {"success": True, "msg": "", **reply}))
    return out.getvalue()


def test_a_list_of_tasks_tells_why_each_waits_and_how_to_go_on() -> None:
    task = {
        "task_uid": "uid1",
        "name": "move",
        "args": ["a"],
        "state": "pending",
        "priority": 128,
        "user": "me",
        "time_created": 1.0,
        "duration": None,
        "wait_reason": "limit:group/disk",
    }
    text = shown("task_list", {"tasks": [task], "total": 7, "next_cursor": "abc"})
    assert "move('a')" in text
    assert "limit:group/disk" in text
    assert "1 of 7; go on with cursor=abc" in text
    assert "no tasks" in shown("task_list", {"tasks": [], "total": 0, "next_cursor": None})


def test_other_tables() -> None:
    counts = {"counts": [{"value": "failed", "count": 2}], "total": 2}
    assert "failed" in shown("task_count", counts)
    assert "no task is running" in shown("task_progress", {"progress": []})
    progress = {"task_uid": "u", "label": "", "task_type": "move", "percent": 40, "elapsed_s": 1.0}
    assert "40 %" in shown("task_progress", {"progress": [progress]})
    assert "m could not be imported" in shown(
        "task_function_list", {"functions": [], "failed_modules": {"m": "SyntaxError"}}
    )
    assert shown("metrics_get", {"content_type": "x", "text": "remanager_up 1"}).strip() == "remanager_up 1"
