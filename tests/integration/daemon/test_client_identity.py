"""Attempts to talk to an encrypted daemon: each is refused or allowed as the documentation says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import zmq

from remanager.daemon.control import Answer, ControlServer
from remanager.daemon.keys import ClientKey, KeyRing, Keys, change_keys
from remanager.model.principal import Principal, Role
from remanager.store.filesystem import KEYS_NAME
from remanager.verbs.dispatch import Dispatcher
from remanager.wire.codec import Encoding
from remanager_api import RequestTimeoutError
from remanager_api.zmq.aio import REManagerAPI

SILENCE_S = 0.3
WAIT_S = 10.0
NO_ANSWER, NO_EFFECT = "no answer", "no effect"
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "secure.md"


def pair() -> tuple[str, str]:
    public, private = zmq.curve_keypair()
    return public.decode(), private.decode()


class StandIn:
    """What the dispatcher needs of a manager to answer ``ping``."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.started.set()
        self.status = SimpleNamespace(reply=lambda: {"success": True})


class Daemon:
    """A control socket that answers with the name of who asks."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.now = 0.0
        self.asked: list[str] = []
        self.keys: dict[str, str] = {}
        self.patience_s = SILENCE_S
        self._dispatch = Dispatcher(cast(Any, StandIn()))
        self.public, private = pair()
        ring = KeyRing(state_dir / KEYS_NAME, clock=lambda: self.now)
        self.server = ControlServer("tcp://127.0.0.1:*", self.answer, private_key=private, identities=ring)

    def answer(self, request: object, encoding: Encoding, principal: Principal) -> Answer:
        self.asked.append(principal.name)
        reply = cast(Mapping[str, object], self._dispatch(request, encoding, principal))
        return {**reply, "name": principal.name, "role": principal.role.value}

    def add(self, name: str, role: Role = Role.USER, user_group: str | None = None) -> str:
        public, private = pair()
        key = ClientKey(name, public, role, user_group=user_group)
        change_keys(self.state_dir, lambda keys: keys.add(key))
        self.keys[name] = private
        return private

    async def ask(
        self, private: str | None = None, method: str = "ping", params: Any = None, **options: Any
    ) -> dict[str, Any]:
        async with self.client(private, **options) as api:
            return await api.send_request(method=method, params=params or {})

    async def outcome(self, private: str | None = None, **options: Any) -> str:
        """Ask, and say what came of it in the words of the documentation."""
        try:
            reply = await self.ask(private, **{"timeout_recv": self.patience_s} | options)
        except RequestTimeoutError:
            return "no answer"
        return f"`{reply['name']}`, `{reply['role']}`" if reply["success"] else f"`{reply['code']}`"

    def client(self, private: str | None = None, **options: Any) -> REManagerAPI:
        settings = {"zmq_control_addr": self.server.address, "zmq_public_key": self.public} | options
        return REManagerAPI(
            zmq_client_private_key=private,
            request_fail_exceptions=False,
            **{"timeout_recv": WAIT_S} | settings,
        )


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


async def test_new_key_counts_at_once(daemon: Daemon) -> None:
    daemon.add("ann")
    assert (await daemon.ask(daemon.add("bob", Role.OBSERVER)))["role"] == "observer"


async def test_damaged_or_missing_file_opens_nothing(daemon: Daemon) -> None:
    private = daemon.add("ann")
    assert (await daemon.ask(private))["name"] == "ann"
    path = daemon.state_dir / KEYS_NAME
    path.write_text("{")
    assert await daemon.outcome(pair()[1]) == NO_ANSWER
    path.unlink()
    assert await daemon.outcome(pair()[1]) == NO_ANSWER
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


# ------------------------------------------------------------------------------------------- attempts


async def not_encrypted(daemon: Daemon) -> str:
    return await daemon.outcome(zmq_public_key=None)


async def wrong_server_key(daemon: Daemon) -> str:
    return await daemon.outcome(zmq_public_key=pair()[0])


async def unknown_key(daemon: Daemon) -> str:
    return await daemon.outcome(pair()[1])


async def public_key_alone(daemon: Daemon) -> str:
    public, _ = pair()
    if "ann" in daemon.keys:
        change_keys(daemon.state_dir, lambda keys: keys.add(ClientKey("bob", public, Role.ADMIN)))
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.curve_serverkey = daemon.public.encode()
        socket.curve_publickey = public.encode()
        socket.curve_secretkey = pair()[1].encode()
        socket.connect(daemon.server.address)
        socket.send(b'{"method": "ping"}')
        answered = await asyncio.to_thread(socket.poll, int(1000 * SILENCE_S))
    return "answered" if answered else NO_ANSWER


def _revoke(daemon: Daemon) -> None:
    change_keys(daemon.state_dir, lambda keys: keys.revoke("ann", 1.0))
    daemon.now += 1.0  # the file is looked at once a second for messages


async def revoked_key(daemon: Daemon) -> str:
    _revoke(daemon)
    return await daemon.outcome(daemon.keys["ann"])


async def revoked_while_connected(daemon: Daemon) -> str:
    async with daemon.client(daemon.keys["ann"]) as api:
        assert (await api.ping())["name"] == "ann"
        _revoke(daemon)
        reply = await api.ping()
    assert "does not count any more" in reply["msg"]
    return f"`{reply['code']}`"


async def stock_key(daemon: Daemon) -> str:
    return await daemon.outcome()


def stock_key_as(role: Role, method: str = "ping") -> Callable[[Daemon], Awaitable[str]]:
    """Make the attempt with the key of stock clients after a role was set for it."""

    async def attempt(daemon: Daemon) -> str:
        change_keys(daemon.state_dir, lambda keys: Keys(role, keys.clients))
        return await daemon.outcome(method=method)

    return attempt


async def key_of_a_client(daemon: Daemon) -> str:
    return await daemon.outcome(daemon.keys["ann"])


async def method_beyond_the_role(daemon: Daemon) -> str:
    return await daemon.outcome(daemon.keys["ann"], method="permissions_reload")


async def other_user_group(daemon: Daemon) -> str:
    return await daemon.outcome(
        daemon.keys["ann"], method="plans_allowed", params={"user_group": "somebody_else"}
    )


async def replayed_connection(daemon: Daemon) -> str:
    async with wiretapped(daemon.server.address) as (address, tap):
        assert (await daemon.ask(daemon.keys.get("ann"), zmq_control_addr=address))["success"]
    reader, writer = await asyncio.open_connection("127.0.0.1", int(daemon.server.address.rpartition(":")[2]))
    writer.write(bytes(tap.sent))
    # The daemon says hello, finds that the rest is not for this connection, and hangs up.
    await asyncio.wait_for(reader.read(), WAIT_S)
    writer.close()
    await writer.wait_closed()
    return NO_EFFECT if len(daemon.asked) == 1 else f"asked {len(daemon.asked)} times"


async def replayed_message(daemon: Daemon) -> str:
    async with (
        wiretapped(daemon.server.address) as (address, tap),
        daemon.client(daemon.keys.get("ann"), zmq_control_addr=address) as api,
    ):
        await api.ping()
        await api.ping()
        assert tap.to_daemon is not None
        tap.to_daemon.write(tap.last)
        await asyncio.wait_for(tap.cut.wait(), WAIT_S)
    return NO_EFFECT if len(daemon.asked) == 2 else f"asked {len(daemon.asked)} times"


LEGACY = "`legacy`, `admin`"
ATTEMPTS: dict[str, tuple[Callable[[Daemon], Awaitable[str]], str, str]] = {
    "no key, not encrypted": (not_encrypted, NO_ANSWER, NO_ANSWER),
    "wrong public key of the server": (wrong_server_key, NO_ANSWER, NO_ANSWER),
    "unknown key of a client": (unknown_key, LEGACY, NO_ANSWER),
    "public key of a client without its private key": (public_key_alone, NO_ANSWER, NO_ANSWER),
    "revoked key": (revoked_key, "", NO_ANSWER),
    "revoked key, connected before": (revoked_while_connected, "", "`not_permitted`"),
    "key of stock clients": (stock_key, LEGACY, LEGACY),
    "key of stock clients with the role `observer`": (
        stock_key_as(Role.OBSERVER),
        "",
        "`legacy`, `observer`",
    ),
    "the same, to change something": (stock_key_as(Role.OBSERVER, "queue_clear"), "", "`not_permitted`"),
    "key of stock clients with the role `none`": (stock_key_as(Role.NONE), "", NO_ANSWER),
    "key of a client": (key_of_a_client, "", "`ann`, `user`"),
    "the same, for a method beyond its role": (method_beyond_the_role, "", "`not_permitted`"),
    "the same, for another user group than its own": (other_user_group, "", "`not_permitted`"),
    "recorded connection, played again": (replayed_connection, NO_EFFECT, NO_EFFECT),
    "recorded message, sent twice": (replayed_message, NO_EFFECT, NO_EFFECT),
}
"""Each attempt: how it is made, what comes of it without keys of clients, and with one of ``ann``."""


@pytest.mark.parametrize(
    ("attempt", "with_keys"),
    [
        (name, with_keys)
        for name, (_, *cells) in ATTEMPTS.items()
        for with_keys, cell in enumerate(cells)
        if cell
    ],
)
async def test_attempt(daemon: Daemon, attempt: str, with_keys: int) -> None:
    make, *cells = ATTEMPTS[attempt]
    if with_keys:
        daemon.add("ann", user_group="primary")
    if cells[with_keys] != NO_ANSWER:
        daemon.patience_s = WAIT_S
    assert await make(daemon) == cells[with_keys]
    assert bool(daemon.asked) == (cells[with_keys] != NO_ANSWER)


def test_the_documentation_has_the_same_table() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("| attempt |"))
    documented = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        attempt, before, after = (cell.strip() for cell in line.strip("|").split("|"))
        documented[attempt] = (before, after)
    assert documented == {name: (before, after) for name, (_, before, after) in ATTEMPTS.items()}
