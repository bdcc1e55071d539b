"""Connections that a firewall has dropped: nothing comes any more, and nobody says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from remanager_api import RequestTimeoutError
from remanager_api.zmq import transport
from remanager_api.zmq.aio import REManagerAPI


class Firewall:
    """Passes on what comes over a connection, until it forgets the connection; new ones are passed on."""

    def __init__(self, target: str) -> None:
        self._target = int(target.rpartition(":")[2])
        self._connections: list[dict[str, bool]] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        connection = {"open": True}
        self._connections.append(connection)
        self._writers += [writer, back]
        for source, target in ((reader, back), (there, writer)):
            self._tasks.append(asyncio.create_task(self._pass_on(connection, source, target)))

    async def _pass_on(
        self, connection: dict[str, bool], source: asyncio.StreamReader, target: asyncio.StreamWriter
    ) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                if connection["open"]:
                    target.write(data)
            if connection["open"]:
                target.close()

    def forget(self) -> None:
        for connection in self._connections:
            connection["open"] = False

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*self._tasks)


@asynccontextmanager
async def firewall(target: str) -> AsyncIterator[tuple[Firewall, str]]:
    wall = Firewall(target)
    server = await asyncio.start_server(wall.accept, "127.0.0.1", 0)
    async with server:
        yield wall, f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()
        await wall.close()


async def test_one_time_out_for_all_connections(manager: Any) -> None:
    async with (
        firewall(manager.address) as (wall, address),
        REManagerAPI(zmq_control_addr=address, timeout_recv=20.0) as api,
    ):
        replies = await asyncio.gather(*(api.send_request(method="m", params={"n": n}) for n in range(8)))
        assert len(replies) == 8
        wall.forget()
        with pytest.raises(RequestTimeoutError):
            await api.send_request(method="m", timeout=0.3)
        assert (await api.send_request(method="m"))["success"]


async def test_a_subscription_is_made_anew(manager: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "HEARTBEAT_MS", 200)
    async with (
        firewall(manager.info_address) as (wall, address),
        REManagerAPI(zmq_control_addr=manager.address, zmq_info_addr=address) as api,
    ):
        api.console_monitor.enable()
        await asyncio.to_thread(manager.wait_for_subscription)
        wall.forget()
        async with asyncio.timeout(20.0):
            while True:
                manager.publish("QS_Console", "heard\n")
                with suppress(api.RequestTimeoutError):
                    assert (await api.console_monitor.next_msg(timeout=0.1))["msg"] == "heard\n"
                    break
