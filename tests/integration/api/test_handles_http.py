"""Handles over HTTP, where none of the methods is there that only this project has."""

from __future__ import annotations

import pytest
from fake_http_server import FakeHTTPServer

from remanager_api import BPlan, TaskNotFoundError
from remanager_api.http import REManagerAPI


def test_a_plan_is_followed_through_its_queue() -> None:
    places = iter(["items", "running_item"])
    waiting = {"item_uid": "u", "name": "count"}
    ended = {**waiting, "result": {"exit_status": "completed", "run_uids": ["r"], "scan_ids": [1]}}
    place = [""]

    def queue(_: object) -> dict[str, object]:
        place[0] = next(places, "history")
        running = waiting if place[0] == "running_item" else {}
        return {"success": True, "items": [waiting] if place[0] == "items" else [], "running_item": running}

    def history(_: object) -> dict[str, object]:
        return {"success": True, "items": [ended] if place[0] == "history" else []}

    with FakeHTTPServer().served() as server:
        server.answers |= {
            ("POST", "/api/queue/item/add"): lambda _: {"success": True, "item": waiting},
            ("GET", "/api/task/status"): lambda asked: {
                "success": True,
                "status": dict.fromkeys(asked.body["task_uid"], "not_found"),
            },
            ("GET", "/api/queue/get"): queue,
            ("GET", "/api/history/get"): history,
        }
        with REManagerAPI(http_server_uri=server.uri, status_polling_period=0.01) as RM:
            plan = RM.submit(BPlan("count"))
            assert [p.state for p in plan.progress(period=0.01)][-1] == "completed"
            assert plan.result().run_uids == ["r"]
            with pytest.raises(TaskNotFoundError, match="nobody"):
                RM.task("nobody").result()
    assert not [asked for asked in server.asked if "wait" in asked.endpoint[1]]
