"""Replies in a notebook: what they are for programs, and how they look."""

from __future__ import annotations

import copy
import json
import pickle
from html.parser import HTMLParser
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.lib.pretty import pretty

from remanager_api.blocking_handles import BlockingTaskHandle
from remanager_api.handles import TaskHandle
from remanager_api.notebook.blocks import MAX_ROWS
from remanager_api.notebook.reply import ShownReply
from remanager_api.notebook.views import _VIEWS, view_of
from remanager_api.outcomes import Outcome
from remanager_api.progress import Progress

EVIL = '<script>alert("1")</script>'
VOID = {"rect", "br"}


class Page(HTMLParser):
    """Tags, attributes and texts of a piece of HTML, which must be well-formed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.rows: list[list[str]] = []
        self.words = ""
        self.feed(html)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.words += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data


def page(method: str, **reply: Any) -> Page:
    html = ShownReply(reply, method)._repr_html_()
    assert html is not None
    return Page(html)


def plan(name: str = "count", **more: Any) -> dict[str, Any]:
    return {
        "item_type": "plan",
        "name": name,
        "args": [["diode"]],
        "kwargs": {"num": 5},
        "user": "ann",
        **more,
    }


def ended(name: str, status: str, **result: Any) -> dict[str, Any]:
    times = {"time_start": 1.7e9, "time_stop": 1.7e9 + 2.5}
    return plan(name, item_uid="a-b-c", result={"exit_status": status, "scan_ids": [7], **times, **result})


# ------------------------------------------------------------------------------------- the dictionary


def test_a_reply_is_a_dictionary_for_programs() -> None:
    plain = {"success": True, "msg": "", "items": [{"name": "count"}], "running_item": {}}
    reply = ShownReply(plain, "queue_get")
    assert reply == plain
    assert isinstance(reply, dict)
    assert repr(reply) == repr(plain)
    assert json.loads(json.dumps(reply)) == plain
    assert msgpack.unpackb(msgpack.packb(reply)) == plain


def test_a_copy_of_a_reply_looks_like_it() -> None:
    reply = ShownReply({"items": [plan()], "running_item": {}}, "queue_get")
    deep = copy.deepcopy(reply)
    for other in (copy.copy(reply), deep, pickle.loads(pickle.dumps(reply))):
        assert other == reply
        assert other._repr_html_() == reply._repr_html_()
    deep["items"].clear()
    assert reply["items"]


def test_a_reply_without_a_view_is_shown_as_the_dictionary() -> None:
    reply = ShownReply({"success": True, "msg": ""}, "queue_start")
    assert reply._repr_html_() is None
    assert pretty(reply) == pretty(dict(reply))


def test_a_refused_request_says_why() -> None:
    shown = page("queue_start", success=False, msg="the environment is closed", code="conflict")
    assert "the environment is closed" in shown.words
    assert "conflict" in shown.words


# ------------------------------------------------------------------------------------- views


def test_the_queue() -> None:
    items = [plan(), {"item_type": "instruction", "name": "queue_stop"}]
    shown = page("queue_get", items=items, running_item=plan("scan"))
    assert [row[:2] for row in shown.rows] == [
        ["", "item"],
        ["running", "scan(['diode'], num=5)"],
        ["0", "count(['diode'], num=5)"],
        ["1", "queue_stop()"],
    ]
    assert "empty" in page("queue_get", items=[], running_item={}).words


def test_the_history_begins_with_the_newest() -> None:
    items = [ended("count", "completed"), ended("scan", "failed", msg="no light", traceback="Traceback")]
    shown = page("history_get", items=items)
    assert [row[1] for row in shown.rows[1:]] == ["failed", "completed"]
    assert shown.rows[1][4:7] == ["2.5 s", "7", "no light"]
    assert "1 failed" in shown.words


def test_the_status() -> None:
    progress = {"done_count": 2, "total_count": 5, "eta_s": 1.5}
    shown = page(
        "status",
        msg="RE Manager v1",
        manager_state="executing_queue",
        worker_environment_exists=True,
        worker_environment_state="executing_plan",
        items_in_queue=3,
        queue_stop_pending=True,
        plan_queue_mode={"loop": True, "ignore_failures": False},
        progress=progress,
    )
    rows = dict(shown.rows)
    assert rows["progress"] == "2/5 points, about 1.5 s left"
    assert rows["queue mode"] == "loop"
    assert "stop pending" in shown.words
    assert ("style", "width:40.0%") in shown.attributes


def test_figures_have_a_spark_line() -> None:
    minutes = {"finished": [0] * 18 + [4, 2], "failed": [0] * 19 + [1]}
    types = {"count": {"per_min": minutes, "done_tasks_cnt": 6, "duration_ms": {"p50": 100, "p95": 250}}}
    shown = page("stats", health={"state": "ok", "reasons": []}, types=types)
    assert shown.tags.count("rect") == 20 + 1
    assert [c for n, c in enumerate(shown.rows[-1]) if n != 1] == ["count", "0", "6", "0", "0.1 s", "0.25 s"]
    text = pretty(ShownReply({"types": types}, "stats"))
    assert "▁" * 18 + "█▅" in text


def test_a_task_shows_its_error() -> None:
    task = {
        **plan("add", item_type="function"),
        "task_uid": "u",
        "state": "failed",
        "last_error": {"msg": "too much", "traceback": "Traceback:\n  line 1"},
    }
    shown = page("task_info", task=task, progress={"best": 0.5, "done_count": 1, "total_count": 2})
    assert dict(row for row in shown.rows if len(row) == 2)["error"] == "too much"
    assert "  line 1" in shown.words
    assert "50 %, 1/2" in shown.words


def test_a_handle_shows_what_it_knows() -> None:
    handle = TaskHandle(None, "u-1", EVIL)  # type: ignore[arg-type]
    for shown in (Page(handle._repr_html_()), Page(BlockingTaskHandle(handle, lambda _: None)._repr_html_())):
        assert EVIL in shown.words
        assert "u-1" in shown.words
        assert "pending" in shown.words


def test_progress_has_a_bar() -> None:
    shown = Page(Progress("running", fraction=0.25, done_count=1, total_count=4, eta_s=3.0)._repr_html_())
    assert "25 %, 1/4, about 3 s left" in shown.words
    assert Page(Progress("pending")._repr_html_()).words


def test_outcomes() -> None:
    good = Outcome.of(
        "u", "completed", {"exit_status": "completed", "scan_ids": [3], "run_uids": ["r"]}, "count"
    )
    bad = Outcome("u", "failed", msg=EVIL, traceback="line 1\nline 2", time_start=1.0, time_stop=1.05)
    value = Outcome("u", "completed", return_value={"a": 1})
    assert dict(Page(good._repr_html_()).rows)["scans"] == "3"
    assert dict(Page(bad._repr_html_()).rows)["message"] == EVIL
    assert "line 2" in Page(bad._repr_html_()).words
    assert dict(Page(bad._repr_html_()).rows)["took"] == "50 ms"
    assert dict(Page(value._repr_html_()).rows)["result"] == "{'a': 1}"


# ------------------------------------------------------------------------------------- safety


SCALARS = st.sampled_from([EVIL, None, True, 3, -1.5, float("nan"), float("inf"), 10**30, "\x1b[31m", "&"])
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(SCALARS.map(str), SCALARS, max_size=2)
KEYS = sorted(
    {
        *(
            "items",
            "running_item",
            "tasks",
            "task",
            "progress",
            "result",
            "types",
            "per_min",
            "finished",
            "counts",
        ),
        *(
            "workers",
            "points",
            "alerts",
            "status",
            "lock",
            "health",
            "rates",
            "queue",
            "running",
            "plan_queue",
        ),
        *(
            "plans_allowed",
            "devices_allowed",
            "run_list",
            "events",
            "functions",
            "failed_modules",
            "jobs",
            "name",
        ),
        *(
            "args",
            "kwargs",
            "msg",
            "manager_state",
            "state",
            "time_start",
            "time_stop",
            "last_error",
            "lanes",
        ),
        *(
            "parameters",
            "duration_ms",
            "reasons",
            "transitions",
            "attempts",
            "task_uid",
            "total",
            "traceback",
        ),
    }
)


ENTRIES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4)
REPLIES = st.dictionaries(st.sampled_from(KEYS), VALUES | ENTRIES | st.lists(ENTRIES, max_size=2), max_size=6)


@given(method=st.sampled_from(sorted(_VIEWS)), reply=REPLIES)
@settings(deadline=None)
def test_nothing_from_the_wire_becomes_html_or_steers_a_terminal(method: str, reply: dict[str, Any]) -> None:
    shown = ShownReply(reply, method)
    html = shown._repr_html_()
    assert html is not None
    content = Page(html)
    assert not {"script", "a", "img", "iframe", "object"} & set(content.tags)
    assert not [name for name, _ in content.attributes if name.startswith("on") or name in {"href", "src"}]
    assert "\x1b" not in html
    assert "\x1b" not in pretty(shown)


def test_a_plan_with_an_evil_name() -> None:
    for method, reply in {
        "queue_get": {"items": [plan(EVIL)], "running_item": plan(EVIL)},
        "history_get": {"items": [ended(EVIL, EVIL, msg=EVIL)]},
        "plans_allowed": {"plans_allowed": {EVIL: {"parameters": [{"name": EVIL}], "description": EVIL}}},
        "task_info": {"task": {"name": EVIL, "task_uid": EVIL, "state": EVIL}},
        "stats": {"types": {EVIL: {}}, "health": {"state": EVIL}},
    }.items():
        shown = page(method, **reply)
        assert "script" not in shown.tags
        assert EVIL in shown.words


@pytest.mark.parametrize("method", sorted(_VIEWS))
def test_an_empty_reply_is_shown(method: str) -> None:
    assert view_of(method, {}) is not None
    assert page(method).tags
    assert pretty(ShownReply({}, method))


def test_huge_replies_stay_small() -> None:
    huge = plan("x" * 100_000, args=[list(range(100_000))], kwargs={f"k{n}": "v" * 1000 for n in range(1000)})
    big = {
        "queue_get": {"items": [huge] * 20_000, "running_item": huge},
        "history_get": {"items": [{**huge, "result": {"traceback": "t" * 10**5, "msg": "m" * 10**5}}] * 5000},
        "task_list": {"tasks": [huge] * 5000, "total": 10**6},
        "task_info": {"task": huge, "result": {"traceback": "line\n" * 10**5, "return_value": "v" * 10**5}},
        "plans_allowed": {"plans_allowed": {f"plan{n}": {"parameters": [huge] * 500} for n in range(3000)}},
        "event_list": {"events": [{"data": {f"k{n}": "v" * 1000 for n in range(500)}}] * 1000},
        "stats": {"types": {f"t{n}": {"per_min": {"finished": list(range(10_000))}} for n in range(1000)}},
        "stats_history": {"points": [[n, n] for n in range(100_000)]},
    }
    for method, reply in big.items():
        html = ShownReply(reply, method)._repr_html_()
        assert html is not None
        assert len(html) < 1_500_000, method
        assert len(Page(html).rows) <= MAX_ROWS + 20, method
    assert "... and 19950 more" in page("queue_get", **big["queue_get"]).words
