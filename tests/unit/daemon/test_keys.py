"""Files with keys, and the ring that a running daemon keeps of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import zmq

from remanager.daemon.keys import (
    CHECK_PERIOD_S,
    LEGACY_PUBLIC_KEY,
    ClientKey,
    KeyRing,
    Keys,
    KeysError,
    change_keys,
    make_server_key,
    read_keys,
    read_server_key,
)
from remanager.model.principal import Principal, Role
from remanager.store.filesystem import KEYS_NAME, SERVER_KEY_NAME


def key(name: str = "ann", role: Role = Role.USER, **fields: object) -> ClientKey:
    return ClientKey(name, zmq.curve_keypair()[0].decode(), role, **fields)  # type: ignore[arg-type]


def test_written_and_read(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    ann = key(user="Ann", user_group="primary", time_added=12.5)
    assert read_keys(directory / KEYS_NAME) is None
    change_keys(directory, lambda keys: keys.add(ann))
    change_keys(directory, lambda keys: Keys(Role.OBSERVER, keys.clients))
    assert read_keys(directory / KEYS_NAME) == Keys(Role.OBSERVER, (ann,))
    assert (directory / KEYS_NAME).stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    assert os.listdir(directory) == [KEYS_NAME]


def test_failed_change_leaves_the_file(tmp_path: Path) -> None:
    change_keys(tmp_path, lambda keys: keys.add(key()))
    before = (tmp_path / KEYS_NAME).read_bytes()
    with pytest.raises(KeysError):
        change_keys(tmp_path, lambda keys: keys.revoke("bob", 1.0))
    assert (tmp_path / KEYS_NAME).read_bytes() == before


@pytest.mark.parametrize("name", ["", "legacy", "local", "a\nb", "x" * 101])
def test_names_that_cannot_be_used(name: str) -> None:
    with pytest.raises(KeysError):
        Keys().add(key(name))


def test_doubles_are_refused() -> None:
    ann = key()
    keys = Keys().add(ann)
    with pytest.raises(KeysError, match="already"):
        keys.add(key())
    with pytest.raises(KeysError, match="belongs to 'ann'"):
        keys.add(ClientKey("bob", ann.public_key, Role.USER))
    with pytest.raises(KeysError, match="proves nothing"):
        keys.add(ClientKey("bob", LEGACY_PUBLIC_KEY, Role.USER))


def test_revoked_key_stays_on_record_and_the_name_is_free() -> None:
    first, second = key(), key()
    keys = Keys().add(first).revoke("ann", 5.0).add(second)
    assert [k.time_revoked for k in keys.clients] == [5.0, None]
    assert set(keys.by_public_key()) == {second.public_key, LEGACY_PUBLIC_KEY}
    with pytest.raises(KeysError):
        keys.add(ClientKey("bob", first.public_key, Role.USER))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"version": 2, "legacy": {"role": "user"}, "clients": []}']
    + [
        f'{{"version": 1, "legacy": {{"role": "{role}"}}, "clients": [{client}]}}'
        for role, client in (
            ("king", ""),
            ("user", '{"name": "ann"}'),
            ("user", '{"name": "ann", "public_key": "k", "role": "king"}'),
            ("user", '{"name": 1, "public_key": "k", "role": "user"}'),
            ("user", '{"name": "ann", "public_key": "k", "role": "user", "more": 1}'),
        )
    ],
)
def test_damaged_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / KEYS_NAME
    path.write_text(text)
    with pytest.raises(KeysError, match="cannot be used"):
        read_keys(path)
    with pytest.raises(KeysError):
        KeyRing(path)


def test_ring_looks_at_the_file_now_and_then(tmp_path: Path) -> None:
    now = 0.0
    ring = KeyRing(tmp_path / KEYS_NAME, clock=lambda: now)
    ann = key()
    assert ring.identify(ann.public_key) == Principal("legacy", Role.ADMIN)
    change_keys(tmp_path, lambda keys: keys.add(ann))
    assert ring.identify(ann.public_key) == Principal("legacy", Role.ADMIN)
    now += CHECK_PERIOD_S
    assert ring.identify(ann.public_key) == Principal("ann", Role.USER)
    assert ring.identify(LEGACY_PUBLIC_KEY) == Principal("legacy", Role.ADMIN)
    assert ring.identify(key().public_key) is None


def test_server_key(tmp_path: Path) -> None:
    assert read_server_key(tmp_path) is None
    private = make_server_key(tmp_path, overwrite=False)
    assert read_server_key(tmp_path) == private
    path = tmp_path / SERVER_KEY_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeysError, match="already"):
        make_server_key(tmp_path, overwrite=False)
    assert make_server_key(tmp_path, overwrite=True) != private
    path.chmod(0o644)
    with pytest.raises(KeysError, match="can be read by others"):
        read_server_key(tmp_path)
    path.chmod(0o600)
    path.write_text("short\n")
    with pytest.raises(KeysError, match="40 characters"):
        read_server_key(tmp_path)
