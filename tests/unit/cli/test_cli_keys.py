"""``remanager keys``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import zmq

from remanager.cli.main import run


@pytest.fixture(autouse=True)
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REMANAGER_STATE_DIR", str(tmp_path))
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_life_of_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "list"]) == 0
    assert "No client has a key" in printed(capsys)
    assert run(["keys", "list", "--json"]) == 0
    assert json.loads(printed(capsys)) is None
    assert run(["keys", "add", "ann", "--role", "observer", "--user-group", "primary", "--json"]) == 0
    made = json.loads(printed(capsys))
    assert zmq.curve_public(made["private_key"].encode()).decode() == made["public_key"]
    assert run(["keys", "list", "--json"]) == 0
    text = printed(capsys)
    assert made["private_key"] not in text
    (client,) = json.loads(text)["clients"]
    assert (client["name"], client["role"], client["user_group"]) == ("ann", "observer", "primary")
    assert run(["keys", "add", "ann"]) == 5
    assert run(["keys", "revoke", "ann"]) == 0
    assert run(["keys", "revoke", "ann"]) == 5
    assert "there is no key of 'ann'" in capsys.readouterr().err
    assert run(["keys", "list"]) == 0
    assert "ann" in printed(capsys)


def test_key_of_the_clients_own_making(capsys: pytest.CaptureFixture[str]) -> None:
    public = zmq.curve_keypair()[0].decode()
    assert run(["keys", "add", "ann", "--public-key", public]) == 0
    text = printed(capsys)
    assert "REMANAGER_CLIENT_PRIVATE_KEY" not in text
    assert "remanager keys legacy" in text
    assert run(["keys", "add", "bob", "--public-key", "short"]) == 1
    assert run(["keys", "add", "bob", "--role", "king"]) == 1
    assert run(["keys", "legacy", "--role", "none"]) == 0
    printed(capsys)
    assert run(["keys", "add", "bob"]) == 0
    assert "remanager keys legacy" not in printed(capsys)


def test_key_of_the_server(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "server"]) == 5
    assert "--make" in capsys.readouterr().err
    assert run(["keys", "server", "--make", "--json"]) == 0
    public = json.loads(printed(capsys))["public_key"]
    assert run(["keys", "server", "--make"]) == 5
    capsys.readouterr()
    assert run(["keys", "server", "--state-dir", str(state_dir)]) == 0
    assert printed(capsys) == f"QSERVER_ZMQ_PUBLIC_KEY='{public}'\n"
