"""Errors of requests, as they go from one process to another."""

from __future__ import annotations

import copy
import pickle

import pytest

from remanager_api import RequestFailedError, RequestTimeoutError

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
