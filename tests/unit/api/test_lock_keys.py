"""The lock key of the client, and the default key in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from remanager_api.lock_keys import LockKeys


@pytest.fixture
def keys(tmp_path: Path) -> LockKeys:
    keys = LockKeys()
    keys.default_lock_key_path = str(tmp_path / "new" / "key.txt")
    return keys


def test_path_of_the_default_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert LockKeys().default_lock_key_path == str(tmp_path / ".config/qserver/default_lock_key.txt")


def test_default_key_is_made_once(keys: LockKeys) -> None:
    first = keys.get_default_lock_key()
    assert len(first) > 20
    assert keys.get_default_lock_key() == first
    assert keys.get_default_lock_key(new_key=True) != first
    keys.set_default_lock_key("my key")
    assert keys.get_default_lock_key() == "my key"
    assert keys.lock_key is None


@pytest.mark.parametrize("key", ["", None, 10])
def test_default_key_must_be_text(keys: LockKeys, key: str) -> None:
    with pytest.raises(OSError, match="'lock_key' must be a non-empty string"):
        keys.set_default_lock_key(key)


def test_default_key_that_cannot_be_written(keys: LockKeys, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("a file")
    with pytest.raises(OSError, match="Failed to save the default lock key"):
        keys.set_default_lock_key("key")


@pytest.mark.parametrize("key", ["", 10, ["k"]])
def test_key_must_be_text(keys: LockKeys, key: str) -> None:
    with pytest.raises(ValueError, match="'lock_key' must be non-empty string or None"):
        keys.lock_key = key
    with pytest.raises(ValueError, match="'lock_key' must be non-empty string or None"):
        keys._key_to_send(key)


def test_key_that_is_sent(keys: LockKeys) -> None:
    with pytest.raises(RuntimeError, match="current lock key is not set"):
        keys.enable_locked_api = True
    keys.lock_key = "k"
    assert keys._key_to_send(None) is None
    assert keys._key_to_send("other") == "other"
    with pytest.raises(TypeError, match="only to boolean values"):
        keys.enable_locked_api = 1  # type: ignore[assignment]
    keys.enable_locked_api = True
    assert keys._key_to_send(None) == "k"
    assert keys._key_to_send("other") == "other"
    keys.lock_key = None
    assert keys.enable_locked_api is False
    assert keys._key_to_send(None) is None


def test_key_that_locks(keys: LockKeys) -> None:
    with pytest.raises(RuntimeError, match="Failed to format the 'unlock' request: Lock key is not set"):
        keys._key_to_lock(None, "unlock")
    keys.lock_key = "k"
    assert keys._key_to_lock(None, "lock") == "k"
    assert keys._key_to_lock("other", "lock") == "other"
