"""While one request takes its time, the others are answered: told by the order of replies, not by clocks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from system_harness import USER, Daemon, Gate, plan

pytest.importorskip("bluesky")

TIMEOUT_MS = 30_000
COUNT = plan("count", ["diode"], num=1)
BATCH = 5000
ATTEMPTS = 10


class Pending:
    """A request on a socket of its own whose reply is looked at later."""

    def __init__(self, daemon: Daemon, method: str, **params: Any) -> None:
        self._socket = daemon.client.context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(daemon.control)
        self._socket.send_multipart([b"", json.dumps({"method": method, "params": params}).encode()])

    def answered(self) -> bool:
        return bool(self._socket.poll(0))

    def reply(self) -> dict[str, Any]:
        assert self._socket.poll(TIMEOUT_MS), "no reply"
        reply: dict[str, Any] = json.loads(self._socket.recv_multipart()[-1])
        self._socket.close()
        return reply


@pytest.fixture(autouse=True)
def tidy(daemon: Daemon) -> Iterator[None]:
    yield
    daemon.wait_idle()
    daemon.client.ok("queue_clear")
    daemon.client.ok("history_clear")
    if not daemon.client.call("status")["worker_environment_exists"]:
        daemon.open_environment()


@pytest.mark.timeout(120)
def test_status_while_a_batch_is_added(daemon: Daemon) -> None:
    meanwhile = 0
    # One answer could have come before the batch arrived, one after it was done. Where this process did not
    # run meanwhile, it has asked too seldom.
    for _ in range(ATTEMPTS):
        daemon.client.ok("queue_clear")
        batch = Pending(daemon, "queue_item_add_batch", items=[COUNT] * BATCH, **USER)
        meanwhile = 0
        while not batch.answered():
            status = daemon.client.call("status")
            assert status["items_in_queue"] in (0, BATCH)  # all of it or nothing
            meanwhile += not batch.answered()
        reply = batch.reply()
        assert reply["success"], reply["msg"]
        assert reply["qsize"] == BATCH
        if meanwhile > 2:
            break
    assert meanwhile > 2


@pytest.mark.timeout(120)
def test_other_changes_while_a_batch_is_added(daemon: Daemon) -> None:
    batch = Pending(daemon, "queue_item_add_batch", items=[COUNT] * BATCH, **USER)
    added = []
    while not batch.answered():
        added.append(daemon.add(COUNT, pos="front"))
    reply = batch.reply()
    assert reply["success"], reply["msg"]
    queue = daemon.queue()
    assert len(queue) == BATCH + len(added)
    assert set(added) < set(queue)
    members = [i["item_uid"] for i in reply["items"]]
    place = queue.index(members[0])
    assert queue[place : place + BATCH] == members


@pytest.mark.timeout(120)
def test_batches_of_several_clients(daemon: Daemon) -> None:
    batches = [Pending(daemon, "queue_item_add_batch", items=[COUNT] * 500, **USER) for _ in range(4)]
    wrong = Pending(daemon, "queue_item_add_batch", items=[*[COUNT] * 499, plan("no_such_plan")], **USER)
    assert "manager_state" in daemon.client.call("status")
    replies = [b.reply() for b in batches]
    assert all(r["success"] for r in replies)
    assert wrong.reply()["success"] is False
    queue = daemon.queue()
    assert len(queue) == len(set(queue)) == 2000
    for reply in replies:
        members = [i["item_uid"] for i in reply["items"]]
        place = queue.index(members[0])
        assert queue[place : place + 500] == members


@pytest.mark.parametrize("background", [False, True])
def test_requests_while_a_function_runs(daemon: Daemon, gate: Gate, background: bool) -> None:
    with daemon.listen() as listener:
        uid = daemon.execute(gate.held_function(), background=background)
        listener.wait_text("the function is held")
    client = daemon.client
    for method in ("ping", "queue_get", "history_get", "plans_existing", "re_runs", "lock_info", "stats"):
        client.ok(method)
    client.ok("plans_allowed", user_group="primary")
    item = daemon.add(COUNT)
    client.ok("queue_item_remove", uid=item)
    assert client.ok("re_metadata")["re_metadata"]["facility"] == "simulation"
    assert client.ok("task_status", task_uid=uid)["status"] == "running"
    gate.answer("done")
    assert daemon.wait_task(uid)["return_value"] == "done"


def test_requests_while_a_plan_blocks_the_run_engine(daemon: Daemon, gate: Gate) -> None:
    waiting = f"    print('it blocks')\n    open({str(gate.pipe)!r}).read()\n"
    blocked = f"def blocked():\n    yield from bps.null()\n{waiting}"
    assert daemon.wait_task(daemon.client.ok("script_upload", script=blocked)["task_uid"])["success"]
    daemon.wait_idle()
    daemon.add(plan("blocked"))
    with daemon.listen() as listener:
        daemon.client.ok("queue_start")
        listener.wait_text("it blocks")
        listener.wait_status(lambda s: s["re_state"] == "running")  # the output may be quicker
    daemon.client.ok("re_pause", option="deferred")
    assert daemon.client.call("status")["pause_pending"] is True
    task = daemon.execute({"item_type": "function", "name": "give", "args": [3]}, background=True)
    assert daemon.wait_task(task)["return_value"] == 3
    gate.answer("go on")
    status = daemon.wait(lambda s: s["manager_state"] in ("idle", "paused"))
    assert status["pause_pending"] is False
    if status["manager_state"] == "paused":
        daemon.client.ok("re_resume")
    daemon.wait_idle()


@pytest.fixture
def slow_start(profile: Path, gate: Gate) -> Iterator[None]:
    """Start-up code that waits for an answer."""
    slow = profile / "99-slow.py"
    slow.write_text(f"print('it takes its time')\nopen({str(gate.pipe)!r}).read()\n")
    yield
    slow.unlink()


def test_requests_while_the_environment_opens(daemon: Daemon, gate: Gate, slow_start: None) -> None:
    daemon.close_environment()
    with daemon.listen() as listener:
        daemon.client.ok("environment_open")
        listener.wait_text("it takes its time")
        assert daemon.client.call("status")["manager_state"] == "creating_environment"
        item = daemon.add(COUNT)
        assert daemon.queue() == [item]
        daemon.client.refused("queue_start")
        daemon.client.ok("plans_existing")
        gate.answer("go on")
        listener.wait_status(lambda s: s["manager_state"] == "idle")


def test_many_clients_at_once(daemon: Daemon) -> None:
    requests = [
        Pending(daemon, "queue_item_add", item=COUNT, **USER) if n % 2 else Pending(daemon, "status")
        for n in range(200)
    ]
    replies = [r.reply() for r in requests]
    uids = [r["item"]["item_uid"] for r in replies if "item" in r]
    assert len(set(uids)) == 100
    assert sorted(daemon.queue()) == sorted(uids)
