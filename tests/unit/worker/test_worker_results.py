"""Return values of functions as the manager gets them."""

from __future__ import annotations

import json

import msgpack
import pytest

from remanager.worker import tasks
from remanager.worker.tasks import encode_value


def test_encodings() -> None:
    assert json.loads(encode_value([1, "a"], "json")) == [1, "a"]
    assert msgpack.unpackb(encode_value([1, "a"], "msgpack")) == [1, "a"]


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_a_value_that_is_too_large_is_refused(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "MAX_RESULT_BYTES", 100)
    assert encode_value("x" * 90, encoding)
    with pytest.raises(ValueError, match="at most 100 are kept"):
        encode_value("x" * 101, encoding)
