"""Attempts to talk to an encrypted daemon: each is refused or allowed as the documentation says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

from remanager.daemon.control import Answer, ControlServer
from remanager.daemon.keys import KEYS_NAME, ClientKey, KeyRing, Keys, change_keys
from remanager.model.principal import Principal, Role
from remanager.wire.codec import Encoding
from remanager_api import RequestTimeoutError
from remanager_api.zmq.aio import REManagerAPI

SILENCE_S = 0.3
WAIT_S = 10.0


def pair() -> tuple[str, str]:
    public, private = zmq.curve_keypair()
    return public.decode(), private.decode()


class Daemon:
    """A control socket that answers with the name of who asks."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.now = 0.0
        self.asked: list[str] = []
        self.public, private = pair()
        ring = KeyRing(state_dir / KEYS_NAME, clock=lambda: self.now)
        self.server = ControlServer("tcp://127.0.0.1:*", self.answer, private_key=private, identities=ring)

    def answer(self, _request: object, _encoding: Encoding, principal: Principal) -> Answer:
        self.asked.append(principal.name)
        return {"success": True, "name": principal.name, "role": principal.role.value}

    def add(self, name: str, role: Role = Role.USER) -> str:
        public, private = pair()
        change_keys(self.state_dir, lambda keys: keys.add(ClientKey(name, public, role)))
        return private

    def legacy(self, role: Role) -> None:
        change_keys(self.state_dir, lambda keys: Keys(role, keys.clients))

    async def ask(self, private: str | None = None, **options: Any) -> dict[str, Any]:
        async with self.client(private, **options) as api:
            return await api.ping()

    def client(self, private: str | None = None, **options: Any) -> REManagerAPI:
        settings = {"zmq_control_addr": self.server.address, "zmq_public_key": self.public} | options
        return REManagerAPI(
            zmq_client_private_key=private,
            request_fail_exceptions=False,
            **{"timeout_recv": WAIT_S} | settings,
        )

    async def silent(self, private: str | None = None, **options: Any) -> bool:
        try:
            await self.ask(private, timeout_recv=SILENCE_S, **options)
        except RequestTimeoutError:
            return True
        return False


@pytest.fixture
async def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Daemon]:
    for name in ("QSERVER_ZMQ_PUBLIC_KEY", "REMANAGER_CLIENT_PRIVATE_KEY"):
        monkeypatch.delenv(name, raising=False)
    found = Daemon(tmp_path)
    found.server.start()
    yield found
    await asyncio.wait_for(found.server.close(linger_ms=0), WAIT_S)


async def test_without_keys_of_clients_everybody_is_legacy(daemon: Daemon) -> None:
    assert (await daemon.ask())["role"] == "admin"
    assert (await daemon.ask(pair()[1]))["name"] == "legacy"


async def test_no_key(daemon: Daemon) -> None:
    assert await daemon.silent(zmq_public_key=None)
    assert daemon.asked == []


async def test_wrong_server_key(daemon: Daemon) -> None:
    assert await daemon.silent(zmq_public_key=pair()[0])
    assert daemon.asked == []


async def test_unknown_client_key(daemon: Daemon) -> None:
    known = daemon.add("beamline")
    assert (await daemon.ask(known))["name"] == "beamline"
    assert await daemon.silent(pair()[1])
    assert daemon.asked == ["beamline"]


async def test_key_of_another_client_is_of_no_use_without_its_private_half(daemon: Daemon) -> None:
    public, _ = pair()
    change_keys(daemon.state_dir, lambda keys: keys.add(ClientKey("ann", public, Role.ADMIN)))
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.curve_serverkey = daemon.public.encode()
        socket.curve_publickey = public.encode()
        socket.curve_secretkey = pair()[1].encode()
        socket.connect(daemon.server.address)
        socket.send(b'{"method": "ping"}')
        assert not await asyncio.to_thread(socket.poll, int(1000 * SILENCE_S))
    assert daemon.asked == []


async def test_revoked_key(daemon: Daemon) -> None:
    private = daemon.add("ann")
    async with daemon.client(private) as api:
        assert (await api.ping())["name"] == "ann"
        change_keys(daemon.state_dir, lambda keys: keys.revoke("ann", 1.0))
        # No new connection: what was accepted before is refused from the next look at the file on.
        daemon.now += 1.0
        reply = await api.ping()
        assert (reply["success"], reply["code"]) == (False, "not_permitted")
        assert "does not count any more" in reply["msg"]
    assert await daemon.silent(private)
    assert daemon.asked == ["ann"]


async def test_new_key_counts_at_once(daemon: Daemon) -> None:
    daemon.add("ann")
    assert (await daemon.ask(daemon.add("bob", Role.OBSERVER)))["role"] == "observer"


async def test_legacy_key(daemon: Daemon) -> None:
    daemon.add("ann")
    assert (await daemon.ask())["role"] == "admin"
    daemon.legacy(Role.OBSERVER)
    assert await daemon.ask() == {"success": True, "name": "legacy", "role": "observer"}
    daemon.legacy(Role.NONE)
    assert await daemon.silent()


async def test_damaged_or_missing_file_opens_nothing(daemon: Daemon) -> None:
    private = daemon.add("ann")
    assert (await daemon.ask(private))["name"] == "ann"
    path = daemon.state_dir / KEYS_NAME
    path.write_text("{")
    assert await daemon.silent(pair()[1])
    path.unlink()
    assert await daemon.silent(pair()[1])
    assert (await daemon.ask(private))["name"] == "ann"


async def test_principal_of_each_message_among_many_clients(daemon: Daemon) -> None:
    names = [f"client-{n}" for n in range(8)]
    keys = [daemon.add(name) for name in names]
    async with asyncio.TaskGroup() as tasks:
        for name, key in zip(names, keys, strict=True):
            tasks.create_task(_ask_often(daemon, name, key))
    assert sorted(daemon.asked) == sorted(names * 20)


async def _ask_often(daemon: Daemon, name: str, key: str) -> None:
    async with daemon.client(key) as api:
        for _ in range(20):
            assert (await api.ping())["name"] == name


# ------------------------------------------------------------------------------------------- replay


class Wiretap:
    """Passes a connection on, keeps what the client sent, and can send it once more."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.last = b""
        self.to_daemon: asyncio.StreamWriter | None = None
        self.cut = asyncio.Event()


@asynccontextmanager
async def wiretapped(address: str) -> AsyncIterator[tuple[str, Wiretap]]:
    tap, tasks = Wiretap(), set[asyncio.Task[None]]()
    port = int(address.rpartition(":")[2])

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        from_daemon, to_daemon = await asyncio.open_connection("127.0.0.1", port)
        tap.to_daemon = to_daemon

        async def back() -> None:
            while data := await from_daemon.read(65536):
                writer.write(data)
            tap.cut.set()

        backwards = asyncio.ensure_future(back())
        try:
            while data := await reader.read(65536):
                tap.sent += data
                tap.last = data
                to_daemon.write(data)
        finally:
            backwards.cancel()
            await asyncio.wait([backwards])
            for stream in (to_daemon, writer):
                stream.close()

    proxy = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"tcp://127.0.0.1:{proxy.sockets[0].getsockname()[1]}", tap
    finally:
        proxy.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await proxy.wait_closed()


async def test_replayed_connection(daemon: Daemon) -> None:
    private = daemon.add("ann")
    async with wiretapped(daemon.server.address) as (address, tap):
        assert (await daemon.ask(private, zmq_control_addr=address))["name"] == "ann"
    reader, writer = await asyncio.open_connection("127.0.0.1", int(daemon.server.address.rpartition(":")[2]))
    writer.write(bytes(tap.sent))
    # The daemon says hello, finds that the rest is not for this connection, and hangs up.
    await asyncio.wait_for(reader.read(), WAIT_S)
    writer.close()
    await writer.wait_closed()
    assert daemon.asked == ["ann"]


async def test_replayed_message(daemon: Daemon) -> None:
    private = daemon.add("ann")
    async with (
        wiretapped(daemon.server.address) as (address, tap),
        daemon.client(private, zmq_control_addr=address) as api,
    ):
        await api.ping()
        await api.ping()
        assert tap.to_daemon is not None
        tap.to_daemon.write(tap.last)
        await asyncio.wait_for(tap.cut.wait(), WAIT_S)
    assert daemon.asked == ["ann", "ann"]
