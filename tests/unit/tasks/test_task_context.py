"""The context of a task, as its unit tests see it."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from remanager.tasks import Cancelled, Context, Retry, current, use


def test_outside_of_a_worker_the_context_remembers() -> None:
    ctx = Context("uid", attempt=2, last_checkpoint={"n": 3})
    assert (ctx.task_uid, ctx.attempt, ctx.last_checkpoint, ctx.finishing) == ("uid", 2, {"n": 3}, False)
    ctx.progress(done_count=1, total_count=4)
    ctx.progress(done_count=2, message="at work")
    assert ctx.report == {"done_count": 2, "total_count": 4, "message": "at work"}
    ctx.record_io(disk_read=5)
    ctx.record_io(disk_read=2, net_tx=1)
    assert ctx.io == {"disk_read": 7, "net_tx": 1}
    ctx.checkpoint([1])
    assert ctx.last_checkpoint == [1]
    uid = ctx.submit_child("convert", 1, options={"priority": 3}, path="x")
    (child,) = ctx.children
    assert (child.task_uid, child.name, child.args) == (uid, "convert", (1,))
    assert (child.kwargs, child.options) == ({"path": "x"}, {"priority": 3})


def test_current() -> None:
    outside = current()
    assert current() is outside
    with use(Context("a")) as first:
        assert current() is first
        with use(Context("b")) as second:
            assert current() is second
        assert current() is first
    assert current() is outside


def test_cancelling() -> None:
    ctx = Context()
    ctx.check_cancelled()
    assert not ctx.cancelled
    ctx.cancel("not needed")
    assert ctx.cancelled
    with pytest.raises(Cancelled, match="not needed"):
        ctx.check_cancelled()


def test_deadline() -> None:
    assert Context().remaining() is None
    left = Context(deadline=time.time() + 100).remaining()
    assert left is not None
    assert 90 < left <= 100
    assert Context(deadline=time.time() - 1).remaining() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"done_count": -1},
        {"done_size": 2**70},
        {"total_size": float("nan")},
        {"fraction": float("inf")},
        {"fraction": -0.1},
    ],
)
def test_numbers_of_progress_are_checked(wrong: dict[str, float]) -> None:
    ctx = Context()
    with pytest.raises(ValueError, match="must be a number"):
        ctx.progress(**wrong)  # type: ignore[arg-type]
    assert ctx.report == {}


def test_bytes_are_checked() -> None:
    with pytest.raises(ValueError, match="must be a number"):
        Context().record_io(disk_read=-1)


def test_messages_are_bounded() -> None:
    ctx = Context()
    ctx.progress(message="x" * 5000)
    assert len(ctx.report["message"]) == 1000


def test_no_children_when_they_have_ended() -> None:
    with pytest.raises(RuntimeError, match="finishing"):
        Context(finishing=True).submit_child("convert")


@pytest.mark.parametrize("after_s", [-1, float("nan"), float("inf"), 1e300, "soon", []])
def test_delay_of_a_retry_is_checked(after_s: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="after_s"):
        Retry(after_s)


def test_task_modules_import_nothing_heavy() -> None:
    script = (
        "import sys; import remanager.tasks; "
        "heavy = {'numpy', 'zmq', 'msgpack', 'pydantic', 'asyncio', 'bluesky', 'psutil'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
