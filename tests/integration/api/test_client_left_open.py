"""Clients and iterators that nobody closes, up to the end of the program."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from typing import Any

import pytest

from remanager_api.zmq import REManagerAPI
from remanager_api.zmq.aio import REManagerAPI as AsyncREManagerAPI

TIMEOUT_S = 20


def run(program: str, *args: str) -> tuple[str, str]:
    """Return what a program writes to its outputs."""
    # In the development mode asyncio warns, too, of all that takes longer than 0.1 s, as anything may.
    head = (
        "import logging, sys\nfrom remanager_api.zmq import REManagerAPI\n"
        "logging.getLogger('asyncio').setLevel('ERROR')\n"
    )
    command = [sys.executable, "-X", "dev", "-c", head + program, *args]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S)
    return done.stdout, done.stderr


@pytest.fixture
def journal(manager: Any) -> Any:
    event = {"seq": 1, "time": 1.0, "type": "plan_started", "task_uid": None, "data": {}}
    page = {"success": True, "events": [event], "next_seq": 2, "oldest_seq": 1, "gap": False}
    manager.handlers["event_list"] = lambda _: page
    return manager


def test_a_program_that_forgets_to_close_ends(manager: Any) -> None:
    program = (
        "api = REManagerAPI(zmq_control_addr=sys.argv[1])\napi.console_monitor.enable()\n"
        "print(api.ping()['method'])\n"
    )
    assert run(program, manager.address) == ("ping\n", "")


def test_a_program_that_leaves_an_iteration_ends(journal: Any) -> None:
    program = (
        "api = REManagerAPI(zmq_control_addr=sys.argv[1])\n"
        "events = api.events(since=1)\nprint(next(events).type)\n"
    )
    assert run(program, journal.address) == ("plan_started\n", "")


def test_a_program_that_closes_in_its_last_moments_ends(manager: Any) -> None:
    program = (
        "class Window:\n"
        "    def __init__(self):\n"
        "        self.api = REManagerAPI(zmq_control_addr=sys.argv[1])\n"
        "        print(self.api.ping()['method'])\n"
        "    def __del__(self):\n"
        "        self.api.close()\n"
        "window = Window()\nwindow.itself = window\n"
    )
    assert run(program, manager.address) == ("ping\n", "")


def test_a_program_that_asks_in_its_last_moments_ends(manager: Any) -> None:
    program = (
        "class Window:\n"
        "    api = REManagerAPI(zmq_control_addr=sys.argv[1])\n"
        "    def __del__(self):\n"
        "        try:\n"
        "            self.api.ping()\n"
        "        except RuntimeError as exc:\n"
        "            print(exc)\n"
        "window = Window()\nwindow.itself = window\n"
    )
    assert run(program, manager.address) == ("the interpreter is ending\n", "")


def test_an_iterator_that_outlives_its_client(journal: Any) -> None:
    with REManagerAPI(zmq_control_addr=journal.address) as api:
        events: Any = api.events(since=1)
        assert next(events).seq == 1
    events.close()
    with pytest.raises(StopIteration):
        next(events)


def test_sockets_of_forgotten_clients_are_closed(manager: Any) -> None:
    program = (
        "import gc, os, time\n"
        "with REManagerAPI(zmq_control_addr=sys.argv[1]) as api:\n"
        "    counts = []\n"
        "    for _ in range(8):\n"
        "        REManagerAPI(zmq_control_addr=sys.argv[1]).ping()\n"
        "        gc.collect()\n"
        "        api.ping()  # in the thread in which the sockets are closed\n"
        "        counts.append(len(os.listdir('/proc/self/fd')))\n"
        "    end = time.monotonic() + float(sys.argv[2])\n"
        "    while len(os.listdir('/proc/self/fd')) >= counts[0] + 7 and time.monotonic() < end:\n"
        "        api.ping()  # ZeroMQ closes the descriptors in a thread of its own\n"
        "    print(len(os.listdir('/proc/self/fd')) < counts[0] + 7)\n"
    )
    assert run(program, manager.address, str(TIMEOUT_S / 2)) == ("True\n", "")


async def test_sockets_of_a_forgotten_asynchronous_client_are_closed(manager: Any) -> None:
    async with AsyncREManagerAPI(zmq_control_addr=manager.address) as api:
        await AsyncREManagerAPI(zmq_control_addr=manager.address).ping()
        gc.collect()
        await api.ping()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            await AsyncREManagerAPI(zmq_control_addr=manager.address).ping()
            gc.collect()
            await api.ping()
        async with asyncio.timeout(TIMEOUT_S):
            while len(os.listdir("/proc/self/fd")) >= before + 5:
                await api.ping()  # ZeroMQ closes the descriptors in a thread of its own
