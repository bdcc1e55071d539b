"""A daemon of the demonstration's own: temporary state directory, free ports."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from remanager_api.zmq.aio import REManagerAPI

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0


class InstanceError(RuntimeError):
    """The daemon did not start or did not stop."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A running daemon.

    Attributes
    ----------
    control_addr, info_addr : str
        Addresses of its sockets.
    log : Path
        What it printed.
    """

    control_addr: str
    info_addr: str
    log: Path

    def last_lines(self, count: int = 15) -> str:
        """Return the end of the log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


def _free_addresses(count: int) -> list[str]:
    """Find free ports on loopback, all held until the last is found."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [f"tcp://127.0.0.1:{sock.getsockname()[1]}" for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


async def _until_it_answers(process: asyncio.subprocess.Process, instance: Instance) -> None:
    ended = asyncio.ensure_future(process.wait())
    async with REManagerAPI(zmq_control_addr=instance.control_addr, timeout_recv=0.5) as api:
        answered = asyncio.ensure_future(
            api.wait_for_condition(lambda s: s["manager_state"] == "idle", timeout=START_TIMEOUT_S)
        )
        try:
            await asyncio.wait({ended, answered}, return_when=asyncio.FIRST_COMPLETED)
            if answered.done() and answered.exception() is None:
                return
        finally:
            # Ctrl-C comes as a cancellation: neither may outlive the client.
            answered.cancel()
            ended.cancel()
            await asyncio.gather(answered, ended, return_exceptions=True)
    raise InstanceError(f"the daemon did not start:\n{instance.last_lines()}")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Make sure that the daemon is gone; it gets a signal only if it has not been stopped by a request."""
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise InstanceError("the daemon did not stop and was killed") from None


@asynccontextmanager
async def running_instance(directory: Path) -> AsyncIterator[Instance]:
    """Start a daemon and stop it at the end.

    Parameters
    ----------
    directory : Path
        For its state and its log.

    Yields
    ------
    Instance

    Raises
    ------
    InstanceError
        The daemon did not start or did not stop.
    """
    control_addr, info_addr = _free_addresses(2)
    instance = Instance(control_addr, info_addr, directory / "daemon.log")
    options = [
        f"--state-dir={directory / 'state'}",
        f"--zmq-control-addr={control_addr}",
        f"--zmq-info-addr={info_addr}",
        "--zmq-publish-console=ON",
    ]
    # A set-up of the user's own must not reach the demonstration.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("QSERVER_", "REMANAGER_"))}
    with instance.log.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "remanager", "start", *options),
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        await _until_it_answers(process, instance)
        yield instance
        async with REManagerAPI(zmq_control_addr=control_addr) as api:
            await api.manager_stop("safe_off")
        await _end(process)
    finally:
        if process.returncode is None:
            process.terminate()
            await _end(process)
