from __future__ import annotations

import asyncio
import json
import sys

import pytest

WAIT_S = 20.0
DRIVER = """
import sys
from remanager.daemon.supervisor import run
sys.exit(run([], [sys.executable, "-c", sys.argv[1]]))
"""
MANAGER = """
import asyncio, json, os, signal, sys
from pathlib import Path
from remanager.daemon.processes import Processes
from remanager.daemon.supervisor_link import SupervisorLink

SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]

async def main():
    stop = asyncio.Event()
    link = SupervisorLink(int(sys.argv[2]), on_stop=lambda n: stop.set(), on_lost=lambda: os._exit(9))
    info = await link.connect()
    link.start_heartbeats()
    processes = Processes(link)
    if info.restarts == 0:
        pid = await processes.spawn(SLEEPER, None, None)
        os.kill(os.getpid(), signal.SIGKILL)
    (pid,) = [p for p, code in link.children.items() if code is None]
    ticks = processes.start_ticks(pid)
    assert processes.take_over(pid, ticks, Path('none'))
    ended = asyncio.get_running_loop().create_future()
    processes.watch(pid, ended.set_result)
    processes.kill(pid)
    returncode = await ended
    print(json.dumps({"restarts": info.restarts, "returncode": returncode}), flush=True)
    await stop.wait()
    link.stopping()
    await link.close()

asyncio.run(main())
"""


@pytest.fixture
async def supervisor() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DRIVER, MANAGER),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_restarted_manager_takes_its_workers_over(supervisor: asyncio.subprocess.Process) -> None:
    assert supervisor.stdout is not None
    line = await asyncio.wait_for(supervisor.stdout.readline(), WAIT_S)
    assert json.loads(line) == {"restarts": 1, "returncode": -9}
    supervisor.terminate()
    _, said = await asyncio.wait_for(supervisor.communicate(), WAIT_S)
    assert supervisor.returncode == 0
    assert said.decode().endswith("remanager.supervisor] the manager died of SIGKILL: restart 1 in 0 s\n")
