"""Errors of requests, as they go from one process to another."""

from __future__ import annotations

import copy
import pickle

import pytest

from remanager_api import RequestFailedError, RequestTimeoutError
from remanager_api.advice import explain_refusal

REQUEST = {"method": "queue_start", "params": {"request_id": "r"}}


@pytest.mark.parametrize("carry", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_go_to_other_processes(carry: object) -> None:
    assert callable(carry)
    refused = RequestFailedError(REQUEST, {"success": False, "msg": "no", "code": "busy"})
    silent = RequestTimeoutError("no answer", REQUEST)
    silent.address, silent.listening, silent.answered_at = "tcp://localhost:1", False, 2.0
    for error in (refused, silent):
        error.add_note("what is known")
        twin = carry(error)
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)


def test_a_refused_batch_says_why_for_the_first_items() -> None:
    other = {"success": False, "msg": "another task of the batch was refused", "task_uid": None}
    faults = [{"success": False, "msg": f"no {n}", "code": "invalid_item"} for n in range(5)]
    reply = {"success": False, "msg": "5 of 6 tasks were refused", "results": [other, *faults]}
    assert str(RequestFailedError(REQUEST, reply)).splitlines() == [
        "Request failed: 5 of 6 tasks were refused",
        "  items[1]: no 0",
        "  items[2]: no 1",
        "  items[3]: no 2",
        "  and 2 more",
    ]
    plans = {"success": False, "msg": "bad", "results": [{"success": True}, {"success": False, "msg": "why"}]}
    assert str(RequestFailedError(REQUEST, plans)) == "Request failed: bad\n  items[1]: why"
    assert str(RequestFailedError(REQUEST, {"msg": "bad", "results": {}})) == "Request failed: bad"


async def test_a_remedy_for_items_of_a_batch() -> None:
    async def request(*_: object) -> object:
        raise AssertionError("the manager is not asked")

    results = [{"success": False, "msg": "not allowed", "code": "not_permitted"}]
    refused = RequestFailedError(REQUEST, {"msg": "bad", "code": "invalid_params", "results": results})
    await explain_refusal(refused, request)
    assert "permissions_reload()" in refused.__notes__[0]
