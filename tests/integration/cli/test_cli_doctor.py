"""What the doctor finds."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
import zmq

from remanager.cli import checks
from remanager.cli.checks import Level, client_address, worker_python, worker_scope
from remanager.cli.doctor import answer, examine
from remanager.cli.main import run
from remanager.cli.start import parse
from remanager.daemon.keys import ClientKey, change_keys, make_server_key
from remanager.model.principal import Role
from remanager.store.lock import LOCK_NAME, InstanceLock

Found = dict[str, list[tuple[Level, str]]]


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith(("QSERVER_", "REMANAGER_"))]:
        monkeypatch.delenv(name)


def options(tmp_path: Path, *more: str) -> list[str]:
    """Options of a daemon that could start, but for the worker's Python, which is quick to look at."""
    return [
        f"--state-dir={tmp_path / 'state'}",
        "--zmq-control-addr=tcp://127.0.0.1:*",
        f"--worker-python={sys.executable}-no-such",
        *more,
    ]


def find(tmp_path: Path, *more: str) -> Found:
    found: Found = {}
    for finding in examine(options(tmp_path, *more)):
        found.setdefault(finding.topic, []).append((finding.level, finding.text))
        assert finding.level is Level.OK or finding.remedy or finding.topic == "settings"
    return found


def levels(found: Found, topic: str) -> set[Level]:
    return {level for level, _ in found[topic]}


def test_nothing_is_wrong_before_the_first_start(tmp_path: Path) -> None:
    found = find(tmp_path)
    assert levels(found, "worker's Python") == {Level.FAULT}
    for topic in set(found) - {"worker's Python"}:
        assert levels(found, topic) == {Level.OK}, found[topic]


def test_workers_python(tmp_path: Path) -> None:
    settings, _ = parse([f"--state-dir={tmp_path}"])
    (finding,) = worker_python(settings)
    assert finding.level is Level.OK, finding
    assert "bluesky" in finding.text


@pytest.mark.parametrize(
    ("said", "level"), [("exit 0", Level.OK), ("echo no bus >&2; exit 1", Level.FAULT), ("", Level.FAULT)]
)
def test_scopes_of_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, level: Level) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if said:
        tool = tmp_path / "systemd-run"
        tool.write_text(f"#!/bin/sh\n{said}\n")
        tool.chmod(0o755)
    settings, _ = parse([f"--state-dir={tmp_path}", "--worker-scope=user"])
    (finding,) = worker_scope(settings)
    assert finding.level is level, finding
    if said and level is Level.FAULT:
        assert "no bus" in finding.text


def test_wrong_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert levels(find(tmp_path, "--startup-dir=/no/such"), "settings") == {Level.FAULT}
    assert run(["doctor", "--startup-dir=/no/such"]) == 5
    assert "->" in capsys.readouterr().out
    assert run(["doctor", "--no-such-option"]) == 1


def test_address_in_use(tmp_path: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        found = find(tmp_path, f"--zmq-control-addr=tcp://127.0.0.1:{port}")
    assert levels(found, "control address") == {Level.FAULT}


def test_startup_code_and_permissions(tmp_path: Path) -> None:
    code = tmp_path / "startup"
    code.mkdir()
    found = find(tmp_path, f"--startup-dir={code}")
    assert levels(found, "start-up code") == levels(found, "permissions") == {Level.WARNING}
    (code / "00-start.py").write_text("a = 1\nb = = 2\n")
    (code / "user_group_permissions.yaml").write_text("user_groups: {primary: {}}\n")
    found = find(tmp_path, f"--startup-dir={code}")
    assert found["start-up code"] == [(Level.FAULT, f"{code / '00-start.py'}, line 2: invalid syntax")]
    assert levels(found, "permissions") == {Level.FAULT}


def test_store(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    state.chmod(0o755)
    sqlite3.connect(state / "remanager.sqlite").close()
    (state / "remanager.sqlite").write_bytes(b"no database at all, but long enough to be looked at" * 40)
    found = find(tmp_path)
    assert levels(found, "store") == {Level.FAULT}
    assert levels(found, "state directory") == {Level.WARNING}
    os.truncate(state / "remanager.sqlite", 0)
    assert levels(find(tmp_path), "store") == {Level.WARNING}
    (state / "remanager.sqlite-wal").write_bytes(b"what was changed last" * 100)
    assert levels(find(tmp_path), "store") == {Level.FAULT}


def test_daemon_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remanager.cli.doctor.ANSWER_TIMEOUT_S", 0.1)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with (state / LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        json.dump({"pid": 17}, lock)
        lock.flush()
        found = find(tmp_path, "--zmq-control-addr=tcp://127.0.0.1:9")
    assert found["daemon"] == [(Level.OK, "runs as process 17")]
    assert levels(found, "answer") == {Level.FAULT}
    assert "control address" not in found


def test_daemon_that_answers(tmp_path: Path, manager: object) -> None:
    state = {"msg": "RE Manager v1", "manager_state": "idle", "not_ready_reason": "no environment"}
    manager.handlers["status"] = lambda _: state  # type: ignore[attr-defined]
    settings, _ = parse([f"--state-dir={tmp_path}", f"--zmq-control-addr={manager.address}"])  # type: ignore[attr-defined]
    with (tmp_path / LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (finding,) = answer(settings)
    assert finding.level is Level.OK
    assert "no environment" in finding.text
    assert client_address("tcp://*:60615") == "tcp://localhost:60615"


def test_environment_worker_that_is_silent(tmp_path: Path, manager: Any) -> None:
    reason = "the environment worker has been silent for 25 s"
    manager.handlers["status"] = lambda _: {"msg": "RE Manager v1", "manager_state": "idle"}
    manager.handlers["stats"] = lambda _: {
        "success": True,
        "health": {"state": "degraded", "reasons": [reason]},
    }
    settings, _ = parse([f"--state-dir={tmp_path}", f"--zmq-control-addr={manager.address}"])
    with (tmp_path / LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _, finding = answer(settings)
    assert (finding.level, finding.text) == (Level.WARNING, reason)
    assert "environment destroy" in finding.remedy


def test_the_daemon_of_the_state_directory_is_asked(tmp_path: Path, manager: Any) -> None:
    manager.handlers["status"] = lambda _: {"msg": "the right one", "manager_state": "idle"}
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    lock = InstanceLock(state)
    try:
        lock.tell(control_address=manager.address)
        found = find(tmp_path, "--zmq-control-addr=tcp://127.0.0.1:9")
    finally:
        lock.release()
    assert "the right one" in found["answer"][0][1]
    assert levels(found, "daemon") == {Level.OK, Level.WARNING}


def test_address_that_makes_no_sense(tmp_path: Path) -> None:
    found = find(tmp_path, "--zmq-control-addr=foo")
    assert "expected an address" in found["settings"][0][1]
    found = find(tmp_path, "--zmq-control-addr=tcp://no-such-interface:1234")
    assert levels(found, "control address") == {Level.FAULT}
    assert "in use" not in found["control address"][0][1]


def test_encryption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state"
    key = ClientKey("ann", zmq.curve_keypair()[0].decode(), Role.USER)
    change_keys(state, lambda keys: keys.add(key))
    assert levels(find(tmp_path), "encryption") == {Level.WARNING}
    make_server_key(state, overwrite=False)
    found = find(tmp_path)
    assert levels(found, "encryption") == {Level.OK, Level.WARNING}
    assert any("QSERVER_ZMQ_PUBLIC_KEY is not set" in text for _, text in found["client"])
    (state / "server.key").chmod(0o644)
    assert levels(find(tmp_path), "encryption") == {Level.FAULT}
    monkeypatch.setenv("QSERVER_ZMQ_CONTROL_ADDRESS", "tcp://elsewhere:1")
    assert Level.WARNING in levels(find(tmp_path), "client")


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json", *options(tmp_path)]) == 5
    assert {"level", "topic", "text", "remedy"} == set(json.loads(capsys.readouterr().out)[0])


def test_a_store_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(checks, "check_log", refuse)
    assert levels(find(tmp_path), "store") == {Level.FAULT}
